//! The kernels: one folder each, with contract, CPU twin, WGSL and tests; the [`Engine`] trait; the CPU
//! engine.
//!
//! Knows: tiles of bytes. Does not know: wgpu, files, schemes.
#![forbid(unsafe_code)]

pub mod absmax;
pub mod block_absmax;
mod cpu_engine;
mod element;
mod engine;
pub mod fp8_verify;
mod histogram;
mod kernel;
pub mod nvfp4_encode;
pub mod nvfp4_quantize;
pub mod nvfp4_verify;
mod parts;
mod rows;
pub mod scale_verify;
pub mod spec;
mod tile;

pub use cpu_engine::CpuEngine;
pub use engine::{
    AbsMax, Engine, EngineError, EngineKind, FloatTile, FloatType, Fp8Census, Fp8Tile, NONE, Nvfp4Census,
    Nvfp4Out, Nvfp4Tile, ScaleCensus,
};
pub use kernel::Kernel;
