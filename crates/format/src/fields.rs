//! Readers for the fields of one tensor that take any JSON and say what is wrong with it.
//!
//! A reader that stopped at the first wrong type would lose every tensor after it. So each field is
//! read into `Result<value, what was found instead>`, and only broken syntax stops the whole.

use crate::json::{Skip, Text, shortened};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// A value, or in words what stands there instead.
pub(crate) type Found<T> = Result<T, String>;

/// The visits that a field refuses, each answering with what it found.
macro_rules! refuse {
    ($($kind:ident)*) => { $(refuse!(@ $kind);)* };
    (@ bool) => { fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> { Ok(Err(v.to_string())) } };
    (@ negative) => { fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> { Ok(Err(v.to_string())) } };
    (@ unsigned) => { fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> { Ok(Err(v.to_string())) } };
    (@ float) => { fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> { Ok(Err(format!("{v:?}"))) } };
    (@ text) => {
        fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> { Ok(Err(format!("the string {:?}", shortened(v)))) }
    };
    (@ null) => { fn visit_unit<E>(self) -> Result<Self::Value, E> { Ok(Err("null".to_owned())) } };
    (@ seq) => {
        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            self.skip().visit_seq(seq)?;
            Ok(Err("an array".to_owned()))
        }
    };
    (@ map) => {
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            self.skip().visit_map(map)?;
            Ok(Err("an object".to_owned()))
        }
    };
}

macro_rules! any_json_seed {
    ($reader:ident, $value:ty) => {
        impl<'de> DeserializeSeed<'de> for $reader {
            type Value = $value;
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
                deserializer.deserialize_any(self)
            }
        }
        impl $reader {
            #[allow(
                dead_code,
                reason = "readers that refuse neither arrays nor objects have nothing to skip"
            )]
            fn skip(self) -> Skip {
                Skip { levels: self.levels }
            }
        }
    };
}

/// One number that fits `u64`.
#[derive(Clone, Copy)]
struct Unsigned {
    levels: u64,
}

any_json_seed!(Unsigned, Found<u64>);

impl<'de> Visitor<'de> for Unsigned {
    type Value = Found<u64>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 0 to 2^64 - 1")
    }
    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(Ok(v))
    }
    refuse!(bool negative float text null seq map);
}

/// Dimensions: the first `keep` of them, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dims {
    pub(crate) kept: Vec<u64>,
    pub(crate) count: u64,
}

/// Reads `shape` or `data_offsets`.
#[derive(Clone, Copy)]
pub(crate) struct DimsReader {
    /// Most numbers to keep; more are counted.
    pub(crate) keep: u64,
    /// Levels of nesting that may still be opened.
    pub(crate) levels: u64,
}

any_json_seed!(DimsReader, Found<Dims>);

impl<'de> Visitor<'de> for DimsReader {
    type Value = Found<Dims>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of whole numbers")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut dims = Dims { kept: Vec::new(), count: 0 };
        let mut wrong = None;
        let element = Unsigned { levels: self.levels.saturating_sub(1) };
        while let Some(found) = seq.next_element_seed(element)? {
            match found {
                Ok(value) if dims.count < self.keep => dims.kept.push(value),
                Ok(_) => {}
                Err(what) => {
                    wrong.get_or_insert_with(|| format!("{what} at index {}", dims.count));
                }
            }
            dims.count += 1;
        }
        // Kept as it is for every tensor, of which there may be millions.
        dims.kept.shrink_to_fit();
        Ok(wrong.map_or(Ok(dims), Err))
    }
    refuse!(bool negative unsigned float text null map);
}

/// A dtype's tag, and whether it was spelled as `{"F32": null}`, which the reference takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag<'de> {
    pub(crate) text: Cow<'de, str>,
    pub(crate) as_object: bool,
}

/// Reads `dtype`.
#[derive(Clone, Copy)]
pub(crate) struct TagReader {
    /// Levels of nesting that may still be opened.
    pub(crate) levels: u64,
}

any_json_seed!(TagReader, Found<Tag<'de>>);

impl<'de> Visitor<'de> for TagReader {
    type Value = Found<Tag<'de>>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a dtype")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Ok(Tag { text: Cow::Borrowed(text), as_object: false }))
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Ok(Tag { text: Cow::Owned(text.to_owned()), as_object: false }))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = NullReader { levels: self.levels.saturating_sub(1) };
        let mut tag = Err("an empty object".to_owned());
        let mut entries = 0_u64;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let value = map.next_value_seed(inner)?;
            tag = match value {
                Ok(()) => Ok(Tag { text: key, as_object: true }),
                Err(what) => Err(format!("an object that holds {what}")),
            };
            entries += 1;
        }
        Ok(if entries > 1 { Err(format!("an object of {entries} entries")) } else { tag })
    }
    refuse!(bool negative unsigned float null seq);
}

/// Reads `null`.
#[derive(Clone, Copy)]
struct NullReader {
    levels: u64,
}

any_json_seed!(NullReader, Found<()>);

impl<'de> Visitor<'de> for NullReader {
    type Value = Found<()>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(()))
    }
    refuse!(bool negative unsigned float text seq map);
}

/// Reads one value of `__metadata__`.
#[derive(Clone, Copy)]
pub(crate) struct StringReader {
    /// Levels of nesting that may still be opened.
    pub(crate) levels: u64,
}

any_json_seed!(StringReader, Found<String>);

impl<'de> Visitor<'de> for StringReader {
    type Value = Found<String>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Ok(text.to_owned()))
    }
    refuse!(bool negative unsigned float null seq map);
}
