//! The names of all layers in one text, in lower case, so that a search looks through it once; and where the last
//! search found what it looked for, so that one for a longer text looks there alone.

use quantscope_audit::LayerInfo;
use std::cell::RefCell;

/// Stands behind each name; the search text of a line has none.
const END: char = '\n';

/// The names, by the index of their layer.
#[derive(Clone)]
pub(crate) struct Names {
    text: String,
    /// Where each name begins, and after the last one the end of the text.
    begins: Vec<usize>,
    last: RefCell<Search>,
}

/// What was looked for, and where it was found.
#[derive(Clone, Default)]
struct Search {
    part: String,
    /// Index of each name that holds it, and where in the text it is there for the first time.
    found: Vec<(usize, usize)>,
}

impl Names {
    pub(crate) fn new(layers: &[LayerInfo]) -> Self {
        Self::of(layers.iter().map(|layer| layer.name.as_str()))
    }

    fn of<'a>(all: impl Iterator<Item = &'a str>) -> Self {
        let mut names = Self { text: String::new(), begins: vec![0], last: RefCell::default() };
        for name in all {
            let begin = names.text.len();
            names.text.push_str(name);
            if let Some(added) = names.text.get_mut(begin..) {
                added.make_ascii_lowercase();
            }
            names.text.push(END);
            names.begins.push(names.text.len());
        }
        names
    }

    /// Indices of the names that hold a text, which is in lower case already.
    pub(crate) fn holding(&self, part: &str) -> Vec<usize> {
        let mut last = self.last.borrow_mut();
        // A name that holds a text holds what it begins with, and not before that.
        let goes_on = !last.part.is_empty() && part.starts_with(&last.part);
        last.found = if goes_on {
            let mut way = None;
            last.found
                .iter()
                .filter_map(|&(index, at)| Some((index, self.find(index, at, part, &mut way)?)))
                .collect()
        } else {
            self.search(part)
        };
        part.clone_into(&mut last.part);
        last.found.iter().map(|&(index, _)| index).collect()
    }

    /// Where a name holds a text, from a place in it on. `way` is what led to the text in the name before, the text
    /// with it: names beside each other mostly go the same way.
    fn find<'a>(
        &'a self,
        index: usize,
        from: usize,
        part: &str,
        way: &mut Option<&'a [u8]>,
    ) -> Option<usize> {
        let end = self.begins.get(index.checked_add(1)?)?.checked_sub(END.len_utf8())?;
        let rest = self.text.as_bytes().get(from..end)?;
        if let Some(way) = way.filter(|way| rest.starts_with(way)) {
            return Some(from + way.len() - part.len());
        }
        let at = place_in(rest, part.as_bytes())?;
        *way = rest.get(..at + part.len());
        Some(from + at)
    }

    fn search(&self, part: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut spans = self.begins.iter().copied().zip(self.begins.iter().copied().skip(1)).enumerate();
        let mut from = 0;
        let text = self.text.as_bytes();
        while let Some(at) =
            text.get(from..).and_then(|rest| place_in(rest, part.as_bytes())).map(|at| from + at)
        {
            let Some((index, (_, next))) = spans.find(|(_, (_, next))| *next > at) else { break };
            // A text that goes on behind the end of the name is not in it, nor is it further on in the same name.
            if at.saturating_add(part.len()) < next {
                found.push((index, at));
            }
            from = next;
        }
        found
    }
}

/// Where a text holds another one for the first time. The standard one prepares for each text that it looks through,
/// which takes longer than to look through a name.
fn place_in(text: &[u8], part: &[u8]) -> Option<usize> {
    let Some((first, rest)) = part.split_first() else { return Some(0) };
    let holds_rest = |at: usize| text.get(at + 1..).is_some_and(|behind| behind.starts_with(rest));
    text.iter().enumerate().position(|(at, byte)| byte == first && holds_rest(at))
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn what_is_found_is_what_a_look_at_each_name_finds() {
        let names = ["", "a.B", "ab.c", "ÄÖ.x", "x\ny", "aab", "i\u{307}", "İ.z", "b"];
        let lower: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let all = Names::of(names.into_iter());
        let parts = [
            "a", "b", "ab", "aab", ".", ".b", "x", "ÄÖ", "Ö.x", "z", "b\na", "x\ny", "\n", "nothing",
            "i\u{307}",
        ];
        for part in parts {
            let expected: Vec<usize> =
                lower.iter().enumerate().filter(|(_, name)| name.contains(part)).map(|(i, _)| i).collect();
            assert_eq!(all.holding(part), expected, "{part:?}");
        }
    }

    #[test]
    fn typing_on_finds_what_a_search_from_the_start_finds() {
        let names = [
            "ab.ab.abc",
            "ab.ab.abcd",
            "ab.abb.abc",
            "ab.ab.ab",
            "abc",
            "a",
            "ba.abx",
            "ba.abxy",
            "x\nabc",
            "abab",
            "abab.",
            "aabab",
            "Ö.öab",
            "aab",
            "b",
        ];
        let all = Names::of(names.into_iter());
        for typed in ["abc", "ab.abc", "abab", "öab", "x\nab", "aab", "b.abx", "a.abxy"] {
            for end in (1..=typed.len()).filter(|&end| typed.is_char_boundary(end)) {
                let part = &typed[..end];
                let expected: Vec<usize> = (0..names.len())
                    .filter(|&index| names[index].to_ascii_lowercase().contains(part))
                    .collect();
                assert_eq!(all.holding(part), expected, "{part:?}");
            }
        }
    }
}
