//! Counting bytes.

/// Counts of the 256 bytes, kept four times over: equal neighbours, which are common, would otherwise wait
/// for each other's counter.
pub(crate) struct Histogram {
    lanes: [[u32; 256]; 4],
    totals: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { lanes: [[0; 256]; 4], totals: vec![0; 256] }
    }
}

impl Histogram {
    /// Counts `bytes`.
    pub(crate) fn count(&mut self, bytes: &[u8]) {
        // A lane's counters cannot overflow within one part.
        for part in bytes.chunks(1 << 30) {
            let (quads, rest) = part.as_chunks::<4>();
            for quad in quads {
                for (lane, &byte) in self.lanes.iter_mut().zip(quad) {
                    lane[usize::from(byte)] += 1;
                }
            }
            for &byte in rest {
                self.lanes[0][usize::from(byte)] += 1;
            }
            for lane in &mut self.lanes {
                for (total, count) in self.totals.iter_mut().zip(lane.iter_mut()) {
                    *total += u64::from(std::mem::take(count));
                }
            }
        }
    }

    /// The counts so far.
    pub(crate) fn totals(self) -> Vec<u64> {
        self.totals
    }
}
