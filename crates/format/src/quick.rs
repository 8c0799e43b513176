//! The header as every writer makes it, read in one glance: plain names, known fields, plain numbers, no faults.
//!
//! Whatever is not exactly so, down to an escape in a name, makes this reader give up, and the whole header is read
//! again by `parse`, which judges. So this file decides nothing: what it answers is what `parse` would.

use crate::faults::FaultList;
use crate::limits::Limits;
use crate::parse::{Entries, Entry};
use quantscope_numeric::Dtype;
use std::borrow::Cow;

/// The deepest that this form is nested: header, tensor, list.
const DEPTH: u64 = 3;
/// Steps that looking for a name's twin may take; names made to collide take more.
const STEPS: usize = 64;
/// Metadata keys that are compared one by one.
const MOST_METADATA: usize = 64;

/// Type, dimensions and place of a tensor.
type Value = (Dtype, Vec<u64>, (u64, u64));

/// Reads the JSON of a header, if it has the usual form.
pub(crate) fn quick_entries<'de>(json: &'de [u8], limits: &Limits) -> Option<Entries<'de>> {
    if limits.json_depth <= DEPTH {
        return None;
    }
    let text = std::str::from_utf8(json).ok()?;
    let mut reader = Reader { text, at: 0 };
    let mut entries: Vec<Entry<'de>> = Vec::new();
    let mut metadata = None;
    if json.first() != Some(&b'{') {
        return None;
    }
    reader.at = 1;
    let mut is_open = !reader.takes(b'}');
    while is_open {
        let name = reader.name()?;
        reader.expect(b':')?;
        if name == "__metadata__" {
            let found = reader.metadata()?;
            if metadata.replace(found).is_some() {
                return None;
            }
        } else {
            if name.len() as u64 > limits.name_bytes || entries.len() as u64 >= limits.tensors {
                return None;
            }
            let (dtype, shape, span) = reader.tensor(limits)?;
            entries.push(Entry { name: Cow::Borrowed(name), form: Some((dtype, shape)), span: Some(span) });
        }
        is_open = reader.goes_on(b'}')?;
    }
    let rest = json.get(reader.at..)?;
    if !rest.iter().all(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) || !all_differ(&entries) {
        return None;
    }
    let metadata = metadata.unwrap_or_default();
    if metadata.len() as u64 > limits.tensors {
        return None;
    }
    Some(Entries { entries, metadata, report: FaultList::default(), incomplete: false })
}

/// A place in the text.
struct Reader<'de> {
    text: &'de str,
    at: usize,
}

