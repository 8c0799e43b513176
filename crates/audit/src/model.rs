//! Layers: tensors grouped by module, each with its scheme, kind, logical shape and cost.

use crate::checkpoint::{Checkpoint, Shard};
use crate::forms::{Form, Forms};
use crate::leaf::Leaf;
use quantscope_format::{Arrange as _, HashMap, HashMapExt as _, TensorInfo, natural_cmp};
use quantscope_schemes::{
    ConvKernels, Declared, Family, Kind, LayerView, Match, Naming, Recognised, Role, ScaleLayout, Scheme,
    Stored, WEIGHT_LEAF, role_of, split_name,
};
use std::collections::BTreeMap;

/// One tensor of a layer, by its place in the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name below the module.
    pub leaf: Leaf,
    /// Index of the shard.
    pub shard: u32,
    /// Index of the tensor within the shard's header.
    pub tensor: u32,
}

/// One layer.
#[derive(Clone)]
pub struct LayerInfo {
    /// Module path.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How it is stored.
    pub scheme: &'static dyn Scheme,
    /// Whether every companion the scheme needs is there.
    pub is_complete: bool,
    /// Logical shape, as far as the file tells.
    pub shape: Vec<u64>,
    /// Logical weights, bias and other parameters included.
    pub parameters: u64,
    /// Bits of weights and block scales; 0-d scalars not counted.
    pub weight_bits: u64,
    /// Logical elements that `weight_bits` stores.
    pub weights: u64,
    /// Stored bytes of all its tensors.
    pub bytes: u64,
    /// Its tensors, in header order.
    pub members: Vec<Member>,
    /// How their names are made.
    pub naming: Naming,
    /// Leaf name of the tensor that holds the weight.
    weight_leaf: &'static str,
    /// Scheme that the configs declare for it, excluded or not.
    pub(crate) declared: Option<&'static str>,
}

impl LayerInfo {
    /// Leaf name of the tensor that holds the weight.
    #[must_use]
    pub fn weight_leaf(&self) -> &'static str {
        self.weight_leaf
    }

    /// Bits per weight; 0 where there are no weights.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        ratio(self.weight_bits, self.weights)
    }

    /// The member of that leaf name.
    #[must_use]
    pub fn member(&self, leaf: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.leaf == leaf)
    }

    /// How its scales lie beside its weights.
    #[must_use]
    pub fn scale_layout(&self, checkpoint: &Checkpoint) -> ScaleLayout {
        self.scheme.scale_layout_of(&self.view(checkpoint))
    }

    /// The first member of that role.
    #[must_use]
    pub fn member_of(&self, role: Role) -> Option<&Member> {
        self.members.iter().find(|m| role_of(self.scheme, &m.leaf).0 == role)
    }

    /// The tensor of that leaf name, with its shard.
    #[must_use]
    pub fn tensor<'a>(&self, checkpoint: &'a Checkpoint, leaf: &str) -> Option<(&'a Shard, TensorInfo<'a>)> {
        self.member(leaf).and_then(|m| checkpoint.tensor(m.shard, m.tensor))
    }

    /// The view that schemes work on.
    #[must_use]
    pub fn view<'a>(&'a self, checkpoint: &'a Checkpoint) -> LayerView<'a> {
        let stored = |m: &'a Member| {
            let (_, t) = checkpoint.tensor(m.shard, m.tensor)?;
            Some(Stored { leaf: &m.leaf, dtype: t.dtype, shape: t.shape })
        };
        let tensors = self.members.iter().filter_map(stored).collect();
        LayerView { module: &self.name, tensors, facts: checkpoint.settings.facts(&self.name, self.declared) }
    }

    /// Whether the scheme is a quantized one.
    #[must_use]
    pub fn is_quantized(&self) -> bool {
        self.scheme.family() != Family::Plain
    }
}

/// The layers of a checkpoint, in natural order, and what the configs declare of them.
#[derive(Clone)]
pub struct Model {
    /// Layers.
    pub layers: Vec<LayerInfo>,
    /// What the configs declare.
    pub declared: Declared,
    /// What is known of convolution kernels.
    pub kernels: ConvKernels,
    /// Tensors that stand in more than one shard: name and the shards, the one that counts first.
    pub repeated: BTreeMap<String, Vec<u32>>,
}

/// A quotient of counts as a number for people.
#[must_use]
pub fn ratio(numerator: u64, denominator: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a figure for people, not a size")]
    let quotient = |a: u64, b: u64| a as f64 / b as f64;
    if denominator == 0 { 0.0 } else { quotient(numerator, denominator) }
}

fn index_u32(i: usize) -> u32 {
    u32::try_from(i).unwrap_or(u32::MAX)
}

fn index(i: u32) -> usize {
    usize::try_from(i).unwrap_or(usize::MAX)
}

