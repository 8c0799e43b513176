//! A [`Sink`] that is a folder. Files grow in a folder beside it, under a name that says so; the folder
//! gets its final name in one step, when everything was written, compared and synced.

use crate::control::set_unfinished;
use crate::exit::Failure;
use crate::files::FileSource;
use futures_util::future::LocalBoxFuture;
use quantscope_format::{Sink, SinkError, Source, leaves_folder};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::future::ready;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A folder that comes into being as a whole or not at all.
pub(crate) struct FolderSink {
    target: PathBuf,
    /// Where files grow; `None` once it has its final name or is removed.
    growing: Option<PathBuf>,
    files: BTreeMap<String, File>,
}

impl FolderSink {
    /// Prepares to write `target`, which must not exist or be an empty folder.
    pub(crate) fn new(target: &Path) -> Result<Self, Failure> {
        let refuse = |what: String| Failure::new("sink", what);
        check_target(target).map_err(|error| refuse(error.to_string()))?;
        let target = std::path::absolute(target)
            .map_err(|e| refuse(format!("cannot write {}: {e}", target.display())))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(refuse(format!(
                "{} cannot be written; name a folder in another one",
                target.display()
            )));
        };
        let fail = |error: io::Error| refuse(format!("cannot write in {}: {error}", parent.display()));
        fs::create_dir_all(parent).map_err(fail)?;
        let growing = parent.join(format!(".{}.unfinished-{}", name.to_string_lossy(), std::process::id()));
        fs::create_dir(&growing).map_err(fail)?;
        set_unfinished(Some(&growing));
        Ok(Self { target: target.clone(), growing: Some(growing), files: BTreeMap::new() })
    }

    fn path(&self, name: &str) -> Result<PathBuf, SinkError> {
        let refused = |reason: &str| SinkError::Io { name: name.to_owned(), reason: reason.to_owned() };
        if let Some(reason) = leaves_folder(name) {
            return Err(refused(reason));
        }
        let growing = self.growing.as_ref().ok_or_else(|| refused("the output is finished already"))?;
        Ok(growing.join(name))
    }

    fn create_now(&mut self, name: &str, len: u64) -> Result<(), SinkError> {
        let path = self.path(name)?;
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::AlreadyExists => SinkError::Exists { name: name.to_owned() },
            _ => told(name, &error),
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        file.set_len(len).map_err(failed)?;
        self.files.insert(name.to_owned(), file);
        Ok(())
    }

    fn write_now(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let file = self
            .files
            .get(name)
            .ok_or_else(|| SinkError::Io { name: name.to_owned(), reason: "it was not begun".to_owned() })?;
        write_all_at(file, bytes, offset).map_err(|error| told(name, &error))
    }

    fn commit_now(&mut self) -> Result<(), SinkError> {
        for (name, file) in std::mem::take(&mut self.files) {
            file.sync_all().map_err(|error| told(&name, &error))?;
        }
        let target = self.target.display().to_string();
        let Some(growing) = self.growing.clone() else { return Ok(()) };
        // Someone may have put something there meanwhile.
        check_target(&self.target)?;
        if self.target.exists() {
            fs::remove_dir(&self.target).map_err(|error| told(&target, &error))?;
        }
        sync_folder(&growing).map_err(|error| told(&target, &error))?;
        fs::rename(&growing, &self.target).map_err(|error| told(&target, &error))?;
        self.growing = None;
        set_unfinished(None);
        if let Some(parent) = self.target.parent() {
            sync_folder(parent).map_err(|error| told(&target, &error))?;
        }
        Ok(())
    }

    fn abandon_now(&mut self) {
        // Open files cannot be removed everywhere.
        self.files.clear();
        if let Some(growing) = self.growing.take() {
            if let Err(error) = fs::remove_dir_all(&growing) {
                eprintln!("quantscope: cannot remove {}: {error}", growing.display());
            }
            set_unfinished(None);
        }
    }
}

impl Drop for FolderSink {
    fn drop(&mut self) {
        self.abandon_now();
    }
}

