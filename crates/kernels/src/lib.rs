//! The kernels: one folder each, with contract, CPU twin, WGSL and tests; the [`Engine`] trait; the CPU
//! engine.
//!
//! Knows: tiles of bytes. Does not know: wgpu, files, schemes.
#![forbid(unsafe_code)]

mod engine;
pub mod nvfp4_quantize;

pub use engine::{
    AbsMax, Engine, EngineError, EngineKind, FloatTile, FloatType, Fp8Census, Fp8Tile, NONE, Nvfp4Census,
    Nvfp4Out, Nvfp4Tile, ScaleCensus,
};
