//! The kernels: one folder each, with contract, CPU twin, WGSL and tests; the [`Engine`] trait; the CPU
//! engine.
//!
//! Knows: tiles of bytes. Does not know: wgpu, files, schemes.
#![forbid(unsafe_code)]

pub mod absmax;
pub mod block_absmax;
pub mod byte_census;
pub mod call;
mod cpu_engine;
mod divided;
mod element;
mod engine;
pub mod error_metrics;
pub mod fp4_decode;
pub mod fp8_decode;
pub mod fp8_encode;
pub mod fp8_verify;
mod histogram;
mod kernel;
pub mod mx_encode;
mod nibbles;
pub mod nvfp4_encode;
pub mod nvfp4_quantize;
pub mod nvfp4_search;
pub mod nvfp4_verify;
mod parts;
mod rows;
mod scale_grid;
pub mod scale_verify;
pub mod spec;
mod tile;
mod values;
mod wide;

#[cfg(all(feature = "narrower", target_arch = "x86_64"))]
pub use wide::narrower;

pub use byte_census::ByteCensus;
pub use cpu_engine::CpuEngine;
pub use divided::{DividedEngine, Helpers};
pub use engine::{
    AbsMax, Engine, EngineError, EngineKind, FloatTile, FloatType, Fp8Census, Fp8Tile, NONE, Nvfp4Census,
    Nvfp4Out, Nvfp4Tile, ScaleCensus,
};
pub use fp4_decode::{Fp4DecodeTable, Fp4Tile, Nibbles};
pub use fp8_encode::{Fp8Rule, QuotientRounding};
pub use kernel::Kernel;
pub use mx_encode::MxElement;
#[cfg(not(target_arch = "wasm32"))]
pub use parts::join_threads;
pub use scale_grid::ScaleGrid;
