//! Lists of scales on which engines must take the same census.

use super::random::Random;
use super::{Outcome, compare};
use quantscope_kernels::Engine;

/// The edges of every class of float, alone and at the end of seeded lists of awkward lengths.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let edges: [u32; 9] =
        [0, 1, 0x007f_ffff, 0x0080_0000, 0x3f80_0000, 0x7f7f_ffff, 0x7f80_0000, 0x7f80_0001, 0x7fff_ffff];
    let edges: Vec<u32> = edges.into_iter().flat_map(|bits| [bits, bits | 0x8000_0000]).collect();
    let mut random = Random(5);
    let mut lists: Vec<Vec<u32>> = edges.iter().map(|&bits| vec![bits]).collect();
    for length in [0, 1, 63, 64, 65, 1023, 1024, 1025, 70_001] {
        let mut list = vec![0x3f80_0000; length];
        for _ in 0..length / 50 {
            let at = usize::try_from(random.below(length as u64)).unwrap();
            list[at] = edges[usize::try_from(random.below(18)).unwrap()];
        }
        list.extend(&edges[..length.min(1)]);
        lists.push(list);
    }
    for list in &lists {
        let what = format!("scale_verify of {} from {:x?}", list.len(), list.first());
        compare::results(&what, &expected.scale_verify(list).await, &found.scale_verify(list).await)?;
    }
    Ok(lists.len())
}
