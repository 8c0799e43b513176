//! Where each output tensor stands: files, names, dtypes, shapes, offsets.

use crate::arrange::{Arranged, arrange};
use crate::builder::Builder;
use crate::configs;
use crate::error::ConvertError;
use crate::metadata::Metadata;
use crate::plain::{dtype, float_type, is_remnant};
use crate::plan::{PackedLayer, Place, Plan, PlanFile, PlanTensor, Step};
use crate::recipe::Target;
use crate::shards;
use crate::views::{Beyond, View};
use quantscope_audit::Checkpoint;
use quantscope_format::Arrange as _;
use quantscope_format::{HeaderLayout, TensorInfo, TensorSpec};
use quantscope_kernels::FloatType;
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

/// What stands for a packed layer, as its scheme describes it; `named` makes the names of its tensors.
fn packed_tensors(i: usize, packed: &PackedLayer, named: impl Fn(&str) -> String) -> Vec<Entry> {
    let placed = packed.encoding.outputs.iter().map(|output| {
        let step = match output.role {
            Role::Weight => Step::Codes(i),
            Role::WeightScale if !output.shape.is_empty() => Step::BlockScales(i),
            _ => Step::Scalar(i, output.leaf),
        };
        (TensorSpec { name: named(output.leaf), dtype: output.dtype, shape: shape(packed, output) }, step)
    });
    let input =
        packed.input_amax.map(|amax| number(named(INPUT_SCALE_LEAF), packed.scheme.input_scale(amax)));
    placed.chain(input).collect()
}

/// What stands for a tensor that is no part of a quantized weight: the same, or its numbers in another type. Its name and
/// its shape are taken.
fn unchanged(view: &mut View, cast: Option<FloatType>) -> Entry {
    let to = cast.map(dtype).filter(|&to| {
        let is_number = float_type(view.dtype).is_some() && !matches!(view.beyond, Beyond::Equal(_));
        is_number && view.dtype != to && !is_remnant(&view.leaf, &view.name)
    });
    let with = |others: &[Place]| [std::slice::from_ref(&view.place), others].concat();
    let step = match (&view.beyond, to) {
        (Beyond::Nothing, Some(_)) => Step::Cast(view.place.clone(), view.dtype),
        (Beyond::Nothing, None) => Step::Copy(view.place.clone()),
        (Beyond::Rows(others), _) => Step::Join(with(others), to.map(|_| view.dtype)),
        // Such numbers are scales, which keep their type.
        (Beyond::Equal(others), _) => Step::Same(with(others)),
    };
    let dtype = to.unwrap_or(view.dtype);
    (TensorSpec { name: std::mem::take(&mut view.name), dtype, shape: std::mem::take(&mut view.shape) }, step)
}

/// Output tensors file by file: each source shard becomes one output file, unless the recipe wants another size.
pub(crate) fn lay_out(builder: &mut Builder<'_>) -> Result<(), ConvertError> {
    let mut files: Vec<Vec<Entry>> = builder.checkpoint.shards.iter().map(|_| Vec::new()).collect();
    let mut changed_done = BTreeSet::new();
    let drops_remnants = matches!(builder.recipe.default, Target::Float(_));
    // There may be hundreds of thousands: what is not looked at any more is let go, or moved.
    builder.views.forget_names();
    let mut views = std::mem::take(&mut builder.views.tensors);
    for (v, view) in views.iter_mut().enumerate() {
        let shard = usize::try_from(view.place.shard).unwrap_or(usize::MAX);
        let Some(entries) = files.get_mut(shard) else { continue };
        if builder.tied.is_gone(v) {
            continue;
        }
        let Some(module) = builder.views.modules.get(view.module) else { continue };
        if let Some(&i) = builder.packed.get(&view.module).filter(|_| module.weight == Some(v)) {
            let named = |leaf: &str| builder.views.tensor_name(module, leaf);
            let packed = builder.plan.packed.get(i);
            entries.extend(packed.map(|p| packed_tensors(i, p, named)).unwrap_or_default());
            continue;
        }
        let cast = builder.casts.get(&view.module).copied();
        if let Some((_, tensors)) = builder.changed.get(&view.module) {
            if changed_done.insert(view.module) {
                entries.extend(tensors.iter().cloned());
            }
            let layer = builder.model.layers.get(module.layer);
            let role = layer.map_or(Role::Other, |l| role_of(l.scheme, &view.leaf).0);
            if !matches!(role, Role::Bias | Role::Other | Role::KvScale) {
                continue;
            }
        }
        if drops_remnants && cast.is_some() && is_remnant(&view.leaf, &view.name) {
            continue;
        }
        entries.push(match builder.tied.merged(v) {
            Some(places) => {
                let spec =
                    TensorSpec { name: view.name.clone(), dtype: view.dtype, shape: view.shape.clone() };
                (spec, Step::Largest(places.clone()))
            }
            None => unchanged(view, cast),
        });
    }
    builder.views.tensors = views;
    let constants = builder.constants();
    if let Some(first) = files.first_mut() {
        first.extend(constants);
    }
    let arranged = arrange((builder.checkpoint, builder.model), builder.recipe, &builder.plan, &mut files)?;
    builder.plan.warnings.extend(arranged.warning());
    let (names, files) = match builder.recipe.shard_bytes {
        None => (configs::file_names(builder.checkpoint), files),
        Some(most) => {
            let files = shards::cut(files.into_iter().flatten().collect(), most);
            (shards::names(&shards::stem(builder.checkpoint), files.len()), files)
        }
    };
    let metadata = builder.metadata(&arranged, &files)?;
    let files = names.into_iter().zip(files).zip(metadata);
    place(builder.checkpoint, &mut builder.plan, files, &arranged)?;
    builder.plan.bits_before = builder.model.bits_per_weight();
    builder.plan.bits_after = bits_after(builder);
    Ok(())
}

