//! The rules, one file per family. Each file lists its rules and finds their violations.

pub(crate) mod comfy;
pub(crate) mod config;
pub(crate) mod conversion;
pub(crate) mod fused;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod leaks;
pub(crate) mod naming;
pub(crate) mod scales;
pub(crate) mod shapes;
pub(crate) mod siblings;
pub(crate) mod structure;
pub(crate) mod ties;
pub(crate) mod values;
pub(crate) mod widths;

use crate::checkpoint::{Checkpoint, ConfigFile};
use crate::findings::Findings;
use crate::model::Model;
use quantscope_format::{HashSet, QuantDeclaration, ShardIndex};

/// What rules over headers and configs see.
#[derive(Clone, Copy)]
pub struct HeaderContext<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// Its layers.
    pub model: &'a Model,
}

impl<'a> HeaderContext<'a> {
    /// The file whose declaration counts.
    pub(crate) fn declaring_file(self) -> &'a str {
        let readable = |c: &'a Option<ConfigFile<QuantDeclaration>>| c.as_ref().filter(|c| c.content.is_ok());
        let chosen = readable(&self.checkpoint.config_quant).or(readable(&self.checkpoint.hf_quant));
        chosen.map_or("config.json", |c| c.file.as_str())
    }

    /// Whether every weight file is here, so that what is absent is really missing: those that an index names,
    /// and as many as their numbered names say.
    pub(crate) fn is_whole(self) -> bool {
        let shards = &self.checkpoint.shards;
        let files: HashSet<&str> = shards.iter().map(|s| s.file.as_str()).collect();
        let listed = self.checkpoint.readable_index().map(ShardIndex::files).unwrap_or_default();
        let of = |file: &str| file.strip_suffix(".safetensors")?.rsplit_once("-of-")?.1.parse::<usize>().ok();
        shards.iter().all(|s| s.header.is_sound() && of(&s.file).is_none_or(|n| n <= shards.len()))
            && listed.iter().all(|file| files.contains(file))
    }
}

/// A family of rules over headers and configs: adds what it finds.
pub type RuleFamily = fn(HeaderContext<'_>, &mut Findings);

/// The families, for who does something else between them: with 100,000 tensors each takes some ten milliseconds.
pub const FAMILIES: &[RuleFamily] = &[
    structure::check,
    index::check,
    leaks::check,
    scales::check,
    siblings::check,
    shapes::check,
    widths::check,
    naming::check,
    fused::check,
    config::check,
    ties::check,
    conversion::check,
    comfy::check,
];

/// Every finding that needs headers and configs only.
#[must_use]
pub fn header_findings(context: HeaderContext<'_>) -> Findings {
    let mut findings = Findings::default();
    for family in FAMILIES {
        family(context, &mut findings);
    }
    findings.sort();
    findings
}

/// A number and what is counted, with its verb: `1 layer has`, `2 layers have`.
pub(crate) fn number(count: impl TryInto<u64>, one: &str, many: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Writes a shape as people read it.
pub(crate) fn shape_text(shape: &[u64]) -> String {
    format!("{shape:?}")
}
