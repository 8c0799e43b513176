//! Buffers that are used again.
//!
//! Memory that is asked of the system for each tile anew comes as fresh pages, and each of them costs more than what
//! is then done with its bytes. A buffer that was dropped therefore waits for the next one of about its size.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Buffers below this are left to the allocator, which keeps such memory by itself.
const LEAST: usize = 1 << 16;

/// Bytes that wait, at most.
const WAITING_BYTES: usize = 64 << 20;

/// Buffers that wait, the last one used last.
static WAITING: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes to be written over: what is in them at first is of an earlier use, or zero.
#[derive(Default, PartialEq, Eq)]
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// A buffer of that many bytes.
    #[must_use]
    pub fn of(len: usize) -> Self {
        if len < LEAST {
            return Self(vec![0; len]);
        }
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        // Of those that are not much larger the one of the least memory, or large ones would serve small ends; of the
        // same memory the last one used.
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= len && buffer.capacity() / 2 <= len;
        let fitting = waiting.iter().enumerate().rev().filter(|(_, buffer)| fits(buffer));
        let found = fitting.min_by_key(|(_, buffer)| buffer.capacity()).map(|(at, _)| at);
        let found = found.map(|at| waiting.remove(at));
        drop(waiting);
        match found {
            Some(mut bytes) => {
                bytes.resize(len, 0);
                Self(bytes)
            }
            None => Self(vec![0; len]),
        }
    }

    /// The bytes, which are used again if they become a buffer once more.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.0.len()).finish()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.0);
        if bytes.capacity() < LEAST || bytes.capacity() > WAITING_BYTES {
            return;
        }
        let mut gone = Vec::new();
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(bytes);
        // Those that nobody wanted for longest go.
        let mut held: usize = waiting.iter().map(Vec::capacity).sum();
        while held > WAITING_BYTES && !waiting.is_empty() {
            let oldest = waiting.remove(0);
            held -= oldest.capacity();
            gone.push(oldest);
        }
        drop(waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, LEAST, WAITING_BYTES};

    /// Whatever was used before: a buffer is as long as it was asked for, and can be written over.
    #[test]
    fn buffers_have_the_length_they_were_asked_for() {
        for len in [0, 1, LEAST - 1, LEAST, 3 * LEAST + 1, LEAST + 7, 9 * LEAST, 2 * LEAST, WAITING_BYTES + 1]
        {
            let mut buffer = Buffer::of(len);
            assert_eq!(buffer.len(), len);
            buffer.fill(0xa5);
            assert!(buffer.iter().all(|&byte| byte == 0xa5));
        }
    }

    /// Memory that was used is used again, for about as many bytes. Other tests leave buffers of this size alone.
    #[test]
    fn memory_is_used_again() {
        const SIZE: usize = 5_000_011;
        let buffer = Buffer::of(SIZE);
        let place = buffer.as_ptr();
        drop(buffer);
        assert_ne!(Buffer::of(SIZE / 8).as_ptr(), place, "a small buffer takes no large one's memory");
        let again = Buffer::of(SIZE - 1);
        assert_eq!((again.as_ptr(), again.len()), (place, SIZE - 1));
        let kept = Buffer::from(again.into_vec());
        assert_eq!(kept.as_ptr(), place);
    }
}
