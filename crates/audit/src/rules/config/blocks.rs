//! CF309: the declared block or group size, against the one that the shapes of the scales imply.

use super::super::{HeaderContext, number};
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_format::QuantDeclaration;
use quantscope_schemes::{Role, ScaleLayout};
use std::collections::{BTreeMap, HashMap};

pub(super) const RULES: &[Rule] = &[CF309];

const CF309: Rule = Rule {
    id: "CF309",
    severity: Severity::Warning,
    needs: "H,C",
    title: "Declared block size is not that of the scales",
    why: "Loaders size their scale tensors by the declared block or group. With another size they stop at a shape \
          check, or apply scales to the wrong weights.",
    fix: "Correct the size in both configs.",
    repairable: true,
    example: Example::of(
        "weight_block_size: [64, 64]\nq_proj.weight  F8_E4M3 [512, 512], scales F32 [4, 4]",
        "weight_block_size: [128, 128]\nq_proj.weight  F8_E4M3 [512, 512], scales F32 [4, 4]",
    ),
};

/// Sizes that are in use.
const SIZES: &[u64] = &[8, 16, 32, 64, 128, 256, 512, 1024];

/// What the config says: one size along a row, or rows and columns.
struct Sizes<'a> {
    own: HashMap<&'a str, u64>,
    all: Option<Vec<u64>>,
}

impl<'a> Sizes<'a> {
    fn of(declaration: &'a QuantDeclaration) -> Self {
        let layers = declaration.quantized_layers.iter();
        let groups = || {
            let mut forms = declaration.groups.iter().filter_map(|g| g.weights.as_ref());
            // Several groups mean several sizes, and which is whose stands in their targets.
            let only = forms.next().filter(|_| declaration.groups.len() == 1)?;
            only.block_structure.clone().or_else(|| only.group_size.map(|n| vec![n]))
        };
        let global = || declaration.group_size.map(|n| vec![n]);
        Self {
            own: layers.filter_map(|l| Some((l.name.as_str(), l.group_size?))).collect(),
            all: declaration.weight_block_size.clone().or_else(groups).or_else(global),
        }
    }

    fn of_layer(&self, layer: &str) -> Option<Vec<u64>> {
        self.own.get(layer).map(|&n| vec![n]).or_else(|| self.all.clone())
    }
}

/// Whether a grid of `scales` has one for every `size` of `extent`.
fn fits(extent: u64, size: u64, scales: u64) -> bool {
    size > 0 && extent.div_ceil(size) == scales
}

/// The usual size that fits, if exactly one does.
fn implied(extent: u64, scales: u64) -> Option<u64> {
    let mut fitting = SIZES.iter().copied().filter(|&size| fits(extent, size, scales));
    let only = fitting.next()?;
    fitting.next().is_none().then_some(only)
}

/// Declared and implied sizes of a layer, where they differ.
fn disagreement(
    context: HeaderContext<'_>,
    sizes: &Sizes<'_>,
    layer: &LayerInfo,
) -> Option<(String, String)> {
    let size = sizes.of_layer(&layer.name)?;
    let member = layer.member_of(Role::WeightScale)?;
    let (_, scale) = context.checkpoint.tensor(member.shard, member.tensor)?;
    let (&[rows, cols], scales) = (layer.shape.as_slice(), scale.shape) else { return None };
    let squeezed: Vec<u64> = match scales {
        [a, 1, b, 1] => vec![*a, *b],
        other => other.to_vec(),
    };
    let &[down, across] = squeezed.as_slice() else { return None };
    let tiles = matches!(layer.scale_layout(context.checkpoint), ScaleLayout::Fp8Tiles { cols, .. } if cols != u32::MAX);
    if tiles {
        let &[high, wide] = size.as_slice() else { return None };
        if fits(rows, high, down) && fits(cols, wide, across) {
            return None;
        }
        let (right_high, right_wide) = (implied(rows, down)?, implied(cols, across)?);
        return Some((format!("{high} x {wide}"), format!("{right_high} x {right_wide}")));
    }
    // A scale of a shape that its scheme does not have is another rule's; its size would be a guess.
    let legal = layer.scheme.legal_shapes(&member.leaf, &layer.view(context.checkpoint));
    if legal.is_some_and(|legal| !legal.iter().any(|s| s == scales)) || down != rows {
        return None;
    }
    let &[wide] = size.as_slice() else { return None };
    if fits(cols, wide, across) {
        return None;
    }
    Some((wide.to_string(), implied(cols, across)?.to_string()))
}

pub(super) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    let Some(declaration) = context.checkpoint.declaration() else { return };
    let sizes = Sizes::of(declaration);
    let mut wrong: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for layer in context.model.layers.iter().filter(|l| l.is_quantized()) {
        if let Some(pair) = disagreement(context, &sizes, layer) {
            wrong.entry(pair).or_default().push(&layer.name);
        }
    }
    let file = context.declaring_file();
    for ((declared, implied), names) in wrong {
        let Some(first) = names.first() else { continue };
        let message = format!(
            "{file} declares a block of {declared}; {} one scale per {implied}, e.g. `{first}`",
            number(names.len(), "layer has", "layers have")
        );
        let mut finding = CF309.finding(*first, message).in_file(file).expecting(implied, declared);
        finding.layers = names.into_iter().map(str::to_string).collect();
        findings.push(finding);
    }
}
