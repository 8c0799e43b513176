//! Making a plan to quantize: which layers, with which maxima, sharing which scales.

use crate::calibrate::Found;
use crate::configs::{self, Quantized};
use crate::dedup::Ties;
use crate::error::ConvertError;
use crate::experts::Form as StackForm;
use crate::fused;
use crate::layout::{self, Entry};
use crate::plan::{ChangedLayer, KeptLayer, PackedLayer, Plan};
use crate::recipe::{Recipe, Target};
use crate::select::{Choice, Selector};
use crate::tied::Tied;
use crate::views::{Module, Views};
use quantscope_audit::{Checkpoint, Model};
use quantscope_format::natural_cmp;
use quantscope_kernels::FloatType;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Form, Kind, Matrix, Output, Presence, Recast, Role, Scheme};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn float_type(dtype: Dtype) -> Option<FloatType> {
    match dtype {
        Dtype::F32 => Some(FloatType::F32),
        Dtype::BF16 => Some(FloatType::Bf16),
        Dtype::F16 => Some(FloatType::F16),
        _ => None,
    }
}

/// The cast that codes see. Widening is exact and changes no code, so it is none.
fn cast(from: FloatType, to: Option<FloatType>) -> CodeCast {
    match to {
        Some(FloatType::Bf16) if from != FloatType::Bf16 => CodeCast::ToBf16,
        Some(FloatType::F16) if from != FloatType::F16 => CodeCast::ToF16,
        _ => CodeCast::Keep,
    }
}

/// A plan in the making.
pub(crate) struct Builder<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) model: &'a Model,
    pub(crate) recipe: &'a Recipe,
    pub(crate) ties: &'a Ties,
    pub(crate) views: Views,
    pub(crate) tied: Tied,
    pub(crate) plan: Plan,
    /// Modules that are packed: module index to index in [`Plan::packed`].
    pub(crate) packed: BTreeMap<usize, usize>,
    /// Modules that change their form: index in [`Plan::changed`] and the new outputs.
    pub(crate) changed: BTreeMap<usize, (usize, Vec<Output>)>,
    /// Activation maxima of aliases that keep a scale of their own, by name, with the packed layer they share
    /// the weight of.
    pub(crate) alias_inputs: BTreeMap<String, (usize, f32)>,
    /// Scales of KV caches.
    pub(crate) caches: Vec<(String, f32)>,
}

/// Lays out a conversion to quantized schemes.
pub(crate) fn plan(
    checkpoint: &Checkpoint,
    model: &Model,
    recipe: &Recipe,
    ties: &Ties,
) -> Result<Plan, ConvertError> {
    let views = Views::new(checkpoint, model);
    let choices = choose(checkpoint, model, recipe, &views)?;
    let tied = Tied::new(&views, ties, &choices);
    let mut builder = Builder {
        checkpoint,
        model,
        recipe,
        ties,
        views,
        tied,
        plan: Plan::default(),
        packed: BTreeMap::new(),
        changed: BTreeMap::new(),
        alias_inputs: BTreeMap::new(),
        caches: Vec::new(),
    };
    builder.take(choices)?;
    let mut found = builder.resolve();
    builder.apply_weights(&found)?;
    builder.plan.groups = fused::sharing_weights(&builder.plan.packed);
    builder.apply_inputs(&mut found);
    builder.check_conv3d()?;
    builder.warn(found);
    layout::lay_out(&mut builder)?;
    builder.write_texts()?;
    Ok(builder.plan)
}

fn choose(
    checkpoint: &Checkpoint,
    model: &Model,
    recipe: &Recipe,
    views: &Views,
) -> Result<Vec<Choice>, ConvertError> {
    let Target::Scheme(default) = recipe.default else { return Ok(Vec::new()) };
    let is_quantized = model.layers.iter().any(quantscope_audit::LayerInfo::is_quantized);
    let selector = Selector::new(checkpoint, recipe, default, is_quantized)?;
    let choose = |module: &Module| match model.layers.get(module.layer) {
        Some(layer) => selector.choose(views, module, layer),
        None => Ok(Choice::PassOn),
    };
    views.modules.iter().map(choose).collect()
}

