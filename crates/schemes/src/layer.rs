//! Tensors of one module seen together: the view that recognition works on.

use crate::about::WEIGHT_LEAF;
use crate::leak;
use quantscope_numeric::Dtype;
use serde_json::{Map, Value};

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

/// What is known of a layer beside its tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Facts<'a> {
    /// Id of the scheme that the configs declare for the module, excluded or not.
    pub declared: Option<&'a str>,
    /// The quantization section of the config, as it holds for this module.
    pub config: Section<'a>,
    /// What the file says of this layer alone, as JSON: an entry of the header's metadata, or the content
    /// of descriptor tensors ([`descriptor_type`]).
    pub descriptor: Option<&'a Map<String, Value>>,
}

impl Facts<'_> {
    /// Whether two layers are told the same, by the same texts. Never true of what differs; false of equal texts that
    /// stand in two places.
    #[must_use]
    pub fn are_those_of(&self, other: &Facts<'_>) -> bool {
        self.declared == other.declared
            && is_same(self.config.all, other.config.all)
            && is_same(self.config.own, other.config.own)
            && is_same(self.descriptor, other.descriptor)
    }

    /// A text of the config.
    #[must_use]
    pub fn config_text(&self, key: &str) -> Option<&str> {
        self.config.get(key)?.as_str()
    }

    /// A number of the config.
    #[must_use]
    pub fn config_number(&self, key: &str) -> Option<u64> {
        self.config.get(key)?.as_u64()
    }

    /// A text of the descriptor.
    #[must_use]
    pub fn descriptor_text(&self, key: &str) -> Option<&str> {
        self.descriptor?.get(key)?.as_str()
    }
}

/// The quantization section of a config as it holds for one module. A view: a config of many entries is kept once,
/// however many modules it speaks of.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Section<'a> {
    /// What holds for all modules.
    all: Option<&'a Map<String, Value>>,
    /// The module's own entry, which comes first.
    own: Option<&'a Map<String, Value>>,
}

/// Whether both are the same piece of memory, or neither is there.
fn is_same<T>(one: Option<&T>, other: Option<&T>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => std::ptr::eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

impl<'a> Section<'a> {
    /// A section of which all holds.
    #[must_use]
    pub fn whole(section: &'a Map<String, Value>) -> Self {
        Self { all: Some(section), own: None }
    }

    /// A section as it holds for a module, which may have an entry in it under its path: an object of its own, or
    /// `false` if nothing of the section holds.
    #[must_use]
    pub fn of_module(section: &'a Map<String, Value>, module: &str) -> Self {
        // A path without a dot is told from a setting by nothing.
        match section.get(module).filter(|_| module.contains('.')) {
            Some(Value::Object(own)) => Self { all: Some(section), own: Some(own) },
            Some(Value::Bool(false)) => Self::default(),
            _ => Self::whole(section),
        }
    }

    /// A value of it. Beside a module's own entry only numbers and words hold for it, no lists and objects.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a Value> {
        let all = || self.all.and_then(|all| all.get(key));
        match self.own {
            None => all(),
            Some(own) => own.get(key).or_else(|| all().filter(|v| !v.is_object() && !v.is_array())),
        }
    }
}

/// A module and its tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerView<'a> {
    /// Module path, such as `model.layers.0.mlp.up_proj`.
    pub module: &'a str,
    /// Its tensors, in header order.
    pub tensors: Vec<Stored<'a>>,
    /// What else is known of it.
    pub facts: Facts<'a>,
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

/// Parameters of modules called `experts` that hold all experts in one tensor, without a leaf of their own.
const STACKED: &[&str] = &["gate_up_proj", "down_proj", "gate_proj", "up_proj", "w1", "w2", "w3"];

/// The leaf that the suffix of a stacked parameter stands for, such as `_weight_scale` in
/// `experts.gate_up_proj_weight_scale`.
const STACKED_LEAVES: &[&str] =
    &["weight_scale_2", "weight_scale_inv", "weight_scale", "input_scale", "blocks", "scales", "bias"];

/// How the names of a layer's tensors are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Naming {
    /// `module.weight`, `module.weight_scale`.
    #[default]
    Dotted,
    /// The weight is called like the module itself, companions with an underscore: `experts.down_proj`,
    /// `experts.down_proj_weight_scale`; torchao's parts with two: `experts._down_proj_qdata`.
    Parameter,
}

