//! The safetensors header: a reader with `u64` offsets that reports everything, and a writer.
//!
//! Here are the facts as types; reading is in `parse`, `spans` and `read`, writing in `layout`.
//!
//! The reader differs from the `safetensors` crate on purpose: it needs the header and the file's
//! length only, it works with offsets past 4 GiB on a 32-bit target, and it does not stop at the first
//! fault. What the crate refuses becomes a [`Defect`], what the crate lets through although it should
//! not becomes a [`Note`].

use crate::tensors::{TensorInfo, Tensors};
use quantscope_numeric::Dtype;
use std::ops::Range;

/// A fault for which the reference parser refuses the shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// Fewer than 8 bytes, a length past the end or over the limit, not UTF-8, not JSON, wrong types.
    /// Tensors that were understood in spite of it are listed: those before a syntax error, and all
    /// but the one in question where only a field has the wrong type.
    #[error("the header cannot be read: {reason} (byte {at})")]
    Unreadable {
        /// What is wrong, in words.
        reason: String,
        /// Byte of the file at which it was noticed.
        at: u64,
    },
    /// A hole, an overlap, a reversed span or a first tensor that does not start at 0.
    #[error("{tensor} [{begin}, {end}) {what}")]
    Span {
        /// Tensor whose span is wrong.
        tensor: String,
        /// First byte, counted from the start of the data.
        begin: u64,
        /// One past the last byte.
        end: u64,
        /// `leaves a hole after X`, `overlaps X`, `is reversed`, `does not start at 0`.
        what: String,
    },
    /// A tag that is no known type. The tensor is left out of [`ShardHeader::tensors`].
    #[error("{tensor} has the unknown dtype {dtype:?}")]
    UnknownDtype {
        /// Tensor.
        tensor: String,
        /// The tag.
        dtype: String,
    },
    /// Shape times width is not the span, or overflows, or is not whole bytes.
    #[error("{tensor}: {shape:?} x {dtype} needs {needed} bytes, its span has {found}")]
    Size {
        /// Tensor.
        tensor: String,
        /// Its dimensions.
        shape: Vec<u64>,
        /// Its type.
        dtype: Dtype,
        /// Bytes needed, or why they cannot be counted.
        needed: String,
        /// Bytes the span covers.
        found: u64,
    },
    /// The file ends before the last tensor does.
    #[error("the file is {missing} bytes short; {affected} tensors are affected, the first is {first}")]
    Truncated {
        /// Bytes missing.
        missing: u64,
        /// Tensors that lie wholly or partly past the end.
        affected: u64,
        /// The first of them in file order.
        first: String,
    },
    /// Bytes follow the last tensor.
    #[error("{extra} bytes follow the last tensor")]
    Trailing {
        /// How many.
        extra: u64,
    },
    /// More than a limit allows: a name, the dimensions of one tensor, the number of tensors.
    #[error("{what} over the limit {}of {limit}: {found}", quoted(name))]
    OverLimit {
        /// What is too large, naming the tensor if there is one.
        what: String,
        /// Name of the limit, by which it is raised; empty for one that cannot be.
        name: &'static str,
        /// The limit.
        limit: u64,
        /// What was found.
        found: u64,
    },
}

fn quoted(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("`{name}` ") }
}

/// Something the reference parser lets through and a reader should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The same tensor name twice; the last one counts.
    DuplicateName(String),
    /// The same key twice inside `__metadata__`; the last one counts.
    DuplicateMetadataKey(String),
    /// `"__metadata__": null`.
    NullMetadata,
    /// White space before the opening brace.
    LeadingWhitespace,
    /// A field of a tensor that no reader knows.
    UnknownField {
        /// Tensor.
        tensor: String,
        /// Field.
        field: String,
    },
    /// A tensor spelled in a way that the reference takes and other readers do not, such as an array
    /// of three values in place of an object.
    UnusualForm {
        /// Tensor.
        tensor: String,
        /// What is unusual, in words.
        what: String,
    },
    /// Control characters, an absolute path or `..` in a name.
    SuspiciousName(String),
    /// A name of no characters.
    EmptyName,
    /// A tensor that does not begin at a multiple of its element size.
    Unaligned {
        /// Tensor.
        tensor: String,
        /// First byte, counted from the start of the file.
        begin: u64,
    },
}

/// What a shard's header says, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardHeader {
    /// Tensors in the order of their offsets. Spans may still be wrong if `defects` says so.
    pub tensors: Tensors,
    /// `__metadata__`, in header order.
    pub metadata: Vec<(String, String)>,
    /// Length of the JSON, without the 8 bytes before it.
    pub header_len: u64,
    /// Length of the file.
    pub file_len: u64,
    /// Faults for which the reference refuses the file, the gravest first.
    pub defects: Vec<Defect>,
    /// Oddities the reference lets through.
    pub notes: Vec<Note>,
}

impl ShardHeader {
    /// First byte of the data.
    #[must_use]
    pub fn data_start(&self) -> u64 {
        self.header_len.saturating_add(8)
    }

    /// Whether the reference parser would load the file.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.defects.is_empty()
    }

    /// Whether the tensor's bytes can be read: its span is right in itself and inside the file.
    #[must_use]
    pub fn is_readable(&self, tensor: TensorInfo<'_>) -> bool {
        tensor.begin <= tensor.end
            && tensor.end <= self.file_len
            && tensor.elements().and_then(|n| tensor.dtype.byte_len(n)) == Some(tensor.byte_len())
    }
}

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Full name.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions.
    pub shape: Vec<u64>,
}

/// A header ready to be written, with the place of each tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderLayout {
    /// The 8-byte length and the JSON, padded with spaces to a multiple of 8.
    pub bytes: Vec<u8>,
    /// For each tensor, in the order of the specs given: its span, counted from the start of the file.
    pub spans: Vec<Range<u64>>,
    /// Length of the whole file.
    pub file_len: u64,
}
