//! `preview` for people: what each scheme makes of a layer.

use super::{Cell, bytes, count, decimal, plural, printable, table};
use quantscope_session::api::{LayerTrial, Proposal, SchemeTrial, SweepOption, SweepRow};
use std::fmt::Write as _;

/// The layer, then a table of schemes.
pub(crate) fn describe(trial: &LayerTrial) -> String {
    let shape: Vec<String> = trial.shape.iter().map(u64::to_string).collect();
    let mut text = format!(
        "{} ({}, {}, [{}], {} bits per weight, {})\n",
        printable(&trial.name),
        trial.kind,
        trial.from,
        shape.join(", "),
        decimal(trial.bits_before),
        bytes(trial.bytes_before),
    );
    if trial.decoded {
        let _ = writeln!(
            text,
            "it is quantized: its decoded values are the measure, what was lost before is not counted"
        );
    }
    if trial.values_read < trial.values_total {
        let _ = writeln!(
            text,
            "sample: {} of {} weights, in bands of rows spread evenly; scales come from the sample",
            trial.values_read, trial.values_total
        );
    }
    if !trial.shares_with.is_empty() {
        let names: Vec<String> = trial.shares_with.iter().map(|name| printable(name)).collect();
        let _ = writeln!(text, "largest magnitude shared with {}", names.join(", "));
    }
    let tried: Vec<&SchemeTrial> = trial.schemes.iter().filter(|s| s.refused.is_none()).collect();
    if !tried.is_empty() {
        let header = [
            "scheme",
            "bits/weight",
            "size",
            "signal/noise",
            "largest error",
            "mean error",
            "saturated",
            "zeroed",
        ];
        let rows = tried.iter().map(|scheme| {
            let sqnr = scheme.sqnr_db.map_or_else(|| "nothing lost".into(), |db| format!("{db:.2} dB"));
            vec![
                scheme.scheme.as_str().into(),
                decimal(scheme.bits_per_weight).into(),
                bytes(scheme.bytes).into(),
                sqnr.into(),
                format!("{:.4e}", scheme.max_abs).into(),
                format!("{:.4e}", scheme.mean_abs).into(),
                percent(scheme.saturated, trial.values_read).into(),
                percent(scheme.zeroed, trial.values_read).into(),
            ]
        });
        let _ = write!(text, "\n{}", table(&header, &[1, 2, 3, 4, 5, 6, 7], rows.collect()));
    }
    for scheme in &trial.schemes {
        if let Some(reason) = &scheme.refused {
            let _ = writeln!(text, "\n{}: not possible, it {}", scheme.scheme, printable(reason));
        }
    }
    if tried.is_empty() {
        let _ = writeln!(text, "\nnone of {} can hold it", plural(trial.schemes.len() as u64, "scheme"));
    }
    text
}

/// Rows of a table of layers; `--json` has all.
const LISTED: usize = 60;

/// Layers by what they lose, worst first, and a proposal.
pub(crate) fn describe_all(rows: &[SweepRow], proposal: Option<&Proposal>) -> String {
    let loss = |row: &SweepRow| row.options.iter().map(|o| o.squared_error).fold(0.0, f64::max);
    let mut order: Vec<&SweepRow> = rows.iter().collect();
    order.sort_by(|a, b| loss(b).total_cmp(&loss(a)));
    let schemes = rows.first().map(|r| r.options.as_slice()).unwrap_or_default();
    let mut header = vec!["layer", "weights"];
    header.extend(schemes.iter().map(|o| o.scheme.as_str()));
    let right: Vec<usize> = (1..header.len()).collect();
    let cell = |option: &SweepOption| match (&option.refused, option.sqnr_db) {
        (Some(_), _) => "not possible".to_string(),
        (None, Some(db)) => format!("{:.3e} {db:.1} dB", option.squared_error),
        (None, None) => "nothing lost".to_string(),
    };
    let row = |row: &&SweepRow| {
        let mut cells: Vec<Cell> = vec![printable(&row.name).into(), count(row.weights).into()];
        cells.extend(row.options.iter().map(|o| Cell::from(cell(o))));
        cells
    };
    let mut text =
        format!("{} tried, the largest squared error first\n\n", plural(rows.len() as u64, "layer"));
    text.push_str(&table(&header, &right, order.iter().take(LISTED).map(row).collect()));
    if rows.len() > LISTED {
        let _ = writeln!(text, "  and {} more; --json lists them all", rows.len() - LISTED);
    }
    if let Some(proposal) = proposal {
        propose(&mut text, proposal);
    }
    text
}

fn propose(text: &mut String, proposal: &Proposal) {
    let mix = &proposal.mix;
    if !mix.fits {
        let least = bytes(proposal.other_bytes.saturating_add(mix.least_bytes));
        let _ = writeln!(text, "\nnothing fits the budget: the least is {least}, which is shown");
    }
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut add = |name: &str, size: u64, error: f64| {
        let total = bytes(proposal.other_bytes.saturating_add(size));
        let bits = decimal(bits(size, mix.weights));
        rows.push(vec![
            name.into(),
            bytes(size).into(),
            bits.into(),
            total.into(),
            format!("{error:.4e}").into(),
        ]);
    };
    add("mixed", mix.bytes, mix.squared_error);
    for uniform in &mix.uniform {
        add(&format!("{} everywhere", uniform.scheme), uniform.bytes, uniform.squared_error);
    }
    let header = ["recipe", "layers", "bits/weight", "all tensors", "squared error"];
    let _ = write!(text, "\n{}\n{}", table(&header, &[1, 2, 3, 4], rows), proposal.recipe_toml);
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn bits(size: u64, weights: u64) -> f64 {
    size as f64 * 8.0 / weights.max(1) as f64
}

/// A share of `whole` with two decimals; not rounded down to nothing.
fn percent(part: u64, whole: u64) -> String {
    if part == 0 {
        return "0 %".into();
    }
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let share = part as f64 / whole.max(1) as f64 * 100.0;
    if share < 0.01 { "<0.01 %".into() } else { format!("{share:.2} %") }
}
