//! Texts kept once each and named by number, in one piece of memory.

use std::hash::{BuildHasher as _, RandomState};

/// Many texts. Numbers count from 0 in the order in which texts came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    /// One behind the other.
    all: String,
    /// Where each ends.
    ends: Vec<usize>,
    /// A part of the hash of each, so that most comparisons are of numbers.
    tags: Vec<u32>,
    /// Open addressing: 0 where nothing is, else the number of a text and one.
    slots: Vec<u32>,
    /// Its keys are drawn anew for each program, so that no file can be made to collide; in a browser, which has none
    /// to give, only one made for that very program.
    hashes: RandomState,
}

/// Slots at first.
const FEWEST_SLOTS: usize = 16;

/// A text as what stands before and after another one; `after` is `None` where the other is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Around {
    before: u32,
    after: Option<u32>,
}

impl Texts {
    /// The text of a number; empty for a number that was never given.
    pub(crate) fn get(&self, number: u32) -> &str {
        let number = number as usize;
        let begin = number.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(number).and_then(|end| self.all.get(begin..*end)).unwrap_or_default()
    }

    /// The number of a text, which is kept if it is new. `near` is a number that it may well have.
    pub(crate) fn number(&mut self, text: &str, near: Option<u32>) -> u32 {
        if let Some(near) = near.filter(|near| self.get(*near) == text) {
            return near;
        }
        if self.ends.len() >= self.slots.len() / 2 {
            self.grow();
        }
        #[allow(clippy::cast_possible_truncation, reason = "any 32 bits of the hash will do")]
        let tag = self.hashes.hash_one(text) as u32;
        let mut at = self.slot(tag as usize);
        while let Some(known) = self.slots.get(at).copied().unwrap_or(0).checked_sub(1) {
            if self.tags.get(known as usize) == Some(&tag) && self.get(known) == text {
                return known;
            }
            at = self.slot(at.saturating_add(1));
        }
        let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX - 1);
        if let Some(free) = self.slots.get_mut(at) {
            *free = number.saturating_add(1);
        }
        self.all.push_str(text);
        self.ends.push(self.all.len());
        self.tags.push(tag);
        number
    }

    /// A place among the slots, which are as many as a power of two.
    fn slot(&self, place: usize) -> usize {
        place & self.slots.len().saturating_sub(1)
    }

    /// Twice the slots.
    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len().saturating_mul(2).max(FEWEST_SLOTS)];
        for (number, tag) in (1_u32..).zip(self.tags.clone()) {
            let mut at = self.slot(tag as usize);
            while self.slots.get(at).is_some_and(|taken| *taken != 0) {
                at = self.slot(at.saturating_add(1));
            }
            if let Some(free) = self.slots.get_mut(at) {
                *free = number;
            }
        }
    }

    /// Keeps what stands around another text; `near` is what may well stand around this one.
    pub(crate) fn around(&mut self, text: &str, inner: &str, near: Option<Around>) -> Around {
        let parts = if inner.is_empty() { None } else { text.split_once(inner) };
        let (before, after) = parts.map_or((text, None), |(before, after)| (before, Some(after)));
        Around {
            before: self.number(before, near.map(|near| near.before)),
            after: after.map(|after| self.number(after, near.and_then(|near| near.after))),
        }
    }

    /// Writes a text that was kept so, with the other one in it.
    pub(crate) fn write(&self, text: Around, inner: &str, into: &mut String) {
        into.push_str(self.get(text.before));
        if let Some(after) = text.after {
            into.push_str(inner);
            into.push_str(self.get(after));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Texts;
    use std::collections::HashMap;

    #[test]
    fn each_text_has_one_number_and_stays_as_it_is() {
        let mut texts = Texts::default();
        let mut expected = HashMap::new();
        for i in 0..3000_usize {
            let text = format!("{}.é", (i * i) % 1009);
            let next = u32::try_from(expected.len()).unwrap();
            let number = *expected.entry(text.clone()).or_insert(next);
            // A number that is near may be wrong.
            assert_eq!(texts.number(&text, Some(number ^ 1)), number, "{text}");
        }
        assert!(expected.iter().all(|(text, number)| texts.get(*number) == text));
        assert_eq!(texts.get(u32::MAX), "");
        let empty = texts.number("", None);
        assert_eq!(texts.get(empty), "");
        assert_eq!(texts.number("", None), empty);
    }

    #[test]
    fn what_stands_around_makes_the_text_again() {
        let mut texts = Texts::default();
        for (text, inner) in
            [("a.b.weight", "a.b"), ("`é` is `é`", "é"), ("x", "y"), ("x", ""), ("", "x"), ("x", "x")]
        {
            let around = texts.around(text, inner, None);
            assert_eq!(texts.around(text, inner, Some(around)), around);
            let mut whole = String::new();
            texts.write(around, inner, &mut whole);
            assert_eq!(whole, text, "{inner}");
        }
    }
}
