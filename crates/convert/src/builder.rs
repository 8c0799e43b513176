//! Making a plan: which layers are packed, taken over, decoded, cast or kept, with which maxima, sharing which scales.

use crate::calibrate::Found;
use crate::configs::{self, Quantized};
use crate::dedup::Ties;
use crate::error::ConvertError;
use crate::experts::Form as StackForm;
use crate::fused;
use crate::layout::{self, Entry};
use crate::plain::{self, float_type};
use crate::plan::{ChangedLayer, KeptLayer, PackedLayer, Plan, Step};
use crate::recipe::{Recipe, Target};
use crate::refused::{Refused, gather};
use crate::select::{Choice, Selector};
use crate::tied::Tied;
use crate::views::{Module, Views};
use quantscope_audit::decoded::DecodedLayer;
use quantscope_audit::{Checkpoint, Model};
use quantscope_format::{Arrange as _, Gather as _};
use quantscope_format::{TensorSpec, natural_cmp};
use quantscope_kernels::FloatType;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_schemes::{
    Activations, Family, Form, Kind, Lossless, Matrix, Output, Presence, Recast, Role, Scheme, WEIGHT_LEAF,
};
use std::collections::{BTreeMap, BTreeSet};

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
    /// Modules that change their form: index in [`Plan::changed`] and what stands for them.
    pub(crate) changed: BTreeMap<usize, (usize, Vec<Entry>)>,
    /// Modules whose floats are cast, and to what.
    pub(crate) casts: BTreeMap<usize, FloatType>,
    /// Activation maxima of aliases that keep a scale of their own, by name, with the packed layer they share
    /// the weight of.
    pub(crate) alias_inputs: BTreeMap<String, (usize, f32)>,
    /// Scales of KV caches.
    pub(crate) caches: Vec<(String, f32)>,
}

/// Lays out a conversion.
pub(crate) fn plan(
    checkpoint: &Checkpoint,
    model: &Model,
    recipe: &Recipe,
    ties: &Ties,
) -> Result<Plan, ConvertError> {
    let mut views = Views::new(checkpoint, model, recipe)?;
    for (alias, canonical) in ties.absent.iter().filter(|_| recipe.expand_ties) {
        views.add_twin(model, alias, canonical)?;
    }
    let mut refused = ties.refused();
    refused.extend(views.refused.iter().cloned());
    let choices = choose(checkpoint, model, recipe, &views, &mut refused)?;
    let tied = Tied::new(&views, ties, &choices, recipe);
    let mut builder = Builder {
        checkpoint,
        model,
        recipe,
        ties,
        views,
        tied,
        plan: Plan { refused, ..Plan::default() },
        packed: BTreeMap::new(),
        changed: BTreeMap::new(),
        casts: BTreeMap::new(),
        alias_inputs: BTreeMap::new(),
        caches: Vec::new(),
    };
    builder.take(choices)?;
    let mut found = builder.resolve();
    builder.apply_weights(&found)?;
    builder.plan.groups = fused::sharing_weights(&builder.plan.packed, &recipe.fuse_groups);
    builder.apply_inputs(&mut found);
    builder.share_with_twins();
    builder.check_conv3d();
    builder.warn(found);
    layout::lay_out(&mut builder)?;
    builder.write_texts()?;
    builder.plan.bytes_tied = builder.tied.bytes;
    builder.plan.refused.append(&mut builder.tied.refused);
    builder.plan.refused.arrange_by(|a, b| natural_cmp(&a.name, &b.name));
    Ok(builder.plan)
}

