//! Element types of checkpoints and their codes.
//!
//! Knows: bits. Does not know: files, tensors, threads, schemes.
#![forbid(unsafe_code)]

mod dtype;
pub mod e2m1;
pub mod e4m3;
pub mod e5m2;
pub mod e8m0;
pub mod int4;
pub mod int8;
mod plain;

pub use dtype::Dtype;
pub use plain::{
    bf16, f16, f32_bits_from_bf16, f32_bits_from_f16, narrow, round_to_bf16, round_to_f16, widen,
};
