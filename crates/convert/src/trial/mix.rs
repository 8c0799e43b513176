//! The mixed recipe that loses least under a budget of bytes.
//!
//! Layers that must share a scheme are one choice. Every choice begins with its smallest scheme; then the step that
//! saves most squared error per byte is taken, over the lower hull of sizes and errors, as long as it fits; what
//! room is left goes to the largest errors. A uniform recipe that fits and loses less is the start instead, so that
//! none beats the proposal.

use crate::trial::sweep::SweepRow;
use quantscope_format::Arrange as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The id under which a layer stays as it is.
pub const KEEP: &str = "keep";

/// Layers of one scheme in a proposal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MixChoice {
    /// What they share: a layer, a fused group, the experts of a block.
    pub group: String,
    /// Its layers.
    pub layers: Vec<String>,
    /// Scheme id, or `keep`.
    pub scheme: String,
    /// Bytes then.
    pub bytes: u64,
    /// Squared error then.
    pub squared_error: f64,
}

/// One scheme everywhere, for comparison; layers that it cannot hold are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Uniform {
    /// Scheme id.
    pub scheme: String,
    /// Bytes of all layers.
    pub bytes: u64,
    /// Squared error of all layers.
    pub squared_error: f64,
}

/// A proposal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// Bytes that were allowed for the layers tried.
    pub budget: u64,
    /// Whether the smallest choice of all layers fits.
    pub fits: bool,
    /// Bytes of the layers.
    pub bytes: u64,
    /// Their weights.
    pub weights: u64,
    /// Their squared error.
    pub squared_error: f64,
    /// The choices, in the order of the layers.
    pub choices: Vec<MixChoice>,
    /// What single schemes come to.
    pub uniform: Vec<Uniform>,
    /// Least bytes that the schemes allow.
    pub least_bytes: u64,
    /// Bytes without any quantization.
    pub most_bytes: u64,
}

/// A size with its error.
#[derive(Debug, Clone)]
struct Offer {
    scheme: String,
    bytes: u64,
    error: f64,
}

/// What must be decided at once.
struct Decision {
    group: String,
    layers: Vec<String>,
    /// All that it can be, smallest first.
    offers: Vec<Offer>,
    chosen: usize,
}

impl Decision {
    fn now(&self) -> Option<&Offer> {
        self.offers.get(self.chosen)
    }
}

/// Gathers layers to decisions, in the order in which their first layers stand.
fn decisions(rows: &[SweepRow]) -> Vec<Decision> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut members: Vec<Vec<&SweepRow>> = Vec::new();
    for row in rows {
        let at = *places.entry(row.group.as_str()).or_insert_with(|| {
            members.push(Vec::new());
            members.len() - 1
        });
        if let Some(list) = members.get_mut(at) {
            list.push(row);
        }
    }
    members.iter().map(|rows| decision(rows)).collect()
}

