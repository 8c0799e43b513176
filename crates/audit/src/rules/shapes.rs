//! SH and BK: companions whose dtype or shape does not fit the weight.

use super::{HeaderContext, shape_text};
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_schemes::{Companion, Family, Kind, LayerView, Role, ScaleLayout, Stored, role_of};

pub(crate) const RULES: &[Rule] = &[SH501, SH502, SH504, SH505, BK951];

const SH501: Rule = Rule {
    id: "SH501",
    severity: Severity::Error,
    needs: "H",
    title: "Scale of the wrong shape",
    why: "The scales do not cover the weights one to one, so blocks are multiplied by scales of other blocks, or the \
          loader stops at a shape check.",
    fix: "Export the layer again; a half-size scale was computed from the packed width.",
    repairable: false,
    example: Example::of(
        "mlp.up_proj.weight        U8 [2048, 1024]\nmlp.up_proj.weight_scale  F8_E4M3 [2048, 64]",
        "mlp.up_proj.weight        U8 [2048, 1024]\nmlp.up_proj.weight_scale  F8_E4M3 [2048, 128]",
    ),
};

const SH502: Rule = Rule {
    id: "SH502",
    severity: Severity::Error,
    needs: "H",
    title: "Element type outside the scheme",
    why: "Kernels read the bytes as the type the scheme fixes, whatever the header says.",
    fix: "Cast only if every value survives exactly; otherwise export the layer again.",
    repairable: false,
    example: Example::of("mlp.up_proj.weight_scale_2  BF16 []", "mlp.up_proj.weight_scale_2  F32 []"),
};

const SH504: Rule = Rule {
    id: "SH504",
    severity: Severity::Error,
    needs: "H",
    title: "Scales of stacked experts on the wrong axis",
    why: "The scales of a stack of experts were computed along the other axis of the matrix: there is one per input \
          where there should be one per output. Every expert decodes to noise.",
    fix: "Export the experts again. Transposing the scales does not help: they are maxima of other blocks.",
    repairable: false,
    example: Example::of(
        "experts.up_proj               U8 [8, 256, 32]\nexperts.up_proj_weight_scale  F8_E4M3 [8, 64, 16]",
        "experts.up_proj               U8 [8, 256, 32]\nexperts.up_proj_weight_scale  F8_E4M3 [8, 256, 4]",
    ),
};

pub(crate) const SH505: Rule = Rule {
    id: "SH505",
    severity: Severity::Error,
    needs: "H,B",
    title: "Flattened Conv3d out of form",
    why: "A packed Conv3d is a matrix [O, K] with K padded by zeros to a multiple of 16 and one global scale. In any \
          other form it is unpacked to a wrong kernel.",
    fix: "Export the layer again.",
    repairable: false,
    example: Example::of(
        "decoder.conv_in.weight  U8 [12, 41]: K of 81, padded to 82",
        "decoder.conv_in.weight  U8 [12, 48]: K of 81, padded with zeros to 96",
    ),
};

const BK951: Rule = Rule {
    id: "BK951",
    severity: Severity::Error,
    needs: "H,C",
    title: "Tile grid of the wrong size",
    why: "Each 128 x 128 tile needs its scale: the grid has ceil(rows / 128) by ceil(columns / 128) of them. \
          A smaller grid leaves weights without a scale, a larger one shifts them.",
    fix: "Export the layer again; crop the grid only if the rest is provably padding.",
    repairable: false,
    example: Example::of(
        "kv_a_proj.weight            F8_E4M3 [576, 7168]\nkv_a_proj.weight_scale_inv  F32 [4, 56]",
        "kv_a_proj.weight            F8_E4M3 [576, 7168]\nkv_a_proj.weight_scale_inv  F32 [5, 56]",
    ),
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    findings.extend(context.model.layers.iter().filter_map(|layer| wrong_axis(context, layer)));
    for layer in context.model.layers.iter().filter(|l| l.is_quantized()) {
        let view = layer.view(context.checkpoint);
        let Some(weight) = view.get(layer.weight_leaf()) else { continue };
        let file = |leaf: &str| {
            let place = layer.tensor(context.checkpoint, leaf);
            place.map(|(shard, _)| shard.file.clone()).unwrap_or_default()
        };
        let packed_k = weight.shape.last().copied().unwrap_or(0).saturating_mul(2);
        let is_conv = layer.kind == Kind::Conv3d && layer.scheme.flattens_convolutions();
        if is_conv && packed_k % 16 != 0 {
            let message =
                format!("`{}` is a flattened Conv3d whose K of {packed_k} is no multiple of 16", layer.name);
            let finding = SH505.finding(&layer.name, message);
            let (right, found) = (packed_k.div_ceil(16).saturating_mul(16).to_string(), packed_k.to_string());
            findings.push(
                finding.expecting(right, found).in_file(file(layer.weight_leaf())).touching(&layer.name),
            );
            continue;
        }
        for companion in layer.scheme.about().companions {
            let Some(stored) = view.get(companion.leaf) else { continue };
            let found = wrong_dtype(layer, companion, stored)
                .or_else(|| wrong_shape(layer, companion, stored, &view, is_conv));
            findings.extend(found.map(|f| f.in_file(file(companion.leaf)).touching(&layer.name)));
        }
        check_tile_scale(context, layer, &view, findings);
    }
}

