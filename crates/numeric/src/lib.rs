//! Element types of checkpoints and their codes.
//!
//! Knows: bits. Does not know: files, tensors, threads, schemes.
#![forbid(unsafe_code)]

mod dtype;

pub use dtype::Dtype;
