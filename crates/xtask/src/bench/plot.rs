//! Growth as a picture: time against size, both in powers of ten, with the line that doubles as the size does.

use super::inputs::Cost;
use super::report::{mebibytes, seconds};
use std::fmt::Write as _;

/// A panel's place for points, and what is around it for words.
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 220.0;
const MARGIN: f64 = 56.0;

/// Readable on a light page and on a dark one.
const INK: &str = "#808590";
const LINE: &str = "#3b82f6";

/// A panel for each kind of growth, side by side; kinds that grew by one size only have none.
pub(crate) fn growth(costs: &[Cost]) -> String {
    let mut kinds: Vec<&str> = costs.iter().map(|cost| cost.what.as_str()).collect();
    kinds.dedup();
    let of = |kind: &str| costs.iter().filter(|cost| cost.what == kind).collect::<Vec<_>>();
    let panels: Vec<Vec<&Cost>> = kinds.into_iter().map(of).filter(|panel| panel.len() > 1).collect();
    let [step, tall] = [WIDTH + 2.0 * MARGIN, HEIGHT + 2.0 * MARGIN];
    let wide = (0..panels.len()).fold(0.0, |wide, _| wide + step);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {tall}\" width=\"{wide}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"{INK}\">\n"
    );
    let mut left = 0.0;
    for costs in panels {
        let _ =
            write!(svg, "<g transform=\"translate({} {MARGIN})\">\n{}</g>\n", left + MARGIN, panel(&costs));
        left += step;
    }
    svg + "</svg>\n"
}

/// The least and the largest power of ten around values.
fn powers(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let [low, high] = values.fold([f64::MAX, f64::MIN], |[low, high], value| {
        let power = value.max(1e-9).log10();
        [low.min(power.floor()), high.max(power.ceil())]
    });
    [low, high.max(low + 1.0)]
}

/// A size as people say it: bytes in gigabytes, other things by the thousand.
#[allow(clippy::cast_precision_loss, reason = "a label")]
fn size(cost: &Cost) -> String {
    match cost.size {
        bytes if cost.what.ends_with("bytes") => format!("{:.0} GB", bytes as f64 / 1e9),
        count if count.is_multiple_of(1000) => format!("{},000", count / 1000),
        count => count.to_string(),
    }
}

#[allow(clippy::cast_precision_loss, reason = "places in a picture")]
fn panel(costs: &[&Cost]) -> String {
    let across = powers(costs.iter().map(|cost| cost.size as f64));
    let up = powers(costs.iter().map(|cost| cost.seconds));
    let share = |[low, high]: [f64; 2], value: f64| (value.max(1e-9).log10() - low) / (high - low);
    let point = |size: f64, time: f64| [share(across, size) * WIDTH, (1.0 - share(up, time)) * HEIGHT];
    let places: Vec<[f64; 2]> = costs.iter().map(|cost| point(cost.size as f64, cost.seconds)).collect();
    let mut text = format!("<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"{INK}\"/>\n");
    if let (Some(first), Some(last)) = (costs.first(), costs.last()) {
        let _ = writeln!(text, "<text y=\"-34\">{}: time, most memory resident</text>", first.what);
        let [size, time] = [last.size as f64, last.seconds];
        let [x, y] = point(first.size as f64, time * first.size as f64 / size);
        let [to_x, to_y] = point(size, time);
        let line = format!("M{x:.1} {:.1}L{to_x:.1} {to_y:.1}", y.min(HEIGHT));
        let _ =
            writeln!(text, "<path d=\"{line}\" stroke=\"{INK}\" stroke-dasharray=\"4 4\" fill=\"none\"/>");
    }
    let line: Vec<String> = places.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(text, "<polyline points=\"{}\" fill=\"none\" stroke=\"{LINE}\"/>", line.join(" "));
    for (cost, [x, y]) in costs.iter().zip(places) {
        let _ = writeln!(
            text,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{LINE}\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}, {}</text>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            y - 8.0,
            seconds(cost.seconds),
            mebibytes(cost.peak_bytes),
            HEIGHT + 18.0,
            size(cost),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{growth, powers};
    use crate::bench::inputs::Cost;

    #[test]
    fn powers_enclose_the_values() {
        assert_eq!(powers([1000.0, 700_000.0].into_iter()), [3.0, 6.0]);
        assert_eq!(powers([0.05, 0.02].into_iter()), [-2.0, -1.0]);
        assert_eq!(powers([10.0].into_iter()), [1.0, 2.0]);
    }

    #[test]
    fn what_grows_has_a_panel_with_a_point_for_each_size() {
        let cost = |what: &str, size| Cost { what: what.into(), size, seconds: 0.5, peak_bytes: 1 };
        let svg = growth(&[cost("by tensors", 1000), cost("by tensors", 10_000), cost("by bytes", 7)]);
        assert_eq!(svg.matches("<rect").count(), 1);
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("by tensors") && !svg.contains("by bytes"));
        assert!(svg.contains(">10,000<"));
        let svg = growth(&[1_104_228_771, 10_105_888_763].map(|size| cost("by bytes", size)));
        assert!(svg.contains(">1 GB<") && svg.contains(">10 GB<"));
    }
}
