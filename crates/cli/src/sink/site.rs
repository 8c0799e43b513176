//! Where an output comes into being: a folder beside its final place, with a journal beside both.
//!
//! `OUT` grows as `.OUT.unfinished`, and `.OUT.journal` says what of it is finished. Whoever writes holds a lock on
//! the journal, so that two runs do not meet. A run that is stopped leaves both; the next one removes them unless
//! finished files are in it.

use crate::exit::Failure;
use quantscope_format::SinkError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// The places of one output.
#[derive(Debug)]
pub(super) struct Site {
    /// The final place.
    pub(super) target: PathBuf,
    /// Where it grows.
    pub(super) growing: PathBuf,
    journal: PathBuf,
    log: File,
    /// What a stopped run has left in the journal, if it is to be continued.
    pub(super) stopped: Option<Vec<u8>>,
    /// Finished files that stay if this run is stopped.
    pub(super) finished: u64,
}

/// Lines of a journal that name finished files: all whole ones but the first.
fn finished_in(journal: &[u8]) -> u64 {
    let lines = journal.iter().filter(|&&byte| byte == b'\n').count();
    u64::try_from(lines).unwrap_or(u64::MAX).saturating_sub(1)
}

pub(super) fn told(name: &str, error: &io::Error) -> SinkError {
    SinkError::Io { name: name.to_owned(), reason: error.to_string() }
}

/// Refuses a place where something stands; an empty folder may.
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

/// Makes names in a folder outlast a crash. Windows does so by itself and opens no folders.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

impl Site {
    /// Prepares `target`, which must not exist or be an empty folder. With `resume` what a stopped run has left is
    /// kept to be continued.
    pub(super) fn open(target: &Path, resume: bool) -> Result<Self, Failure> {
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
        let name = name.to_string_lossy();
        let (growing, journal) =
            (parent.join(format!(".{name}.unfinished")), parent.join(format!(".{name}.journal")));
        let is_begun = journal.symlink_metadata().is_ok();
        let mut log = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&journal)
            .map_err(fail)?;
        match log.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(refuse(format!(
                    "another run is writing {}; wait for it, or name another folder",
                    target.display()
                )));
            }
            // Some network drives know no locks; there it is up to the user that no two runs meet.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let mut left = Vec::new();
        let is_left = is_begun && growing.symlink_metadata().is_ok_and(|m| m.is_dir());
        if is_left {
            log.read_to_end(&mut left).map_err(fail)?;
        }
        let finished = finished_in(&left);
        if finished > 0 && !resume {
            return Err(refuse(format!(
                "a run that was stopped has left {finished} finished {} of {} in {}; continue it with --resume, or \
                 remove that folder to start anew",
                if finished == 1 { "file" } else { "files" },
                target.display(),
                growing.display()
            )));
        }
        let mut site = Self { target: target.clone(), growing, journal, log, stopped: None, finished };
        if finished > 0 {
            site.stopped = Some(left);
        } else if let Err(error) = site.begin() {
            site.remove_journal();
            return Err(fail(error));
        }
        Ok(site)
    }

    /// An empty folder to grow in.
    fn begin(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.growing) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir(&self.growing)
    }

    /// Paths that are removed if nothing in them is worth keeping.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        vec![self.growing.clone(), self.journal.clone()]
    }

    /// Begins the journal anew. What it said before stays valid until all of this is on the disk: both begin the
    /// same, and a torn line tells nothing.
    pub(super) fn begin_journal(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.log.seek(SeekFrom::Start(0))?;
        self.log.write_all(bytes)?;
        self.log.set_len(bytes.len() as u64)?;
        self.log.sync_all()
    }

    /// Lets the journal grow.
    pub(super) fn append(&mut self, entry: &[u8]) -> io::Result<()> {
        self.log.seek(SeekFrom::End(0))?;
        self.log.write_all(entry)?;
        self.log.sync_all()?;
        self.finished += 1;
        Ok(())
    }

    /// Gives the folder its final name.
    pub(super) fn rename(&self) -> Result<(), SinkError> {
        let target = self.target.display().to_string();
        // Someone may have put something there meanwhile.
        check_target(&self.target)?;
        if self.target.exists() {
            fs::remove_dir(&self.target).map_err(|error| told(&target, &error))?;
        }
        sync_folder(&self.growing).map_err(|error| told(&target, &error))?;
        fs::rename(&self.growing, &self.target).map_err(|error| told(&target, &error))?;
        // The output is whole: what fails from here on can only leave an old journal behind.
        if let Some(parent) = self.target.parent() {
            sync_folder(parent).map_err(|error| told(&target, &error))?;
        }
        self.remove_journal();
        Ok(())
    }

    fn remove_journal(&self) {
        if let Err(error) = fs::remove_file(&self.journal) {
            eprintln!("quantscope: cannot remove {}: {error}", self.journal.display());
        }
    }

    /// Removes everything.
    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.growing) {
            eprintln!("quantscope: cannot remove {}: {error}", self.growing.display());
        }
        self.remove_journal();
    }
}
