//! A packed case of the golden data as schemes see it: layers with the facts that configs and headers give.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use quantscope_kernels::CpuEngine;
use quantscope_numeric::Dtype;
use quantscope_schemes::{
    Decoder, LayerView, Recognised, Refusal, Region, Settings, Slab, Stored, descriptor_type, recognise,
    split_name,
};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One stored tensor.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// Tensors by name, and what stands beside them.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) tensors: BTreeMap<String, Tensor>,
    pub(crate) about: Value,
    pub(crate) settings: Settings,
}

/// A folder of the golden data.
pub(crate) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path)
}

/// The tensors of a file.
pub(crate) fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |t: safetensors::tensor::TensorView<'_>| {
        let tag = serde_json::to_value(t.dtype()).unwrap();
        Tensor {
            dtype: Dtype::from_tag(tag.as_str().unwrap()).unwrap(),
            shape: t.shape().iter().map(|&d| d as u64).collect(),
            bytes: t.data().to_vec(),
        }
    };
    file.tensors().into_iter().map(|(name, t)| (name, tensor(t))).collect()
}

impl Case {
    /// Reads the packed tensors and the description beside them.
    pub(crate) fn read(name: &str, packed: &Path, about: &Path) -> Self {
        let about: Value = serde_json::from_slice(&std::fs::read(about).unwrap()).unwrap();
        Self::of(name, tensors(packed), about)
    }

    /// Puts together what a checkpoint would.
    pub(crate) fn of(name: &str, tensors: BTreeMap<String, Tensor>, about: Value) -> Self {
        let mut settings = Settings::new(about.get("config"));
        if let Some(Value::Object(metadata)) = about.get("header_metadata") {
            let text = |v: &Value| v.as_str().unwrap().to_string();
            let entries: Vec<_> = metadata.iter().map(|(k, v)| (k.clone(), text(v))).collect();
            settings.add_metadata(&entries);
        }
        for (name, tensor) in &tensors {
            let (module, leaf) = split_name(name);
            if descriptor_type(leaf) == Some(tensor.dtype) {
                settings.add_descriptor(module, leaf, &tensor.bytes);
            }
        }
        Self { name: name.to_string(), tensors, about, settings }
    }

    /// The modules, and the tensors of each.
    pub(crate) fn layers(&self) -> BTreeMap<&str, Vec<Stored<'_>>> {
        let mut layers: BTreeMap<&str, Vec<Stored<'_>>> = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            let (module, leaf) = split_name(name);
            let stored = Stored { leaf, dtype: tensor.dtype, shape: &tensor.shape };
            layers.entry(module).or_default().push(stored);
        }
        layers
    }

    /// A module as recognition sees it.
    pub(crate) fn view<'a>(&'a self, module: &'a str) -> LayerView<'a> {
        let tensors = self.layers().remove(module).unwrap_or_default();
        LayerView { module, tensors, facts: self.settings.facts(module, None) }
    }

    /// Every module that is not plain numbers, with its scheme.
    pub(crate) fn quantized(&self) -> Vec<(&str, Recognised)> {
        let layers = self.layers();
        let found = layers.keys().map(|&module| (module, recognise(&self.view(module))));
        found.filter(|(_, r)| r.scheme.id() != "integer" && r.scheme.family().id() != "plain").collect()
    }

    /// The bytes that a decoder asks for; `None` if the tensor does not have them, which a reader refuses.
    pub(crate) fn slab(&self, module: &str, slab: &Slab) -> Option<Vec<u8>> {
        let (_, tensor) = self.tensors.iter().find(|(n, _)| split_name(n) == (module, slab.leaf.as_ref()))?;
        let span = slab.runs.saturating_sub(1).checked_mul(slab.stride)?.checked_add(slab.run)?;
        if slab.offset.checked_add(span)? > tensor.bytes.len() as u64 {
            return None;
        }
        let run = |i: u64| {
            let from = (slab.offset + i * slab.stride) as usize;
            &tensor.bytes[from..from + slab.run as usize]
        };
        Some((0..slab.runs).flat_map(run).copied().collect())
    }

    /// Decodes a region.
    pub(crate) fn region(&self, module: &str, decoder: &dyn Decoder, region: &Region) -> Vec<f32> {
        let part =
            |slab| self.slab(module, slab).unwrap_or_else(|| panic!("{}: {slab:?} is not there", self.name));
        let parts: Vec<Vec<u8>> = decoder.needs(region).iter().map(part).collect();
        let mut out = Vec::new();
        futures_executor::block_on(decoder.decode(&CpuEngine::new(), region, &parts, &mut out)).unwrap();
        let count = (region.rows.end - region.rows.start) * (region.cols.end - region.cols.start);
        assert_eq!(out.len() as u64, count, "{} {module}: values of {region:?}", self.name);
        out
    }

    /// Decodes a layer in regions of `rows` x `cols`, the columns rounded up to the decoder's unit.
    pub(crate) fn decoded(&self, module: &str, decoder: &dyn Decoder, [rows, cols]: [u64; 2]) -> Vec<f32> {
        let [height, width] = decoder.extent();
        let cols = cols.div_ceil(decoder.column_unit()) * decoder.column_unit();
        let mut out = vec![f32::NAN; usize::try_from(height * width).unwrap()];
        for top in (0..height).step_by(usize::try_from(rows).unwrap()) {
            for left in (0..width).step_by(usize::try_from(cols).unwrap()) {
                let region =
                    Region { rows: top..(top + rows).min(height), cols: left..(left + cols).min(width) };
                let across = usize::try_from(region.cols.end - region.cols.start).unwrap();
                let values = self.region(module, decoder, &region);
                for (row, values) in region.rows.clone().zip(values.chunks(across)) {
                    let at = usize::try_from(row * width + left).unwrap();
                    out[at..at + across].copy_from_slice(values);
                }
            }
        }
        out
    }

    /// What makes a layer ready, or why it cannot be.
    pub(crate) fn decoder(&self, module: &str) -> Result<Box<dyn Decoder>, Refusal> {
        let view = self.view(module);
        recognise(&view).scheme.decoder(&view)
    }
}
