//! IX: the index and the shards disagree.

use super::{HeaderContext, number};
use crate::checkpoint::Shard;
use crate::findings::Findings;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_format::{Arrange as _, HashMap, ShardIndex, TensorInfo};
use quantscope_schemes::split_name;
use std::collections::BTreeMap;

pub(crate) const RULES: &[Rule] = &[IX801, IX802, IX803, IX805, IX806, IX807, IX808, IX809];

const fn index_rule(
    id: &'static str,
    severity: Severity,
    title: &'static str,
    why: &'static str,
    fix: &'static str,
    repairable: bool,
    example: Example,
) -> Rule {
    Rule { id, severity, needs: "H,X", title, why, fix, repairable, example }
}

const IX801: Rule = index_rule(
    "IX801",
    Severity::Error,
    "Shard missing",
    "The index names a file that is not there. Some servers start anyway, with uninitialised weights.",
    "Fetch that one file.",
    false,
    Example {
        before: "weight_map: {\"b.weight\": \"model-00002-of-00002.safetensors\"}\nfolder: model-00001-of-00002.safetensors",
        after: "weight_map: {\"b.weight\": \"model-00002-of-00002.safetensors\"}\nfolder: model-00001-of-00002.safetensors, model-00002-of-00002.safetensors",
    },
);
const IX802: Rule = index_rule(
    "IX802",
    Severity::Error,
    "Tensor not in its shard",
    "The index sends the loader to a file whose header lacks the tensor.",
    "Regenerate the index from the headers, or fetch the shard again if it is an old one.",
    true,
    Example {
        before: "weight_map: {\"b.weight\": \"one.safetensors\"}\none.safetensors: a.weight\ntwo.safetensors: b.weight",
        after: "weight_map: {\"b.weight\": \"two.safetensors\"}\none.safetensors: a.weight\ntwo.safetensors: b.weight",
    },
);
const IX803: Rule = index_rule(
    "IX803",
    Severity::Warning,
    "Not in the index",
    "Loaders that follow the index never read it; loaders that read every file do. They see different models.",
    "Add it to the index, or remove it.",
    true,
    Example {
        before: "weight_map: {\"a.weight\": \"one.safetensors\"}\none.safetensors: a.weight, a.weight_scale",
        after: "weight_map: {\"a.weight\": \"one.safetensors\", \"a.weight_scale\": \"one.safetensors\"}\none.safetensors: a.weight, a.weight_scale",
    },
);
const IX805: Rule = index_rule(
    "IX805",
    Severity::Warning,
    "Wrong total size",
    "`metadata.total_size` is used to plan memory and to check a download.",
    "Rewrite the index.",
    true,
    Example {
        before: "metadata.total_size: 4096, tensors: 8192 bytes",
        after: "metadata.total_size: 8192, tensors: 8192 bytes",
    },
);
const IX806: Rule = index_rule(
    "IX806",
    Severity::Error,
    "Tensor in two shards",
    "Which copy counts depends on the loader and on the order of files.",
    "Drop one of the copies.",
    true,
    Example {
        before: "one.safetensors: a.weight, b.weight\ntwo.safetensors: b.weight",
        after: "one.safetensors: a.weight\ntwo.safetensors: b.weight",
    },
);
const IX807: Rule = index_rule(
    "IX807",
    Severity::Info,
    "Companions in several files",
    "A weight and its scales stand in different files. Loaders that go file by file must hold the weight until the \
     scales come, and a single missing file breaks layers of two.",
    "Put companions together when the shards are written again.",
    false,
    Example {
        before: "one.safetensors: a.weight\ntwo.safetensors: a.weight_scale",
        after: "one.safetensors: a.weight, a.weight_scale",
    },
);
const IX808: Rule = index_rule(
    "IX808",
    Severity::Error,
    "Index unreadable",
    "The index is not valid JSON or not of its form, so no loader can find the shards.",
    "Regenerate the index from the headers.",
    true,
    Example {
        before: "{\"weight_map\": []}",
        after: "{\"metadata\": {\"total_size\": 8192}, \"weight_map\": {\"a.weight\": \"one.safetensors\"}}",
    },
);
const IX809: Rule = index_rule(
    "IX809",
    Severity::Error,
    "Index leaves the folder",
    "An entry names a path outside the checkpoint, or an address. A loader that follows it reads foreign files.",
    "Regenerate the index; treat the checkpoint's origin with care.",
    true,
    Example {
        before: "weight_map: {\"a.weight\": \"../other/model.safetensors\"}",
        after: "weight_map: {\"a.weight\": \"model.safetensors\"}",
    },
);

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    for (name, shards) in &context.model.repeated {
        let place = |&s: &u32| context.checkpoint.shards.get(usize::try_from(s).ok()?);
        let files: Vec<&str> = shards.iter().filter_map(place).map(|s| s.file.as_str()).collect();
        let message = format!("`{name}` stands in {}", files.join(" and in "));
        let finding = IX806.finding(name, message).expecting("one shard", files.join(", "));
        findings.push(finding.touching(split_name(name).0));
    }
    split_companions(context, findings);
    let Some((file, index)) = &context.checkpoint.index else { return };
    match index {
        Err(error) => {
            let message = format!("{file} cannot be read: {error}");
            findings.push(IX808.finding(file.as_str(), message).in_file(file.as_str()));
        }
        Ok(index) => check_entries(context, file, index, findings),
    }
}

