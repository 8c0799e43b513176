//! Which functions are fetched later: those that a list of patterns names, and those that only such functions call.

use super::program::Program;
use super::{Division, LOADER};
use anyhow::{Context as _, Result, ensure};

/// Parts of names of functions, one a line: `#` begins a comment, and `!` before a part keeps what it names in the
/// first part, whatever else names it.
pub(crate) struct Patterns {
    later: Vec<String>,
    first: Vec<String>,
}

impl Patterns {
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (first, later): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with('!'));
        Self {
            later: later.into_iter().map(str::to_owned).collect(),
            first: first.into_iter().map(|line| line.trim_start_matches('!').to_owned()).collect(),
        }
    }

    fn name(&self, function: &str) -> bool {
        let named = |parts: &[String]| parts.iter().any(|part| function.contains(part.as_str()));
        named(&self.later) && !named(&self.first)
    }
}

/// Divides the functions of a program.
/// `memory` is what both parts shall call the memory.
pub(super) fn divide(program: &Program<'_>, patterns: &Patterns, memory: String) -> Result<Division> {
    let loader = program.imported.iter().position(|name| name.contains(LOADER));
    let loader = u32::try_from(loader.with_context(|| format!("the program imports no {LOADER}"))?)?;
    let loader_type = program.type_of(loader)?;
    ensure!(program.is_plain(loader_type), "{LOADER} takes something, or gives something back");
    let table = program.tables.first().context("the program has no table")?;
    let slots_from = u32::try_from(table.initial)?;
    ensure!(
        table.maximum.is_none_or(|most| most == table.initial) && !table.table64,
        "the table grows, into where the slots would be"
    );

    let later = later(program, patterns);
    let is_later = |function: u32| later.get(function as usize).copied().unwrap_or_default();
    let mut slots: Vec<u32> =
        program.in_table.iter().copied().filter(|&function| is_later(function)).collect();
    let mut shared = Vec::new();
    for (caller, refers) in (program.first_body()..).zip(&program.refers) {
        let across = refers.iter().copied().filter(|&function| is_later(function) != is_later(caller));
        if is_later(caller) { shared.extend(across) } else { slots.extend(across) }
    }
    for list in [&mut slots, &mut shared] {
        list.sort_unstable();
        list.dedup();
    }
    ensure!(!slots.is_empty(), "no function of the program is fetched later");
    Ok(Division { later, slots, shared, slots_from, memory, loader, loader_type })
}

/// Bytes up to which a function stays in the first part if that may call it: the slot would take as many, and of short
/// functions that do the same the compiler makes one, under the name of any of them.
const SHORT: u64 = 96;

/// Whether each function is fetched later.
fn later(program: &Program<'_>, patterns: &Patterns) -> Vec<bool> {
    let mut callers = vec![Vec::new(); program.functions.len()];
    for (caller, refers) in (program.first_body()..).zip(&program.refers) {
        for &function in refers.iter().filter(|&&function| function != caller) {
            if let Some(callers) = callers.get_mut(function as usize) {
                callers.push(caller as usize);
            }
        }
    }
    let movable: Vec<(usize, u32)> = (program.first_body()..)
        .take(program.bodies.len())
        .filter(|function| !program.fixed.contains(function))
        .map(|function| (function as usize, function))
        .collect();
    let mut later = vec![false; program.functions.len()];
    for &(place, function) in &movable {
        set(&mut later, place, program.names.get(&function).is_some_and(|name| patterns.name(name)));
    }
    let from_first = |later: &[bool], place: usize, function: u32| {
        program.in_table.contains(&function)
            || callers.get(place).is_some_and(|of| of.iter().any(|&caller| !is(later, caller)))
    };
    // Short functions stay, and so those that they call; then what only functions of the later part call goes with
    // them, and so on until nothing changes.
    settle(&mut later, &movable, |later, place, function| {
        is(later, place) && program.body_len(function) <= SHORT && from_first(later, place, function)
    });
    settle(&mut later, &movable, |later, place, function| {
        let is_called = callers.get(place).is_some_and(|of| !of.is_empty());
        !is(later, place) && is_called && !from_first(later, place, function)
    });
    later
}

/// Moves functions to the other part for as long as any ought to change.
fn settle(later: &mut [bool], movable: &[(usize, u32)], changes: impl Fn(&[bool], usize, u32) -> bool) {
    loop {
        let change: Vec<usize> = movable
            .iter()
            .filter(|&&(place, function)| changes(later, place, function))
            .map(|pair| pair.0)
            .collect();
        if change.is_empty() {
            return;
        }
        for place in change {
            set(later, place, !is(later, place));
        }
    }
}

fn is(later: &[bool], place: usize) -> bool {
    later.get(place).copied().unwrap_or_default()
}

fn set(later: &mut [bool], place: usize, value: bool) {
    if let Some(place) = later.get_mut(place) {
        *place = value;
    }
}
