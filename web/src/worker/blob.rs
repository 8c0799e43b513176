//! A file that the user picked, as a source of ranges.

use super::{js, later, stream};
use futures_util::future::LocalBoxFuture;
use js_sys::{ArrayBuffer, Uint8Array};
use quantscope_session::SourceError;
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::{Rc, Weak};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

/// Bytes of a header's length.
const LENGTH: usize = 8;
/// Bytes that come with a header's length. The browser takes longer over a question than over these bytes, which hold
/// most headers whole.
const AHEAD: u64 = 128 << 10;
/// Reads from this size on that follow on each other have the browser read the next one meanwhile.
const LARGE: u64 = 1 << 20;

/// A `File` or `Blob`. Nothing is read before it is asked for, but what follows the length of a header in the file, and
/// what follows on large reads that follow on each other.
#[derive(Debug)]
pub(super) struct BlobSource {
    name: String,
    blob: Blob,
    len: u64,
    /// Bytes that came with the last question, or will.
    held: Rc<RefCell<Option<Held>>>,
    /// Where the last read ended.
    last_end: Cell<u64>,
}

thread_local! {
    /// What is held of the file that is read ahead: of one at a time, so that hundreds of them cost no memory.
    static READ_AHEAD: RefCell<Weak<RefCell<Option<Held>>>> = RefCell::default();
}

/// Bytes of a file that nobody has asked for yet, from `range.start` on.
#[derive(Debug)]
struct Held {
    range: Range<u64>,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    /// The browser is at it.
    Coming(JsFuture),
    Here(ArrayBuffer),
}

impl BlobSource {
    /// A blob under the name that errors shall give it.
    ///
    /// # Errors
    /// If its size is beyond what the browser can address exactly.
    pub(super) fn new(name: &str, blob: Blob) -> Result<Self, SourceError> {
        let len = js::to_u64(blob.size()).ok_or_else(|| SourceError::Io {
            name: name.into(),
            reason: format!("its size is {}", blob.size()),
        })?;
        Ok(Self { name: name.into(), blob, len, held: Rc::default(), last_end: Cell::new(u64::MAX) })
    }

    /// Has the browser read a range.
    fn ask(&self, range: Range<u64>) -> Result<Held, SourceError> {
        let part = slice(&self.blob, range.clone()).map_err(|error| self.io(&error))?;
        Ok(Held { range, bytes: Bytes::Coming(JsFuture::from(part.array_buffer())) })
    }

    /// Waits for bytes that were asked for.
    async fn wait(&self, held: Held) -> Result<(Range<u64>, ArrayBuffer), SourceError> {
        let Held { range, bytes } = held;
        let buffer = match bytes {
            Bytes::Here(buffer) => return Ok((range, buffer)),
            Bytes::Coming(coming) => coming.await.map_err(|error| self.io(&error))?,
        };
        let buffer: ArrayBuffer = buffer.unchecked_into();
        let came = range.start.saturating_add(u64::from(buffer.byte_length()));
        if came == range.end { Ok((range, buffer)) } else { Err(self.past_end(came, &range)) }
    }

    fn past_end(&self, len: u64, asked: &Range<u64>) -> SourceError {
        SourceError::PastEnd { name: self.name.clone(), len, start: asked.start, end: asked.end }
    }

    fn io(&self, error: &JsValue) -> SourceError {
        SourceError::Io {
            name: self.name.clone(),
            reason: format!(
                "{}; if the file was moved or changed since it was opened, open it again",
                js::reason(error)
            ),
        }
    }
}

/// A part of a blob, without reading it. The only place where offsets become floating point.
///
/// # Errors
/// If the range goes beyond 2^53, or the browser refuses.
pub(super) fn slice(blob: &Blob, range: Range<u64>) -> Result<Blob, JsValue> {
    let (Some(start), Some(end)) = (js::to_f64(range.start), js::to_f64(range.end)) else {
        return Err(
            format!("bytes {}..{} lie beyond what the browser can address", range.start, range.end).into()
        );
    };
    blob.slice_with_f64_and_f64(start, end)
}

impl quantscope_session::Source for BlobSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let wanted = u64::try_from(buf.len()).unwrap_or(u64::MAX);
            let asked = offset..offset.saturating_add(wanted);
            if asked.end > self.len {
                return Err(self.past_end(self.len, &asked));
            }
            let is_large = wanted >= LARGE;
            let follows = self.last_end.replace(asked.end) == offset && is_large;
            let next = asked.end..asked.end.saturating_add(wanted).min(self.len);
            // What reads tensors is here by then; a header does without.
            let until = is_large.then_some(self.len);
            if later::is_here()
                && let Some(read) = stream::read(&self.blob, offset, until, buf)
            {
                let came = read.await.map_err(|error| self.io(&error))?;
                let end = offset.saturating_add(came as u64);
                return if end == asked.end { Ok(()) } else { Err(self.past_end(end, &asked)) };
            }
            let (mut at, mut rest) = (offset, buf);
            while !rest.is_empty() {
                let held = self.held.take().filter(|held| held.range.contains(&at));
                let held = match held {
                    Some(held) => held,
                    None if at == 0 && wanted == LENGTH as u64 => self.ask(0..AHEAD.min(self.len))?,
                    None => self.ask(at..asked.end)?,
                };
                let (range, buffer) = self.wait(held).await?;
                // Both are below the length of a buffer, which fits 32 bits.
                let count = range.end.min(asked.end) - at;
                let (Ok(from), Ok(count)) = (u32::try_from(at - range.start), u32::try_from(count)) else {
                    return Err(self.past_end(self.len, &asked));
                };
                let (here, after) = rest.split_at_mut(rest.len().min(count as usize));
                Uint8Array::new_with_byte_offset_and_length(&buffer, from, count).copy_to(here);
                (at, rest) = (at + u64::from(count), after);
                if at < range.end {
                    *self.held.borrow_mut() = Some(Held { range, bytes: Bytes::Here(buffer) });
                }
            }
            if follows && !next.is_empty() && self.held.borrow().is_none() {
                let before = READ_AHEAD.replace(Rc::downgrade(&self.held)).upgrade();
                before.and_then(|before| before.take());
                *self.held.borrow_mut() = Some(self.ask(next)?);
            }
            Ok(())
        })
    }

    /// A byte that is asked for anew: the browser refuses it if the file was changed. A stream goes on without noticing.
    fn check_unchanged(&self) -> LocalBoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            let last = self.len.saturating_sub(1)..self.len;
            self.wait(self.ask(last)?).await.map(|_| ())
        })
    }
}
