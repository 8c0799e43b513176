//! Reading a header through a [`Source`]: its 8 bytes of length, its JSON, and nothing more.

use crate::door::{Source, SourceError};
use crate::header::ShardHeader;
use crate::limits::Limits;
use crate::quick::QuickReader;
use crate::spans::{judged_header, length_fault, unreadable};

/// Bytes asked for at first; from then on as many as have come, so that a length that lies about a sparse file costs
/// memory only as bytes come.
const PIECE_BYTES: u64 = 1 << 20;

/// Room made beforehand, so that what has come is not copied as the buffer grows. Until bytes come it is addresses
/// alone, or, in a browser, less than the program itself takes.
const ROOM_BYTES: u64 = 16 << 20;

/// Reads the header of a safetensors file: exactly its 8 bytes of length and the `n` bytes they announce. Only of a
/// header of more than a MiB that is spelled in no usual way, what was let go is read once more.
/// `n` is compared with the file's length and with `limits` before anything is allocated.
///
/// # Errors
/// If the source fails. A damaged header is no error but a [`ShardHeader`] with defects.
pub async fn read_header(source: &dyn Source, limits: &Limits) -> Result<ShardHeader, SourceError> {
    let file_len = source.len();
    if file_len < 8 {
        let reason = format!("the file has {file_len} bytes, the header's length alone takes 8");
        return Ok(unreadable(0, file_len, reason, file_len));
    }
    let mut length = [0_u8; 8];
    source.read(0, &mut length).await?;
    let header_len = u64::from_le_bytes(length);
    if let Some(reason) = length_fault(header_len, file_len, limits) {
        return Ok(unreadable(header_len, file_len, reason, 0));
    }
    let mut reader = QuickReader::new(header_len, limits);
    let (begin, window, is_usual) = read_usual(source, header_len, &mut reader).await?;
    // The reader ends here either way: what it has kept makes room for the whole of an unusual header.
    let usual = Some(reader).filter(|_| is_usual).and_then(|reader| reader.finish(header_len, file_len));
    if let Some(header) = usual {
        return Ok(header);
    }
    let mut json = read_pieces(source, 8, begin).await?;
    json.extend_from_slice(&window);
    drop(window);
    Ok(judged_header(&json, file_len, limits))
}

/// Hands the JSON to a reader a window at a time, so that only what is kept of a long header takes memory. Gives where in
/// the JSON the last window begins, that window, and whether all was understood.
async fn read_usual(
    source: &dyn Source,
    header_len: u64,
    reader: &mut QuickReader,
) -> Result<(u64, Vec<u8>, bool), SourceError> {
    let mut window = Vec::new();
    let (mut begin, mut held) = (0_u64, 0_usize);
    loop {
        let read = begin.saturating_add(held as u64);
        // What was not understood is looked at again with as much behind it.
        let more = PIECE_BYTES.max(held as u64).min(header_len.saturating_sub(read));
        let filled = held.saturating_add(usize::try_from(more).unwrap_or(usize::MAX));
        if window.len() < filled {
            window.resize(filled, 0);
        }
        if let Some(buf) = window.get_mut(held..filled).filter(|buf| !buf.is_empty()) {
            source.read(read.saturating_add(8), buf).await?;
        }
        let understood = reader.read(window.get(..filled).unwrap_or_default());
        if read.saturating_add(more) >= header_len {
            window.truncate(filled);
            return Ok((begin, window, understood == filled));
        }
        window.copy_within(understood..filled, 0);
        held = filled.saturating_sub(understood);
        begin = begin.saturating_add(understood as u64);
    }
}

/// Reads `len` bytes from `offset` on, growing the buffer as they arrive.
async fn read_pieces(source: &dyn Source, offset: u64, len: u64) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    if let Ok(len) = usize::try_from(len.min(ROOM_BYTES)) {
        bytes.reserve_exact(len);
    }
    while (bytes.len() as u64) < len {
        let done = bytes.len();
        let piece =
            usize::try_from(PIECE_BYTES.max(done as u64).min(len - done as u64)).unwrap_or(usize::MAX);
        bytes.resize(done.saturating_add(piece), 0);
        if let Some(buf) = bytes.get_mut(done..) {
            source.read(offset.saturating_add(done as u64), buf).await?;
        }
    }
    Ok(bytes)
}

/// Reads a whole small file, such as a config or an index.
///
/// # Errors
/// If the source fails. A file longer than `limits.json_bytes` gives `None` and is not read.
pub async fn read_small(source: &dyn Source, limits: &Limits) -> Result<Option<Vec<u8>>, SourceError> {
    if source.len() > limits.json_bytes {
        return Ok(None);
    }
    read_pieces(source, 0, source.len()).await.map(Some)
}
