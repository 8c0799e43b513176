//! Reading ahead: while a tile is worked on, a thread reads the one that most likely comes next.
//!
//! Tensors are read from their first byte to their last, tile by tile, at times two of them by turns. So when a read
//! follows on one of the last few, the next one is guessed. A guess that is wrong costs one tile of reading and
//! changes nothing else. There is one guess at a time for all files, so that thousands of them cost no memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Builder;

/// Reads below this are not worth a thread.
const LEAST: u64 = 1 << 18;

struct Job {
    file: Arc<File>,
    offset: u64,
    len: usize,
    /// A buffer that was used before.
    room: Vec<u8>,
    reply: SyncSender<io::Result<Vec<u8>>>,
}

/// The thread that reads for all files; `None` if the system has none to give.
fn reader() -> Option<&'static Sender<Job>> {
    static READER: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    let start = || {
        let (sender, jobs) = channel::<Job>();
        let work = move || {
            for job in jobs {
                let mut bytes = job.room;
                bytes.resize(job.len, 0);
                let read = read_exact_at(&job.file, &mut bytes, job.offset).map(|()| bytes);
                // Whoever has gone elsewhere does not want it any more.
                let _ = job.reply.send(read);
            }
        };
        Builder::new().name("read".into()).spawn(work).ok().map(|_| sender)
    };
    READER.get_or_init(start).as_ref()
}

/// What was or is being read ahead.
struct Guess {
    file: Arc<File>,
    range: Range<u64>,
    bytes: Bytes,
}

enum Bytes {
    /// The thread is at it.
    Coming(Receiver<io::Result<Vec<u8>>>),
    Here(Vec<u8>),
}

/// The one guess.
static GUESS: Mutex<Option<Guess>> = Mutex::new(None);

/// The buffer of the last guess that was used up: memory that is asked of the system anew for each tile costs more
/// than reading into it.
static SPARE: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Reads that the next one may follow on.
const RECENT: usize = 4;

/// Where the last reads of a file ended.
#[derive(Default)]
pub(super) struct Ahead {
    ends: VecDeque<u64>,
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

impl Ahead {
    /// Fills `buf` from `offset` of a file of `len` bytes.
    pub(super) fn read(&mut self, file: &Arc<File>, len: u64, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let wanted = buf.len() as u64;
        let end = offset.saturating_add(wanted);
        let follows = self.ends.iter().position(|&last| last == offset);
        match follows {
            Some(at) => self.ends.remove(at),
            None => (self.ends.len() == RECENT).then(|| self.ends.pop_front()).flatten(),
        };
        self.ends.push_back(end);
        let count = guessed(file, offset, buf)?;
        if let Some(rest) = buf.get_mut(count..).filter(|rest| !rest.is_empty()) {
            read_exact_at(file, rest, offset.saturating_add(count as u64))?;
        }
        if follows.is_some() && wanted >= LEAST && end < len {
            guess(file, end..end.saturating_add(wanted).min(len));
        }
        Ok(())
    }
}

/// Takes what was guessed of these bytes; how many, from the first on.
fn guessed(file: &Arc<File>, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let mut slot = GUESS.lock().unwrap_or_else(PoisonError::into_inner);
    let fits = |guess: &Guess| Arc::ptr_eq(&guess.file, file) && guess.range.contains(&offset);
    let Some(guess) = slot.take_if(|guess| fits(guess)) else { return Ok(0) };
    let bytes = match guess.bytes {
        Bytes::Here(bytes) => bytes,
        Bytes::Coming(coming) => match coming.recv() {
            Ok(read) => read?,
            // The thread is gone: everything is read here.
            Err(_) => return Ok(0),
        },
    };
    let ready = bytes.get(index(offset.saturating_sub(guess.range.start))..).unwrap_or_default();
    let count = ready.len().min(buf.len());
    if let (Some(head), Some(ready)) = (buf.get_mut(..count), ready.get(..count)) {
        head.copy_from_slice(ready);
    }
    if offset.saturating_add(count as u64) < guess.range.end {
        *slot = Some(Guess { bytes: Bytes::Here(bytes), ..guess });
    } else {
        *SPARE.lock().unwrap_or_else(PoisonError::into_inner) = bytes;
    }
    Ok(count)
}

/// Has these bytes read, unless that is under way.
fn guess(file: &Arc<File>, range: Range<u64>) {
    let Some(reader) = reader() else { return };
    let mut slot = GUESS.lock().unwrap_or_else(PoisonError::into_inner);
    let has = |guess: &Guess| Arc::ptr_eq(&guess.file, file) && guess.range.contains(&range.start);
    if slot.as_ref().is_some_and(has) {
        return;
    }
    let (reply, coming) = sync_channel(1);
    let room = std::mem::take(&mut *SPARE.lock().unwrap_or_else(PoisonError::into_inner));
    let len = index(range.end - range.start);
    let job = Job { file: Arc::clone(file), offset: range.start, len, room, reply };
    if reader.send(job).is_ok() {
        *slot = Some(Guess { file: Arc::clone(file), range, bytes: Bytes::Coming(coming) });
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buf, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buf = buf.get_mut(read..).unwrap_or_default();
                offset = offset.saturating_add(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
