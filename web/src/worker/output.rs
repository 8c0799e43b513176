//! The origin's private file system: one folder for each tab, one in it for each conversion.
//!
//! A tab holds a lock by the name of its folder for as long as it lives. Whatever folder has no lock belongs to
//! a tab that is gone, and is removed when the next one starts.

use super::desk::Desk;
use super::{js, scope, tell};
use crate::locks;
use crate::protocol::Event;
use js_sys::Reflect;
use quantscope_session::SinkError;
use quantscope_session::api::SessionError;
use std::cell::{Cell, RefCell};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Blob, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemRemoveOptions, FileSystemSyncAccessHandle, StorageEstimate,
};

const ROOT: &str = "quantscope-output";

/// This tab's place.
#[derive(Debug)]
pub(super) struct Output {
    tab: String,
    last: Cell<u32>,
    /// Names of dead tabs whose conversions this one goes on with.
    adopted: RefCell<Vec<String>>,
}

/// The folder of one conversion.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    parent: FileSystemDirectoryHandle,
    handle: FileSystemDirectoryHandle,
    name: String,
}

/// The files of a result.
#[derive(Debug)]
pub(super) struct Written {
    /// Where they are in the private file system; `None` if they are in a folder of the user's.
    pub(super) folder: Option<Folder>,
    /// The files by name.
    pub(super) files: Vec<(String, Blob)>,
}

impl Desk {
    /// Frees the space of the result that was open, when something else is.
    pub(super) async fn forget_open_result(&self) {
        let written = self.open_result.borrow_mut().take();
        free(written).await;
    }
}

/// Frees the space of a result. Files in a folder of the user's stay.
pub(super) async fn free(written: Option<Written>) {
    if let Some(folder) = written.and_then(|written| written.folder) {
        folder.remove().await;
    }
}

impl Output {
    /// A place for this tab. Nothing is made before it is needed.
    pub(super) fn new() -> Self {
        // Two tabs must not meet; nothing else depends on these digits.
        let tab = format!("tab-{:016x}", (js_sys::Math::random() * 9.0e15).to_bits());
        Self { tab, last: Cell::new(0), adopted: RefCell::default() }
    }

    /// Takes this tab's lock, and removes the folders of tabs that are gone.
    ///
    /// # Errors
    /// If the browser has no private file system or refuses it; converting will say so when it is tried.
    pub(super) async fn clean_up(&self) -> Result<(), JsValue> {
        let lock = self.tab.clone();
        locks::hold(&self.tab, || tell(Event::Lives { lock }))?;
        let Some(held) = locks::held().await? else {
            // Without locks it cannot be told whose folders these are.
            return Ok(());
        };
        let root = directory(&private_root().await?, ROOT).await?;
        for name in names(&root).await? {
            if name != self.tab && !held.contains(&name) {
                remove(&root, &name).await?;
            }
        }
        Ok(())
    }

    /// This tab's name, and that of its lock.
    pub(super) fn tab(&self) -> &str {
        &self.tab
    }

    /// Whether this tab goes on with what a dead one has begun.
    pub(super) fn has_adopted(&self, tab: &str) -> bool {
        self.adopted.borrow().iter().any(|name| name == tab)
    }

    /// Goes on with what a dead tab has begun.
    pub(super) fn adopt(&self, tab: &str) {
        self.adopted.borrow_mut().push(tab.to_owned());
    }

