//! Files read from one place to the next as streams: the browser goes on reading meanwhile, and puts the bytes into one
//! buffer again and again. A slice read whole comes in fresh memory, which takes it twice as long.

use super::{blob, scope};
use futures_util::future::LocalBoxFuture;
use js_sys::{ArrayBuffer, Reflect, Uint8Array};
use std::cell::RefCell;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, ReadableStreamByobReader, ReadableStreamGetReaderOptions, ReadableStreamReaderMode};

/// Bytes that are asked of the browser at once. It gives some hundred KiB.
const ASKED: u32 = 1 << 20;
/// Bytes between two reads that are sooner read than a stream is opened behind them.
const GAP: u64 = 1 << 20;
/// Streams that wait for the next read of their file.
const MOST: usize = 4;
/// A stream that lay still for so long, in milliseconds, is not read any more: a new one notices if the file changed.
const STILL_MS: f64 = 2000.0;

thread_local! {
    static WAITING: RefCell<Vec<Stream>> = const { RefCell::new(Vec::new()) };
}

/// A file that is being read.
struct Stream {
    blob: Blob,
    /// Where the next byte lies.
    at: u64,
    reader: ReadableStreamByobReader,
    buffer: ArrayBuffer,
    used: f64,
}

/// Reads from `offset` on into `buf`, in a stream that waits there or that a large read opens. Answers how many bytes
/// came: fewer only at the file's end. `None` where slices are to be read.
// Not inlined, or it would be a part of what opens files, which is here first.
#[inline(never)]
pub(super) fn read<'a>(
    blob: &Blob,
    offset: u64,
    end: Option<u64>,
    buf: &'a mut [u8],
) -> Option<LocalBoxFuture<'a, Result<usize, JsValue>>> {
    let stream = Stream::waiting(blob, offset).or_else(|| Stream::open(blob, offset, end?))?;
    Some(Box::pin(stream.fill(offset, buf)))
}

impl Stream {
    /// The stream that goes on at `offset` of a file, or shortly before it.
    fn waiting(blob: &Blob, offset: u64) -> Option<Self> {
        let now = now();
        WAITING.with_borrow_mut(|waiting| {
            waiting.retain(|stream| now - stream.used < STILL_MS);
            let fits = |stream: &Self| {
                stream.blob == *blob && (stream.at..=stream.at.saturating_add(GAP)).contains(&offset)
            };
            waiting.iter().position(fits).map(|at| waiting.remove(at))
        })
    }

    /// A stream from `offset` to `end`; `None` in browsers that cannot fill a buffer of ours.
    fn open(blob: &Blob, offset: u64, end: u64) -> Option<Self> {
        let options = ReadableStreamGetReaderOptions::new();
        options.set_mode(ReadableStreamReaderMode::Byob);
        let stream = blob::slice(blob, offset..end).ok()?.stream();
        // Throws where the stream is of another kind.
        let get_reader =
            Reflect::get(&stream, &"getReader".into()).ok()?.dyn_into::<js_sys::Function>().ok()?;
        let reader = get_reader.call1(&stream, &options).ok()?.unchecked_into();
        Some(Self { blob: blob.clone(), at: offset, reader, buffer: ArrayBuffer::new(ASKED), used: now() })
    }

    /// Fills `buf` with the bytes from `offset` on, and waits for the next read. Answers how many there were: fewer
    /// only at the file's end.
    ///
    /// # Errors
    /// What the browser says.
    async fn fill(mut self, offset: u64, buf: &mut [u8]) -> Result<usize, JsValue> {
        while self.at < offset {
            let skipped = u32::try_from(offset - self.at).unwrap_or(ASKED);
            if self.next(skipped).await?.length() == 0 {
                return Ok(0);
            }
        }
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let bytes = self.next(u32::try_from(rest.len()).unwrap_or(ASKED)).await?;
            let count = bytes.length() as usize;
            let Some(part) = rest.get_mut(..count).filter(|part| !part.is_empty()) else { return Ok(filled) };
            bytes.copy_to(part);
            filled += count;
        }
        self.used = now();
        WAITING.with_borrow_mut(|waiting| {
            waiting.push(self);
            if waiting.len() > MOST {
                waiting.remove(0);
            }
        });
        Ok(filled)
    }

    /// The next bytes, `most` or less; none at the end.
    async fn next(&mut self, most: u32) -> Result<Uint8Array, JsValue> {
        let view =
            Uint8Array::new_with_byte_offset_and_length(&self.buffer, 0, most.min(self.buffer.byte_length()));
        let result = JsFuture::from(self.reader.read_with_array_buffer_view(&view)).await?;
        let bytes = Reflect::get(&result, &"value".into())?.dyn_into::<Uint8Array>()?;
        // The buffer has gone with the question and come back with the answer.
        self.buffer = bytes.buffer();
        self.at = self.at.saturating_add(u64::from(bytes.length()));
        Ok(bytes)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Awaited by nobody; whether it fails does not matter.
        drop(JsFuture::from(self.reader.cancel()));
    }
}

fn now() -> f64 {
    scope().performance().map_or(0.0, |clock| clock.now())
}
