//! `*.safetensors.index.json`: which tensor is in which file.
//!
//! Read by a visitor, since an index of a large model has 100,000 entries. Entries that leave the
//! folder are told, not followed; what to do about them is decided by whoever opens files.

use crate::hash::{HashSet, HashSetExt as _, Places};
use crate::json::{Skip, Text, error_index, error_reason, shortened};
use crate::limits::Limits;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, Visitor};
use std::fmt;
use std::sync::Arc;

/// One entry of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexEntry {
    /// Tensor.
    pub tensor: String,
    /// File, as the index spells it; neighbours of one file share its name.
    pub file: Arc<str>,
    /// Why the file is not a plain path inside the folder; `None` if it is.
    pub leaves_folder: Option<&'static str>,
}

/// An index file.
#[derive(Clone, Default)]
pub struct ShardIndex {
    /// `weight_map`, in the order of the file; of a tensor that stands twice, the last counts.
    pub entries: Vec<IndexEntry>,
    /// `metadata.total_size` in bytes, if it is there.
    pub total_size: Option<u64>,
    /// Keys that stand twice.
    pub duplicate_keys: Vec<String>,
    /// Where each tensor's entry is.
    by_tensor: Places,
}

/// Why an index cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Longer than the limit.
    #[error("the index has {len} bytes, the limit `json` lets it have {limit}")]
    TooLong {
        /// Its length.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// Not JSON, or not of the form of an index.
    #[error("the index cannot be read: {reason} (byte {at})")]
    Malformed {
        /// What is wrong, in words.
        reason: String,
        /// Byte at which it was noticed.
        at: u64,
    },
}

impl ShardIndex {
    /// Reads an index.
    ///
    /// # Errors
    /// If it is too long, not JSON, or has no `weight_map` from names to names.
    ///
    /// ```
    /// use quantscope_format::{Limits, ShardIndex};
    /// let json = br#"{"metadata":{"total_size":12},"weight_map":{"w":"a.safetensors","v":"../b.safetensors"}}"#;
    /// let index = ShardIndex::parse(json, &Limits::default()).unwrap();
    /// assert_eq!(index.total_size, Some(12));
    /// assert!(index.entries[0].leaves_folder.is_none());
    /// assert!(index.entries[1].leaves_folder.is_some());
    /// ```
    pub fn parse(json: &[u8], limits: &Limits) -> Result<Self, IndexError> {
        let len = json.len() as u64;
        if len > limits.json_bytes {
            return Err(IndexError::TooLong { len, limit: limits.json_bytes });
        }
        let mut reading = Reading { index: Self::default(), limits: *limits, weight_map_seen: false };
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        TopLevel(&mut reading).deserialize(&mut deserializer).and_then(|()| deserializer.end()).map_err(
            |error| IndexError::Malformed { reason: error_reason(&error), at: error_index(json, &error) },
        )?;
        if !reading.weight_map_seen {
            return Err(IndexError::Malformed { reason: "it has no `weight_map`".to_owned(), at: len });
        }
        Ok(reading.index)
    }

    /// The files that the index names, each once, in the order of their first entry.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        let mut seen = HashSet::new();
        // Neighbours of one file share its name: it is looked up once.
        let runs = self.entries.chunk_by(|one, next| Arc::ptr_eq(&one.file, &next.file));
        runs.filter_map(<[_]>::first).map(|entry| &*entry.file).filter(|file| seen.insert(*file)).collect()
    }

    /// The place of a tensor's entry in [`Self::entries`].
    #[must_use]
    pub fn place_of(&self, tensor: &str) -> Option<usize> {
        usize::try_from(self.by_tensor.find(tensor, |place| name_at(&self.entries, place))?).ok()
    }

    /// The file that a tensor is in, as the index spells it.
    #[must_use]
    pub fn file_of(&self, tensor: &str) -> Option<&str> {
        self.entries.get(self.place_of(tensor)?).map(|entry| &*entry.file)
    }

    /// Takes an entry in, and gives the earlier one of the same tensor.
    fn put(&mut self, entry: IndexEntry) -> Option<IndexEntry> {
        // Limits keep the number of entries far below what 32 bits count.
        let place = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let entries = &self.entries;
        let known = self.by_tensor.find_or_add(&entry.tensor, place, |place| name_at(entries, place));
        let earlier = known.and_then(|place| self.entries.get_mut(usize::try_from(place).ok()?));
        match earlier {
            Some(earlier) => Some(std::mem::replace(earlier, entry)),
            None => {
                self.entries.push(entry);
                None
            }
        }
    }
}

fn name_at(entries: &[IndexEntry], place: u32) -> Option<&str> {
    entries.get(usize::try_from(place).ok()?).map(|entry| entry.tensor.as_str())
}

