//! A [`Source`] that is a file on disk: positioned reads, the next ones ahead of time, and a watch on the file.
//!
//! The file opens when it is first read, so that a folder of thousands costs no handles. Every read makes sure that
//! it is still the file that was found at first: results that mix two states of a file are of no use.

mod ahead;

use ahead::Ahead;
use futures_util::future::LocalBoxFuture;
use quantscope_format::{Buffer, Source, SourceError};
use std::cell::{OnceCell, RefCell};
use std::fs::{File, Metadata};
use std::future::ready;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// What tells a file from another, or from itself at another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Device and number of the file, where the system has them.
    identity: Option<(u64, u64)>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let identity = {
            use std::os::unix::fs::MetadataExt as _;
            Some((metadata.dev(), metadata.ino()))
        };
        #[cfg(not(unix))]
        let identity = None;
        Self { len: metadata.len(), modified: metadata.modified().ok(), identity }
    }

    /// What became of a file that had this stamp and has another one now.
    fn change(self, now: Self) -> Option<&'static str> {
        match () {
            () if self.identity != now.identity => Some("was replaced"),
            () if now.len < self.len => Some("became shorter"),
            () if now.len > self.len => Some("became longer"),
            () if self.modified != now.modified => Some("was written to"),
            () => None,
        }
    }
}

/// A file on disk.
pub(crate) struct FileSource {
    path: PathBuf,
    stamp: Stamp,
    file: OnceCell<Arc<File>>,
    ahead: RefCell<Ahead>,
}

impl FileSource {
    /// The file as it is now.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        let stamp = Stamp::of(&std::fs::metadata(&path)?);
        Ok(Self { path, stamp, file: OnceCell::new(), ahead: RefCell::default() })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn failed(&self, error: &io::Error) -> SourceError {
        SourceError::Io { name: self.name(), reason: error.to_string() }
    }

    fn compare(&self, now: &Metadata) -> Result<(), SourceError> {
        match self.stamp.change(Stamp::of(now)) {
            Some(change) => Err(SourceError::Changed { name: self.name(), change: change.to_owned() }),
            None => Ok(()),
        }
    }

    /// Reads up to `end` in one of the ways that [`Ahead`] has.
    fn read_now<T>(
        &self,
        offset: u64,
        end: u64,
        read: impl FnOnce(&mut Ahead, &Arc<File>) -> io::Result<T>,
    ) -> Result<T, SourceError> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let opened = Arc::new(File::open(&self.path).map_err(|error| self.failed(&error))?);
                self.file.get_or_init(|| opened)
            }
        };
        if end > self.stamp.len {
            let name = self.name();
            return Err(SourceError::PastEnd { name, len: self.stamp.len, start: offset, end });
        }
        let read = read(&mut self.ahead.borrow_mut(), file);
        // A file that has changed is the reason of a failure, or of bytes that are not to be trusted.
        self.compare(&file.metadata().map_err(|error| self.failed(&error))?)?;
        read.map_err(|error| self.failed(&error))
    }

    fn check_now(&self) -> Result<(), SourceError> {
        match std::fs::metadata(&self.path) {
            Ok(now) => self.compare(&now),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(SourceError::Changed { name: self.name(), change: "vanished".to_owned() })
            }
            Err(error) => Err(self.failed(&error)),
        }
    }
}

impl Drop for FileSource {
    fn drop(&mut self) {
        if let Some(file) = self.file.get() {
            ahead::forget(file);
        }
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.stamp.len
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        let end = offset.saturating_add(buf.len() as u64);
        let len = self.stamp.len;
        Box::pin(ready(self.read_now(offset, end, |ahead, file| ahead.read(file, len, offset, buf))))
    }

    fn take(&self, offset: u64, len: usize) -> LocalBoxFuture<'_, Result<Buffer, SourceError>> {
        let end = offset.saturating_add(len as u64);
        let whole = self.stamp.len;
        Box::pin(ready(self.read_now(offset, end, |ahead, file| ahead.take(file, whole, offset, len))))
    }

    fn check_unchanged(&self) -> LocalBoxFuture<'_, Result<(), SourceError>> {
        Box::pin(ready(self.check_now()))
    }
}

