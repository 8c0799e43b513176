//! Where each output tensor stands: files, names, dtypes, shapes, offsets.

use crate::builder::Builder;
use crate::configs;
use crate::error::ConvertError;
use crate::plan::{PackedLayer, Plan, PlanFile, PlanTensor, Step};
use quantscope_audit::Checkpoint;
use quantscope_format::{HeaderLayout, TensorInfo, TensorSpec};
use quantscope_numeric::Dtype;
use quantscope_schemes::{Form, INPUT_SCALE_LEAF, Naming, Output, Role, Scheme, role_of};
use std::collections::{BTreeMap, BTreeSet};

/// An output tensor and what makes it.
pub(crate) type Entry = (TensorSpec, Step);

/// A 0-d F32 tensor.
pub(crate) fn number(name: String, value: f32) -> Entry {
    (TensorSpec { name, dtype: Dtype::F32, shape: vec![] }, Step::Constant(value))
}

/// The activation scale of a module, for a largest activation of `amax`.
pub(crate) fn input_scale(scheme: &dyn Scheme, naming: Naming, module: &str, amax: f32) -> Entry {
    number(naming.tensor(module, INPUT_SCALE_LEAF), scheme.input_scale(amax))
}

/// The dimensions of an output: those of a stack are transposed back.
fn shape(packed: &PackedLayer, output: &Output) -> Vec<u64> {
    match (packed.matrix.form, output.shape.as_slice()) {
        (Form::Stack { experts }, &[rows, cols]) => vec![experts, cols, rows / experts.max(1)],
        (_, shape) => shape.to_vec(),
    }
}

/// What stands for a packed layer, as its scheme describes it.
fn packed_tensors(i: usize, packed: &PackedLayer) -> Vec<Entry> {
    let placed = packed.encoding.outputs.iter().map(|output| {
        let step = match output.role {
            Role::Weight => Step::Codes(i),
            Role::WeightScale if !output.shape.is_empty() => Step::BlockScales(i),
            _ => Step::Scalar(i, output.leaf),
        };
        let name = packed.naming.tensor(&packed.name, output.leaf);
        (TensorSpec { name, dtype: output.dtype, shape: shape(packed, output) }, step)
    });
    let input = packed.input_amax.map(|amax| input_scale(packed.scheme, packed.naming, &packed.name, amax));
    placed.chain(input).collect()
}

/// Output tensors file by file, each source shard becoming one output file.
pub(crate) fn lay_out(builder: &mut Builder<'_>) -> Result<(), ConvertError> {
    let mut files: Vec<Vec<Entry>> = builder.checkpoint.shards.iter().map(|_| Vec::new()).collect();
    let mut changed_done = BTreeSet::new();
    for (v, view) in builder.views.tensors.iter().enumerate() {
        let shard = usize::try_from(view.place.shard).unwrap_or(usize::MAX);
        let Some(entries) = files.get_mut(shard) else { continue };
        if builder.tied.is_gone(v) {
            continue;
        }
        let Some(module) = builder.views.modules.get(view.module) else { continue };
        if let Some(&i) = builder.packed.get(&view.module).filter(|_| module.weight == Some(v)) {
            entries.extend(builder.plan.packed.get(i).map(|p| packed_tensors(i, p)).unwrap_or_default());
            continue;
        }
        if let Some((i, outputs)) = builder.changed.get(&view.module) {
            if changed_done.insert(view.module) {
                entries.extend(outputs.iter().enumerate().map(|(o, output)| {
                    let name = module.naming.tensor(&module.name, output.leaf);
                    let spec = TensorSpec { name, dtype: output.dtype, shape: output.shape.clone() };
                    (spec, Step::Recast(*i, o))
                }));
            }
            let layer = builder.model.layers.get(module.layer);
            let stays = layer.is_some_and(|l| {
                matches!(role_of(l.scheme, &view.leaf).0, Role::Bias | Role::Other | Role::KvScale)
            });
            if !stays {
                continue;
            }
        }
        let spec = TensorSpec { name: view.name.clone(), dtype: view.dtype, shape: view.shape.clone() };
        entries.push((spec, Step::Copy(view.place.clone())));
    }
    let constants = builder.constants();
    if let Some(first) = files.first_mut() {
        first.extend(constants);
    }
    place(builder.checkpoint, &mut builder.plan, files)?;
    builder.plan.bits_before = builder.model.bits_per_weight();
    builder.plan.bits_after = bits_after(builder);
    Ok(())
}

/// Lays tensors out in files, one for each shard of the source.
pub(crate) fn place(
    checkpoint: &Checkpoint,
    plan: &mut Plan,
    files: Vec<Vec<Entry>>,
) -> Result<(), ConvertError> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (entries, name) in files.into_iter().zip(configs::file_names(checkpoint)) {
        let specs: Vec<TensorSpec> = entries.iter().map(|(spec, _)| spec.clone()).collect();
        if let Some(spec) = specs.iter().find(|spec| !names.insert(spec.name.clone())) {
            return Err(ConvertError::Tensor {
                tensor: spec.name.clone(),
                reason: "would be written twice".into(),
                remedy: "rename or drop the tensor of that name in the source".into(),
            });
        }
        let layout = HeaderLayout::new(&specs, &[("format".into(), "pt".into())])?;
        let placed = entries.into_iter().zip(layout.spans);
        let mut tensors: Vec<PlanTensor> =
            placed.map(|((spec, step), span)| PlanTensor { spec, span, step }).collect();
        tensors.sort_by_key(|t| t.span.start);
        let spans = tensors.iter().map(|t| t.span.end.saturating_sub(t.span.start));
        plan.bytes_after = spans.fold(plan.bytes_after, u64::saturating_add);
        plan.files.push(PlanFile { name, header: layout.bytes, len: layout.file_len, tensors });
    }
    let lengths = checkpoint.shards.iter().flat_map(|s| &s.header.tensors).map(TensorInfo::byte_len);
    plan.bytes_before = lengths.fold(0, u64::saturating_add);
    Ok(())
}

fn bits_after(builder: &Builder<'_>) -> f64 {
    let mut replaced: BTreeMap<usize, u64> = BTreeMap::new();
    let plan = &builder.plan;
    let packed = builder.packed.iter().map(|(m, &i)| (m, plan.packed.get(i).map_or(0, |p| p.bytes_after)));
    let changed =
        builder.changed.iter().map(|(m, (i, _))| (m, plan.changed.get(*i).map_or(0, |c| c.bytes_after)));
    for (module, bytes) in packed.chain(changed) {
        let Some(module) = builder.views.modules.get(*module) else { continue };
        let bits = replaced.entry(module.layer).or_insert(0);
        *bits = bits.saturating_add(bytes.saturating_mul(8));
    }
    let gone: BTreeSet<usize> = builder
        .views
        .modules
        .iter()
        .filter(|m| builder.tied.dropped.contains_key(&m.name))
        .map(|m| m.layer)
        .collect();
    let (mut bits, mut weights) = (0_u64, 0_u64);
    for (i, layer) in builder.model.layers.iter().enumerate().filter(|(i, _)| !gone.contains(i)) {
        bits = bits.saturating_add(replaced.get(&i).copied().unwrap_or(layer.weight_bits));
        weights = weights.saturating_add(layer.weights);
    }
    quantscope_audit::ratio(bits, weights)
}
