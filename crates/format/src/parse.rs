//! From the header's JSON to entries: one pass over borrowed text, no tree.
//!
//! Knows what the `safetensors` crate 0.8.0 accepts (`HashMetadata`, `TensorInfo` in its `tensor.rs`),
//! including what its derived readers take beyond the format's description. How a tensor's value is read is in
//! `tensor_value`; what the entries say about bytes is judged in `spans`.

use crate::faults::FaultList;
use crate::fields::{Found, StringReader};
use crate::header::{Defect, Note};
use crate::json::{Skip, Text, error_index, error_reason, shortened};
use crate::limits::Limits;
use crate::tensor_value::{Fields, TensorValue};
use quantscope_numeric::Dtype;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::collections::{HashMap, hash_map};
use std::fmt;

/// One entry of the header, as far as it was understood.
pub(crate) struct Entry<'de> {
    pub(crate) name: Cow<'de, str>,
    /// Type and dimensions; `None` if either is wrong, or over a limit.
    pub(crate) form: Option<(Dtype, Vec<u64>)>,
    /// `data_offsets`, counted from the start of the data; `None` if they are wrong.
    pub(crate) span: Option<(u64, u64)>,
}

/// Everything the JSON says, before spans are judged.
pub(crate) struct Entries<'de> {
    pub(crate) entries: Vec<Entry<'de>>,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) report: FaultList,
    /// Whether entries may be missing: broken syntax, a limit, or a tensor without usable offsets.
    pub(crate) incomplete: bool,
}

/// Reads the JSON of any header, the unusual ones included. Never fails: what cannot be understood is in the report.
pub(crate) fn judged_entries<'de>(json: &'de [u8], limits: &Limits) -> Entries<'de> {
    let mut reading = Reading {
        json,
        limits: *limits,
        entries: Vec::new(),
        index_by_name: HashMap::new(),
        metadata: Vec::new(),
        metadata_index: HashMap::new(),
        metadata_seen: false,
        metadata_count: 0,
        tensor_count: 0,
        report: FaultList::default(),
        incomplete: false,
        at: 8,
    };
    // Text up to the first byte that is not UTF-8 is read for the tensors it names.
    let (text, broken_utf8_at) = match std::str::from_utf8(json) {
        Ok(text) => (text, None),
        Err(error) => {
            let valid = json.get(..error.valid_up_to()).unwrap_or_default();
            (std::str::from_utf8(valid).unwrap_or_default(), Some(error.valid_up_to() as u64))
        }
    };
    if text.starts_with([' ', '\t', '\r', '\n']) {
        reading.report.note(Note::LeadingWhitespace);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let result = TopLevel(&mut reading).deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (broken_utf8_at, result) {
        (Some(at), _) => reading.unreadable("it is not UTF-8".to_owned(), at.saturating_add(8)),
        (None, Err(error)) => {
            let at = error_index(json, &error).saturating_add(8);
            reading.unreadable(error_reason(&error), at);
        }
        (None, Ok(())) => {}
    }
    reading.check_counts();
    let Reading { entries, metadata, report, incomplete, .. } = reading;
    Entries { entries, metadata, report, incomplete }
}

struct Reading<'de> {
    json: &'de [u8],
    limits: Limits,
    entries: Vec<Entry<'de>>,
    index_by_name: HashMap<Cow<'de, str>, usize>,
    metadata: Vec<(String, String)>,
    metadata_index: HashMap<String, usize>,
    metadata_seen: bool,
    metadata_count: u64,
    tensor_count: u64,
    report: FaultList,
    incomplete: bool,
    /// Byte of the file at which the entry in hand begins, as near as is known.
    at: u64,
}

impl<'de> Reading<'de> {
    fn unreadable(&mut self, reason: String, at: u64) {
        self.incomplete = true;
        self.report.defect(Defect::Unreadable { reason, at });
    }

    /// Levels of nesting left inside a structure that stands `depth` levels deep.
    fn levels(&self, depth: u64) -> u64 {
        self.limits.json_depth.saturating_sub(depth)
    }

    /// No shape is kept of which the length takes more than 16 bits, whatever the limit.
    fn most_dims(&self) -> u64 {
        self.limits.dims.min(u64::from(u16::MAX))
    }

