//! Where a conversion writes in the browser: the origin's private file system, and blobs made of it.
//!
//! Only bytes that are new are written. Tensors that pass unchanged stay in the user's files and come in as
//! slices when the final blob is put together; the browser streams them from disk while it saves.

use super::blob::{self, BlobSource};
use super::js;
use super::output::Folder;
use super::segments::{Origin, SegmentError, Segments};
use futures_util::future::LocalBoxFuture;
use js_sys::Array;
use quantscope_session::{Sink, SinkError, Source, SourceError};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, File, FileSystemFileHandle, FileSystemReadWriteOptions, FileSystemSyncAccessHandle};

/// The files that the user opened, by the path under which the session knows them.
pub(super) type Sources = Rc<BTreeMap<String, Blob>>;

/// One output file while it grows.
#[derive(Debug)]
struct Part {
    name: String,
    handle: FileSystemFileHandle,
    access: FileSystemSyncAccessHandle,
    segments: RefCell<Segments>,
}

/// A sink in the private file system.
#[derive(Debug)]
pub(super) struct OpfsSink {
    folder: Folder,
    sources: Sources,
    parts: Vec<Rc<Part>>,
    finished: Vec<(String, Blob)>,
}

impl OpfsSink {
    /// A sink in a folder of this tab.
    pub(super) fn new(folder: Folder, sources: Sources) -> Self {
        Self { folder, sources, parts: Vec::new(), finished: Vec::new() }
    }

    /// The finished files; empty before the sink was committed.
    pub(super) fn into_files(self) -> Vec<(String, Blob)> {
        self.finished
    }

    fn part(&self, name: &str) -> Result<&Rc<Part>, SinkError> {
        self.parts.iter().find(|part| part.name == name).ok_or_else(|| io(name, "it was not begun"))
    }

    fn close(&mut self) -> Vec<Rc<Part>> {
        let parts = std::mem::take(&mut self.parts);
        for part in &parts {
            part.access.close();
        }
        parts
    }

    async fn assemble(&self, part: &Part) -> Result<Blob, SinkError> {
        let refused = |error: JsValue| io(&part.name, js::reason(&error));
        let stored: File = JsFuture::from(part.handle.get_file()).await.map_err(refused)?.into();
        let segments = part.segments.borrow();
        let pieces = segments.pieces(0..segments.len()).map_err(|error| io(&part.name, error.to_string()))?;
        let parts = Array::new();
        for piece in pieces {
            let (from, at): (&Blob, u64) = match &piece.origin {
                Origin::Stored(at) => (&stored, *at),
                Origin::Source(path, at) => {
                    let source = self
                        .sources
                        .get(&**path)
                        .ok_or_else(|| io(&part.name, format!("{path} is not open")))?;
                    (source, *at)
                }
            };
            parts.push(&blob::slice(from, at..at + piece.len).map_err(refused)?.into());
        }
        Blob::new_with_blob_sequence(&parts).map_err(refused)
    }
}

