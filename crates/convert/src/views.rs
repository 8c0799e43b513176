//! A source as a conversion sees it: modules and tensors under their output names, stacks of experts taken apart.
//!
//! Knows which part of a source tensor each output tensor stands for. Does not know what becomes of it.

use crate::error::ConvertError;
use crate::experts::Form;
use crate::names::{Applied, Cut, LONGEST_NAME, Origin, Way, preset};
use crate::plan::Place;
use crate::recipe::Recipe;
use crate::refused::{Refused, gather};
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_format::TensorInfo;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Kind, Naming, Role, WEIGHT_LEAF, leak, role_of};
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
    /// What else makes it, where several are joined to one.
    pub(crate) beyond: Beyond,
}

impl View {
    /// Bytes of all that it stands for.
    pub(crate) fn bytes(&self) -> u64 {
        self.beyond.rows().iter().map(Place::len).fold(self.place.len(), u64::saturating_add)
    }
}

/// Tensors that a view stands for beside its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// None.
    #[default]
    Nothing,
    /// Their rows follow.
    Rows(Vec<Place>),
    /// They must be equal to it.
    Equal(Vec<Place>),
}

impl Beyond {
    /// The places whose rows follow.
    pub(crate) fn rows(&self) -> &[Place] {
        match self {
            Self::Rows(places) => places,
            Self::Nothing | Self::Equal(_) => &[],
        }
    }
}

/// One of the modules that were joined to another.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Index of the layer in the model.
    pub(crate) layer: usize,
    /// Path it would have in the output.
    pub(crate) name: String,
}

/// A module of the output.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    /// Path in the output.
    pub(crate) name: String,
    /// Path before renames, where names of tensors are renamed whole.
    pub(crate) before: Option<String>,
    /// Index of the layer in the model, the first of them where several are joined.
    pub(crate) layer: usize,
    /// Whether it is something else than that layer: a part of it, or several joined.
    pub(crate) is_part: bool,
    /// The modules that were joined to it.
    pub(crate) joined: Vec<Member>,
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
    /// The module whose weight it is, written once more under this name.
    pub(crate) twin_of: Option<usize>,
}

/// The rules that apply: the user's, or the preset of the model type where layers are brought into a scheme.
fn applied(checkpoint: &Checkpoint, recipe: &Recipe) -> Result<Applied, ConvertError> {
    let model_type = checkpoint.model_config().and_then(|c| c.model_type.as_deref());
    let (rules, origin) = match &recipe.rename {
        Some(rules) => (rules.clone(), Origin::User),
        None => (preset(model_type.filter(|_| recipe.quantizes()))?, Origin::Preset),
    };
    Ok(Applied { rules, origin, unstacks: recipe.quantizes() })
}

/// Modules and tensors of a source. Where values change, quantizer state is left out: it never stands in a finished
/// checkpoint.
#[derive(Debug)]
pub(crate) struct Views {
    /// Tensors, in the order of shards and headers.
    pub(crate) tensors: Vec<View>,
    /// Modules, in the order of their first tensors.
    pub(crate) modules: Vec<Module>,
    /// What the rules ask for and cannot be done.
    pub(crate) refused: Vec<Refused>,
    /// The rules that gave them their names.
    pub(crate) applied: Applied,
    pub(crate) by_name: HashMap<String, usize>,
    /// Modules by layer and part.
    by_part: HashMap<(usize, usize), usize>,
    /// Names of tensors, and those they had in the source.
    names: HashMap<String, String>,
}

/// A layer on its way, and the place of one of its tensors.
struct Passing<'a> {
    index: usize,
    layer: &'a LayerInfo,
    leaf: &'a str,
    tensor: TensorInfo<'a>,
    whole: Place,
}

/// What is kept for a tensor of a shard.
fn slot<T>(shards: &mut [Vec<T>], shard: u32, tensor: u32) -> Option<&mut T> {
    let shard = shards.get_mut(usize::try_from(shard).ok()?)?;
    shard.get_mut(usize::try_from(tensor).ok()?)
}

