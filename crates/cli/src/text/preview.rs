//! `preview` for people: what each scheme makes of a layer.

use super::{bytes, decimal, plural, printable, table};
use quantscope_session::api::{LayerTrial, SchemeTrial};
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

/// A share of `whole` with two decimals; not rounded down to nothing.
fn percent(part: u64, whole: u64) -> String {
    if part == 0 {
        return "0 %".into();
    }
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let share = part as f64 / whole.max(1) as f64 * 100.0;
    if share < 0.01 { "<0.01 %".into() } else { format!("{share:.2} %") }
}
