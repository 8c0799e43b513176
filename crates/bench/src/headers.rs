//! Opening a safetensors file: its length, its JSON, its entries judged.

use crate::Contestant;
use crate::machine::shared;
use anyhow::{Context as _, Result, ensure};
use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_format::{Limits, Source, SourceError, read_header};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// A file as the command-line tool reads one.
struct OnDisk {
    file: File,
    len: u64,
}

impl Source for OnDisk {
    fn len(&self) -> u64 {
        self.len
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(buf));
        let failed =
            |error: std::io::Error| SourceError::Io { name: String::new(), reason: error.to_string() };
        Box::pin(ready(read.map_err(failed)))
    }
}

/// Ours: opening, reading, and every entry judged.
pub(crate) fn ours(file: &Path) -> Result<Contestant> {
    let limits = Limits::default();
    Ok(shared(
        (file.to_path_buf(), 0_u64),
        move |(path, count)| {
            let file = File::open(&*path)?;
            let len = file.metadata()?.len();
            let header = read_header(&OnDisk { file, len }, &limits).now_or_never();
            let header = header.context("reading did not end at once")??;
            ensure!(header.is_sound(), "the generated header is not sound");
            *count = header.tensors.len() as u64;
            Ok(())
        },
        |(_, count)| *count,
    ))
}

/// The `safetensors` crate: opening, reading, its own metadata with its own validation.
pub(crate) fn safetensors_crate(file: &Path) -> Result<Contestant> {
    Ok(shared(
        (file.to_path_buf(), 0_u64),
        |(path, count): &mut (PathBuf, u64)| {
            let mut file = File::open(path)?;
            let mut length = [0; 8];
            file.read_exact(&mut length)?;
            let mut json = vec![0; usize::try_from(u64::from_le_bytes(length))?];
            file.read_exact(&mut json)?;
            let metadata: safetensors::tensor::Metadata = serde_json::from_slice(&json)?;
            *count = metadata.tensors().len() as u64;
            Ok(())
        },
        |(_, count)| *count,
    ))
}
