//! The hub's list of a repository's files, with their sizes.

use crate::address::{escaped, file_name};
use crate::connection::Connection;
use crate::error::RemoteError;
use quantscope_format::Arrange as _;
use quantscope_format::natural_cmp;
use serde::Deserialize;

/// Longest list that is read.
const LIST_BYTES: u64 = 32 << 20;

/// Largest file that is taken along besides weights, index and configs: tokenizers have some megabytes.
const OTHER_BYTES: u64 = 64 << 20;

/// Ends of files that belong to a checkpoint besides its weights.
const OTHER_ENDS: [&str; 6] = [".json", ".jinja", ".model", ".txt", ".py", ".md"];

#[derive(Deserialize)]
struct Listing {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
}

/// A file that the hub lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Path within the folder that is opened.
    pub(crate) path: String,
    /// Address of its bytes, at the commit of the list.
    pub(crate) url: String,
    /// Length, if the list says so.
    pub(crate) len: Option<u64>,
}

/// The files of a folder of a repository that make a checkpoint: weights (those in folders below too, which an
/// index may name) and small texts beside them.
///
/// # Errors
/// If the hub cannot be asked, or the folder holds no weights.
pub(crate) async fn list(
    connection: &Connection,
    endpoint: &str,
    repo: &str,
    revision: &str,
    folder: &str,
) -> Result<Vec<Listed>, RemoteError> {
    let url = format!("{endpoint}/api/models/{repo}/revision/{revision}?blobs=true");
    let (bytes, known) = connection.fetch(&url, 0..LIST_BYTES, None).await?;
    let unusable = |reason: String| RemoteError::Unusable { url: format!("the file list of {repo}"), reason };
    if known.len > LIST_BYTES {
        return Err(unusable(format!("it has {} bytes", known.len)));
    }
    let listing: Listing = serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
    let is_commit = |sha: &String| sha.len() == 40 && sha.bytes().all(|b| b.is_ascii_hexdigit());
    let commit = listing.sha.filter(is_commit).unwrap_or_else(|| revision.to_owned());
    let prefix = if folder.is_empty() { String::new() } else { format!("{}/", folder.trim_end_matches('/')) };
    let mut files = Vec::new();
    let mut elsewhere: Vec<String> = Vec::new();
    for Sibling { rfilename, size } in listing.siblings {
        let below = rfilename.strip_prefix(&prefix);
        let path = below.filter(|path| path.split('/').all(|part| !matches!(part, "" | "." | "..")));
        let is_weights = rfilename.ends_with(".safetensors");
        let Some(path) = path else {
            elsewhere.extend(is_weights.then(|| rfilename.clone()));
            continue;
        };
        let is_here = !path.contains('/');
        let is_small = size.is_none_or(|size| size <= OTHER_BYTES);
        let is_text = is_small && OTHER_ENDS.iter().any(|end| path.ends_with(end));
        if is_weights || (is_here && is_text) {
            let url = format!("{endpoint}/{repo}/resolve/{commit}/{}", escaped(&rfilename));
            files.push(Listed { path: path.to_owned(), url, len: size });
        }
        if is_weights && !is_here {
            elsewhere.push(rfilename);
        }
    }
    if files.iter().any(|file| file.path.ends_with(".safetensors") && !file.path.contains('/')) {
        return Ok(files);
    }
    Err(RemoteError::Nothing { url: format!("{repo}/{folder}"), hint: hint(elsewhere) })
}

/// Folders that do hold weights, in words.
fn hint(files: Vec<String>) -> String {
    let mut folders: Vec<String> = files
        .into_iter()
        .filter_map(|file| Some(file.strip_suffix(&file_name(&file))?.trim_end_matches('/').to_owned()))
        .collect();
    folders.retain(|folder| !folder.is_empty());
    folders.arrange_by(|a, b| natural_cmp(a, b));
    folders.dedup();
    folders.truncate(12);
    match folders.is_empty() {
        true => String::new(),
        false => format!("; these folders do: {}", folders.join(", ")),
    }
}
