//! Counts of cases that agree, by family and engine, and what is said of those that do not.

use std::collections::BTreeMap;

/// The counts so far.
#[derive(Default)]
pub struct Tally {
    counts: BTreeMap<(String, String), (u32, u32)>,
    problems: Vec<String>,
}

impl Tally {
    /// Counts one case; `problems` is empty if it agrees.
    pub fn add(&mut self, engine: &str, family: &str, problems: Vec<String>) {
        let count = self.counts.entry((engine.into(), family.into())).or_default();
        count.0 += u32::from(problems.is_empty());
        count.1 += 1;
        self.problems.extend(problems.into_iter().map(|problem| format!("{engine}: {problem}")));
    }

    /// Prints `N of N` for each family and engine.
    ///
    /// # Panics
    /// If any case disagrees, or there was none.
    pub fn finish(self) {
        for ((engine, family), (agreed, all)) in &self.counts {
            println!("{engine}  {family}: {agreed} of {all}");
        }
        assert!(!self.counts.is_empty(), "no case was run");
        assert!(self.problems.is_empty(), "{}", self.problems.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn a_problem_fails() {
        let mut tally = Tally::default();
        tally.add("CPU", "fp8", vec![]);
        tally.add("CPU", "fp8", vec!["a: b differs".into()]);
        assert_eq!(tally.counts[&("CPU".to_string(), "fp8".to_string())], (1, 2));
        assert!(std::panic::catch_unwind(|| tally.finish()).is_err());
        assert!(std::panic::catch_unwind(|| Tally::default().finish()).is_err());
    }
}
