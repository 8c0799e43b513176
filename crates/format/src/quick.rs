//! The header as every writer makes it, read in one glance: plain names, known fields, plain numbers, no faults.
//!
//! Whatever is not spelled exactly so, down to an escape in a name, makes this reader give up, and the whole header is
//! read by `parse`; what is spelled so but leaves a hole between tensors is judged by `spans`. So this file decides
//! nothing: what it answers is what they would.

use crate::faults::FaultList;
use crate::header::{Note, ShardHeader};
use crate::limits::Limits;
use crate::parse::{Entries, Entry};
use crate::place::Place;
use crate::spans::judge;
use crate::tensors::{TensorInfo, Tensors};

/// The deepest that this form is nested: header, tensor, list.
const DEPTH: u64 = 3;
/// Steps that looking for a name's twin may take; names made to collide take more.
const STEPS: usize = 64;
/// Dimensions of a tensor; with more it is unusual.
const FEW: usize = 8;
/// Bytes of JSON that an entry rarely falls short of, and what part of them its name rarely exceeds: room for so much
/// is made beforehand.
const ENTRY_BYTES: u64 = 96;
const NAME_SHARE: u64 = 2;
/// Bytes of JSON for which room is made at most before they have come.
const ROOM_BYTES: u64 = 16 << 20;

/// Reads the JSON of a header, if it has the usual form.
pub(crate) fn quick_header(json: &[u8], file_len: u64, limits: &Limits) -> Option<ShardHeader> {
    let mut reader = QuickReader::new(json.len() as u64, limits);
    (reader.read(json) == json.len()).then_some(())?;
    reader.finish(json.len() as u64, file_len)
}

/// Where in the JSON reading stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the outermost brace.
    Start,
    /// Behind it: an entry or the end.
    First,
    /// Behind a comma: an entry.
    Next,
    /// Behind the last brace.
    End,
}

/// Reads the JSON of a header piece by piece.
pub(crate) struct QuickReader {
    limits: Limits,
    data_start: u64,
    state: State,
    tensors: Tensors,
    /// Of each tensor, by which its name is found among many.
    tags: Vec<u32>,
    metadata: Option<Vec<(String, String)>>,
}

impl QuickReader {
    /// For a header of so many bytes.
    pub(crate) fn new(header_len: u64, limits: &Limits) -> Self {
        let room = |bytes: u64| usize::try_from(header_len.min(ROOM_BYTES) / bytes).unwrap_or(0);
        Self {
            limits: *limits,
            data_start: header_len.saturating_add(8),
            state: State::Start,
            tensors: Tensors::with_room(room(ENTRY_BYTES), room(NAME_SHARE)),
            tags: Vec::with_capacity(room(ENTRY_BYTES)),
            metadata: None,
        }
    }

    /// Reads what comes next, as far as it is whole and of the usual form: how many bytes that were. The rest has to
    /// come again, with more behind it.
    pub(crate) fn read(&mut self, text: &[u8]) -> usize {
        let mut place = Place { text, at: 0 };
        let mut done = 0;
        while done < text.len() && self.step(&mut place).is_some() {
            done = place.at;
        }
        done
    }

    /// One entry, or the beginning or the end.
    fn step(&mut self, place: &mut Place<'_>) -> Option<()> {
        match self.state {
            State::Start => {
                // White space before it is unusual.
                (place.peek() == Some(b'{') && self.limits.json_depth > DEPTH).then_some(())?;
                place.at += 1;
                self.state = State::First;
            }
            State::First if place.takes(b'}') => self.state = State::End,
            State::First | State::Next => self.entry(place)?,
            State::End => {
                matches!(place.peek()?, b' ' | b'\n' | b'\r' | b'\t').then_some(())?;
                place.at += 1;
            }
        }
        Some(())
    }

    fn entry(&mut self, place: &mut Place<'_>) -> Option<()> {
        let limits = &self.limits;
        let name = place.name()?;
        place.expect(b':')?;
        if name == "__metadata__" {
            let found = place.metadata()?;
            let goes_on = place.goes_on(b'}')?;
            if found.len() as u64 > limits.tensors || self.metadata.is_some() {
                return None;
            }
            self.metadata = Some(found);
            self.state = if goes_on { State::Next } else { State::End };
            return Some(());
        }
        if name.len() as u64 > limits.name_bytes || self.tensors.len() as u64 >= limits.tensors {
            return None;
        }
        let mut dims = [0; FEW];
        let (dtype, rank, (begin, end)) = place.tensor(limits, &mut dims)?;
        let goes_on = place.goes_on(b'}')?;
        let (begin, end) = (begin.checked_add(self.data_start)?, end.checked_add(self.data_start)?);
        self.tensors.push(TensorInfo { name, dtype, shape: dims.get(..rank)?, begin, end }).then_some(())?;
        self.tags.push(tag(name.as_bytes()));
        self.state = if goes_on { State::Next } else { State::End };
        Some(())
    }

