//! Public threads as small checkpoints: for each the rule that fires and what its message says. The numbers
//! are those of `docs/rules/threads.md`, which a test holds equal to this.

mod configs;
mod conversions;
mod files;
mod names;
mod scales;
mod shapes;

use crate::fixture::Ckpt;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// Set to write the table instead of comparing it.
const WRITE: &str = "QUANTSCOPE_WRITE_DOCS";
/// Threads that were collected.
const COLLECTED: u32 = 85;

/// A thread and the checkpoint that its author had.
pub(super) struct Thread {
    number: u32,
    /// Repository and number, several by commas.
    links: &'static str,
    /// What happened.
    what: &'static str,
    /// The rule that fires.
    rule: &'static str,
    /// What its message says.
    says: &'static str,
    checkpoint: Ckpt,
}

pub(super) fn thread(
    number: u32,
    links: &'static str,
    what: &'static str,
    (rule, says): (&'static str, &'static str),
    checkpoint: Ckpt,
) -> Thread {
    Thread { number, links, what, rule, says, checkpoint }
}

/// Threads without a fixture, and why.
const NOT_MODELLED: &[(u32, &str, &str)] = &[
    (
        20,
        "sgl-project/sglang#5095",
        "a key error of one loader; the report does not say which tensors the file has",
    ),
    (
        40,
        "Comfy-Org/ComfyUI#15273",
        "the file is sound; the program took packed widths for widths of the model",
    ),
    (
        50,
        "modular/modular#6600",
        "scales permuted twice: neither order fits, and no statistic tells it from weights without structure",
    ),
    (
        53,
        "huggingface/transformers#30202, turboderp-org/exllamav2#408",
        "the file is sound: tied, with one copy; the other program is no known target",
    ),
    (
        57,
        "NVIDIA/TensorRT-LLM#16867",
        "the file is sound; the runtime wants scales of values that share their keys' weights twice",
    ),
    (58, "NVIDIA/TensorRT-LLM#1733", "about a conversion script, without a checkpoint"),
    (66, "deepseek-ai/DeepSeek-V3#4", "a question about memory and devices"),
    (68, "AI-Hypercomputer/maxtext#1629, AI-Hypercomputer/maxtext#3873", "requests for a converter"),
    (71, "Comfy-Org/ComfyUI#11822", "a request for a conversion, which `convert` does"),
    (
        72,
        "NVIDIA/Model-Optimizer#775, NVIDIA/Model-Optimizer#164",
        "a question how to quantize, which `convert` answers",
    ),
    (73, "sgl-project/sglang#2895", "out of memory while quantizing"),
    (84, "Comfy-Org/ComfyUI#11764, Comfy-Org/ComfyUI#15520", "about the program's kernels, not about a file"),
    (85, "silveroxides/convert_to_quant#48", "a request about a converter's options"),
];

fn all() -> Vec<Thread> {
    let parts =
        [scales::threads(), names::threads(), configs::threads(), shapes::threads(), files::threads()];
    let mut all: Vec<Thread> = parts.into_iter().flatten().chain(conversions::threads()).collect();
    all.sort_by_key(|t| t.number);
    all
}

#[test]
fn each_thread_is_modelled_or_its_absence_explained() {
    let modelled: BTreeSet<u32> = all().iter().map(|t| t.number).collect();
    assert_eq!(modelled.len(), all().len(), "a number twice");
    assert!(modelled.len() >= 60, "{} threads are modelled", modelled.len());
    let explained: BTreeSet<u32> = NOT_MODELLED.iter().map(|(n, _, _)| *n).collect();
    assert!(modelled.is_disjoint(&explained));
    assert_eq!(modelled.union(&explained).copied().collect::<Vec<_>>(), (1..=COLLECTED).collect::<Vec<_>>());
}

/// The message of the rule's first finding, if it fires.
fn message(thread: &Thread) -> Option<String> {
    thread.checkpoint.findings().into_iter().find(|f| f.rule == thread.rule).map(|f| f.message)
}

#[test]
fn each_thread_is_answered_by_its_rule() {
    let mut wrong = Vec::new();
    for thread in all() {
        match message(&thread) {
            Some(message) if message.contains(thread.says) => {}
            Some(message) => wrong.push(format!("{}: {} says {message:?}", thread.number, thread.rule)),
            None => {
                let found: Vec<String> = thread
                    .checkpoint
                    .findings()
                    .iter()
                    .map(|f| format!("{} {}", f.rule, f.message))
                    .collect();
                wrong.push(format!("{}: {} is silent; found {found:#?}", thread.number, thread.rule));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn linked(links: &str) -> String {
    let link = |link: &str| {
        let (repository, number) = link.split_once('#').unwrap();
        let short = repository.rsplit('/').next().unwrap();
        format!("[{short}#{number}](https://github.com/{repository}/issues/{number})")
    };
    links.split(", ").map(link).collect::<Vec<_>>().join(", ")
}

fn table() -> String {
    let threads = all();
    let mut text = format!(
        "# Threads\n\n{COLLECTED} public threads of people whose checkpoints failed, in the order in which they were \
         collected.\n{} of them are modelled as small checkpoints in `crates/audit/tests/threads`; the rule named here \
         fires on each, with the message given.\n\n| | thread | what happened | rule | message |\n|---|---|---|---|---|\n",
        threads.len()
    );
    for thread in &threads {
        let message = message(thread).unwrap_or_default().replace('|', "\\|");
        let Thread { number, links, what, rule, .. } = thread;
        writeln!(text, "| {number} | {} | {what} | [{rule}]({rule}.md) | {message} |", linked(links))
            .unwrap();
    }
    text.push_str("\n## Not modelled\n\n| | thread | why |\n|---|---|---|\n");
    for (number, links, why) in NOT_MODELLED {
        writeln!(text, "| {number} | {} | {why} |", linked(links)).unwrap();
    }
    text
}

#[test]
fn the_table_of_threads_is_what_happens() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules/threads.md");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, table()).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stands == table(),
        "docs/rules/threads.md is stale; write it again with {WRITE}=1 cargo test -p quantscope-audit"
    );
}
