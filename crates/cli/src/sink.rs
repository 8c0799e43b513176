//! A [`Sink`] that is a folder. Files grow in a folder beside it, under a name that says so; the folder
//! gets its final name in one step, when everything was written, compared and synced.

mod site;
#[cfg(test)]
mod tests;
mod writer;

use crate::control::set_unfinished;
use crate::exit::Failure;
use crate::source::FileSource;
use crate::space;
use futures_util::future::LocalBoxFuture;
use quantscope_format::{Buffer, Sink, SinkError, Source, leaves_folder};
use site::{Site, sync_folder, told};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::future::ready;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use writer::{Failed, Open, Writer};

/// Bytes that are copied at once.
const COPIED: usize = 4 << 20;

/// A folder that comes into being as a whole or not at all.
pub(crate) struct FolderSink {
    /// `None` once it has its final name or is given up.
    site: Option<Site>,
    /// Ends before the folder is renamed or removed.
    writer: Option<Writer>,
    /// Files that are being written, with their lengths.
    files: BTreeMap<String, (Open, u64)>,
    /// Files that are complete, of this run or of the one before.
    complete: BTreeSet<String>,
    /// What is said of a run that was stopped and can be continued.
    kept: Option<String>,
}

impl FolderSink {
    /// Prepares to write `target`, which must not exist or be an empty folder. With `resume` it goes on with what a
    /// stopped run has left, if there is anything.
    pub(crate) fn new(target: &Path, resume: bool) -> Result<Self, Failure> {
        let writer = Writer::start()
            .map_err(|e| Failure::new("sink", format!("cannot start a thread that writes: {e}")))?;
        let site = Site::open(target, resume)?;
        if site.finished == 0 {
            set_unfinished(site.paths());
        }
        Ok(Self {
            site: Some(site),
            writer: Some(writer),
            files: BTreeMap::new(),
            complete: BTreeSet::new(),
            kept: None,
        })
    }

    /// What stays of a run that did not come to its end, in words.
    pub(crate) fn kept(&self) -> Option<&str> {
        self.kept.as_deref()
    }

    fn site(&mut self, name: &str) -> Result<&mut Site, SinkError> {
        let finished =
            || SinkError::Io { name: name.into(), reason: "the output is finished already".into() };
        self.site.as_mut().ok_or_else(finished)
    }

    fn path(&mut self, name: &str) -> Result<PathBuf, SinkError> {
        if let Some(reason) = leaves_folder(name) {
            return Err(SinkError::Io { name: name.to_owned(), reason: reason.to_owned() });
        }
        Ok(self.site(name)?.growing.join(name))
    }

    fn available(&self) -> Option<u64> {
        space::free(&self.site.as_ref()?.growing)
    }

