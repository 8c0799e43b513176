//! What a scheme says of itself, and the one list of schemes.

use crate::layer::{LayerView, Stored};
use crate::{fp8, fp8_block, nvfp4, plain};
use quantscope_numeric::Dtype;

/// Schemes of a family share a hue on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Four-bit floats.
    Fp4,
    /// Eight-bit floats.
    Fp8,
    /// Plain numbers.
    Plain,
}

impl Family {
    /// The word used in messages between page and worker.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Fp4 => "fp4",
            Self::Fp8 => "fp8",
            Self::Plain => "plain",
        }
    }
}

/// What a stored tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The weight itself, packed or plain.
    Weight,
    /// A scale per block of weights, or per tensor where that is the finest there is.
    WeightScale,
    /// The scale of the block scales.
    GlobalScale,
    /// The scale of the activations.
    InputScale,
    /// The scale of a KV cache.
    KvScale,
    /// The bias.
    Bias,
    /// State of a quantizer that should not be here.
    QuantizerState,
    /// Anything else.
    Other,
}

/// Whether a companion must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Without it the layer cannot be decoded.
    Required,
    /// Written if activations were calibrated.
    Calibrated,
}

/// A tensor that a scheme stores beside (or as) the weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Companion {
    /// Leaf name.
    pub leaf: &'static str,
    /// What it is for.
    pub role: Role,
    /// Element types it may have, the reference's own first.
    pub dtypes: &'static [Dtype],
    /// Whether it must be there.
    pub presence: Presence,
    /// What it is, in words for people.
    pub words: &'static str,
}

/// How well a layer fits a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Not at all.
    No,
    /// It is meant to be this, but something is missing or wrong.
    Partial,
    /// Every required companion is there.
    Full,
}

/// How the scales of a layer govern its weights: all that verifying and decoding need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleLayout {
    /// Two E2M1 codes a byte, an E4M3 scale per `block` weights of a row, an F32 global scale.
    Fp4Blocks {
        /// Weights per block.
        block: u32,
        /// Leaf name of the block scales.
        scale: &'static str,
        /// Leaf name of the global scale.
        global: &'static str,
    },
    /// E4M3 codes, an F32 scale per `rows` x `cols` tile (`u32::MAX`: the whole extent).
    Fp8Tiles {
        /// Rows per scale.
        rows: u32,
        /// Columns per scale.
        cols: u32,
        /// Leaf name of the scale tensor.
        scale: &'static str,
    },
    /// No scales.
    None,
}

impl ScaleLayout {
    /// Leaf name of the scales that lie beside the weights.
    #[must_use]
    pub const fn scale_leaf(self) -> Option<&'static str> {
        match self {
            Self::Fp4Blocks { scale, .. } | Self::Fp8Tiles { scale, .. } => Some(scale),
            Self::None => None,
        }
    }
}

/// A tensor that an encoded layer stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Leaf name.
    pub leaf: &'static str,
    /// What it is for.
    pub role: Role,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<u64>,
}

/// Leaf name of the weight, in every scheme.
pub const WEIGHT_LEAF: &str = "weight";

/// Leaf name of the activation scale, in every scheme of the reference.
pub const INPUT_SCALE_LEAF: &str = "input_scale";

/// What goes with the weight when a tied copy of a layer is dropped (`formats.md` h).
pub const TIED_LEAVES: &[&str] =
    &[WEIGHT_LEAF, "weight_scale", "weight_scale_2", "weight_scale_inv", INPUT_SCALE_LEAF, "pre_quant_scale"];

/// A piece of a layer to decode: whole rows of its stored weight.
#[derive(Debug, Clone, Copy)]
pub struct DecodeTile<'a> {
    /// Bytes of the weight rows.
    pub weight: &'a [u8],
    /// Element type of the weight.
    pub dtype: Dtype,
    /// Scales: E4M3 bytes of these rows (FP4), or every F32 scale of the tensor as bytes (FP8).
    pub scales: &'a [u8],
    /// Scales in a row of the scale grid.
    pub scale_cols: u64,
    /// The global scale; 1 where there is none.
    pub global_scale: f32,
    /// Index of the first row.
    pub first_row: u64,
    /// Weights in a row, padding included.
    pub cols: u64,
}

/// What a scheme says of itself in words and names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Stable id: flag, JSON, label.
    pub id: &'static str,
    /// What it is, in a line.
    pub title: &'static str,
    /// Its family.
    pub family: Family,
    /// The tensors it stores, the weight first.
    pub companions: &'static [Companion],
    /// Names under which configs declare it (`quant_algo`), the reference's own first.
    pub algos: &'static [&'static str],
    /// Whether activations are quantized too, so that a calibrated layer stores an `input_scale`.
    pub quantizes_activations: bool,
    /// Whether the converter can write it.
    pub can_encode: bool,
}

