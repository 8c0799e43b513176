//! Reading ahead: while a tile is worked on, a thread reads the one that most likely comes next.
//!
//! Tensors are read from their first byte to their last, tile by tile, at times two of them by turns. So when a read
//! follows on one of the last few, the next one is guessed. A guess that is wrong costs one tile of reading and
//! changes nothing else. There are two guesses at a time for all files, so that thousands of them cost no memory.

use quantscope_format::Buffer;
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
    reply: SyncSender<io::Result<Buffer>>,
}

/// The thread that reads for all files; `None` if the system has none to give.
fn reader() -> Option<&'static Sender<Job>> {
    static READER: OnceLock<Option<Sender<Job>>> = OnceLock::new();
    let start = || {
        let (sender, jobs) = channel::<Job>();
        let work = move || {
            for Job { file, offset, len, reply } in jobs {
                let mut bytes = Buffer::of(len);
                let read = read_exact_at(&file, &mut bytes, offset).map(|()| bytes);
                // Whoever has the answer may count on the file being closed once nobody else has it open.
                drop(file);
                // Whoever has gone elsewhere does not want it any more.
                let _ = reply.send(read);
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
    Coming(Receiver<io::Result<Buffer>>),
    Here(Buffer),
}

impl Bytes {
    /// The bytes, which may have to be waited for; `None` if the thread is gone.
    fn wait(self) -> io::Result<Option<Buffer>> {
        match self {
            Self::Here(bytes) => Ok(Some(bytes)),
            Self::Coming(coming) => coming.recv().ok().transpose(),
        }
    }
}

/// What is guessed at a time: two tensors may be read by turns.
const GUESSES: usize = 2;

/// The guesses, the last one last.
static GUESSED: Mutex<VecDeque<Guess>> = Mutex::new(VecDeque::new());

/// Takes a guess out of the list.
fn take_guess(fits: impl Fn(&Guess) -> bool) -> Option<Guess> {
    let mut guesses = GUESSED.lock().unwrap_or_else(PoisonError::into_inner);
    let at = guesses.iter().position(fits)?;
    guesses.remove(at)
}

/// Puts one in. The one that nobody wanted for longest goes.
fn keep_guess(guess: Guess) {
    let mut guesses = GUESSED.lock().unwrap_or_else(PoisonError::into_inner);
    guesses.push_back(guess);
    let gone = if guesses.len() > GUESSES { guesses.pop_front() } else { None };
    drop(guesses);
    drop(gone);
}

/// Lets go of what is guessed of a file. A guess that nobody came for would keep it open, and not everywhere can a
/// folder be renamed in which a file is open.
pub(super) fn forget(file: &Arc<File>) {
    while let Some(guess) = take_guess(|guess| Arc::ptr_eq(&guess.file, file)) {
        // The thread holds the file until it has read; what became of that nobody wants to know.
        let _ = guess.bytes.wait();
    }
}

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
        let next = self.next(buf.len() as u64, len, offset);
        let count = guessed(file, offset, buf)?;
        if let Some(rest) = buf.get_mut(count..).filter(|rest| !rest.is_empty()) {
            read_exact_at(file, rest, offset.saturating_add(count as u64))?;
        }
        next.into_iter().for_each(|range| guess(file, range));
        Ok(())
    }

    /// The same into a buffer: that of the guess, if these bytes were guessed.
    pub(super) fn take(
        &mut self,
        file: &Arc<File>,
        len: u64,
        offset: u64,
        wanted: usize,
    ) -> io::Result<Buffer> {
        let range = offset..offset.saturating_add(wanted as u64);
        let found = take_guess(|guess| Arc::ptr_eq(&guess.file, file) && guess.range == range);
        let whole = found.map(|guess| guess.bytes.wait()).transpose()?.flatten();
        let Some(bytes) = whole else {
            let mut bytes = Buffer::of(wanted);
            self.read(file, len, offset, &mut bytes)?;
            return Ok(bytes);
        };
        self.next(wanted as u64, len, offset).into_iter().for_each(|range| guess(file, range));
        Ok(bytes)
    }

    /// Keeps in mind that a read of `wanted` bytes ends; answers what the next one probably asks for.
    fn next(&mut self, wanted: u64, len: u64, offset: u64) -> Option<Range<u64>> {
        let end = offset.saturating_add(wanted);
        let follows = self.ends.iter().position(|&last| last == offset);
        match follows {
            Some(at) => self.ends.remove(at),
            None => (self.ends.len() == RECENT).then(|| self.ends.pop_front()).flatten(),
        };
        self.ends.push_back(end);
        let pays = follows.is_some() && wanted >= LEAST && end < len;
        pays.then(|| end..end.saturating_add(wanted).min(len))
    }
}

/// Takes what was guessed of these bytes; how many, from the first on.
fn guessed(file: &Arc<File>, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
    let fits = |guess: &Guess| Arc::ptr_eq(&guess.file, file) && guess.range.contains(&offset);
    let Some(guess) = take_guess(fits) else { return Ok(0) };
    // If the thread is gone, everything is read here.
    let Some(bytes) = guess.bytes.wait()? else { return Ok(0) };
    let ready = bytes.get(index(offset.saturating_sub(guess.range.start))..).unwrap_or_default();
    let count = ready.len().min(buf.len());
    if let (Some(head), Some(ready)) = (buf.get_mut(..count), ready.get(..count)) {
        head.copy_from_slice(ready);
    }
    if offset.saturating_add(count as u64) < guess.range.end {
        keep_guess(Guess { file: guess.file, range: guess.range, bytes: Bytes::Here(bytes) });
    }
    Ok(count)
}

/// Has these bytes read, unless that is under way.
fn guess(file: &Arc<File>, range: Range<u64>) {
    let Some(reader) = reader() else { return };
    let has = |guess: &Guess| Arc::ptr_eq(&guess.file, file) && guess.range.contains(&range.start);
    if GUESSED.lock().unwrap_or_else(PoisonError::into_inner).iter().any(has) {
        return;
    }
    let (reply, coming) = sync_channel(1);
    let job = Job { file: Arc::clone(file), offset: range.start, len: index(range.end - range.start), reply };
    if reader.send(job).is_ok() {
        keep_guess(Guess { file: Arc::clone(file), range, bytes: Bytes::Coming(coming) });
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
