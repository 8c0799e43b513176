//! Lists of bytes that engines must count alike.

use super::random::Random;
use super::{Outcome, compare};
use quantscope_kernels::Engine;

/// Seeded lists of awkward lengths: all bytes, one byte alone, a byte that occurs late.
pub(crate) async fn agree(expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    let mut random = Random(15);
    let mut lists = 0;
    for length in [0_usize, 1, 2, 3, 4, 5, 63, 64, 255, 257, 4095, 4096, 4097, 70_001, 300_000] {
        for mask in [0xff, 0x0f, 0x00] {
            let mut bytes = random.bytes(length);
            bytes.iter_mut().for_each(|byte| *byte &= mask);
            if let Some(last) = bytes.last_mut() {
                *last = 0xff;
            }
            let what = format!("byte_census of {length} bytes under mask {mask:#x}");
            compare::results(&what, &expected.byte_census(&bytes).await, &found.byte_census(&bytes).await)?;
            lists += 1;
        }
    }
    Ok(lists)
}
