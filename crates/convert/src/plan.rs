//! The plan: every output tensor with its dtype, shape, place and step, before anything is read.

use crate::configs::{self, Quantized};
use crate::error::ConvertError;
use crate::fused;
use crate::recipe::Recipe;
use crate::select::{Choice, Selector, refuse_quantized};
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_format::{HeaderLayout, TensorInfo, TensorSpec};
use quantscope_kernels::FloatType;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Kind, Scheme, leak};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Weights that share a block scale.
const BLOCK: u64 = 16;
/// Largest NVFP4 magnitude: 6 * 448.
const NVFP4_MAX: f32 = 2688.0;
/// Largest E4M3 magnitude.
const E4M3_MAX: f32 = 448.0;

/// What makes one output tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Bytes of a source tensor as they are.
    Copy {
        /// Shard.
        shard: u32,
        /// Tensor within the shard.
        tensor: u32,
    },
    /// E2M1 codes of a packed layer, by its index in [`Plan::packed`].
    Codes(usize),
    /// E4M3 block scales of a packed layer; made together with its codes.
    BlockScales(usize),
    /// The global scale of a packed layer, known once its maximum is.
    GlobalScale(usize),
    /// A number known from calibration.
    Constant(f32),
}

/// One output tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanTensor {
    /// Name, dtype, shape.
    pub spec: TensorSpec,
    /// Bytes within its file.
    pub span: Range<u64>,
    /// What makes it.
    pub step: Step,
}

/// One output file of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanFile {
    /// Final name.
    pub name: String,
    /// The 8-byte length and the JSON header.
    pub header: Vec<u8>,
    /// Length of the whole file.
    pub len: u64,
    /// Its tensors in file order.
    pub tensors: Vec<PlanTensor>,
}

/// A layer that is packed.
#[derive(Clone)]
pub struct PackedLayer {
    /// Module path.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Scheme of the output.
    pub scheme: &'static dyn Scheme,
    /// Scheme of the source.
    pub from: &'static str,
    /// Logical shape.
    pub shape: Vec<u64>,
    /// Shard of the source weight.
    pub shard: u32,
    /// Tensor of the source weight.
    pub tensor: u32,
    /// Its element type.
    pub dtype: FloatType,
    /// What happens to values before codes are taken.
    pub cast: CodeCast,
    /// Output rows.
    pub rows: u64,
    /// Elements of a row, without padding.
    pub cols: u64,
    /// Maximum from calibration, in place of the data's own.
    pub weight_amax: Option<f32>,
    /// Bytes of the source weight.
    pub bytes_before: u64,
    /// Bytes of everything that replaces it.
    pub bytes_after: u64,
}

/// A layer that is kept although a scheme was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLayer {
    /// Module path.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Scheme it has and keeps.
    pub scheme: &'static str,
    /// Logical shape.
    pub shape: Vec<u64>,
    /// Bytes.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// The whole promise.
pub struct Plan {
    /// Files of weights.
    pub files: Vec<PlanFile>,
    /// JSON files that are written anew, with their bytes.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Files that are copied as they are.
    pub copies: Vec<String>,
    /// Packed layers in natural order.
    pub packed: Vec<PackedLayer>,
    /// Groups of packed layers that share their scales.
    pub groups: Vec<Vec<usize>>,
    /// Kept layers in natural order.
    pub kept: Vec<KeptLayer>,
    /// Bytes of the source's tensors.
    pub bytes_before: u64,
    /// Bytes of the output's tensors.
    pub bytes_after: u64,
    /// Bits per weight of the source.
    pub bits_before: f64,
    /// Bits per weight of the output.
    pub bits_after: f64,
    /// What the user should know.
    pub warnings: Vec<String>,
}

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

impl Plan {
    /// Lays out a conversion. Reads no tensor bytes.
    ///
    /// # Errors
    /// If a tensor cannot be converted, naming it and what to do, or nothing would be packed.
    pub fn new(checkpoint: &Checkpoint, model: &Model, recipe: &Recipe) -> Result<Self, ConvertError> {
        refuse_quantized(model)?;
        if let Some(shard) = checkpoint.shards.iter().find(|s| !s.header.is_sound()) {
            let why = shard.header.defects.first().map(ToString::to_string).unwrap_or_default();
            return Err(ConvertError::Refused(format!(
                "{} is damaged: {why}; mend or fetch it first",
                shard.file
            )));
        }
        if let Some((name, _)) = model.repeated.first_key_value() {
            return Err(ConvertError::Tensor {
                tensor: name.clone(),
                reason: "stands in more than one shard".into(),
                remedy: "drop one of the copies first".into(),
            });
        }
        let mut builder = Builder { checkpoint, model, recipe, plan: Self::empty(), inputs: BTreeMap::new() };
        builder.select()?;
        builder.share_inputs();
        builder.warn();
        builder.lay_out()?;
        builder.write_texts()?;
        Ok(builder.plan)
    }

