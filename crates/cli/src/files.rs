//! From paths to the files of checkpoints; addresses go to [`remote`].
//!
//! A folder is opened one level deep, with what its index names below it. What an index names outside
//! is never opened.

use crate::exit::Failure;
use crate::remote;
use crate::source::FileSource;
use quantscope_format::{Glob, Limits, ShardIndex, leaves_folder, natural_cmp};
use quantscope_remote::Address;
use quantscope_session::InputFile;
use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// The files of one checkpoint.
pub(crate) struct CheckpointFiles {
    /// Path as given, for the report.
    pub(crate) name: String,
    pub(crate) files: Vec<InputFile>,
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new("source", format!("cannot read {}: {error}", path.display()))
}

/// The checkpoints that paths name: each folder is one, the files of one folder together are one.
pub(crate) async fn checkpoints(paths: &[PathBuf], limits: &Limits) -> Result<Vec<CheckpointFiles>, Failure> {
    let mut found: Vec<CheckpointFiles> = Vec::new();
    // Loose files by their folder, in the order in which the folders were met.
    let mut loose: BTreeMap<PathBuf, usize> = BTreeMap::new();
    for given in paths {
        if let Some(address) = given.to_str().filter(|text| Address::is_meant(text)) {
            found.push(remote::checkpoint(address, limits).await?);
            continue;
        }
        for path in expand(given)? {
            if path.is_dir() {
                found.push(CheckpointFiles {
                    name: path.display().to_string(),
                    files: folder(&path, limits)?,
                });
                continue;
            }
            let parent = path.parent().unwrap_or(Path::new("")).to_path_buf();
            let index = *loose.entry(parent.clone()).or_insert_with(|| {
                found.push(CheckpointFiles { name: String::new(), files: Vec::new() });
                found.len() - 1
            });
            if let Some(checkpoint) = found.get_mut(index) {
                add(&mut checkpoint.files, &path, file_name(&path))?;
                checkpoint.name = match checkpoint.files.len() {
                    1 => path.display().to_string(),
                    _ if parent.as_os_str().is_empty() => ".".to_owned(),
                    _ => parent.display().to_string(),
                };
            }
        }
    }
    Ok(found)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Adds a file under a name, once.
fn add(files: &mut Vec<InputFile>, path: &Path, name: String) -> Result<(), Failure> {
    if files.iter().all(|file| file.path != name) {
        let source = FileSource::new(path.to_path_buf()).map_err(|error| unreadable(path, &error))?;
        files.push(InputFile { path: name, source: Rc::new(source) });
    }
    Ok(())
}

/// Regular files of a folder (links are followed: a model cache is made of them), and what its index names.
fn folder(path: &Path, limits: &Limits) -> Result<Vec<InputFile>, Failure> {
    let mut entries = Vec::new();
    let mut below = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let entry = entry.map_err(|error| unreadable(path, &error))?.path();
        if entry.is_file() {
            entries.push(entry);
        } else if entry.is_dir() {
            below.push(entry);
        }
    }
    entries.sort_by(|a, b| natural_cmp(&file_name(a), &file_name(b)));
    let mut files = Vec::new();
    for entry in &entries {
        add(&mut files, entry, file_name(entry))?;
    }
    for entry in entries.iter().filter(|entry| file_name(entry).ends_with(".safetensors.index.json")) {
        for (name, file) in indexed(path, entry, limits) {
            add(&mut files, &file, name)?;
        }
    }
    if files.iter().any(|file| file.path.ends_with(".safetensors")) {
        return Ok(files);
    }
    below.sort();
    let holds_weights = |folder: &&PathBuf| {
        let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.any(|entry| entry.path().extension().is_some_and(|e| e == "safetensors"))
    };
    let names: Vec<String> =
        below.iter().filter(holds_weights).map(|folder| folder.display().to_string()).collect();
    let hint = if names.is_empty() {
        String::new()
    } else {
        format!("; these folders in it do: {}", names.join(", "))
    };
    Err(Failure::new("nothing", format!("{} holds no .safetensors file{hint}", path.display())))
}

/// Files in folders below that an index names. A damaged index names none here; that is a finding.
fn indexed(folder: &Path, index: &Path, limits: &Limits) -> Vec<(String, PathBuf)> {
    let small = std::fs::metadata(index).is_ok_and(|m| m.len() <= limits.json_bytes);
    // A path into a folder has a slash, or what stands for one in JSON; most indexes need not be understood for that.
    let has_slash = |json: &Vec<u8>| json.iter().any(|byte| matches!(byte, b'/' | b'\\'));
    let parsed = small.then(|| std::fs::read(index).ok()).flatten().filter(has_slash);
    let Some(parsed) = parsed.and_then(|json| ShardIndex::parse(&json, limits).ok()) else {
        return Vec::new();
    };
    let Ok(root) = folder.canonicalize() else { return Vec::new() };
    let names = parsed.files().into_iter().filter(|name| name.contains('/') && leaves_folder(name).is_none());
    names
        .map(|name| (name.to_owned(), folder.join(name)))
        // A linked folder may lead out of this one even where the path does not.
        .filter(|(_, path)| {
            path.parent().and_then(|p| p.canonicalize().ok()).is_some_and(|p| p.starts_with(&root))
        })
        .filter(|(_, path)| path.is_file())
        .collect()
}

