//! The header as every writer makes it, read in one glance: plain names, known fields, plain numbers, no faults.
//!
//! Whatever is not exactly so, down to an escape in a name or a hole between tensors, makes this reader give up, and
//! the whole header is read again by `parse` and judged by `spans`. So this file decides nothing: what it answers is
//! what they would.

use crate::faults::FaultList;
use crate::header::{Note, ShardHeader, TensorInfo};
use crate::limits::Limits;
use crate::order::Arrange as _;
use crate::plain_text::{digits, plain_len};
use quantscope_numeric::Dtype;

/// The deepest that this form is nested: header, tensor, list.
const DEPTH: u64 = 3;
/// Steps that looking for a name's twin may take; names made to collide take more.
const STEPS: usize = 64;
/// Metadata keys that are compared one by one.
const MOST_METADATA: usize = 64;
/// Dimensions of a tensor; with more it is unusual.
const FEW: usize = 8;
/// Bytes of JSON that an entry rarely falls short of: room for so many entries is made beforehand.
const ENTRY_BYTES: usize = 96;

/// Type, dimensions and place of a tensor.
type Value = (Dtype, Vec<u64>, (u64, u64));

/// Reads the JSON of a header, if it has the usual form and is sound.
pub(crate) fn quick_header(json: &[u8], file_len: u64, limits: &Limits) -> Option<ShardHeader> {
    if limits.json_depth <= DEPTH {
        return None;
    }
    let header_len = json.len() as u64;
    let data_start = header_len.saturating_add(8);
    let text = std::str::from_utf8(json).ok()?;
    let mut reader = Reader { text, at: 0 };
    let mut tensors: Vec<TensorInfo> = Vec::with_capacity(json.len() / ENTRY_BYTES);
    let mut tags: Vec<u32> = Vec::with_capacity(json.len() / ENTRY_BYTES);
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
            if name.len() as u64 > limits.name_bytes || tensors.len() as u64 >= limits.tensors {
                return None;
            }
            let (dtype, shape, (begin, end)) = reader.tensor(limits)?;
            let (begin, end) = (begin.checked_add(data_start)?, end.checked_add(data_start)?);
            tags.push(tag(name.as_bytes()));
            tensors.push(TensorInfo { name: name.to_owned(), dtype, shape, begin, end });
        }
        is_open = reader.goes_on(b'}')?;
    }
    let rest = json.get(reader.at..)?;
    if !rest.iter().all(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')) || !all_differ(&tensors, &tags) {
        return None;
    }
    let metadata = metadata.unwrap_or_default();
    if metadata.len() as u64 > limits.tensors {
        return None;
    }
    tensors.shrink_to_fit();
    if !tensors.is_sorted_by_key(|tensor| (tensor.begin, tensor.end)) {
        tensors.arrange_by_key(|tensor| (tensor.begin, tensor.end));
    }
    let notes = tiled(&tensors, data_start, file_len)?;
    Some(ShardHeader { tensors, metadata, header_len, file_len, defects: Vec::new(), notes })
}

