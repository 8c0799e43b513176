//! What the entries of a header say about bytes: order, holes, overlaps, sizes, the end of the file.
//!
//! The rules are those of `Metadata::validate` and `SafeTensors::read_metadata` in `safetensors` 0.8.0,
//! each tensor judged instead of the first fault reported.

use crate::faults::FaultList;
use crate::header::{Defect, Note, ShardHeader};
use crate::limits::Limits;
use crate::order::Arrange as _;
use crate::parse::{Entries, Entry, judged_entries};
use crate::quick::quick_header;
use crate::tensors::{TensorInfo, Tensors};

impl ShardHeader {
    /// Reads a header from its JSON, the bytes after the 8-byte length. Never fails: a header that
    /// cannot be understood is a header with defects.
    ///
    /// `file_len` is the length of the whole file in bytes.
    ///
    /// ```
    /// use quantscope_format::{Limits, ShardHeader};
    /// let json = br#"{"w":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}}"#;
    /// let header = ShardHeader::parse(json, 8 + json.len() as u64 + 12, &Limits::default());
    /// assert!(header.is_sound());
    /// let tensor = header.tensors.get(0).unwrap();
    /// assert_eq!((tensor.name, tensor.shape, tensor.byte_len()), ("w", &[2, 3][..], 12));
    /// ```
    #[must_use]
    pub fn parse(json: &[u8], file_len: u64, limits: &Limits) -> Self {
        let header_len = json.len() as u64;
        if let Some(reason) = length_fault(header_len, file_len, limits) {
            return unreadable(header_len, file_len, reason, 0);
        }
        quick_header(json, file_len, limits).unwrap_or_else(|| judged_header(json, file_len, limits))
    }
}

/// Reads and judges any header, the unusual ones included.
pub(crate) fn judged_header(json: &[u8], file_len: u64, limits: &Limits) -> ShardHeader {
    judge(judged_entries(json, limits), json.len() as u64, file_len)
}

/// Why a header of `header_len` bytes cannot be in a file of `file_len` bytes, if it cannot.
pub(crate) fn length_fault(header_len: u64, file_len: u64, limits: &Limits) -> Option<String> {
    if header_len > limits.header_bytes {
        return Some(format!(
            "it is {header_len} bytes long, over the limit `header` of {}",
            limits.header_bytes
        ));
    }
    let room = file_len.saturating_sub(8);
    (header_len > room)
        .then(|| format!("its length is {header_len} bytes, but only {room} follow in the file"))
}

/// A header of which nothing is known but why.
pub(crate) fn unreadable(header_len: u64, file_len: u64, reason: String, at: u64) -> ShardHeader {
    let defects = vec![Defect::Unreadable { reason, at }];
    ShardHeader { header_len, file_len, defects, ..ShardHeader::default() }
}

/// Judges what the entries of a header say about bytes.
pub(crate) fn judge(parsed: Entries<'_>, header_len: u64, file_len: u64) -> ShardHeader {
    let Entries { mut entries, metadata, mut report, incomplete } = parsed;
    let data_start = header_len.saturating_add(8);
    // Entries without a span come first; none of them reaches `tensors`.
    entries.arrange_by_key(|entry| entry.span);
    let end = tiling(&entries, incomplete, &mut report);
    end_of_file(&entries, end, incomplete, file_len.saturating_sub(data_start), &mut report);

    let mut tensors = Tensors::default();
    for entry in entries {
        let (Some((dtype, shape)), Some((begin, end))) = (entry.form, entry.span) else { continue };
        let tensor = TensorInfo {
            name: &entry.name,
            dtype,
            shape: &shape,
            begin: begin.saturating_add(data_start),
            end: end.saturating_add(data_start),
        };
        if begin <= end {
            size(&tensor, end - begin, &mut report);
        }
        let element_bytes = dtype.bits() / 8;
        if element_bytes > 1 && begin < end && !tensor.begin.is_multiple_of(element_bytes) {
            report.note(Note::Unaligned { tensor: tensor.name.to_owned(), begin: tensor.begin });
        }
        tensors.push(tensor);
    }
    tensors.shrink();
    let (defects, notes) = report.finish();
    ShardHeader { tensors, metadata, header_len, file_len, defects, notes }
}

/// Judges each span against those before it; gives the largest end.
fn tiling(entries: &[Entry<'_>], incomplete: bool, report: &mut FaultList) -> u64 {
    let mut reached = 0_u64;
    let mut reached_by: Option<&str> = None;
    for entry in entries {
        let Some((begin, end)) = entry.span else { continue };
        let what = match reached_by {
            _ if end < begin => Some("is reversed".to_owned()),
            // Where entries are missing, holes are theirs.
            _ if begin == reached || (begin > reached && incomplete) => None,
            None => Some("does not start at 0".to_owned()),
            Some(before) if begin > reached => Some(format!("leaves a hole after {before}")),
            Some(before) => Some(format!("overlaps {before}")),
        };
        if let Some(what) = what {
            report.defect(Defect::Span { tensor: entry.name.clone().into_owned(), begin, end, what });
        }
        if end >= reached && end >= begin {
            reached = end;
            reached_by = Some(&entry.name);
        }
    }
    reached
}

fn end_of_file(entries: &[Entry<'_>], end: u64, incomplete: bool, data_len: u64, report: &mut FaultList) {
    if end > data_len {
        let mut past_end =
            entries.iter().filter(|e| e.span.is_some_and(|(begin, end)| begin <= end && end > data_len));
        let first = past_end.next().map(|entry| entry.name.clone().into_owned()).unwrap_or_default();
        let affected = (past_end.count() as u64).saturating_add(1);
        report.defect(Defect::Truncated { missing: end - data_len, affected, first });
    } else if end < data_len && !incomplete {
        report.defect(Defect::Trailing { extra: data_len - end });
    }
}

/// Compares shape times width with the span.
fn size(tensor: &TensorInfo<'_>, found: u64, report: &mut FaultList) {
    let bits = tensor.elements().and_then(|n| n.checked_mul(tensor.dtype.bits()));
    let needed = match bits {
        None => "more than 2^64 / 8".to_owned(),
        Some(bits) if !bits.is_multiple_of(8) => bits_as_bytes(bits),
        Some(bits) if bits / 8 != found => (bits / 8).to_string(),
        Some(_) => return,
    };
    let (shape, dtype) = (tensor.shape.to_vec(), tensor.dtype);
    report.defect(Defect::Size { tensor: tensor.name.to_owned(), shape, dtype, needed, found });
}

/// Bits as bytes with a fraction: 12 is `1.5`. Types of 4 and 6 bits leave halves and quarters.
fn bits_as_bytes(bits: u64) -> String {
    let fraction = match bits % 8 {
        2 => "25",
        4 => "5",
        6 => "75",
        _ => "0",
    };
    format!("{}.{fraction}", bits / 8)
}
