//! The value of one tensor in a header: its three fields, in the forms that the reference takes, or what is wrong.
//!
//! Knows no limits but those that bound what is kept while reading; `parse` judges what is said here.

use crate::faults::MOST_REPORTED;
use crate::fields::{Dims, DimsReader, Found, Tag, TagReader};
use crate::json::{Skip, Text, shortened};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What one tensor's value said, field by field.
#[derive(Default)]
pub(crate) struct Fields<'de> {
    pub(crate) dtype: Option<Found<Tag<'de>>>,
    pub(crate) shape: Option<Found<Dims>>,
    pub(crate) offsets: Option<Found<Dims>>,
    /// Faults of the value as a whole.
    pub(crate) faults: Vec<String>,
    pub(crate) unknown: Vec<String>,
    pub(crate) unusual: Option<String>,
}

/// Reads it.
pub(crate) struct TensorValue {
    /// Levels of nesting that may still be opened, this value's own included.
    pub(crate) levels: u64,
    /// Most dimensions to keep; more are counted.
    pub(crate) dims: u64,
}

impl TensorValue {
    fn wrong<'de>(found: &str) -> Fields<'de> {
        let fault = format!("it is {found}, an object with `dtype`, `shape` and `data_offsets` is needed");
        Fields { faults: vec![fault], ..Fields::default() }
    }

    fn dims_reader(&self) -> DimsReader {
        DimsReader { keep: self.dims, levels: self.levels.saturating_sub(1) }
    }

    fn offsets_reader(&self) -> DimsReader {
        DimsReader { keep: 2, levels: self.levels.saturating_sub(1) }
    }

    fn tag_reader(&self) -> TagReader {
        TagReader { levels: self.levels.saturating_sub(1) }
    }
}

impl<'de> DeserializeSeed<'de> for TensorValue {
    type Value = Fields<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TensorValue {
    type Value = Fields<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tensor")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let twice = match key.as_ref() {
                "dtype" => fields.dtype.replace(map.next_value_seed(self.tag_reader())?).is_some(),
                "shape" => fields.shape.replace(map.next_value_seed(self.dims_reader())?).is_some(),
                "data_offsets" => {
                    fields.offsets.replace(map.next_value_seed(self.offsets_reader())?).is_some()
                }
                _ => {
                    map.next_value_seed(Skip { levels: self.levels.saturating_sub(1) })?;
                    if (fields.unknown.len() as u64) < MOST_REPORTED {
                        fields.unknown.push(shortened(&key).into_owned());
                    }
                    false
                }
            };
            if twice && (fields.faults.len() as u64) < MOST_REPORTED {
                fields.faults.push(format!("`{key}` stands twice"));
            }
        }
        Ok(fields)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields { dtype: seq.next_element_seed(self.tag_reader())?, ..Fields::default() };
        if fields.dtype.is_some() {
            fields.shape = seq.next_element_seed(self.dims_reader())?;
        }
        if fields.shape.is_some() {
            fields.offsets = seq.next_element_seed(self.offsets_reader())?;
        }
        let mut extra = 0_u64;
        if fields.offsets.is_some() {
            while seq.next_element_seed(Skip { levels: self.levels.saturating_sub(1) })?.is_some() {
                extra += 1;
            }
        }
        if extra > 0 {
            fields.faults.push(format!("it is an array of {} values, not of three", extra.saturating_add(3)));
        }
        fields.unusual = Some("it is an array in place of an object".to_owned());
        Ok(fields)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Self::wrong(&value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Self::wrong(&value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Self::wrong(&value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Self::wrong(&format!("{value:?}")))
    }
    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Self::wrong("a string"))
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Self::wrong("null"))
    }
}
