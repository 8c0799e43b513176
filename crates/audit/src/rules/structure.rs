//! ST and IX804: shards whose own header is wrong.
//!
//! The rows of `rules.md` "What the reference parser enforces, and what it lets through".

use super::HeaderContext;
use crate::checkpoint::Shard;
use crate::registry::{FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_format::{Defect, Note};
use quantscope_schemes::split_name;

pub(crate) const RULES: &[Rule] = &[ST001, ST002, ST003, ST101, ST102, ST103, ST104, ST105, ST106, IX804];

const REFETCH: &str = "Fetch the file again, or save it again with the tool that made it.";

const fn damage(id: &'static str, title: &'static str, fix: &'static str) -> Rule {
    let why = "The reference parser refuses such a file, so no runtime will load it. Its other tensors are reported \
               as far as they can be read.";
    Rule { id, severity: Severity::Error, needs: "H", title, why, fix, repairable: false }
}

const ST001: Rule = Rule {
    id: "ST001",
    severity: Severity::Error,
    needs: "H",
    title: "Duplicate tensor name",
    why: "The reference parser keeps the last entry and says nothing; others keep the first. Two loaders see two \
          models in one file.",
    fix: "Do not use the file: write it again with unique names.",
    repairable: false,
};
const ST002: Rule = Rule {
    id: "ST002",
    severity: Severity::Warning,
    needs: "H",
    title: "Header outside the format",
    why: "The reference parser tolerates it, stricter readers do not.",
    fix: "Write the header again in canonical form; the tensor bytes stay as they are.",
    repairable: true,
};
const ST003: Rule = Rule {
    id: "ST003",
    severity: Severity::Warning,
    needs: "H",
    title: "Suspicious tensor name",
    why: "Names with path parts or control characters attack tools that use them as file names or print them raw.",
    fix: "Rename the tensor; treat the file's origin with care.",
    repairable: false,
};
const ST101: Rule = damage("ST101", "Unreadable header", REFETCH);
const ST102: Rule = damage("ST102", "Hole or overlap between tensors", REFETCH);
const ST103: Rule =
    damage("ST103", "Unknown dtype", "Use a newer tool if the dtype is new, or save the file again.");
const ST104: Rule = damage("ST104", "Shape and bytes disagree", REFETCH);
const ST105: Rule = damage("ST105", "Bytes after the last tensor", "Truncate the file, or fetch it again.");
const ST106: Rule = damage("ST106", "Over a limit", "If the file is trusted, raise the limit with --limit.");
const IX804: Rule = Rule {
    id: "IX804",
    severity: Severity::Error,
    needs: "H",
    title: "Truncated file",
    why: "The file ends before its last tensor. Some loaders read zeros past the end and serve a broken model.",
    fix: "Fetch this file again; the download stopped early.",
    repairable: false,
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Vec<Finding>) {
    for shard in &context.checkpoint.shards {
        findings.extend(shard.header.defects.iter().map(|d| defect(shard, d)));
        findings.extend(shard.header.notes.iter().filter_map(|n| note(shard, n)));
    }
}

fn defect(shard: &Shard, defect: &Defect) -> Finding {
    let file = shard.file.as_str();
    let text = format!("{file}: {defect}");
    let about = |rule: &Rule, tensor: &str| {
        rule.finding(tensor, text.clone()).in_file(file).touching(split_name(tensor).0)
    };
    match defect {
        Defect::Unreadable { .. } => ST101.finding(file, text).in_file(file),
        Defect::Span { tensor, .. } => about(&ST102, tensor),
        Defect::UnknownDtype { tensor, .. } => about(&ST103, tensor),
        Defect::Size { tensor, needed, found, .. } => {
            about(&ST104, tensor).expecting(format!("{needed} bytes"), format!("{found} bytes"))
        }
        Defect::Truncated { missing, first, .. } => {
            let length = shard.header.file_len;
            let right = length.saturating_add(*missing);
            let mut finding = IX804.finding(file, text).in_file(file);
            finding = finding.expecting(format!("{right} bytes"), format!("{length} bytes"));
            finding.touching(split_name(first).0)
        }
        Defect::Trailing { .. } => ST105.finding(file, text).in_file(file),
        Defect::OverLimit { limit, found, .. } => {
            let finding = ST106.finding(file, text).in_file(file);
            finding.expecting(format!("at most {limit}"), found.to_string())
        }
    }
}

fn note(shard: &Shard, note: &Note) -> Option<Finding> {
    let file = shard.file.as_str();
    let finding = match note {
        Note::DuplicateName(name) => {
            let message =
                format!("`{name}` stands more than once in the header of {file}; the last entry counts");
            ST001.finding(name, message).touching(split_name(name).0)
        }
        Note::DuplicateMetadataKey(key) => {
            ST002.finding(file, format!("the key {key:?} stands more than once in __metadata__"))
        }
        Note::NullMetadata => ST002.finding(file, "__metadata__ is null"),
        Note::LeadingWhitespace => ST002.finding(file, "the header begins with white space, not with {"),
        Note::UnknownField { tensor, field } => {
            ST002.finding(tensor, format!("`{tensor}` has a field {field:?} that no reader knows"))
        }
        Note::UnusualForm { tensor, what } => {
            ST002.finding(tensor, format!("`{tensor}` is spelled oddly: {what}"))
        }
        Note::SuspiciousName(name) => {
            ST003.finding(name, format!("the tensor name {name:?} holds path parts or control characters"))
        }
        Note::EmptyName => ST003.finding(file, "a tensor has an empty name"),
        // Legal, and harmless to every reader that copies.
        Note::Unaligned { .. } => return None,
    };
    Some(finding.in_file(file))
}
