//! Names on their way from one checkpoint to another: rules, presets, and what splitting does to tensors.
//!
//! Does not know what values become on the way.

mod cut;
mod patterns;
mod presets;
mod replacement;
mod rules;

pub(crate) use cut::{Cut, Slice};
pub(crate) use presets::preset;
pub(crate) use rules::{LONGEST_NAME, Rules};

#[cfg(test)]
mod tests;