impl<'de> Reader<'de> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no blank, which is passed over if it is this one.
    fn takes(&mut self, byte: u8) -> bool {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.takes(byte).then_some(())
    }

    /// Passes a comma, or the end of a list; whether it goes on.
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        if self.takes(b',') { Some(true) } else { self.expect(end).map(|()| false) }
    }

    /// A string of printing ASCII without escapes.
    fn string(&mut self) -> Option<&'de str> {
        self.expect(b'"')?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let len = rest.iter().position(|&byte| !matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~'))?;
        if rest.get(len) != Some(&b'"') {
            return None;
        }
        let begin = self.at;
        self.at = begin + len + 1;
        self.text.get(begin..begin + len)
    }

    /// A name that nobody has to look at twice: not empty, no path.
    fn name(&mut self) -> Option<&'de str> {
        let name = self.string()?;
        let bytes = name.as_bytes();
        let is_path = matches!(bytes, [] | [b'/' | b'\\', ..] | [_, b':', ..]);
        let has_dots = bytes.windows(2).any(|pair| pair == b"..");
        (!is_path && !has_dots).then_some(name)
    }

    fn number(&mut self) -> Option<u64> {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        let first = self.at;
        let mut number = 0_u64;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        let digits = self.at - first;
        let has_leading_zero = digits > 1 && self.text.as_bytes().get(first) == Some(&b'0');
        (digits > 0 && !has_leading_zero).then_some(number)
    }

    fn list(&mut self, most: u64) -> Option<Vec<u64>> {
        self.expect(b'[')?;
        let mut numbers = Vec::new();
        let mut is_open = !self.takes(b']');
        while is_open {
            if numbers.len() as u64 >= most {
                return None;
            }
            numbers.push(self.number()?);
            is_open = self.goes_on(b']')?;
        }
        // Kept as it is for every tensor, of which there may be millions.
        numbers.shrink_to_fit();
        Some(numbers)
    }

    fn pair(&mut self) -> Option<(u64, u64)> {
        self.expect(b'[')?;
        let begin = self.number()?;
        self.expect(b',')?;
        let end = self.number()?;
        self.expect(b']')?;
        Some((begin, end))
    }

    fn tensor(&mut self, limits: &Limits) -> Option<Value> {
        let (mut dtype, mut shape, mut span) = (None, None, None);
        self.expect(b'{')?;
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            let is_new = match key {
                "dtype" => dtype.replace(Dtype::from_tag(self.string()?)?).is_none(),
                "shape" => shape.replace(self.list(limits.dims)?).is_none(),
                "data_offsets" => span.replace(self.pair()?).is_none(),
                _ => false,
            };
            if !is_new {
                return None;
            }
            if !self.goes_on(b'}')? {
                return Some((dtype?, shape?, span?));
            }
        }
    }

    /// Keys and values; a value may hold escapes, which configs in JSON do.
    fn metadata(&mut self) -> Option<Vec<(String, String)>> {
        self.expect(b'{')?;
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut is_open = !self.takes(b'}');
        while is_open {
            let key = self.string()?;
            self.expect(b':')?;
            let value = self.escaped()?;
            if pairs.len() >= MOST_METADATA || pairs.iter().any(|(known, _)| known == key) {
                return None;
            }
            pairs.push((key.to_owned(), value));
            is_open = self.goes_on(b'}')?;
        }
        Some(pairs)
    }

    /// A string whose escapes are read as everywhere else.
    fn escaped(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let mut len = 0;
        while *rest.get(len)? != b'"' {
            len += if rest.get(len) == Some(&b'\\') { 2 } else { 1 };
        }
        let whole = self.text.get(self.at - 1..self.at + len + 1)?;
        self.at += len + 1;
        serde_json::from_str(whole).ok()
    }
}