    fn empty() -> Self {
        Self {
            files: Vec::new(),
            texts: Vec::new(),
            copies: Vec::new(),
            packed: Vec::new(),
            groups: Vec::new(),
            kept: Vec::new(),
            bytes_before: 0,
            bytes_after: 0,
            bits_before: 0.0,
            bits_after: 0.0,
            warnings: Vec::new(),
        }
    }
}

struct Builder<'a> {
    checkpoint: &'a Checkpoint,
    model: &'a Model,
    recipe: &'a Recipe,
    plan: Plan,
    /// Activation maximum of packed layers, merged over fused groups.
    inputs: BTreeMap<usize, f32>,
}

impl Builder<'_> {
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
        let found = layer.member("weight").and_then(|m| {
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
        // The flattened K of a convolution is padded; a linear's K must fit (`formats.md` b and d).
        if layer.kind != Kind::Conv3d && !cols.is_multiple_of(BLOCK) {
            let reason = format!("has rows of {cols} weights, which is no multiple of {BLOCK}");
            return Err(refuse(reason, &exclude));
        }
        let blocks = cols.div_ceil(BLOCK);
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
            rows,
            cols,
            weight_amax: self.recipe.calibration.weights.get(&layer.name).copied(),
            bytes_before: weight.byte_len(),
            bytes_after: rows.saturating_mul(blocks).saturating_mul(9),
        })
    }

    /// Activation maxima, the largest of each fused group for all its members.
    fn share_inputs(&mut self) {
        let inputs = &self.recipe.calibration.inputs;
        for (i, packed) in self.plan.packed.iter().enumerate() {
            if let Some(&amax) = inputs.get(&packed.name).filter(|_| packed.scheme.quantizes_activations()) {
                self.inputs.insert(i, amax);
            }
        }
        for group in &self.plan.groups {
            let largest = group.iter().filter_map(|i| self.inputs.get(i)).copied().reduce(f32::max);
            if let Some(largest) = largest {
                for &i in group
                    .iter()
                    .filter(|&&i| self.plan.packed.get(i).is_some_and(|p| p.scheme.quantizes_activations()))
                {
                    self.inputs.insert(i, largest);
                }
            }
        }
    }

    fn warn(&mut self) {
        let packed: BTreeSet<&str> = self.plan.packed.iter().map(|p| p.name.as_str()).collect();
        let lacking: Vec<&str> = (0..)
            .zip(&self.plan.packed)
            .filter(|(i, p)| p.scheme.quantizes_activations() && !self.inputs.contains_key(i))
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
        let mut sums = Sums::default();
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
            sums.add(&tensors);
            self.plan.files.push(PlanFile { name, header: layout.bytes, len: layout.file_len, tensors });
        }
        self.plan.bytes_after = sums.bytes;
        self.plan.bits_before = self.model.bits_per_weight();
        self.plan.bits_after = self.bits_after();
        Ok(())
    }

    fn packed_tensors(&self, i: usize) -> Vec<(TensorSpec, Step)> {
        let Some(packed) = self.plan.packed.get(i) else { return Vec::new() };
        let blocks = packed.cols.div_ceil(BLOCK);
        let spec = |leaf: &str, dtype, shape: Vec<u64>| TensorSpec {
            name: format!("{}.{leaf}", packed.name),
            dtype,
            shape,
        };
        let mut tensors = vec![
            (spec("weight", Dtype::U8, vec![packed.rows, blocks * 8]), Step::Codes(i)),
            (spec("weight_scale", Dtype::F8_E4M3, vec![packed.rows, blocks]), Step::BlockScales(i)),
            (spec("weight_scale_2", Dtype::F32, vec![]), Step::GlobalScale(i)),
        ];
        if let Some(&amax) = self.inputs.get(&i) {
            // A zero maximum is replaced by the largest code (`formats.md` b).
            let amax = if amax == 0.0 { 6.0 } else { amax };
            tensors.push((spec("input_scale", Dtype::F32, vec![]), Step::Constant(amax / NVFP4_MAX)));
        }
        tensors
    }

    /// `k_scale` and `v_scale` from calibrated caches.
    fn kv_scales(&self) -> Vec<(TensorSpec, Step)> {
        let scale = |m: &crate::calibration::KvMaximum| {
            let name = format!("{}.{side}_proj.{side}_scale", m.attention, side = m.side);
            (TensorSpec { name, dtype: Dtype::F32, shape: vec![] }, Step::Constant(m.amax / E4M3_MAX))
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

#[derive(Default)]
struct Sums {
    bytes: u64,
}

impl Sums {
    fn add(&mut self, tensors: &[PlanTensor]) {
        let spans = tensors.iter().map(|t| t.span.end.saturating_sub(t.span.start));
        self.bytes = spans.fold(self.bytes, u64::saturating_add);
    }
}

fn spec_of(tensor: &TensorInfo) -> TensorSpec {
    TensorSpec { name: tensor.name.clone(), dtype: tensor.dtype, shape: tensor.shape.clone() }
}
