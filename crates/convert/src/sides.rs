//! Modules as ties see them: which have a weight that can be shared, and what goes with it.

use crate::plan::Place;
use crate::views::{Beyond, View, Views};
use quantscope_audit::Model;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Role, WEIGHT_LEAF, role_of};
use std::collections::HashMap;

/// Dtype, shape and scheme of a weight.
pub(crate) type SideKind<'a> = (Dtype, &'a [u64], &'static str);

/// Whether a tensor of a quantized layer goes with its weight.
pub(crate) fn is_part(role: Role) -> bool {
    !matches!(role, Role::Bias | Role::Other | Role::KvScale | Role::QuantizerState)
}

/// Modules by name, as ties see them.
pub(crate) struct Sides<'a> {
    pub(crate) model: &'a Model,
    pub(crate) views: &'a Views,
    /// Modules that have a weight.
    pub(crate) modules: HashMap<&'a str, usize>,
    /// Tensors of each module of a quantized layer.
    tensors: HashMap<usize, Vec<usize>>,
}

impl<'a> Sides<'a> {
    pub(crate) fn new(model: &'a Model, views: &'a Views) -> Self {
        let modules = views.modules.iter().enumerate().filter(|(_, m)| m.weight.is_some());
        let modules = modules.map(|(i, m)| (m.name.as_str(), i)).collect();
        let mut sides = Self { model, views, modules, tensors: HashMap::new() };
        for (v, view) in views.tensors.iter().enumerate() {
            if sides.is_quantized(view.module) {
                sides.tensors.entry(view.module).or_default().push(v);
            }
        }
        sides
    }

    fn layer(&self, module: usize) -> Option<&'a quantscope_audit::LayerInfo> {
        self.model.layers.get(self.views.modules.get(module)?.layer)
    }

    pub(crate) fn is_quantized(&self, module: usize) -> bool {
        self.layer(module).is_some_and(quantscope_audit::LayerInfo::is_quantized)
    }

    pub(crate) fn scheme(&self, module: usize) -> Option<&'static str> {
        self.layer(module).map(|l| l.scheme.id())
    }

    /// The weight of a plain module.
    pub(crate) fn weight(&self, module: usize) -> Option<&'a View> {
        let weight = self.views.weight(self.views.modules.get(module)?)?;
        Some(weight).filter(|w| w.leaf == WEIGHT_LEAF && w.dtype.is_plain_float())
    }

    /// Dtype, shape and scheme of a module's weight, and where it is: sides that share it have all but the last alike.
    pub(crate) fn kind_of(&self, module: usize) -> Option<(SideKind<'a>, &'a Place)> {
        let weight = if self.is_quantized(module) {
            self.views.weight(self.views.modules.get(module)?).filter(|w| w.beyond == Beyond::Nothing)?
        } else {
            self.weight(module)?
        };
        Some(((weight.dtype, &weight.shape, self.scheme(module)?), &weight.place))
    }

    /// Whether a module of that name has a weight that can be shared.
    pub(crate) fn has(&self, name: &str) -> bool {
        let module = self.modules.get(name).copied();
        module.is_some_and(|m| self.is_quantized(m) || self.weight(m).is_some())
    }

    /// What goes with the weight of a quantized module, the weight included.
    pub(crate) fn companions(&self, module: usize) -> Vec<&'a View> {
        let Some(layer) = self.layer(module) else { return Vec::new() };
        let views = self.tensors.get(&module).into_iter().flatten();
        let views = views.filter_map(|&view| self.views.tensors.get(view));
        views.filter(|view| is_part(role_of(layer.scheme, &view.leaf).0)).collect()
    }
}