/// Bytes of an output that count as those of weights: codes and block scales.
fn output_bytes(output: &Output) -> u64 {
    let elements = output.shape.iter().fold(1_u64, |n, &d| n.saturating_mul(d));
    let counted = matches!(output.role, Role::Weight | Role::WeightScale) && !output.shape.is_empty();
    if counted { elements.saturating_mul(output.dtype.bits()) / 8 } else { 0 }
}

impl Builder<'_> {
    fn take(&mut self, choices: Vec<Choice>) -> Result<(), ConvertError> {
        let mut order: Vec<(usize, Choice)> = choices.into_iter().enumerate().collect();
        let name = |i: usize| self.views.modules.get(i).map_or("", |m| m.name.as_str());
        order.sort_by(|a, b| natural_cmp(name(a.0), name(b.0)));
        for (i, choice) in order {
            let Some(module) = self.views.modules.get(i).filter(|m| !self.tied.dropped.contains_key(&m.name))
            else {
                continue;
            };
            match choice {
                Choice::PassOn => {}
                Choice::Keep(reason) => {
                    let kept = self.keep(module, reason);
                    self.plan.kept.push(kept);
                }
                Choice::Pack(scheme) => {
                    let packed = self.pack(module, scheme)?;
                    self.packed.insert(i, self.plan.packed.len());
                    self.plan.packed.push(packed);
                }
                Choice::Recast(scheme, recast) => self.change(i, scheme, recast.as_ref()),
            }
        }
        if self.plan.packed.is_empty() && self.plan.changed.is_empty() {
            let reason = self.plan.kept.first().map(|k| format!("; `{}` is kept: {}", k.name, k.reason));
            let reason = reason.unwrap_or_else(|| "; there is no linear or Conv3d layer in it".into());
            return Err(ConvertError::Refused(format!("nothing would be packed{reason}")));
        }
        Ok(())
    }

    fn keep(&self, module: &Module, reason: String) -> KeptLayer {
        let layer = self.model.layers.get(module.layer);
        let weight = self.views.weight(module).map(|w| w.shape.clone());
        let shape = layer.filter(|l| l.is_quantized()).map(|l| l.shape.clone()).or(weight);
        KeptLayer {
            name: module.name.clone(),
            kind: module.kind,
            scheme: layer.map_or("", |l| l.scheme.id()),
            shape: shape.unwrap_or_default(),
            bytes: module.bytes,
            reason,
        }
    }

    fn change(&mut self, i: usize, to: &'static dyn Scheme, recast: &dyn Recast) {
        let Some((module, layer)) =
            self.views.modules.get(i).and_then(|m| Some((m, self.model.layers.get(m.layer)?)))
        else {
            return;
        };
        let outputs = recast.outputs();
        let changed = ChangedLayer {
            layer: module.layer,
            name: module.name.clone(),
            kind: module.kind,
            to,
            from: layer.scheme.id(),
            shape: layer.shape.clone(),
            bytes_before: module.bytes,
            bytes_after: outputs.iter().map(output_bytes).fold(0, u64::saturating_add),
            note: recast.loss().unwrap_or_default(),
        };
        self.changed.insert(i, (self.plan.changed.len(), outputs));
        self.plan.changed.push(changed);
    }

    fn pack(&self, module: &Module, scheme: &'static dyn Scheme) -> Result<PackedLayer, ConvertError> {
        let refuse = |reason: String, remedy: &str| ConvertError::Tensor {
            tensor: module.name.clone(),
            reason,
            remedy: remedy.into(),
        };
        let exclude = format!("leave it out with --exclude '{}'", module.name);
        let weight = self.views.weight(module).and_then(|w| Some((w, float_type(w.dtype)?)));
        let Some((weight, dtype)) = weight else {
            return Err(refuse("has no floating-point weight".into(), &exclude));
        };
        let product = |sides: &[u64]| sides.iter().try_fold(1_u64, |n, &d| n.checked_mul(d)).unwrap_or(0);
        let (rows, cols, form) = match (&module.stack, weight.shape.as_slice(), module.kind) {
            (Some(StackForm::Together), &[experts, cols, out], _) => {
                let matrix = scheme.stack_matrix([experts, cols, out]);
                matrix.map_or((0, 0, Form::Linear), |matrix| (matrix.rows, matrix.cols, matrix.form))
            }
            (Some(_), shape, _) => {
                return Err(refuse(
                    format!("is a stack of experts of shape {shape:?}, which cannot be packed"),
                    &exclude,
                ));
            }
            (None, shape, kind) => {
                let (first, rest) = shape.split_at(shape.len().min(1));
                let form = if kind == Kind::Conv3d { Form::Conv3d } else { Form::Linear };
                (product(first), product(rest), form)
            }
        };
        if rows == 0 || cols == 0 {
            return Err(refuse(format!("has the shape {:?}, which holds nothing", weight.shape), &exclude));
        }
        let matrix = Matrix { rows, cols, form };
        let encoding =
            scheme.encoding(matrix, &self.recipe.settings).map_err(|r| refuse(r.reason, &exclude))?;
        Ok(PackedLayer {
            name: module.name.clone(),
            naming: module.naming,
            kind: module.kind,
            scheme,
            from: self.model.layers.get(module.layer).map_or("", |l| l.scheme.id()),
            shape: weight.shape.clone(),
            place: weight.place.clone(),
            dtype,
            cast: cast(dtype, self.recipe.dtype),
            matrix,
            bytes_after: encoding.outputs.iter().map(output_bytes).fold(0, u64::saturating_add),
            encoding,
            weight_amax: None,
            given: None,
            input_amax: None,
        })
    }

    fn warn(&mut self, found: Found) {
        let stores = |p: &&PackedLayer| {
            p.scheme
                .about()
                .companions
                .iter()
                .any(|c| c.role == Role::InputScale && c.presence == Presence::Calibrated)
        };
        let lacking: Vec<&str> = self
            .plan
            .packed
            .iter()
            .filter(stores)
            .filter(|p| p.input_amax.is_none())
            .map(|p| p.name.as_str())
            .collect();
        let mut warnings = Vec::new();
        if let Some(first) = lacking.first() {
            warnings.push(format!(
                "{} of {} layers get no input_scale, since no calibration names them (first {first}); runtimes that \
                 quantize activations statically need one",
                lacking.len(),
                self.plan.packed.len()
            ));
        }
        for changed in self.plan.changed.iter().filter(|c| !c.note.is_empty()) {
            warnings.push(format!("{}: {}", changed.name, changed.note));
        }
        warnings.extend(self.tied.warnings(self.ties));
        warnings.extend(found.warnings);
        self.plan.warnings = warnings;
    }

    fn write_texts(&mut self) -> Result<(), ConvertError> {
        let packed = self.plan.packed.iter().map(|p| Quantized {
            module: p.name.clone(),
            scheme: p.scheme,
            is_conv3d: p.kind == Kind::Conv3d,
            settings: self.recipe.settings,
        });
        let changed = self.plan.changed.iter().map(|c| Quantized {
            module: c.name.clone(),
            scheme: c.to,
            is_conv3d: c.kind == Kind::Conv3d,
            settings: self.recipe.settings,
        });
        let mut quantized: Vec<Quantized> = packed.chain(changed).collect();
        let mut plain = BTreeSet::new();
        for kept in &self.plan.kept {
            let module = self.views.find(&kept.name).and_then(|i| self.views.modules.get(i));
            let layer = module.and_then(|m| self.model.layers.get(m.layer)).filter(|l| l.is_quantized());
            match layer {
                Some(layer) => {
                    quantized.push(configs::kept_quantized(self.checkpoint, layer, self.recipe.settings));
                }
                None => {
                    plain.insert(kept.name.clone());
                }
            }
        }
        quantized.sort_by(|a, b| natural_cmp(&a.module, &b.module));
        let aliases = self.tied.aliases(self.ties);
        let kv = configs::kv_cache(self.checkpoint, &self.plan.files);
        let mut texts = configs::write(self.checkpoint, &quantized, plain, &aliases, kv)?;
        texts.extend(configs::index(self.checkpoint, &self.plan.files)?);
        let written: BTreeSet<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
        self.plan.copies = configs::copies(self.checkpoint, &written);
        self.plan.texts = texts;
        Ok(())
    }

    /// Scales that stand for no tensor of the source.
    pub(crate) fn constants(&self) -> Vec<Entry> {
        let caches = self.caches.iter().map(|(name, scale)| layout::number(name.clone(), *scale));
        let aliases = self.alias_inputs.iter().filter_map(|(alias, &(i, amax))| {
            let packed = self.plan.packed.get(i)?;
            Some(layout::input_scale(packed.scheme, packed.naming, alias, amax))
        });
        caches.chain(aliases).collect()
    }
}
