//! Takes a WebAssembly program apart in two: a first part, which starts, and a later one, which is fetched when it is
//! wanted. Both share memory, table and globals, so nothing but the place of a function changes.
//!
//! Each function of the later part that the first one may call has a slot at the end of the table, and a short
//! function in the first part that calls what stands there. Before it does so for the first time, the page's own
//! JavaScript is asked for the later part; its instance fills the slots.

mod choice;
mod first;
mod later;
mod program;

pub(crate) use choice::Patterns;

use anyhow::{Context as _, Result};
use program::Program;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use wasm_encoder::reencode::Error as Recoding;

/// Under which module's name the later part imports all it needs from the first.
const FIRST: &str = "first";
/// The function that the page's JavaScript supplies, as the program's import is called: fetches the later part now.
const LOADER: &str = "loadLater";

/// The two parts of a program.
pub(crate) struct Parts {
    pub(crate) first: Vec<u8>,
    pub(crate) later: Vec<u8>,
}

/// Where the functions of the later part are found.
pub(crate) struct Division {
    /// Whether each function belongs to the later part.
    later: Vec<bool>,
    /// Functions of the later part that the first one may call, in the order of their slots.
    slots: Vec<u32>,
    /// Functions of the first part, imported ones included, that the later one calls.
    shared: Vec<u32>,
    /// The table's length without the slots.
    slots_from: u32,
    /// What both parts call the memory.
    memory: String,
    /// The function that fetches the later part, and its type.
    loader: u32,
    loader_type: u32,
}

impl Division {
    fn is_later(&self, function: u32) -> bool {
        self.later.get(function as usize).copied().unwrap_or_default()
    }

    /// The tables of the program, the first with room for the slots.
    fn tables<'a>(&self, program: &'a Program<'_>) -> impl Iterator<Item = wasmparser::TableType> + use<'a> {
        let slots = self.slots.len() as u64;
        program.tables.iter().enumerate().map(move |(place, &table)| {
            let more = if place == 0 { slots } else { 0 };
            let maximum = table.maximum.map(|most| most.saturating_add(more));
            wasmparser::TableType { initial: table.initial.saturating_add(more), maximum, ..table }
        })
    }

    /// The slot of a function, as an index of the table.
    fn slot(&self, function: u32) -> Option<u32> {
        let place = self.slots.binary_search(&function).ok()?;
        self.slots_from.checked_add(u32::try_from(place).ok()?)
    }
}

/// Takes `program` apart: what `patterns` name, and what only such functions call, is fetched later.
pub(crate) fn split(program: &[u8], patterns: &Patterns) -> Result<Parts> {
    let read = Program::read(program).context("the program cannot be read")?;
    let division = choice::divide(&read, patterns, memory_name(program))?;
    let parts = Parts {
        first: first::write(program, &read, &division).map_err(told)?,
        later: later::write(&read, &division).map_err(told)?,
    };
    for part in [&parts.first, &parts.later] {
        wasmparser::validate(part).context("a part of the program is not valid")?;
    }
    Ok(parts)
}

fn told(error: Recoding<anyhow::Error>) -> anyhow::Error {
    match error {
        Recoding::UserError(error) => error,
        error => anyhow::anyhow!("{error}"),
    }
}

/// How the parts call the first part's function that stands at `place` of those that both use: a few letters.
fn function_name(mut place: usize) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    let mut name = String::from("f");
    while place > 0 || name.len() == 1 {
        name.extend(LETTERS.get(place % LETTERS.len()).map(|&letter| char::from(letter)));
        place /= LETTERS.len();
    }
    name
}

fn table_name(table: usize) -> String {
    format!("t{table}")
}

fn global_name(global: usize) -> String {
    format!("g{global}")
}

