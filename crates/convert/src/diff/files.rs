//! What stands beside the weights: configs key by key, headers' metadata, other files.

use crate::diff::claim::Cause;
use crate::diff::{Difference, Job};
use crate::error::ConvertError;
use crate::passage::sized;
use quantscope_format::Gather as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Keys of a config that tell how weights are quantized.
const QUANTIZATION: &[&str] = &["quantization_config", "quantization", "compression_config"];
/// Keys that tell of types, and of the program that wrote the file.
const FOLLOWS: &[&str] =
    &["torch_dtype", "dtype", "transformers_version", "_diffusers_version", "_name_or_path"];
/// Files that conversions write of their own.
const OWN: &[&str] = &["quantscope.manifest.json", "hf_quant_config.json"];

fn difference(cause: Cause, explained: bool, a: Option<String>, b: Option<String>, note: &str) -> Difference {
    Difference {
        a,
        b,
        causes: vec![cause.id().into()],
        explained,
        note: note.into(),
        ..Difference::default()
    }
}

impl Job<'_> {
    /// Differences of configs, metadata and other files. `changes_schemes` says that some layer is stored in another
    /// scheme, `is_any` that anything differs at all.
    pub(crate) async fn files(
        &mut self,
        changes_schemes: bool,
        is_any: bool,
    ) -> Result<Vec<Difference>, ConvertError> {
        let mut found = self.config(changes_schemes, is_any);
        found.extend(self.metadata());
        found.extend(self.other_files(changes_schemes).await?);
        Ok(found)
    }

    fn config(&self, changes_schemes: bool, is_any: bool) -> Vec<Difference> {
        let empty = serde_json::Map::new();
        let map = |side: crate::diff::Side<'_>| -> serde_json::Map<String, Value> {
            let config = side.checkpoint.model_config().and_then(|c| c.value.as_object());
            config.unwrap_or(&empty).clone()
        };
        let (a, b) = (map(self.a), map(self.b));
        let name = || Some("config.json".to_string());
        match (a.is_empty(), b.is_empty()) {
            (true, false) => return vec![difference(Cause::File, true, None, name(), "added")],
            (false, true) => return vec![difference(Cause::File, true, name(), None, "not taken along")],
            _ => {}
        }
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).gather_set();
        let mut found = Vec::new();
        for key in keys.into_iter().filter(|key| a.get(*key) != b.get(*key)) {
            let quantization = QUANTIZATION.contains(&key.as_str());
            let explained =
                if quantization { changes_schemes } else { is_any && FOLLOWS.contains(&key.as_str()) };
            let place = |map: &serde_json::Map<String, Value>| {
                map.contains_key(key).then(|| format!("config.json: {key}"))
            };
            let note = match (quantization, explained) {
                (true, false) => "tells of another quantization, but no layer has another scheme".to_string(),
                (false, false) => format!("{} -> {}", shown(a.get(key)), shown(b.get(key))),
                _ => String::new(),
            };
            found.push(difference(Cause::Config, explained, place(&a), place(&b), &note));
        }
        found
    }

    fn metadata(&self) -> Option<Difference> {
        let all = |side: crate::diff::Side<'_>| -> BTreeMap<String, String> {
            side.checkpoint.shards.iter().flat_map(|s| s.header.metadata.iter().cloned()).gather_map()
        };
        let (a, b) = (all(self.a), all(self.b));
        if a == b {
            return None;
        }
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).gather_set();
        let keys: Vec<&str> =
            keys.into_iter().filter(|k| a.get(*k) != b.get(*k)).map(String::as_str).take(8).collect();
        let note = format!("differs in {}", keys.join(", "));
        let place = || Some("__metadata__".to_string());
        Some(difference(Cause::Metadata, true, place(), place(), &note))
    }

    async fn other_files(&mut self, changes_schemes: bool) -> Result<Vec<Difference>, ConvertError> {
        let is_index = |path: &str| path.ends_with(".safetensors.index.json") || path == "config.json";
        let of = |side: crate::diff::Side<'_>| -> BTreeMap<String, usize> {
            let files = side.checkpoint.other_files.iter().enumerate();
            files.filter(|(_, f)| !is_index(&f.path)).map(|(i, f)| (f.path.clone(), i)).gather_map()
        };
        let (a, b) = (of(self.a), of(self.b));
        let paths: BTreeSet<&String> = a.keys().chain(b.keys()).gather_set();
        let mut found = Vec::new();
        for path in paths {
            let own = OWN.contains(&path.as_str());
            match (a.get(path), b.get(path)) {
                (Some(&i), Some(&j)) => {
                    if !self.same_file(i, j).await? {
                        let explained = own && changes_schemes;
                        let name = Some(path.clone());
                        found.push(difference(Cause::File, explained, name.clone(), name, "content differs"));
                    }
                }
                (Some(_), None) => {
                    found.push(difference(Cause::File, true, Some(path.clone()), None, "not taken along"));
                }
                (None, Some(_)) => {
                    found.push(difference(Cause::File, true, None, Some(path.clone()), "added"));
                }
                (None, None) => {}
            }
        }
        Ok(found)
    }

    async fn same_file(&mut self, i: usize, j: usize) -> Result<bool, ConvertError> {
        let files = (self.a.checkpoint.other_files.get(i), self.b.checkpoint.other_files.get(j));
        let (Some(a), Some(b)) = files else { return Ok(false) };
        let len = a.source.len();
        if len != b.source.len() {
            return Ok(false);
        }
        let mut offset = 0;
        while offset < len {
            let part = self.tile_bytes().min(len - offset);
            let (mut own, mut other) = (sized(part), sized(part));
            a.source.read(offset, &mut own).await?;
            b.source.read(offset, &mut other).await?;
            if own != other {
                return Ok(false);
            }
            offset = offset.saturating_add(part);
            self.step(0)?;
        }
        Ok(true)
    }
}

/// A value in short.
fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "absent".into(), Value::to_string);
    if text.chars().count() > 80 { text.chars().take(79).chain(['…']).collect() } else { text }
}
