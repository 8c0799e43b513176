//! What a layer is, apart from how it is stored: linear, convolution, embedding, norm, router, expert.
//!
//! A file does not say; names, ranks and the config do. Source of the name lists: `formats.md` n.

use crate::layer::LayerView;
use crate::scheme::Scheme;
use std::fmt;

/// What a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A matrix.
    Linear,
    /// A convolution over time, height and width; stored packed as a flattened matrix.
    Conv3d,
    /// A convolution over height and width.
    Conv2d,
    /// A convolution over one axis.
    Conv1d,
    /// A look-up table.
    Embedding,
    /// One expert's matrix.
    Expert,
    /// All experts' matrices in one tensor of rank 3.
    ExpertStack,
    /// A normalisation.
    Norm,
    /// The gate that chooses experts.
    Router,
    /// Anything else.
    Other,
}

impl Kind {
    /// All kinds, in the order of the contract.
    pub const ALL: [Self; 10] = [
        Self::Linear,
        Self::Conv3d,
        Self::Conv2d,
        Self::Conv1d,
        Self::Embedding,
        Self::Expert,
        Self::ExpertStack,
        Self::Norm,
        Self::Router,
        Self::Other,
    ];

    /// The word of the contract.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Conv3d => "conv3d",
            Self::Conv2d => "conv2d",
            Self::Conv1d => "conv1d",
            Self::Embedding => "embedding",
            Self::Expert => "expert",
            Self::ExpertStack => "expert-stack",
            Self::Norm => "norm",
            Self::Router => "router",
            Self::Other => "other",
        }
    }

    /// Whether a config that promises a quantized model means this kind: linears and convolutions.
    #[must_use]
    pub const fn is_quantizable(self) -> bool {
        matches!(
            self,
            Self::Linear | Self::Conv3d | Self::Conv2d | Self::Conv1d | Self::Expert | Self::ExpertStack
        )
    }

    /// Whether the layer counts as one when schemes are counted: it has a weight of rank 2 or more.
    #[must_use]
    pub const fn is_counted(self) -> bool {
        !matches!(self, Self::Norm | Self::Other)
    }

    /// The kind of a layer. `conv3d_declared` says that the config names Conv3d among its targets, or that
    /// the model's class is known to be made of them.
    #[must_use]
    pub fn of(layer: &LayerView<'_>, scheme: &dyn Scheme, conv3d_declared: bool) -> Self {
        let last = layer.module.rsplit('.').next().unwrap_or(layer.module);
        let leaf = scheme.weight_leaf(layer);
        let Some(tensor) = layer.get(leaf).or_else(|| layer.principal()) else { return Self::Other };
        let is_weight = tensor.leaf == leaf;
        let packed = scheme.flattens_convolutions();
        let looks_norm = last.contains("norm") || last.starts_with("ln_") || tensor.leaf == "gamma";
        match tensor.rank() {
            0 | 1 if looks_norm => Self::Norm,
            0 | 1 => Self::Other,
            // A norm over channels keeps trailing ones, as `gamma` [C, 1, 1, 1] does.
            _ if looks_norm && tensor.shape.iter().skip(1).all(|&d| d == 1) => Self::Norm,
            _ if is_embedding(last) => Self::Embedding,
            2 if is_weight && is_router(layer.module, last) => Self::Router,
            2 if is_weight && packed && is_conv_name(last, conv3d_declared) => Self::Conv3d,
            2 if is_weight && is_expert(layer.module) => Self::Expert,
            2 if is_weight => Self::Linear,
            3 | 4 if is_stack(layer.module) => Self::ExpertStack,
            3 if is_weight => Self::Conv1d,
            4 if is_weight => Self::Conv2d,
            5 if is_weight => Self::Conv3d,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

fn is_embedding(last: &str) -> bool {
    const NAMES: &[&str] = &[
        "embed_tokens",
        "embeddings",
        "word_embeddings",
        "position_embeddings",
        "token_type_embeddings",
        "wte",
        "wpe",
        "shared",
        "relative_attention_bias",
        "embed_in",
    ];
    NAMES.contains(&last) || last.contains("embedding")
}

fn is_router(module: &str, last: &str) -> bool {
    last == "router"
        || last == "shared_expert_gate"
        || module.ends_with("block_sparse_moe.gate")
        || module.ends_with("mlp.gate")
        || module.ends_with("moe.gate")
}

/// A parameter of, or below, a module called `experts`, and of no single one of them.
fn is_stack(module: &str) -> bool {
    !is_expert(module) && (module.ends_with("experts") || module.contains("experts."))
}

/// A segment `experts` followed by a number.
fn is_expert(module: &str) -> bool {
    let mut segments = module.split('.').peekable();
    while let Some(segment) = segments.next() {
        let numbered =
            segments.peek().is_some_and(|s| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()));
        if segment == "experts" && numbered {
            return true;
        }
    }
    false
}

/// A packed matrix whose module is called a convolution. Short names such as `a_1x1x1` need the config's word.
fn is_conv_name(last: &str, conv3d_declared: bool) -> bool {
    conv3d_declared || last.starts_with("conv") || last.ends_with("_conv")
}

/// Whether a 5-D weight belongs to a transposed convolution, which is never packed.
#[must_use]
pub fn is_transposed_conv(module: &str) -> bool {
    ["transpose", "deconv", "convt"].iter().any(|part| module.contains(part))
}
