//! Taking turns, and what the turns say: medians, ratios, quartiles.

use super::contestant::Runner;
use super::rows::{Clock, Row};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Pairs of turns that a row takes at most, at least, and how long it goes on beyond the least.
const MOST_PAIRS: usize = 25;
const LEAST_PAIRS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(20);
/// Before each turn. Threads that shared work go on looking for more of it for some milliseconds, as those of OpenMP do:
/// whoever came right after them would have a core less.
const REST: Duration = Duration::from_millis(50);

/// What came out of a row.
pub(crate) struct Measured {
    /// Seconds of each of our turns, and of the peer's in the same pair.
    pub(crate) pairs: Vec<(f64, f64)>,
}

/// A row with what came out of it, or why nothing did.
pub(crate) struct RowResult {
    pub(crate) row: Row,
    pub(crate) measured: Result<Measured>,
}

/// Lets both contestants of a row take turns. A row that cannot be measured says so and stops nobody.
pub(crate) fn row(row: Row, quick: bool) -> RowResult {
    let measured = take_turns(&row, quick);
    RowResult { row, measured }
}

fn take_turns(row: &Row, quick: bool) -> Result<Measured> {
    let mut ours = Runner::start(row.ours.clone())?;
    let mut peer = Runner::start(row.peer.clone())?;
    let (most, least) = if quick { (5, 3) } else { (MOST_PAIRS, LEAST_PAIRS) };
    let begun = Instant::now();
    let mut pairs = Vec::new();
    while pairs.len() < most && (pairs.len() < least || begun.elapsed() < PATIENCE) {
        let rested = |contestant: &mut Runner| {
            std::thread::sleep(REST);
            contestant.turn()
        };
        // Who begins changes, so that neither always runs on what the other left in the caches.
        let (our, their) = if pairs.len() % 2 == 0 {
            let our = rested(&mut ours)?;
            (our, rested(&mut peer)?)
        } else {
            let their = rested(&mut peer)?;
            (rested(&mut ours)?, their)
        };
        ensure!(
            !row.same_result || our.check == their.check,
            "the results differ: {:?} is ours, {:?} is theirs",
            our.check,
            their.check
        );
        pairs.push(match row.clock {
            Clock::Wall => (our.seconds, their.seconds),
            Clock::Processor => (our.processor, their.processor),
        });
    }
    Ok(Measured { pairs })
}

impl Measured {
    /// Quartiles and median of how many times as fast as the peer we are.
    pub(crate) fn ratio(&self) -> [f64; 3] {
        quartiles(self.pairs.iter().map(|(ours, peer)| peer / ours))
    }

    /// Median seconds of a turn: ours, the peer's.
    pub(crate) fn seconds(&self) -> [f64; 2] {
        let [_, ours, _] = quartiles(self.pairs.iter().map(|(ours, _)| *ours));
        let [_, peer, _] = quartiles(self.pairs.iter().map(|(_, peer)| *peer));
        [ours, peer]
    }
}

/// First quartile, median, third quartile; zeros of nothing.
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    [1, 2, 3].map(|quarter| {
        let at = last * quarter;
        let (low, high) = (values.get(at / 4), values.get(at.div_ceil(4)));
        low.zip(high).map_or(0.0, |(low, high)| f64::midpoint(*low, *high))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_those_of_the_sorted_values() {
        assert_eq!(quartiles([5.0, 1.0, 4.0, 2.0, 3.0].into_iter()), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles([2.0, 1.0].into_iter()), [1.5, 1.5, 1.5]);
        assert_eq!(quartiles(std::iter::empty()), [0.0; 3]);
    }

    #[test]
    fn a_ratio_is_taken_pair_by_pair() {
        let measured = Measured { pairs: vec![(1.0, 2.0), (2.0, 4.0), (1.0, 3.0)] };
        assert_eq!(measured.ratio()[1], 2.0);
        assert_eq!(measured.seconds(), [1.0, 3.0]);
    }
}