fn split_companions(context: HeaderContext<'_>, findings: &mut Findings) {
    for layer in context.model.layers.iter().filter(|l| l.is_quantized()) {
        let mut shards: Vec<u32> = layer.members.iter().map(|m| m.shard).collect();
        shards.arrange();
        shards.dedup();
        if shards.len() < 2 {
            continue;
        }
        let place = |s: u32| context.checkpoint.shards.get(usize::try_from(s).ok()?);
        let files: Vec<&str> = shards.into_iter().filter_map(place).map(|s| s.file.as_str()).collect();
        let message = format!("the tensors of `{}` are split over {}", layer.name, files.join(", "));
        let finding = IX807.finding(&layer.name, message).expecting("one file", files.join(", "));
        findings.push(finding.touching(&layer.name));
    }
}

fn check_entries(context: HeaderContext<'_>, index_file: &str, index: &ShardIndex, findings: &mut Findings) {
    let shards = &context.checkpoint.shards;
    let (held, strays) = compared(shards, index);
    // A shard whose header cannot be read is reported as such, not once more for each of its tensors.
    let readable: HashMap<&str, bool> =
        shards.iter().map(|s| (s.file.as_str(), s.header.header_len > 0)).collect();
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (entry, is_held) in index.entries.iter().zip(held) {
        if let Some(why) = &entry.leaves_folder {
            let message = format!(
                "{index_file} maps `{}` to {:?}, outside the folder: {why}",
                entry.tensor, entry.file
            );
            findings.push(IX809.finding(&entry.tensor, message).in_file(index_file));
            continue;
        }
        if is_held {
            continue;
        }
        match readable.get(&*entry.file) {
            None => missing.entry(&entry.file).or_default().push(&entry.tensor),
            Some(false) => {}
            Some(true) => {
                let message =
                    format!("`{}` is mapped to {}, whose header lacks it", entry.tensor, entry.file);
                let elsewhere = names_of_file_with(context, &entry.tensor).unwrap_or("no shard has it");
                let finding = IX802.finding(&entry.tensor, message).in_file(index_file);
                findings
                    .push(finding.expecting(elsewhere, &*entry.file).touching(split_name(&entry.tensor).0));
            }
        }
    }
    for (file, tensors) in missing {
        let first = tensors.first().copied().unwrap_or_default();
        let message = format!(
            "{index_file} names {file}, which is not there; {} in it, e.g. `{first}`",
            number(tensors.len(), "tensor is", "tensors are")
        );
        findings.push(IX801.finding(file, message).in_file(index_file).expecting(file, "absent"));
    }
    report_strays(&strays, index_file, findings);
    check_total(context, index_file, index, findings);
}

/// Tensors of a file that the index does not list.
struct Strays<'a> {
    file: &'a str,
    first: &'a str,
    count: usize,
}

/// Of each entry of the index whether its file has the tensor, and what of the files the index does not list. Each
/// tensor is looked up once.
fn compared<'a>(shards: &'a [Shard], index: &ShardIndex) -> (Vec<bool>, Vec<Strays<'a>>) {
    let mut held = vec![false; index.entries.len()];
    let mut strays: Vec<Strays<'a>> = Vec::new();
    for shard in shards {
        for tensor in shard.header.tensors.iter() {
            let Some(place) = index.place_of(tensor.name) else {
                match strays.last_mut().filter(|strays| strays.file == shard.file) {
                    Some(strays) => strays.count += 1,
                    None => strays.push(Strays { file: &shard.file, first: tensor.name, count: 1 }),
                }
                continue;
            };
            if let (Some(entry), Some(held)) = (index.entries.get(place), held.get_mut(place))
                && *entry.file == *shard.file
            {
                *held = true;
            }
        }
    }
    (held, strays)
}

fn names_of_file_with<'a>(context: HeaderContext<'a>, tensor: &str) -> Option<&'a str> {
    let layer = context.model.layer(split_name(tensor).0)?;
    layer.tensor(context.checkpoint, split_name(tensor).1).map(|(shard, _)| shard.file.as_str())
}

fn report_strays(strays: &[Strays<'_>], index_file: &str, findings: &mut Findings) {
    for &Strays { file, first, count } in strays {
        let message = format!(
            "{} not in {index_file}, e.g. `{first}`",
            number(count, &format!("tensor of {file} is"), &format!("tensors of {file} are")),
        );
        findings.push(IX803.finding(file, message).in_file(index_file).touching(split_name(first).0));
    }
}

fn check_total(context: HeaderContext<'_>, index_file: &str, index: &ShardIndex, findings: &mut Findings) {
    let spans =
        context.checkpoint.shards.iter().flat_map(|s| s.header.tensors.iter().map(TensorInfo::byte_len));
    let sum = spans.fold(0_u64, u64::saturating_add);
    let is_here = |file: &&str| context.checkpoint.shards.iter().any(|s| s.file == *file);
    let every_shard = index.files().iter().all(is_here);
    let Some(total) = index.total_size.filter(|&t| t != sum && every_shard) else { return };
    let message = format!("{index_file} gives a total size of {total} bytes; the tensors have {sum}");
    findings.push(
        IX805.finding(index_file, message).in_file(index_file).expecting(sum.to_string(), total.to_string()),
    );
}