    /// Remembers where a key stands. A key with escapes was copied and has no place of its own.
    fn locate(&mut self, key: &Text<'de>) {
        if let Text(Cow::Borrowed(text)) = key {
            let index = (text.as_ptr() as usize).saturating_sub(self.json.as_ptr() as usize);
            // 8 bytes of length come before the JSON, the quote before the name.
            self.at = (index as u64).saturating_add(7);
        }
    }

    fn check_counts(&mut self) {
        let counts = [
            ("number of tensors", self.tensor_count),
            ("number of __metadata__ entries", self.metadata_count),
        ];
        for (what, found) in counts {
            if found > self.limits.tensors {
                let limit = self.limits.tensors;
                self.incomplete = true;
                self.report.defect(Defect::OverLimit {
                    what: what.to_owned(),
                    name: "tensors",
                    limit,
                    found,
                });
            }
        }
    }

    fn tensor(&mut self, name: Cow<'de, str>, fields: Fields<'de>) {
        let name_len = name.len() as u64;
        // No name is kept of which the length takes more than 32 bits, whatever the limit.
        let longest = self.limits.name_bytes.min(u64::from(u32::MAX));
        let too_long = name_len > longest;
        // Made only for a message: most tensors need none.
        let shown = || if too_long { shortened(&name).into_owned() } else { name.clone().into_owned() };
        let at = self.at;
        let mut faults = fields.faults;
        // A value that is no object at all is one fault, not four.
        let judged = faults.is_empty();

        let dtype = take_field("dtype", fields.dtype, judged, &mut faults);
        let shape = take_field("shape", fields.shape, judged, &mut faults);
        let offsets = take_field("data_offsets", fields.offsets, judged, &mut faults);
        let span = offsets.and_then(|dims| match (dims.kept.as_slice(), dims.count) {
            (&[begin, end], 2) => Some((begin, end)),
            (_, count) => {
                faults.push(format!("`data_offsets` holds {count} numbers, two are needed"));
                None
            }
        });
        let mut form = None;
        if let (Some(tag), Some(shape)) = (&dtype, shape) {
            let known = Dtype::from_tag(&tag.text);
            let limit = self.most_dims();
            if shape.count > limit {
                let what = format!("number of dimensions of {}", shown());
                let found = shape.count;
                self.report.defect(Defect::OverLimit { what, name: "dims", limit, found });
            } else {
                form = known.map(|dtype| (dtype, shape.kept));
            }
        }
        if let Some(tag) = dtype {
            if Dtype::from_tag(&tag.text).is_none() {
                let dtype = shortened(&tag.text).into_owned();
                self.report.defect(Defect::UnknownDtype { tensor: shown(), dtype });
            }
            if tag.as_object {
                let what = "its dtype is an object with one key".to_owned();
                self.report.note(Note::UnusualForm { tensor: shown(), what });
            }
        }
        for fault in faults {
            self.incomplete |= span.is_none();
            self.report.defect(Defect::Unreadable { reason: format!("{}: {fault}", shown()), at });
        }
        for field in fields.unknown {
            self.report.note(Note::UnknownField { tensor: shown(), field });
        }
        if let Some(what) = fields.unusual {
            self.report.note(Note::UnusualForm { tensor: shown(), what });
        }
        if too_long {
            let what = format!("bytes of the name {}", shown());
            self.report.defect(Defect::OverLimit { what, name: "name", limit: longest, found: name_len });
            // Kept for its span only; two such names are not compared.
            self.entries.push(Entry { name: Cow::Owned(shown()), form: None, span });
            return;
        }
        if name.is_empty() {
            self.report.note(Note::EmptyName);
        } else if is_suspicious(&name) {
            self.report.note(Note::SuspiciousName(shown()));
        }
        let entry = Entry { name: name.clone(), form, span };
        match self.index_by_name.entry(name) {
            hash_map::Entry::Occupied(known) => {
                self.report.note(Note::DuplicateName(known.key().clone().into_owned()));
                if let Some(earlier) = self.entries.get_mut(*known.get()) {
                    *earlier = entry;
                }
            }
            hash_map::Entry::Vacant(free) => {
                free.insert(self.entries.len());
                self.entries.push(entry);
            }
        }
    }
}

