//! Making a plan: which layers, which scales they share, which tensors stand where.

use crate::calibration::KvMaximum;
use crate::configs::{self, Quantized};
use crate::error::ConvertError;
use crate::fused;
use crate::plan::{KeptLayer, PackedLayer, Plan, PlanFile, PlanTensor, Step};
use crate::recipe::Recipe;
use crate::select::{Choice, Selector};
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_format::{HeaderLayout, TensorInfo, TensorSpec};
use quantscope_kernels::FloatType;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Form, INPUT_SCALE_LEAF, Kind, Matrix, Output, Role, Scheme, WEIGHT_LEAF, kv, leak};
use std::collections::{BTreeMap, BTreeSet};

fn float_type(dtype: Dtype) -> Option<FloatType> {
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
    checkpoint: &'a Checkpoint,
    model: &'a Model,
    recipe: &'a Recipe,
    plan: Plan,
    /// Activation maximum of packed layers, merged over fused groups.
    inputs: BTreeMap<usize, f32>,
}

impl<'a> Builder<'a> {
    /// Begins with an empty plan.
    pub(crate) fn new(checkpoint: &'a Checkpoint, model: &'a Model, recipe: &'a Recipe, plan: Plan) -> Self {
        Self { checkpoint, model, recipe, plan, inputs: BTreeMap::new() }
    }

    /// Decides on every layer, then lays out the files.
    pub(crate) fn build(mut self) -> Result<Plan, ConvertError> {
        self.select()?;
        self.share_inputs();
        self.warn();
        self.lay_out()?;
        self.write_texts()?;
        Ok(self.plan)
    }

    fn select(&mut self) -> Result<(), ConvertError> {
        let selector = Selector::new(self.recipe)?;
        for layer in &self.model.layers {
            match selector.choose(self.checkpoint, layer)? {
                Choice::PassOn => {}
                Choice::Keep(reason) => self.plan.kept.push(KeptLayer {
                    name: layer.name.clone(),
                    kind: layer.kind,
                    scheme: layer.scheme.id(),
                    shape: layer.shape.clone(),
                    bytes: layer.bytes,
                    reason,
                }),
                Choice::Pack(scheme) => {
                    let packed = self.pack(layer, scheme)?;
                    self.plan.packed.push(packed);
                }
            }
        }
        if self.plan.packed.is_empty() {
            let reason = self.plan.kept.first().map(|k| format!("; `{}` is kept: {}", k.name, k.reason));
            let reason = reason.unwrap_or_else(|| "; there is no linear or Conv3d layer in it".into());
            return Err(ConvertError::Refused(format!("nothing would be packed{reason}")));
        }
        let names: Vec<(&str, &str)> =
            self.plan.packed.iter().map(|p| (p.name.as_str(), p.scheme.id())).collect();
        self.plan.groups = fused::groups(&names);
        Ok(())
    }

    fn pack(&self, layer: &LayerInfo, scheme: &'static dyn Scheme) -> Result<PackedLayer, ConvertError> {
        let refuse = |reason: String, remedy: &str| ConvertError::Tensor {
            tensor: layer.name.clone(),
            reason,
            remedy: remedy.into(),
        };
        let exclude = format!("leave it out with --exclude '{}'", layer.name);
        let found = layer.member(WEIGHT_LEAF).and_then(|m| {
            let (_, tensor) = self.checkpoint.tensor(m.shard, m.tensor)?;
            Some((m, tensor, float_type(tensor.dtype)?))
        });
        let Some((member, weight, dtype)) = found else {
            return Err(refuse("has no floating-point weight".into(), &exclude));
        };
        let rows = weight.shape.first().copied().unwrap_or(0);
        let cols = weight.shape.iter().skip(1).try_fold(1_u64, |n, &d| n.checked_mul(d)).unwrap_or(0);
        if rows == 0 || cols == 0 {
            return Err(refuse(format!("has the shape {:?}, which holds nothing", weight.shape), &exclude));
        }
        let form = if layer.kind == Kind::Conv3d { Form::Conv3d } else { Form::Linear };
        let matrix = Matrix { rows, cols, form };
        let encoding =
            scheme.encoding(matrix, &self.recipe.settings).map_err(|r| refuse(r.reason, &exclude))?;
        let output_bytes = |o: &Output| {
            let elements = o.shape.iter().fold(1_u64, |n, &d| n.saturating_mul(d));
            if o.shape.is_empty() { 0 } else { elements.saturating_mul(o.dtype.bits()) / 8 }
        };
        let bytes_after = encoding.outputs.iter().map(output_bytes).fold(0, u64::saturating_add);
        Ok(PackedLayer {
            name: layer.name.clone(),
            kind: layer.kind,
            scheme,
            from: layer.scheme.id(),
            shape: layer.shape.clone(),
            shard: member.shard,
            tensor: member.tensor,
            dtype,
            cast: cast(dtype, self.recipe.dtype),
            matrix,
            encoding,
            weight_amax: self.recipe.calibration.weights.get(&layer.name).copied(),
            bytes_before: weight.byte_len(),
            bytes_after,
        })
    }

