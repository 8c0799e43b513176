//! Files that the user picks or drops, folders included.
//!
//! Only handles are taken here; no byte is read on the page.

use super::reason;
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Function, Promise, Reflect};
use std::future::Future;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DragEvent, Event, File, FileList, FileSystemDirectoryEntry, FileSystemEntry, FileSystemFileEntry,
    HtmlInputElement,
};

/// A file and its path as the browser tells it.
#[derive(Debug, Clone)]
pub(crate) struct PickedFile {
    /// Path, beginning with the folder that was picked if one was.
    pub(crate) path: String,
    /// The file.
    pub(crate) file: File,
}

/// Files of which the browser learns sizes before the page is given time for other things.
const AT_ONCE: usize = 40;

/// Has the browser learn the sizes of files. It asks the system for each, which takes a third of a millisecond, and
/// would do so for all of them in one go when they are handed to the worker.
async fn measured(files: Vec<PickedFile>) -> Vec<PickedFile> {
    for (count, picked) in files.iter().enumerate() {
        if count > 0 && count.is_multiple_of(AT_ONCE) {
            TimeoutFuture::new(0).await;
        }
        picked.file.size();
    }
    files
}

/// Files of an input. The input is emptied, so that picking the same files again is a change.
pub(crate) fn from_input(event: &Event) -> impl Future<Output = Vec<PickedFile>> + use<> {
    measured(listed(event))
}

/// The one file of an input that takes one.
pub(crate) fn one_from_input(event: &Event) -> Option<PickedFile> {
    listed(event).into_iter().next()
}

fn listed(event: &Event) -> Vec<PickedFile> {
    let Some(input) = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok()) else {
        return Vec::new();
    };
    let files = input.files().map(|list| from_list(&list)).unwrap_or_default();
    input.set_value("");
    files
}

fn from_list(list: &FileList) -> Vec<PickedFile> {
    (0..list.length())
        .filter_map(|index| list.get(index))
        .map(|file| {
            let relative =
                Reflect::get(&file, &"webkitRelativePath".into()).ok().and_then(|path| path.as_string());
            PickedFile { path: relative.filter(|path| !path.is_empty()).unwrap_or_else(|| file.name()), file }
        })
        .collect()
}

/// Files of a drop, folders walked through.
///
/// The browser forgets a drop's items when the handler returns, so entries are taken at once and walked later.
pub(crate) fn from_drop(event: &DragEvent) -> impl Future<Output = Result<Vec<PickedFile>, String>> + use<> {
    let mut entries = Vec::new();
    let mut files = Vec::new();
    if let Some(data) = event.data_transfer() {
        let items = data.items();
        for index in 0..items.length() {
            match items.get(index).and_then(|item| item.webkit_get_as_entry().ok().flatten()) {
                Some(entry) => entries.push(entry),
                None => {
                    let file = items.get(index).and_then(|item| item.get_as_file().ok().flatten());
                    files.extend(file.map(|file| PickedFile { path: file.name(), file }));
                }
            }
        }
    }
    async move {
        while let Some(entry) = entries.pop() {
            let refused =
                |error: JsValue| format!("{} could not be read: {}", entry.full_path(), reason(&error));
            if entry.is_directory() {
                entries.extend(list(entry.unchecked_ref()).await.map_err(refused)?);
            } else {
                let file = file_of(entry.unchecked_ref()).await.map_err(refused)?;
                files.push(PickedFile { path: entry.full_path().trim_start_matches('/').to_owned(), file });
            }
        }
        Ok(measured(files).await)
    }
}

async fn file_of(entry: &FileSystemFileEntry) -> Result<File, JsValue> {
    let promise = Promise::new(&mut |resolve: Function, reject: Function| {
        entry.file_with_callback_and_callback(&resolve, &reject);
    });
    Ok(JsFuture::from(promise).await?.unchecked_into())
}

/// All entries of a folder. The browser gives them in batches; an empty one is the last.
async fn list(entry: &FileSystemDirectoryEntry) -> Result<Vec<FileSystemEntry>, JsValue> {
    let reader = entry.create_reader();
    let mut entries = Vec::new();
    loop {
        let mut refused = None;
        let promise = Promise::new(&mut |resolve: Function, reject: Function| {
            refused = reader.read_entries_with_callback_and_callback(&resolve, &reject).err();
        });
        if let Some(error) = refused {
            return Err(error);
        }
        let batch = Array::from(&JsFuture::from(promise).await?);
        if batch.length() == 0 {
            return Ok(entries);
        }
        entries.extend(batch.iter().map(JsCast::unchecked_into::<FileSystemEntry>));
    }
}
