//! Replacements as Python's `re.sub` writes them: `\1`, `\g<1>`, `\g<name>`, and `\\` for a backslash.
//!
//! Source: the documentation of Python's `re` module. A dollar sign means itself, other than in the `regex` crate.

use super::rules::LONGEST_NAME;
use regex_lite::Regex;

/// A replacement, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// What the group of that number matched; nothing where it took no part.
    Group(usize),
}

impl Replacement {
    /// Reads a replacement for a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in words: an escape that means nothing, or a group that the pattern lacks.
    pub(crate) fn parse(text: &str, pattern: &Regex) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            let (before, escape) = rest.split_at(at);
            plain.push_str(before);
            let escape = escape.strip_prefix('\\').unwrap_or_default();
            let (piece, after) = escaped(escape, pattern)?;
            match piece {
                Piece::Text(text) => plain.push_str(&text),
                group @ Piece::Group(_) => {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    pieces.push(group);
                }
            }
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self { pieces })
    }

    /// The text with every match replaced. Groups named many times make long names of short ones: growth ends
    /// soon after [`LONGEST_NAME`], and who asked refuses what is longer.
    pub(crate) fn substitute(&self, pattern: &Regex, text: &str) -> String {
        let (mut replaced, mut done) = (String::new(), 0);
        for captures in pattern.captures_iter(text) {
            let Some(found) = captures.get(0) else { continue };
            replaced.push_str(text.get(done..found.start()).unwrap_or_default());
            done = found.end();
            for piece in &self.pieces {
                if replaced.len() > LONGEST_NAME {
                    return replaced;
                }
                replaced.push_str(match piece {
                    Piece::Text(text) => text,
                    Piece::Group(group) => captures.get(*group).map_or("", |found| found.as_str()),
                });
            }
        }
        replaced.push_str(text.get(done..).unwrap_or_default());
        replaced
    }
}

/// What an escape stands for, and what comes after it. `rest` begins behind the backslash.
fn escaped<'t>(rest: &'t str, pattern: &Regex) -> Result<(Piece, &'t str), String> {
    let mut characters = rest.chars();
    match characters.next() {
        Some('\\') => Ok((Piece::Text("\\".into()), characters.as_str())),
        Some('g') => {
            let inner = characters.as_str().strip_prefix('<').and_then(|rest| rest.split_once('>'));
            let Some((name, after)) = inner else { return Err(r"missing the <…> of \g".into()) };
            Ok((Piece::Group(group(name, pattern)?), after))
        }
        // Python reads at most two digits here, and \0 or three digits as a character's code.
        Some(digit) if digit.is_ascii_digit() => {
            let second = characters.as_str().chars().next().filter(char::is_ascii_digit);
            let digits: String = std::iter::once(digit).chain(second).collect();
            let after = characters.as_str().get(usize::from(second.is_some())..).unwrap_or_default();
            let octal = digit == '0' || (second.is_some() && after.starts_with(|c: char| c.is_ascii_digit()));
            if octal {
                return Err(format!("using the octal escape \\{digits}"));
            }
            Ok((Piece::Group(group(&digits, pattern)?), after))
        }
        Some(other) => Err(format!("using the escape \\{other}, which means nothing")),
        None => Err("ending in a backslash".into()),
    }
}

/// The number of a group.
fn group(name: &str, pattern: &Regex) -> Result<usize, String> {
    let number = match name.parse::<usize>() {
        Ok(number) => Some(number).filter(|&n| n < pattern.captures_len()),
        Err(_) => pattern.capture_names().position(|known| known == Some(name)),
    };
    number.ok_or_else(|| format!("naming the group {name:?}, which the pattern does not have"))
}

#[cfg(test)]
mod tests {
    use super::Replacement;
    use regex_lite::Regex;

    /// Results of CPython 3.12's `re.sub`.
    #[test]
    fn replacements_are_those_of_python() {
        for (pattern, replacement, text, expected) in [
            (r"(\.experts\.\d+\.)gate_proj\b", r"\g<1>w1", "a.experts.12.gate_proj.w", "a.experts.12.w1.w"),
            (r"\.(a|b)\.", r".x.\1.y.", "m.a.b.c", "m.x.a.y.b.c"),
            (r"(?P<n>\d)", r"<\g<n>\g<0>>", "a1b2", "a<11>b<22>"),
            ("a", r"$1\\", "cat", r"c$1\t"),
            (r"(a)|(b)", r"[\1\2]", "ab", "[a][b]"),
            (r"(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", r"\11\1", "abcdefghijk", "ka"),
            ("^", "model.", "layers.0", "model.layers.0"),
            (r"(.)mlp.", r"\1moe.", "x.mlp.y", "x.moe.y"),
        ] {
            let pattern = Regex::new(pattern).unwrap();
            let replacement = Replacement::parse(replacement, &pattern).unwrap();
            assert_eq!(replacement.substitute(&pattern, text), expected, "{pattern}");
        }
    }

    #[test]
    fn escapes_that_mean_nothing_are_refused() {
        let pattern = Regex::new("(a)").unwrap();
        for (bad, said) in [
            (r"\2", "\"2\""),
            (r"\g<b>", "\"b\""),
            (r"\g1", "<…>"),
            (r"\d", r"\d"),
            ("x\\", "ending"),
            (r"\0", "octal"),
            (r"\112", "octal"),
            (r"\g<99999999999999999999999>", "group"),
        ] {
            let error = Replacement::parse(bad, &pattern).unwrap_err();
            assert!(error.contains(said), "{bad}: {error}");
        }
    }

    #[test]
    fn names_cannot_grow_without_end() {
        let pattern = Regex::new("(?s)(.*)").unwrap();
        let replacement = Replacement::parse(&r"\1".repeat(1000), &pattern).unwrap();
        let grown = replacement.substitute(&pattern, &"a".repeat(4000));
        assert!(grown.len() < 10_000, "{}", grown.len());
    }
}
