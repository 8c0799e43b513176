//! The faults and notes of one header, in order and bounded: a file made of faults costs no more.

use crate::header::{Defect, Note};
use crate::order::Arrange as _;

/// Most faults, and most notes, that are kept of one header.
pub(crate) const MOST_REPORTED: u64 = 10_000;

/// Faults and notes, bounded.
#[derive(Default)]
pub(crate) struct FaultList {
    pub(crate) defects: Vec<Defect>,
    pub(crate) notes: Vec<Note>,
    defect_count: u64,
}

impl FaultList {
    pub(crate) fn defect(&mut self, defect: Defect) {
        self.defect_count += 1;
        if self.defect_count <= MOST_REPORTED {
            self.defects.push(defect);
        }
    }

    pub(crate) fn note(&mut self, note: Note) {
        if (self.notes.len() as u64) < MOST_REPORTED {
            self.notes.push(note);
        }
    }

    /// The defects, the gravest first, and last a word on those that were not kept.
    pub(crate) fn finish(mut self) -> (Vec<Defect>, Vec<Note>) {
        self.defects.arrange_by_key(|defect| match defect {
            Defect::Unreadable { .. } => 0,
            Defect::Truncated { .. } => 1,
            Defect::Span { .. } => 2,
            Defect::Size { .. } => 3,
            Defect::UnknownDtype { .. } => 4,
            Defect::OverLimit { .. } => 5,
            Defect::Trailing { .. } => 6,
        });
        if self.defect_count > MOST_REPORTED {
            self.defects.push(Defect::OverLimit {
                what: "faults in one header, the rest is not listed,".to_owned(),
                name: "",
                limit: MOST_REPORTED,
                found: self.defect_count,
            });
        }
        (self.defects, self.notes)
    }
}
