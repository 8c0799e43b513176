//! A folder that the user picked, as a place to convert into.
//!
//! Files grow under temporary names and get their final ones when all of them were read back and compared. The
//! temporary names begin with the name of the tab, so that what a dead tab left is known for what it is: it is gone on
//! with, or removed, when the folder is picked again.

use super::blob::{self, BlobSource};
use super::js;
use super::output::{self, Output};
use super::sink::{Sources, io};
use super::stopped::{self, Names, Stopped};
use futures_util::future::LocalBoxFuture;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use quantscope_session::{Sink, SinkError, Source};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Range;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, DomException, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetFileOptions,
    FileSystemWritableFileStream, WriteCommandType, WriteParams,
};

/// One output file.
#[derive(Debug)]
struct Part {
    name: String,
    temporary: String,
    len: u64,
    handle: FileSystemFileHandle,
    /// While bytes are taken. Nothing of them is in the file before it is closed.
    stream: RefCell<Option<FileSystemWritableFileStream>>,
    /// Whether a dead tab had finished it.
    taken_up: bool,
    /// Whether it has its final name.
    settled: bool,
}

/// A sink in a folder of the user's.
#[derive(Debug)]
pub(super) struct FolderSink {
    folder: FileSystemDirectoryHandle,
    names: Names,
    sources: Sources,
    parts: Vec<Part>,
    finished: Vec<(String, Blob)>,
    /// What a dead tab's journal says, if its conversion is gone on with.
    stopped: Option<Vec<u8>>,
    /// Files of that conversion that were about to get their final names, with their lengths.
    settled: BTreeMap<String, u64>,
    /// What the journal says by now; nothing before it is begun.
    journal: Vec<u8>,
}

impl FolderSink {
    /// A sink in a folder, from which the leftovers of dead tabs were removed; it goes on with what one of them has
    /// begun, if that is given.
    ///
    /// # Errors
    /// If the browser refuses the folder.
    pub(super) async fn new(
        folder: FileSystemDirectoryHandle,
        output: &Output,
        sources: Sources,
        stopped: Option<Stopped>,
    ) -> Result<Self, JsValue> {
        let (parts, finished, journal) = (Vec::new(), Vec::new(), Vec::new());
        let (names, stopped, settled) = match stopped {
            Some(stopped) => {
                let adopted = stopped.adopt(&folder, output).await?;
                (adopted.names, Some(adopted.journal), adopted.settled)
            }
            None => (Names::of(output.tab()), None, BTreeMap::new()),
        };
        Ok(Self { folder, names, sources, parts, finished, stopped, settled, journal })
    }

    /// The finished files; empty before the sink was committed.
    pub(super) fn into_files(self) -> Vec<(String, Blob)> {
        self.finished
    }

    fn part(&self, name: &str) -> Result<&Part, SinkError> {
        self.parts.iter().find(|part| part.name == name).ok_or_else(|| io(name, "it was not begun"))
    }

    /// Takes the final name from a file of the conversion that is gone on with. Only what that conversion asks for is
    /// touched: its journal was compared with this one's plan before.
    async fn take_back(&mut self, name: &str) -> Result<(), SinkError> {
        let Some(len) = self.settled.remove(name) else { return Ok(()) };
        let taken = self.names.unsettle(&self.folder, name, len).await;
        taken.map_err(|error| refused(name, len, &error))
    }

    async fn begin(&mut self, name: &str, len: u64) -> Result<(), SinkError> {
        let failed = |error: JsValue| refused(name, len, &error);
        self.take_back(name).await?;
        let is_begun = |part: &Part| part.name == name && !part.taken_up;
        if self.parts.iter().any(is_begun) || self.has(name).await? {
            return Err(SinkError::Exists { name: name.into() });
        }
        // What was taken up and is no good is made again.
        self.parts.retain(|part| part.name != name);
        let temporary = self.names.part(name);
        let handle = file(&self.folder, &temporary, true).await.map_err(failed)?;
        let stream: FileSystemWritableFileStream =
            JsFuture::from(handle.create_writable()).await.map_err(failed)?.unchecked_into();
        let size = js::to_f64(len).ok_or_else(|| io(name, "it is larger than the browser can address"))?;
        let part = Part {
            name: name.into(),
            temporary,
            len,
            handle,
            stream: RefCell::new(Some(stream.clone())),
            taken_up: false,
            settled: false,
        };
        self.parts.push(part);
        let sized = stream.truncate_with_f64(size).map_err(failed)?;
        JsFuture::from(sized).await.map_err(failed)?;
        Ok(())
    }

    /// Whether the folder has a file of that name. Nothing of the user's is written over.
    async fn has(&self, name: &str) -> Result<bool, SinkError> {
        match file(&self.folder, name, false).await {
            Ok(_) => Ok(true),
            Err(error) if is(&error, "NotFoundError") => Ok(false),
            Err(error) if is(&error, "TypeMismatchError") => Ok(true),
            Err(error) => Err(refused(name, 0, &error)),
        }
    }

