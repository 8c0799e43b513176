//! Names on their way from one checkpoint to another: rules, presets, and what splitting does to tensors.
//!
//! Does not know what values become on the way.

mod apply;
mod cut;
mod declared;
mod join;
mod needed;
mod patterns;
mod presets;
mod replacement;
mod rules;

pub(crate) use apply::{Applied, Origin, Way};
pub(crate) use cut::Cut;
pub(crate) use declared::{Declared, Moved};
pub(crate) use presets::preset;
pub use presets::rename_presets;
pub(crate) use rules::{LONGEST_NAME, Rules};

#[cfg(test)]
mod tests;