/// The path itself if it exists, else what it matches as a glob, part by part.
fn expand(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    match std::fs::metadata(path) {
        Ok(_) => return Ok(vec![path.to_path_buf()]),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unreadable(path, &error)),
        Err(_) => {}
    }
    let is_pattern = |text: &str| text.contains(['*', '?', '[']);
    let mut found = vec![PathBuf::new()];
    let mut any_pattern = false;
    for part in path.components() {
        let text = match part {
            Component::Normal(text) => text.to_string_lossy().into_owned(),
            other => {
                found.iter_mut().for_each(|path| path.push(other));
                continue;
            }
        };
        if !is_pattern(&text) {
            found.iter_mut().for_each(|path| path.push(&text));
            continue;
        }
        any_pattern = true;
        let glob = Glob::new(&text).map_err(|error| Failure::new("usage", error.to_string()))?;
        found = found.iter().flat_map(|folder| matching(folder, &glob)).collect();
    }
    found.retain(|path| path.exists());
    if found.is_empty() {
        let what = if any_pattern { "matches nothing" } else { "does not exist" };
        return Err(Failure::new("nothing", format!("{} {what}", path.display())));
    }
    Ok(found)
}

fn matching(folder: &Path, glob: &Glob) -> Vec<PathBuf> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = std::fs::read_dir(here).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.') && glob.is_match(name)).collect();
    names.sort_by(|a, b| natural_cmp(a, b));
    names.iter().map(|name| folder.join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::{checkpoints, expand};
    use futures_executor::block_on;
    use quantscope_format::Limits;
    use std::fs;
    use std::path::Path;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn names(root: &Path) -> Vec<String> {
        let found = block_on(checkpoints(&[root.to_path_buf()], &Limits::default())).unwrap();
        found[0].files.iter().map(|f| f.path.clone()).collect()
    }

    #[test]
    fn a_folder_is_its_files_and_what_its_index_names_below() {
        let root = tempfile::tempdir().unwrap();
        let index = r#"{"weight_map":{"a":"m-2.safetensors","b":"sub/x.safetensors","c":"../out.safetensors",
            "d":"/etc/hosts","e":"sub/absent.safetensors"}}"#;
        write(root.path(), "in/model.safetensors.index.json", index);
        for file in [
            "in/m-10.safetensors",
            "in/m-2.safetensors",
            "in/sub/x.safetensors",
            "in/sub/y.safetensors",
            "out.safetensors",
        ] {
            write(root.path(), file, "");
        }
        let expected =
            ["m-2.safetensors", "m-10.safetensors", "model.safetensors.index.json", "sub/x.safetensors"];
        assert_eq!(names(&root.path().join("in")), expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_folder_does_not_lead_an_index_out() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "outside/x.safetensors", "");
        write(root.path(), "in/a.safetensors.index.json", r#"{"weight_map":{"b":"link/x.safetensors"}}"#);
        write(root.path(), "blob", "");
        std::os::unix::fs::symlink(root.path().join("outside"), root.path().join("in/link")).unwrap();
        std::os::unix::fs::symlink(root.path().join("blob"), root.path().join("in/m.safetensors")).unwrap();
        assert_eq!(names(&root.path().join("in")), ["a.safetensors.index.json", "m.safetensors"]);
    }

    #[test]
    fn files_of_one_folder_are_one_checkpoint() {
        let root = tempfile::tempdir().unwrap();
        for file in ["a/1.safetensors", "a/2.safetensors", "b/1.safetensors"] {
            write(root.path(), file, "");
        }
        let found =
            block_on(checkpoints(&[root.path().join("*").join("[0-9].safetensors")], &Limits::default()))
                .unwrap();
        assert_eq!(found.iter().map(|c| c.files.len()).collect::<Vec<_>>(), [2, 1]);
        assert!(found[0].name.ends_with('a') && found[1].name.ends_with("1.safetensors"));
        let found =
            block_on(checkpoints(&[root.path().join("a"), root.path().join("b")], &Limits::default()))
                .unwrap();
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "pipe/vae/m.safetensors", "");
        let said = |path: &str| match block_on(checkpoints(&[root.path().join(path)], &Limits::default())) {
            Err(failure) => failure.message,
            Ok(_) => panic!("{path} was found"),
        };
        assert!(said("absent").ends_with("absent does not exist"));
        assert!(said("x*").ends_with("x* matches nothing"));
        assert!(said("pipe").contains("these folders in it do"), "{}", said("pipe"));
        assert!(expand(&root.path().join("pipe/*/*.safetensors")).is_ok_and(|found| found.len() == 1));
    }
}
