//! `verify` for people.

use super::{Paint, bytes, paint, plural, printable};
use quantscope_session::api::{ProofProblem, ProofView};
use std::fmt::Write as _;
use std::path::Path;

/// Problems that are listed; `--json` has all.
const LISTED: usize = 40;

/// The verdict, and what is wrong.
pub(crate) fn describe(proof: &ProofView, output: &Path) -> String {
    let verdict = if proof.verified {
        paint(Paint::Good, "every byte is what the manifest says")
    } else {
        let count = plural(proof.problems.len() as u64, "problem");
        paint(Paint::Bad, &format!("not what the manifest says: {count}"))
    };
    let mut text = format!("{}: {verdict}\n", output.display());
    let source = match proof.sources {
        0 => String::new(),
        n => format!(", {} of the source", plural(n, "file")),
    };
    let _ = writeln!(
        text,
        "{} in {}{source}, {} hashed",
        plural(proof.tensors, "tensor"),
        plural(proof.files, "file"),
        bytes(proof.bytes)
    );
    for problem in proof.problems.iter().take(LISTED) {
        text.push_str(&line(problem));
    }
    if let Some(more) = proof.problems.len().checked_sub(LISTED).filter(|&more| more > 0) {
        let _ = writeln!(text, "  and {more} more; --json lists them all");
    }
    text
}

fn line(problem: &ProofProblem) -> String {
    let place = if problem.subject == problem.file {
        String::new()
    } else {
        format!(" ({})", printable(&problem.file))
    };
    let difference = match (problem.expected.as_str(), problem.found.as_str()) {
        ("", "") => String::new(),
        ("", found) => format!(": {}", printable(found)),
        (expected, found) => format!(": {} expected, {} found", printable(expected), printable(found)),
    };
    format!("  {}{place} {}{difference}\n", printable(&problem.subject), problem.message)
}