fn take_field<T>(name: &str, field: Option<Found<T>>, judged: bool, faults: &mut Vec<String>) -> Option<T> {
    match field {
        Some(Ok(value)) => Some(value),
        Some(Err(found)) => {
            faults.push(format!("`{name}` is {found}"));
            None
        }
        None => {
            if judged {
                faults.push(format!("`{name}` is missing"));
            }
            None
        }
    }
}

/// Whether a name could mislead a terminal, a page, or a program that makes a path of it.
pub(crate) fn is_suspicious(name: &str) -> bool {
    let turns_text = |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    let drive = matches!(name.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    let odd_characters = if name.is_ascii() {
        name.bytes().any(|b| b.is_ascii_control())
    } else {
        name.chars().any(|c| c.is_control() || turns_text(c))
    };
    odd_characters
        || name.starts_with(['/', '\\'])
        || drive
        || (name.contains("..") && name.split(['/', '\\']).any(|segment| segment == ".."))
}

/// The outermost object.
struct TopLevel<'r, 'de>(&'r mut Reading<'de>);

impl<'de> DeserializeSeed<'de> for TopLevel<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TopLevel<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reading = self.0;
        while let Some(key) = map.next_key::<Text<'de>>()? {
            reading.locate(&key);
            let Text(key) = key;
            if key == "__metadata__" {
                if reading.metadata_seen {
                    let at = reading.at;
                    reading
                        .report
                        .defect(Defect::Unreadable { reason: "`__metadata__` stands twice".to_owned(), at });
                }
                reading.metadata_seen = true;
                map.next_value_seed(MetadataValue(reading))?;
                continue;
            }
            reading.tensor_count += 1;
            if reading.tensor_count > reading.limits.tensors {
                map.next_value_seed(Skip { levels: reading.levels(1) })?;
                continue;
            }
            let fields =
                map.next_value_seed(TensorValue { levels: reading.levels(1), dims: reading.most_dims() })?;
            reading.tensor(key, fields);
        }
        Ok(())
    }
}

/// The value of `__metadata__`.
struct MetadataValue<'r, 'de>(&'r mut Reading<'de>);

impl MetadataValue<'_, '_> {
    fn refuse(self, found: &str) {
        let at = self.0.at;
        let reason = format!("`__metadata__` is {found}, an object of strings is needed");
        self.0.report.defect(Defect::Unreadable { reason, at });
    }
}

impl<'de> DeserializeSeed<'de> for MetadataValue<'_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MetadataValue<'_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reading = self.0;
        let value_reader = StringReader { levels: reading.levels(2) };
        while let Some(key) = map.next_key::<Text<'de>>()? {
            reading.locate(&key);
            let Text(key) = key;
            let value = map.next_value_seed(value_reader)?;
            reading.metadata_count += 1;
            if reading.metadata_count > reading.limits.tensors {
                continue;
            }
            let value = match value {
                Ok(value) => value,
                Err(found) => {
                    let at = reading.at;
                    let reason = format!(
                        "`__metadata__` holds {found} under {:?}, a string is needed",
                        shortened(&key)
                    );
                    reading.report.defect(Defect::Unreadable { reason, at });
                    continue;
                }
            };
            let known = reading.metadata_index.get(key.as_ref()).copied();
            match known.and_then(|index| reading.metadata.get_mut(index)) {
                Some(entry) => {
                    entry.1 = value;
                    reading.report.note(Note::DuplicateMetadataKey(key.into_owned()));
                }
                None => {
                    reading.metadata_index.insert(key.clone().into_owned(), reading.metadata.len());
                    reading.metadata.push((key.into_owned(), value));
                }
            }
        }
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.report.note(Note::NullMetadata);
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        Skip { levels: self.0.levels(1) }.visit_seq(seq)?;
        self.refuse("an array");
        Ok(())
    }
    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.refuse(&value.to_string());
        Ok(())
    }
    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.refuse(&value.to_string());
        Ok(())
    }
    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.refuse(&value.to_string());
        Ok(())
    }
    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.refuse(&format!("{value:?}"));
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.refuse("a string");
        Ok(())
    }
}
