//! The oracle: the `safetensors` crate, asked about the same bytes as our reader.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]
#![allow(dead_code, reason = "each test file uses a part of this")]

use quantscope_format::{Defect, Limits, MemorySource, ShardHeader, read_header};
use quantscope_numeric::Dtype;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// What a reader makes of a file that it accepts: by name, the dtype, the shape, and the span in the data.
pub(crate) type Tensors = BTreeMap<String, (String, Vec<u64>, (u64, u64))>;

/// Differences between the reference and our reader that are meant, each with its reason.
///
/// Nothing else may differ, neither in what is accepted nor in what is read.
pub(crate) const FORGIVEN: &[(&str, &str)] = &[
    (
        "limits",
        "we bound the length of a name, the dimensions of a tensor and the number of tensors; \
         the reference bounds only the whole header",
    ),
    (
        "overflow",
        "the reference adds the last offset, the header's length and 8 without a check: it panics in debug \
         builds and wraps in release builds; for us the file is truncated",
    ),
];

/// A file of that JSON and that many bytes of data.
pub(crate) fn file_of(json: &[u8], data_len: usize) -> Vec<u8> {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json);
    file.resize(file.len() + data_len, 0);
    file
}

/// Our reading of a file.
pub(crate) fn ours(file: &[u8]) -> ShardHeader {
    let source = MemorySource::new("x.safetensors", file);
    futures_executor::block_on(read_header(&source, &Limits::default())).unwrap()
}

/// The reference's reading: tensors and metadata, or its error.
pub(crate) fn reference(file: &[u8]) -> Result<(Tensors, BTreeMap<String, String>), String> {
    let read = catch_unwind(|| SafeTensors::read_metadata(file).map_err(|error| format!("{error:?}")));
    let (_, metadata) = read.unwrap_or_else(|_| Err("panicked".to_owned()))?;
    let tensors = metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let shape = info.shape.iter().map(|d| *d as u64).collect();
            let (begin, end) = info.data_offsets;
            (name, (info.dtype.to_string(), shape, (begin as u64, end as u64)))
        })
        .collect();
    let text = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok((tensors, text))
}

/// Compares both readings; gives ours. Panics on any difference that is not forgiven.
pub(crate) fn compare(file: &[u8], what: &str) -> ShardHeader {
    let header = ours(file);
    match difference(file, &header) {
        None => header,
        Some(difference) => panic!("{what}: {difference}\n{}", String::from_utf8_lossy(file)),
    }
}

/// The first difference between the reference and `header`, unless it is forgiven.
pub(crate) fn difference(file: &[u8], header: &ShardHeader) -> Option<String> {
    match reference(file) {
        Err(error) if !header.is_sound() => {
            let forgiven =
                error == "panicked" && !header.defects.iter().any(|d| matches!(d, Defect::Truncated { .. }));
            forgiven.then(|| format!("the reference panicked, ours found {:?}", header.defects))
        }
        Err(error) => Some(format!("the reference refuses it ({error}), ours does not")),
        Ok(_) if header.defects.iter().any(|d| matches!(d, Defect::OverLimit { .. })) => None,
        Ok(_) if !header.is_sound() => {
            Some(format!("the reference takes it, ours found {:?}", header.defects))
        }
        Ok((tensors, metadata)) => {
            let start = header.data_start();
            let our_tensors: Tensors = header
                .tensors
                .iter()
                .map(|t| {
                    (
                        t.name.to_owned(),
                        (t.dtype.tag().to_owned(), t.shape.to_vec(), (t.begin - start, t.end - start)),
                    )
                })
                .collect();
            let our_metadata: BTreeMap<String, String> = header.metadata.iter().cloned().collect();
            let listed_twice =
                our_tensors.len() != header.tensors.len() || our_metadata.len() != header.metadata.len();
            if our_tensors != tensors || listed_twice {
                Some(format!("the reference reads {tensors:?}, ours {our_tensors:?}"))
            } else if our_metadata != metadata {
                Some(format!("the reference reads metadata {metadata:?}, ours {our_metadata:?}"))
            } else {
                None
            }
        }
    }
}

/// Every file under `tests/data` whose name ends so.
pub(crate) fn golden(ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data"), ending, &mut found);
    found.sort();
    found
}

/// All types, for generators.
pub(crate) fn dtypes() -> &'static [Dtype] {
    Dtype::ALL
}
