//! Making a plan to dequantize: every quantized layer becomes its decoded weight, every other float is cast.

use crate::builder::float_type;
use crate::configs::{self, Quantized};
use crate::error::ConvertError;
use crate::layout::{self, Entry};
use crate::plan::{ChangedLayer, KeptLayer, Place, Plan, Step};
use crate::recipe::Recipe;
use crate::select::kept_by_flags;
use quantscope_audit::decoded::DecodedLayer;
use quantscope_audit::{Checkpoint, LayerInfo, Member, Model};
use quantscope_format::{TensorInfo, TensorSpec};
use quantscope_kernels::FloatType;
use quantscope_numeric::Dtype;
use quantscope_schemes::{
    Role, Scheme, WEIGHT_LEAF, by_id, descriptor_type, is_marker, leak, role_of, unrecognised,
};
use std::collections::{BTreeSet, HashMap};

/// The plain scheme, element type and config word of a target.
fn target(float: FloatType) -> (&'static dyn Scheme, Dtype, &'static str) {
    let (id, dtype, word) = match float {
        FloatType::Bf16 => ("bf16", Dtype::BF16, "bfloat16"),
        FloatType::F16 => ("f16", Dtype::F16, "float16"),
        FloatType::F32 => ("f32", Dtype::F32, "float32"),
    };
    (by_id(id).unwrap_or_else(unrecognised), dtype, word)
}

/// What becomes of a layer.
enum Fate {
    /// It stays as it is, tensor by tensor.
    Keep,
    /// Its weight is decoded; index in [`Plan::changed`].
    Decode(usize, Vec<u64>),
    /// It is plain: floats are cast.
    Cast,
}

/// A plan in the making.
struct Unpacking<'a> {
    checkpoint: &'a Checkpoint,
    recipe: &'a Recipe,
    to: &'static dyn Scheme,
    dtype: Dtype,
    plan: Plan,
}

/// Lays out a conversion to plain numbers.
pub(crate) fn plan(
    checkpoint: &Checkpoint,
    model: &Model,
    recipe: &Recipe,
    float: FloatType,
) -> Result<Plan, ConvertError> {
    let (to, dtype, word) = target(float);
    let mut unpacking = Unpacking { checkpoint, recipe, to, dtype, plan: Plan::default() };
    let mut fates = Vec::with_capacity(model.layers.len());
    for (i, layer) in model.layers.iter().enumerate() {
        fates.push(unpacking.fate(i, layer)?);
    }
    unpacking.lay_out(model, &fates)?;
    unpacking.write_texts(model, &fates, word)?;
    Ok(unpacking.plan)
}

