//! ST and IX804: shards whose own header is wrong.
//!
//! The rows are those of what the reference parser enforces, and of what it lets through.

use super::{HeaderContext, number};
use crate::checkpoint::Shard;
use crate::findings::Findings;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::{Finding, Severity};
use quantscope_format::{Defect, Note, TensorInfo};
use quantscope_schemes::split_name;

pub(crate) const RULES: &[Rule] =
    &[ST001, ST002, ST003, ST004, ST005, ST006, ST101, ST102, ST103, ST104, ST105, ST106, IX804];

const REFETCH: &str = "Fetch the file again, or save it again with the tool that made it.";

const fn damage(id: &'static str, title: &'static str, fix: &'static str, example: Example) -> Rule {
    let why = "The reference parser refuses such a file, so no runtime will load it. Its other tensors are reported \
               as far as they can be read.";
    Rule { id, severity: Severity::Error, needs: "H", title, why, fix, repairable: false, example }
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
    example: Example::of(
        "{\"a.weight\": {... [0, 16]}, \"a.weight\": {... [16, 32]}}",
        "{\"a.weight\": {... [0, 16]}, \"b.weight\": {... [16, 32]}}",
    ),
};
const ST002: Rule = Rule {
    id: "ST002",
    severity: Severity::Warning,
    needs: "H",
    title: "Header outside the format",
    why: "The reference parser tolerates it, stricter readers do not.",
    fix: "Write the header again in canonical form; the tensor bytes stay as they are.",
    repairable: true,
    example: Example::of(
        "{\"__metadata__\": null, \"a.weight\": {...}}",
        "{\"__metadata__\": {\"format\": \"pt\"}, \"a.weight\": {...}}",
    ),
};
const ST003: Rule = Rule {
    id: "ST003",
    severity: Severity::Warning,
    needs: "H",
    title: "Suspicious tensor name",
    why: "Names with path parts or control characters attack tools that use them as file names or print them raw.",
    fix: "Rename the tensor; treat the file's origin with care.",
    repairable: false,
    example: Example::of("\"../../a.weight\"", "\"a.weight\""),
};
const ST004: Rule = Rule {
    id: "ST004",
    severity: Severity::Warning,
    needs: "H",
    title: "Header too long for some readers",
    why: "The Hub's JavaScript reader takes headers of at most 25 MB, the reference parser of at most 100 MB.",
    fix: "Write more, smaller shards.",
    repairable: false,
    example: Example::of("header of 31,000,000 bytes", "two files with headers of 15,500,000 bytes"),
};
const ST005: Rule = Rule {
    id: "ST005",
    severity: Severity::Warning,
    needs: "H",
    title: "Too large for 32-bit runtimes",
    why: "Runtimes built for 32-bit WebAssembly count bytes in 32 bits and copy a tensor whole: a tensor of 512 MiB, or \
          one past 4 GiB, cannot be loaded there.",
    fix: "Write smaller shards for web runtimes; a tensor that is itself too large must be split or quantized.",
    repairable: false,
    example: Example::of("one file of 9 GB", "three files of 3 GB"),
};
const ST006: Rule = Rule {
    id: "ST006",
    severity: Severity::Warning,
    needs: "H",
    title: "Tensors off their alignment",
    why: "Readers that map the file and view tensors in place need each to begin at a multiple of its element size. \
          Others copy, so nothing is lost but time; strict ones refuse. MLX pads no header, so most of its files have \
          this.",
    fix: "Write the header again, padded with spaces; the tensor bytes stay as they are.",
    repairable: true,
    example: Example::of(
        "header of 333 bytes, a.weight  F32 begins at 341",
        "header of 336 bytes, a.weight  F32 begins at 344",
    ),
};
const ST101: Rule = damage(
    "ST101",
    "Unreadable header",
    REFETCH,
    Example { before: "{\"a.weight\"; {...}}", after: "{\"a.weight\": {...}}" },
);
const ST102: Rule = damage(
    "ST102",
    "Hole or overlap between tensors",
    REFETCH,
    Example { before: "a.weight [0, 16)\nb.weight [8, 24)", after: "a.weight [0, 16)\nb.weight [16, 32)" },
);
const ST103: Rule = damage(
    "ST103",
    "Unknown dtype",
    "Use a newer tool if the dtype is new, or save the file again.",
    Example { before: "\"dtype\": \"BF17\"", after: "\"dtype\": \"BF16\"" },
);
const ST104: Rule = damage(
    "ST104",
    "Shape and bytes disagree",
    REFETCH,
    Example { before: "a.weight  BF16 [2, 5], 16 bytes", after: "a.weight  BF16 [2, 4], 16 bytes" },
);
const ST105: Rule = damage(
    "ST105",
    "Bytes after the last tensor",
    "Truncate the file, or fetch it again.",
    Example {
        before: "last tensor ends at 4096, file has 4100 bytes",
        after: "last tensor ends at 4096, file has 4096 bytes",
    },
);
const ST106: Rule = damage(
    "ST106",
    "Over a limit",
    "If the file is trusted, raise the limit with --limit.",
    Example {
        before: "9,000 tensors under --limit tensors=8000",
        after: "9,000 tensors under --limit tensors=10000",
    },
);
const IX804: Rule = Rule {
    id: "IX804",
    severity: Severity::Error,
    needs: "H",
    title: "Truncated file",
    why: "The file ends before its last tensor. Some loaders read zeros past the end and serve a broken model.",
    fix: "Fetch this file again; the download stopped early.",
    repairable: false,
    example: Example::of(
        "last tensor ends at 4096, file has 3000 bytes",
        "last tensor ends at 4096, file has 4096 bytes",
    ),
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    for shard in &context.checkpoint.shards {
        findings.extend(shard.header.defects.iter().map(|d| defect(shard, d)));
        findings.extend(shard.header.notes.iter().filter_map(|n| note(shard, n)));
        findings.extend(sizes(shard));
        findings.extend(unaligned(shard));
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
        Defect::OverLimit { name, limit, found, .. } => {
            let mut finding = ST106.finding(file, text).in_file(file);
            finding.fix = match *name {
                "" => "Mend what is listed first.".into(),
                name => format!("If the file is trusted, raise the limit: --limit {name}={found}.").into(),
            };
            finding.expecting(format!("at most {limit}"), found.to_string())
        }
    }
}

