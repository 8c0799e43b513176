//! SH503 and LY603: what the sizes of tensors tell of labels and padding.

use super::{HeaderContext, shape_text};
use crate::findings::Findings;
use crate::model::{LayerInfo, ratio};
use crate::registry::{Example, FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_schemes::{Family, Role, ScaleLayout, algo_scheme, role_of};

pub(crate) const RULES: &[Rule] = &[SH503, LY603];

const SH503: Rule = Rule {
    id: "SH503",
    severity: Severity::Warning,
    needs: "H",
    title: "More bits than the label says",
    why: "The checkpoint is labelled with an algorithm but takes more bits per weight than that algorithm does: part of \
          it is stored otherwise, and memory and speed will not be what the label promises.",
    fix: "Correct the label, or export again.",
    repairable: false,
    example: Example::of(
        "quant_algo: NVFP4, 6.12 bits per weight in the layers it covers",
        "quant_algo: NVFP4, 4.50 bits per weight in the layers it covers",
    ),
};

const LY603: Rule = Rule {
    id: "LY603",
    severity: Severity::Info,
    needs: "H",
    title: "Padded rows or columns",
    why: "Tensors were padded to the sizes that a kernel wants. The file does not record the logical shape, so a \
          reader that takes the stored shape for it computes with rows of zeros.",
    fix: "Record the logical shape, or take it from the model's config.",
    repairable: false,
    example: Example::of(
        "proj.weight  U8 [144, 40], proj.bias  BF16 [130]",
        "proj.weight  U8 [130, 40], proj.bias  BF16 [130]",
    ),
};

/// Most bits a weight takes under schemes of a family, block scales included; a margin above the widest.
fn widest(family: Family) -> Option<f64> {
    match family {
        Family::Fp4 => Some(5.5),
        Family::Fp8 => Some(9.5),
        Family::Int | Family::Plain => None,
    }
}

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    label(context, findings);
    for layer in context.model.layers.iter().filter(|l| l.is_quantized()) {
        findings.extend(padding(context, layer));
    }
}

/// The algorithm that the config names, else the one that a file is called after.
fn label_of(context: HeaderContext<'_>) -> Option<(String, Family, bool)> {
    if let Some(algo) = context.model.declared.algo() {
        return algo_scheme(algo).map(|s| (algo.to_string(), s.family(), true));
    }
    let names = context.checkpoint.shards.iter().map(|s| s.file.as_str());
    let mut names = names.chain([context.checkpoint.name.as_str()]).map(str::to_ascii_lowercase);
    names
        .any(|name| ["nvfp4", "mxfp4"].iter().any(|word| name.contains(word)))
        .then(|| ("4-bit floats, by its name,".to_string(), Family::Fp4, false))
}

/// Bits of codes and block scales; without those of padding, where the header tells what is.
fn bits_of(context: HeaderContext<'_>, layer: &LayerInfo) -> u64 {
    match layer.scheme.packed_form(&layer.view(context.checkpoint)).filter(|form| form.is_shape_known) {
        Some(form) => {
            let [rows, cols] = form.shape;
            let row = cols.saturating_mul(4).saturating_add((cols / form.block.max(1)).saturating_mul(8));
            rows.saturating_mul(row)
        }
        None => layer.weight_bits,
    }
}

fn label(context: HeaderContext<'_>, findings: &mut Findings) {
    let Some((label, family, by_config)) = label_of(context) else { return };
    let Some(limit) = widest(family) else { return };
    let covered = |l: &&LayerInfo| {
        let meant = !by_config || context.model.declared.promise(&l.name).is_some();
        l.is_quantized() && l.kind.is_quantizable() && meant
    };
    let (mut bits, mut weights, mut widest_layer) = (0_u64, 0_u64, None::<&LayerInfo>);
    for layer in context.model.layers.iter().filter(covered) {
        bits = bits.saturating_add(bits_of(context, layer));
        weights = weights.saturating_add(layer.weights);
        if widest_layer.is_none_or(|w| layer.bits_per_weight() > w.bits_per_weight()) {
            widest_layer = Some(layer);
        }
    }
    let found = ratio(bits, weights);
    let Some(layer) = widest_layer.filter(|_| found > limit) else { return };
    let message = format!(
        "labelled {label} but the quantized layers take {found:.2} bits per weight, e.g. `{}` is {}",
        layer.name,
        layer.scheme.id()
    );
    let finding = SH503.finding(layer.name.as_str(), message);
    findings.push(
        finding.expecting(format!("at most {limit} bits"), format!("{found:.2} bits")).touching(&layer.name),
    );
}

/// Rows beyond the bias, or scales beyond the blocks of the weight.
fn padding(context: HeaderContext<'_>, layer: &LayerInfo) -> Option<Finding> {
    let (_, weight) = layer.tensor(context.checkpoint, layer.weight_leaf())?;
    let &[rows, cols] = weight.shape else { return None };
    let bias = layer.member_of(Role::Bias).and_then(|m| context.checkpoint.tensor(m.shard, m.tensor));
    if let Some(&[logical]) = bias.map(|(_, t)| t.shape)
        && logical < rows
        && logical.div_ceil(16).saturating_mul(16) == rows
    {
        let message = format!("`{}` is padded from {logical} to {rows} rows, as its bias shows", layer.name);
        let finding = LY603.finding(&layer.name, message);
        return Some(
            finding.expecting(format!("{logical} rows"), format!("{rows} rows")).touching(&layer.name),
        );
    }
    let ScaleLayout::Fp4Blocks { block, scale, .. } = layer.scale_layout(context.checkpoint) else {
        return None;
    };
    let (_, scales) = layer.tensor(context.checkpoint, scale)?;
    let blocks = cols.saturating_mul(2).div_ceil(u64::from(block.max(1)));
    let larger = match *scales.shape {
        [r, c] => r >= rows && c >= blocks && (r, c) != (rows, blocks),
        _ => false,
    };
    let legal = layer.scheme.legal_shapes(scale, &layer.view(context.checkpoint))?;
    if !larger
        || !legal.iter().any(|shape| shape == scales.shape)
        || role_of(layer.scheme, scale).0 != Role::WeightScale
    {
        return None;
    }
    let (plain, padded) = (shape_text(&[rows, blocks]), shape_text(scales.shape));
    let message = format!("the scales of `{}` are padded from {plain} to {padded}", layer.name);
    Some(LY603.finding(&layer.name, message).expecting(plain, padded).touching(&layer.name))
}