    /// Activation maxima, the largest of each fused group for all its members.
    fn share_inputs(&mut self) {
        let inputs = &self.recipe.calibration.inputs;
        for (i, packed) in self.plan.packed.iter().enumerate() {
            if let Some(&amax) =
                inputs.get(&packed.name).filter(|_| packed.scheme.about().quantizes_activations)
            {
                self.inputs.insert(i, amax);
            }
        }
        for group in &self.plan.groups {
            let largest = group.iter().filter_map(|i| self.inputs.get(i)).copied().reduce(f32::max);
            if let Some(largest) = largest {
                for &i in group.iter().filter(|&&i| {
                    self.plan.packed.get(i).is_some_and(|p| p.scheme.about().quantizes_activations)
                }) {
                    self.inputs.insert(i, largest);
                }
            }
        }
    }

    fn warn(&mut self) {
        let packed: BTreeSet<&str> = self.plan.packed.iter().map(|p| p.name.as_str()).collect();
        let lacking: Vec<&str> = (0..)
            .zip(&self.plan.packed)
            .filter(|(i, p)| p.scheme.about().quantizes_activations && !self.inputs.contains_key(i))
            .map(|(_, p)| p.name.as_str())
            .collect();
        let mut warnings = Vec::new();
        if let Some(first) = lacking.first() {
            warnings.push(format!(
                "{} of {} layers get no input_scale, since no calibration names them (first {first}); runtimes that \
                 quantize activations statically need one",
                lacking.len(),
                packed.len()
            ));
        }
        let calibration = &self.recipe.calibration;
        let named = calibration.inputs.keys().chain(calibration.weights.keys());
        let strangers: Vec<&String> = named.filter(|m| self.model.layer(m).is_none()).collect();
        for module in strangers.iter().take(5) {
            warnings.push(format!("the calibration names {module}, which is no module of this checkpoint"));
        }
        if strangers.len() > 5 {
            warnings.push(format!(
                "and {} more calibrated modules are not in this checkpoint",
                strangers.len() - 5
            ));
        }
        for key in calibration.unknown.iter().take(5) {
            warnings.push(format!("the calibration key {key:?} is of no form that can be used"));
        }
        self.plan.warnings = warnings;
    }

    /// Output tensors file by file, each source shard becoming one output file.
    fn lay_out(&mut self) -> Result<(), ConvertError> {
        let by_weight: BTreeMap<(u32, u32), usize> =
            self.plan.packed.iter().enumerate().map(|(i, p)| ((p.shard, p.tensor), i)).collect();
        let names = configs::file_names(self.checkpoint);
        for ((shard, file), name) in (0_u32..).zip(&self.checkpoint.shards).zip(names) {
            let mut entries: Vec<(TensorSpec, Step)> = Vec::new();
            for (t, tensor) in (0_u32..).zip(&file.header.tensors) {
                self.plan.bytes_before = self.plan.bytes_before.saturating_add(tensor.byte_len());
                match by_weight.get(&(shard, t)) {
                    Some(&i) => entries.extend(self.packed_tensors(i)),
                    // Quantizer state never stands in a finished checkpoint, used or not.
                    None if leak::is_state(&tensor.name) => {}
                    None => entries.push((spec_of(tensor), Step::Copy { shard, tensor: t })),
                }
            }
            if shard == 0 {
                entries.extend(self.kv_scales());
            }
            let specs: Vec<TensorSpec> = entries.iter().map(|(spec, _)| spec.clone()).collect();
            let layout = HeaderLayout::new(&specs, &[("format".into(), "pt".into())])?;
            let placed = entries.into_iter().zip(layout.spans);
            let mut tensors: Vec<PlanTensor> =
                placed.map(|((spec, step), span)| PlanTensor { spec, span, step }).collect();
            tensors.sort_by_key(|t| t.span.start);
            let spans = tensors.iter().map(|t| t.span.end.saturating_sub(t.span.start));
            self.plan.bytes_after = spans.fold(self.plan.bytes_after, u64::saturating_add);
            self.plan.files.push(PlanFile { name, header: layout.bytes, len: layout.file_len, tensors });
        }
        self.plan.bits_before = self.model.bits_per_weight();
        self.plan.bits_after = self.bits_after();
        Ok(())
    }

