//! From an address to the files of a checkpoint: the index, the configs and every header are fetched, side by
//! side, and nothing else.

use crate::address::{Address, beside, escaped, file_name};
use crate::connection::{Connection, Known};
use crate::error::{RemoteError, shown};
use crate::hub;
use crate::source::RemoteSource;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream;
use quantscope_format::Arrange as _;
use quantscope_format::{Control, Limits, Progress, ShardIndex, leaves_folder, natural_cmp};
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;

/// Requests under way at a time: what a browser allows to one host.
const SIDE_BY_SIDE: usize = 6;
/// Longest header that is fetched ahead; a longer one is read in pieces when it is parsed.
const HEADER_AHEAD: u64 = 32 << 20;
/// First part of a small file: most configs are shorter.
const SMALL: u64 = 64 << 10;
/// How often the user is asked whether to stop, in milliseconds.
const ASK_EVERY: u32 = 100;

const CONFIGS: [&str; 2] = ["config.json", "hf_quant_config.json"];
const INDEXES: [&str; 2] = ["model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json"];
const SINGLES: [&str; 2] = ["model.safetensors", "diffusion_pytorch_model.safetensors"];

/// A file of a checkpoint at an address.
pub struct RemoteFile {
    /// Path within the checkpoint.
    pub path: String,
    /// Its bytes.
    pub source: Rc<RemoteSource>,
}

/// What is known of a file before it is asked for.
struct Entry {
    path: String,
    url: String,
    len: Option<u64>,
    /// Whether the checkpoint is whole without it; the auditor says what is missing.
    optional: bool,
}

/// Opens what an address means: fetches the index, the configs and the headers. Stops within a tenth of a second
/// when the user wants it.
///
/// # Errors
/// If a server cannot be reached or refuses, answers wrongly, or there are no weights. Shards that an index names
/// and nobody has are left out, as from a folder on disk.
pub async fn open(
    connection: &Rc<Connection>,
    address: &Address,
    limits: &Limits,
    control: &dyn Control,
) -> Result<Vec<RemoteFile>, RemoteError> {
    let watch = async {
        while !control.is_cancelled() {
            connection.transport().pause(ASK_EVERY).await;
        }
    };
    match select(pin!(open_now(connection, address, limits, control)), pin!(watch)).await {
        Either::Left((opened, _)) => opened,
        Either::Right(((), _)) => Err(RemoteError::Cancelled),
    }
}

async fn open_now(
    connection: &Rc<Connection>,
    address: &Address,
    limits: &Limits,
    control: &dyn Control,
) -> Result<Vec<RemoteFile>, RemoteError> {
    let mut files = Vec::new();
    let mut entries = Vec::new();
    let place = match address {
        Address::File { url } => {
            entries.push(entry(file_name(url), url.clone(), false));
            url.clone()
        }
        Address::Index { url } => {
            let index = small(connection, &entry(file_name(url), url.clone(), false), limits).await?;
            entries.extend(named(url, &index, limits)?);
            files.push(index);
            url.clone()
        }
        Address::Folder { url } => {
            match first_index(connection, url, limits).await? {
                Some(index) => {
                    entries.extend(named(url, &index, limits)?);
                    files.push(index);
                }
                None => {
                    entries.extend(SINGLES.map(|name| entry(name.into(), beside(url, name), true)));
                    entries.extend(CONFIGS.map(|name| entry(name.into(), beside(url, name), true)));
                }
            }
            url.clone()
        }
        Address::Hub { endpoint, repo, revision, path } if path.ends_with(".safetensors") => {
            let url = format!("{endpoint}/{repo}/resolve/{revision}/{}", escaped(path));
            entries.push(entry(file_name(&url), url.clone(), false));
            url
        }
        Address::Hub { endpoint, repo, revision, path } => {
            let folder = path.strip_suffix(&file_name(path)).filter(|_| path.ends_with(".json"));
            let folder = folder.unwrap_or(path).trim_end_matches('/');
            let listed = hub::list(connection, endpoint, repo, revision, folder).await?;
            entries.extend(listed.into_iter().map(|file| Entry {
                path: file.path,
                url: file.url,
                len: file.len,
                optional: false,
            }));
            format!("{repo}/{folder}")
        }
    };
    let total = entries.len() as u64;
    let done = Cell::new(0_u64);
    let fetched = entries.into_iter().map(|entry| {
        let done = &done;
        async move {
            let file = one(connection, &entry, limits).await;
            done.set(done.get().saturating_add(1));
            control.progress(&Progress {
                phase: "Fetching headers".into(),
                item: entry.path.clone(),
                done_bytes: done.get(),
                total_bytes: total,
            });
            match file {
                Err(RemoteError::Missing { .. }) if entry.optional => Ok(None),
                other => other.map(Some),
            }
        }
    });
    let mut fetched = stream::iter(fetched).buffer_unordered(SIDE_BY_SIDE);
    while let Some(file) = fetched.next().await {
        files.extend(file?);
    }
    drop(fetched);
    if !files.iter().any(|file| is_weights(&file.path)) {
        return Err(RemoteError::Nothing { url: shown(&place), hint: String::new() });
    }
    files.arrange_by(|a, b| natural_cmp(&a.path, &b.path));
    Ok(files)
}

