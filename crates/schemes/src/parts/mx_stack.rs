//! Stacks of experts in MXFP4 as gpt-oss stores them: what their tensors are, and that they fit together.
//!
//! Source: `formats.md` j.

use crate::about::{Companion, Role};
use crate::decode::Refusal;
use crate::layer::LayerView;
use crate::parts::foreign::{misfit, required, typed};
use quantscope_numeric::Dtype;

/// Codes under a scale.
pub(crate) const BLOCK: u64 = 32;
/// Bytes that hold them.
pub(crate) const BLOCK_BYTES: u64 = 16;

/// The packed codes.
pub(crate) const BLOCKS: Companion = required(
    "blocks",
    Role::Weight,
    &[Dtype::U8],
    "[E, out, K/32, 16]",
    "two E2M1 codes a byte, the even one in the low nibble",
);
/// The scales of the blocks.
pub(crate) const SCALES: Companion =
    required("scales", Role::WeightScale, &[Dtype::U8], "[E, out, K/32]", "power of two of a block, E8M0");

/// Experts, outputs and blocks of an output.
pub(crate) fn sides(layer: &LayerView<'_>) -> Result<[u64; 3], Refusal> {
    let blocks = typed(layer, &BLOCKS)?;
    let &[experts, outputs, count, BLOCK_BYTES] = blocks.shape else {
        return Err(misfit(blocks, "[E, out, K/32, 16]"));
    };
    let scales = typed(layer, &SCALES)?;
    if scales.shape != [experts, outputs, count] {
        return Err(misfit(scales, &format!("[{experts}, {outputs}, {count}]")));
    }
    let sizes = [experts, outputs, count, BLOCK];
    if sizes.iter().try_fold(1_u64, |n, &side| n.checked_mul(side)).is_none() {
        return Err(misfit(blocks, "a countable number of weights"));
    }
    Ok([experts, outputs, count])
}
