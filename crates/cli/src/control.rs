//! Progress on standard error, and Ctrl-C.

use crate::exit::Failure;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quantscope_format::{Control, Progress};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Set by Ctrl-C, asked once a tile.
static CANCELLED: AtomicBool = AtomicBool::new(false);

/// The folder of unfinished output, for a second Ctrl-C that does not wait for the tile to end.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// From now on Ctrl-C, and the signals that ask a program to end, stop the work within a tile; a second
/// one ends the program at once. Either way nothing unfinished stays.
pub(crate) fn listen() -> Result<(), Failure> {
    ctrlc::set_handler(|| {
        if CANCELLED.swap(true, Ordering::SeqCst) {
            if let Some(folder) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
                // Nothing can be told any more; a leftover has a name that says what it is.
                let _ = std::fs::remove_dir_all(folder);
            }
            std::process::exit(130);
        }
    })
    .map_err(|error| Failure::new("refused", format!("cannot listen for Ctrl-C: {error}")))
}

/// Tells the signal handler which folder is unfinished; `None` once it is finished or removed.
pub(crate) fn set_unfinished(folder: Option<&Path>) {
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = folder.map(Path::to_path_buf);
}

/// One progress bar, with rate and time left, a line for each phase. Invisible where standard error is no terminal.
pub(crate) struct Bars {
    current: RefCell<Option<(String, ProgressBar)>>,
}

impl Bars {
    pub(crate) fn new() -> Self {
        Self { current: RefCell::new(None) }
    }

    /// Takes the bar off the screen, before anything else is printed.
    pub(crate) fn clear(&self) {
        if let Some((_, bar)) = self.current.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(total_bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total_bytes), ProgressDrawTarget::stderr());
    let template =
        "{prefix} [{bar:24}] {bytes}/{total_bytes}, {binary_bytes_per_sec}, {eta} left  {wide_msg}";
    // The template is ours; were it wrong, the plain bar would do.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> "));
    bar
}

impl Control for Bars {
    fn progress(&self, progress: &Progress) {
        let mut current = self.current.borrow_mut();
        if current.as_ref().is_none_or(|(phase, _)| *phase != progress.phase) {
            if let Some((_, old)) = current.take() {
                old.finish_and_clear();
            }
            *current = Some((progress.phase.clone(), bar(progress.total_bytes)));
        }
        if let Some((phase, bar)) = current.as_ref() {
            bar.set_length(progress.total_bytes);
            bar.set_prefix(phase.clone());
            bar.set_message(crate::text::printable(&progress.item));
            bar.set_position(progress.done_bytes);
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