    async fn write(&self, name: &str, offset: u64, data: &JsValue) -> Result<(), SinkError> {
        let part = self.part(name)?;
        let failed = |error: JsValue| refused(name, part.len, &error);
        let stream = part.stream.borrow().clone().ok_or_else(|| io(name, "it was closed"))?;
        let position =
            js::to_f64(offset).ok_or_else(|| io(name, "it is larger than the browser can address"))?;
        let order = WriteParams::new(WriteCommandType::Write);
        order.set_position(Some(position));
        order.set_data(data);
        let written = stream.write_with_write_params(&order).map_err(failed)?;
        JsFuture::from(written).await.map_err(failed)?;
        Ok(())
    }

    /// Takes up a file that a dead tab has finished.
    async fn adopted(&mut self, name: &str) -> Result<Option<Box<dyn Source>>, SinkError> {
        self.take_back(name).await?;
        let temporary = self.names.part(name);
        let handle = match file(&self.folder, &temporary, false).await {
            Ok(handle) => handle,
            Err(error) if is(&error, "NotFoundError") || is(&error, "TypeMismatchError") => return Ok(None),
            Err(error) => return Err(refused(name, 0, &error)),
        };
        let failed = |error: JsValue| refused(name, 0, &error);
        let blob: Blob = JsFuture::from(handle.get_file()).await.map_err(failed)?.unchecked_into();
        let len = js::to_u64(blob.size()).unwrap_or(0);
        let (stream, taken_up, settled) = (RefCell::new(None), true, false);
        self.parts.push(Part { name: name.into(), temporary, len, handle, stream, taken_up, settled });
        let source = BlobSource::new(name, blob).map_err(|error| io(name, error.to_string()))?;
        Ok(Some(Box::new(source)))
    }

    /// Writes the journal, which is there as a whole or as it was before.
    async fn write_journal(&mut self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        self.journal.extend_from_slice(bytes);
        let written = stopped::write(&self.folder, &self.names.journal(), &self.journal).await;
        written.map_err(|error| refused(name, 0, &error))
    }

    /// Gives all files their final names, or none.
    async fn settle(&mut self) -> Result<(), SinkError> {
        let settled = self.name_all().await;
        let Err(error) = settled else { return Ok(()) };
        let mut left = Vec::new();
        for part in self.parts.iter_mut().filter(|part| part.settled) {
            match output::remove(&self.folder, &part.name).await {
                Err(error) if !is(&error, "NotFoundError") => left.push(part.name.clone()),
                _ => part.settled = false,
            }
        }
        if left.is_empty() {
            return Err(error);
        }
        let left = left.join(", ");
        let reason = format!(
            "{error}. These files have their names already and cannot be removed now: {left}. They are no whole checkpoint; remove them"
        );
        Err(io(&self.folder.name(), reason))
    }

    /// Gives each file its final name.
    async fn name_all(&mut self) -> Result<(), SinkError> {
        let files = self.parts.iter().map(|part| (part.name.as_str(), part.len));
        let begun = self.names.begin_settling(&self.folder, files).await;
        begun.map_err(|error| refused("the output", 0, &error))?;
        for part in &mut self.parts {
            let failed = |error: JsValue| refused(&part.name, part.len, &error);
            close(part).await.map_err(failed)?;
            // Someone else may have put a file there meanwhile.
            match file(&self.folder, &part.name, false).await {
                Err(error) if is(&error, "NotFoundError") => {}
                Err(error) => return Err(refused(&part.name, part.len, &error)),
                Ok(_) => return Err(SinkError::Exists { name: part.name.clone() }),
            }
            if !moved(&part.handle, &part.name).await {
                part.settled = true;
                part.handle = copied(&self.folder, part).await.map_err(failed)?;
            }
            part.settled = true;
            let blob: Blob = JsFuture::from(part.handle.get_file()).await.map_err(failed)?.unchecked_into();
            self.finished.push((part.name.clone(), blob));
        }
        // The output is whole: what cannot be removed goes when the folder is picked again.
        let _ = self.names.keep_only(&self.folder, &[]).await;
        Ok(())
    }
}

