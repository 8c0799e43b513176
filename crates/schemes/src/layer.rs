//! Tensors of one module seen together: the view that recognition works on.

use crate::leak;
use quantscope_numeric::Dtype;

/// One stored tensor of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Name below the module, such as `weight_scale` or `input_quantizer._amax`.
    pub leaf: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: &'a [u64],
}

impl Stored<'_> {
    /// Number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Elements, saturating: a hostile shape counts as very many.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.shape.iter().fold(1, |n, &d| n.saturating_mul(d))
    }

    /// Whether it holds one number: shape `[]` or `[1]`.
    #[must_use]
    pub fn is_scalar(&self) -> bool {
        matches!(self.shape, [] | [1])
    }
}

/// A module and its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerView<'a> {
    /// Module path, such as `model.layers.0.mlp.up_proj`.
    pub module: &'a str,
    /// Its tensors, in header order.
    pub tensors: Vec<Stored<'a>>,
}

impl<'a> LayerView<'a> {
    /// The tensor of that leaf name.
    #[must_use]
    pub fn get(&self, leaf: &str) -> Option<Stored<'a>> {
        self.tensors.iter().copied().find(|t| t.leaf == leaf)
    }

    /// The tensor called `weight`.
    #[must_use]
    pub fn weight(&self) -> Option<Stored<'a>> {
        self.get("weight")
    }

    /// Whether a tensor of that leaf name is there.
    #[must_use]
    pub fn has(&self, leaf: &str) -> bool {
        self.get(leaf).is_some()
    }

    /// The tensor that stands for the layer: `weight`, else the largest that is no quantizer state.
    #[must_use]
    pub fn principal(&self) -> Option<Stored<'a>> {
        self.weight().or_else(|| {
            let plain = self.tensors.iter().filter(|t| !leak::is_state_leaf(t.leaf));
            // The first of the largest, so that the answer does not depend on how ties are broken.
            plain.copied().reduce(|best, t| if t.elements() > best.elements() { t } else { best })
        })
    }
}

/// Splits a tensor name into module path and leaf.
///
/// The leaf is the last segment; leaked quantizer state stays together below its owner, so that
/// `fc1.input_quantizer._amax` belongs to the module `fc1`.
///
/// ```
/// use quantscope_schemes::split_name;
/// assert_eq!(split_name("a.b.weight_scale"), ("a.b", "weight_scale"));
/// assert_eq!(split_name("a.b.input_quantizer._amax"), ("a.b", "input_quantizer._amax"));
/// assert_eq!(split_name("scale_table"), ("scale_table", ""));
/// ```
#[must_use]
pub fn split_name(name: &str) -> (&str, &str) {
    if let Some(at) = leak::state_segment_start(name) {
        return match at.checked_sub(1) {
            Some(dot) => (name.get(..dot).unwrap_or(name), name.get(at..).unwrap_or("")),
            None => (name, ""),
        };
    }
    name.rsplit_once('.').unwrap_or((name, ""))
}
