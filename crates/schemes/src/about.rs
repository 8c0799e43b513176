//! The words and names in which a scheme describes itself.

use quantscope_numeric::Dtype;

/// Schemes of a family share a hue on the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Four-bit floats and codebooks.
    Fp4,
    /// Eight-bit floats.
    Fp8,
    /// Integers, with or without zero points.
    Int,
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
            Self::Int => "int",
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
    /// What zero is stored as, per block.
    ZeroPoint,
    /// The scale of the activations.
    InputScale,
    /// Factors on the input columns, one each, or another correction of the weight.
    Correction,
    /// How the rest is to be read: an order of groups, a table of values, a description as JSON.
    Layout,
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
    /// Written by some variants of the scheme only.
    Optional,
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
    /// Its shape as a function of the logical weight, for people: `[N, K/16]`.
    pub shape: &'static str,
}

/// How well a layer fits a scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Not at all.
    No,
    /// If nothing else claims it.
    Fallback,
    /// It is meant to be this, but something is missing or wrong.
    Partial,
    /// Every required companion is there.
    Full,
    /// Beyond that, the file or its config says that it is this, so that no scheme with tensors of the same
    /// names can claim it.
    Certain,
}

/// How the scales of a layer lie beside its weights: what a check of its bytes needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleLayout {
    /// Two E2M1 codes a byte, the even column in the low nibble, an E4M3 scale per `block` weights of a
    /// row, an F32 global scale.
    Fp4Blocks {
        /// Weights per block.
        block: u32,
        /// Leaf name of the block scales.
        scale: &'static str,
        /// Leaf name of the global scale.
        global: &'static str,
    },
    /// E4M3 codes, a float scale per `rows` x `cols` tile (`u32::MAX`: the whole extent).
    Fp8Tiles {
        /// Rows per scale.
        rows: u32,
        /// Columns per scale.
        cols: u32,
        /// Leaf name of the scale tensor.
        scale: &'static str,
    },
    /// E2M1 or E4M3 codes, an E8M0 scale per 32 weights of a row.
    MxBlocks {
        /// Leaf name of the block scales.
        scale: &'static str,
    },
    /// Codes of any kind, float scales that may be checked as numbers.
    Scales {
        /// Leaf name of the scale tensor.
        scale: &'static str,
        /// Whether a negative scale is legal.
        signed: bool,
    },
    /// No scales.
    None,
}

impl ScaleLayout {
    /// Leaf name of the scales that lie beside the weights.
    #[must_use]
    pub const fn scale_leaf(self) -> Option<&'static str> {
        match self {
            Self::Fp4Blocks { scale, .. }
            | Self::Fp8Tiles { scale, .. }
            | Self::MxBlocks { scale }
            | Self::Scales { scale, .. } => Some(scale),
            Self::None => None,
        }
    }
}

/// Leaf name of the weight, in every scheme of the reference.
pub const WEIGHT_LEAF: &str = "weight";

/// Leaf name of the activation scale, in every scheme of the reference.
pub const INPUT_SCALE_LEAF: &str = "input_scale";

/// What goes with the weight when a tied copy of a layer is dropped (`formats.md` h).
pub const TIED_LEAVES: &[&str] =
    &[WEIGHT_LEAF, "weight_scale", "weight_scale_2", "weight_scale_inv", INPUT_SCALE_LEAF, "pre_quant_scale"];

/// What a scheme says of itself in words and names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// Stable id: flag, JSON, label.
    pub id: &'static str,
    /// Place in lists: those with smaller numbers come first.
    pub place: u16,
    /// What it is, in a line.
    pub title: &'static str,
    /// Its family.
    pub family: Family,
    /// The tensors it stores, the weight first.
    pub companions: &'static [Companion],
    /// Names under which configs declare it (`quant_algo`), the reference's own first.
    pub algos: &'static [&'static str],
    /// How a config declares it, in words; empty where `algos` says all.
    pub declared_by: &'static str,
    /// Whether activations are quantized too, so that a calibrated layer stores an `input_scale`.
    pub quantizes_activations: bool,
    /// Whether the converter can write it from floating-point weights.
    pub can_encode: bool,
    /// How scales and codes follow from the weight, a line each.
    pub formula: &'static [&'static str],
    /// Where the formula comes from.
    pub source: &'static str,
}

impl About {
    /// Leaf name of the packed weight.
    #[must_use]
    pub fn weight_leaf(&self) -> &'static str {
        self.companions.first().map_or(WEIGHT_LEAF, |c| c.leaf)
    }

    /// The companion of that leaf name.
    #[must_use]
    pub fn companion(&self, leaf: &str) -> Option<&'static Companion> {
        self.companions.iter().find(|c| c.leaf == leaf)
    }
}
