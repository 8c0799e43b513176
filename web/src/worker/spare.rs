//! Buffers that travel between workers, used again when they come back: fresh memory takes the browser longer than what
//! is then done with its bytes.

use js_sys::{ArrayBuffer, Uint8Array};
use std::cell::RefCell;

/// Buffers below this are not kept.
const LEAST: u32 = 1 << 16;
/// Bytes that are kept, at most.
const MOST: u64 = 48 << 20;

thread_local! {
    /// The last one used last.
    static SPARE: RefCell<Vec<ArrayBuffer>> = const { RefCell::new(Vec::new()) };
}

/// So many bytes, to be written over.
pub(super) fn sized(len: u32) -> Uint8Array {
    let found = SPARE.with_borrow_mut(|spare| {
        let fits = |buffer: &ArrayBuffer| {
            let there = buffer.byte_length();
            there >= len && there / 4 <= len
        };
        spare.iter().rposition(fits).map(|at| spare.remove(at))
    });
    let buffer = found.unwrap_or_else(|| ArrayBuffer::new(len));
    Uint8Array::new_with_byte_offset_and_length(&buffer, 0, len)
}

/// A copy of some bytes, of which a tile has fewer than 2^32.
pub(super) fn copy(bytes: &[u8]) -> Uint8Array {
    let copy = sized(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    copy.copy_from(bytes);
    copy
}

/// Keeps a buffer for the next one of about its size.
pub(super) fn keep(bytes: &Uint8Array) {
    let buffer = bytes.buffer();
    if buffer.byte_length() < LEAST {
        return;
    }
    SPARE.with_borrow_mut(|spare| {
        spare.push(buffer);
        let mut held: u64 = spare.iter().map(|buffer| u64::from(buffer.byte_length())).sum();
        while held > MOST && !spare.is_empty() {
            held -= u64::from(spare.remove(0).byte_length());
        }
    });
}
