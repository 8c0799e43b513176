//! What the machine can do: copying memory, reading a file that the system keeps, hashing it.

use crate::Contestant;
use anyhow::{Context as _, Result};
use sha2::Digest as _;
use std::cell::RefCell;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::rc::Rc;
use xxhash_rust::xxh3::Xxh3;

/// Bytes that are read at a time: what the command-line tool reads at a time.
const PIECE: usize = 1 << 20;

/// A file as bytes, or which file could not be read.
pub(crate) fn bytes(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("reading {}", file.display()))
}

/// The check of a result: the first eight bytes of the SHA-256 of its parts, one after the other.
pub(crate) fn check(parts: &[&[u8]]) -> u64 {
    let mut hash = sha2::Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let hash: [u8; 32] = hash.finalize().into();
    hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// A contestant whose result is a value that both its halves share.
pub(crate) fn shared<T: 'static>(
    state: T,
    mut run: impl FnMut(&mut T) -> Result<()> + 'static,
    check: impl Fn(&T) -> u64 + 'static,
) -> Contestant {
    let state = Rc::new(RefCell::new(state));
    let checked = Rc::clone(&state);
    Contestant {
        run: Box::new(move || run(&mut state.borrow_mut())),
        check: Box::new(move || check(&checked.borrow())),
    }
}

/// `memcpy` of the bytes of a file into a buffer that is there already.
pub(crate) fn copy(file: &Path) -> Result<Contestant> {
    let source = bytes(file)?;
    let into = vec![1_u8; source.len()];
    Ok(shared(
        (source, into),
        |(source, into)| {
            into.copy_from_slice(std::hint::black_box(source));
            Ok(())
        },
        |(_, into)| check(&[into]),
    ))
}

/// Every byte of the file once, in pieces, handed to `take`.
fn pieces(file: &mut File, piece: &mut [u8], mut take: impl FnMut(&[u8])) -> Result<()> {
    file.seek(SeekFrom::Start(0))?;
    loop {
        match file.read(piece)? {
            0 => return Ok(()),
            n => take(piece.get(..n).unwrap_or_default()),
        }
    }
}

/// Reading a file and doing nothing with it.
pub(crate) fn read(file: &Path) -> Result<Contestant> {
    let state = (File::open(file)?, vec![0_u8; PIECE], 0_u64);
    Ok(shared(
        state,
        |(file, piece, count)| {
            *count = 0;
            pieces(file, piece, |bytes| *count += std::hint::black_box(bytes).len() as u64)
        },
        |(_, _, count)| *count,
    ))
}

/// The hash that finds candidates for identical tensors, of as many pieces as the file has. It is given each right after
/// it was read, when the processor's caches still have it: here one piece again and again.
pub(crate) fn tie_hash(file: &Path) -> Result<Contestant> {
    let source = bytes(file)?;
    let piece = source.get(..PIECE).with_context(|| format!("{} is too short", file.display()))?.to_vec();
    let state = (piece, source.len() / PIECE, 0);
    Ok(shared(
        state,
        |(piece, count, hash)| {
            let mut hasher = Xxh3::new();
            for _ in 0..*count {
                hasher.update(std::hint::black_box(piece));
            }
            *hash = hasher.digest();
            Ok(())
        },
        |(_, _, hash)| *hash,
    ))
}

/// The hash of a manifest, of bytes in memory.
pub(crate) fn sha256(file: &Path) -> Result<Contestant> {
    let state = (bytes(file)?, [0_u8; 32]);
    Ok(shared(
        state,
        |(bytes, hash)| {
            *hash = sha2::Sha256::digest(std::hint::black_box(bytes)).into();
            Ok(())
        },
        |(_, hash)| check(&[hash]),
    ))
}
