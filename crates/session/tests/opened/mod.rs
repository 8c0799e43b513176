//! Sessions of folders of the golden data, and somebody who stops a job.

use quantscope_session::{Control, InputFile, Limits, MemorySource, Progress, Session, Uncontrolled};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A path under `tests/data`.
pub(crate) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path)
}

/// The files of a folder.
pub(crate) fn files(path: &str) -> Vec<InputFile> {
    let entries = std::fs::read_dir(data(path)).unwrap().flatten().filter(|e| e.path().is_file());
    let file = |e: std::fs::DirEntry| {
        let name = e.file_name().to_string_lossy().into_owned();
        let source = MemorySource::new(&name, std::fs::read(e.path()).unwrap());
        InputFile { path: name, source: Rc::new(source) }
    };
    entries.map(file).collect()
}

/// A session of a folder.
pub(crate) fn open_folder(path: &str, limits: Limits) -> Session {
    futures_executor::block_on(Session::open(path, files(path), limits, &Uncontrolled)).unwrap()
}

/// Stops a job after so many steps.
pub(crate) struct Stopping {
    pub(crate) after: Cell<u64>,
}

impl Control for Stopping {
    fn progress(&self, _: &Progress) {
        self.after.set(self.after.get().saturating_sub(1));
    }

    fn is_cancelled(&self) -> bool {
        self.after.get() == 0
    }
}
