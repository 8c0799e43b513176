//! What files were picked or dropped: the checkpoint's name, and each file's path within it.

use quantscope_session::Arrange as _;

/// A checkpoint as picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picked {
    /// What to call it.
    pub(crate) name: String,
    /// For each file that is taken: its place in the list given, and its path within the checkpoint.
    pub(crate) files: Vec<(usize, String)>,
}

/// Names the checkpoint and makes the paths relative to it.
///
/// Where all files lie in one folder, that folder is the checkpoint. Hidden files and folders are left out: a
/// cloned repository brings its `.git` along.
pub(crate) fn checkpoint_of(paths: &[String]) -> Picked {
    let mut files: Vec<(usize, String)> = paths
        .iter()
        .enumerate()
        .filter(|(_, path)| !path.split('/').any(|part| part.starts_with('.')))
        .map(|(place, path)| (place, path.clone()))
        .collect();
    let weights: Vec<&(usize, String)> =
        files.iter().filter(|(_, path)| path.ends_with(".safetensors")).collect();
    // A weight file with its configs is called as the weight file is.
    let mut name = match (weights.as_slice(), files.as_slice()) {
        ([(_, only)], _) | ([], [(_, only)]) => only.rsplit('/').next().unwrap_or_default().to_owned(),
        _ => format!("{} files", files.len()),
    };
    let top = files.first().and_then(|(_, path)| path.split_once('/')).map(|(top, _)| format!("{top}/"));
    if let Some(top) = top
        && files.iter().all(|(_, path)| path.starts_with(&top))
    {
        for (_, path) in &mut files {
            path.drain(..top.len());
        }
        name = top.trim_end_matches('/').to_owned();
    }
    files.arrange_by(|a, b| a.1.cmp(&b.1));
    Picked { name, files }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(paths: &[&str]) -> (String, Vec<String>) {
        let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
        let picked = checkpoint_of(&paths);
        (picked.name, picked.files.into_iter().map(|(_, path)| path).collect())
    }

    #[test]
    fn one_folder_is_the_checkpoint() {
        let (name, files) =
            picked(&["vae/model.safetensors", "vae/config.json", "vae/.git/config", "vae/a/b.json"]);
        assert_eq!(name, "vae");
        assert_eq!(files, ["a/b.json", "config.json", "model.safetensors"]);
    }

    #[test]
    fn loose_files_keep_their_names() {
        assert_eq!(
            picked(&["model.safetensors"]),
            ("model.safetensors".into(), vec!["model.safetensors".into()])
        );
        assert_eq!(picked(&["b.json", "a.safetensors"]).0, "a.safetensors");
        assert_eq!(picked(&["b.safetensors", "a.safetensors"]).0, "2 files");
        assert_eq!(picked(&["x/a.json", "y/b.json"]).1, ["x/a.json", "y/b.json"]);
        assert_eq!(picked(&[".hidden"]), ("0 files".into(), vec![]));
    }
}