/// One quantization scheme.
pub trait Scheme: Sync {
    /// Its description.
    fn about(&self) -> &'static About;

    /// Stable id: flag, JSON, label.
    fn id(&self) -> &'static str {
        self.about().id
    }

    /// Its family.
    fn family(&self) -> Family {
        self.about().family
    }

    /// How well the layer fits. `declared` is the scheme the configs declare for it, if any.
    fn recognise(&self, layer: &LayerView<'_>, declared: Option<&str>) -> Match;

    /// Shape of the logical weight, as far as the stored one tells (padding included).
    fn logical_shape(&self, weight: Stored<'_>) -> Vec<u64> {
        weight.shape.to_vec()
    }

    /// Legal shapes of a companion for this stored weight, the canonical one first.
    /// `None` if any shape will do or the companion is unknown.
    fn legal_shapes(&self, leaf: &str, weight: Stored<'_>) -> Option<Vec<Vec<u64>>>;

    /// How scales govern weights.
    fn scale_layout(&self) -> ScaleLayout;

    /// The tensors that encoding `rows` x `cols` weights writes, the weight first, the activation scale only
    /// if `calibrated`. Empty for a scheme that cannot be written.
    fn outputs(&self, _rows: u64, _cols: u64, _calibrated: bool) -> Vec<Output> {
        Vec::new()
    }

    /// The global scale of a weight whose largest magnitude is `amax`.
    fn global_scale(&self, _amax: f32) -> f32 {
        1.0
    }

    /// The activation scale for a largest activation of `amax`.
    fn input_scale(&self, _amax: f32) -> f32 {
        1.0
    }

    /// Fields of `hf_quant_config.json` beside `quant_algo`, such as `group_size`.
    fn config_fields(&self) -> Vec<(&'static str, serde_json::Value)> {
        Vec::new()
    }

    /// Body of a `config_groups` entry without its targets; `None` where the reference writes no group.
    fn config_group(&self) -> Option<serde_json::Map<String, serde_json::Value>> {
        None
    }

    /// Appends the decoded values of whole rows, in F32 (`formats.md` b and e, "Dequant").
    fn decode(&self, tile: &DecodeTile<'_>, out: &mut Vec<f32>);
}

/// Recognition asks them in this order and takes the first best match.
static SCHEMES: [&dyn Scheme; 12] = [
    &nvfp4::W4A16,
    &nvfp4::W4A4,
    &fp8_block::W8A8,
    &fp8_block::WEIGHT_ONLY,
    &fp8::PER_TENSOR,
    &fp8::PER_CHANNEL,
    &plain::BF16,
    &plain::F16,
    &plain::F32,
    &plain::F64,
    &plain::F8,
    &plain::INTEGER,
];

/// Every scheme.
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

/// The scheme that a `quant_algo` names.
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
pub fn recognise(layer: &LayerView<'_>, declared: Option<&str>) -> Recognised {
    let mut best = Recognised { scheme: unrecognised(), fit: Match::No };
    for &scheme in schemes() {
        let fit = scheme.recognise(layer, declared);
        if fit > best.fit {
            best = Recognised { scheme, fit };
        }
    }
    best
}

/// What a leaf is for, under a scheme.
#[must_use]
pub fn role_of(scheme: &dyn Scheme, leaf: &str) -> (Role, &'static str) {
    if let Some(c) = scheme.about().companions.iter().find(|c| c.leaf == leaf) {
        return (c.role, c.words);
    }
    if crate::leak::is_state_leaf(leaf) {
        return (Role::QuantizerState, "leaked quantizer state");
    }
    match leaf {
        WEIGHT_LEAF => (Role::Weight, "weight"),
        "bias" => (Role::Bias, "bias, in the model's own dtype"),
        "k_scale" | "v_scale" => (Role::KvScale, "KV cache scale"),
        // A scale without a place in this scheme still is one: it must not be counted as a weight.
        "weight_scale" | "weight_scale_inv" => (Role::WeightScale, "weight scale"),
        "weight_scale_2" | "weight_global_scale" => (Role::GlobalScale, "global scale"),
        INPUT_SCALE_LEAF | "input_global_scale" => (Role::InputScale, "activation scale"),
        _ => (Role::Other, "parameter"),
    }
}