/// Lays tensors out in files of those names.
fn place(
    checkpoint: &Checkpoint,
    plan: &mut Plan,
    files: impl Iterator<Item = ((String, Vec<Entry>), Metadata)>,
    arranged: &Arranged,
) -> Result<(), ConvertError> {
    let files: Vec<((String, Vec<Entry>), Metadata)> = files.collect();
    let entries = files.iter().flat_map(|((_, entries), _)| entries);
    let mut names: Vec<&str> = entries.map(|(spec, _)| spec.name.as_str()).collect();
    names.arrange();
    let twice = names.array_windows().find(|[name, next]| name == next);
    if let Some([name, _]) = twice {
        return Err(ConvertError::Tensor {
            tensor: (*name).to_owned(),
            reason: "would be written twice".into(),
            remedy: "rename or drop the tensor of that name in the source".into(),
        });
    }
    for ((name, entries), metadata) in files {
        let specs: Vec<&TensorSpec> = entries.iter().map(|(spec, _)| spec).collect();
        let layout = HeaderLayout::of(&specs, &metadata)?;
        let placed = entries.into_iter().zip(layout.spans);
        let mut tensors: Vec<PlanTensor> = placed
            .map(|((spec, step), span)| PlanTensor {
                lie: arranged.of(&spec.name).map(Box::new),
                spec,
                span,
                step,
            })
            .collect();
        tensors.arrange_by_key(|t| t.span.start);
        let spans = tensors.iter().map(|t| t.span.end.saturating_sub(t.span.start));
        plan.bytes_after = spans.fold(plan.bytes_after, u64::saturating_add);
        plan.files.push(PlanFile { name, header: layout.bytes, len: layout.file_len, tensors });
    }
    let lengths = checkpoint.shards.iter().flat_map(|s| s.header.tensors.iter()).map(TensorInfo::byte_len);
    plan.bytes_before = lengths.fold(0, u64::saturating_add);
    Ok(())
}

/// Bits per weight of the output. A layer is counted as its modules are: as what replaces them, or as they were.
fn bits_after(builder: &Builder<'_>) -> f64 {
    let plan = &builder.plan;
    let mut replaced: BTreeMap<usize, u64> = BTreeMap::new();
    let mut gone: BTreeSet<usize> = BTreeSet::new();
    for (i, module) in builder.views.modules.iter().enumerate() {
        if builder.tied.dropped.contains_key(&module.name) {
            gone.insert(module.layer);
        }
        let packed = builder.packed.get(&i).and_then(|&p| plan.packed.get(p)).map(|p| p.bytes_after);
        let changed = builder.changed.get(&i).and_then(|(c, _)| plan.changed.get(*c)).map(|c| c.bytes_after);
        let cast = builder.casts.get(&i).filter(|_| changed.is_none()).map(|&float| {
            let weight = builder.views.weight(module);
            let elements = weight.and_then(|w| w.bytes().checked_div(w.dtype.bits() / 8));
            let whole = builder.model.layers.get(module.layer).map_or(0, |l| l.weights);
            elements.unwrap_or(whole).saturating_mul(dtype(float).bits())
        });
        let bits = packed.or(changed).map(|bytes| bytes.saturating_mul(8)).or(cast);
        if let Some(bits) = bits {
            let sum = replaced.entry(module.layer).or_insert(0);
            *sum = sum.saturating_add(bits);
            // What was joined to a module is counted with it.
            for member in module.joined.iter().filter(|member| member.layer != module.layer) {
                replaced.entry(member.layer).or_insert(0);
            }
        }
    }
    let (mut bits, mut weights) = (0_u64, 0_u64);
    for (i, layer) in builder.model.layers.iter().enumerate().filter(|(i, _)| !gone.contains(i)) {
        bits = bits.saturating_add(replaced.get(&i).copied().unwrap_or(layer.weight_bits));
        weights = weights.saturating_add(layer.weights);
    }
    quantscope_audit::ratio(bits, weights)
}
