//! Quantizer state that must never stand in a finished checkpoint (`formats.md` g).
//!
//! ModelOpt keeps its calibration results in modules called `*_quantizer`; their buffers leak into an
//! export when a writer saves the state dict as it is.

/// Leaf names that are quantizer state wherever they stand.
const STATE_LEAVES: &[&str] =
    &["_amax", "_global_amax", "_amax_pre", "_amax_post", "_pre_quant_scale", "_bias_value"];

fn is_quantizer_segment(segment: &str) -> bool {
    segment.ends_with("_quantizer") || segment.ends_with("_quantizers")
}

/// Byte at which the first quantizer segment of a tensor name begins.
pub(crate) fn state_segment_start(name: &str) -> Option<usize> {
    let mut at = 0;
    for segment in name.split('.') {
        if is_quantizer_segment(segment) {
            return Some(at);
        }
        at += segment.len() + 1;
    }
    None
}

/// Whether a leaf as [`crate::split_name`] gives it is quantizer state.
#[must_use]
pub fn is_state_leaf(leaf: &str) -> bool {
    leaf.split('.')
        .any(|s| is_quantizer_segment(s) || STATE_LEAVES.contains(&s) || s.starts_with("modelopt_state"))
}

/// Whether a tensor name is quantizer state.
///
/// ```
/// use quantscope_schemes::leak::is_state;
/// assert!(is_state("decoder.conv_in.weight_quantizer._amax"));
/// assert!(is_state("experts.gate_up_proj_weight_quantizers.3._amax"));
/// assert!(is_state("block._amax"));
/// assert!(!is_state("block.weight_scale"));
/// ```
#[must_use]
pub fn is_state(name: &str) -> bool {
    is_state_leaf(name)
}
