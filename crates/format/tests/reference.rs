//! Our header reader against the `safetensors` crate: golden files and hand-made hostile headers. What is accepted and
//! what is read must be equal; `common::FORGIVEN` lists what may differ.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{compare, difference, file_of, golden, ours};
use quantscope_format::{Defect, Note, ShardHeader, TensorInfo};

#[test]
fn golden_files_are_read_as_the_reference_reads_them() {
    let files = golden(".safetensors");
    assert!(files.len() > 100, "the golden files are missing: {} found", files.len());
    for path in files {
        let header = compare(&std::fs::read(&path).unwrap(), &path.display().to_string());
        assert!(header.is_sound(), "{}: {:?}", path.display(), header.defects);
        assert!(header.tensors.iter().all(|t| header.is_readable(t)), "{}", path.display());
        // MLX ends its header where it ends; all other writers pad it to eight bytes.
        let is_mlx = path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("mlx_"));
        let odd = header.notes.iter().find(|note| !(is_mlx && matches!(note, Note::Unaligned { .. })));
        assert!(odd.is_none(), "{}: {odd:?}", path.display());
    }
}

/// The comparison must be able to fail: one wrong answer of each kind is caught.
#[test]
fn the_comparison_sees_differences() {
    let file =
        file_of(br#"{"__metadata__":{"a":"b"},"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}"#, 3);
    let header = ours(&file);
    assert_eq!(difference(&file, &header), None);
    let changed = |change: fn(&mut ShardHeader)| {
        let mut header = header.clone();
        change(&mut header);
        difference(&file, &header)
    };
    assert!(changed(|h| h.defects.push(Defect::Trailing { extra: 1 })).is_some());
    let tensor = header.tensors.get(0).unwrap();
    for list in [
        vec![TensorInfo { shape: &[4], ..tensor }],
        vec![TensorInfo { end: tensor.end + 1, ..tensor }],
        vec![TensorInfo { name: "tx", ..tensor }],
        vec![TensorInfo { dtype: quantscope_numeric::Dtype::I8, ..tensor }],
        vec![tensor, tensor],
    ] {
        let tensors = list.into_iter().collect();
        assert!(difference(&file, &ShardHeader { tensors, ..header.clone() }).is_some());
    }
    assert!(changed(|h| h.metadata.clear()).is_some());
    let refused = file_of(b"{", 0);
    assert!(difference(&refused, &header).is_some());
}

/// What a hand-made header must give.
enum Want {
    /// The reference takes it, and so do we, without a word.
    Clean,
    /// The reference takes it; we note this.
    Note(Note),
    /// Refused, and the first defect of ours reads so.
    Refused(&'static str),
}
use Want::{Clean, Note as Noted, Refused};

fn note_name(note: fn(String) -> Note, name: &str) -> Want {
    Noted(note(name.to_owned()))
}

/// One tensor `t` of these fields, and one byte of data.
fn with(fields: &str) -> String {
    format!(r#"{{"t":{{{fields}}}}}"#)
}

/// One U8 tensor of one byte under this (already escaped) name.
fn named(name: &str) -> String {
    format!(r#"{{"{name}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#)
}

const MAX: &str = "18446744073709551615";

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn hostile_headers() {
    let ok = r#""dtype":"U8","shape":[1],"data_offsets":[0,1]"#;
    let deep = |levels: usize| with(&format!("{ok},\"x\":{}{}", "[".repeat(levels), "]".repeat(levels)));
    let zero_first = with(&format!(r#""dtype":"F32","shape":[0,{MAX},{MAX}],"data_offsets":[0,0]"#));
    let zero_last = with(&format!(r#""dtype":"F32","shape":[{MAX},{MAX},0],"data_offsets":[0,0]"#));
    let two = |a: &str, b: &str| format!(r#"{{"a":{{"dtype":"U8",{a}}},"b":{{"dtype":"U8",{b}}}}}"#);
    let unknown = |field: &str| Noted(Note::UnknownField { tensor: "t".to_owned(), field: field.to_owned() });
    let unusual = |what: &str| Noted(Note::UnusualForm { tensor: "t".to_owned(), what: what.to_owned() });
    #[rustfmt::skip]
    let rows: Vec<(&str, String, usize, Want)> = vec![
        // Let through by the reference.
        ("plain", with(ok), 1, Clean),
        ("nothing", "{}".into(), 0, Clean),
        ("only metadata", r#"{"__metadata__":{"format":"pt"}}"#.into(), 0, Clean),
        ("empty metadata", r#"{"__metadata__":{}}"#.into(), 0, Clean),
        ("trailing spaces", "{}   \n".into(), 0, Clean),
        ("leading space", " {}".into(), 0, Noted(Note::LeadingWhitespace)),
        ("leading newline", "\n{}".into(), 0, Noted(Note::LeadingWhitespace)),
        ("null metadata", r#"{"__metadata__":null}"#.into(), 0, Noted(Note::NullMetadata)),
        ("duplicate name", format!(r#"{{"t":{{{ok}}},"t":{{{ok}}}}}"#), 1, note_name(Note::DuplicateName, "t")),
        ("duplicate name of another dtype", format!(r#"{{"t":{{{ok}}},"t":{{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}}}"#), 1, note_name(Note::DuplicateName, "t")),
        ("duplicate name, escaped once", format!(r#"{{"t":{{{ok}}},"\u0074":{{{ok}}}}}"#), 1, note_name(Note::DuplicateName, "t")),
        ("duplicate name, the first does not tile", format!(r#"{{"t":{{"dtype":"U8","shape":[9],"data_offsets":[5,14]}},"t":{{{ok}}}}}"#), 1, note_name(Note::DuplicateName, "t")),
        ("duplicate metadata key", r#"{"__metadata__":{"k":"1","k":"2"}}"#.into(), 0, note_name(Note::DuplicateMetadataKey, "k")),
        ("unknown field", with(&format!(r#"{ok},"x":1"#)), 1, unknown("x")),
        ("unknown field, nested", with(&format!(r#"{ok},"x":{{"y":[1,{{}}]}}"#)), 1, unknown("x")),
        ("empty name", named(""), 1, Noted(Note::EmptyName)),
        ("parent folder", named("../x"), 1, note_name(Note::SuspiciousName, "../x")),
        ("parent folder, backslash", named(r"a\\..\\x"), 1, note_name(Note::SuspiciousName, r"a\..\x")),
        ("absolute path", named("/etc/passwd"), 1, note_name(Note::SuspiciousName, "/etc/passwd")),
        ("drive", named("C:/x"), 1, note_name(Note::SuspiciousName, "C:/x")),
        ("NUL", named(r"a\u0000b"), 1, note_name(Note::SuspiciousName, "a\0b")),
        ("newline", named(r"a\nb"), 1, note_name(Note::SuspiciousName, "a\nb")),
        ("text turned around", named("a\u{202E}b"), 1, note_name(Note::SuspiciousName, "a\u{202E}b")),
        ("two dots inside a name", named("a..b"), 1, Clean),
        ("slash inside a name", named("a/b"), 1, Clean),
        ("not ASCII", named("größe.重み"), 1, Clean),
        ("overflow after a zero", zero_first, 0, Clean),
        ("scalar", with(r#""dtype":"F32","shape":[],"data_offsets":[0,4]"#), 4, Clean),
        ("empty tensors at one place", two(r#""shape":[0],"data_offsets":[0,0]"#, r#""shape":[0],"data_offsets":[0,0]"#), 0, Clean),
        ("two nibbles", with(r#""dtype":"F4","shape":[2],"data_offsets":[0,1]"#), 1, Clean),
        ("four of six bits", with(r#""dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]"#), 3, Clean),
        ("in any order", two(r#""shape":[1],"data_offsets":[1,2]"#, r#""shape":[1],"data_offsets":[0,1]"#), 2, Clean),
        ("not aligned", with(r#""dtype":"F32","shape":[1],"data_offsets":[0,4]"#), 4, Noted(Note::Unaligned { tensor: "t".to_owned(), begin: 62 })),
        ("a tensor as an array", r#"{"t":["U8",[1],[0,1]]}"#.into(), 1, unusual("it is an array in place of an object")),
        ("a dtype as an object", with(r#""dtype":{"U8":null},"shape":[1],"data_offsets":[0,1]"#), 1, unusual("its dtype is an object with one key")),
        ("as deep as the parser goes", deep(125), 1, unknown("x")),
        // Refused by the reference: the JSON.
        ("empty header", String::new(), 0, Refused("the header cannot be read: EOF while parsing a value (byte 8)")),
        ("not JSON", "PK\u{3}\u{4}".into(), 0, Refused("the header cannot be read: expected value (byte 8)")),
        ("an array", "[]".into(), 0, Refused("the header cannot be read: invalid type: sequence, expected an object of tensors (byte 8)")),
        ("a string", r#""x""#.into(), 0, Refused("the header cannot be read: invalid type: string \"x\", expected an object of tensors (byte 10)")),
        ("byte order mark", "\u{feff}{}".into(), 0, Refused("the header cannot be read: expected value (byte 8)")),
        ("cut", r#"{"t":{"dtype":"U8""#.into(), 0, Refused("the header cannot be read: EOF while parsing an object (byte 26)")),
        ("two values", "{}{}".into(), 0, Refused("the header cannot be read: trailing characters (byte 10)")),
        ("NUL behind", "{}\0".into(), 0, Refused("the header cannot be read: trailing characters (byte 10)")),
        ("trailing comma", format!("{{\"t\":{{{ok}}},}}"), 1, Refused("the header cannot be read: trailing comma (byte 61)")),
        ("comment", "{}//".into(), 0, Refused("the header cannot be read: trailing characters (byte 10)")),
        ("on the second line", "{\n  x}".into(), 0, Refused("the header cannot be read: key must be a string (byte 12)")),
        ("lone surrogate", named(r"\ud800"), 1, Refused("the header cannot be read: unexpected end of hex escape (byte 16)")),
        ("lone surrogate in a field nobody reads", with(&format!(r#"{ok},"x":"\ud800""#)), 1, Refused("the header cannot be read: unexpected end of hex escape (byte 71)")),
        ("control character in a name", named("a\u{1}b"), 1, Refused("the header cannot be read: control character (\\u0000-\\u001F) found while parsing a string (byte 11)")),
        ("a number out of range in a field nobody reads", with(&format!(r#"{ok},"x":1e999"#)), 1, Refused("the header cannot be read: number out of range (byte 68)")),
        ("too deep", deep(126), 1, Refused("the header cannot be read: recursion limit exceeded (byte 189)")),
        ("far too deep", deep(100_000), 1, Refused("the header cannot be read: recursion limit exceeded (byte 189)")),
        // Refused: the form of one tensor.
        ("unknown dtype", with(r#""dtype":"F7","shape":[1],"data_offsets":[0,1]"#), 1, Refused("t has the unknown dtype \"F7\"")),
        ("dtype in small letters", with(r#""dtype":"u8","shape":[1],"data_offsets":[0,1]"#), 1, Refused("t has the unknown dtype \"u8\"")),
        ("dtype null", with(r#""dtype":null,"shape":[1],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `dtype` is null (byte 9)")),
        ("dtype a number", with(r#""dtype":3,"shape":[1],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `dtype` is 3 (byte 9)")),
        ("dtype an object of two", with(r#""dtype":{"U8":null,"I8":null},"shape":[1],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `dtype` is an object of 2 entries (byte 9)")),
        ("dtype an object that holds something", with(r#""dtype":{"U8":1},"shape":[1],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `dtype` is an object that holds 1 (byte 9)")),
        ("no dtype", with(r#""shape":[1],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `dtype` is missing (byte 9)")),
        ("no shape", with(r#""dtype":"U8","data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `shape` is missing (byte 9)")),
        ("no offsets", with(r#""dtype":"U8","shape":[1]"#), 1, Refused("the header cannot be read: t: `data_offsets` is missing (byte 9)")),
        ("dtype twice", with(&format!(r#"{ok},"dtype":"U8""#)), 1, Refused("the header cannot be read: t: `dtype` stands twice (byte 9)")),
        ("shape twice", with(&format!(r#"{ok},"shape":[1]"#)), 1, Refused("the header cannot be read: t: `shape` stands twice (byte 9)")),
        ("offsets twice", with(&format!(r#"{ok},"data_offsets":[0,1]"#)), 1, Refused("the header cannot be read: t: `data_offsets` stands twice (byte 9)")),
        ("negative dimension", with(r#""dtype":"U8","shape":[-1],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `shape` is -1 at index 0 (byte 9)")),
        ("minus zero", with(r#""dtype":"U8","shape":[1,-0],"data_offsets":[0,0]"#), 0, Refused("the header cannot be read: t: `shape` is -0.0 at index 1 (byte 9)")),
        ("float dimension", with(r#""dtype":"U8","shape":[1.0],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `shape` is 1.0 at index 0 (byte 9)")),
        ("dimension over 64 bits", with(r#""dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `shape` is 1.8446744073709552e19 at index 0 (byte 9)")),
        ("dimension a string", with(r#""dtype":"U8","shape":["1"],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `shape` is the string \"1\" at index 0 (byte 9)")),
        ("dimension null", with(r#""dtype":"U8","shape":[null],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `shape` is null at index 0 (byte 9)")),
        ("shape a number", with(r#""dtype":"U8","shape":1,"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `shape` is 1 (byte 9)")),
        ("shape of shapes", with(r#""dtype":"U8","shape":[[1]],"data_offsets":[0,1]"#), 1, Refused("the header cannot be read: t: `shape` is an array at index 0 (byte 9)")),
        ("one offset", with(r#""dtype":"U8","shape":[1],"data_offsets":[0]"#), 1, Refused("the header cannot be read: t: `data_offsets` holds 1 numbers, two are needed (byte 9)")),
        ("three offsets", with(r#""dtype":"U8","shape":[1],"data_offsets":[0,1,1]"#), 1, Refused("the header cannot be read: t: `data_offsets` holds 3 numbers, two are needed (byte 9)")),
        ("negative offset", with(r#""dtype":"U8","shape":[1],"data_offsets":[-1,0]"#), 1, Refused("the header cannot be read: t: `data_offsets` is -1 at index 0 (byte 9)")),
        ("offsets null", with(r#""dtype":"U8","shape":[1],"data_offsets":null"#), 1, Refused("the header cannot be read: t: `data_offsets` is null (byte 9)")),
        ("tensor null", r#"{"t":null}"#.into(), 0, Refused("the header cannot be read: t: it is null, an object with `dtype`, `shape` and `data_offsets` is needed (byte 9)")),
        ("tensor a number", r#"{"t":7}"#.into(), 0, Refused("the header cannot be read: t: it is 7, an object with `dtype`, `shape` and `data_offsets` is needed (byte 9)")),
        ("tensor an array of two", r#"{"t":["U8",[1]]}"#.into(), 0, Refused("the header cannot be read: t: `data_offsets` is missing (byte 9)")),
        ("tensor an array of four", r#"{"t":["U8",[1],[0,1],0]}"#.into(), 1, Refused("the header cannot be read: t: it is an array of 4 values, not of three (byte 9)")),
        ("an earlier duplicate is broken", format!(r#"{{"t":3,"t":{{{ok}}}}}"#), 1, Refused("the header cannot be read: t: it is 3, an object with `dtype`, `shape` and `data_offsets` is needed (byte 9)")),
        // Refused: metadata.
        ("metadata twice", r#"{"__metadata__":{},"__metadata__":{}}"#.into(), 0, Refused("the header cannot be read: `__metadata__` stands twice (byte 27)")),
        ("null metadata twice", r#"{"__metadata__":null,"__metadata__":null}"#.into(), 0, Refused("the header cannot be read: `__metadata__` stands twice (byte 29)")),
        ("metadata of numbers", r#"{"__metadata__":{"k":1}}"#.into(), 0, Refused("the header cannot be read: `__metadata__` holds 1 under \"k\", a string is needed (byte 25)")),
        ("metadata of null", r#"{"__metadata__":{"k":null}}"#.into(), 0, Refused("the header cannot be read: `__metadata__` holds null under \"k\", a string is needed (byte 25)")),
        ("metadata an array", r#"{"__metadata__":[]}"#.into(), 0, Refused("the header cannot be read: `__metadata__` is an array, an object of strings is needed (byte 9)")),
        ("metadata a string", r#"{"__metadata__":"x"}"#.into(), 0, Refused("the header cannot be read: `__metadata__` is a string, an object of strings is needed (byte 9)")),
        // Refused: spans.
        ("does not start at 0", with(r#""dtype":"U8","shape":[1],"data_offsets":[1,2]"#), 2, Refused("t [1, 2) does not start at 0")),
        ("hole", two(r#""shape":[1],"data_offsets":[0,1]"#, r#""shape":[1],"data_offsets":[2,3]"#), 3, Refused("b [2, 3) leaves a hole after a")),
        ("overlap", two(r#""shape":[2],"data_offsets":[0,2]"#, r#""shape":[2],"data_offsets":[1,3]"#), 3, Refused("b [1, 3) overlaps a")),
        ("the same span", two(r#""shape":[2],"data_offsets":[0,2]"#, r#""shape":[2],"data_offsets":[0,2]"#), 2, Refused("b [0, 2) overlaps a")),
        ("reversed", with(r#""dtype":"U8","shape":[1],"data_offsets":[1,0]"#), 1, Refused("t [1, 0) is reversed")),
        ("trailing bytes", with(ok), 2, Refused("1 bytes follow the last tensor")),
        ("trailing bytes of nothing", "{}".into(), 2, Refused("2 bytes follow the last tensor")),
        ("truncated", with(ok), 0, Refused("the file is 1 bytes short; 1 tensors are affected, the first is t")),
        // Refused: sizes.
        ("shape does not fill the span", with(r#""dtype":"U8","shape":[2],"data_offsets":[0,3]"#), 3, Refused("t: [2] x U8 needs 2 bytes, its span has 3")),
        ("width does not fill the span", with(r#""dtype":"F32","shape":[2],"data_offsets":[0,4]"#), 4, Refused("t: [2] x F32 needs 8 bytes, its span has 4")),
        ("half a byte", with(r#""dtype":"F4","shape":[3],"data_offsets":[0,2]"#), 2, Refused("t: [3] x F4 needs 1.5 bytes, its span has 2")),
        ("three quarters of a byte", with(r#""dtype":"F6_E3M2","shape":[1],"data_offsets":[0,1]"#), 1, Refused("t: [1] x F6_E3M2 needs 0.75 bytes, its span has 1")),
        ("overflow before a zero", zero_last, 0, Refused("t: [18446744073709551615, 18446744073709551615, 0] x F32 needs more than 2^64 / 8 bytes, its span has 0")),
        ("overflow of the elements", with(&format!(r#""dtype":"U8","shape":[{MAX},{MAX}],"data_offsets":[0,1]"#)), 1, Refused("t: [18446744073709551615, 18446744073709551615] x U8 needs more than 2^64 / 8 bytes, its span has 1")),
        ("overflow of the bits", with(&format!(r#""dtype":"U8","shape":[{MAX}],"data_offsets":[0,1]"#)), 1, Refused("t: [18446744073709551615] x U8 needs more than 2^64 / 8 bytes, its span has 1")),
        ("a span of all there is", with(&format!(r#""dtype":"U8","shape":[1],"data_offsets":[0,{MAX}]"#)), 1, Refused("the file is 18446744073709551614 bytes short; 1 tensors are affected, the first is t")),
    ];
    let mut wrong = Vec::new();
    for (what, mut json, data_len, want) in rows {
        if matches!(want, Clean) {
            // Padding, as a writer does it, so that data begin at a multiple of 8.
            json.extend(std::iter::repeat_n(' ', json.len().next_multiple_of(8) - json.len()));
        }
        let header = compare(&file_of(json.as_bytes(), data_len), what);
        let said = header.defects.first().map(ToString::to_string);
        match want {
            Clean => assert!(header.is_sound() && header.notes.is_empty(), "{what}: {header:?}"),
            Noted(note) => {
                assert!(header.is_sound(), "{what}: {:?}", header.defects);
                assert!(header.notes.contains(&note), "{what}: {:?}", header.notes);
            }
            Refused(words) if said.as_deref() == Some(words) => {}
            Refused(words) => {
                wrong.push(format!("{what}\n  wanted {words}\n  found  {}", said.unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn broken_lengths_are_refused() {
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "nothing",
            vec![],
            "the header cannot be read: the file has 0 bytes, the header's length alone takes 8 (byte 0)",
        ),
        (
            "seven bytes",
            vec![0; 7],
            "the header cannot be read: the file has 7 bytes, the header's length alone takes 8 (byte 7)",
        ),
        (
            "a length past the end",
            file_of(b"{}", 0).iter().copied().take(9).collect(),
            "the header cannot be read: its length is 2 bytes, but only 1 follow in the file (byte 0)",
        ),
        (
            "the longest length",
            [[0xFF; 8].as_slice(), b"{}"].concat(),
            "the header cannot be read: it is 18446744073709551615 bytes long, over the limit `header` of 100000000 (byte 0)",
        ),
        (
            "over the limit",
            [100_000_001_u64.to_le_bytes().as_slice(), b"{}"].concat(),
            "the header cannot be read: it is 100000001 bytes long, over the limit `header` of 100000000 (byte 0)",
        ),
        ("not UTF-8", file_of(b"{\"\xFF\":1}", 0), "the header cannot be read: it is not UTF-8 (byte 10)"),
        ("UTF-16", file_of(b"{\0}\0", 0), "the header cannot be read: key must be a string (byte 9)"),
    ];
    for (what, file, words) in cases {
        let header = compare(&file, what);
        assert_eq!(header.defects.first().map(ToString::to_string).as_deref(), Some(words), "{what}");
    }
}

/// The sum that the reference does not check: see `FORGIVEN`.
#[test]
fn offsets_that_overflow_with_the_header_are_truncation() {
    // Nine tensors; each is at most 2^61 - 1 bytes, so that its bits can be counted.
    let part = (1_u64 << 61) - 1;
    let mut json = String::from("{");
    let mut at = 0_u64;
    for i in 0..9 {
        let end = at.saturating_add(part).min(u64::MAX - 4);
        let len = end - at;
        json += &format!(
            r#"{}"{i}":{{"dtype":"U8","shape":[{len}],"data_offsets":[{at},{end}]}}"#,
            if i > 0 { "," } else { "" }
        );
        at = end;
    }
    let header = compare(&file_of(format!("{json}}}").as_bytes(), 16), "overflow");
    assert!(
        matches!(header.defects.as_slice(), [Defect::Truncated { affected: 9, .. }]),
        "{:?}",
        header.defects
    );
    assert_eq!(header.tensors.len(), 9);
    assert!(header.tensors.iter().all(|t| !header.is_readable(t)));
}

#[test]
fn limits_are_ours_alone() {
    let long = "n".repeat(5000);
    let dims = vec!["1"; 33].join(",");
    let rows = [
        (named(&long), format!("bytes of the name {}… over the limit `name` of 4096: 5000", "n".repeat(64))),
        (
            with(&format!(r#""dtype":"U8","shape":[{dims}],"data_offsets":[0,1]"#)),
            "number of dimensions of t over the limit `dims` of 32: 33".to_owned(),
        ),
    ];
    for (json, words) in rows {
        let file = file_of(json.as_bytes(), 1);
        assert!(common::reference(&file).is_ok());
        let header = compare(&file, "limits");
        assert_eq!(header.defects.iter().map(ToString::to_string).collect::<Vec<_>>(), [words]);
        assert!(header.tensors.is_empty());
    }
    assert_eq!(common::FORGIVEN.len(), 2, "each kind of difference has its test in this file");
}
