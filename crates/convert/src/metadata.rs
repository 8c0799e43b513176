//! `__metadata__` of the output's headers.
//!
//! Source: `formats.md` f and k: the reference writes `format`, and with any option of padding or tiles the converted
//! config as a text. What else describes layers that stay as they are is taken over from the source.

use crate::arrange::Arranged;
use crate::builder::Builder;
use crate::configs;
use crate::error::ConvertError;
use crate::layout::Entry;
use quantscope_schemes::layout_notes_key;

/// Entries of one header, in their order.
pub(crate) type Metadata = Vec<(String, String)>;

const CONFIG: &str = "quantization_config";

impl Builder<'_> {
    /// The metadata of each file.
    pub(crate) fn metadata(
        &self,
        arranged: &Arranged,
        files: &[Vec<Entry>],
    ) -> Result<Vec<Metadata>, ConvertError> {
        let config = if arranged.is_asked { self.config_text(files)? } else { None };
        let shards = self.checkpoint.shards.as_slice();
        let is_kept = !self.declares_anew();
        let of_file = |(i, entries): (usize, &Vec<Entry>)| {
            let mut metadata: Metadata = Vec::new();
            // A file that comes of several shards has what any of them says.
            let own = if self.recipe.shard_bytes.is_some() {
                shards
            } else {
                shards.get(i..=i).unwrap_or_default()
            };
            for (key, text) in own.iter().filter(|_| is_kept).flat_map(|s| &s.header.metadata) {
                if key != layout_notes_key() && !metadata.iter().any(|(known, _)| known == key) {
                    metadata.push((key.clone(), text.clone()));
                }
            }
            if metadata.is_empty() {
                metadata.push(("format".into(), "pt".into()));
            }
            if let Some(config) = &config {
                metadata.retain(|(key, _)| key != CONFIG);
                metadata.push((CONFIG.into(), config.clone()));
            }
            metadata.extend(arranged.note(entries));
            metadata
        };
        Ok(files.iter().enumerate().map(of_file).collect())
    }

    /// What `config.json` would say of quantization; nothing if no layer is quantized.
    fn config_text(&self, files: &[Vec<Entry>]) -> Result<Option<String>, ConvertError> {
        let (quantized, plain) = self.declared();
        if quantized.is_empty() {
            return Ok(None);
        }
        let names = files.iter().flatten().map(|(spec, _)| spec.name.as_str());
        let kv = configs::kv_cache(self.checkpoint, names);
        let aliases = self.tied.aliases(self.ties);
        Ok(Some(configs::section(&quantized, plain, &aliases, kv)?.to_string()))
    }
}
