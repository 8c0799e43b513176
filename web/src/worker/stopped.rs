//! What conversions of dead tabs have left in a folder of the user's, and how one of them is gone on with.
//!
//! Names begin with the name of the tab: `.quantscope-TAB.FILE.part` are files under way, `.quantscope-TAB.journal` says
//! which weight files are finished, `.quantscope-TAB.settling` which files were about to get their final names. A run
//! with finished files is worth going on with; everything else of a dead tab is removed when the folder is picked again.

use super::folder::{file, is, moved, released};
use super::js;
use super::output::{self, Output};
use crate::locks;
use std::collections::BTreeMap;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Blob, FileSystemDirectoryHandle, FileSystemWritableFileStream};

const PREFIX: &str = ".quantscope-";
const SUFFIX: &str = ".part";
const JOURNAL: &str = ".journal";
const SETTLING: &str = ".settling";

/// Largest journal that is read: it has a hash for each tensor.
const MOST_BYTES: f64 = 268_435_456.0;

/// The names of one tab's files in a folder.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn of(tab: &str) -> Self {
        Self { prefix: format!("{PREFIX}{tab}") }
    }

    /// The name of a file under way.
    pub(super) fn part(&self, name: &str) -> String {
        format!("{}.{name}{SUFFIX}", self.prefix)
    }

    pub(super) fn journal(&self) -> String {
        format!("{}{JOURNAL}", self.prefix)
    }

    fn settling(&self) -> String {
        format!("{}{SETTLING}", self.prefix)
    }

    /// Removes everything of the tab from a folder but these files under way, and the journal with them.
    ///
    /// # Errors
    /// If the browser refuses.
    pub(super) async fn keep_only(
        &self,
        folder: &FileSystemDirectoryHandle,
        finished: &[String],
    ) -> Result<(), JsValue> {
        let mut kept: Vec<String> = finished.iter().map(|name| self.part(name)).collect();
        if !kept.is_empty() {
            kept.extend([self.journal(), self.settling()]);
        }
        let own = format!("{}.", self.prefix);
        for name in output::names(folder).await? {
            if name.starts_with(&own) && !kept.contains(&name) {
                output::remove(folder, &name).await?;
            }
        }
        Ok(())
    }

    /// Writes down which files, of how many bytes, are about to get their final names: if that is broken off, the run
    /// that goes on knows them.
    ///
    /// # Errors
    /// If the browser refuses.
    pub(super) async fn begin_settling(
        &self,
        folder: &FileSystemDirectoryHandle,
        files: impl Iterator<Item = (&str, u64)>,
    ) -> Result<(), JsValue> {
        let lines: String = files.map(|(name, len)| format!("{len} {name}\n")).collect();
        write(folder, &self.settling(), lines.as_bytes()).await
    }

    /// Files that were about to get their final names, with their lengths.
    async fn settled(&self, folder: &FileSystemDirectoryHandle) -> Result<BTreeMap<String, u64>, JsValue> {
        let lines = read(folder, &self.settling()).await?.unwrap_or_default();
        let lines = String::from_utf8_lossy(&lines).into_owned();
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.filter_map(|(len, name)| Some((name.to_owned(), len.parse().ok()?))).collect())
    }

    /// Gives a file that had got its final name its temporary one again, if it still is as long as it was.
    ///
    /// # Errors
    /// If the browser refuses.
    pub(super) async fn unsettle(
        &self,
        folder: &FileSystemDirectoryHandle,
        name: &str,
        len: u64,
    ) -> Result<(), JsValue> {
        let part = self.part(name);
        let (Ok(handle), Err(_)) = (file(folder, name, false).await, file(folder, &part, false).await) else {
            return Ok(());
        };
        let blob: Blob = JsFuture::from(handle.get_file()).await?.unchecked_into();
        if js::to_u64(blob.size()) == Some(len) {
            // Where files cannot be moved it stays, and the conversion says that it exists.
            moved(&handle, &part).await;
        }
        Ok(())
    }
}

/// A conversion of a dead tab that can be gone on with.
#[derive(Debug)]
pub(super) struct Stopped {
    tab: String,
    /// Weight files that are finished.
    pub(super) finished: usize,
    journal: Vec<u8>,
}

