//! What several schemes have in common: layouts, scales, arithmetic.

pub(crate) mod bits;
pub(crate) mod bytes;
pub(crate) mod columns;
pub(crate) mod foreign;
pub(crate) mod fp4;
pub(crate) mod grid;
pub(crate) mod groups;
pub(crate) mod rows;
pub(crate) mod shapes;
pub(crate) mod tiles;