fn decision(rows: &[&SweepRow]) -> Decision {
    let first = rows.first();
    let mut offers: Vec<Offer> = Vec::new();
    for (i, option) in first.map(|r| r.options.as_slice()).unwrap_or_default().iter().enumerate() {
        let all: Option<Vec<_>> =
            rows.iter().map(|r| r.options.get(i).filter(|o| o.refused.is_none())).collect();
        let Some(all) = all else { continue };
        offers.push(Offer {
            scheme: option.scheme.clone(),
            bytes: all.iter().map(|o| o.bytes).fold(0, u64::saturating_add),
            error: all.iter().map(|o| o.squared_error).sum(),
        });
    }
    let bytes = rows.iter().map(|r| r.bytes_before).fold(0, u64::saturating_add);
    offers.push(Offer { scheme: KEEP.into(), bytes, error: 0.0 });
    offers.arrange_by(|a, b| a.bytes.cmp(&b.bytes).then(a.error.total_cmp(&b.error)));
    Decision {
        group: first.map(|r| r.group.clone()).unwrap_or_default(),
        layers: rows.iter().map(|r| r.name.clone()).collect(),
        offers,
        chosen: 0,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a rate to compare by")]
fn rate(from: &Offer, to: &Offer) -> f64 {
    let bytes = to.bytes.saturating_sub(from.bytes).max(1);
    (from.error - to.error) / bytes as f64
}

/// Indices of the offers on the lower hull, from the smallest on: each step saves less per byte than the one before.
fn hull(offers: &[Offer]) -> Vec<usize> {
    let mut path = vec![0];
    loop {
        let Some(at) = path.last().copied() else { return path };
        let Some(from) = offers.get(at) else { return path };
        let better = offers.iter().enumerate().skip(at + 1);
        let better = better.filter(|(_, o)| o.error < from.error && o.bytes > from.bytes);
        // Of equal rates the longest step, so that none is wasted.
        let best = better.max_by(|a, b| rate(from, a.1).total_cmp(&rate(from, b.1)).then(a.0.cmp(&b.0)));
        match best {
            Some((next, _)) => path.push(next),
            None => return path,
        }
    }
}

fn total(decisions: &[Decision]) -> (u64, f64) {
    let bytes = decisions.iter().filter_map(Decision::now).map(|o| o.bytes).fold(0, u64::saturating_add);
    (bytes, decisions.iter().filter_map(Decision::now).map(|o| o.error).sum())
}

/// Takes steps along the hulls, the one that saves most per byte first.
fn descend(decisions: &mut [Decision], budget: u64) {
    let mut steps: Vec<(f64, usize, usize, usize)> = Vec::new();
    for (d, decision) in decisions.iter().enumerate() {
        for pair in hull(&decision.offers).windows(2) {
            let &[from, to] = pair else { continue };
            if let (Some(a), Some(b)) = (decision.offers.get(from), decision.offers.get(to)) {
                steps.push((rate(a, b), d, from, to));
            }
        }
    }
    steps.arrange_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (mut bytes, _) = total(decisions);
    for (_, d, from, to) in steps {
        let Some(decision) = decisions.get_mut(d).filter(|d| d.chosen == from) else { continue };
        let (Some(a), Some(b)) = (decision.offers.get(from), decision.offers.get(to)) else { continue };
        let after = bytes.saturating_add(b.bytes.saturating_sub(a.bytes));
        if after <= budget {
            (bytes, decision.chosen) = (after, to);
        }
    }
}

/// Gives what room is left to the largest errors.
fn fill(decisions: &mut [Decision], budget: u64) {
    let (mut bytes, _) = total(decisions);
    let mut order: Vec<usize> = (0..decisions.len()).collect();
    let error = |d: usize| decisions.get(d).and_then(Decision::now).map_or(0.0, |o| o.error);
    order.arrange_by(|&a, &b| error(b).total_cmp(&error(a)).then(a.cmp(&b)));
    for d in order {
        let Some(decision) = decisions.get_mut(d) else { continue };
        let Some(now) = decision.now().cloned() else { continue };
        let others = bytes.saturating_sub(now.bytes);
        let fitting = |o: &Offer| others.saturating_add(o.bytes) <= budget && o.error < now.error;
        let offers = decision.offers.iter().enumerate().filter(|(_, o)| fitting(o));
        if let Some((best, offer)) = offers.min_by(|a, b| a.1.error.total_cmp(&b.1.error)) {
            (bytes, decision.chosen) = (others.saturating_add(offer.bytes), best);
        }
    }
}

/// Every decision on one scheme, where it can be.
fn set_uniform(decisions: &mut [Decision], scheme: &str) {
    for decision in decisions {
        let at = |id: &str| decision.offers.iter().position(|o| o.scheme == id);
        decision.chosen = at(scheme).or_else(|| at(KEEP)).unwrap_or(0);
    }
}

/// Proposes the mix of least squared error whose bytes stay within a budget; the smallest there is where none does.
#[must_use]
pub fn mix(rows: &[SweepRow], budget: u64) -> Mix {
    let mut decisions = decisions(rows);
    let (least_bytes, _) = total(&decisions);
    let schemes: Vec<String> =
        rows.first().map(|r| r.options.iter().map(|o| o.scheme.clone()).collect()).unwrap_or_default();
    let mut uniform = Vec::new();
    for scheme in &schemes {
        set_uniform(&mut decisions, scheme);
        let (bytes, squared_error) = total(&decisions);
        uniform.push(Uniform { scheme: scheme.clone(), bytes, squared_error });
    }
    set_uniform(&mut decisions, KEEP);
    let (most_bytes, _) = total(&decisions);
    for decision in &mut decisions {
        decision.chosen = 0;
    }
    descend(&mut decisions, budget);
    fill(&mut decisions, budget);
    let fitting = uniform.iter().filter(|u| u.bytes <= budget);
    let best = fitting.min_by(|a, b| a.squared_error.total_cmp(&b.squared_error));
    if let Some(best) = best.filter(|u| u.squared_error < total(&decisions).1) {
        set_uniform(&mut decisions, &best.scheme);
        fill(&mut decisions, budget);
    }
    let (bytes, squared_error) = total(&decisions);
    let choice = |decision: &Decision| {
        let offer = decision.now()?;
        Some(MixChoice {
            group: decision.group.clone(),
            layers: decision.layers.clone(),
            scheme: offer.scheme.clone(),
            bytes: offer.bytes,
            squared_error: offer.error,
        })
    };
    Mix {
        budget,
        fits: least_bytes <= budget,
        bytes,
        weights: rows.iter().map(|r| r.weights).fold(0, u64::saturating_add),
        squared_error,
        choices: decisions.iter().filter_map(choice).collect(),
        uniform,
        least_bytes,
        most_bytes,
    }
}

/// Text that a pattern takes as it stands.
fn literal(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '*' | '?' | '[') {
            pattern.extend(['[', c, ']']);
        } else {
            pattern.push(c);
        }
    }
    pattern
}

