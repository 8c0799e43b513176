//! Quantization schemes, each described in one file: how it is recognised, which companions it stores
//! with which shapes, how many bits a weight costs, how it is decoded, how a config declares it.
//!
//! Knows: layers as tensors with dtypes and shapes. Does not know: screens, files on disk.
#![forbid(unsafe_code)]

mod conv;
pub mod declare;
pub mod exclude;
mod fp8;
mod fp8_block;
mod kind;
pub mod kv;
mod layer;
pub mod leak;
mod nvfp4;
mod plain;
mod scheme;

pub use conv::ConvKernels;
pub use declare::{Declared, effective_algo};
pub use kind::{Kind, is_transposed_conv};
pub use layer::{LayerView, Stored, split_name};
pub use scheme::{
    About, Companion, DecodeTile, Family, INPUT_SCALE_LEAF, Match, Output, Presence, Recognised, Role,
    ScaleLayout, Scheme, TIED_LEAVES, WEIGHT_LEAF, algo_scheme, by_id, recognise, role_of, schemes,
    unrecognised,
};
