//! Telling what was measured: a line while it runs, a table, a record in JSON, and the page of the documentation.

use super::inputs::Cost;
use super::measure::RowResult;
use super::plot;
use crate::project::Project;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The lines between which the page is written anew; what stands around them is written by hand.
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// The picture of growth, from the page's folder.
const PLOT: &str = "images/growth.svg";

/// The most memory that a command may hold.
const MEMORY_LIMIT: u64 = 512 << 20;

/// All of a run.
pub(crate) struct Record {
    pub(crate) machine: Vec<(String, String)>,
    pub(crate) results: Vec<RowResult>,
    pub(crate) memory: Vec<Cost>,
    pub(crate) growth: Vec<Cost>,
}

/// Seconds for people.
pub(crate) fn seconds(value: f64) -> String {
    match value {
        _ if value >= 1.0 => format!("{value:.2} s"),
        _ if value >= 1e-3 => format!("{:.2} ms", value * 1e3),
        _ => format!("{:.1} µs", value * 1e6),
    }
}

/// A ratio for people: two digits below ten.
fn ratio(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Whether the target is met, in a word; empty where there is none.
fn verdict(result: &RowResult) -> &'static str {
    let Ok(measured) = &result.measured else { return "" };
    let [_, median, _] = measured.ratio();
    match result.row.target {
        None => "",
        Some(target) if median >= target => "met",
        Some(_) => "missed",
    }
}

/// One line for the terminal.
pub(crate) fn line(result: &RowResult) -> String {
    let name = result.row.name;
    match &result.measured {
        Err(error) => format!("{name:<22} not measured: {error:#}"),
        Ok(measured) => {
            let ([low, median, high], [ours, peer]) = (measured.ratio(), measured.seconds());
            let target = result.row.target.map_or_else(String::new, |target| format!("≥ {target}"));
            format!(
                "{name:<22} {:>8}  ({} to {})  {target:<7} {:<7} ours {}, theirs {}, {} pairs",
                ratio(median),
                ratio(low),
                ratio(high),
                verdict(result),
                seconds(ours),
                seconds(peer),
                measured.pairs.len(),
            )
        }
    }
}

/// The table for the terminal.
pub(crate) fn print(record: &Record) {
    println!("\nTimes as fast as the peer: median over pairs of turns, and quartiles\n");
    for result in &record.results {
        println!("{}\n    {}; against {}", line(result), result.row.what, result.row.against);
    }
    for (title, costs) in [("Most memory resident", &record.memory), ("Growth", &record.growth)] {
        if !costs.is_empty() {
            println!("\n{title}\n");
        }
        for cost in costs {
            println!("{:<32} {:>14}  {:>10}  {:>8}", cost.what, cost.size, seconds(cost.seconds), peak(cost));
        }
    }
    println!();
    for (name, value) in &record.machine {
        println!("{name}: {value}");
    }
}

fn cost_json(cost: &Cost) -> Value {
    json!({"what": cost.what, "size": cost.size, "seconds": cost.seconds, "peak_bytes": cost.peak_bytes})
}

impl Record {
    /// The record of the run.
    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .results
            .iter()
            .map(|result| {
                let row = &result.row;
                let head =
                    json!({"name": row.name, "what": row.what, "against": row.against, "target": row.target, "clock": row.clock.name()});
                let rest = match &result.measured {
                    Ok(measured) => json!({
                        "ratio_quartiles": measured.ratio(),
                        "seconds": measured.seconds(),
                        "pairs": measured.pairs,
                    }),
                    Err(error) => json!({"not_measured": format!("{error:#}")}),
                };
                let both = [head, rest].map(|value| value.as_object().cloned().unwrap_or_default());
                Value::Object(both.into_iter().flatten().collect())
            })
            .collect();
        let machine: serde_json::Map<String, Value> =
            self.machine.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let costs = |costs: &[Cost]| costs.iter().map(cost_json).collect::<Vec<_>>();
        json!({"schema": 1, "machine": machine, "rows": rows, "memory": costs(&self.memory), "growth": costs(&self.growth)})
    }

    /// The measured part of the page.
    fn markdown(&self) -> String {
        let mut text = String::new();
        let mut add = |line: String| text.push_str(&(line + "\n"));
        for (name, value) in &self.machine {
            add(format!("- {name}: {value}"));
        }
        add("\n| What | Against | Times as fast | Quartiles | Target | Ours | Theirs |".into());
        add("|---|---|---:|---|---|---:|---:|".into());
        for result in &self.results {
            let (row, verdict) = (&result.row, verdict(result));
            let target = row.target.map_or_else(String::new, |target| format!("≥ {target}, {verdict}"));
            match &result.measured {
                Ok(measured) => {
                    let ([low, median, high], [ours, peer]) = (measured.ratio(), measured.seconds());
                    add(format!(
                        "| {} | {} | **{}** | {} to {} | {target} | {} | {} |",
                        row.what,
                        row.against,
                        ratio(median),
                        ratio(low),
                        ratio(high),
                        seconds(ours),
                        seconds(peer)
                    ));
                }
                Err(error) => {
                    add(format!("| {} | {} | not measured: {error} | | | | |", row.what, row.against));
                }
            }
        }
        if !self.memory.is_empty() {
            add(format!("\n| Command | Bytes read | Most memory resident (≤ {}) |", mebibytes(MEMORY_LIMIT)));
            add("|---|---:|---:|".into());
        }
        for cost in &self.memory {
            add(format!("| `{}` | {} | {} |", cost.what, cost.size, peak(cost)));
        }
        if !self.growth.is_empty() {
            add(format!("\n![Time against size, in powers of ten]({PLOT})"));
            add("\n| Growth | Size | Time | Most memory resident |".into());
            add("|---|---:|---:|---:|".into());
        }
        for cost in &self.growth {
            add(format!("| {} | {} | {} | {} |", cost.what, cost.size, seconds(cost.seconds), peak(cost)));
        }
        text
    }
}

/// The most memory that was resident, and whether that was too much.
fn peak(cost: &Cost) -> String {
    let verdict = if cost.peak_bytes <= MEMORY_LIMIT { "" } else { ", missed" };
    format!("{}{verdict}", mebibytes(cost.peak_bytes))
}

/// Writes the measured part of `docs/performance.md` anew.
pub(crate) fn write_page(project: &Project, record: &Record) -> Result<()> {
    let path = project.root.join("docs/performance.md");
    let page = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let new = between(&page, &record.markdown())
        .with_context(|| format!("{} should hold {BEGIN} and {END}", path.display()))?;
    std::fs::write(&path, new)?;
    if !record.growth.is_empty() {
        std::fs::write(project.root.join("docs").join(PLOT), plot::growth(&record.growth))?;
    }
    println!("\nWrote {}", path.display());
    Ok(())
}

fn between(page: &str, measured: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let mut text = String::new();
    write!(text, "{before}{BEGIN}\n\n{measured}\n{END}{after}").ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_measured_part_is_replaced() {
        let page = format!("# A\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(between(&page, "new"), Some(format!("# A\n{BEGIN}\n\nnew\n{END}\nb\n")));
        assert_eq!(between("# A", "new"), None);
    }

    #[test]
    fn numbers_are_for_people() {
        assert_eq!(seconds(0.012_34), "12.34 ms");
        assert_eq!(seconds(2.0), "2.00 s");
        assert_eq!([ratio(0.5), ratio(61.7)], ["0.50", "62"]);
    }
}