/// How the parts call the memory: by a hash of the program, so that parts of different builds do not join.
fn memory_name(program: &[u8]) -> String {
    let mut name = String::from("m");
    for byte in Sha256::digest(program).iter().take(6) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use wasmparser::{Parser, Payload};

    /// `start` calls `bytes::long`, and so does the table; `bytes::long` calls `helper`, which nobody else does, and
    /// `both`, which `start` calls as well.
    const PROGRAM: &str = r#"(module
        (type $plain (func)) (type $sum (func (param i32 i64) (result i64)))
        (import "glue" "__wbg_loadLater_1f" (func $load (type $plain)))
        (table 3 3 funcref) (memory 1) (global $stack (mut i32) (i32.const 1024))
        (export "start" (func $start)) (export "memory" (memory 0))
        (elem (i32.const 1) $bytes_long $bytes_short)
        (func $start (drop (call $bytes_long (i32.const 1) (i64.const 2))) (call $both) (call $bytes_short))
        (func $bytes_long (@name "quant[0123456789abcdef]::bytes::long") (type $sum)
            (call $helper) (call $both) LONG
            (i64.add (i64.load (i32.const 8)) (local.get 1)))
        (func $bytes_short (@name "quant[0123456789abcdef]::bytes::short"))
        (func $helper (global.set $stack (i32.const 7)))
        (func $both (i32.store (i32.const 0) (global.get $stack))))"#;

    fn program(text: &str) -> Vec<u8> {
        wat::parse_str(text.replace("LONG", &"(drop (i32.const 100000))".repeat(40))).unwrap()
    }

    fn split_by(text: &str, patterns: &str) -> Result<Parts> {
        split(&program(text), &Patterns::parse(patterns))
    }

    /// How many functions a part has of its own, what it imports and what it exports.
    fn facts(part: &[u8]) -> (u32, Vec<String>, BTreeMap<String, u32>) {
        let (mut own, mut imports, mut exports) = (0, Vec::new(), BTreeMap::new());
        for payload in Parser::new(0).parse_all(part) {
            match payload.unwrap() {
                Payload::FunctionSection(section) => own = section.count(),
                Payload::ImportSection(section) => {
                    imports.extend(section.into_imports().map(|import| import.unwrap()).map(|import| {
                        assert!(import.module == FIRST || import.module == "glue");
                        import.name.to_owned()
                    }));
                }
                Payload::ExportSection(section) => {
                    exports.extend(
                        section.into_iter().map(|e| e.unwrap()).map(|e| (e.name.to_owned(), e.index)),
                    );
                }
                _ => {}
            }
        }
        (own, imports, exports)
    }

    #[test]
    fn what_is_named_and_what_only_that_calls_is_fetched_later() {
        let parts = split_by(PROGRAM, "# all that reads bytes\nquant::bytes\n").unwrap();
        let (own, imports, exports) = facts(&parts.first);
        // Its five functions, two of them stubs, and the gate.
        assert_eq!((own, imports), (6, vec!["__wbg_loadLater_1f".to_owned()]));
        let (own, wanted, others) = facts(&parts.later);
        assert_eq!(own, 2, "the long one and its helper; the short one stays");
        assert!(wanted.iter().all(|name| exports.contains_key(name)), "{wanted:?} of {exports:?}");
        assert_eq!(wanted.iter().filter(|name| name.starts_with('f')).count(), 1, "`both` is shared");
        assert!(others.is_empty());
        let whole = facts(&program(PROGRAM)).2;
        assert!(
            whole.iter().all(|(name, index)| exports.get(name) == Some(index)),
            "nothing of the outside moved"
        );
    }

    #[test]
    fn parts_of_two_builds_do_not_join() {
        let other = PROGRAM.replace("1024", "2048");
        let [mine, other] = [PROGRAM, &other].map(|text| split_by(text, "bytes").unwrap());
        let exports = facts(&mine.first).2;
        assert!(facts(&mine.later).1.iter().all(|name| exports.contains_key(name)));
        assert!(!facts(&other.later).1.iter().all(|name| exports.contains_key(name)));
    }

    #[test]
    fn what_cannot_be_taken_apart_is_told() {
        let told = |text: &str, patterns: &str| format!("{:#}", split_by(text, patterns).err().unwrap());
        assert!(told(PROGRAM, "nothing").contains("no function"));
        assert!(told(PROGRAM, "bytes\n!quant::bytes").contains("no function"));
        assert!(told(&PROGRAM.replace("loadLater", "load"), "bytes").contains("imports no loadLater"));
        assert!(told(&PROGRAM.replace("3 3 funcref", "3 9 funcref"), "bytes").contains("grows"));
        assert!(told("(module (func))", "bytes").contains("no names"));
        assert!(split(b"\0asm", &Patterns::parse("bytes")).is_err());
    }
}
