//! The GPU engine: device, limits, buffers, dispatch, readback, device loss.
//!
//! Knows: wgpu, and the kernels as their descriptions show them. Does not know: schemes, files. The only
//! room that names wgpu.
#![forbid(unsafe_code)]

mod blocks;
mod codes;
mod device;
mod engine;
mod metrics;
mod nvfp4;
mod pool;
mod run;
mod signal;
mod split;

pub use device::{GpuOptions, GpuUnavailable};
pub use engine::GpuEngine;
