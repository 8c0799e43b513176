//! What several schemes have in common: layouts, scales, arithmetic.

pub(crate) mod bits;
pub(crate) mod bytes;
pub(crate) mod columns;
pub(crate) mod config;
pub(crate) mod correction;
pub(crate) mod foreign;
pub(crate) mod fp4;
pub(crate) mod fp8;
pub(crate) mod fp8_block;
pub(crate) mod grid;
pub(crate) mod groups;
pub(crate) mod int;
pub(crate) mod int_decode;
pub(crate) mod int_encode;
pub(crate) mod marks;
pub(crate) mod mx;
pub(crate) mod mx_cast;
pub(crate) mod mx_stack;
pub(crate) mod nvfp4;
pub(crate) mod nvfp4_encode;
pub(crate) mod nvfp4_layout;
pub(crate) mod renamed;
pub(crate) mod rows;
pub(crate) mod scales;
pub(crate) mod shapes;
pub(crate) mod tiles;
