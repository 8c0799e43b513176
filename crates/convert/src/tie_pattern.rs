//! Declarations of ties: which module shares the weight of which, by names, prefixes or patterns.
//!
//! Source: `formats.md` h, "Tie source". A declaration pairs full names, module prefixes, or patterns that have the
//! same wildcards on both sides: stars, or pieces of expressions as models declare them
//! (`encoder.layers\.(?:[^.]+\.)*weight`). What matches a wildcard on one side stands for it on the other. Models also
//! declare ties as a list of the like, without a direction.

use regex_lite::{Regex, RegexBuilder};
use std::borrow::Cow;

/// Most bytes that a compiled pattern may take.
const LARGEST: usize = 1 << 20;

/// What names of tensors end with, where a declaration speaks of tensors.
const WEIGHT: &str = "weight";

/// One declaration.
#[derive(Debug, Clone)]
pub(crate) struct TiePattern {
    alias: Side,
    canonical: Side,
    /// Whether both sides name weights, not modules.
    names_weights: bool,
}

/// One entry of a list of ties, which gives no direction: a name, a prefix or a pattern.
#[derive(Debug, Clone)]
pub(crate) struct TieMember {
    /// The entry as it was written.
    pub(crate) text: String,
    side: Side,
    wildcards: Vec<String>,
    names_weights: bool,
}

/// One side: texts with a wildcard between each two.
#[derive(Debug, Clone)]
struct Side {
    texts: Vec<String>,
    matcher: Regex,
}

/// A piece of a pattern.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Text(String),
    Wildcard(String),
}

/// The pieces of a pattern of stars.
fn starred(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (i, text) in pattern.split('*').enumerate() {
        if i > 0 {
            tokens.push(Token::Wildcard(".*".into()));
        }
        tokens.push(Token::Text(text.into()));
    }
    tokens
}

/// The length of a group or class that begins a text, its end included.
fn bracketed(text: &str) -> Option<usize> {
    let (open, close) = if text.starts_with('[') { ('[', ']') } else { ('(', ')') };
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        // Within a class a bracket is a character.
        if c == open && (open == '(' || at == 0) {
            depth += 1;
        } else if c == close {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at + close.len_utf8());
            }
        }
    }
    None
}

/// The pieces of an expression; `None` if it has some that no declaration has.
fn expression(pattern: &str) -> Option<Vec<Token>> {
    let (mut tokens, mut text, mut rest) = (Vec::new(), String::new(), pattern);
    rest = rest.strip_prefix('^').unwrap_or(rest);
    rest = rest.strip_suffix('$').unwrap_or(rest);
    while let Some(first) = rest.chars().next() {
        let escaped = rest.strip_prefix('\\').and_then(|after| after.chars().next());
        let length = match (first, escaped) {
            ('\\', Some('d' | 'w')) => 2,
            ('\\', Some(c)) => {
                text.push(c);
                rest = rest.get(1 + c.len_utf8()..)?;
                continue;
            }
            ('[' | '(', _) => bracketed(rest)?,
            ('.', _) if rest.get(1..2).is_some_and(|next| ["*", "+"].contains(&next)) => 1,
            ('*' | '+' | '?' | '|' | ')' | ']' | '{' | '}' | '\\', _) => return None,
            (c, _) => {
                text.push(c);
                rest = rest.get(c.len_utf8()..)?;
                continue;
            }
        };
        let (piece, after) = rest.split_at_checked(length)?;
        let quantifier = after.chars().next().filter(|c| ['*', '+', '?'].contains(c));
        let piece = match quantifier {
            Some(quantifier) => format!("{piece}{quantifier}"),
            None => piece.to_string(),
        };
        rest = after.get(quantifier.map_or(0, char::len_utf8)..)?;
        tokens.push(Token::Text(std::mem::take(&mut text)));
        tokens.push(Token::Wildcard(piece));
    }
    tokens.push(Token::Text(text));
    Some(tokens)
}

impl Side {
    fn new(tokens: &[Token], takes_prefixes: bool) -> Option<Self> {
        let (mut source, mut texts) = (String::from("^"), Vec::new());
        for token in tokens {
            match token {
                Token::Text(text) => {
                    source.push_str(&regex_lite::escape(text));
                    texts.push(text.clone());
                }
                Token::Wildcard(wildcard) => source.push_str(&format!("({wildcard})")),
            }
        }
        if takes_prefixes {
            source.push_str(r"((?:\..*)?)");
            texts.push(String::new());
        }
        source.push('$');
        let matcher = RegexBuilder::new(&source).size_limit(LARGEST).build().ok()?;
        Some(Self { texts, matcher })
    }

    /// What matches the wildcards of this side, put between the texts of another.
    fn translated(&self, other: &Self, name: &str) -> Option<String> {
        let found = self.matcher.captures(name)?;
        let mut out = String::new();
        let mut wildcards = found.iter().skip(1);
        for (i, text) in other.texts.iter().enumerate() {
            if i > 0 {
                out.push_str(wildcards.next()?.map_or("", |m| m.as_str()));
            }
            out.push_str(text);
        }
        Some(out)
    }
}