fn choose(
    checkpoint: &Checkpoint,
    model: &Model,
    recipe: &Recipe,
    views: &Views,
    refused: &mut Vec<Refused>,
) -> Result<Vec<Choice>, ConvertError> {
    let is_quantized = model.layers.iter().any(quantscope_audit::LayerInfo::is_quantized);
    let selector = Selector::new(checkpoint, recipe, is_quantized)?;
    let choose = |module: &Module| match model.layers.get(module.layer) {
        Some(layer) => {
            // What is written once more is treated as what it is of.
            let judged = module.twin_of.and_then(|i| views.modules.get(i)).unwrap_or(module);
            let chosen = gather(refused, selector.choose(views, judged, layer))?;
            Ok(chosen.unwrap_or(Choice::PassOn))
        }
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
        order.arrange_by(|a, b| natural_cmp(name(a.0), name(b.0)));
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
                    let packed = self.pack(module, scheme);
                    if let Some(packed) = gather(&mut self.plan.refused, packed)? {
                        self.packed.insert(i, self.plan.packed.len());
                        self.plan.packed.push(packed);
                    }
                }
                Choice::Recast(scheme, recast) => self.recast(i, scheme, recast.as_ref()),
                Choice::Decode(float) => {
                    let decoded = self.decode(i, float);
                    gather(&mut self.plan.refused, decoded)?;
                }
                Choice::Cast(float) => {
                    self.casts.insert(i, float);
                }
            }
        }
        self.plan.packed.shrink_to_fit();
        let plan = &self.plan;
        let is_idle = plan.packed.is_empty() && plan.changed.is_empty() && plan.refused.is_empty();
        if self.recipe.quantizes() && is_idle {
            let reason = self.plan.kept.first().map(|k| format!("; `{}` is kept: {}", k.name, k.reason));
            let reason = reason.unwrap_or_else(|| "; there is no linear or Conv3d layer in it".into());
            return Err(ConvertError::Refused(format!("nothing would be packed{reason}")));
        }
        Ok(())
    }

    fn keep(&self, module: &Module, reason: String) -> KeptLayer {
        let layer = self.model.layers.get(module.layer);
        let weight = self.views.weight(module).map(|w| w.shape.clone());
        let logical = layer.filter(|l| l.is_quantized() && !module.is_part).map(|l| l.shape.clone());
        let shape = logical.or(weight);
        KeptLayer {
            name: module.name.clone(),
            kind: module.kind,
            scheme: layer.map_or("", |l| l.scheme.id()),
            shape: shape.unwrap_or_default(),
            bytes: module.bytes,
            reason,
        }
    }

    fn recast(&mut self, i: usize, to: &'static dyn Scheme, recast: &dyn Recast) {
        let Some(module) = self.views.modules.get(i) else { return };
        let changed = self.plan.changed.len();
        let outputs = recast.outputs();
        let entry = |(o, output): (usize, &Output)| {
            let name = self.views.tensor_name(module, output.leaf);
            let spec = TensorSpec { name, dtype: output.dtype, shape: output.shape.clone() };
            (spec, Step::Recast(changed, o))
        };
        let entries = outputs.iter().enumerate().map(entry).collect();
        let bytes_after = outputs.iter().map(output_bytes).fold(0, u64::saturating_add);
        let note = recast.loss().unwrap_or_default();
        let Some(mut changed) = self.changed_layer(module, to, bytes_after, note) else { return };
        changed.lossless = recast.lossless();
        self.changed.insert(i, (self.plan.changed.len(), entries));
        self.plan.changed.push(changed);
    }

    fn decode(&mut self, i: usize, float: FloatType) -> Result<(), ConvertError> {
        let Some((module, layer)) =
            self.views.modules.get(i).and_then(|m| Some((m, self.model.layers.get(m.layer)?)))
        else {
            return Ok(());
        };
        let decoded = DecodedLayer::new(self.checkpoint, layer).map_err(|refusal| ConvertError::Tensor {
            tensor: layer.name.clone(),
            reason: refusal.reason,
            remedy: format!("{}; or keep it with --layer '{}=keep'", refusal.remedy, layer.name),
        })?;
        let shape = decoded.decoder().shape();
        let dtype = plain::dtype(float);
        let elements = shape.iter().try_fold(1_u64, |n, &d| n.checked_mul(d));
        let Some(bytes_after) = elements.and_then(|n| dtype.byte_len(n)) else {
            return Err(ConvertError::Tensor {
                tensor: layer.name.clone(),
                reason: format!("decodes to the shape {shape:?}, which is more than 64 bits can count"),
                remedy: "mend the checkpoint".into(),
            });
        };
        let spec =
            TensorSpec { name: self.views.tensor_name(module, WEIGHT_LEAF), dtype, shape: shape.clone() };
        let entries = vec![(spec, Step::Decoded(self.plan.changed.len()))];
        let Some(mut changed) = self.changed_layer(module, plain::scheme(float), bytes_after, String::new())
        else {
            return Ok(());
        };
        changed.shape = shape;
        if layer.scheme.decodes_exactly(dtype) {
            changed.lossless = Lossless::Yes;
        }
        self.casts.insert(i, float);
        self.changed.insert(i, (self.plan.changed.len(), entries));
        self.plan.changed.push(changed);
        Ok(())
    }

    fn changed_layer(
        &self,
        module: &Module,
        to: &'static dyn Scheme,
        bytes_after: u64,
        note: String,
    ) -> Option<ChangedLayer> {
        let layer = self.model.layers.get(module.layer)?;
        Some(ChangedLayer {
            layer: module.layer,
            name: module.name.clone(),
            kind: module.kind,
            to,
            from: layer.scheme.id(),
            shape: layer.shape.clone(),
            bytes_before: module.bytes,
            bytes_after,
            lossless: Lossless::DataDecides,
            note,
        })
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
            joined: weight.beyond.rows().to_vec(),
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
        let mut warnings = self.views.applied.rules.warnings.clone();
        if let Some(first) = lacking.first() {
            warnings.push(format!(
                "{} of {} layers get no input_scale, since no calibration names them (first {first}); runtimes that \
                 quantize activations statically need one",
                lacking.len(),
                self.plan.packed.len()
            ));
        }
        let mut notes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for changed in self.plan.changed.iter().filter(|c| !c.note.is_empty()) {
            notes.entry(&changed.note).or_default().push(&changed.name);
        }
        for (note, names) in notes {
            let more = names.len().saturating_sub(1);
            let others = if more > 0 { format!(" and {more} other layers") } else { String::new() };
            warnings.push(format!("{}{others}: {note}", names.first().copied().unwrap_or_default()));
        }
        warnings.extend(self.tied.warnings(self.ties));
        warnings.extend(found.warnings);
        self.plan.warnings = warnings;
    }

    /// What configs say of the output: its quantized layers, and the modules that are plain.
    pub(crate) fn declared(&self) -> (Vec<Quantized>, BTreeSet<String>) {
        let settings = self.recipe.settings;
        let made = |name: &str, scheme: &'static dyn Scheme, kind, has_input: bool| Quantized {
            module: name.to_string(),
            scheme,
            is_conv3d: kind == Kind::Conv3d,
            settings,
            activations: if has_input { Activations::Static } else { configs::without_scale(scheme) },
        };
        let (mut quantized, mut plain) = (Vec::new(), BTreeSet::new());
        for (i, module) in self.views.modules.iter().enumerate() {
            let Some(layer) = self.model.layers.get(module.layer) else { continue };
            if self.tied.dropped.contains_key(&module.name) {
                continue;
            }
            let changed = self.changed.get(&i).and_then(|(c, _)| self.plan.changed.get(*c));
            if let Some(packed) = self.packed.get(&i).and_then(|&p| self.plan.packed.get(p)) {
                quantized.push(made(&packed.name, packed.scheme, packed.kind, packed.input_amax.is_some()));
            } else if let Some(changed) = changed.filter(|c| c.to.family() != Family::Plain) {
                let has_input = layer.member_of(Role::InputScale).is_some();
                let mut made = made(&changed.name, changed.to, changed.kind, has_input);
                // A scheme for weights alone stays one in a form that serves both.
                if !has_input && !layer.scheme.about().quantizes_activations {
                    made.activations = Activations::Kept;
                }
                quantized.push(made);
            } else if layer.is_quantized() && changed.is_none() {
                let kept = configs::kept_quantized(self.checkpoint, layer, settings);
                quantized.push(Quantized { module: module.name.clone(), ..kept });
            } else if module.kind.is_counted() {
                plain.insert(module.name.clone());
            }
        }
        quantized.arrange_by(|a, b| natural_cmp(&a.module, &b.module));
        (quantized, plain)
    }

    /// Whether configs and headers say anew how layers are quantized; if not, those of the source hold.
    pub(crate) fn declares_anew(&self) -> bool {
        self.recipe.quantizes()
            || matches!(self.recipe.default, Target::Float(_))
            || !self.plan.changed.is_empty()
    }

    fn write_texts(&mut self) -> Result<(), ConvertError> {
        let dtype = self.recipe.casts_all().map(plain::config_word);
        let is_new = self.declares_anew();
        let mut texts = if is_new {
            let (quantized, plain) = self.declared();
            let aliases = self.tied.aliases(self.ties);
            let written = self.plan.files.iter().flat_map(|f| &f.tensors).map(|t| t.spec.name.as_str());
            let kv = configs::kv_cache(self.checkpoint, written);
            configs::write(self.checkpoint, &quantized, plain, &aliases, kv, dtype)?
        } else {
            self.same_configs(dtype)?
        };
        let is_wanted = |name: &str| self.recipe.writes_config(name);
        texts.retain(|(name, _)| is_wanted(name));
        let resharded = self.recipe.shard_bytes.is_some();
        texts.extend(configs::index(self.checkpoint, &self.plan.files, resharded)?);
        let written: BTreeSet<&str> = texts.iter().map(|(name, _)| name.as_str()).gather_set();
        let mut copies = configs::copies(self.checkpoint, &written, is_new);
        copies.retain(|name| is_wanted(name));
        self.plan.copies = copies;
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
