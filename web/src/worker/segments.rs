//! Where each byte of an output file is: in the private file of this tab, or in a file that the user opened.
//!
//! Bytes that are written go to the end of the private file, in the order they come. Ranges that pass unchanged
//! are only noted. In the end the file is a list of pieces, neighbours joined, as many as it takes and no more.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// Where a run of bytes is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// In the private file, from this byte on.
    Stored(u64),
    /// In a file that was opened, from this byte on.
    Source(Rc<str>, u64),
}

impl Origin {
    fn advanced(&self, bytes: u64) -> Self {
        match self {
            Self::Stored(at) => Self::Stored(at + bytes),
            Self::Source(file, at) => Self::Source(Rc::clone(file), at + bytes),
        }
    }
}

/// A run of the output file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes.
    pub(super) len: u64,
    /// Where they are.
    pub(super) origin: Origin,
}

/// Why a range cannot be placed or given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SegmentError {
    /// The range goes past the end of the file.
    #[error("bytes {0}..{1} go past the end of a file of {2} bytes")]
    PastEnd(u64, u64, u64),
    /// Other bytes are there already.
    #[error("bytes {0}..{1} overlap what was written before")]
    Overlap(u64, u64),
    /// Nothing was written there.
    #[error("nothing was written at byte {0}")]
    Gap(u64),
}

/// The map of one output file.
#[derive(Debug)]
pub(super) struct Segments {
    len: u64,
    stored: u64,
    runs: BTreeMap<u64, Piece>,
}

impl Segments {
    /// A file of `len` bytes with nothing in it.
    pub(super) fn new(len: u64) -> Self {
        Self { len, stored: 0, runs: BTreeMap::new() }
    }

    /// Length of the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Finds room for bytes to be written at `offset`. Answers where in the private file they go.
    ///
    /// # Errors
    /// If they would overlap others, unless they lie wholly within what was written before, or go past the end.
    pub(super) fn place(&mut self, offset: u64, len: u64) -> Result<u64, SegmentError> {
        let end = self.end(offset, len)?;
        if let Some((start, run)) = self.runs.range(..=offset).next_back()
            && end <= start + run.len
            && let Origin::Stored(at) = run.origin
        {
            return Ok(at + (offset - start));
        }
        let at = self.stored;
        self.add(offset, end, Origin::Stored(at))?;
        self.stored += len;
        Ok(at)
    }

    /// Notes that a range passes unchanged.
    ///
    /// # Errors
    /// If it overlaps others or goes past the end.
    pub(super) fn splice(
        &mut self,
        offset: u64,
        file: Rc<str>,
        range: Range<u64>,
    ) -> Result<(), SegmentError> {
        let end = self.end(offset, range.end.saturating_sub(range.start))?;
        self.add(offset, end, Origin::Source(file, range.start))
    }

    /// The pieces that make up a range.
    ///
    /// # Errors
    /// If it goes past the end, or something in it was not written.
    pub(super) fn pieces(&self, range: Range<u64>) -> Result<Vec<Piece>, SegmentError> {
        self.end(range.start, range.end.saturating_sub(range.start))?;
        let mut pieces = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let Some((start, run)) =
                self.runs.range(..=at).next_back().filter(|(start, run)| at < *start + run.len)
            else {
                return Err(SegmentError::Gap(at));
            };
            let len = (start + run.len).min(range.end) - at;
            pieces.push(Piece { len, origin: run.origin.advanced(at - start) });
            at += len;
        }
        Ok(pieces)
    }

    fn end(&self, offset: u64, len: u64) -> Result<u64, SegmentError> {
        offset.checked_add(len).filter(|end| *end <= self.len).ok_or(SegmentError::PastEnd(
            offset,
            offset.saturating_add(len),
            self.len,
        ))
    }

    fn add(&mut self, offset: u64, end: u64, origin: Origin) -> Result<(), SegmentError> {
        if offset == end {
            return Ok(());
        }
        if self.runs.range(..end).next_back().is_some_and(|(start, run)| start + run.len > offset) {
            return Err(SegmentError::Overlap(offset, end));
        }
        let mut start = offset;
        let mut piece = Piece { len: end - offset, origin };
        if let Some((before, run)) = self.runs.range(..offset).next_back().map(|(at, run)| (*at, run.clone()))
            && before + run.len == offset
            && run.origin.advanced(run.len) == piece.origin
        {
            start = before;
            piece = Piece { len: run.len + piece.len, origin: run.origin };
        }
        if let Some(after) = self.runs.get(&end).cloned()
            && piece.origin.advanced(piece.len) == after.origin
        {
            piece.len += after.len;
            self.runs.remove(&end);
        }
        self.runs.insert(start, piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(at: u64) -> Origin {
        Origin::Source("a".into(), at)
    }

    #[test]
    fn neighbours_that_continue_each_other_are_one_piece() {
        let mut file = Segments::new(100);
        assert_eq!(file.place(0, 10), Ok(0));
        assert_eq!(file.place(10, 10), Ok(10));
        file.splice(20, "a".into(), 500..520).unwrap();
        file.splice(60, "a".into(), 540..580).unwrap();
        file.splice(40, "a".into(), 520..540).unwrap();
        assert_eq!(
            file.pieces(0..100).unwrap(),
            [Piece { len: 20, origin: Origin::Stored(0) }, Piece { len: 80, origin: source(500) }]
        );
        assert_eq!(
            file.pieces(15..30).unwrap(),
            [Piece { len: 5, origin: Origin::Stored(15) }, Piece { len: 10, origin: source(500) }]
        );
    }

    #[test]
    fn bytes_written_out_of_order_are_found() {
        let mut file = Segments::new(30);
        assert_eq!(file.place(20, 10), Ok(0));
        assert_eq!(file.place(0, 20), Ok(10));
        assert_eq!(
            file.pieces(0..30).unwrap(),
            [Piece { len: 20, origin: Origin::Stored(10) }, Piece { len: 10, origin: Origin::Stored(0) }]
        );
        assert_eq!(file.place(5, 4), Ok(15), "writing again goes to the same place");
        assert_eq!(file.place(22, 8), Ok(2));
    }

    #[test]
    fn overlaps_gaps_and_ends_are_refused() {
        let mut file = Segments::new(30);
        file.splice(10, "a".into(), 0..10).unwrap();
        assert_eq!(file.place(5, 6), Err(SegmentError::Overlap(5, 11)));
        assert_eq!(
            file.place(12, 2),
            Err(SegmentError::Overlap(12, 14)),
            "a spliced range is not written over"
        );
        assert_eq!(file.place(0, 30), Err(SegmentError::Overlap(0, 30)));
        assert_eq!(file.place(25, 6), Err(SegmentError::PastEnd(25, 31, 30)));
        assert_eq!(file.place(u64::MAX, 2), Err(SegmentError::PastEnd(u64::MAX, u64::MAX, 30)));
        assert_eq!(file.pieces(8..12), Err(SegmentError::Gap(8)));
        assert_eq!(file.place(0, 10), Ok(0));
        assert_eq!(file.pieces(0..30), Err(SegmentError::Gap(20)));
        assert_eq!(file.pieces(0..0).unwrap(), []);
    }
}