/// The pieces of one or more sides; whether any is an expression decides how all are read.
fn read<const N: usize>(sides: [&str; N]) -> Option<[Vec<Token>; N]> {
    let is_expression = sides.iter().any(|side| side.contains('\\') || side.contains("(?"));
    let mut out = std::array::from_fn(|_| Vec::new());
    for (side, tokens) in sides.iter().zip(&mut out) {
        *tokens = if is_expression { expression(side)? } else { starred(side) };
    }
    let is_named = sides.iter().all(|side| !side.is_empty());
    is_named.then_some(out)
}

/// The wildcards of a side; `None` if one has a group within, which would be counted among them.
fn wildcards(tokens: &[Token]) -> Option<Vec<String>> {
    let of = |token: &Token| match token {
        Token::Wildcard(wildcard) => Some(wildcard.clone()),
        Token::Text(_) => None,
    };
    let found: Vec<String> = tokens.iter().filter_map(of).collect();
    let captures = |wildcard: &String| wildcard.matches('(').count() != wildcard.matches("(?:").count();
    (!found.iter().any(captures)).then_some(found)
}

/// Whether a side speaks of weights, not of modules.
fn is_of_weights(side: &str) -> bool {
    side.trim_end_matches('$').ends_with(WEIGHT)
}

impl TieMember {
    /// Reads an entry.
    ///
    /// # Errors
    /// If it has wildcards that cannot be read.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let read = read([text]).and_then(|[tokens]| {
            let (wildcards, names_weights) = (wildcards(&tokens)?, is_of_weights(text));
            let side = Side::new(&tokens, wildcards.is_empty() && !names_weights)?;
            Some(Self { text: text.into(), side, wildcards, names_weights })
        });
        read.ok_or_else(|| {
            format!("{text:?} is no entry of a list of ties: write a name, a prefix or a pattern")
        })
    }

    fn subject<'m>(&self, module: &'m str) -> Cow<'m, str> {
        if self.names_weights { format!("{module}.{WEIGHT}").into() } else { module.into() }
    }

    /// Whether it speaks of a module.
    pub(crate) fn matches(&self, module: &str) -> bool {
        self.side.matcher.is_match(&self.subject(module))
    }

    /// The module that it names in full, whatever else it is the prefix of.
    pub(crate) fn name(&self) -> Option<String> {
        let name = self.side.texts.concat();
        let name =
            if self.names_weights { name.strip_suffix(WEIGHT)?.strip_suffix('.')?.into() } else { name };
        self.wildcards.is_empty().then_some(name)
    }

    /// The module that another entry calls by what this one's wildcards or prefix leave open. Two full names leave
    /// nothing open: that both stand in a list does not pair them.
    pub(crate) fn partner(&self, other: &Self, module: &str) -> Option<String> {
        if (&self.wildcards, self.names_weights) != (&other.wildcards, other.names_weights) {
            return None;
        }
        let subject = self.subject(module);
        let found = self.side.matcher.captures(&subject)?;
        if found.iter().skip(1).flatten().all(|open| open.is_empty()) {
            return None;
        }
        let translated = self.side.translated(&other.side, &subject)?;
        let translated = if self.names_weights {
            translated.strip_suffix(WEIGHT)?.strip_suffix('.')?.to_string()
        } else {
            translated
        };
        (translated != module).then_some(translated)
    }
}

impl TiePattern {
    /// Reads a declaration.
    ///
    /// # Errors
    /// If the sides have other wildcards, or ones that cannot be paired.
    pub(crate) fn new(alias: &str, canonical: &str) -> Result<Self, String> {
        let wrong = || {
            let pair = format!("{alias}={canonical}");
            format!("{pair:?} is no tie: write names, prefixes, or patterns with the same wildcards")
        };
        let [own, other] = read([alias, canonical]).ok_or_else(wrong)?;
        let pairs =
            wildcards(&own).filter(|pairs| wildcards(&other).as_ref() == Some(pairs)).ok_or_else(wrong)?;
        let names_weights = [alias, canonical].iter().all(|side| is_of_weights(side));
        let takes_prefixes = pairs.is_empty() && !names_weights;
        let (alias, canonical) =
            Side::new(&own, takes_prefixes).zip(Side::new(&other, takes_prefixes)).ok_or_else(wrong)?;
        Ok(Self { alias, canonical, names_weights })
    }

    fn put(&self, from: &Side, to: &Side, module: &str) -> Option<String> {
        let translated = if self.names_weights {
            let other = from.translated(to, &format!("{module}.{WEIGHT}"))?;
            other.strip_suffix(WEIGHT)?.strip_suffix('.')?.to_string()
        } else {
            from.translated(to, module)?
        };
        (translated != module).then_some(translated)
    }

    /// The module that stands for one of that name.
    pub(crate) fn canonical_of(&self, module: &str) -> Option<String> {
        self.put(&self.alias, &self.canonical, module)
    }