impl Unpacking<'_> {
    fn fate(&mut self, index: usize, layer: &LayerInfo) -> Result<Fate, ConvertError> {
        if let Some(reason) = kept_by_flags(self.recipe, &layer.name) {
            if layer.kind.is_counted() {
                self.plan.kept.push(KeptLayer {
                    name: layer.name.clone(),
                    kind: layer.kind,
                    scheme: layer.scheme.id(),
                    shape: layer.shape.clone(),
                    bytes: layer.bytes,
                    reason,
                });
            }
            return Ok(Fate::Keep);
        }
        if !layer.is_quantized() && !self.holds_unknown_codes(layer) {
            return Ok(Fate::Cast);
        }
        let decoded = DecodedLayer::new(self.checkpoint, layer).map_err(|refusal| ConvertError::Tensor {
            tensor: layer.name.clone(),
            reason: refusal.reason,
            remedy: format!("{}; or keep it with --layer '{}=keep'", refusal.remedy, layer.name),
        })?;
        let shape = decoded.decoder().shape();
        let elements = shape.iter().try_fold(1_u64, |n, &d| n.checked_mul(d));
        let Some(bytes_after) = elements.and_then(|n| self.dtype.byte_len(n)) else {
            return Err(ConvertError::Tensor {
                tensor: layer.name.clone(),
                reason: format!("decodes to the shape {shape:?}, which is more than 64 bits can count"),
                remedy: "mend the checkpoint".into(),
            });
        };
        let changed = self.plan.changed.len();
        self.plan.changed.push(ChangedLayer {
            layer: index,
            name: layer.name.clone(),
            kind: layer.kind,
            to: self.to,
            from: layer.scheme.id(),
            shape: shape.clone(),
            bytes_before: layer.bytes,
            bytes_after,
            note: String::new(),
        });
        Ok(Fate::Decode(changed, shape))
    }

    /// Whether a layer of no known scheme has a weight of anything but numbers: copying it would leave codes
    /// behind that nothing explains any more.
    fn holds_unknown_codes(&self, layer: &LayerInfo) -> bool {
        let weight = [WEIGHT_LEAF, "qweight", "weight_packed"]
            .into_iter()
            .find_map(|l| layer.tensor(self.checkpoint, l));
        weight.is_some_and(|(_, t)| t.shape.len() >= 2 && !t.dtype.is_plain_float() && t.dtype != Dtype::BOOL)
    }

    /// What stands for a tensor that is no part of a quantized weight.
    fn other(&self, member: &Member, tensor: &TensorInfo, fate: &Fate) -> Entry {
        let place = Place { shard: member.shard, tensor: member.tensor, bytes: 0..tensor.byte_len() };
        let cast =
            !matches!(fate, Fate::Keep) && float_type(tensor.dtype).is_some() && tensor.dtype != self.dtype;
        let step = if cast { Step::Cast(place, tensor.dtype) } else { Step::Copy(place) };
        let dtype = if cast { self.dtype } else { tensor.dtype };
        (TensorSpec { name: tensor.name.clone(), dtype, shape: tensor.shape.clone() }, step)
    }

    fn lay_out(&mut self, model: &Model, fates: &[Fate]) -> Result<(), ConvertError> {
        let mut owners: HashMap<(u32, u32), (usize, &Member)> = HashMap::new();
        for (i, layer) in model.layers.iter().enumerate() {
            owners.extend(layer.members.iter().map(|m| ((m.shard, m.tensor), (i, m))));
        }
        let mut done = BTreeSet::new();
        let mut files: Vec<Vec<Entry>> = Vec::new();
        for (s, shard) in (0_u32..).zip(&self.checkpoint.shards) {
            let mut entries = Vec::new();
            for (t, tensor) in (0_u32..).zip(&shard.header.tensors) {
                let Some((i, member)) = owners.get(&(s, t)).copied() else { continue };
                let (Some(layer), Some(fate)) = (model.layers.get(i), fates.get(i)) else { continue };
                if leak::is_state(&tensor.name) {
                    continue;
                }
                if let Fate::Decode(changed, shape) = fate {
                    if done.insert(i) {
                        let name = layer.naming.tensor(&layer.name, WEIGHT_LEAF);
                        let spec = TensorSpec { name, dtype: self.dtype, shape: shape.clone() };
                        entries.push((spec, Step::Decoded(*changed)));
                    }
                    if !matches!(role_of(layer.scheme, &member.leaf).0, Role::Bias | Role::Other) {
                        continue;
                    }
                }
                if !matches!(fate, Fate::Keep) && is_remnant(member, tensor) {
                    continue;
                }
                entries.push(self.other(member, tensor, fate));
            }
            files.push(entries);
        }
        layout::place(self.checkpoint, &mut self.plan, files)?;
        self.plan.bits_before = model.bits_per_weight();
        self.plan.bits_after = self.bits_after(model, fates);
        Ok(())
    }

    fn bits_after(&self, model: &Model, fates: &[Fate]) -> f64 {
        let (mut bits, mut weights) = (0_u64, 0_u64);
        for (layer, fate) in model.layers.iter().zip(fates) {
            let own = match fate {
                Fate::Keep => layer.weight_bits,
                Fate::Decode(..) | Fate::Cast => layer.weights.saturating_mul(self.dtype.bits()),
            };
            bits = bits.saturating_add(own);
            weights = weights.saturating_add(layer.weights);
        }
        quantscope_audit::ratio(bits, weights)
    }

    fn write_texts(&mut self, model: &Model, fates: &[Fate], word: &str) -> Result<(), ConvertError> {
        let kept =
            model.layers.iter().zip(fates).filter(|(l, f)| l.is_quantized() && matches!(f, Fate::Keep));
        let quantized: Vec<Quantized> =
            kept.map(|(l, _)| configs::kept_quantized(self.checkpoint, l, self.recipe.settings)).collect();
        let mut texts = if quantized.is_empty() {
            configs::write_plain(self.checkpoint, word)?
        } else {
            let plain = model.layers.iter().filter(|l| l.kind.is_counted()).map(|l| l.name.clone());
            let names: BTreeSet<&str> = quantized.iter().map(|q| q.module.as_str()).collect();
            let plain = plain.filter(|name| !names.contains(name.as_str())).collect();
            configs::write(
                self.checkpoint,
                &quantized,
                plain,
                &[],
                configs::kv_cache(self.checkpoint, &self.plan.files),
            )?
        };
        texts.extend(configs::index(self.checkpoint, &self.plan.files)?);
        let written: BTreeSet<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
        self.plan.copies = configs::copies(self.checkpoint, &written);
        self.plan.texts = texts;
        Ok(())
    }
}

/// Whether a tensor beside plain weights belongs to the old format: a scale of a KV cache, or a mark.
fn is_remnant(member: &Member, tensor: &TensorInfo) -> bool {
    let role = role_of(unrecognised(), &member.leaf).0;
    matches!(role, Role::KvScale | Role::InputScale)
        || descriptor_type(&member.leaf).is_some()
        || is_marker(&tensor.name)
}