impl Model {
    /// Groups tensors to layers and recognises each.
    #[must_use]
    pub fn of(checkpoint: &Checkpoint) -> Self {
        let declared = checkpoint.declaration().map(Declared::new).unwrap_or_default();
        let class = checkpoint.model_config().and_then(|c| c.class_name.as_deref());
        let kernels = ConvKernels::of_class(class);
        let (mut groups, repeated) = group(checkpoint);
        // Sorted before they are described: a layer is five times as long as a group.
        groups.arrange_by(|a, b| natural_cmp(&a.0, &b.0));
        let conv3d = declared.targets_only_conv3d() || (kernels.is_known() && declared.targets_conv3d());
        let mut layers: Vec<LayerInfo> = Vec::with_capacity(groups.len());
        let mut forms = Forms::default();
        for (name, members) in groups {
            let layer =
                describe(checkpoint, name, members, &declared, kernels, conv3d, (&layers, &mut forms));
            layers.push(layer);
        }
        Self { layers, declared, kernels, repeated }
    }

    /// The layer of that name.
    #[must_use]
    pub fn layer(&self, name: &str) -> Option<&LayerInfo> {
        let at = self.layers.binary_search_by(|l| natural_cmp(&l.name, name)).ok()?;
        self.layers.get(at)
    }

    /// Logical weights of all layers.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.layers.iter().fold(0, |n, l| n.saturating_add(l.parameters))
    }

    /// Bits of weights and block scales per logical weight, over all layers.
    #[must_use]
    pub fn bits_per_weight(&self) -> f64 {
        let bits = self.layers.iter().fold(0_u64, |n, l| n.saturating_add(l.weight_bits));
        let weights = self.layers.iter().fold(0_u64, |n, l| n.saturating_add(l.weights));
        ratio(bits, weights)
    }
}

type Groups = Vec<(String, Vec<Member>)>;

/// The numbers of texts, given in the order in which they come.
#[derive(Default)]
struct Numbers<'a> {
    all: HashMap<&'a str, u32>,
    /// The last one: neighbours in a file are often of one module, and of one leaf.
    last: Option<(&'a str, u32)>,
}

impl<'a> Numbers<'a> {
    /// The number of a text, and whether it is new.
    fn number(&mut self, text: &'a str) -> (u32, bool) {
        if let Some((_, number)) = self.last.filter(|(last, _)| *last == text) {
            return (number, false);
        }
        let next = index_u32(self.all.len());
        let number = *self.all.entry(text).or_insert(next);
        self.last = Some((text, number));
        (number, number == next)
    }
}

/// A module while its tensors are counted.
struct Module<'a> {
    name: &'a str,
    /// Its tensors, those that stand in several shards counted in each: lists are made as long as they may have to be.
    tensors: u32,
    /// The shard of the first one.
    shard: u32,
    is_in_several: bool,
}

/// Groups tensors by module. A tensor that stands in several shards counts where the index says, or first.
fn group(checkpoint: &Checkpoint) -> (Groups, BTreeMap<String, Vec<u32>>) {
    let mut module_numbers = Numbers::default();
    let mut leaf_numbers = Numbers::default();
    let mut modules: Vec<Module<'_>> = Vec::new();
    let mut leaves: Vec<Leaf> = Vec::new();
    // Of each tensor its module and its leaf.
    let mut owners: Vec<(u32, u32)> = Vec::new();
    owners.reserve_exact(checkpoint.shards.iter().map(|s| s.header.tensors.len()).sum());
    for (s, shard) in (0_u32..).zip(&checkpoint.shards) {
        for tensor in shard.header.tensors.iter() {
            let (name, leaf) = split_name(tensor.name);
            let (number, is_new) = module_numbers.number(name);
            if is_new {
                modules.push(Module { name, tensors: 0, shard: s, is_in_several: false });
            }
            if let Some(module) = modules.get_mut(index(number)) {
                module.tensors = module.tensors.saturating_add(1);
                module.is_in_several |= module.shard != s;
            }
            let (leaf_number, is_new) = leaf_numbers.number(leaf);
            if is_new {
                leaves.push(leaf.into());
            }
            owners.push((number, leaf_number));
        }
    }
    drop((module_numbers, leaf_numbers));
    let empty = |module: &Module<'_>| (module.name.to_owned(), Vec::with_capacity(index(module.tensors)));
    let mut groups: Groups = Vec::with_capacity(modules.len());
    groups.extend(modules.iter().map(empty));
    let mapped_to = |name| checkpoint.readable_index().and_then(|listed| listed.file_of(name));
    // Of the tensors of modules in several shards: where among the members, and the shard that counts. Others stand
    // once, as names do within a header.
    let mut known: HashMap<&str, (usize, u32)> = HashMap::new();
    let mut repeated: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut owners = owners.into_iter();
    for (s, shard) in (0_u32..).zip(&checkpoint.shards) {
        for ((t, tensor), (number, leaf)) in (0_u32..).zip(shard.header.tensors.iter()).zip(owners.by_ref()) {
            let (Some((_, members)), Some(leaf)) = (groups.get_mut(index(number)), leaves.get(index(leaf)))
            else {
                continue;
            };
            if modules.get(index(number)).is_some_and(|module| module.is_in_several) {
                if let Some((at, counts)) = known.get_mut(tensor.name) {
                    repeated.entry(tensor.name.to_owned()).or_insert_with(|| vec![*counts]).push(s);
                    if mapped_to(tensor.name) == Some(&shard.file)
                        && let Some(member) = members.get_mut(*at)
                    {
                        *counts = s;
                        (member.shard, member.tensor) = (s, t);
                    }
                    continue;
                }
                known.insert(tensor.name, (members.len(), s));
            }
            members.push(Member { leaf: leaf.clone(), shard: s, tensor: t });
        }
    }
    (groups, repeated)
}