impl Views {
    /// Looks at a source. Stacks that nobody can tell the form of stay together, and say so. Presets and the
    /// taking apart of stacks belong to conversions to a scheme: others leave names alone, unless the user has
    /// rules.
    ///
    /// Where two tensors would have one name, or the user's rules ask for what cannot be done, that is refused; what
    /// it is about stays as it is, or out.
    ///
    /// # Errors
    /// If a preset is no rules.
    pub(crate) fn new(checkpoint: &Checkpoint, model: &Model, recipe: &Recipe) -> Result<Self, ConvertError> {
        let leaves_out_state = !recipe.leaves_values_alone();
        let mut places: Vec<Vec<Option<(usize, &str)>>> =
            checkpoint.shards.iter().map(|shard| vec![None; shard.header.tensors.len()]).collect();
        for (i, layer) in model.layers.iter().enumerate() {
            for member in &layer.members {
                if let Some(place) = slot(&mut places, member.shard, member.tensor) {
                    *place = Some((i, member.leaf.as_str()));
                }
            }
        }
        let mut views = Self {
            tensors: Vec::new(),
            modules: Vec::new(),
            refused: Vec::new(),
            applied: applied(checkpoint, recipe)?,
            by_name: HashMap::new(),
            by_part: HashMap::new(),
            names: HashMap::new(),
        };
        // Nearly all layers go one way, which is kept once.
        let mut ways: Vec<Way> = vec![Way::Whole(None)];
        let mut way_of: Vec<Option<usize>> = vec![None; model.layers.len()];
        for (s, shard) in (0_u32..).zip(&checkpoint.shards) {
            for (t, tensor) in (0_u32..).zip(shard.header.tensors.iter()) {
                let Some((index, leaf)) = slot(&mut places, s, t).and_then(|place| *place) else { continue };
                let (Some(layer), Some(way)) = (model.layers.get(index), way_of.get_mut(index)) else {
                    continue;
                };
                if leaves_out_state && leak::is_state(tensor.name) {
                    continue;
                }
                let way = match *way {
                    Some(known) => known,
                    None => {
                        let found = gather(&mut views.refused, views.applied.way(checkpoint, model, layer))?;
                        let known = match found {
                            None | Some(Way::Whole(None)) => 0,
                            Some(found) => {
                                ways.push(found);
                                ways.len() - 1
                            }
                        };
                        *way.insert(known)
                    }
                };
                let Some(way) = ways.get(way) else { continue };
                let whole = Place { shard: s, tensor: t, bytes: 0..tensor.byte_len() };
                let passing = Passing { index, layer, leaf, tensor, whole };
                let added = match way {
                    Way::Cut(cut, paths) => views.add_parts(&passing, cut, paths),
                    Way::Whole(form) => views.add_whole(passing, form.as_ref()),
                };
                gather(&mut views.refused, added)?;
            }
        }
        if recipe.fuse {
            views.join(checkpoint, model, &recipe.fuse_groups)?;
        }
        Ok(views)
    }

    fn add_whole(&mut self, passing: Passing<'_>, form: Option<&Form>) -> Result<(), ConvertError> {
        let Passing { index, layer, leaf, tensor, whole } = passing;
        let module = self.module((index, 0), || Module {
            name: String::new(),
            before: Some(layer.name.clone()),
            layer: index,
            is_part: false,
            joined: Vec::new(),
            kind: layer.kind,
            naming: layer.naming,
            weight: None,
            bytes: 0,
            stack: form.cloned(),
            twin_of: None,
        });
        if let Some(module) = self.modules.get(module) {
            self.applied.check_survivor(layer, &module.name)?;
        }
        let view = View {
            name: self.applied.rules.tensor(tensor.name),
            leaf: leaf.to_string(),
            module,
            dtype: tensor.dtype,
            shape: tensor.shape.to_vec(),
            place: whole,
            beyond: Beyond::Nothing,
        };
        self.add(view, layer.weight_leaf(), tensor.name)
    }

    fn add_parts(&mut self, passing: &Passing<'_>, cut: &Cut, paths: &[String]) -> Result<(), ConvertError> {
        let Passing { index, layer, leaf, tensor, ref whole } = *passing;
        let refuse = |reason: String, remedy: &str| ConvertError::Tensor {
            tensor: tensor.name.to_owned(),
            reason,
            remedy: remedy.into(),
        };
        let kind = if cut.experts.is_some() { Kind::Expert } else { layer.kind };
        let role = role_of(layer.scheme, leaf).0;
        let slices = cut.slices(role, leaf, tensor).map_err(|reason| {
            refuse(
                reason,
                "dequantize it first with --to bf16 and quantize the parts, or leave it out of the rules",
            )
        })?;
        if self.tensors.len().saturating_add(slices.len()) > MOST_TENSORS {
            return Err(refuse("would become too many tensors".into(), "mend the checkpoint"));
        }
        for (part, (slice, path)) in slices.into_iter().zip(paths).enumerate() {
            let module = self.module((index, part), || Module {
                name: String::new(),
                before: Some(path.clone()),
                layer: index,
                is_part: true,
                joined: Vec::new(),
                kind,
                naming: Naming::Dotted,
                weight: None,
                bytes: 0,
                stack: None,
                twin_of: None,
            });
            let view = View {
                name: self.applied.rules.tensor(&Naming::Dotted.tensor(path, leaf)),
                leaf: leaf.to_string(),
                module,
                dtype: tensor.dtype,
                shape: slice.shape,
                place: Place { bytes: slice.bytes, ..whole.clone() },
                beyond: Beyond::Nothing,
            };
            self.add(view, layer.weight_leaf(), tensor.name)?;
        }
        Ok(())
    }

