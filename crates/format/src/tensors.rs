//! The tensors of a header, many in little room: names in one text, dimensions in one list.
//!
//! A header of a hundred megabytes names a million tensors. A name and a list of dimensions for each, both of their
//! own, would cost more time and memory than reading the header does.

use crate::order::Arrange as _;
use quantscope_numeric::Dtype;
use std::fmt;

/// One tensor of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorInfo<'a> {
    /// Full name, exactly as the header spells it.
    pub name: &'a str,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first; empty for a scalar.
    pub shape: &'a [u64],
    /// First byte, counted from the start of the file.
    pub begin: u64,
    /// One past the last byte, counted from the start of the file.
    pub end: u64,
}

impl TensorInfo<'_> {
    /// Bytes the tensor's span covers.
    #[must_use]
    pub fn byte_len(self) -> u64 {
        self.end.saturating_sub(self.begin)
    }

    /// Number of elements; `None` if the product overflows 64 bits.
    #[must_use]
    pub fn elements(self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |n, &d| n.checked_mul(d))
    }
}

/// Where the parts of a tensor are.
#[derive(Clone, Copy)]
struct Entry {
    begin: u64,
    end: u64,
    /// Where its name begins, and its dimensions.
    name_at: usize,
    dims_at: usize,
    name_len: u32,
    dims_len: u16,
    dtype: Dtype,
}

/// Tensors in an order.
///
/// ```
/// use quantscope_format::{TensorInfo, Tensors};
/// use quantscope_numeric::Dtype;
/// let tensor = TensorInfo { name: "w", dtype: Dtype::BF16, shape: &[2, 3], begin: 8, end: 20 };
/// let tensors: Tensors = [tensor].into_iter().collect();
/// assert_eq!(tensors.get(0), Some(tensor));
/// ```
#[derive(Clone, Default)]
pub struct Tensors {
    /// One behind the other.
    names: String,
    /// Likewise.
    dims: Vec<u64>,
    entries: Vec<Entry>,
}

impl Tensors {
    /// None yet, with room for so many that have names of so many bytes together.
    pub(crate) fn with_room(count: usize, name_bytes: usize) -> Self {
        Self {
            names: String::with_capacity(name_bytes),
            dims: Vec::new(),
            entries: Vec::with_capacity(count),
        }
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One by its place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<TensorInfo<'_>> {
        self.entries.get(place).map(|entry| self.info(entry))
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = TensorInfo<'_>> + ExactSizeIterator + Clone {
        self.entries.iter().map(|entry| self.info(entry))
    }

    fn info(&self, entry: &Entry) -> TensorInfo<'_> {
        let name = entry.name_at..entry.name_at.saturating_add(entry.name_len as usize);
        let dims = entry.dims_at..entry.dims_at.saturating_add(usize::from(entry.dims_len));
        TensorInfo {
            name: self.names.get(name).unwrap_or_default(),
            dtype: entry.dtype,
            shape: self.dims.get(dims).unwrap_or_default(),
            begin: entry.begin,
            end: entry.end,
        }
    }

    /// Adds one; `false`, and nothing is added, if its name has 2^32 bytes or more, or its shape more than 65,535
    /// dimensions. Readers of headers tell of such tensors instead of keeping them.
    pub(crate) fn push(&mut self, tensor: TensorInfo<'_>) -> bool {
        let (Ok(name_len), Ok(dims_len)) =
            (u32::try_from(tensor.name.len()), u16::try_from(tensor.shape.len()))
        else {
            return false;
        };
        let name_at = self.names.len();
        self.names.push_str(tensor.name);
        // Neighbours are often of one shape, which is kept once then.
        let near = self.entries.last().map(|last| (last.dims_at, self.info(last).shape));
        let dims_at =
            near.filter(|(_, shape)| *shape == tensor.shape).map(|(at, _)| at).unwrap_or_else(|| {
                let at = self.dims.len();
                self.dims.extend_from_slice(tensor.shape);
                at
            });
        let TensorInfo { dtype, begin, end, .. } = tensor;
        self.entries.push(Entry { begin, end, name_at, dims_at, name_len, dims_len, dtype });
        true
    }

    /// Orders them by their places in the file.
    pub(crate) fn sort(&mut self) {
        let key = |entry: &Entry| (entry.begin, entry.end);
        if !self.entries.is_sorted_by_key(key) {
            self.entries.arrange_by_key(key);
        }
    }

    /// Gives back the room that is not needed.
    pub(crate) fn shrink(&mut self) {
        self.names.shrink_to_fit();
        self.dims.shrink_to_fit();
        self.entries.shrink_to_fit();
    }
}

/// Tensors whose names have 2^32 bytes or more, or whose shapes have more than 65,535 dimensions, are left out.
impl<'a> FromIterator<TensorInfo<'a>> for Tensors {
    fn from_iter<I: IntoIterator<Item = TensorInfo<'a>>>(tensors: I) -> Self {
        let mut all = Self::default();
        for tensor in tensors {
            all.push(tensor);
        }
        all
    }
}

impl PartialEq for Tensors {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Tensors {}

impl fmt::Debug for Tensors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
