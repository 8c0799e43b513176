//! Files as they are sent: packed with gzip once, and again when they have changed.

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// When a file was last written, and its bytes packed.
type Entry = (SystemTime, Arc<[u8]>);

/// What was packed so far.
#[derive(Default)]
pub(crate) struct Packed(Mutex<HashMap<PathBuf, Entry>>);

/// Whether a file of this type gets smaller. Pictures and tensors do not.
pub(crate) fn is_packable(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.starts_with("text/")
        || matches!(
            kind,
            "application/wasm" | "application/json" | "application/manifest+json" | "image/svg+xml"
        )
}

impl Packed {
    /// The bytes of a file, packed.
    pub(crate) fn of(&self, path: &Path) -> Result<Arc<[u8]>> {
        let named = || path.display().to_string();
        let written = fs::metadata(path).and_then(|facts| facts.modified()).with_context(named)?;
        // What stands in the map is whole, whatever became of the thread that held it.
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
        if let Some((_, bytes)) = known.filter(|(at, _)| *at == written) {
            return Ok(bytes);
        }
        let bytes: Arc<[u8]> = Self::pack(&fs::read(path).with_context(named)?)?.into();
        let entry = (written, Arc::clone(&bytes));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), entry);
        Ok(bytes)
    }

    /// Packs bytes.
    pub(crate) fn pack(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(bytes)?;
        Ok(encoder.finish()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn a_file_that_changed_is_packed_anew() {
        let path = std::env::temp_dir().join(format!("quantscope-packed-{}", std::process::id()));
        let packed = Packed::default();
        let sent = || {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&*packed.of(&path).unwrap()).read_to_string(&mut text).unwrap();
            text
        };
        fs::write(&path, "one".repeat(1000)).unwrap();
        assert_eq!(sent(), "one".repeat(1000));
        assert!(packed.of(&path).unwrap().len() < 100);
        fs::write(&path, "two").unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(sent(), "two");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn text_and_programs_are_packed_and_nothing_else() {
        for kind in ["text/html; charset=utf-8", "application/wasm", "image/svg+xml"] {
            assert!(is_packable(kind), "{kind}");
        }
        for kind in ["image/png", "application/octet-stream", ""] {
            assert!(!is_packable(kind), "{kind}");
        }
    }
}
