//! Writing behind: a thread puts bytes into files while the next ones are computed, and another one sees to it that
//! they get from the system's memory to the disk, so that little is left to be waited for in the end.

use quantscope_format::Buffer;
use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Pieces that wait to be written, at most: with the one in hand, what memory there is for them.
const WAITING: usize = 2;

/// Bytes after which a file is synced while it grows.
const SYNCED: usize = 16 << 20;

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
        bytes: Arc<Buffer>,
    },
    /// Answered when everything before is written.
    Flush(SyncSender<()>),
}

/// To the thread that syncs.
enum SyncJob {
    Sync(Open),
    /// Answered when everything before is synced.
    Flush(SyncSender<()>),
}

/// The first failure that a thread met.
type Failure = Arc<Mutex<Option<Failed>>>;

fn keep(failure: &Failure, name: Arc<str>, error: io::Error) {
    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(Failed { name, error });
}

/// The threads, and the first failure they met. After a failed write nothing more is written.
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    syncs: Option<SyncSender<SyncJob>>,
    threads: Vec<JoinHandle<()>>,
    failure: Failure,
}

impl Writer {
    /// Starts the threads.
    pub(super) fn start() -> io::Result<Self> {
        let failure = Failure::default();
        let (jobs, receiver) = sync_channel(WAITING);
        let (syncs, to_sync) = sync_channel(WAITING);
        let (kept, synced) = (Arc::clone(&failure), syncs.clone());
        let write = Builder::new().name("write".into()).spawn(move || work(&receiver, &synced, &kept))?;
        let kept = Arc::clone(&failure);
        let sync = Builder::new().name("sync".into()).spawn(move || sync(&to_sync, &kept))?;
        Ok(Self { jobs: Some(jobs), syncs: Some(syncs), threads: vec![write, sync], failure })
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
    pub(super) fn write(&self, to: &Open, offset: u64, bytes: Arc<Buffer>) -> Result<(), Failed> {
        self.failed()?;
        let job = Job::Write { to: to.clone(), offset, bytes };
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

    /// Waits until everything is written, and has a file synced meanwhile and after.
    ///
    /// # Errors
    /// What failed since the last call.
    pub(super) fn sync_soon(&self, file: &Open) -> Result<(), Failed> {
        self.flush()?;
        self.send_sync(SyncJob::Sync(file.clone()), &file.name)
    }

    /// Waits until everything is written, and all syncing that was begun is done.
    ///
    /// # Errors
    /// What failed since the last call.
    pub(super) fn settle(&self) -> Result<(), Failed> {
        self.flush()?;
        let (done, wait) = sync_channel(1);
        self.send_sync(SyncJob::Flush(done), &"the output".into())?;
        let _ = wait.recv();
        self.failed()
    }

    fn send(&self, job: Job, name: &Arc<str>) -> Result<(), Failed> {
        let sent = self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok());
        sent.ok_or_else(|| gone(name))
    }

    fn send_sync(&self, job: SyncJob, name: &Arc<str>) -> Result<(), Failed> {
        let sent = self.syncs.as_ref().and_then(|syncs| syncs.send(job).ok());
        sent.ok_or_else(|| gone(name))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without senders the threads end; files must be closed before a folder can be removed everywhere.
        (self.jobs, self.syncs) = (None, None);
        for thread in self.threads.drain(..) {
            // It does not panic, and nobody waits for its result.
            let _ = thread.join();
        }
    }
}

fn gone(name: &Arc<str>) -> Failed {
    Failed { name: Arc::clone(name), error: io::Error::other("the writing thread is gone") }
}

/// Syncs files. A failure is told to the next one who syncs, and only once: so it is kept.
fn sync(jobs: &Receiver<SyncJob>, failure: &Failure) {
    for job in jobs {
        match job {
            SyncJob::Sync(open) => {
                if let Err(error) = open.file.sync_data() {
                    keep(failure, open.name, error);
                }
            }
            SyncJob::Flush(done) => {
                // Whoever does not wait any more needs no answer.
                let _ = done.send(());
            }
        }
    }
}

fn work(jobs: &Receiver<Job>, syncs: &SyncSender<SyncJob>, failure: &Failure) {
    let mut has_failed = false;
    let mut unsynced = 0;
    for job in jobs {
        match job {
            Job::Write { to, offset, bytes } if !has_failed => {
                if let Err(error) = write_all_at(&to.file, &bytes, offset) {
                    has_failed = true;
                    keep(failure, to.name, error);
                    continue;
                }
                unsynced += bytes.len();
                if unsynced >= SYNCED {
                    unsynced = 0;
                    // Where syncing is behind already, it takes these bytes along.
                    let _ = syncs.try_send(SyncJob::Sync(to));
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
            writer.write(&file, u64::from(i), Arc::new(vec![i].into())).unwrap();
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
        let told = (0..10).any(|_| writer.write(&file, 0, Arc::new(vec![b'x'].into())).is_err());
        assert!(writer.flush().is_err() || told, "the file is open for reading only");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
