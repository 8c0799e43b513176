//! Sorting and gathering with little code: one sorter for all lists, maps filled entry by entry.
//!
//! The library's sorter is made anew for every type and every comparison, four kilobytes each time, and what gathers
//! pairs into a sorted map sorts them first with another. This tool sorts some fifty kinds of short lists, and a
//! browser downloads each of the sorters. Here one of them sorts the places of things, whatever they are.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// The places of things, in the order that comparing them by place gives. Equals stay as they are.
fn places(len: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut places: Vec<usize> = (0..len).collect();
    places.sort_by(|a, b| compare(*a, *b));
    places
}

/// Puts at each place what is at `places` of it, by exchanges.
fn settle(mut places: Vec<usize>, exchange: &mut dyn FnMut(usize, usize)) {
    for start in 0..places.len() {
        let mut at = start;
        // What was at the start is carried along the circle until the place comes that wants it.
        while let Some(slot) = places.get_mut(at) {
            let from = std::mem::replace(slot, at);
            if from == start {
                break;
            }
            exchange(at, from);
            at = from;
        }
    }
}

/// Stable sorting, as the methods of slices with `sort` in their names do it.
///
/// ```
/// # use quantscope_format::Arrange as _;
/// let mut words = ["gate", "up", "down", "to"];
/// words.arrange_by_key(|word| word.len());
/// assert_eq!(words, ["up", "to", "gate", "down"]);
/// ```
pub trait Arrange {
    /// What is sorted.
    type Thing;

    /// Sorts by a comparison.
    fn arrange_by(&mut self, compare: impl FnMut(&Self::Thing, &Self::Thing) -> Ordering);

    /// Sorts by a key, which is made for each comparison.
    fn arrange_by_key<K: Ord>(&mut self, mut key: impl FnMut(&Self::Thing) -> K) {
        self.arrange_by(|a, b| key(a).cmp(&key(b)));
    }

    /// Sorts from the least to the greatest.
    fn arrange(&mut self)
    where
        Self::Thing: Ord,
    {
        self.arrange_by(Ord::cmp);
    }
}

impl<T> Arrange for [T] {
    type Thing = T;

    fn arrange_by(&mut self, mut compare: impl FnMut(&T, &T) -> Ordering) {
        let places = places(self.len(), &mut |a, b| match (self.get(a), self.get(b)) {
            (Some(a), Some(b)) => compare(a, b),
            _ => Ordering::Equal,
        });
        settle(places, &mut |a, b| self.swap(a, b));
    }
}

/// Gathering into sorted maps and sets, as `collect` does it: of several values of one key the last counts.
pub trait Gather: Iterator + Sized {
    /// Pairs as a map.
    fn gather_map<K: Ord, V>(self) -> BTreeMap<K, V>
    where
        Self: Iterator<Item = (K, V)>,
    {
        let mut map = BTreeMap::new();
        for (key, value) in self {
            map.insert(key, value);
        }
        map
    }

    /// Values as a set.
    fn gather_set(self) -> BTreeSet<Self::Item>
    where
        Self::Item: Ord,
    {
        let mut set = BTreeSet::new();
        for value in self {
            set.insert(value);
        }
        set
    }
}

impl<I: Iterator> Gather for I {}

// The generator of cases is built for native targets only, and has too many of them for Miri.
#[cfg(all(test, not(any(target_arch = "wasm32", miri))))]
mod tests {
    use super::{Arrange as _, Gather as _};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        /// The library's own methods say what is right, equals and their order included.
        #[test]
        fn lists_are_sorted_as_the_library_sorts_them(list: Vec<(u8, String)>) {
            let (mut ours, mut expected) = (list.clone(), list.clone());
            ours.arrange_by_key(|pair| pair.0);
            expected.sort_by_key(|pair| pair.0);
            prop_assert_eq!(&ours, &expected);
            ours.arrange_by(|a, b| b.0.cmp(&a.0));
            expected.sort_by_key(|pair| std::cmp::Reverse(pair.0));
            prop_assert_eq!(&ours, &expected);
            ours.arrange();
            expected.sort();
            prop_assert_eq!(ours, expected);
        }

        #[test]
        fn maps_and_sets_are_gathered_as_the_library_gathers_them(list: Vec<(u8, u32)>) {
            let map: BTreeMap<u8, u32> = list.iter().copied().collect();
            prop_assert_eq!(list.iter().copied().gather_map(), map);
            let set: BTreeSet<(u8, u32)> = list.iter().copied().collect();
            prop_assert_eq!(list.into_iter().gather_set(), set);
        }
    }
}
