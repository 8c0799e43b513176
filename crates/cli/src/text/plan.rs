//! `convert` for people: what would be written, what was.

use super::{Paint, bytes, decimal, paint, plural, printable, table};
use crate::pace::Pace;
use quantscope_session::api::{ConvertSummary, LayerError, PlanLayer, PlanRefusal, PlanView};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Rows of a table of layers; `--json` has all.
const LISTED: usize = 40;

/// The plan in full. `free` is the room where it would be written.
pub(crate) fn describe(plan: &PlanView, free: Option<u64>) -> String {
    let mut text = in_one_line(plan);
    text.push('\n');
    if !plan.packed.is_empty() {
        let row = |layer: &PlanLayer| {
            let change = format!("{} -> {}", bytes(layer.bytes_before), bytes(layer.bytes_after));
            vec![
                printable(&layer.name).into(),
                layer.kind.as_str().into(),
                shape(&layer.shape).into(),
                format!("{} -> {}", layer.from, layer.to).into(),
                exactness(layer).into(),
                change.into(),
            ]
        };
        let rows = plan.packed.iter().take(LISTED).map(row).collect();
        let _ = write!(
            text,
            "\n{}",
            table(&["changed", "kind", "shape", "scheme", "values", "size"], &[5], rows)
        );
        more(&mut text, plan.packed.len());
    }
    if !plan.refused.is_empty() {
        let count = plural(plan.refused.len() as u64, "layer");
        let _ = writeln!(text, "\n{}: {count}; nothing would be written", paint(Paint::Bad, "refused"));
    }
    let mut grounds: BTreeMap<&str, Vec<&PlanRefusal>> = BTreeMap::new();
    for layer in &plan.refused {
        grounds.entry(&layer.reason).or_default().push(layer);
    }
    for (reason, layers) in grounds {
        let count = plural(layers.len() as u64, "layer");
        let _ = writeln!(text, "\nrefused, {}: {count}", printable(reason));
        for layer in layers.iter().take(LISTED) {
            let _ = writeln!(text, "  {}: {}", printable(&layer.name), printable(&layer.remedy));
        }
        more(&mut text, layers.len());
    }
    let mut reasons: BTreeMap<&str, Vec<&PlanLayer>> = BTreeMap::new();
    for layer in &plan.kept {
        reasons.entry(&layer.reason).or_default().push(layer);
    }
    for (reason, layers) in reasons {
        let _ = writeln!(text, "\nkept, {}: {}", printable(reason), plural(layers.len() as u64, "layer"));
        for layer in layers.iter().take(LISTED) {
            let _ = writeln!(text, "  {} ({}, {})", printable(&layer.name), layer.kind, layer.to);
        }
        more(&mut text, layers.len());
    }
    let _ = writeln!(text, "\nfiles:");
    for (name, len) in &plan.files {
        let _ = writeln!(text, "  {} ({})", printable(name), bytes(*len));
    }
    for name in &plan.other_files {
        let _ = writeln!(text, "  {}", printable(name));
    }
    let needed = bytes(plan.bytes_to_write);
    let _ = match free {
        Some(free) if free < plan.bytes_to_write => {
            writeln!(
                text,
                "\n{}: {needed} are needed, {} are free",
                paint(Paint::Bad, "no room"),
                bytes(free)
            )
        }
        Some(free) => writeln!(text, "\n{needed} are needed, {} are free", bytes(free)),
        None => writeln!(text, "\n{needed} are needed"),
    };
    warnings(&mut text, &plan.warnings);
    text
}

/// Whether the values of a layer stay what they are.
fn exactness(layer: &PlanLayer) -> &'static str {
    match layer.lossless {
        Some(true) => "exact",
        Some(false) => "rounded",
        None => "as the data allow",
    }
}

/// Layers and sizes before and after.
pub(crate) fn in_one_line(plan: &PlanView) -> String {
    let cast = match plan.tensors_cast {
        0 => String::new(),
        count => format!("{} cast, ", plural(count, "tensor")),
    };
    let tied = match plan.bytes_tied {
        0 => String::new(),
        count => format!("{} of copies left out, ", bytes(count)),
    };
    format!(
        "{} changed, {} kept, {cast}{tied}{} -> {}, {} -> {} bits per weight",
        plural(plan.packed.len() as u64, "layer"),
        plan.kept.len(),
        bytes(plan.bytes_before),
        bytes(plan.bytes_after),
        decimal(plan.bits_before),
        decimal(plan.bits_after),
    )
}

/// The finished conversion.
pub(crate) fn describe_done(plan: &PlanView, summary: &ConvertSummary, output: &Path, pace: Pace) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{}: {}",
        output.display(),
        paint(Paint::Good, "written, read back and equal to the plan")
    );
    let _ = writeln!(
        text,
        "{} packed, {} copied unchanged, {} written, {} -> {} bits per weight, engine {}, {:.1} s ({}/s)",
        plural(summary.packed, "layer"),
        plural(summary.copied, "tensor"),
        bytes(summary.bytes_written),
        decimal(plan.bits_before),
        decimal(plan.bits_after),
        summary.engine,
        pace.seconds,
        bytes(pace.bytes_per_second),
    );
    let mut worst: Vec<&LayerError> = summary.errors.iter().filter(|layer| layer.sqnr_db.is_some()).collect();
    worst.sort_by(|a, b| a.sqnr_db.unwrap_or_default().total_cmp(&b.sqnr_db.unwrap_or_default()));
    if !worst.is_empty() {
        let row = |layer: &&LayerError| {
            let sqnr = layer.sqnr_db.map_or_else(String::new, |db| format!("{db:.1} dB"));
            vec![printable(&layer.name).into(), sqnr.into(), format!("{:.4e}", layer.max_abs).into()]
        };
        let rows = worst.iter().take(5).map(row).collect();
        let title = if worst.len() > 5 { "largest loss" } else { "loss" };
        let _ = write!(text, "\n{}", table(&[title, "signal/noise", "largest error"], &[1, 2], rows));
    }
    warnings(&mut text, &summary.warnings);
    text
}

fn warnings(text: &mut String, warnings: &[String]) {
    if !warnings.is_empty() {
        text.push('\n');
    }
    for warning in warnings {
        let _ = writeln!(text, "{} {}", paint(Paint::Doubtful, "warning:"), printable(warning));
    }
}

fn more(text: &mut String, count: usize) {
    if count > LISTED {
        let _ = writeln!(text, "  and {} more; --json lists them all", count - LISTED);
    }
}

fn shape(shape: &[u64]) -> String {
    let dims: Vec<String> = shape.iter().map(u64::to_string).collect();
    format!("[{}]", dims.join(", "))
}
