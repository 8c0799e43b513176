//! BK952: over how many devices a runtime can cut the weights without cutting a block that shares a scale.
//!
//! Cut by rows (column parallel) or by columns (row parallel), a part must be whole blocks. Weights that a
//! runtime merges into one must be whole blocks in rows even uncut, the last part excepted.

use super::{Profile, load_of, method_of};
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use crate::rules::HeaderContext;
use crate::targets::profile::Parallel;
use quantscope_format::Arrange as _;

pub(crate) const BK952: Rule = Rule {
    id: "BK952",
    severity: Severity::Info,
    needs: "H,C",
    title: "Blocks limit tensor parallelism",
    why: "Cut over several devices, a part of a weight must hold whole blocks, since a block has one scale. At other \
          sizes the runtime refuses the checkpoint.",
    fix: "Serve with one of the sizes given, or with pipeline or expert parallelism instead.",
    repairable: false,
    example: Example::of(
        "--tensor-parallel-size 8 of down_proj [128, 512] in blocks of 128",
        "--tensor-parallel-size 4 of down_proj [128, 512] in blocks of 128",
    ),
};

/// The first cut that fails at a size.
struct Cut {
    size: u64,
    layer: String,
    why: String,
    others: u64,
}

pub(super) fn check(context: HeaderContext<'_>, profile: &Profile, findings: &mut Findings) {
    let Some(parallel) = &profile.parallel else { return };
    let method = method_of(context.checkpoint);
    let kv_heads = kv_heads(context);
    let mut cuts: Vec<Cut> = Vec::new();
    for layer in context.model.layers.iter().filter(|l| l.is_quantized()) {
        let Some(load) = load_of(profile, layer.scheme.id(), method) else { continue };
        let (Some(block), &[rows, cols]) = (load.block, layer.shape.as_slice()) else { continue };
        for &size in &parallel.sizes {
            let extent = Extent { rows, cols, block, whole: load.whole, kv_heads };
            let Some(why) = extent.refusal(layer, parallel, size) else { continue };
            match cuts.iter_mut().find(|cut| cut.size == size) {
                Some(cut) => cut.others += 1,
                None => cuts.push(Cut { size, layer: layer.name.clone(), why, others: 0 }),
            }
        }
    }
    let safe: Vec<String> = parallel
        .sizes
        .iter()
        .filter(|size| cuts.iter().all(|cut| cut.size != **size))
        .map(u64::to_string)
        .collect();
    cuts.arrange_by_key(|cut| cut.size);
    let Some(first) = cuts.first() else { return };
    let sizes = if safe.is_empty() { "none of those checked".to_string() } else { safe.join(", ") };
    let others = if first.others > 0 { format!(" and {} other layers", first.others) } else { String::new() };
    let message = format!(
        "{} {} can cut the weights over {sizes} devices; at {} it cuts a block of `{}`{others}: {}",
        profile.title, profile.version, first.size, first.layer, first.why
    );
    let refused: Vec<String> = cuts.iter().map(|cut| cut.size.to_string()).collect();
    let finding = BK952.finding(&first.layer, message);
    findings.push(
        finding
            .expecting(format!("a size of {sizes}"), format!("refused at {}", refused.join(", ")))
            .touching(&first.layer),
    );
}

/// Heads of the KV cache: below one head, projections are copied, not cut.
fn kv_heads(context: HeaderContext<'_>) -> Option<u64> {
    let config = &context.checkpoint.model_config()?.value;
    let homes = [Some(config), config.get("text_config")];
    homes.into_iter().flatten().find_map(|home| home.get("num_key_value_heads")?.as_u64()).filter(|&n| n > 0)
}

/// A weight and its block.
struct Extent {
    rows: u64,
    cols: u64,
    block: [u64; 2],
    whole: bool,
    kv_heads: Option<u64>,
}

impl Extent {
    /// Why a runtime refuses to cut the layer over so many devices, if it does.
    fn refusal(&self, layer: &LayerInfo, parallel: &Parallel, size: u64) -> Option<String> {
        let leaf = layer.name.rsplit('.').next().unwrap_or(&layer.name);
        let [down, across] = self.block;
        let named = |list: &[String]| list.iter().any(|name| name == leaf);
        if self.whole {
            let uneven = [(self.rows, down), (self.cols, across)]
                .into_iter()
                .find(|(n, b)| !n.is_multiple_of((*b).max(1)));
            if let Some((n, b)) = uneven {
                return Some(format!("{n} is no multiple of {b}, and this runtime takes whole blocks only"));
            }
        }
        if named(&parallel.row) {
            return part(self.cols, size, across, "columns");
        }
        if !named(&parallel.column) {
            return None;
        }
        let merged = parallel.merged.iter().find_map(|group| {
            let at = group.iter().position(|name| name == leaf)?;
            Some(at + 1 < group.len())
        });
        match (size, merged) {
            // Uncut, only what is followed by another part must be whole.
            (1, Some(true)) => part(self.rows, 1, down, "rows of a part of a merged weight"),
            (1, _) => None,
            _ => {
                let pieces = match self.kv_heads.filter(|_| named(&parallel.kv_heads)) {
                    Some(heads) => size.min(heads),
                    None => size,
                };
                part(self.rows, pieces, down, "rows")
            }
        }
    }
}

/// Why `n` cannot be cut in `pieces` of whole blocks.
fn part(n: u64, pieces: u64, block: u64, what: &str) -> Option<String> {
    let pieces = pieces.max(1);
    if !n.is_multiple_of(pieces) {
        return Some(format!("{n} {what} cannot be cut in {pieces} equal parts"));
    }
    let each = n / pieces;
    (!each.is_multiple_of(block.max(1)))
        .then(|| format!("{n} {what} / {pieces} = {each}, no multiple of {block}"))
}
