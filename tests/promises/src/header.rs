//! Headers: ours and the `safetensors` crate must agree on what is accepted and on what is read, but for the
//! differences that `differences.toml` explains.

use crate::limits;
use quantscope_format::{Defect, Limits, MemorySource, ShardHeader, TensorInfo, read_header};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// By name: type, shape, and the span within the data.
type Tensors = BTreeMap<String, (String, Vec<u64>, u64, u64)>;

/// A kind of difference that is meant. Its id is that of its entry in `differences.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// We bound more than the reference does.
    Limit,
    /// The reference adds the end of the data and the header's length without a check.
    Overflow,
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Limit, Self::Overflow];

    /// Its id.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Overflow => "overflow",
        }
    }
}

/// What two readers make of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// Both take it and read the same.
    Accepted,
    /// Both refuse it.
    Refused,
    /// They differ, as they are meant to.
    Explained(Difference),
    /// They differ; in words.
    Unexplained(String),
}

/// A file made of those bytes. The first eight are made to tell a length within the file every other time, since
/// a fuzzer seldom finds one.
#[must_use]
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let Some((&last, body)) =
        bytes.split_last().filter(|(last, body)| last.is_multiple_of(2) && body.len() > 8)
    else {
        return bytes.to_vec();
    };
    let data = usize::from(last / 2).min(body.len() - 8);
    let mut file = u64::try_from(body.len() - 8 - data).unwrap_or(0).to_le_bytes().to_vec();
    file.extend_from_slice(&body[8..]);
    file
}

/// Our reading of a file.
#[must_use]
pub fn judged(file: &[u8]) -> ShardHeader {
    let source = MemorySource::new("x.safetensors", file);
    let limits = Limits { tensors: 1000, ..limits() };
    futures_executor::block_on(read_header(&source, &limits)).expect("a source in memory does not fail")
}

/// Both readings, compared.
#[must_use]
pub fn compare(file: &[u8], ours: &ShardHeader) -> Comparison {
    let read = catch_unwind(AssertUnwindSafe(|| SafeTensors::read_metadata(file)));
    let Ok(read) = read else {
        return if last_end(ours).is_none_or(|end| end.checked_add(ours.data_start()).is_none()) {
            Comparison::Explained(Difference::Overflow)
        } else {
            Comparison::Unexplained(format!("the reference panics, ours reads {ours:?}"))
        };
    };
    let unlike = match read {
        Err(_) if !ours.is_sound() => return Comparison::Refused,
        Err(error) => format!("the reference refuses it ({error:?}), ours does not"),
        Ok(_) if ours.defects.iter().any(|d| matches!(d, Defect::OverLimit { .. })) => {
            return Comparison::Explained(Difference::Limit);
        }
        Ok(_) if !ours.is_sound() => format!("the reference takes it, ours finds {:?}", ours.defects),
        Ok((_, metadata)) => {
            let theirs: Tensors = metadata
                .tensors()
                .into_iter()
                .map(|(name, info)| {
                    let shape = info.shape.iter().map(|&d| d as u64).collect();
                    let (begin, end) = info.data_offsets;
                    (name, (info.dtype.to_string(), shape, begin as u64, end as u64))
                })
                .collect();
            let texts: BTreeMap<String, String> =
                metadata.metadata().clone().unwrap_or_default().into_iter().collect();
            let own_texts: BTreeMap<String, String> = ours.metadata.iter().cloned().collect();
            let own = tensors_of(ours);
            let listed_twice = own.len() != ours.tensors.len() || own_texts.len() != ours.metadata.len();
            if own == theirs && texts == own_texts && !listed_twice {
                return Comparison::Accepted;
            }
            format!("the reference reads {theirs:?} {texts:?}, ours {own:?} {own_texts:?}")
        }
    };
    Comparison::Unexplained(unlike)
}

/// Reads a whole file both ways.
pub fn header(bytes: &[u8]) {
    let file = framed(bytes);
    if let Comparison::Unexplained(unlike) = compare(&file, &judged(&file)) {
        panic!("{unlike}\n{}", String::from_utf8_lossy(&file));
    }
}

/// The end of the data as the entries claim it, counted from the start of the data; `None` if it cannot be told.
fn last_end(header: &ShardHeader) -> Option<u64> {
    let start = header.data_start();
    header.tensors.iter().map(|t| t.end).max().filter(|&end| end < u64::MAX).map(|end| end - start)
}

fn tensors_of(header: &ShardHeader) -> Tensors {
    let start = header.data_start();
    let entry = |t: TensorInfo<'_>| {
        (t.name.to_owned(), (t.dtype.tag().to_owned(), t.shape.to_vec(), t.begin - start, t.end - start))
    };
    header.tensors.iter().map(entry).collect()
}