/// What is odd about tensors that cover the data from its first byte to its last, each as long as its shape says;
/// `None` if they do not.
fn tiled(tensors: &[TensorInfo], data_start: u64, file_len: u64) -> Option<Vec<Note>> {
    let mut report = FaultList::default();
    let mut reached = data_start;
    for tensor in tensors {
        let byte_len = tensor.dtype.byte_len(tensor.elements()?)?;
        if tensor.begin != reached || tensor.end.checked_sub(tensor.begin) != Some(byte_len) {
            return None;
        }
        reached = tensor.end;
        let element_bytes = tensor.dtype.bits() / 8;
        if element_bytes > 1 && tensor.begin < tensor.end && !tensor.begin.is_multiple_of(element_bytes) {
            report.note(Note::Unaligned { tensor: tensor.name.clone(), begin: tensor.begin });
        }
    }
    let (_, notes) = report.finish();
    (reached == file_len).then_some(notes)
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
        let len = plain_len(rest);
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
        // Without an end before the end, so that it becomes vectors.
        let has_dots = bytes.windows(2).fold(false, |has, pair| has | (pair == b".."));
        (!is_path && !has_dots).then_some(name)
    }

    fn number(&mut self) -> Option<u64> {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        let rest = self.text.as_bytes().get(self.at..)?;
        let (number, count) = digits(rest)?;
        self.at += count;
        let has_leading_zero = count > 1 && rest.first() == Some(&b'0');
        (!has_leading_zero).then_some(number)
    }

    /// Few numbers, as a tensor has dimensions: their list is made once, as long as it has to be.
    fn list(&mut self, most: u64) -> Option<Vec<u64>> {
        self.expect(b'[')?;
        let mut few = [0; FEW];
        let mut count = 0;
        let mut is_open = !self.takes(b']');
        while is_open {
            if count as u64 >= most {
                return None;
            }
            *few.get_mut(count)? = self.number()?;
            count += 1;
            is_open = self.goes_on(b']')?;
        }
        few.get(..count).map(<[u64]>::to_vec)
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

/// Whether no two names are equal, as far as this can be told quickly. A tensor has the tag of the same place.
fn all_differ(tensors: &[TensorInfo], tags: &[u32]) -> bool {
    let bits = tensors.len().saturating_mul(2).max(2).next_power_of_two().trailing_zeros();
    let mut slots: Vec<u32> = vec![0; 1 << bits];
    let name = |place: usize| tensors.get(place).map(|tensor| tensor.name.as_str());
    for (number, &tag) in (1_u32..).zip(tags) {
        // The upper bits choose the slot, all of them are compared before the names are.
        let mut at = (tag >> 32_u32.saturating_sub(bits)) as usize;
        let mut steps = 0;
        loop {
            let Some(slot) = slots.get_mut(at) else { return false };
            if *slot == 0 {
                *slot = number;
                break;
            }
            let other = (*slot - 1) as usize;
            steps += 1;
            let is_same = tags.get(other) == Some(&tag) && name(other) == name((number - 1) as usize);
            if is_same || steps > STEPS {
                return false;
            }
            at = (at + 1) & (slots.len() - 1);
        }
    }
    true
}

/// A hash of a name, good enough for names that nobody made to collide.
fn tag(name: &[u8]) -> u32 {
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
    let [_, _, _, _, high @ ..] = (hash ^ (hash >> 29)).wrapping_mul(FACTOR).to_le_bytes();
    u32::from_le_bytes(high)
}

#[cfg(test)]
mod tests {
    use super::quick_header;
    use crate::header::ShardHeader;
    use crate::limits::Limits;
    use crate::spans::judged_header;

    /// What both readers say of a header before so many bytes of data; `None` where the quick one gives up.
    fn told(json: &str, data: u64) -> Option<[ShardHeader; 2]> {
        let limits = Limits::default();
        let file_len = json.len() as u64 + 8 + data;
        let quick = quick_header(json.as_bytes(), file_len, &limits)?;
        Some([quick, judged_header(json.as_bytes(), file_len, &limits)])
    }

    #[test]
    fn usual_headers_are_read_as_the_judge_reads_them() {
        let entry = |begin: u64| {
            format!(r#"{{"dtype":"BF16","shape":[2,3],"data_offsets":[{begin},{}]}}"#, begin + 12)
        };
        let [first, second] = [entry(0), entry(12)];
        for (json, data) in [
            ("{}".to_owned(), 0),
            ("{ }\n\t ".to_owned(), 0),
            (format!(r#"{{"a":{first}}}   "#), 12),
            (format!(r#"{{"b":{first},"a":{second}}}"#), 24),
            (format!(r#"{{"a":{second},"b":{first}}}"#), 24),
            (format!(r#"{{"__metadata__":{{"format":"pt","config":"{{\"a\":\u00e9}}"}},"a":{first}}}"#), 12),
            (r#"{"a": {"shape": [ ], "data_offsets": [0, 4], "dtype": "F32"}}"#.to_owned(), 4),
            (r#"{"a":{"dtype":"F4","shape":[0,3],"data_offsets":[0,0]}}"#.to_owned(), 0),
            // Data that begins at every remainder of eight: some of it is not aligned.
            (format!(r#"{{"ab":{first}}}"#), 12),
            (format!(r#"{{"abc":{first}}}"#), 12),
        ] {
            let [quick, judged] = told(&json, data).unwrap_or_else(|| panic!("given up: {json}"));
            assert_eq!(quick, judged, "{json}");
        }
    }

    #[test]
    fn whatever_is_unsound_is_left_to_the_judge() {
        let of = |form: &str| {
            format!(r#"{{"a":{{{form}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}}}"#)
        };
        let sound = of(r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#);
        assert!(told(&sound, 8).is_some());
        assert!(told(&sound, 7).is_none() && told(&sound, 9).is_none());
        for form in [
            r#""dtype":"F32","shape":[1],"data_offsets":[1,5]"#,
            r#""dtype":"F32","shape":[2],"data_offsets":[0,4]"#,
            r#""dtype":"F32","shape":[0],"data_offsets":[0,0]"#,
            r#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#,
            r#""dtype":"F32","shape":[1],"data_offsets":[8,4]"#,
            r#""dtype":"F4","shape":[7],"data_offsets":[0,4]"#,
            r#""dtype":"F4","shape":[18446744073709551615],"data_offsets":[0,4]"#,
            r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[5,2]"#,
            r#""dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]"#,
        ] {
            assert!(told(&of(form), 8).is_none(), "taken: {form}");
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
                r#"{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}"#,
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
            assert!([0, 4, 8, 12, 24].iter().all(|data| told(&json, *data).is_none()), "taken: {json}");
        }
        assert!(quick_header(b"{\"\xff\":1}", 15, &Limits::default()).is_none());
    }

    #[test]
    fn limits_are_left_to_the_judge() {
        let entry = r#"{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}"#;
        let second = entry.replace("[0,12]", "[12,24]");
        let json = format!(r#"{{"ab":{entry},"cd":{second}}}"#);
        let within = |set: fn(&mut Limits)| {
            let mut limits = Limits::default();
            set(&mut limits);
            quick_header(json.as_bytes(), json.len() as u64 + 32, &limits).is_some()
        };
        assert!(within(|_| {}));
        assert!(within(|limits| (limits.tensors, limits.name_bytes, limits.dims) = (2, 2, 2)));
        assert!(!within(|limits| limits.tensors = 1));
        assert!(!within(|limits| limits.name_bytes = 1));
        assert!(!within(|limits| limits.dims = 1));
        assert!(!within(|limits| limits.json_depth = 3));
    }
}