impl fmt::Debug for ShardIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entries, total_size, duplicate_keys, by_tensor: _ } = self;
        f.debug_struct("ShardIndex")
            .field("entries", entries)
            .field("total_size", total_size)
            .field("duplicate_keys", duplicate_keys)
            .finish_non_exhaustive()
    }
}

/// Two are the same if they say the same.
impl PartialEq for ShardIndex {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
            && self.total_size == other.total_size
            && self.duplicate_keys == other.duplicate_keys
    }
}

/// Why `path`, taken from a file, is not a plain path inside the folder of that file; `None` if it is.
///
/// Stricter than any one system: what is a path on Windows is refused on Linux too, so that a
/// checkpoint means the same everywhere.
#[must_use]
pub fn leaves_folder(path: &str) -> Option<&'static str> {
    let drive = matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if path.is_empty() {
        Some("it is empty")
    } else if path.contains("://") {
        Some("it is an address")
    } else if path.starts_with('/') {
        Some("it is an absolute path")
    } else if drive {
        Some("it names a drive")
    } else if path.contains('\\') {
        Some("it holds a backslash")
    } else if path.chars().any(char::is_control) {
        Some("it holds a control character")
    } else if path.split('/').any(|segment| segment == "..") {
        Some("it leaves the folder by `..`")
    } else if path.split('/').any(|segment| segment.is_empty() || segment == ".") {
        Some("it holds an empty part or a single dot")
    } else {
        None
    }
}

struct Reading {
    index: ShardIndex,
    limits: Limits,
    weight_map_seen: bool,
}

impl Reading {
    fn levels(&self, depth: u64) -> u64 {
        self.limits.json_depth.saturating_sub(depth)
    }
}

struct TopLevel<'r>(&'r mut Reading);

impl<'de> DeserializeSeed<'de> for TopLevel<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TopLevel<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `weight_map`")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reading = self.0;
        let mut metadata_seen = false;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let twice = match key.as_ref() {
                "weight_map" => {
                    // The last one counts, as in Python.
                    reading.index.entries.clear();
                    reading.index.by_tensor.clear();
                    map.next_value_seed(WeightMap(reading))?;
                    std::mem::replace(&mut reading.weight_map_seen, true)
                }
                "metadata" => {
                    reading.index.total_size =
                        map.next_value_seed(IndexMetadata { levels: reading.levels(2) })?;
                    std::mem::replace(&mut metadata_seen, true)
                }
                _ => {
                    map.next_value_seed(Skip { levels: reading.levels(1) })?;
                    false
                }
            };
            if twice {
                reading.index.duplicate_keys.push(key.into_owned());
            }
        }
        Ok(())
    }
}

struct WeightMap<'r>(&'r mut Reading);

impl<'de> DeserializeSeed<'de> for WeightMap<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WeightMap<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from tensor names to file names for `weight_map`")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let index = &mut self.0.index;
        let limit = self.0.limits.tensors;
        // Neighbours are in one file as a rule.
        let mut last: Option<(Arc<str>, Option<&'static str>)> = None;
        while let Some(Text(tensor)) = map.next_key::<Text<'de>>()? {
            let Text(file) = map.next_value::<Text<'de>>()?;
            let same = last.take().filter(|(before, _)| **before == *file);
            let (file, leaves_folder) = same.unwrap_or_else(|| (file.as_ref().into(), leaves_folder(&file)));
            last = Some((Arc::clone(&file), leaves_folder));
            if index.entries.len() as u64 >= limit && index.place_of(&tensor).is_none() {
                return Err(de::Error::custom(format!(
                    "more than {limit} entries in `weight_map`, the limit"
                )));
            }
            let entry = IndexEntry { tensor: tensor.into_owned(), file, leaves_folder };
            let earlier = index.put(entry);
            index.duplicate_keys.extend(earlier.map(|earlier| earlier.tensor));
        }
        Ok(())
    }
}

/// Reads `metadata` for its `total_size`.
struct IndexMetadata {
    levels: u64,
}

impl<'de> DeserializeSeed<'de> for IndexMetadata {
    type Value = Option<u64>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for IndexMetadata {
    type Value = Option<u64>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null for `metadata`")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut total = None;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            if key == "total_size" {
                total = map.next_value_seed(TotalSize)?;
            } else {
                map.next_value_seed(Skip { levels: self.levels })?;
            }
        }
        Ok(total)
    }
}

/// A number of bytes. Some writers put it as a float; whole ones that a float holds exactly count.
struct TotalSize;

impl<'de> DeserializeSeed<'de> for TotalSize {
    type Value = Option<u64>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for TotalSize {
    type Value = Option<u64>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of bytes for `total_size`")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
        if value.fract() == 0.0 && (0.0..=EXACT).contains(&value) {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole and from 0 to 2^53"
            )]
            return Ok(Some(value as u64));
        }
        Err(E::invalid_value(de::Unexpected::Float(value), &self))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Err(E::invalid_type(de::Unexpected::Str(&shortened(value)), &self))
    }
}