    /// The header of so many bytes, if all of them were read.
    pub(crate) fn finish(self, header_len: u64, file_len: u64) -> Option<ShardHeader> {
        let Self { state, mut tensors, tags, metadata, data_start, .. } = self;
        if state != State::End || !all_differ(&tensors, &tags) {
            return None;
        }
        drop(tags);
        tensors.shrink();
        tensors.sort();
        let metadata = metadata.unwrap_or_default();
        Some(match tiled(&tensors, data_start, file_len) {
            Some(notes) => {
                ShardHeader { tensors, metadata, header_len, file_len, defects: Vec::new(), notes }
            }
            None => judge(entries(&tensors, metadata, data_start), header_len, file_len),
        })
    }
}

/// What the judge is given of tensors whose entries have no fault in themselves.
fn entries<'t>(tensors: &'t Tensors, metadata: Vec<(String, String)>, data_start: u64) -> Entries<'t> {
    let from_data = |at: u64| at.saturating_sub(data_start);
    let entry = |tensor: TensorInfo<'t>| Entry {
        name: tensor.name.into(),
        form: Some((tensor.dtype, tensor.shape.to_vec())),
        span: Some((from_data(tensor.begin), from_data(tensor.end))),
    };
    let entries = tensors.iter().map(entry).collect();
    Entries { entries, metadata, report: FaultList::default(), incomplete: false }
}

/// What is odd about tensors that cover the data from its first byte to its last, each as long as its shape says;
/// `None` if they do not.
fn tiled(tensors: &Tensors, data_start: u64, file_len: u64) -> Option<Vec<Note>> {
    let mut report = FaultList::default();
    let mut reached = data_start;
    for tensor in tensors.iter() {
        let byte_len = tensor.dtype.byte_len(tensor.elements()?)?;
        if tensor.begin != reached || tensor.end.checked_sub(tensor.begin) != Some(byte_len) {
            return None;
        }
        reached = tensor.end;
        let element_bytes = tensor.dtype.bits() / 8;
        if element_bytes > 1 && tensor.begin < tensor.end && !tensor.begin.is_multiple_of(element_bytes) {
            report.note(Note::Unaligned { tensor: tensor.name.to_owned(), begin: tensor.begin });
        }
    }
    let (_, notes) = report.finish();
    (reached == file_len).then_some(notes)
}

/// Whether no two names are equal, as far as this can be told quickly. A tensor has the tag of the same place.
fn all_differ(tensors: &Tensors, tags: &[u32]) -> bool {
    let bits = tensors.len().saturating_mul(2).max(2).next_power_of_two().trailing_zeros();
    let mut slots: Vec<u32> = vec![0; 1 << bits];
    let name = |place: usize| tensors.get(place).map(|tensor| tensor.name);
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
    use super::{QuickReader, quick_header};
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

    /// Cut anywhere, and what was not understood given again with the rest.
    #[test]
    fn pieces_are_read_as_the_whole_is() {
        let entry = r#"{ "dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}"#;
        let spaced = entry.replace("[0,12]", "[ 12, 24 ]");
        let json = format!(r#"{{"__metadata__":{{"a":"\"é"}},"a.b":{entry},"c" :{spaced}}}  "#);
        let [whole, judged] = told(&json, 24).unwrap();
        assert_eq!(whole, judged);
        let (json, len) = (json.as_bytes(), json.len() as u64);
        for cut in 0..json.len() {
            let mut reader = QuickReader::new(len, &Limits::default());
            let understood = reader.read(&json[..cut]);
            assert!(understood <= cut);
            assert_eq!(understood + reader.read(&json[understood..]), json.len(), "cut at {cut}");
            assert_eq!(reader.finish(len, len + 32).as_ref(), Some(&whole), "cut at {cut}");
        }
    }

    #[test]
    fn whatever_is_unsound_is_judged() {
        let of = |form: &str| {
            format!(r#"{{"a":{{{form}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}}}"#)
        };
        let judged = |json: &str, data: u64| {
            let [quick, judged] = told(json, data).unwrap_or_else(|| panic!("given up: {json}"));
            assert_eq!(quick, judged, "{json}");
            !judged.is_sound()
        };
        let sound = of(r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#);
        assert_eq!([8, 7, 9].map(|data| judged(&sound, data)), [false, true, true]);
        for form in [
            r#""dtype":"F32","shape":[1],"data_offsets":[1,5]"#,
            r#""dtype":"F32","shape":[2],"data_offsets":[0,4]"#,
            r#""dtype":"F32","shape":[0],"data_offsets":[0,0]"#,
            r#""dtype":"F32","shape":[1],"data_offsets":[4,8]"#,
            r#""dtype":"F32","shape":[1],"data_offsets":[8,4]"#,
            r#""dtype":"F4","shape":[7],"data_offsets":[0,4]"#,
            r#""dtype":"F4","shape":[18446744073709551615],"data_offsets":[0,4]"#,
            r#""dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[5,2]"#,
        ] {
            assert!(judged(&of(form), 8), "sound: {form}");
        }
        // A place beyond what 64 bits can count is left to the other reader.
        let far =
            of(r#""dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]"#);
        assert!(told(&far, 8).is_none());
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
