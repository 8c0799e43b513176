//! A text that every match of a pattern holds, so that names without it need not be searched.
//!
//! Every rule is tried on every name of a checkpoint, and most rules are for few names: looking for a text is many
//! times as fast as following a pattern. Where it is not plain what a match holds, nothing is said.

use std::iter::Peekable;
use std::str::Chars;

/// The longest text that stands outside of groups and classes and is not optional; `None` if none is seen.
pub(super) fn needed_text(pattern: &str) -> Option<String> {
    let mut texts = vec![String::new()];
    let mut depth = 0_usize;
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        let literal = match c {
            // One side of a choice need not be there.
            '|' if depth == 0 => return None,
            '(' => {
                depth += 1;
                // Flags change what letters mean.
                if rest.next_if_eq(&'?').is_some() && !matches!(rest.peek(), Some(':' | 'P' | '<')) {
                    return None;
                }
                None
            }
            ')' => {
                depth = depth.checked_sub(1)?;
                None
            }
            '[' => {
                skip_class(&mut rest)?;
                None
            }
            '\\' => match rest.next()? {
                '<' | '>' | 'A' | 'B' | 'D' | 'S' | 'W' | 'b' | 'd' | 's' | 'w' | 'z' => None,
                escaped if escaped.is_ascii_punctuation() => Some(escaped),
                _ => return None,
            },
            '*' | '?' | '{' => {
                // What stands before it need not be there.
                texts.last_mut()?.pop();
                if c == '{' {
                    rest.find(|c| *c == '}')?;
                }
                None
            }
            '+' | '.' | '^' | '$' => None,
            other => Some(other),
        };
        match literal {
            Some(literal) if depth == 0 => texts.last_mut()?.push(literal),
            _ => texts.push(String::new()),
        }
    }
    texts.into_iter().max_by_key(String::len).filter(|text| depth == 0 && !text.is_empty())
}

/// Goes past the end of a class. A class within a class is not followed.
fn skip_class(rest: &mut Peekable<Chars<'_>>) -> Option<()> {
    let _ = rest.next_if_eq(&'^');
    // A bracket that comes first is a character.
    let _ = rest.next_if_eq(&']');
    loop {
        match rest.next()? {
            ']' => return Some(()),
            '[' => return None,
            '\\' => {
                rest.next()?;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::needed_text;
    use regex_lite::Regex;

    #[test]
    fn what_is_needed_is_what_cannot_be_left_out() {
        for (pattern, needed) in [
            (r"\.mlp\.experts\.(\d+)\.gate_proj\b", Some(".mlp.experts.")),
            (r"^model\.(.*)$", Some("model.")),
            ("(.+)", None),
            ("a|b", None),
            ("(a|b)cde", Some("cde")),
            ("(?i)layer", None),
            ("(?:abcd)?ef", Some("ef")),
            ("layers?", Some("layer")),
            ("ab{0,2}c+d", Some("d")),
            ("[abc]x", Some("x")),
            (r"[]a\]]xy", Some("xy")),
            ("[[:alpha:]]xy", None),
            (r"\w+_proj", Some("_proj")),
            (r"\x41bc", None),
            (r"\<abc\>", Some("abc")),
            ("", None),
        ] {
            assert_eq!(needed_text(pattern).as_deref(), needed, "{pattern}");
        }
    }

    /// The matcher itself says what matches.
    #[test]
    fn no_match_lacks_what_is_needed() {
        let atoms = [
            "a", "b", r"\.", ".", "(a|b)", "(?:ab)", "[ab]", r"\w", "^", "$", "a*", "b?", "a+", "b{2}",
            "(a)?",
        ];
        let names: Vec<String> = ["", "a", "b", "ab", "ba", "a.b", ".a", "abab", "bb.aa", "aab.b"]
            .iter()
            .flat_map(|one| ["", "a", "b."].map(|two| format!("{one}{two}")))
            .collect();
        let (mut matched, mut spared) = (0, 0);
        for pattern in
            atoms.iter().flat_map(|x| atoms.iter().flat_map(move |y| atoms.map(|z| format!("{x}{y}{z}"))))
        {
            let Ok(regex) = Regex::new(&pattern) else { continue };
            let Some(needed) = needed_text(&pattern) else { continue };
            for name in &names {
                let is_match = regex.is_match(name);
                matched += usize::from(is_match);
                spared += usize::from(!name.contains(&needed));
                assert!(
                    !is_match || name.contains(&needed),
                    "{pattern} matches {name:?}, not holding {needed:?}"
                );
            }
        }
        assert!(matched > 1_000 && spared > 1_000, "{matched} {spared}");
    }
}