#[cfg(test)]
mod tests {
    use super::FileSource;
    use futures_executor::block_on;
    use quantscope_format::{Source as _, SourceError};
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    fn change(path: &Path, source: &FileSource) -> [Option<String>; 2] {
        let told = |result| match result {
            Err(SourceError::Changed { name, change }) => {
                assert_eq!(name, path.display().to_string());
                Some(change)
            }
            Ok(()) => None,
            Err(other) => panic!("{other}"),
        };
        let mut byte = [0];
        [told(block_on(source.read(0, &mut byte))), told(block_on(source.check_unchanged()))]
    }

    #[test]
    fn a_file_that_changes_is_told() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let open = || {
            fs::write(&path, "four").unwrap();
            let source = FileSource::new(path.clone()).unwrap();
            assert_eq!(change(&path, &source), [None, None]);
            source
        };
        let both = |what: &str| [Some(what.to_owned()), Some(what.to_owned())];
        let source = open();
        fs::write(&path, "three").unwrap();
        assert_eq!(change(&path, &source), both("became longer"));
        let source = open();
        fs::File::options().write(true).open(&path).unwrap().set_len(3).unwrap();
        assert_eq!(change(&path, &source), both("became shorter"));
        let source = open();
        let later = SystemTime::now() + Duration::from_secs(3);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(change(&path, &source), both("was written to"));
        let source = open();
        fs::remove_file(&path).unwrap();
        assert_eq!(change(&path, &source)[1].as_deref(), Some("vanished"));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_replaced_is_told() {
        let root = tempfile::tempdir().unwrap();
        let (path, other) = (root.path().join("a"), root.path().join("b"));
        for file in [&path, &other] {
            fs::write(file, "four").unwrap();
        }
        let (open, unopened) =
            (FileSource::new(path.clone()).unwrap(), FileSource::new(path.clone()).unwrap());
        assert_eq!(change(&path, &open), [None, None]);
        fs::rename(&other, &path).unwrap();
        // What is open is still the old file, whole; at the end it is noticed.
        assert_eq!(change(&path, &open), [None, Some("was replaced".into())]);
        assert_eq!(change(&path, &unopened)[0].as_deref(), Some("was replaced"));
    }

    /// Reading by turns leaves guesses that nobody comes for; nothing may hold the file open because of them.
    #[test]
    fn a_file_is_closed_with_its_source() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        fs::write(&path, vec![1; 4 << 20]).unwrap();
        let source = FileSource::new(path).unwrap();
        for at in [0, 2 << 20, 1 << 19, (2 << 20) + (1 << 19)] {
            block_on(source.take(at, 1 << 19)).unwrap();
        }
        let file = Arc::downgrade(source.file.get().unwrap());
        assert!(file.strong_count() > 1, "something was guessed");
        drop(source);
        assert_eq!(file.strong_count(), 0);
    }

    /// Whatever the order and the size of reads: the bytes are those of the file.
    #[test]
    fn reading_ahead_changes_no_byte() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let bytes: Vec<u8> =
            (0..3_000_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        fs::write(&path, &bytes).unwrap();
        let source = FileSource::new(path.clone()).unwrap();
        let mut random = 1_u64;
        let mut next = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap() % n
        };
        let mut at = 0;
        for _ in 0..300 {
            if next(4) == 0 {
                at = next(bytes.len());
            }
            let len = [next(100), next(400_000), 1 << 18][next(3)].min(bytes.len() - at);
            if next(2) == 0 {
                let taken = block_on(source.take(at as u64, len)).unwrap();
                assert!(taken[..] == bytes[at..at + len], "{at} {len}");
            } else {
                let mut read = vec![0; len];
                block_on(source.read(at as u64, &mut read)).unwrap();
                assert!(read == bytes[at..at + len], "{at} {len}");
            }
            at = (at + len) % bytes.len();
        }
        let mut past = [0; 2];
        let error = block_on(source.read(bytes.len() as u64 - 1, &mut past)).unwrap_err();
        assert!(matches!(error, SourceError::PastEnd { .. }), "{error}");
    }
}
