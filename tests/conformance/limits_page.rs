//! `docs/limits.md` is made of the one table of limits; this test writes it when asked and otherwise fails if it is
//! stale.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::Limits;
use quantscope_tests::root;
use std::fmt::Write as _;

/// Set to write the page instead of comparing it.
const WRITE: &str = "QUANTSCOPE_WRITE_DOCS";

/// Bounds that no flag raises: nobody has met them, and something that does not come from a file depends on each.
const FIXED: &[(&str, &str)] = &[
    ("faults and oddities kept of one header", "10,000 each; the rest is counted"),
    ("bytes of a text that describes a layer (`comfy_quant` and the like)", "65,536"),
    ("bytes of a glob", "4,096"),
    ("bytes of rules of renaming; rules of a kind", "1,048,576; 1,024"),
    ("bytes of a compiled pattern of a rule", "262,144"),
    ("bytes of a name that renaming makes", "4,096"),
    ("experts of a stack that is taken apart; parts that rules cut it into", "65,536; 131,072"),
    ("tensors of an output", "4,194,304"),
    (
        "bytes of an address; of a list of files from a hub; of one other file from there",
        "8,192; 32 MiB; 64 MiB",
    ),
];

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn page() -> String {
    let mut page = String::from(
        "# Limits\n\nA file can claim anything; what it can make us spend is bounded.\n\
         `--limit NAME=VALUE` raises or lowers a bound, for files that are trusted or machines that are small; errors \
         and findings name the limit that was met.\n\n\
         | name | bounds | default | beyond it |\n|---|---|---|---|\n",
    );
    for limit in Limits::NAMED {
        let default = thousands(limit.of(&Limits::default()));
        writeln!(page, "| `{}` | {} | {default} | {} |", limit.name, limit.bounds, limit.beyond).unwrap();
    }
    page.push_str(
        "\nMemory follows from them: JSON is read whole, tensors never are.\n\
         A header of the usual form is read a window of a MiB at a time, any other costs about its own length while it \
         is read.\n\
         Each tensor takes about 0.5 KB as long as the checkpoint is open, each finding a fifth of that and what is new \
         in its words; reports are written as they are made.\n\n\
         These bounds have no flag:\n\n| bounds | value |\n|---|---|\n",
    );
    for (bounds, value) in FIXED {
        writeln!(page, "| {bounds} | {value} |").unwrap();
    }
    page
}

#[test]
fn the_page_of_limits_is_the_table() {
    let file = root().join("docs/limits.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, page()).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == page(), "docs/limits.md is stale; run this test with {WRITE}=1");
}
