//! Reads gathered into windows: a checkpoint has many small tensors side by side, and each read through
//! a browser's `Blob` costs milliseconds whatever its length.

use futures_util::future::LocalBoxFuture;
use quantscope_format::{Buffer, Source, SourceError};
use std::cell::RefCell;
use std::rc::Rc;

/// Windows kept: scalars, block scales and codes of a layer lie in three regions of a shard.
const WINDOWS: usize = 4;

struct Window {
    start: u64,
    bytes: Vec<u8>,
}

/// A source that answers small reads out of a few windows of the one behind it. Reads of at least a
/// window's length go straight through. Memory: four windows.
pub struct WindowedSource {
    inner: Rc<dyn Source>,
    window_bytes: u64,
    /// Most recently used last.
    windows: RefCell<Vec<Window>>,
}

impl WindowedSource {
    /// Wraps a source; `window_bytes` is the length of a window.
    #[must_use]
    pub fn new(inner: Rc<dyn Source>, window_bytes: u64) -> Self {
        Self { inner, window_bytes: window_bytes.max(1), windows: RefCell::default() }
    }

    /// Copies out of a window that holds the whole range.
    fn copy_cached(&self, offset: u64, buf: &mut [u8]) -> bool {
        let mut windows = self.windows.borrow_mut();
        let found = windows.iter().enumerate().find_map(|(i, w)| {
            let from = usize::try_from(offset.checked_sub(w.start)?).ok()?;
            w.bytes.get(from..from.checked_add(buf.len())?).map(|bytes| (i, bytes))
        });
        let Some((i, bytes)) = found else { return false };
        buf.copy_from_slice(bytes);
        let used = windows.remove(i);
        windows.push(used);
        true
    }

    /// Reads; a window that is opened for it ends at `end`.
    pub(crate) async fn read_before(&self, offset: u64, end: u64, buf: &mut [u8]) -> Result<(), SourceError> {
        if self.read_through(offset, end, buf).await? {
            return Ok(());
        }
        self.inner.read(offset, buf).await
    }

    /// The same into a buffer of `len` bytes: that of the source behind, where it goes straight through.
    pub(crate) async fn take_before(&self, offset: u64, end: u64, len: usize) -> Result<Buffer, SourceError> {
        if u64::try_from(len).unwrap_or(u64::MAX) < self.window_bytes {
            let mut bytes = Buffer::of(len);
            self.read_before(offset, end, &mut bytes).await?;
            return Ok(bytes);
        }
        self.inner.take(offset, len).await
    }

    /// Reads out of a window, one that is there or one that is opened; `false` if none serves.
    async fn read_through(&self, offset: u64, end: u64, buf: &mut [u8]) -> Result<bool, SourceError> {
        if self.copy_cached(offset, buf) {
            return Ok(true);
        }
        let wanted = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let rest = self.inner.len().min(end).saturating_sub(offset);
        let window = self.window_bytes.min(rest);
        let Some(length) = usize::try_from(window).ok().filter(|_| wanted < window) else {
            return Ok(false);
        };
        // Reuses the oldest window's memory, so that a long job allocates four windows and no more.
        let mut bytes = {
            let mut windows = self.windows.borrow_mut();
            if windows.len() >= WINDOWS { windows.remove(0).bytes } else { Vec::new() }
        };
        bytes.resize(length, 0);
        self.inner.read(offset, &mut bytes).await?;
        self.windows.borrow_mut().push(Window { start: offset, bytes });
        // The window starts at `offset` and is longer than the range, so this cannot miss.
        Ok(self.copy_cached(offset, buf))
    }
}

impl Source for WindowedSource {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        Box::pin(self.read_before(offset, u64::MAX, buf))
    }
}