    /// The module that one of that name stands for.
    pub(crate) fn alias_of(&self, module: &str) -> Option<String> {
        self.put(&self.canonical, &self.alias, module)
    }
}

#[cfg(test)]
mod tests {
    use super::{TieMember, TiePattern};

    fn pairs(alias: &str, canonical: &str, modules: &[(&str, Option<&str>)]) {
        let tie = TiePattern::new(alias, canonical).unwrap();
        for (module, other) in modules {
            assert_eq!(tie.canonical_of(module).as_deref(), *other, "{alias} = {canonical}: {module}");
            if let Some(other) = other {
                assert_eq!(tie.alias_of(other).as_deref(), Some(*module), "{alias} = {canonical}: {other}");
            }
        }
    }

    #[test]
    fn stars_are_the_same_text_on_both_sides() {
        pairs("encoder.*", "decoder.*", &[("encoder.a.b", Some("decoder.a.b")), ("decoder.a", None)]);
        pairs("e.*.fc", "d.*.fc", &[("e.1.fc", Some("d.1.fc")), ("e.fc", None)]);
        pairs("e.*.x.*", "d.*.y.*", &[("e.1.x.q", Some("d.1.y.q")), ("e.1.q", None)]);
    }

    #[test]
    fn names_and_prefixes() {
        pairs("lm_head", "embed", &[("lm_head", Some("embed")), ("lm_heads", None)]);
        pairs("model.encoder", "model.decoder", &[("model.encoder.l.0", Some("model.decoder.l.0"))]);
        pairs(
            "lm_head.weight",
            "model.embed_tokens.weight",
            &[("lm_head", Some("model.embed_tokens")), ("lm_head.weight", None)],
        );
    }

    /// Pairs as models declare them, from the specification.
    #[test]
    fn expressions_with_the_same_wildcards() {
        pairs(
            r"encoder.language_model.layers\.(?:[^.]+\.)*weight",
            r"decoder.layers\.(?:[^.]+\.)*weight",
            &[
                ("encoder.language_model.layers.0.mlp.fc1", Some("decoder.layers.0.mlp.fc1")),
                ("encoder.language_model.norm", None),
                ("encoder.layers.0.fc1", None),
            ],
        );
        pairs(r"^a\.\d+\.weight$", r"^b\.\d+\.weight$", &[("a.12", Some("b.12")), ("a.x", None)]);
    }

    #[test]
    fn what_cannot_be_paired_is_refused() {
        for (alias, canonical) in [
            ("e.*", "d"),
            ("", "d"),
            ("a.*.*", "b.*"),
            (r"a\.(x)*", r"b\.(x)*"),
            (r"a\.[^.]+", r"b\.\d+"),
            (r"a\.(b", r"c\.(b"),
            (r"a\.x|y", r"b\.x|y"),
        ] {
            assert!(TiePattern::new(alias, canonical).is_err(), "{alias} = {canonical}");
        }
    }

    #[test]
    fn entries_of_a_list_are_paired_by_what_they_leave_open() {
        let partner = |own: &str, other: &str, module: &str| {
            let [own, other] = [own, other].map(|text| TieMember::new(text).unwrap());
            own.partner(&other, module)
        };
        assert_eq!(partner("encoder.*", "decoder.*", "encoder.a.b").as_deref(), Some("decoder.a.b"));
        assert_eq!(partner("encoder", "decoder", "encoder.a.b").as_deref(), Some("decoder.a.b"));
        assert_eq!(
            partner(r"e\.(?:[^.]+\.)*weight", r"d\.(?:[^.]+\.)*weight", "e.a.b").as_deref(),
            Some("d.a.b")
        );
        // Two full names may be of two ties.
        assert_eq!(partner("lm_head.weight", "embed.weight", "lm_head"), None);
        assert_eq!(partner("lm_head", "embed", "lm_head"), None);
        assert_eq!(partner("e.*", "d.*.fc.*", "e.a"), None);
        assert_eq!(partner(r"e\.\d+\.fc", r"d\.[^.]+\.fc", "e.1.fc"), None);
        assert_eq!(partner("e.*.weight", "d.*", "e.a"), None);
    }

    #[test]
    fn entries_of_a_list_name_modules() {
        for (text, name, matched, other) in [
            ("lm_head.weight", Some("lm_head"), "lm_head", "lm_head.a"),
            ("model.encoder", Some("model.encoder"), "model.encoder.a", "model.encoders"),
            (r"lm_head\.weight", Some("lm_head"), "lm_head", "lm_headx"),
            ("encoder.*", None, "encoder.a", "encoder"),
        ] {
            let member = TieMember::new(text).unwrap();
            assert_eq!(member.name().as_deref(), name, "{text}");
            assert!(member.matches(matched) && !member.matches(other), "{text}");
        }
        for text in ["", r"a\.(x)*", r"a\.(b", r"a\.x|y"] {
            assert!(TieMember::new(text).is_err(), "{text}");
        }
    }
}
