//! The header writer against the two readers it must please and the files of the reference writer.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{compare, dtypes, golden, ours};
use proptest::prelude::*;
use quantscope_format::{HeaderLayout, LayoutError, TensorSpec};
use quantscope_numeric::Dtype;
use std::path::Path;
use std::process::Command;

fn spec(name: &str, dtype: Dtype, shape: &[u64]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

fn meta(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// The whole file of a layout, each tensor filled with its index among the specs.
fn filled(layout: &HeaderLayout) -> Vec<u8> {
    let mut file = layout.bytes.clone();
    file.resize(usize::try_from(layout.file_len).unwrap(), 0xEE);
    for (i, span) in layout.spans.iter().enumerate() {
        let range = usize::try_from(span.start).unwrap()..usize::try_from(span.end).unwrap();
        file[range].fill(u8::try_from(i).unwrap());
    }
    file
}

/// The reference wrote these; from their tensors and metadata we must write the same header.
#[test]
fn golden_headers_are_written_byte_for_byte() {
    let mut compared = 0;
    for path in golden(".safetensors") {
        let file = std::fs::read(&path).unwrap();
        let header = ours(&file);
        if header.metadata != meta(&[("format", "pt")]) {
            continue;
        }
        // The order in which specs are given must not matter.
        let mut specs: Vec<TensorSpec> = header
            .tensors
            .iter()
            .map(|t| TensorSpec { name: t.name.to_owned(), dtype: t.dtype, shape: t.shape.to_vec() })
            .collect();
        specs.reverse();
        let layout = HeaderLayout::new(&specs, &header.metadata).unwrap();
        let theirs = &file[..usize::try_from(header.data_start()).unwrap()];
        assert!(layout.bytes == theirs, "{}", path.display());
        assert_eq!(layout.file_len, file.len() as u64);
        for (span, tensor) in layout.spans.iter().zip(header.tensors.iter().rev()) {
            assert_eq!(
                (span.start, span.end),
                (tensor.begin, tensor.end),
                "{}: {}",
                path.display(),
                tensor.name
            );
        }
        compared += 1;
    }
    assert!(compared > 20, "only {compared} golden files have the plain metadata");
}

#[test]
fn python_reads_what_we_write() {
    // Unset: try `python3`. `required`: it must be there. Anything else: the interpreter, which must be there.
    let wanted = std::env::var("QUANTSCOPE_PYTHON").ok();
    let python = wanted.clone().filter(|value| value != "required").unwrap_or_else(|| "python3".to_owned());
    let there = Command::new(&python).args(["-c", "import safetensors, numpy"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        assert!(wanted.is_none(), "QUANTSCOPE_PYTHON is set, but {python} has no safetensors and numpy");
        println!("SKIPPED: python3 with safetensors and numpy is not there");
        return;
    }
    let specs = [
        spec("layer.weight", Dtype::U8, &[2, 3]),
        spec("layer.weight_scale_2", Dtype::F32, &[]),
        spec("größe \"x\" \\ \u{1F600}", Dtype::F16, &[4]),
        spec("empty", Dtype::I64, &[0, 7]),
        spec("flag", Dtype::BOOL, &[3]),
        spec("wide", Dtype::F64, &[1, 1, 2]),
    ];
    let layout = HeaderLayout::new(&specs, &meta(&[("format", "pt"), ("ü \"q\"", "a\nb")])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    std::fs::write(&path, filled(&layout)).unwrap();
    let script = "
import sys
from safetensors import safe_open
with safe_open(sys.argv[1], 'np') as f:
    print(sorted(f.metadata().items()))
    for name in sorted(f.keys()):
        t = f.get_tensor(name)
        print(ascii(name), t.dtype, t.shape, sorted(set(t.tobytes())))
";
    let output = Command::new(&python)
        .args(["-c", script])
        .arg(&path)
        .env("PYTHONIOENCODING", "utf-8")
        .output()
        .unwrap();
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let expected = r#"[('format', 'pt'), ('ü "q"', 'a\nb')]
'empty' int64 (0, 7) []
'flag' bool (3,) [4]
'gr\xf6\xdfe "x" \\ \U0001f600' float16 (4,) [2]
'layer.weight' uint8 (2, 3) [0]
'layer.weight_scale_2' float32 () [1]
'wide' float64 (1, 1, 2) [5]
"#;
    assert_eq!(said.replace("\r\n", "\n"), expected, "{complaint}");
    assert!(Path::new(&path).exists());
}

#[test]
fn what_no_reader_should_meet_is_refused() {
    let u8_of = |name: &str, shape: &[u64]| HeaderLayout::new(&[spec(name, Dtype::U8, shape)], &[]);
    assert!(u8_of("fine", &[1]).is_ok());
    for name in ["", "__metadata__", "../x", "/x", "a\0b", "a\nb"] {
        assert!(matches!(u8_of(name, &[1]), Err(LayoutError::Name { .. })), "{name:?}");
    }
    let twice = [spec("a", Dtype::U8, &[1]), spec("a", Dtype::F32, &[1])];
    assert_eq!(HeaderLayout::new(&twice, &[]), Err(LayoutError::Duplicate { name: "a".into() }));
    let metadata = meta(&[("k", "1"), ("k", "2")]);
    assert_eq!(HeaderLayout::new(&[], &metadata), Err(LayoutError::Duplicate { name: "k".into() }));

    let size_error = |dtype, shape: &[u64]| match HeaderLayout::new(&[spec("t", dtype, shape)], &[]) {
        Err(LayoutError::Size { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(size_error(Dtype::F4, &[3]), "is not whole bytes");
    assert_eq!(size_error(Dtype::U8, &[u64::MAX]), "is more than 64 bits can count");
    assert_eq!(size_error(Dtype::U8, &[u64::MAX, 2, 0]), "is more than 64 bits can count");
    let part = [(1 << 61) - 1];
    let many: Vec<TensorSpec> = (0..9).map(|i| spec(&format!("t{i}"), Dtype::U8, &part)).collect();
    assert_eq!(HeaderLayout::new(&many, &[]), Err(LayoutError::TooLong { tensor: "t8".into() }));
    assert_eq!(
        HeaderLayout::new(&many[..8], &[]),
        Err(LayoutError::TooLong { tensor: "t7".into() }),
        "with the header"
    );
    assert!(HeaderLayout::new(&many[..7], &[]).is_ok());
}

#[test]
fn a_header_that_no_reader_takes_is_refused() {
    let metadata = meta(&[("k", &"x".repeat(100_000_001))]);
    let error = HeaderLayout::new(&[], &metadata).unwrap_err();
    assert!(matches!(error, LayoutError::HeaderTooLong { limit: 100_000_000, .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is laid out is read back the same, by us and by the reference, without a note.
    #[test]
    fn written_is_read(
        tensors in prop::collection::btree_map("[a-z\"\\\\é.]{1,12}", (0..dtypes().len(), prop::collection::vec(0..5_u64, 0..4)), 0..12),
        metadata in prop::collection::btree_map(".{0,8}", ".{0,12}", 0..4),
    ) {
        let specs: Vec<TensorSpec> = tensors
            .iter()
            .map(|(name, (dtype, shape))| spec(name, dtypes()[*dtype], shape))
            .filter(|s| s.shape.iter().product::<u64>() * s.dtype.bits() % 8 == 0 && !s.name.starts_with('\\') && s.name != "..")
            .filter(|s| !s.name.split('\\').any(|part| part == ".."))
            .collect();
        let metadata: Vec<(String, String)> = metadata.into_iter().collect();
        let layout = HeaderLayout::new(&specs, &metadata).unwrap();
        prop_assert_eq!(layout.bytes.len() % 8, 0);
        let header = compare(&filled(&layout), "written");
        prop_assert!(header.is_sound());
        // Types narrower than a byte stand between wider ones and may shift none of them off their places.
        prop_assert!(header.notes.is_empty(), "{:?}", header.notes);
        prop_assert_eq!(&header.metadata, &metadata);
        prop_assert_eq!(header.tensors.len(), specs.len());
        for (spec, span) in specs.iter().zip(&layout.spans) {
            let tensor = header.tensors.iter().find(|t| t.name == spec.name).unwrap();
            prop_assert_eq!((tensor.dtype, tensor.shape), (spec.dtype, spec.shape.as_slice()));
            prop_assert_eq!(tensor.begin..tensor.end, span.clone());
        }
    }
}