impl Sink for OpfsSink {
    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.parts.iter().any(|part| part.name == name) {
                return Err(SinkError::Exists { name: name.into() });
            }
            let (handle, access) =
                self.folder.begin_file(name).await.map_err(|error| io(name, js::reason(&error)))?;
            let segments = RefCell::new(Segments::new(len));
            self.parts.push(Rc::new(Part { name: name.into(), handle, access, segments }));
            Ok(())
        })
    }

    fn write_at<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let part = self.part(name)?;
            let len = u64::try_from(bytes.len()).map_err(|error| io(name, error.to_string()))?;
            let at = place(part, |segments| segments.place(offset, len))?;
            let options = FileSystemReadWriteOptions::new();
            options
                .set_at(js::to_f64(at).ok_or_else(|| io(name, "it is larger than the browser can address"))?);
            let whole = part.segments.borrow().len();
            match part.access.write_with_u8_array_and_options(bytes, &options) {
                Ok(written) if js::to_u64(written) == Some(len) => Ok(()),
                Err(error) if !js::is_quota(&error) => Err(io(name, js::reason(&error))),
                // Written in part, or not at all, for lack of room.
                Ok(_) | Err(_) => Err(self.folder.full(name, whole).await),
            }
        })
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
            if !self.sources.contains_key(source_path) {
                return Ok(false);
            }
            place(self.part(name)?, |segments| segments.splice(offset, source_path.into(), range))?;
            Ok(true)
        })
    }

    fn read_back<'a>(&'a mut self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Source>, SinkError>> {
        Box::pin(async move {
            let part = Rc::clone(self.part(name)?);
            let (sources, open) = (Rc::clone(&self.sources), RefCell::default());
            let source: Box<dyn Source> = Box::new(ReadBack { part, sources, open });
            Ok(source)
        })
    }

    fn commit<'a>(&'a mut self) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            for part in &self.parts {
                part.access.flush().map_err(|error| io(&part.name, js::reason(&error)))?;
            }
            for part in self.close() {
                let blob = self.assemble(&part).await?;
                self.finished.push((part.name.clone(), blob));
            }
            Ok(())
        })
    }

    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            self.close();
            self.finished.clear();
            self.folder.remove().await;
        })
    }
}

/// What was written so far, for reading it back.
#[derive(Debug)]
struct ReadBack {
    part: Rc<Part>,
    sources: Sources,
    /// The file of the user's that was read last, which is read on ahead.
    open: RefCell<Option<(Rc<str>, Rc<BlobSource>)>>,
}

impl ReadBack {
    /// A file that the user opened.
    fn source(&self, path: &Rc<str>) -> Result<Rc<BlobSource>, SourceError> {
        if let Some((_, open)) = self.open.borrow().as_ref().filter(|(known, _)| known == path) {
            return Ok(Rc::clone(open));
        }
        let blob = self.sources.get(&**path).ok_or_else(|| SourceError::Io {
            name: self.part.name.clone(),
            reason: format!("{path} is not open"),
        })?;
        let source = Rc::new(BlobSource::new(path, blob.clone())?);
        *self.open.borrow_mut() = Some((Rc::clone(path), Rc::clone(&source)));
        Ok(source)
    }
}

impl Source for ReadBack {
    fn len(&self) -> u64 {
        self.part.segments.borrow().len()
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let name = &self.part.name;
            let refused = |reason: String| SourceError::Io { name: name.clone(), reason };
            let end = offset.saturating_add(u64::try_from(buf.len()).unwrap_or(u64::MAX));
            let pieces = self
                .part
                .segments
                .borrow()
                .pieces(offset..end)
                .map_err(|error| refused(error.to_string()))?;
            let mut rest = buf;
            for piece in pieces {
                let len = usize::try_from(piece.len).unwrap_or(usize::MAX).min(rest.len());
                let (here, after) = rest.split_at_mut(len);
                match piece.origin {
                    Origin::Stored(at) => {
                        let options = FileSystemReadWriteOptions::new();
                        options.set_at(
                            js::to_f64(at)
                                .ok_or_else(|| refused("beyond what the browser can address".into()))?,
                        );
                        let read = self
                            .part
                            .access
                            .read_with_u8_array_and_options(here, &options)
                            .map_err(|error| refused(js::reason(&error)))?;
                        if js::to_u64(read) != Some(piece.len) {
                            return Err(refused(format!(
                                "{read} bytes came back of {} that were written",
                                piece.len
                            )));
                        }
                    }
                    Origin::Source(path, at) => self.source(&path)?.read(at, here).await?,
                }
                rest = after;
            }
            Ok(())
        })
    }
}

fn place<T>(
    part: &Part,
    place: impl FnOnce(&mut Segments) -> Result<T, SegmentError>,
) -> Result<T, SinkError> {
    place(&mut part.segments.borrow_mut()).map_err(|error| io(&part.name, error.to_string()))
}

pub(super) fn io(name: &str, reason: impl Into<String>) -> SinkError {
    SinkError::Io { name: name.into(), reason: reason.into() }
}
