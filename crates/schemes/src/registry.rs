//! The one list of schemes, and recognition by asking each of them.

use crate::about::{Match, Role};
use crate::layer::LayerView;
use crate::scheme::Scheme;
use quantscope_format::Arrange as _;
use std::sync::LazyLock;

include!(concat!(env!("OUT_DIR"), "/formats.rs"));

/// Every scheme, in the order of [`crate::About::place`].
static SCHEMES: LazyLock<Vec<&'static dyn Scheme>> = LazyLock::new(|| {
    let mut all: Vec<&'static dyn Scheme> = FILES.iter().copied().flatten().copied().collect();
    all.arrange_by_key(|s| (s.about().place, s.id()));
    all
});

/// Every scheme, in the order in which they are listed.
#[must_use]
pub fn schemes() -> &'static [&'static dyn Scheme] {
    &SCHEMES
}

/// The scheme of tensors that no other scheme claims.
#[must_use]
pub fn unrecognised() -> &'static dyn Scheme {
    &plain::INTEGER
}

/// The scheme of that id.
#[must_use]
pub fn by_id(id: &str) -> Option<&'static dyn Scheme> {
    schemes().iter().copied().find(|s| s.id() == id)
}

/// The scheme that a `quant_algo` names: the first of the list, as several may write one algorithm.
#[must_use]
pub fn algo_scheme(algo: &str) -> Option<&'static dyn Scheme> {
    schemes().iter().copied().find(|s| s.about().algos.iter().any(|a| a.eq_ignore_ascii_case(algo)))
}

/// A layer's scheme and how well it fits.
#[derive(Clone, Copy)]
pub struct Recognised {
    /// The scheme.
    pub scheme: &'static dyn Scheme,
    /// How well the layer fits it.
    pub fit: Match,
}

/// Finds the scheme of a layer. Every layer has one: plain numbers fit anything.
#[must_use]
pub fn recognise(layer: &LayerView<'_>) -> Recognised {
    let mut best = Recognised { scheme: unrecognised(), fit: Match::No };
    for &scheme in schemes() {
        let fit = scheme.recognise(layer);
        if fit > best.fit {
            best = Recognised { scheme, fit };
        }
    }
    best
}

/// Whether a tensor of that name only says that layers of some scheme are in the file. It belongs to no layer,
/// and is left out when those layers are dequantized.
#[must_use]
pub fn is_marker(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    schemes().iter().any(|s| s.markers().contains(&last))
}

/// What a leaf is for, under a scheme.
#[must_use]
pub fn role_of(scheme: &dyn Scheme, leaf: &str) -> (Role, &'static str) {
    if let Some(c) = scheme.about().companion(leaf) {
        return (c.role, c.words);
    }
    if crate::leak::is_state_leaf(leaf) {
        return (Role::QuantizerState, "leaked quantizer state");
    }
    match leaf {
        crate::WEIGHT_LEAF => (Role::Weight, "weight"),
        "bias" => (Role::Bias, "bias, in the model's own dtype"),
        "k_scale" | "v_scale" => (Role::KvScale, "KV cache scale"),
        // A scale without a place in this scheme still is one: it must not be counted as a weight.
        "weight_scale" | "weight_scale_inv" => (Role::WeightScale, "weight scale"),
        "weight_scale_2" | "weight_global_scale" => (Role::GlobalScale, "global scale"),
        crate::INPUT_SCALE_LEAF | "input_global_scale" => (Role::InputScale, "activation scale"),
        _ => (Role::Other, "parameter"),
    }
}