fn describe<'a>(
    checkpoint: &'a Checkpoint,
    name: String,
    members: Vec<Member>,
    declared: &Declared,
    kernels: ConvKernels,
    conv3d: bool,
    (before, forms): (&[LayerInfo], &mut Forms<'a>),
) -> LayerInfo {
    let mut layer = LayerInfo {
        kind: Kind::Other,
        scheme: quantscope_schemes::unrecognised(),
        is_complete: false,
        shape: Vec::new(),
        parameters: 0,
        weight_bits: 0,
        weights: 0,
        bytes: 0,
        naming: Naming::Dotted,
        weight_leaf: WEIGHT_LEAF,
        declared: declared.hint(&name),
        members,
        name,
    };
    let bare = |m: &Member| {
        let tensor = checkpoint.tensor(m.shard, m.tensor);
        // Most names have a dot there; nothing is made to be compared with those.
        let dotted = |name: &str| name.as_bytes().get(layer.name.len()) == Some(&b'.');
        tensor
            .is_some_and(|(_, t)| !dotted(t.name) && t.name == Naming::Parameter.tensor(&layer.name, &m.leaf))
    };
    if !layer.members.is_empty() && layer.members.iter().all(bare) {
        layer.naming = Naming::Parameter;
    }
    let Form { recognised: Recognised { scheme, fit }, weight_leaf, mut shape, .. } =
        forms.of(checkpoint, &layer, before);
    let view = layer.view(checkpoint);
    let kind = Kind::of(&view, scheme, conv3d);
    let principal = view.get(weight_leaf).or_else(|| view.principal());
    if scheme.flattens_convolutions()
        && kind == Kind::Conv3d
        && let &[rows, cols] = shape.as_slice()
    {
        shape = kernels.shape(&layer.name, rows, cols).map_or(shape, |s| s.to_vec());
    }
    let logical = shape.iter().fold(1_u64, |n, &d| n.saturating_mul(d));
    let mut cost = Cost::default();
    for (stored, member) in view.tensors.iter().zip(&layer.members) {
        let bytes = checkpoint.tensor(member.shard, member.tensor).map_or(0, |(_, t)| t.byte_len());
        let is_principal = principal.is_some_and(|p| p.leaf == stored.leaf);
        cost.add(scheme, *stored, bytes, is_principal.then_some(logical));
    }
    layer.weight_leaf = weight_leaf;
    layer.is_complete = fit >= Match::Full || scheme.family() == Family::Plain;
    (layer.scheme, layer.kind, layer.shape) = (scheme, kind, shape);
    (layer.parameters, layer.weight_bits, layer.weights, layer.bytes) =
        (cost.parameters, cost.weight_bits, cost.weights, cost.bytes);
    layer
}

/// Running sums over the tensors of a layer.
#[derive(Default)]
struct Cost {
    parameters: u64,
    weight_bits: u64,
    weights: u64,
    bytes: u64,
}

impl Cost {
    fn add(&mut self, scheme: &dyn Scheme, stored: Stored<'_>, bytes: u64, principal: Option<u64>) {
        self.bytes = self.bytes.saturating_add(bytes);
        let bits = stored.elements().saturating_mul(stored.dtype.bits());
        if let Some(logical) = principal {
            self.parameters = self.parameters.saturating_add(logical);
            self.weights = self.weights.saturating_add(logical);
            self.weight_bits = self.weight_bits.saturating_add(bits);
            return;
        }
        match role_of(scheme, stored.leaf).0 {
            Role::WeightScale if !stored.shape.is_empty() => {
                self.weight_bits = self.weight_bits.saturating_add(bits);
            }
            // One per block, or one per block of blocks.
            Role::ZeroPoint | Role::GlobalScale if stored.elements() > 1 => {
                self.weight_bits = self.weight_bits.saturating_add(bits);
            }
            Role::Bias | Role::Other | Role::Weight => {
                self.parameters = self.parameters.saturating_add(stored.elements());
            }
            _ => {}
        }
    }
}