    /// The module of a part of a layer, renamed when it is new.
    fn module(&mut self, part: (usize, usize), new: impl FnOnce() -> Module) -> usize {
        *self.by_part.entry(part).or_insert_with(|| {
            let mut module = new();
            module.name =
                module.before.as_deref().map(|path| self.applied.rules.module(path)).unwrap_or_default();
            self.by_name.entry(module.name.clone()).or_insert(self.modules.len());
            self.modules.push(module);
            self.modules.len() - 1
        })
    }

    fn add(&mut self, view: View, weight_leaf: &str, source: &str) -> Result<(), ConvertError> {
        let refuse = |reason: String| ConvertError::Tensor {
            tensor: source.to_string(),
            reason,
            remedy: "change the rename rules".into(),
        };
        if view.name.is_empty() || view.name.len() > LONGEST_NAME {
            let reason =
                format!("would get a name of {} bytes, where 1 to {LONGEST_NAME} are taken", view.name.len());
            return Err(refuse(reason));
        }
        if let Some(other) = self.names.insert(view.name.clone(), source.to_string()) {
            return Err(refuse(format!("would be called `{}`, as `{other}` would", view.name)));
        }
        let own = self.tensors.len();
        if let Some(module) = self.modules.get_mut(view.module) {
            module.bytes = module.bytes.saturating_add(view.place.len());
            if view.leaf == weight_leaf || view.leaf == WEIGHT_LEAF {
                module.weight = Some(own);
                // Where layers come together under one name, it is that of the one with a weight.
                self.by_name.insert(module.name.clone(), view.module);
            }
        }
        self.tensors.push(view);
        Ok(())
    }

    /// Writes a module once more under another name: what goes with its weight.
    ///
    /// # Errors
    /// If something else has that name.
    pub(crate) fn add_twin(
        &mut self,
        model: &Model,
        alias: &str,
        canonical: &str,
    ) -> Result<(), ConvertError> {
        let Some(origin) = self.find(canonical).filter(|_| self.find(alias).is_none()) else { return Ok(()) };
        let Some(found) = self.modules.get(origin).cloned() else { return Ok(()) };
        let Some(layer) = model.layers.get(found.layer) else { return Ok(()) };
        let goes = |view: &View| {
            let role = role_of(layer.scheme, &view.leaf).0;
            view.module == origin
                && !matches!(role, Role::Bias | Role::Other | Role::KvScale | Role::QuantizerState)
        };
        let views: Vec<View> = self.tensors.iter().filter(|view| goes(view)).cloned().collect();
        let module = self.modules.len();
        self.by_name.insert(alias.to_string(), module);
        let naming = found.naming;
        self.modules.push(Module {
            name: alias.to_string(),
            before: None,
            weight: None,
            bytes: 0,
            twin_of: Some(origin),
            ..found
        });
        for view in views {
            let name = naming.tensor(alias, &view.leaf);
            let source = view.name.clone();
            self.add(View { name, module, ..view }, layer.weight_leaf(), &source)?;
        }
        Ok(())
    }

    /// Forgets by which names modules and tensors are found, once nobody looks for one any more.
    pub(crate) fn forget_names(&mut self) {
        (self.by_name, self.by_part, self.names) = (HashMap::new(), HashMap::new(), HashMap::new());
    }

    /// The module of that output name.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The weight of a module.
    pub(crate) fn weight(&self, module: &Module) -> Option<&View> {
        self.tensors.get(module.weight?)
    }

    /// The name in the output of a tensor of a module.
    pub(crate) fn tensor_name(&self, module: &Module, leaf: &str) -> String {
        match &module.before {
            Some(before) => self.applied.rules.tensor(&module.naming.tensor(before, leaf)),
            None => module.naming.tensor(&module.name, leaf),
        }
    }
}