impl Sink for FolderSink {
    fn stopped_run(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, SinkError>> {
        Box::pin(ready(Ok(self.stopped.take())))
    }

    fn keep_only<'a>(&'a mut self, finished: &'a [String]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let kept = self.names.keep_only(&self.folder, finished).await;
            kept.map_err(|error| refused("the output", 0, &error))
        })
    }

    fn take_up<'a>(
        &'a mut self,
        name: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<Box<dyn Source>>, SinkError>> {
        Box::pin(self.adopted(name))
    }

    fn begin_journal<'a>(&'a mut self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        self.journal.clear();
        Box::pin(self.write_journal("the journal", bytes))
    }

    fn finish<'a>(&'a mut self, name: &'a str, entry: &'a [u8]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.write_journal(name, entry))
    }

    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.begin(name, len))
    }

    fn write_at<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        // Copied out first: the browser reads it while this memory goes on changing.
        Box::pin(async move { self.write(name, offset, &Uint8Array::from(bytes).into()).await })
    }

    fn splices(&self, source_path: &str) -> bool {
        self.sources.contains_key(source_path)
    }

    fn splice<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        source_path: &'a str,
        range: Range<u64>,
    ) -> LocalBoxFuture<'a, Result<bool, SinkError>> {
        Box::pin(async move {
            let Some(source) = self.sources.get(source_path) else { return Ok(false) };
            let slice = blob::slice(source, range).map_err(|error| refused(name, 0, &error))?;
            self.write(name, offset, &slice.into()).await?;
            Ok(true)
        })
    }

    fn read_back<'a>(&'a mut self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Source>, SinkError>> {
        Box::pin(async move {
            let part = self.part(name)?;
            let failed = |error: JsValue| refused(name, part.len, &error);
            close(part).await.map_err(failed)?;
            let blob: Blob = JsFuture::from(part.handle.get_file()).await.map_err(failed)?.unchecked_into();
            let source = BlobSource::new(name, blob).map_err(|error| io(name, error.to_string()))?;
            let source: Box<dyn Source> = Box::new(source);
            Ok(source)
        })
    }

    fn commit<'a>(&'a mut self) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.settle())
    }

    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            self.finished.clear();
            for part in std::mem::take(&mut self.parts) {
                let stream = part.stream.borrow_mut().take();
                if let Some(stream) = stream {
                    // One that broke is aborted already.
                    let _ = JsFuture::from(stream.abort()).await;
                }
                let names = part.settled.then_some(&part.name).into_iter().chain([&part.temporary]);
                for name in names {
                    // Where the folder is gone, so is the file; else it goes when the folder is picked again.
                    let _ = output::remove(&self.folder, name).await;
                }
            }
            // A dead tab's conversion that this one never went on with stays as it was.
            if !self.journal.is_empty() {
                let _ = self.names.keep_only(&self.folder, &[]).await;
            }
        })
    }
}

async fn close(part: &Part) -> Result<(), JsValue> {
    let stream = part.stream.borrow_mut().take();
    if let Some(stream) = stream {
        released(&stream, JsFuture::from(stream.close()).await).await?;
    }
    Ok(())
}

/// Lets go of a file whose stream failed: while the stream is there, the file cannot be removed.
///
/// # Errors
/// What the stream failed with.
pub(super) async fn released(
    stream: &FileSystemWritableFileStream,
    done: Result<JsValue, JsValue>,
) -> Result<(), JsValue> {
    let Err(error) = done else { return Ok(()) };
    // One that broke by itself is aborted already.
    let _ = JsFuture::from(stream.abort()).await;
    Err(error)
}

/// A file of a folder.
///
/// # Errors
/// What the browser says.
pub(super) async fn file(
    folder: &FileSystemDirectoryHandle,
    name: &str,
    create: bool,
) -> Result<FileSystemFileHandle, JsValue> {
    let options = FileSystemGetFileOptions::new();
    options.set_create(create);
    Ok(JsFuture::from(folder.get_file_handle_with_options(name, &options)).await?.unchecked_into())
}

/// Moves a file to another name in its folder; `false` where the browser cannot, and then it stays as it was.
pub(super) async fn moved(handle: &FileSystemFileHandle, name: &str) -> bool {
    let attempt = || -> Option<Promise> {
        let method: Function = Reflect::get(handle, &"move".into()).ok()?.dyn_into().ok()?;
        method.call1(handle, &name.into()).ok()?.dyn_into().ok()
    };
    match attempt() {
        Some(promise) => JsFuture::from(promise).await.is_ok(),
        None => false,
    }
}

/// Copies a temporary file to its final name, where it appears whole when the stream is closed.
async fn copied(folder: &FileSystemDirectoryHandle, part: &Part) -> Result<FileSystemFileHandle, JsValue> {
    let source: Blob = JsFuture::from(part.handle.get_file()).await?.unchecked_into();
    let handle = file(folder, &part.name, true).await?;
    let stream: FileSystemWritableFileStream =
        JsFuture::from(handle.create_writable()).await?.unchecked_into();
    released(&stream, JsFuture::from(stream.write_with_blob(&source)?).await).await?;
    released(&stream, JsFuture::from(stream.close()).await).await?;
    output::remove(folder, &part.temporary).await?;
    Ok(handle)
}

/// Whether the browser gave this reason.
pub(super) fn is(error: &JsValue, name: &str) -> bool {
    error.dyn_ref::<DomException>().is_some_and(|error| error.name() == name)
}

/// What the browser said, and what helps.
fn refused(name: &str, len: u64, error: &JsValue) -> SinkError {
    if js::is_quota(error) {
        return SinkError::Full { name: name.into(), needed: len, available: 0 };
    }
    let remedy = if is(error, "NotAllowedError") || is(error, "SecurityError") {
        "; the browser no longer lets this page write there: convert again and pick the folder anew"
    } else if is(error, "NotFoundError") {
        "; the folder was moved or removed: convert again and pick another"
    } else {
        ""
    };
    io(name, format!("{}{remedy}", js::reason(error)))
}
