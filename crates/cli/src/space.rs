//! Room on a disk for what is going to be written.

use std::path::{Path, PathBuf};

/// Bytes free where a folder is or would be made; `None` where the system does not tell.
pub(crate) fn free(folder: &Path) -> Option<u64> {
    let mut at: PathBuf = std::path::absolute(folder).ok()?;
    while !at.exists() {
        at = at.parent()?.to_path_buf();
    }
    fs4::available_space(&at).ok()
}

#[cfg(test)]
mod tests {
    use super::free;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let there = free(folder.path()).unwrap();
        let below = free(&folder.path().join("a/b/c")).unwrap();
        assert!(there > 0 && there.abs_diff(below) < 1 << 30, "{there} {below}");
    }
}
