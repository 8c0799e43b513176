//! Headers: ours and the `safetensors` crate must agree on what is accepted and on what is read.

use crate::limits;
use quantscope_format::{Defect, Limits, MemorySource, ShardHeader, read_header};
use safetensors::SafeTensors;
use std::collections::BTreeMap;

type Tensors = BTreeMap<String, (String, Vec<u64>, u64, u64)>;

/// Reads a whole file. The first eight bytes are made to tell a length within the file every other time, since
/// a fuzzer seldom finds one.
pub fn header(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    if let (Some((&last, body)), true) = (bytes.split_last(), bytes.len() > 9) {
        if last % 2 == 0 {
            let data = usize::from(last / 2).min(body.len() - 8);
            file = (u64::try_from(body.len() - 8 - data).unwrap_or(0)).to_le_bytes().to_vec();
            file.extend_from_slice(&body[8..]);
        }
    }
    let source = MemorySource::new("x.safetensors", file.clone());
    let header = pollster::block_on(read_header(&source, &Limits { tensors: 1000, ..limits() }))
        .expect("a source in memory does not fail");
    if header.defects.iter().any(|d| matches!(d, Defect::OverLimit { .. })) {
        return;
    }
    // The reference adds the last offset without a check: such files are left to ours.
    let huge = |t: &quantscope_format::TensorInfo| t.end > u64::MAX / 2;
    if header.tensors.iter().any(huge) || !header.is_sound() && mentions_huge_numbers(&file) {
        return;
    }
    match SafeTensors::read_metadata(&file) {
        Ok((_, metadata)) => {
            assert!(header.is_sound(), "the reference takes it, ours finds {:?}", header.defects);
            let theirs: Tensors = metadata
                .tensors()
                .into_iter()
                .map(|(name, info)| {
                    let shape = info.shape.iter().map(|&d| d as u64).collect();
                    let (begin, end) = info.data_offsets;
                    (name, (info.dtype.to_string(), shape, begin as u64, end as u64))
                })
                .collect();
            assert_eq!(ours(&header), theirs);
        }
        Err(error) => assert!(!header.is_sound(), "the reference refuses it ({error:?}), ours does not"),
    }
}

/// Whether twenty digits stand in a row: numbers that overflow the reference's addition.
fn mentions_huge_numbers(file: &[u8]) -> bool {
    file.windows(19).any(|window| window.iter().all(u8::is_ascii_digit))
}

fn ours(header: &ShardHeader) -> Tensors {
    let start = header.data_start();
    let entry = |t: &quantscope_format::TensorInfo| {
        (t.name.clone(), (t.dtype.tag().to_owned(), t.shape.clone(), t.begin - start, t.end - start))
    };
    header.tensors.iter().map(entry).collect()
}
