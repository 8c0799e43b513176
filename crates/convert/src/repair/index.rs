//! The index, written anew from the headers of the output.
//!
//! What the old index maps to a file that is not there stays mapped: a repair must not make a missing tensor
//! look as if nobody had missed it.

use super::RepairFile;
use super::draft::Draft;
use crate::error::ConvertError;
use quantscope_format::Gather as _;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const RULES: &[&str] = &["IX802", "IX803", "IX805", "IX808", "IX809"];

pub(super) fn mend(draft: &mut Draft<'_>, files: &[RepairFile]) -> Result<(), ConvertError> {
    let old = draft.checkpoint.index.as_ref();
    let name = match old {
        Some((name, _)) => name.clone(),
        None if files.len() > 1 => "model.safetensors.index.json".to_string(),
        None => return Ok(()),
    };
    let mut map: BTreeMap<String, String> = BTreeMap::new();
    let mut total = 0_u64;
    for file in files {
        for tensor in &file.tensors {
            map.insert(tensor.spec.name.clone(), file.name.clone());
            total = total.saturating_add(tensor.span.end.saturating_sub(tensor.span.start));
        }
    }
    let mended = draft.asked(RULES);
    if let Some((_, Ok(index))) = old {
        let source: BTreeSet<&str> = draft
            .checkpoint
            .shards
            .iter()
            .flat_map(|shard| shard.header.tensors.iter().map(|tensor| tensor.name))
            .gather_set();
        for entry in index.entries.iter().filter(|e| e.leaves_folder.is_none()) {
            if !source.contains(entry.tensor.as_str()) {
                map.entry(entry.tensor.clone()).or_insert_with(|| entry.file.to_string());
            }
        }
    }
    for finding in mended {
        let before = finding.found.clone().unwrap_or_else(|| finding.message.clone());
        let after = map
            .get(&finding.subject)
            .cloned()
            .unwrap_or_else(|| format!("{} tensors, {total} bytes", map.len()));
        draft.change(&finding.rule, &finding.subject, "write", before, after);
    }
    let map: Map<String, Value> = map.into_iter().map(|(tensor, file)| (tensor, file.into())).collect();
    let index = json!({"metadata": {"total_size": total}, "weight_map": map});
    draft.texts.insert(name, Some(super::configs::pretty(&index)?));
    // Another index beside it would speak of files that may be gone.
    let strays: Vec<String> = draft
        .checkpoint
        .other_files
        .iter()
        .filter(|f| f.path.ends_with(".safetensors.index.json"))
        .map(|f| f.path.clone())
        .collect();
    for stray in strays {
        draft.texts.entry(stray).or_insert(None);
    }
    Ok(())
}
