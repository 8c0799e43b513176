//! Writing behind: a thread puts bytes into files while the next ones are computed.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Pieces that wait to be written, at most: with the one in hand, what memory there is for them.
const WAITING: usize = 2;

/// A file that is being written.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) name: Arc<str>,
    pub(super) file: Arc<File>,
}

/// A write that failed: to which file, and why.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) name: Arc<str>,
    pub(super) error: io::Error,
}

enum Job {
    Write {
        to: Open,
        offset: u64,
        bytes: Vec<u8>,
    },
    /// Answered when everything before is written.
    Flush(SyncSender<()>),
}

/// The thread, and the first failure it met. After a failure nothing more is written.
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<Failed>>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let failure = Arc::new(Mutex::new(None));
        let (jobs, receiver) = sync_channel(WAITING);
        let kept = Arc::clone(&failure);
        let thread = Builder::new().name("write".into()).spawn(move || work(&receiver, &kept))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), failure })
    }

    fn failed(&self) -> Result<(), Failed> {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(failed) => Err(failed),
            None => Ok(()),
        }
    }

    /// Writes bytes, some time before [`Writer::flush`] returns.
    ///
    /// # Errors
    /// What failed since the last call.
    pub(super) fn write(&self, to: &Open, offset: u64, bytes: &[u8]) -> Result<(), Failed> {
        self.failed()?;
        let job = Job::Write { to: to.clone(), offset, bytes: bytes.to_vec() };
        self.send(job, &to.name)
    }

    /// Waits until everything is written.
    ///
    /// # Errors
    /// What failed since the last call.
    pub(super) fn flush(&self) -> Result<(), Failed> {
        let (done, wait) = sync_channel(1);
        self.send(Job::Flush(done), &"the output".into())?;
        // Without an answer the thread is gone, which sending would have told.
        let _ = wait.recv();
        self.failed()
    }

    fn send(&self, job: Job, name: &Arc<str>) -> Result<(), Failed> {
        let gone =
            || Failed { name: Arc::clone(name), error: io::Error::other("the writing thread is gone") };
        self.jobs.as_ref().ok_or_else(gone)?.send(job).map_err(|_| gone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without a sender the thread ends; files must be closed before a folder can be removed everywhere.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic, and nobody waits for its result.
            let _ = thread.join();
        }
    }
}

fn work(jobs: &Receiver<Job>, failure: &Mutex<Option<Failed>>) {
    let mut has_failed = false;
    for job in jobs {
        match job {
            Job::Write { to, offset, bytes } if !has_failed => {
                if let Err(error) = write_all_at(&to.file, &bytes, offset) {
                    has_failed = true;
                    let failed = Failed { name: to.name, error };
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
                }
            }
            Job::Write { .. } => {}
            Job::Flush(done) => {
                // Whoever does not wait any more needs no answer.
                let _ = done.send(());
            }
        }
    }
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset = offset.saturating_add(written as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Open, Writer};
    use std::fs::{File, OpenOptions};
    use std::sync::Arc;

    fn open(file: File) -> Open {
        Open { name: "a".into(), file: Arc::new(file) }
    }

    #[test]
    fn everything_is_written_when_it_is_flushed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let file = open(File::create(&path).unwrap());
        let writer = Writer::start().unwrap();
        for i in (0..200_u8).rev() {
            writer.write(&file, u64::from(i), &[i]).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), (0..200).collect::<Vec<u8>>());
    }

    #[test]
    fn a_failure_is_told_by_the_flush_at_the_latest() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        std::fs::write(&path, "mine").unwrap();
        let file = open(OpenOptions::new().read(true).open(&path).unwrap());
        let writer = Writer::start().unwrap();
        let told = (0..10).any(|_| writer.write(&file, 0, b"x").is_err());
        assert!(writer.flush().is_err() || told, "the file is open for reading only");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
