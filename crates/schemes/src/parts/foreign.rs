//! What the schemes of other projects say of themselves: none is written by us, none has a `quant_algo`.

use crate::about::{About, Companion, Family, Presence, Role};
use crate::decode::Refusal;
use crate::layer::{LayerView, Stored};
use crate::parts::shapes::{needed, text};
use quantscope_numeric::Dtype;

/// The fields that foreign schemes have in common.
pub(crate) const ABOUT: About = About {
    id: "",
    place: u16::MAX,
    title: "",
    family: Family::Int,
    companions: &[],
    algos: &[],
    declared_by: "",
    quantizes_activations: false,
    can_encode: false,
    formula: &[],
    source: "",
};

/// Types of scales that are floats of the model or F32.
pub(crate) const FLOATS: &[Dtype] = &[Dtype::F32, Dtype::BF16, Dtype::F16];

/// The same, of formats made for half precision.
pub(crate) const F16_FIRST: &[Dtype] = &[Dtype::F16, Dtype::BF16, Dtype::F32];

/// A tensor without which the layer cannot be decoded.
pub(crate) const fn required(
    leaf: &'static str,
    role: Role,
    dtypes: &'static [Dtype],
    shape: &'static str,
    words: &'static str,
) -> Companion {
    Companion { leaf, role, dtypes, presence: Presence::Required, words, shape }
}

/// A tensor of some variants.
pub(crate) const fn optional(
    leaf: &'static str,
    role: Role,
    dtypes: &'static [Dtype],
    shape: &'static str,
    words: &'static str,
) -> Companion {
    Companion { leaf, role, dtypes, presence: Presence::Optional, words, shape }
}

/// Whether the config names this `quant_method`; case does not count.
pub(crate) fn is_method(layer: &LayerView<'_>, method: &str) -> bool {
    layer.facts.config_text("quant_method").is_some_and(|m| m.eq_ignore_ascii_case(method))
}

/// The tensor of a companion, of a type that the scheme knows.
///
/// # Errors
/// If it is not there, or of another type.
pub(crate) fn typed<'a>(layer: &LayerView<'a>, companion: &Companion) -> Result<Stored<'a>, Refusal> {
    let stored = needed(layer, companion.leaf)?;
    if companion.dtypes.contains(&stored.dtype) {
        return Ok(stored);
    }
    let legal: Vec<&str> = companion.dtypes.iter().map(|d| d.tag()).collect();
    let reason = format!("has `{}` of type {}, expected {}", stored.leaf, stored.dtype, legal.join(" or "));
    Err(Refusal::new(reason, "export the layer again"))
}

/// A tensor of a shape that fits nothing.
pub(crate) fn misfit(stored: Stored<'_>, expected: &str) -> Refusal {
    let reason = format!("has `{}` of shape {}, expected {expected}", stored.leaf, text(stored.shape));
    Refusal::new(reason, "export the layer again")
}

/// A variant that is known by name and not decoded.
pub(crate) fn variant(what: &str) -> Refusal {
    Refusal::new(
        format!("is stored as {what}, which is not decoded"),
        "dequantize it with the tool that made it",
    )
}

/// The shape `[1]` or `[]`.
pub(crate) fn scalar_shapes() -> Option<Vec<Vec<u64>>> {
    Some(vec![vec![], vec![1]])
}