/// A dead tab's conversion, taken over.
#[derive(Debug)]
pub(super) struct Adopted {
    /// How its files are called.
    pub(super) names: Names,
    /// What its journal says.
    pub(super) journal: Vec<u8>,
    /// Files that were about to get their final names, with their lengths.
    pub(super) settled: BTreeMap<String, u64>,
}

/// Files that a journal calls finished: all whole lines but the first.
fn finished_in(journal: &[u8]) -> usize {
    journal.iter().filter(|&&byte| byte == b'\n').count().saturating_sub(1)
}

impl Stopped {
    /// Removes from a folder what dead tabs have left, but for the conversion that has come furthest, if any has finished
    /// files; with `drop_all` that too.
    ///
    /// # Errors
    /// If the browser refuses the folder.
    pub(super) async fn find(
        folder: &FileSystemDirectoryHandle,
        output: &Output,
        drop_all: bool,
    ) -> Result<Option<Self>, JsValue> {
        let held = locks::held().await?;
        let mut dead: BTreeMap<String, Option<Self>> = BTreeMap::new();
        for name in output::names(folder).await? {
            let Some((tab, rest)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.')) else {
                continue;
            };
            let is_held = held.as_ref().is_none_or(|held| held.iter().any(|name| name == tab));
            if is_held && !output.has_adopted(tab) {
                continue;
            }
            let stopped = dead.entry(tab.to_owned()).or_default();
            if rest == "journal" && !drop_all {
                let journal = read(folder, &name).await?.unwrap_or_default();
                let finished = finished_in(&journal);
                *stopped = (finished > 0).then(|| Self { tab: tab.to_owned(), finished, journal });
            }
        }
        let furthest = dead.values().flatten().max_by_key(|stopped| stopped.finished);
        let furthest = furthest.map(|stopped| stopped.tab.clone());
        let mut found = None;
        for (tab, stopped) in dead {
            if Some(&tab) == furthest.as_ref() {
                found = stopped;
            } else {
                Names::of(&tab).keep_only(folder, &[]).await?;
            }
        }
        Ok(found)
    }

    /// Takes it over: other tabs know it as one that lives.
    ///
    /// # Errors
    /// If the browser refuses the folder or the lock.
    pub(super) async fn adopt(
        self,
        folder: &FileSystemDirectoryHandle,
        output: &Output,
    ) -> Result<Adopted, JsValue> {
        if !output.has_adopted(&self.tab) {
            locks::hold(&self.tab, || {})?;
            output.adopt(&self.tab);
        }
        let names = Names::of(&self.tab);
        let settled = names.settled(folder).await?;
        Ok(Adopted { names, journal: self.journal, settled })
    }
}

/// Writes a small file, which is there as a whole or not at all.
///
/// # Errors
/// If the browser refuses.
pub(super) async fn write(
    folder: &FileSystemDirectoryHandle,
    name: &str,
    bytes: &[u8],
) -> Result<(), JsValue> {
    let handle = file(folder, name, true).await?;
    let stream: FileSystemWritableFileStream =
        JsFuture::from(handle.create_writable()).await?.unchecked_into();
    let bytes = js_sys::Uint8Array::from(bytes);
    released(&stream, JsFuture::from(stream.write_with_js_u8_array(&bytes)?).await).await?;
    released(&stream, JsFuture::from(stream.close()).await).await
}

/// Reads a small file; `None` if it is not there. What is too large is taken for empty.
async fn read(folder: &FileSystemDirectoryHandle, name: &str) -> Result<Option<Vec<u8>>, JsValue> {
    let handle = match file(folder, name, false).await {
        Ok(handle) => handle,
        Err(error) if is(&error, "NotFoundError") => return Ok(None),
        Err(error) => return Err(error),
    };
    let blob: Blob = JsFuture::from(handle.get_file()).await?.unchecked_into();
    if blob.size() > MOST_BYTES {
        return Ok(Some(Vec::new()));
    }
    let buffer = JsFuture::from(blob.array_buffer()).await?;
    Ok(Some(js_sys::Uint8Array::new(&buffer).to_vec()))
}
