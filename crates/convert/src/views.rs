//! A source as a conversion sees it: modules and tensors under their output names, stacks of experts taken apart.
//!
//! Knows which part of a source tensor each output tensor stands for. Does not know what becomes of it.

use crate::experts::{self, Form, Part};
use crate::plan::Place;
use crate::recipe::Recipe;
use crate::rename::{hub_name, splits_gate_up};
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_numeric::Dtype;
use quantscope_schemes::{Kind, Naming, WEIGHT_LEAF, leak};
use std::collections::HashMap;

/// Where taking stacks apart ends: no model has as many tensors, and headers that claim so are not believed.
const MOST_TENSORS: usize = 1 << 22;

/// A tensor of the source, or one expert's part of it.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// Name in the output, should it be copied.
    pub(crate) name: String,
    /// Name below its module.
    pub(crate) leaf: String,
    /// Index of its module.
    pub(crate) module: usize,
    /// Element type.
    pub(crate) dtype: Dtype,
    /// Dimensions.
    pub(crate) shape: Vec<u64>,
    /// Where its bytes are.
    pub(crate) place: Place,
}

/// A module of the output.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    /// Path in the output.
    pub(crate) name: String,
    /// Index of the layer in the model.
    pub(crate) layer: usize,
    /// What it is.
    pub(crate) kind: Kind,
    /// How the names of its tensors are made.
    pub(crate) naming: Naming,
    /// Index of the view of its weight.
    pub(crate) weight: Option<usize>,
    /// Bytes of its tensors.
    pub(crate) bytes: u64,
    /// For a stack that stays one: whether it is one of those that can be packed, or why nobody can tell.
    pub(crate) stack: Option<Form>,
}

/// The model type whose preset applies, if one does.
pub(crate) fn model_type<'a>(checkpoint: &'a Checkpoint, recipe: &Recipe) -> Option<&'a str> {
    checkpoint.model_config().and_then(|c| c.model_type.as_deref()).filter(|_| recipe.quantizes())
}

/// Modules and tensors of a source. Where values change, quantizer state is left out: it never stands in a finished
/// checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// Tensors, in the order of shards and headers.
    pub(crate) tensors: Vec<View>,
    /// Modules, in the order of their first tensors.
    pub(crate) modules: Vec<Module>,
    by_name: HashMap<String, usize>,
}

impl Views {
    /// Looks at a source. Stacks that nobody can tell the form of stay together, and say so. Presets and the
    /// taking apart of stacks belong to conversions to a scheme: others leave names alone.
    pub(crate) fn new(checkpoint: &Checkpoint, model: &Model, recipe: &Recipe) -> Self {
        let model_type = model_type(checkpoint, recipe);
        let leaves_out_state = !recipe.leaves_values_alone();
        let mut places: HashMap<(u32, u32), (usize, &str)> = HashMap::new();
        for (i, layer) in model.layers.iter().enumerate() {
            places.extend(layer.members.iter().map(|m| ((m.shard, m.tensor), (i, m.leaf.as_str()))));
        }
        let mut views = Self::default();
        for (s, shard) in (0_u32..).zip(&checkpoint.shards) {
            for (t, tensor) in (0_u32..).zip(&shard.header.tensors) {
                let Some(&(index, leaf)) = places.get(&(s, t)) else { continue };
                let Some(layer) = model.layers.get(index) else { continue };
                if leaves_out_state && leak::is_state(&tensor.name) {
                    continue;
                }
                let whole = Place { shard: s, tensor: t, bytes: 0..tensor.byte_len() };
                let form = experts::form(checkpoint, model, layer).filter(|_| recipe.quantizes());
                let parts = match form {
                    Some(Form::Apart) if views.tensors.len() < MOST_TENSORS => {
                        experts::parts(&layer.name, leaf, tensor)
                    }
                    _ if splits_gate_up(model_type) => experts::halves(layer, leaf, tensor),
                    _ => None,
                };
                if let Some(parts) = parts {
                    for part in parts {
                        views.add_part(model_type, index, tensor.dtype, &whole, part);
                    }
                    continue;
                }
                let module = views.module(hub_name(model_type, &layer.name), index, layer, form);
                let view = View {
                    name: hub_name(model_type, &tensor.name),
                    leaf: leaf.to_string(),
                    module,
                    dtype: tensor.dtype,
                    shape: tensor.shape.clone(),
                    place: whole,
                };
                views.add(view, layer.weight_leaf());
            }
        }
        views
    }

    fn module(&mut self, name: String, index: usize, layer: &LayerInfo, form: Option<Form>) -> usize {
        if let Some(&known) = self.by_name.get(&name) {
            return known;
        }
        self.by_name.insert(name.clone(), self.modules.len());
        self.modules.push(Module {
            name,
            layer: index,
            kind: layer.kind,
            naming: layer.naming,
            weight: None,
            bytes: 0,
            stack: form,
        });
        self.modules.len() - 1
    }

    fn add(&mut self, view: View, weight_leaf: &str) {
        if let Some(module) = self.modules.get_mut(view.module) {
            module.bytes = module.bytes.saturating_add(view.place.len());
            if view.leaf == weight_leaf || view.leaf == WEIGHT_LEAF {
                module.weight = Some(self.tensors.len());
            }
        }
        self.tensors.push(view);
    }

    fn add_part(&mut self, model_type: Option<&str>, layer: usize, dtype: Dtype, whole: &Place, part: Part) {
        let name = hub_name(model_type, &part.module);
        let module = match self.by_name.get(&name) {
            Some(&known) => known,
            None => {
                self.by_name.insert(name.clone(), self.modules.len());
                self.modules.push(Module {
                    name: name.clone(),
                    layer,
                    kind: part.kind,
                    naming: Naming::Dotted,
                    weight: None,
                    bytes: 0,
                    stack: None,
                });
                self.modules.len() - 1
            }
        };
        let place = Place { bytes: part.bytes, ..whole.clone() };
        let view = View {
            name: Naming::Dotted.tensor(&name, part.leaf),
            leaf: part.leaf.to_string(),
            module,
            dtype,
            shape: part.shape,
            place,
        };
        self.add(view, WEIGHT_LEAF);
    }

    /// The module of that output name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The weight of a module.
    pub(crate) fn weight(&self, module: &Module) -> Option<&View> {
        self.tensors.get(module.weight?)
    }
}