    /// Makes the folder of one conversion, if there is room for `needed` bytes.
    ///
    /// # Errors
    /// If there is no private file system, or not enough room.
    pub(super) async fn begin(&self, needed: u64) -> Result<Folder, SessionError> {
        let refused = |error: JsValue| {
            js::error(
                "sink",
                format!(
                    "The browser gives this page no private storage ({}), which a conversion writes to. Leave private browsing, \
                     or use `quantscope convert` in a terminal.",
                    js::reason(&error)
                ),
            )
        };
        if let Some(free) = free_bytes().await
            && free < needed
        {
            return Err(js::error(
                "sink",
                format!(
                    "The conversion writes {needed} bytes, and the browser has {free} left for this page. Free disk space or \
                     other sites' storage, exclude more layers, or use `quantscope convert` in a terminal."
                ),
            ));
        }
        let root = directory(&private_root().await.map_err(refused)?, ROOT).await.map_err(refused)?;
        let parent = directory(&root, &self.tab).await.map_err(refused)?;
        let number = self.last.get() + 1;
        self.last.set(number);
        let name = format!("conversion-{number}");
        let handle = directory(&parent, &name).await.map_err(refused)?;
        Ok(Folder { parent, handle, name })
    }
}

impl Folder {
    /// Begins a file and opens it for writing in place.
    ///
    /// # Errors
    /// What the browser says.
    pub(super) async fn begin_file(
        &self,
        name: &str,
    ) -> Result<(FileSystemFileHandle, FileSystemSyncAccessHandle), JsValue> {
        let options = FileSystemGetFileOptions::new();
        options.set_create(true);
        let handle: FileSystemFileHandle =
            JsFuture::from(self.handle.get_file_handle_with_options(name, &options)).await?.into();
        let access: FileSystemSyncAccessHandle =
            JsFuture::from(handle.create_sync_access_handle()).await?.into();
        Ok((handle, access))
    }

    /// The error for a file that the browser has no room for.
    pub(super) async fn full(&self, name: &str, needed: u64) -> SinkError {
        // What the browser says is no promise: it may refuse a file that would fit.
        let free = free_bytes().await.filter(|free| *free < needed).unwrap_or(0);
        SinkError::Full { name: name.into(), needed, available: free }
    }

    /// Removes the folder with everything in it. What cannot be removed now goes when the next tab starts.
    pub(super) async fn remove(&self) {
        if let Err(error) = remove(&self.parent, &self.name).await {
            web_sys::console::warn_1(&error);
        }
    }
}

/// Names of what is in a folder.
pub(super) async fn names(folder: &FileSystemDirectoryHandle) -> Result<Vec<String>, JsValue> {
    let mut names = Vec::new();
    let entries = folder.keys();
    loop {
        let next = JsFuture::from(entries.next()?).await?;
        if Reflect::get(&next, &"done".into())?.is_truthy() {
            return Ok(names);
        }
        names.extend(Reflect::get(&next, &"value".into())?.as_string());
    }
}

async fn private_root() -> Result<FileSystemDirectoryHandle, JsValue> {
    let storage = scope().navigator().storage();
    // Where storage is missing, calling it would throw; ask first.
    if !Reflect::has(&storage, &"getDirectory".into()).unwrap_or(false) {
        return Err("no private file system".into());
    }
    Ok(JsFuture::from(storage.get_directory()).await?.unchecked_into())
}

async fn directory(
    parent: &FileSystemDirectoryHandle,
    name: &str,
) -> Result<FileSystemDirectoryHandle, JsValue> {
    let options = FileSystemGetDirectoryOptions::new();
    options.set_create(true);
    Ok(JsFuture::from(parent.get_directory_handle_with_options(name, &options)).await?.unchecked_into())
}

/// Removes a file, or a folder with everything in it.
pub(super) async fn remove(parent: &FileSystemDirectoryHandle, name: &str) -> Result<(), JsValue> {
    let options = FileSystemRemoveOptions::new();
    options.set_recursive(true);
    JsFuture::from(parent.remove_entry_with_options(name, &options)).await?;
    Ok(())
}

/// Bytes that the browser says are left; `None` if it does not say.
pub(super) async fn free_bytes() -> Option<u64> {
    let estimate: StorageEstimate =
        JsFuture::from(scope().navigator().storage().estimate().ok()?).await.ok()?.unchecked_into();
    js::to_u64((estimate.get_quota()? - estimate.get_usage()?).max(0.0).floor())
}
