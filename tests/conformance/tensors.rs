//! Tensors of weight files in memory, as tests compare them.

use futures_util::FutureExt as _;
use quantscope_format::{Limits, MemorySource, ShardHeader, read_header};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A tensor as a file stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Tag of the header.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Little-endian bytes.
    pub bytes: Vec<u8>,
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Stored>;

/// The tensors of a file's bytes, and its metadata.
///
/// # Panics
/// If it is no sound file.
#[must_use]
#[allow(clippy::expect_used, reason = "what the tests read is sound, or they fail")]
pub fn parse(bytes: &[u8]) -> (Tensors, Vec<(String, String)>) {
    let source = MemorySource::new("tensors", bytes);
    let header: ShardHeader = read_header(&source, &Limits::default())
        .now_or_never()
        .expect("memory is read at once")
        .expect("a header that can be read");
    assert!(header.is_sound(), "{:?}", header.defects);
    let slice = |begin: u64, end: u64| {
        let range = usize::try_from(begin).ok()..usize::try_from(end).ok();
        let range = range.start.zip(range.end).map(|(a, b)| a..b);
        range.and_then(|range| bytes.get(range)).expect("bytes of a sound header").to_vec()
    };
    let stored = header.tensors.iter().map(|tensor| {
        let bytes = slice(tensor.begin, tensor.end);
        (
            tensor.name.to_owned(),
            Stored { dtype: tensor.dtype.tag().to_string(), shape: tensor.shape.to_vec(), bytes },
        )
    });
    (stored.collect(), header.metadata.clone())
}

/// The tensors of a file, or of all weight files of a folder.
///
/// # Panics
/// If they cannot be read.
#[must_use]
#[allow(clippy::expect_used, reason = "without its data a test cannot run")]
pub fn read(path: &Path) -> Tensors {
    let is_weights = |path: &Path| path.extension().is_some_and(|e| e == "safetensors");
    let files = if path.is_dir() {
        let entries = std::fs::read_dir(path).expect("a folder").flatten().map(|entry| entry.path());
        entries.filter(|path| is_weights(path)).collect()
    } else {
        vec![path.to_path_buf()]
    };
    assert!(!files.is_empty(), "{} holds no weights", path.display());
    files.iter().flat_map(|file| parse(&std::fs::read(file).expect("a weight file")).0).collect()
}

/// A file of these tensors.
///
/// # Panics
/// If a header cannot be written, which JSON of this form always can.
#[must_use]
pub fn file_of(tensors: &Tensors, metadata: &[(String, String)]) -> Vec<u8> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        let fields = metadata.iter().map(|(key, value)| (key.clone(), Value::String(value.clone())));
        header.insert("__metadata__".into(), Value::Object(fields.collect()));
    }
    let mut data = Vec::new();
    for (name, tensor) in tensors {
        let begin = data.len();
        data.extend_from_slice(&tensor.bytes);
        let entry =
            json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, data.len()]});
        header.insert(name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&data);
    file
}

/// The values of an F32, BF16 or F16 tensor; of others none.
#[must_use]
pub fn floats(tensor: &Stored) -> Option<Vec<f32>> {
    let halves = || tensor.bytes.as_chunks::<2>().0.iter();
    match tensor.dtype.as_str() {
        "F32" => Some(tensor.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        "BF16" => Some(halves().map(|b| half::bf16::from_le_bytes(*b).to_f32()).collect()),
        "F16" => Some(halves().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect()),
        _ => None,
    }
}

/// How one tensor differs from what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Only signs of E4M3 NaNs.
    NanSigns,
    /// The first byte that differs.
    Byte(usize),
    /// Another dtype or shape.
    Kind,
}

/// Compares two tensors.
#[must_use]
pub fn difference(found: &Stored, right: &Stored) -> Option<Difference> {
    if (&found.dtype, &found.shape) != (&right.dtype, &right.shape) {
        return Some(Difference::Kind);
    }
    let nan = |byte: u8| found.dtype == "F8_E4M3" && byte & 0x7F == 0x7F;
    let mut signs = false;
    for (at, (a, b)) in found.bytes.iter().zip(&right.bytes).enumerate() {
        if a != b {
            if !(nan(*a) && nan(*b)) {
                return Some(Difference::Byte(at));
            }
            signs = true;
        }
    }
    signs.then_some(Difference::NanSigns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_written() {
        let stored = |dtype: &str, shape: &[u64], bytes: &[u8]| Stored {
            dtype: dtype.into(),
            shape: shape.into(),
            bytes: bytes.into(),
        };
        let tensors: Tensors = [
            ("a.weight".to_string(), stored("BF16", &[2], &[0x80, 0x3F, 0, 0xC0])),
            ("b".to_string(), stored("F8_E4M3", &[1, 2], &[1, 0x7F])),
        ]
        .into();
        let metadata = vec![("format".to_string(), "pt".to_string())];
        assert_eq!(parse(&file_of(&tensors, &metadata)), (tensors.clone(), metadata));
        assert_eq!(floats(&tensors["a.weight"]), Some(vec![1.0, -2.0]));
        assert_eq!(floats(&tensors["b"]), None);
    }

    #[test]
    fn differences_are_told_apart() {
        let codes = |bytes: &[u8]| Stored { dtype: "F8_E4M3".into(), shape: vec![2], bytes: bytes.into() };
        assert_eq!(difference(&codes(&[1, 0x7F]), &codes(&[1, 0x7F])), None);
        assert_eq!(difference(&codes(&[1, 0x7F]), &codes(&[1, 0xFF])), Some(Difference::NanSigns));
        assert_eq!(difference(&codes(&[1, 0x7F]), &codes(&[0x81, 0xFF])), Some(Difference::Byte(0)));
        assert_eq!(difference(&codes(&[1, 0x7E]), &codes(&[1, 0xFF])), Some(Difference::Byte(1)));
        let other = Stored { dtype: "U8".into(), ..codes(&[1, 2]) };
        assert_eq!(difference(&other, &codes(&[1, 2])), Some(Difference::Kind));
        assert_eq!(
            difference(&other, &Stored { bytes: vec![1, 0x7F], ..other.clone() }),
            Some(Difference::Byte(1))
        );
    }
}