fn is_weights(path: &str) -> bool {
    path.ends_with(".safetensors")
}

fn entry(path: String, url: String, optional: bool) -> Entry {
    Entry { path, url, len: None, optional }
}

/// The first index of a usual name that a folder has.
async fn first_index(
    connection: &Rc<Connection>,
    folder: &str,
    limits: &Limits,
) -> Result<Option<RemoteFile>, RemoteError> {
    for name in INDEXES {
        match small(connection, &entry(name.into(), beside(folder, name), true), limits).await {
            Err(RemoteError::Missing { .. }) => {}
            found => return found.map(Some),
        }
    }
    Ok(None)
}

/// The shards that an index names, and the configs beside it.
fn named(url: &str, index: &RemoteFile, limits: &Limits) -> Result<Vec<Entry>, RemoteError> {
    let unusable = |reason: String| RemoteError::Unusable { url: shown(url), reason };
    let json = index.source.head();
    if json.len() as u64 != quantscope_format::Source::len(&*index.source) {
        return Err(unusable(format!("it is longer than the limit of {} bytes", limits.json_bytes)));
    }
    let parsed = ShardIndex::parse(&json, limits).map_err(|error| unusable(error.to_string()))?;
    let inside = |name: &&str| leaves_folder(name).is_none() && is_weights(name);
    let mut names: Vec<&str> = parsed.files().into_iter().filter(inside).collect();
    names.arrange_by(|a, b| natural_cmp(a, b));
    Ok(names.into_iter().chain(CONFIGS).map(|name| entry(name.into(), beside(url, name), true)).collect())
}

/// Fetches what opening reads of a file.
async fn one(connection: &Rc<Connection>, entry: &Entry, limits: &Limits) -> Result<RemoteFile, RemoteError> {
    if is_weights(&entry.path) {
        return header(connection, entry, limits).await;
    }
    let is_read = CONFIGS.contains(&entry.path.as_str()) || entry.path.ends_with(".safetensors.index.json");
    match entry.len {
        Some(len) if !is_read => Ok(file(connection, entry, Known { len, etag: None }, Vec::new())),
        _ => small(connection, entry, limits).await,
    }
}

fn file(connection: &Rc<Connection>, entry: &Entry, known: Known, head: Vec<u8>) -> RemoteFile {
    let (path, url) = (entry.path.clone(), entry.url.clone());
    let source = RemoteSource::new(Rc::clone(connection), url, path.clone(), known, head);
    RemoteFile { path, source: Rc::new(source) }
}

/// The length of a header and the header: exactly those bytes.
async fn header(
    connection: &Rc<Connection>,
    entry: &Entry,
    limits: &Limits,
) -> Result<RemoteFile, RemoteError> {
    let (mut head, mut known) = connection.fetch(&entry.url, 0..8, None).await?;
    if let Ok(length) = <[u8; 8]>::try_from(head.as_slice()) {
        let end = u64::from_le_bytes(length).saturating_add(8);
        if end > 8 && end <= known.len && end <= limits.header_bytes.min(HEADER_AHEAD) {
            let (rest, now) = connection.fetch(&entry.url, 8..end, Some(known)).await?;
            head.extend_from_slice(&rest);
            known = now;
        }
    }
    Ok(file(connection, entry, known, head))
}

/// A whole small file; of one over the limit, its first part alone.
async fn small(
    connection: &Rc<Connection>,
    entry: &Entry,
    limits: &Limits,
) -> Result<RemoteFile, RemoteError> {
    let first = SMALL.min(limits.json_bytes.max(1));
    let (mut bytes, mut known) = connection.fetch(&entry.url, 0..first, None).await?;
    let got = bytes.len() as u64;
    if got < known.len && known.len <= limits.json_bytes {
        let (rest, now) = connection.fetch(&entry.url, got..known.len, Some(known)).await?;
        bytes.extend_from_slice(&rest);
        known = now;
    }
    Ok(file(connection, entry, known, bytes))
}

#[cfg(test)]
mod tests;
