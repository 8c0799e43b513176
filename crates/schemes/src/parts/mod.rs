//! What several schemes have in common: layouts, scales, arithmetic.

pub(crate) mod bytes;
pub(crate) mod fp4;
pub(crate) mod shapes;
pub(crate) mod tiles;