    /// What a failure means: mostly that there is no room.
    fn failed(&self, Failed { name, error }: Failed) -> SinkError {
        let needed = self.files.get(&*name).map_or(0, |(_, len)| *len);
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => SinkError::Full {
                name: name.to_string(),
                needed,
                available: self.available().unwrap_or_default(),
            },
            _ => told(&name, &error),
        }
    }

    fn settle(&self) -> Result<(), SinkError> {
        let settled = self.writer.as_ref().map_or(Ok(()), Writer::settle);
        settled.map_err(|failed| self.failed(failed))
    }

    fn reserve_now(&mut self, bytes: u64) -> Result<(), SinkError> {
        let name = self.site.as_ref().map(|site| site.target.display().to_string()).unwrap_or_default();
        match self.available() {
            Some(available) if available < bytes => Err(SinkError::Full { name, needed: bytes, available }),
            // Where the system does not say what is free, writing will tell.
            _ => Ok(()),
        }
    }

    fn create_now(&mut self, name: &str, len: u64) -> Result<(), SinkError> {
        let path = self.path(name)?;
        if self.files.contains_key(name) {
            return Err(SinkError::Exists { name: name.to_owned() });
        }
        self.complete.remove(name);
        let failed = |error: io::Error| told(name, &error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        let open = Open { name: name.into(), file: Arc::new(file) };
        let made = open.file.set_len(len);
        self.files.insert(name.to_owned(), (open, len));
        made.map_err(|error| self.failed(Failed { name: name.into(), error }))
    }

    fn write_now(&mut self, name: &str, offset: u64, bytes: Arc<Buffer>) -> Result<(), SinkError> {
        let unknown = || SinkError::Io { name: name.to_owned(), reason: "it was not begun".to_owned() };
        let (open, _) = self.files.get(name).ok_or_else(unknown)?;
        let writer = self.writer.as_ref().ok_or_else(unknown)?;
        writer.write(open, offset, bytes).map_err(|failed| self.failed(failed))
    }

    /// Writes bytes that may be gone before they are written, and therefore are copied, a part at a time.
    fn copy_now(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        for (part, offset) in bytes.chunks(COPIED).zip((offset..).step_by(COPIED)) {
            let mut kept = Buffer::of(part.len());
            kept.copy_from_slice(part);
            self.write_now(name, offset, Arc::new(kept))?;
        }
        Ok(())
    }

    fn open(&mut self, name: &str) -> Result<Box<dyn Source>, SinkError> {
        let source = FileSource::new(self.path(name)?).map_err(|error| told(name, &error))?;
        Ok(Box::new(source))
    }

    /// What is compared gets to the disk meanwhile: a medium that refuses it is noticed before the file is finished.
    fn read_back_now(&mut self, name: &str) -> Result<Box<dyn Source>, SinkError> {
        if let (Some((open, _)), Some(writer)) = (self.files.get(name), &self.writer) {
            writer.sync_soon(open).map_err(|failed| self.failed(failed))?;
        }
        self.open(name)
    }

    fn take_up_now(&mut self, name: &str) -> Result<Option<Box<dyn Source>>, SinkError> {
        if !self.path(name)?.symlink_metadata().is_ok_and(|found| found.is_file()) {
            return Ok(None);
        }
        self.complete.insert(name.to_owned());
        self.open(name).map(Some)
    }

    /// Everything that was begun is on the disk.
    fn sync(&mut self) -> Result<(), SinkError> {
        self.settle()?;
        for (name, (open, _)) in std::mem::take(&mut self.files) {
            let synced = open.file.sync_all();
            self.complete.insert(name);
            synced.map_err(|error| self.failed(Failed { name: open.name, error }))?;
        }
        Ok(())
    }

    fn finish_now(&mut self, name: &str, entry: &[u8]) -> Result<(), SinkError> {
        self.sync()?;
        let site = self.site(name)?;
        sync_folder(&site.growing).map_err(|error| told(name, &error))?;
        site.append(entry).map_err(|error| told(name, &error))?;
        // From now on there is something to go on from.
        set_unfinished(Vec::new());
        Ok(())
    }

    /// Removes everything from a folder but the files to keep.
    fn remove_strays(keep: &BTreeSet<String>, folder: &Path, below: &str) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                Self::remove_strays(keep, &entry.path(), &format!("{name}/"))?;
                sync_folder(&entry.path())?;
            } else if !keep.contains(&name) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn keep_only_now(&mut self, finished: &[String]) -> Result<(), SinkError> {
        let Some(site) = &self.site else { return Ok(()) };
        let keep = finished.iter().cloned().collect();
        Self::remove_strays(&keep, &site.growing, "")
            .map_err(|e| told(&site.target.display().to_string(), &e))
    }

    fn commit_now(&mut self) -> Result<(), SinkError> {
        self.sync()?;
        self.writer = None;
        let Some(site) = &self.site else { return Ok(()) };
        // What a stopped run has left and this one has not made again.
        Self::remove_strays(&self.complete, &site.growing, "")
            .map_err(|e| told(&site.target.display().to_string(), &e))?;
        site.rename()?;
        self.site = None;
        set_unfinished(Vec::new());
        Ok(())
    }

    fn abandon_now(&mut self) {
        // Open files cannot be removed everywhere.
        self.writer = None;
        let begun = std::mem::take(&mut self.files);
        let Some(site) = self.site.take() else { return };
        if site.finished == 0 {
            site.remove();
        } else {
            for name in begun.into_keys() {
                // What cannot be removed is made again by the run that continues.
                let _ = fs::remove_file(site.growing.join(name));
            }
            let files = if site.finished == 1 {
                "1 finished file is".into()
            } else {
                format!("{} finished files are", site.finished)
            };
            self.kept = Some(format!(
                "{files} kept in {}; continue with --resume, or remove that folder",
                site.growing.display()
            ));
        }
        set_unfinished(Vec::new());
    }
}

impl Drop for FolderSink {
    fn drop(&mut self) {
        self.abandon_now();
    }
}

impl Sink for FolderSink {
    fn reserve(&mut self, bytes: u64) -> LocalBoxFuture<'_, Result<(), SinkError>> {
        Box::pin(ready(self.reserve_now(bytes)))
    }

    fn stopped_run(&mut self) -> LocalBoxFuture<'_, Result<Option<Vec<u8>>, SinkError>> {
        Box::pin(ready(Ok(self.site.as_mut().and_then(|site| site.stopped.take()))))
    }

    fn keep_only<'a>(&'a mut self, finished: &'a [String]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(ready(self.keep_only_now(finished)))
    }

    fn take_up<'a>(
        &'a mut self,
        name: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<Box<dyn Source>>, SinkError>> {
        Box::pin(ready(self.take_up_now(name)))
    }

    fn begin_journal<'a>(&'a mut self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        let begun = self.site("journal").and_then(|site| {
            site.begin_journal(bytes).map_err(|error| told(&site.target.display().to_string(), &error))
        });
        Box::pin(ready(begun))
    }

    fn finish<'a>(&'a mut self, name: &'a str, entry: &'a [u8]) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(ready(self.finish_now(name, entry)))
    }

    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(ready(self.create_now(name, len)))
    }

    fn write_at<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(ready(self.copy_now(name, offset, bytes)))
    }

    fn write_shared<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a Arc<Buffer>,
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(ready(self.write_now(name, offset, Arc::clone(bytes))))
    }

    fn read_back<'a>(&'a mut self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Source>, SinkError>> {
        Box::pin(ready(self.read_back_now(name)))
    }

    fn commit<'a>(&'a mut self) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(ready(self.commit_now()))
    }

    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()> {
        self.abandon_now();
        Box::pin(ready(()))
    }
}
