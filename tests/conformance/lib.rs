//! What the conformance tests share: where things are, and files as sources that count what is read.
#![forbid(unsafe_code)]

pub mod faults;
pub mod forgiven;
pub mod format_pages;
pub mod jobs;
pub mod manifest;
pub mod planned;
pub mod sink;
pub mod specimen;
pub mod tally;
pub mod tensors;
pub mod trend;

use futures_util::future::LocalBoxFuture;
use quantscope_format::{Source, SourceError};
use quantscope_gpu::{GpuEngine, GpuOptions};
use quantscope_session::InputFile;
use std::cell::Cell;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The root of the checkout.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file or folder of the golden data, such as `golden/e2e_llama_nvfp4`.
#[must_use]
pub fn data(path: &str) -> PathBuf {
    root().join("tests/data").join(path)
}

/// The manifest of every room, by package name, the root's excepted.
///
/// # Panics
/// If a manifest cannot be read: these are tests of this checkout.
#[must_use]
#[allow(clippy::expect_used, reason = "a test helper; a checkout without manifests has no tests")]
pub fn manifests() -> Vec<(String, toml::Table)> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root().join("crates"))
        .expect("crates")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    folders.extend(["web", "tests", "tests/promises"].map(|folder| root().join(folder)));
    folders.sort();
    folders
        .iter()
        .map(|folder| {
            let text = std::fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest in each room");
            let table: toml::Table = text.parse().expect("a manifest is TOML");
            let name = table.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str);
            (name.expect("a package has a name").to_owned(), table)
        })
        .collect()
}

/// A file on disk that counts the bytes asked of it.
pub struct CountingFile {
    name: String,
    file: std::cell::RefCell<File>,
    len: u64,
    asked: Rc<Cell<u64>>,
}

impl Source for CountingFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        let result = {
            let mut file = self.file.borrow_mut();
            file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(buf))
        };
        self.asked.set(self.asked.get() + buf.len() as u64);
        let result =
            result.map_err(|error| SourceError::Io { name: self.name.clone(), reason: error.to_string() });
        Box::pin(std::future::ready(result))
    }
}

/// The files of a folder as a session opens them, and the count of bytes asked of all of them.
///
/// # Panics
/// If the folder cannot be read.
#[must_use]
#[allow(clippy::expect_used, reason = "a test helper; without its data a test cannot run")]
pub fn open_folder(folder: &Path) -> (Vec<InputFile>, Rc<Cell<u64>>) {
    let asked = Rc::new(Cell::new(0));
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder of the golden data")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    let files = paths
        .iter()
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            let file = File::open(path).expect("a readable file");
            let len = file.metadata().expect("a length").len();
            let file = std::cell::RefCell::new(file);
            InputFile {
                path: name.clone(),
                source: Rc::new(CountingFile { name, file, len, asked: Rc::clone(&asked) }),
            }
        })
        .collect();
    (files, asked)
}

/// The GPU engine, as `QUANTSCOPE_GPU` asks: `off` never, `required` always, anything else if there is one.
///
/// # Panics
/// If one is required and there is none.
#[must_use]
#[allow(clippy::panic, reason = "a skipped test that was required has failed")]
pub fn gpu() -> Option<GpuEngine> {
    let wanted = std::env::var("QUANTSCOPE_GPU").unwrap_or_default();
    if wanted == "off" {
        return None;
    }
    match futures_executor::block_on(GpuEngine::request(GpuOptions::default())) {
        Ok(engine) => Some(engine),
        Err(error) if wanted == "required" => panic!("a GPU is required: {error}"),
        Err(error) => {
            println!("SKIPPED: {error}");
            None
        }
    }
}