/// Longest header of the Hub's JavaScript reader, and of the reference parser.
const HEADER_CAPS: [(u64, &str); 2] =
    [(100_000_000, "the reference parser"), (25_000_000, "the Hub's reader")];
/// Bytes of a tensor that a 32-bit runtime cannot hold twice, and the last offset it can count.
const LARGEST_TENSOR: u64 = 512 << 20;
const LAST_OFFSET: u64 = 1 << 32;

fn sizes(shard: &Shard) -> Vec<Finding> {
    let file = shard.file.as_str();
    let mut findings = Vec::new();
    // Of a file that is none of the format, what stands for the length means nothing.
    if shard.header.defects.iter().any(|d| matches!(d, Defect::Unreadable { .. })) {
        return findings;
    }
    if let Some((cap, reader)) = HEADER_CAPS.iter().find(|(cap, _)| shard.header.header_len > *cap) {
        let length = shard.header.header_len;
        let message = format!("the header of {file} has {length} bytes; {reader} takes {cap}");
        let finding = ST004.finding(file, message).in_file(file);
        findings.push(finding.expecting(format!("at most {cap} bytes"), format!("{length} bytes")));
    }
    let large = |t: &TensorInfo<'_>| t.byte_len() >= LARGEST_TENSOR || t.end > LAST_OFFSET;
    let mut affected = shard.header.tensors.iter().filter(large);
    if let Some(first) = affected.next() {
        let message = format!(
            "{file}: {} cannot be loaded where bytes are counted in 32 bits; the first is `{}`, {} bytes \
             up to byte {}",
            number(affected.count() + 1, "tensor", "tensors"),
            first.name,
            first.byte_len(),
            first.end
        );
        let finding = ST005.finding(file, message).in_file(file);
        let found = format!("{} bytes up to byte {}", first.byte_len(), first.end);
        findings.push(finding.expecting("tensors below 512 MiB, offsets up to 4 GiB", found));
    }
    findings
}

fn unaligned(shard: &Shard) -> Option<Finding> {
    let file = shard.file.as_str();
    let mut notes = shard.header.notes.iter().filter_map(|n| match n {
        Note::Unaligned { tensor, begin } => Some((tensor, begin)),
        _ => None,
    });
    let (tensor, begin) = notes.next()?;
    let message = format!(
        "{file}: {} not begin at a multiple of their element size; `{tensor}` begins at {begin}",
        number(notes.count() + 1, "tensor does", "tensors do")
    );
    let finding = ST006.finding(file, message).in_file(file);
    Some(
        finding.expecting("a multiple of the element size", begin.to_string()).touching(split_name(tensor).0),
    )
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
        // Told once a file.
        Note::Unaligned { .. } => return None,
    };
    Some(finding.in_file(file))
}