/// The scales of a stack of experts whose rows are the inputs.
fn wrong_axis(context: HeaderContext<'_>, layer: &LayerInfo) -> Option<Finding> {
    let view = layer.view(context.checkpoint);
    let weight = view.get(layer.weight_leaf()).or_else(|| view.principal())?;
    let member = layer.member_of(Role::WeightScale)?;
    let scale = view.get(&member.leaf)?;
    let (&[experts, rows, stored_cols], &[e, x, ..]) = (weight.shape, scale.shape) else { return None };
    let packed = layer.scheme.family() == Family::Fp4 && weight.dtype.bits() == 8;
    let cols = if packed { stored_cols.saturating_mul(2) } else { stored_cols };
    let across = scale.shape.get(2).copied().unwrap_or(1);
    let is_legal =
        layer.scheme.legal_shapes(&member.leaf, &view).is_some_and(|l| l.iter().any(|s| s == scale.shape));
    // Layouts for batched products keep inputs before outputs, codes and scales alike.
    let both_transposed = across == stored_cols;
    if layer.kind != Kind::ExpertStack
        || e != experts
        || rows == cols
        || x != cols
        || is_legal
        || both_transposed
    {
        return None;
    }
    let blocks = |extent: u64| if across <= 1 { 1 } else { extent.div_ceil(rows.div_ceil(across).max(1)) };
    let right = match scale.shape.len() {
        2 => shape_text(&[experts, rows]),
        _ => shape_text(&[experts, rows, blocks(cols)]),
    };
    let found = shape_text(scale.shape);
    let name = layer.naming.tensor(&layer.name, &member.leaf);
    let message = format!(
        "`{name}` is {found}: {cols} rows, one per input of the experts, where {rows} outputs have a scale each"
    );
    let (shard, _) = context.checkpoint.tensor(member.shard, member.tensor)?;
    let finding = SH504.finding(&layer.name, message).expecting(right, found);
    Some(finding.in_file(shard.file.as_str()).touching(&layer.name))
}

fn wrong_dtype(layer: &LayerInfo, companion: &Companion, stored: Stored<'_>) -> Option<Finding> {
    if companion.dtypes.contains(&stored.dtype) {
        return None;
    }
    let legal = companion.dtypes.iter().map(|d| d.tag()).collect::<Vec<_>>().join(" or ");
    let message = format!(
        "`{}.{}` is {}, which is not legal for {}",
        layer.name,
        companion.leaf,
        stored.dtype,
        layer.scheme.id()
    );
    Some(
        SH502
            .finding(format!("{}.{}", layer.name, companion.leaf), message)
            .expecting(legal, stored.dtype.tag()),
    )
}

fn wrong_shape(
    layer: &LayerInfo,
    companion: &Companion,
    stored: Stored<'_>,
    view: &LayerView<'_>,
    is_conv: bool,
) -> Option<Finding> {
    let legal = layer.scheme.legal_shapes(companion.leaf, view)?;
    if legal.iter().any(|s| s == stored.shape) {
        return None;
    }
    let right = legal.first().map_or_else(String::new, |s| shape_text(s));
    let found = shape_text(stored.shape);
    let what = format!("`{}.{}`", layer.name, companion.leaf);
    let tiled = matches!(companion.role, Role::WeightScale)
        && matches!(layer.scheme.scale_layout_of(view),
            ScaleLayout::Fp8Tiles { rows, cols, .. } if rows != u32::MAX && cols != u32::MAX);
    let rule = match companion.role {
        Role::GlobalScale if is_conv => &SH505,
        _ if tiled => &BK951,
        _ => &SH501,
    };
    let half = legal.first().is_some_and(|right| is_half(right, stored.shape));
    let mut message = format!("{what} is {found}, expected {right}");
    if half {
        message.push_str("; it is half its size, as if computed from the packed width");
    }
    Some(rule.finding(&layer.name, message).expecting(right, found))
}

/// Whether one dimension is half of what it should be and the rest is right.
fn is_half(right: &[u64], found: &[u64]) -> bool {
    right.len() == found.len()
        && right.iter().zip(found).filter(|(r, f)| r != f).count() == 1
        && right.iter().zip(found).all(|(&r, &f)| r == f || f == r / 2 || f == r.div_ceil(2))
}

/// A tile scale under the other scheme's name is not looked at by the loop over companions.
fn check_tile_scale(
    context: HeaderContext<'_>,
    layer: &LayerInfo,
    view: &LayerView<'_>,
    findings: &mut Findings,
) {
    let ScaleLayout::Fp8Tiles { scale, .. } = layer.scheme.scale_layout_of(view) else { return };
    if !view.has(scale) {
        return;
    }
    let second = |t: &&Stored<'_>| t.leaf != scale && role_of(layer.scheme, t.leaf).0 == Role::WeightScale;
    let Some(other) = view.tensors.iter().find(second).map(|t| t.leaf) else { return };
    let message = format!("`{}` has both `{scale}` and `{other}`; only one can hold", layer.name);
    let file = layer.tensor(context.checkpoint, scale).map(|(s, _)| s.file.clone()).unwrap_or_default();
    let finding = SH501.finding(&layer.name, message).expecting(scale, format!("{scale} and {other}"));
    findings.push(finding.in_file(file).touching(&layer.name));
}
