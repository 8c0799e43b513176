//! Texts kept once each and named by number, in one piece of memory.

use quantscope_format::Places;

/// Many texts. Numbers count from 0 in the order in which texts came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Texts {
    /// One behind the other.
    all: String,
    /// Where each ends.
    ends: Vec<usize>,
    /// Finds their numbers.
    numbers: Places,
}

/// A text as what stands before and after another one; `after` is `None` where the other is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Around {
    before: u32,
    after: Option<u32>,
}

impl Texts {
    /// The text of a number; empty for a number that was never given.
    pub(crate) fn get(&self, number: u32) -> &str {
        text_at(&self.all, &self.ends, number).unwrap_or_default()
    }

    /// The number of a text, which is kept if it is new. `near` is a number that it may well have.
    pub(crate) fn number(&mut self, text: &str, near: Option<u32>) -> u32 {
        if let Some(near) = near.filter(|near| self.get(*near) == text) {
            return near;
        }
        let new = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        let known = self.numbers.find_or_add(text, new, |number| text_at(&self.all, &self.ends, number));
        known.unwrap_or_else(|| {
            self.all.push_str(text);
            self.ends.push(self.all.len());
            new
        })
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

/// The text of a number among texts that stand one behind the other.
fn text_at<'t>(all: &'t str, ends: &[usize], number: u32) -> Option<&'t str> {
    let number = number as usize;
    let begin = number.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
    all.get(begin..*ends.get(number)?)
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