/// Whether no two names are equal, as far as this can be told quickly.
fn all_differ(entries: &[Entry<'_>]) -> bool {
    let size = entries.len().saturating_mul(2).max(2).next_power_of_two();
    let mut slots: Vec<u32> = vec![0; size];
    for (number, entry) in (1_u32..).zip(entries) {
        let name = entry.name.as_ref();
        let mut at = hash(name.as_bytes()) & (size - 1);
        let mut steps = 0;
        loop {
            let Some(slot) = slots.get_mut(at) else { return false };
            if *slot == 0 {
                *slot = number;
                break;
            }
            let other = entries.get((*slot - 1) as usize).map(|entry| entry.name.as_ref());
            steps += 1;
            if other == Some(name) || steps > STEPS {
                return false;
            }
            at = (at + 1) & (size - 1);
        }
    }
    true
}

/// A hash of a name, good enough for names that nobody made to collide.
fn hash(name: &[u8]) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = name.as_chunks::<8>();
    let mut last = [0; 8];
    for (into, byte) in last.iter_mut().zip(rest) {
        *into = *byte;
    }
    let mut hash = name.len() as u64;
    for word in words.iter().chain(std::iter::once(&last)) {
        hash = (hash.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    usize::try_from((hash ^ (hash >> 29)).wrapping_mul(FACTOR) >> 33).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::quick_entries;
    use crate::limits::Limits;
    use crate::parse::judged_entries;

    /// What both readers say of a header; `None` where the quick one gives up.
    fn told(json: &str) -> Option<[String; 2]> {
        let limits = Limits::default();
        let quick = quick_entries(json.as_bytes(), &limits)?;
        let judged = judged_entries(json.as_bytes(), &limits);
        Some([quick, judged].map(|entries| {
            let list: Vec<_> = entries.entries.iter().map(|e| (&e.name, &e.form, &e.span)).collect();
            let faults = entries.report.finish();
            format!("{list:?} {:?} {faults:?} {}", entries.metadata, entries.incomplete)
        }))
    }

    #[test]
    fn usual_headers_are_read_as_the_judge_reads_them() {
        let entry = r#"{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}"#;
        for json in [
            "{}".to_owned(),
            "{ }\n\t ".to_owned(),
            format!(r#"{{"a":{entry}}}   "#),
            format!(
                r#"{{"__metadata__":{{"format":"pt","config":"{{\"a\":\u00e9}}"}},"a":{entry},"b":{entry}}}"#
            ),
            r#"{"a": {"shape": [ ], "data_offsets": [0, 4], "dtype": "F32"}}"#.to_owned(),
            r#"{"a":{"dtype":"F4","shape":[18446744073709551615],"data_offsets":[5,2]}}"#.to_owned(),
        ] {
            let [quick, judged] = told(&json).unwrap_or_else(|| panic!("given up: {json}"));
            assert_eq!(quick, judged, "{json}");
        }
    }

    #[test]
    fn whatever_is_unusual_is_left_to_the_judge() {
        let entry = r#"{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}"#;
        let with = |name: &str| format!(r#"{{"{name}":{entry}}}"#);
        let of = |value: &str| format!(r#"{{"a":{value}}}"#);
        let mut unusual: Vec<String> =
            ["", "/a", "\\\\a", "C:a", "a..b", "é", "\\n", "\u{7f}"].map(with).into();
        unusual.extend(
            [
                r#"{"dtype":"F33","shape":[],"data_offsets":[0,4]}"#,
                r#"{"dtype":"F32","shape":[01],"data_offsets":[0,4]}"#,
                r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#,
                r#"{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}"#,
                r#"{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}"#,
                r#"{"dtype":"F32","shape":[1],"data_offsets":[0]}"#,
                r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}"#,
                r#"{"dtype":"F32","shape":[1]}"#,
                r#"{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}"#,
                r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}"#,
                r#"{"dtype":"F32","shape":[1,],"data_offsets":[0,4]}"#,
                "{}",
                "1",
            ]
            .map(of),
        );
        unusual.extend(
            [
                "",
                "{",
                "[]",
                " {}",
                "{},",
                r#"{"__metadata__":{"a":1}}"#,
                r#"{"__metadata__":{"a":"b","a":"c"}}"#,
                r#"{"__metadata__":{},"__metadata__":{}}"#,
                r#"{"__metadata__":{"a":"\q"}}"#,
            ]
            .map(str::to_owned),
        );
        unusual.push(format!(r#"{{"a":{entry},"a":{entry}}}"#));
        unusual.push(format!(r#"{{"a":{entry},}}"#));
        for json in unusual {
            assert!(quick_entries(json.as_bytes(), &Limits::default()).is_none(), "taken: {json}");
        }
        assert!(quick_entries(b"{\"\xff\":1}", &Limits::default()).is_none());
    }

    #[test]
    fn limits_are_left_to_the_judge() {
        let entry = r#"{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}"#;
        let json = format!(r#"{{"ab":{entry},"cd":{entry}}}"#);
        let within = |set: fn(&mut Limits)| {
            let mut limits = Limits::default();
            set(&mut limits);
            quick_entries(json.as_bytes(), &limits).is_some()
        };
        assert!(within(|_| {}));
        assert!(within(|limits| (limits.tensors, limits.name_bytes, limits.dims) = (2, 2, 2)));
        assert!(!within(|limits| limits.tensors = 1));
        assert!(!within(|limits| limits.name_bytes = 1));
        assert!(!within(|limits| limits.dims = 1));
        assert!(!within(|limits| limits.json_depth = 3));
    }
}
