//! Scales of the KV cache, which belong to projections and not to a weight's scheme.
//!
//! Source: `formats.md` e, "KV cache": `<attn>.k_proj.k_scale` = amax / 448, and so for v.

/// Largest E4M3 magnitude; it serves NVFP4 caches too.
const LARGEST: f32 = 448.0;

/// Name of the scale of one side, `k` or `v`, of an attention module.
///
/// ```
/// assert_eq!(quantscope_schemes::kv::scale_name("layers.0.attn", 'k'), "layers.0.attn.k_proj.k_scale");
/// ```
#[must_use]
pub fn scale_name(attention: &str, side: char) -> String {
    format!("{attention}.{side}_proj.{side}_scale")
}

/// The scale for a largest cached magnitude of `amax`.
#[must_use]
pub fn scale(amax: f32) -> f32 {
    amax / LARGEST
}
