//! A small checkpoint whole in memory: for making samples, which are a few megabytes.

use anyhow::{Context as _, Result, bail};
use quantscope_format::{HeaderLayout, Limits, ShardHeader, TensorSpec};
use quantscope_numeric::Dtype;
use std::path::Path;

/// One tensor with its bytes.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<u64>,
    pub(super) bytes: Vec<u8>,
}

/// The tensors of one weight file.
#[derive(Debug, Clone, Default)]
pub(super) struct Weights {
    pub(super) entries: Vec<Entry>,
}

impl Weights {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        let (length, rest) = bytes.split_first_chunk().context("a file of less than 8 bytes")?;
        let length = usize::try_from(u64::from_le_bytes(*length))?;
        let json = rest.get(..length).context("a header longer than its file")?;
        let header = ShardHeader::parse(json, u64::try_from(bytes.len())?, &Limits::default());
        if !header.is_sound() {
            bail!("{} is no sound safetensors file: {:?}", file.display(), header.defects);
        }
        let mut entries = Vec::new();
        for tensor in header.tensors.iter() {
            let span = usize::try_from(tensor.begin)?..usize::try_from(tensor.end)?;
            let bytes = bytes.get(span).context("a span past the end")?.to_vec();
            entries.push(Entry {
                name: tensor.name.into(),
                dtype: tensor.dtype,
                shape: tensor.shape.into(),
                bytes,
            });
        }
        Ok(Self { entries })
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let specs: Vec<TensorSpec> = self
            .entries
            .iter()
            .map(|e| TensorSpec { name: e.name.clone(), dtype: e.dtype, shape: e.shape.clone() })
            .collect();
        let layout = HeaderLayout::new(&specs, &[("format".into(), "pt".into())])?;
        let mut bytes = layout.bytes;
        bytes.resize(usize::try_from(layout.file_len)?, 0);
        for (entry, span) in self.entries.iter().zip(&layout.spans) {
            let place = bytes
                .get_mut(usize::try_from(span.start)?..usize::try_from(span.end)?)
                .filter(|place| place.len() == entry.bytes.len())
                .with_context(|| {
                    format!("{}: {} bytes do not fill its span {span:?}", entry.name, entry.bytes.len())
                })?;
            place.copy_from_slice(&entry.bytes);
        }
        std::fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
    }

    pub(super) fn get(&mut self, name: &str) -> Result<&mut Entry> {
        let found = self.entries.iter_mut().find(|entry| entry.name == name);
        found.with_context(|| format!("the sample has no tensor {name}"))
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<Entry> {
        let at = self.entries.iter().position(|entry| entry.name == name);
        Ok(self.entries.remove(at.with_context(|| format!("the sample has no tensor {name}"))?))
    }
}
