//! Writing a header: the order, the offsets and the padding of the reference, decided before a byte moves.
//!
//! The order is that of `prepare` in `safetensors` 0.8.0: by type, the widest alignment first, then by
//! name; the JSON is padded with spaces to a multiple of 8.

use crate::header::{HeaderLayout, TensorSpec};
use crate::order::Arrange as _;
use crate::parse::is_suspicious;
use quantscope_numeric::Dtype;
use std::collections::HashSet;

/// Longest header the reference reads and writes, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// Bytes of the length that stands before a header.
const LENGTH: usize = 8;

/// Why a header cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Two tensors, or two metadata entries, of one name.
    #[error("{name:?} would be written twice; names in a file must differ")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A name that a reader refuses or that a program could take for a path.
    #[error("{name:?} cannot be the name of a tensor: {reason}; rename it first")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor whose bytes cannot be counted.
    #[error("{tensor}: {shape:?} x {dtype} {reason}")]
    Size {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        shape: Vec<u64>,
        /// Its type.
        dtype: Dtype,
        /// `is not whole bytes`, `is more than 64 bits can count`.
        reason: String,
    },
    /// All tensors together are more than 64 bits can count.
    #[error("the file would be longer than 64 bits can count, at {tensor}; write more, smaller files")]
    TooLong {
        /// The tensor at which the sum overflows.
        tensor: String,
    },
    /// The header is longer than any reader takes.
    #[error("the header would be {bytes} bytes, readers take {limit}; write more, smaller files")]
    HeaderTooLong {
        /// Its length.
        bytes: u64,
        /// The longest that is read.
        limit: u64,
    },
}

impl HeaderLayout {
    /// Lays out a file that holds `specs`, with `metadata` in the order given.
    ///
    /// # Errors
    /// If a name comes twice or is unfit, or sizes cannot be counted.
    ///
    /// ```
    /// use quantscope_format::{HeaderLayout, TensorSpec};
    /// use quantscope_numeric::Dtype;
    /// let spec = |name: &str, dtype| TensorSpec { name: name.into(), dtype, shape: vec![4] };
    /// let layout = HeaderLayout::new(&[spec("codes", Dtype::U8), spec("scale", Dtype::F32)], &[]).unwrap();
    /// let header_end = layout.bytes.len() as u64;
    /// assert_eq!(layout.spans, [header_end + 16..header_end + 20, header_end..header_end + 16]);
    /// assert_eq!(layout.file_len, header_end + 20);
    /// ```
    pub fn new(specs: &[TensorSpec], metadata: &[(String, String)]) -> Result<Self, LayoutError> {
        Self::of(&specs.iter().collect::<Vec<_>>(), metadata)
    }

    /// The same for tensors that lie apart.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(specs: &[&TensorSpec], metadata: &[(String, String)]) -> Result<Self, LayoutError> {
        check_names(specs, metadata)?;
        let mut order: Vec<usize> = (0..specs.len()).collect();
        let key =
            |index: &usize| specs.get(*index).map(|spec| (std::cmp::Reverse(spec.dtype), spec.name.as_str()));
        order.arrange_by(|a, b| key(a).cmp(&key(b)));

        // The length of the header stands before it.
        let mut json = vec![0; LENGTH];
        json.push(b'{');
        if !metadata.is_empty() {
            json.extend_from_slice(b"\"__metadata__\":{");
            for (i, (name, value)) in metadata.iter().enumerate() {
                if i > 0 {
                    json.push(b',');
                }
                push_string(&mut json, name);
                json.push(b':');
                push_string(&mut json, value);
            }
            json.push(b'}');
        }
        let mut spans = vec![0..0; specs.len()];
        let mut end = 0_u64;
        for &index in &order {
            let (Some(spec), Some(span)) = (specs.get(index), spans.get_mut(index)) else { continue };
            let begin = end;
            let too_long = || LayoutError::TooLong { tensor: spec.name.clone() };
            end = begin.checked_add(byte_len(spec)?).ok_or_else(too_long)?;
            *span = begin..end;
            if json.len() > LENGTH + 1 {
                json.push(b',');
            }
            push_string(&mut json, &spec.name);
            let shape = spec.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
            let entry = format!(
                ":{{\"dtype\":\"{}\",\"shape\":[{shape}],\"data_offsets\":[{begin},{end}]}}",
                spec.dtype
            );
            json.extend_from_slice(entry.as_bytes());
        }
        json.push(b'}');
        json.resize(json.len().next_multiple_of(8), b' ');
        // It is kept for as long as the plan, and may be large.
        json.shrink_to_fit();

        let header_len = (json.len() - LENGTH) as u64;
        if header_len > LONGEST_HEADER {
            return Err(LayoutError::HeaderTooLong { bytes: header_len, limit: LONGEST_HEADER });
        }
        let data_start = json.len() as u64;
        let too_long = || LayoutError::TooLong {
            tensor: order.last().and_then(|&i| specs.get(i)).map_or_else(String::new, |s| s.name.clone()),
        };
        let file_len = end.checked_add(data_start).ok_or_else(too_long)?;
        for span in &mut spans {
            // No sum here exceeds `file_len`.
            *span = span.start.saturating_add(data_start)..span.end.saturating_add(data_start);
        }
        if let Some(length) = json.first_chunk_mut::<LENGTH>() {
            *length = header_len.to_le_bytes();
        }
        Ok(Self { bytes: json, spans, file_len })
    }
}

fn check_names(specs: &[&TensorSpec], metadata: &[(String, String)]) -> Result<(), LayoutError> {
    let mut seen = HashSet::new();
    for TensorSpec { name, .. } in specs {
        let reason = if name == "__metadata__" {
            "the format keeps it for itself"
        } else if name.is_empty() {
            "it is empty"
        } else if is_suspicious(name) {
            "it holds control characters or looks like a path"
        } else if seen.insert(name.as_str()) {
            continue;
        } else {
            return Err(LayoutError::Duplicate { name: name.clone() });
        };
        return Err(LayoutError::Name { name: name.clone(), reason: reason.to_owned() });
    }
    seen.clear();
    match metadata.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        Some((name, _)) => Err(LayoutError::Duplicate { name: name.clone() }),
        None => Ok(()),
    }
}

fn byte_len(spec: &TensorSpec) -> Result<u64, LayoutError> {
    let error = |reason: &str| LayoutError::Size {
        tensor: spec.name.clone(),
        shape: spec.shape.clone(),
        dtype: spec.dtype,
        reason: reason.to_owned(),
    };
    let elements = spec.shape.iter().try_fold(1_u64, |n, &d| n.checked_mul(d));
    let bits = elements.and_then(|n| n.checked_mul(spec.dtype.bits()));
    let bits = bits.ok_or_else(|| error("is more than 64 bits can count"))?;
    if bits.is_multiple_of(8) { Ok(bits / 8) } else { Err(error("is not whole bytes")) }
}

/// A JSON string as `serde_json` writes it, which is how the reference does.
fn push_string(json: &mut Vec<u8>, text: &str) {
    json.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}
