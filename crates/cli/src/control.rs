//! Progress on standard error, and Ctrl-C.

use crate::exit::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quantscope_format::{Control, Progress};
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Set by Ctrl-C, asked once a tile.
static CANCELLED: AtomicBool = AtomicBool::new(false);

/// What is unfinished and not worth keeping, for a second Ctrl-C that does not wait for the tile to end.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// From now on Ctrl-C, and the signals that ask a program to end, stop the work within a tile; a second
/// one ends the program at once. Either way nothing stays but files that a later run can go on from.
pub(crate) fn listen() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if CANCELLED.swap(true, Ordering::SeqCst) {
            for path in UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                // Nothing can be told any more; a leftover has a name that says what it is.
                let _ =
                    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            }
            std::process::exit(130);
        }
    })
    .map_err(|error| Failure::new("refused", format!("cannot listen for Ctrl-C: {error}")))
}

/// Tells the signal handler what is unfinished; nothing once it is finished, removed or worth keeping.
pub(crate) fn set_unfinished(paths: Vec<PathBuf>) {
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = paths;
}

/// How long a phase lasts before its bar is shown: less would only flicker.
const PATIENCE: Duration = Duration::from_millis(300);

/// A progress bar for each phase, with rate and time left. Invisible where standard error is no terminal.
pub(crate) struct Bars {
    current: RefCell<Option<Phase>>,
}

struct Phase {
    name: String,
    began: Instant,
    bar: ProgressBar,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self { current: RefCell::new(None) }
    }

    /// Takes the bar off the screen, before anything else is printed.
    pub(crate) fn clear(&self) {
        if let Some(phase) = self.current.borrow_mut().take() {
            phase.bar.finish_and_clear();
        }
    }
}

impl Phase {
    fn new(progress: &Progress) -> Self {
        let bar = ProgressBar::with_draw_target(Some(progress.total_bytes), ProgressDrawTarget::hidden());
        // Headers are counted in files, everything else in bytes.
        let template = if progress.phase == "Reading headers" {
            "{prefix} [{bar:24}] {pos}/{len}  {wide_msg}"
        } else {
            "{prefix} [{bar:24}] {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left  {wide_msg}"
        };
        // The templates are ours; were one wrong, the plain bar would do.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(progress.phase.clone());
        Self { name: progress.phase.clone(), began: Instant::now(), bar }
    }
}

impl Control for Bars {
    fn progress(&self, progress: &Progress) {
        if self.current.borrow().as_ref().is_none_or(|phase| phase.name != progress.phase) {
            self.clear();
            *self.current.borrow_mut() = Some(Phase::new(progress));
        }
        if let Some(phase) = self.current.borrow().as_ref() {
            if phase.bar.is_hidden() && phase.began.elapsed() >= PATIENCE {
                phase.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            phase.bar.set_length(progress.total_bytes);
            phase.bar.set_message(crate::text::printable(&progress.item));
            phase.bar.set_position(progress.done_bytes);
        }
    }

    fn is_cancelled(&self) -> bool {
        CANCELLED.load(Ordering::SeqCst)
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.clear();
    }
}