fn check_target(target: &Path) -> Result<(), SinkError> {
    let name = || target.display().to_string();
    match fs::read_dir(target) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(SinkError::Exists { name: name() }),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Err(SinkError::Exists { name: name() }),
        Err(error) => Err(told(&name(), &error)),
    }
}

fn told(name: &str, error: &io::Error) -> SinkError {
    SinkError::Io { name: name.to_owned(), reason: error.to_string() }
}

/// Makes names in a folder outlast a crash. Windows does so by itself and opens no folders.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset = offset.saturating_add(written as u64);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Sink for FolderSink {
    fn create<'a>(&'a mut self, name: &'a str, len: u64) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(ready(self.create_now(name, len)))
    }

    fn write_at<'a>(
        &'a mut self,
        name: &'a str,
        offset: u64,
        bytes: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(ready(self.write_now(name, offset, bytes)))
    }

    fn read_back<'a>(&'a mut self, name: &'a str) -> LocalBoxFuture<'a, Result<Box<dyn Source>, SinkError>> {
        let source =
            self.path(name).and_then(|path| FileSource::new(path).map_err(|error| told(name, &error)));
        Box::pin(ready(source.map(|source| Box::new(source) as Box<dyn Source>)))
    }

    fn commit<'a>(&'a mut self) -> LocalBoxFuture<'a, Result<(), SinkError>> {
        Box::pin(ready(self.commit_now()))
    }

    fn abandon<'a>(&'a mut self) -> LocalBoxFuture<'a, ()> {
        self.abandon_now();
        Box::pin(ready(()))
    }
}

#[cfg(test)]
mod tests {
    use super::FolderSink;
    use pollster::block_on;
    use quantscope_format::{Sink as _, SinkError};
    use std::fs;
    use std::path::Path;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_together_at_the_end() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("new/out");
        let mut sink = FolderSink::new(&out).unwrap();
        block_on(async {
            sink.create("a", 4).await.unwrap();
            sink.write_at("a", 2, b"cd").await.unwrap();
            sink.write_at("a", 0, b"ab").await.unwrap();
            let mut back = [0; 4];
            sink.read_back("a").await.unwrap().read(0, &mut back).await.unwrap();
            assert_eq!(&back, b"abcd");
            assert_eq!(sink.create("a", 1).await, Err(SinkError::Exists { name: "a".into() }));
            assert!(!out.exists(), "nothing stands under the final name yet");
            sink.commit().await.unwrap();
        });
        drop(sink);
        assert_eq!(fs::read(out.join("a")).unwrap(), b"abcd");
        assert_eq!(names(&root.path().join("new")), ["out"]);
    }

    #[test]
    fn an_abandoned_folder_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        for abandon in [true, false] {
            let mut sink = FolderSink::new(&out).unwrap();
            block_on(async {
                sink.create("a", 4).await.unwrap();
                if abandon {
                    sink.abandon().await;
                }
            });
            drop(sink);
            assert!(names(root.path()).is_empty(), "abandon called: {abandon}");
        }
    }

    #[test]
    fn what_stands_there_is_not_touched() {
        let root = tempfile::tempdir().unwrap();
        let full = root.path().join("full");
        fs::create_dir(&full).unwrap();
        fs::write(full.join("mine"), "x").unwrap();
        assert!(FolderSink::new(&full).is_err());
        assert!(FolderSink::new(&full.join("mine")).is_err(), "a file");

        let empty = root.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let mut sink = FolderSink::new(&empty).unwrap();
        fs::write(empty.join("theirs"), "y").unwrap();
        assert!(matches!(block_on(sink.commit()), Err(SinkError::Exists { .. })));
        drop(sink);
        assert_eq!(names(&empty), ["theirs"]);
        assert_eq!(names(root.path()), ["empty", "full"]);
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let mut sink = FolderSink::new(&root.path().join("out")).unwrap();
        for name in ["../a", "/a", "b/../../a", ""] {
            assert!(matches!(block_on(sink.create(name, 1)), Err(SinkError::Io { .. })), "{name}");
        }
        assert!(block_on(sink.create("below/a", 1)).is_ok());
    }
}