    /// What stands for a packed layer, as its scheme describes it.
    fn packed_tensors(&self, i: usize) -> Vec<(TensorSpec, Step)> {
        let Some(packed) = self.plan.packed.get(i) else { return Vec::new() };
        let input = self.inputs.get(&i).map(|&amax| packed.scheme.input_scale(amax));
        let name = |leaf: &str| format!("{}.{leaf}", packed.name);
        let placed = packed.encoding.outputs.iter().map(|output| {
            let step = match output.role {
                Role::Weight => Step::Codes(i),
                Role::WeightScale if !output.shape.is_empty() => Step::BlockScales(i),
                _ => Step::Scalar(i, output.leaf),
            };
            (TensorSpec { name: name(output.leaf), dtype: output.dtype, shape: output.shape.clone() }, step)
        });
        let input = input.map(|scale| {
            let spec = TensorSpec { name: name(INPUT_SCALE_LEAF), dtype: Dtype::F32, shape: vec![] };
            (spec, Step::Constant(scale))
        });
        placed.chain(input).collect()
    }

    /// `k_scale` and `v_scale` from calibrated caches.
    fn kv_scales(&self) -> Vec<(TensorSpec, Step)> {
        let scale = |m: &KvMaximum| {
            let name = kv::scale_name(&m.attention, m.side);
            (TensorSpec { name, dtype: Dtype::F32, shape: vec![] }, Step::Constant(kv::scale(m.amax)))
        };
        self.recipe.calibration.kv.iter().map(scale).collect()
    }

    fn bits_after(&self) -> f64 {
        let (mut bits, mut weights) = (0_u64, 0_u64);
        let packed: BTreeMap<&str, &PackedLayer> =
            self.plan.packed.iter().map(|p| (p.name.as_str(), p)).collect();
        for layer in &self.model.layers {
            let stored = packed
                .get(layer.name.as_str())
                .map_or(layer.weight_bits, |p| p.bytes_after.saturating_mul(8));
            bits = bits.saturating_add(stored);
            weights = weights.saturating_add(layer.weights);
        }
        quantscope_audit::ratio(bits, weights)
    }

    fn write_texts(&mut self) -> Result<(), ConvertError> {
        let quantized: Vec<Quantized<'_>> = self
            .plan
            .packed
            .iter()
            .map(|p| Quantized { module: &p.name, scheme: p.scheme, is_conv3d: p.kind == Kind::Conv3d })
            .collect();
        let kept: Vec<&str> = self.plan.kept.iter().map(|k| k.name.as_str()).collect();
        let has_kv = !self.recipe.calibration.kv.is_empty();
        let mut texts = configs::write(self.checkpoint, self.model, &quantized, &kept, has_kv)?;
        texts.extend(configs::index(self.checkpoint, &self.plan.files)?);
        let written: BTreeSet<&str> = texts.iter().map(|(name, _)| name.as_str()).collect();
        self.plan.copies = configs::copies(self.checkpoint, &written);
        self.plan.texts = texts;
        Ok(())
    }
}

fn spec_of(tensor: &TensorInfo) -> TensorSpec {
    TensorSpec { name: tensor.name.clone(), dtype: tensor.dtype, shape: tensor.shape.clone() }
}