impl Mix {
    /// The scheme of most layers' bytes, which everything becomes that no rule names, and the rules for the others:
    /// pattern and scheme.
    #[must_use]
    pub fn rules(&self) -> (String, Vec<(String, String)>) {
        let mut shares: BTreeMap<&str, usize> = BTreeMap::new();
        for choice in self.choices.iter().filter(|c| c.scheme != KEEP) {
            *shares.entry(choice.scheme.as_str()).or_default() += choice.layers.len();
        }
        let most = shares.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)));
        let default = most.map_or(KEEP, |(scheme, _)| scheme);
        let mut rules = Vec::new();
        for choice in self.choices.iter().filter(|c| c.scheme != default) {
            if let Some(parent) = choice.group.strip_suffix(".*") {
                rules.push((format!("{}.*", literal(parent)), choice.scheme.clone()));
                continue;
            }
            rules.extend(choice.layers.iter().map(|name| (literal(name), choice.scheme.clone())));
        }
        (default.to_string(), rules)
    }
}

#[cfg(test)]
mod tests {
    use super::{KEEP, Mix, mix};
    use crate::trial::sweep::{SweepOption, SweepRow};

    fn row(name: &str, group: &str, before: u64, options: &[(&str, u64, f64)]) -> SweepRow {
        let option = |&(scheme, bytes, squared_error): &(&str, u64, f64)| SweepOption {
            scheme: scheme.into(),
            bytes,
            squared_error,
            ..SweepOption::default()
        };
        SweepRow {
            name: name.into(),
            group: group.into(),
            weights: before / 2,
            bytes_before: before,
            options: options.iter().map(option).collect(),
            ..SweepRow::default()
        }
    }

    fn rows() -> Vec<SweepRow> {
        vec![
            row("a", "a", 160, &[("four", 45, 9.0), ("eight", 80, 1.0)]),
            row("b.k", "b", 160, &[("four", 45, 2.0), ("eight", 80, 0.2)]),
            row("b.v", "b", 160, &[("four", 45, 2.0), ("eight", 80, 0.2)]),
            row("c[0]", "c[0]", 160, &[("four", 45, 50.0), ("eight", 80, 6.0)]),
        ]
    }

    /// All ways to decide, tried one by one.
    fn best_of_all(rows: &[SweepRow], budget: u64) -> f64 {
        let offer = |row: &SweepRow, at: usize| match row.options.get(at) {
            Some(o) => (o.bytes, o.squared_error),
            None => (row.bytes_before, 0.0),
        };
        let mut best = f64::INFINITY;
        for code in 0..27 {
            let of = |name: &str| match name {
                "a" => code % 3,
                "b" => code / 3 % 3,
                _ => code / 9,
            };
            let chosen: Vec<(u64, f64)> = rows.iter().map(|r| offer(r, of(&r.group))).collect();
            let bytes: u64 = chosen.iter().map(|c| c.0).sum();
            let error: f64 = chosen.iter().map(|c| c.1).sum();
            if bytes <= budget {
                best = best.min(error);
            }
        }
        best
    }

    #[test]
    fn nothing_that_fits_is_much_better() {
        let rows = rows();
        for budget in 180..=640 {
            let mix = mix(&rows, budget);
            let best = best_of_all(&rows, budget);
            assert!(mix.fits && mix.bytes <= budget, "{budget}");
            assert!(mix.squared_error < best * 2.0 + 1e-9, "{budget}: {} against {best}", mix.squared_error);
            for uniform in mix.uniform.iter().filter(|u| u.bytes <= budget) {
                assert!(mix.squared_error <= uniform.squared_error, "{budget}: {uniform:?}");
            }
        }
        // The first room goes to where it saves most a byte.
        let first = mix(&rows, 215);
        assert_eq!(first.choices[2].scheme, "eight");
        assert_eq!((first.least_bytes, first.most_bytes), (180, 640));
        assert!(!mix(&rows, 100).fits);
        assert_eq!(mix(&rows, u64::MAX).squared_error, 0.0);
        assert_eq!(mix(&[], 5), Mix { budget: 5, fits: true, ..Mix::default() });
    }

    #[test]
    fn groups_stay_together_and_rules_name_the_exceptions() {
        let mixed = mix(&rows(), 215);
        assert_eq!(mixed.choices[1].layers, ["b.k", "b.v"]);
        let (default, rules) = mixed.rules();
        assert_eq!(default, "four");
        assert_eq!(rules, [("c[[]0]".to_string(), "eight".to_string())]);
        let mut experts = rows();
        experts[1].group = "b.*".into();
        experts[2].group = "b.*".into();
        let (default, rules) = mix(&experts, 400).rules();
        assert_eq!((default.as_str(), rules.len()), ("eight", 1), "{rules:?}");
        assert_eq!(rules[0].1, KEEP);
    }
}
