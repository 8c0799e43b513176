//! What every JSON reader of this crate needs: borrowed strings, places of errors, bounded skipping.
//!
//! Nothing here builds a tree. `serde_json` refuses more than 127 levels by itself, which is also what
//! keeps the stack small; [`Skip`] holds a caller's lower limit on top of that.

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A string, borrowed from the input where it holds no escapes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Text<'de>(pub(crate) Cow<'de, str>);

impl<'de> de::Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Where in `json` a `serde_json` error was noticed, as a byte index.
///
/// The library tells line and column only; its column counts bytes, the first being 1.
pub(crate) fn error_index(json: &[u8], error: &serde_json::Error) -> u64 {
    if error.is_eof() {
        return json.len() as u64;
    }
    let lines_before = error.line().saturating_sub(1);
    let line_start = if lines_before == 0 {
        0
    } else {
        let ends = json.iter().enumerate().filter(|(_, b)| **b == b'\n');
        ends.map(|(i, _)| i + 1).nth(lines_before - 1).unwrap_or(json.len())
    };
    let index = line_start.saturating_add(error.column().saturating_sub(1));
    index.min(json.len()) as u64
}

/// The library's words without its own ` at line 1 column 2`, since we name the byte.
pub(crate) fn error_reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}

/// At most 64 characters of a text from a file, for messages.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(64) {
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

/// Reads any value and keeps nothing of it. Unlike `serde::de::IgnoredAny` it checks numbers, escapes
/// and depth, as a reader that keeps the value would.
#[derive(Clone, Copy)]
pub(crate) struct Skip {
    /// Levels of nesting that may still be opened.
    pub(crate) levels: u64,
}

impl Skip {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let levels =
            self.levels.checked_sub(1).ok_or_else(|| E::custom("nested deeper than the limit `depth`"))?;
        Ok(Self { levels })
    }
}

impl<'de> de::DeserializeSeed<'de> for Skip {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Skip {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while map.next_key::<Text<'de>>()?.is_some() {
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}