impl Naming {
    /// The name of a tensor.
    ///
    /// ```
    /// use quantscope_schemes::Naming;
    /// assert_eq!(Naming::Dotted.tensor("a.b", "weight"), "a.b.weight");
    /// assert_eq!(Naming::Parameter.tensor("experts.down_proj", "weight"), "experts.down_proj");
    /// assert_eq!(Naming::Parameter.tensor("experts.down_proj", "scales"), "experts.down_proj_scales");
    /// assert_eq!(Naming::Parameter.tensor("experts._w1", "_weight_qdata"), "experts._w1_qdata");
    /// assert_eq!(Naming::Parameter.tensor("experts._w1", "weight"), "experts.w1");
    /// ```
    #[must_use]
    pub fn tensor(self, module: &str, leaf: &str) -> String {
        match self {
            Self::Dotted => format!("{module}.{leaf}"),
            Self::Parameter if leaf == WEIGHT_LEAF => match module.rsplit_once("._") {
                // A parameter that torchao flattened: the module's own name has an underscore more.
                Some((parent, parameter)) if !parameter.contains('.') => format!("{parent}.{parameter}"),
                _ => module.to_string(),
            },
            Self::Parameter => format!("{module}_{}", leaf.strip_prefix(FLATTENED).unwrap_or(leaf)),
        }
    }
}

/// Module and leaf of a stacked parameter or of a companion of one.
fn split_stacked(name: &str) -> Option<(&str, &str)> {
    let (parent, last) = name.rsplit_once('.')?;
    if parent != "experts" && !parent.ends_with(".experts") {
        return None;
    }
    if STACKED.contains(&last) {
        return Some((name, WEIGHT_LEAF));
    }
    STACKED_LEAVES.iter().find_map(|leaf| {
        let module = name.strip_suffix(leaf)?.strip_suffix('_')?;
        let (_, stem) = module.rsplit_once('.')?;
        STACKED.contains(&stem).then_some((module, *leaf))
    })
}

/// How torchao's leaves begin: `_weight_qdata` is the part `qdata` of `weight`.
const FLATTENED: &str = "_weight_";

/// Parts of torchao's tensor classes, with the leaf that each has below its parameter.
const PARTS: &[(&str, &str)] = &[
    ("_qdata", "_weight_qdata"),
    ("_per_tensor_scale", "_weight_per_tensor_scale"),
    ("_zero_point", "_weight_zero_point"),
    ("_scale", "_weight_scale"),
];

/// Module and leaf of a part of a parameter that torchao flattened and that is not called `weight`. The parameter
/// is a module of its own, with an underscore before its name.
fn split_flattened(name: &str) -> Option<(&str, &str)> {
    let (module, leaf) = PARTS.iter().find_map(|(part, leaf)| Some((name.strip_suffix(part)?, *leaf)))?;
    let parameter = module.rsplit('.').next()?.strip_prefix('_')?;
    (!parameter.is_empty() && parameter != WEIGHT_LEAF).then_some((module, leaf))
}

/// Leaves of the form `weight.<part>`, of bitsandbytes.
fn split_below_weight(name: &str) -> Option<(&str, &str)> {
    let at = name.rfind(".weight.")?;
    Some((name.get(..at)?, name.get(at + 1..)?))
}

/// The element type of a short tensor that says how its layer is stored, by its leaf; `None` for all others.
/// Such tensors are read when the checkpoint is opened, since no shape of a layer is known without them.
#[must_use]
pub fn descriptor_type(leaf: &str) -> Option<Dtype> {
    match leaf {
        // JSON, of ComfyUI; one number, of bitsandbytes.
        "comfy_quant" | "weight_format" => Some(Dtype::U8),
        // The shape before packing, of compressed-tensors.
        "weight_shape" => Some(Dtype::I64),
        // JSON, of bitsandbytes.
        _ => leaf.starts_with("weight.quant_state.").then_some(Dtype::U8),
    }
}

/// Whether [`descriptor_type`] is this type for some leaf.
#[must_use]
pub const fn may_describe(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::U8 | Dtype::I64)
}

/// Splits a tensor name into module path and leaf.
///
/// The leaf is the last segment; leaked quantizer state stays together below its owner, so that
/// `fc1.input_quantizer._amax` belongs to the module `fc1`. What stands below `weight` belongs to the owner
/// of the weight. A stacked parameter of experts is a module of its own, whose weight it is.
///
/// ```
/// use quantscope_schemes::split_name;
/// assert_eq!(split_name("a.b.weight_scale"), ("a.b", "weight_scale"));
/// assert_eq!(split_name("a.b.input_quantizer._amax"), ("a.b", "input_quantizer._amax"));
/// assert_eq!(split_name("a.weight.quant_state.bitsandbytes__nf4"), ("a", "weight.quant_state.bitsandbytes__nf4"));
/// assert_eq!(split_name("mlp.experts.down_proj"), ("mlp.experts.down_proj", "weight"));
/// assert_eq!(split_name("mlp.experts.down_proj_scales"), ("mlp.experts.down_proj", "scales"));
/// assert_eq!(split_name("mlp.experts._w1_qdata"), ("mlp.experts._w1", "_weight_qdata"));
/// assert_eq!(split_name("0._weight_qdata"), ("0", "_weight_qdata"));
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
    split_stacked(name)
        .or_else(|| split_below_weight(name))
        .or_else(|| split_flattened(name))
        .or_else(|| name.rsplit_once('.'))
        .unwrap_or((name, ""))
}
