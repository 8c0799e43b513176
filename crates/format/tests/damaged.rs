//! Damaged and very large shards: what is still listed, what is said, how much is read.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{file_of, ours};
use futures_util::future::LocalBoxFuture;
use quantscope_format::{
    Defect, Limits, MemorySource, Note, ShardHeader, Source, SourceError, read_header, read_small,
};
use std::cell::RefCell;
use std::time::Instant;

/// Tensors of 8 bytes each, `names` after one another.
fn eights(names: &[&str]) -> String {
    let parts: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, n)| {
            format!(r#""{n}":{{"dtype":"U8","shape":[8],"data_offsets":[{},{}]}}"#, i * 8, i * 8 + 8)
        })
        .collect();
    format!("{{{}}}", parts.join(","))
}

fn names(header: &ShardHeader) -> Vec<&str> {
    header.tensors.iter().map(|t| t.name).collect()
}

#[test]
fn truncation_names_the_bytes_and_the_tensors() {
    let json = eights(&["a", "b", "c", "d"]);
    for (data_len, missing, affected, first) in
        [(31, 1, 1, "d"), (24, 8, 1, "d"), (23, 9, 2, "c"), (0, 32, 4, "a")]
    {
        let header = ours(&file_of(json.as_bytes(), data_len));
        let expected = Defect::Truncated { missing, affected, first: first.to_owned() };
        assert_eq!(header.defects, [expected], "{data_len} bytes of data");
        assert_eq!(names(&header), ["a", "b", "c", "d"], "all are listed");
        let readable: Vec<&str> =
            header.tensors.iter().filter(|t| header.is_readable(*t)).map(|t| t.name).collect();
        assert_eq!(readable, &["a", "b", "c", "d"][..4 - usize::try_from(affected).unwrap()]);
    }
}

#[test]
fn a_faulty_tensor_costs_only_itself() {
    let good = |name: &str, at: u64| {
        format!(r#""{name}":{{"dtype":"U8","shape":[8],"data_offsets":[{at},{}]}}"#, at + 8)
    };
    let file =
        |middle: &str| file_of(format!("{{{},{middle},{}}}", good("a", 0), good("c", 16)).as_bytes(), 24);

    // Its span is known, so it leaves no hole.
    let header = ours(&file(r#""b":{"dtype":"F5","shape":[8],"data_offsets":[8,16]}"#));
    assert_eq!(header.defects, [Defect::UnknownDtype { tensor: "b".into(), dtype: "F5".into() }]);
    assert_eq!(names(&header), ["a", "c"]);

    // Its span is not known; the hole it leaves is not reported as another fault.
    let header = ours(&file(r#""b":{"dtype":"U8","shape":[8],"data_offsets":[8]}"#));
    assert!(matches!(header.defects.as_slice(), [Defect::Unreadable { .. }]), "{:?}", header.defects);
    assert_eq!(names(&header), ["a", "c"]);

    // Broken syntax ends the reading; what came before is listed.
    let header = ours(&file(r#""b":nonsense"#));
    let [Defect::Unreadable { at, .. }] = header.defects.as_slice() else { panic!("{:?}", header.defects) };
    let json_from = 8 + 1 + good("a", 0).len() as u64 + 1;
    assert_eq!(
        *at,
        json_from + 5,
        "the place is the second letter of `nonsense`, where it stops being `null`"
    );
    assert_eq!(names(&header), ["a"]);

    // So it is with bytes that are no text.
    let mut file = file("\"b\":0");
    let place = file.windows(3).position(|w| w == b"\"b\"").unwrap();
    file[place + 1] = 0xFF;
    let header = ours(&file);
    let expected = Defect::Unreadable { reason: "it is not UTF-8".into(), at: place as u64 + 1 };
    assert_eq!(header.defects, [expected]);
    assert_eq!(names(&header), ["a"]);
}

#[test]
fn each_wrong_span_is_told() {
    let json = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[2,6]},
        "b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},
        "c":{"dtype":"U8","shape":[4],"data_offsets":[10,14]},
        "d":{"dtype":"U8","shape":[1],"data_offsets":[20,19]},
        "e":{"dtype":"U8","shape":[4],"data_offsets":[14,18]}}"#;
    let header = ours(&file_of(json.as_bytes(), 18));
    let said: Vec<String> = header.defects.iter().map(ToString::to_string).collect();
    let expected = [
        "a [2, 6) does not start at 0",
        "b [4, 8) overlaps a",
        "c [10, 14) leaves a hole after b",
        "d [20, 19) is reversed",
    ];
    assert_eq!(said, expected);
    assert_eq!(header.tensors.len(), 5);
}

#[test]
fn the_gravest_comes_first() {
    let json = r#"{"a":{"dtype":"F9","shape":[4],"data_offsets":[0,4]},
        "b":{"dtype":"U8","shape":[3],"data_offsets":[4,8]},
        "c":{"dtype":"U8","shape":[4],"data_offsets":[9,13]},
        "d":3}"#;
    let header = ours(&file_of(json.as_bytes(), 10));
    let kinds: Vec<&str> = header
        .defects
        .iter()
        .map(|defect| match defect {
            Defect::Unreadable { .. } => "unreadable",
            Defect::Truncated { .. } => "truncated",
            Defect::Span { .. } => "span",
            Defect::Size { .. } => "size",
            Defect::UnknownDtype { .. } => "dtype",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        kinds,
        ["unreadable", "truncated", "size", "dtype"],
        "no hole is told where `d` may have been"
    );
}

#[test]
fn the_last_of_two_names_counts_and_keeps_its_place() {
    let json = r#"{"__metadata__":{"k":"1","l":"2","k":"3"},
        "t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
        "u":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},
        "v":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},
        "t":{"dtype":"I8","shape":[2,2],"data_offsets":[0,4]}}"#;
    let header = ours(&file_of(json.as_bytes(), 4));
    assert!(header.is_sound(), "{:?}", header.defects);
    assert_eq!(names(&header), ["u", "v", "t"], "by offset, ties in the order of the header");
    assert_eq!(header.tensors.get(2).unwrap().shape, [2, 2]);
    assert_eq!(header.metadata, [("k".into(), "3".into()), ("l".into(), "2".into())]);
    assert_eq!(header.notes, [Note::DuplicateMetadataKey("k".into()), Note::DuplicateName("t".into())]);
}

#[test]
fn a_header_made_of_faults_costs_a_bounded_report() {
    let json = format!("{{{}}}", vec![r#""":0"#; 50_000].join(","));
    let header = ours(&file_of(json.as_bytes(), 0));
    assert_eq!(header.defects.len(), 10_001);
    let last = header.defects.last().map(ToString::to_string);
    assert_eq!(
        last.as_deref(),
        Some("faults in one header, the rest is not listed, over the limit of 10000: 50000")
    );
    assert!(header.notes.len() <= 10_000);
}

#[test]
fn limits_bound_tensors_and_depth() {
    let json = eights(&["a", "b", "c"]);
    let len = 8 + json.len() as u64 + 24;
    let limits = Limits { tensors: 2, ..Limits::default() };
    let header = ShardHeader::parse(json.as_bytes(), len, &limits);
    assert_eq!(
        header.defects,
        [Defect::OverLimit { what: "number of tensors".into(), name: "tensors", limit: 2, found: 3 }]
    );
    assert_eq!(names(&header), ["a", "b"]);

    let nested = r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":[[[]]]}}"#;
    let at_depth = |json_depth| {
        let limits = Limits { json_depth, ..Limits::default() };
        ShardHeader::parse(nested.as_bytes(), 8 + nested.len() as u64, &limits)
    };
    assert!(at_depth(5).is_sound());
    let refused = at_depth(4);
    let [Defect::Unreadable { reason, .. }] = refused.defects.as_slice() else {
        panic!("{:?}", refused.defects)
    };
    assert_eq!(reason, "nested deeper than the limit `depth`");
}

/// A limit that was raised holds as it is, up to what can be kept of a shape at all.
#[test]
fn shapes_of_many_dimensions_are_read_whole_or_told() {
    let of = |rank: usize, dims: u64| {
        let shape = format!("{}2", "1,".repeat(rank - 1));
        let json = format!(r#"{{"t":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,2]}}}}"#);
        let limits = Limits { dims, ..Limits::default() };
        ShardHeader::parse(json.as_bytes(), 8 + json.len() as u64 + 2, &limits)
    };
    for (rank, dims) in [(2000, 2000), (1025, u64::MAX), (65_535, u64::MAX)] {
        let header = of(rank, dims);
        assert!(header.is_sound(), "{rank}: {:?}", header.defects);
        let tensor = header.tensors.get(0).unwrap();
        assert_eq!((tensor.shape.len(), tensor.shape.last()), (rank, Some(&2)));
    }
    for (rank, dims, limit) in [(2000, 1999, 1999), (65_536, u64::MAX, 65_535)] {
        let header = of(rank, dims);
        let what = "number of dimensions of t".to_owned();
        assert_eq!(header.defects, [Defect::OverLimit { what, name: "dims", limit, found: rank as u64 }]);
        assert!(header.tensors.is_empty());
    }
}

/// A file of any length of which only the first bytes exist; tells what was asked of it.
struct Sparse {
    head: Vec<u8>,
    len: u64,
    asked: RefCell<Vec<(u64, usize)>>,
}

impl Source for Sparse {
    fn len(&self) -> u64 {
        self.len
    }
    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        self.asked.borrow_mut().push((offset, buf.len()));
        Box::pin(async move {
            let start = usize::try_from(offset).unwrap();
            let error = SourceError::Io { name: "sparse".into(), reason: "past the header".into() };
            buf.copy_from_slice(self.head.get(start..start + buf.len()).ok_or(error)?);
            Ok(())
        })
    }
}

#[test]
fn a_nine_gigabyte_shard_costs_its_header() {
    const GB: u64 = 1_000_000_000;
    let (six, nine) = (6 * GB, 9 * GB);
    let json = format!(
        r#"{{"big":{{"dtype":"BF16","shape":[3000000,1000],"data_offsets":[0,{six}]}},"late":{{"dtype":"U8","shape":[{}],"data_offsets":[{six},{nine}]}}}}"#,
        3 * GB
    );
    let head = file_of(json.as_bytes(), 0);
    let header_bytes = head.len();
    let sparse = Sparse { len: header_bytes as u64 + nine, head, asked: RefCell::default() };
    let header = futures_executor::block_on(read_header(&sparse, &Limits::default())).unwrap();
    assert!(header.is_sound(), "{:?}", header.defects);
    assert_eq!(header.tensors.get(0).unwrap().byte_len(), six);
    assert_eq!(header.tensors.get(1).unwrap().begin, header.data_start() + six);
    assert!(header.tensors.iter().all(|t| header.is_readable(t)));
    assert_eq!(*sparse.asked.borrow(), [(0, 8), (8, header_bytes - 8)]);
}

#[test]
fn a_long_header_is_read_in_pieces_and_exactly() {
    let json = format!("{{}}{}", " ".repeat(5 << 20));
    let mut file = file_of(json.as_bytes(), 0);
    file.extend([7; 100]);
    let source = MemorySource::new("x", file);
    let header = futures_executor::block_on(read_header(&source, &Limits::default())).unwrap();
    assert_eq!(header.defects, [Defect::Trailing { extra: 100 }]);
    assert_eq!(source.bytes_read(), 8 + json.len() as u64);

    let sparse = Sparse { head: file_of(json.as_bytes(), 0), len: 1 << 40, asked: RefCell::default() };
    futures_executor::block_on(read_header(&sparse, &Limits::default())).unwrap();
    // A piece is never longer than all that came before it, so that a lying length costs as much as it gives.
    let is_earned = |&(offset, len): &(u64, usize)| len <= (1 << 20).max(usize::try_from(offset).unwrap());
    assert!(sparse.asked.borrow().iter().all(is_earned), "{:?}", sparse.asked);
}

#[test]
fn a_lying_length_allocates_nothing_ahead() {
    // The length is within the limit and within the file, but the bytes cannot be read.
    let mut head = 99_000_000_u64.to_le_bytes().to_vec();
    head.resize(1 << 20, b' ');
    let sparse = Sparse { head, len: 1 << 40, asked: RefCell::default() };
    let error = futures_executor::block_on(read_header(&sparse, &Limits::default())).unwrap_err();
    assert!(matches!(error, SourceError::Io { .. }));
    assert_eq!(*sparse.asked.borrow(), [(0, 8), (8, 1 << 20)], "it stops at the first piece");
}

#[test]
fn small_files_are_read_whole_or_not_at_all() {
    let source = MemorySource::new("config.json", *b"{\"a\":1}");
    let read = |limit| {
        futures_executor::block_on(read_small(&source, &Limits { json_bytes: limit, ..Limits::default() }))
    };
    assert_eq!(read(7).unwrap().as_deref(), Some(b"{\"a\":1}".as_slice()));
    assert_eq!(source.bytes_read(), 7);
    assert_eq!(read(6).unwrap(), None);
    assert_eq!(source.bytes_read(), 7);
}

#[test]
fn a_hundred_thousand_tensors_are_read_quickly() {
    let mut json = String::from("{");
    for i in 0..100_000_u64 {
        let comma = if i > 0 { "," } else { "" };
        json += &format!(
            r#"{comma}"model.layers.{}.mlp.experts.{i}.down_proj.weight_scale":{{"dtype":"F8_E4M3","shape":[64,2],"data_offsets":[{},{}]}}"#,
            i / 1000,
            i * 128,
            i * 128 + 128
        );
    }
    json.push('}');
    let start = Instant::now();
    let header =
        ShardHeader::parse(json.as_bytes(), 8 + json.len() as u64 + 100_000 * 128, &Limits::default());
    let taken = start.elapsed();
    assert!(header.is_sound() && header.tensors.len() == 100_000);
    println!("{} MB of header in {taken:?}", json.len() / 1_000_000);
    // Tens of milliseconds when optimised; this build may be neither optimised nor alone on its machine.
    let most = if cfg!(debug_assertions) { 5_000 } else { 500 };
    assert!(taken.as_millis() < most, "{taken:?}");
}

/// A long header that turns out to be unusual late: what it says is what is said of it whole, and only what was let go
/// on the way is read again.
#[test]
fn what_is_found_late_is_found_as_in_one_piece() {
    let names: Vec<String> = (0..40_000).map(|i| format!("model.layers.{i}.weight")).collect();
    let usual = eights(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let data = 8 * names.len();
    assert!(usual.len() > 3 << 20, "several windows");
    let twice = usual.replacen("layers.39999.", "layers.0.", 1);
    let escaped = usual.replacen("layers.39998.", "layers\\u002e39998.", 1);
    let broken = usual.replacen("layers.20000.weight\":", "layers.20000.weight\";", 1);
    let hole = usual.replacen("[160000,160008]", "[160001,160008]", 1);
    for (what, json, again) in [
        ("usual", &usual, 0..1),
        ("a hole", &hole, 0..1),
        ("a name twice", &twice, 1..json_len(&usual)),
        ("an escape", &escaped, 1..json_len(&usual)),
        ("no JSON", &broken, 1..json_len(&usual)),
    ] {
        let file = file_of(json.as_bytes(), data);
        let whole = ShardHeader::parse(json.as_bytes(), file.len() as u64, &Limits::default());
        let source = MemorySource::new("x", file);
        let header = futures_executor::block_on(read_header(&source, &Limits::default())).unwrap();
        assert_eq!(header, whole, "{what}");
        let more = source.bytes_read() - 8 - json_len(json);
        assert!(again.contains(&more), "{what}: {more} bytes were read again");
    }
}

fn json_len(json: &str) -> u64 {
    json.len() as u64
}
