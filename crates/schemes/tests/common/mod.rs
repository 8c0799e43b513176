//! Layers in memory: tensors of files, the views that schemes see, decoding and encoding on the CPU engine.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part; helpers of tests fail as tests do")]

use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{CpuEngine, FloatTile, FloatType};
use quantscope_numeric::{Dtype, widen};
use quantscope_schemes::{
    EncodeInput, EncodeSettings, Facts, Form, LayerView, Matrix, Recognised, Refusal, Region, Role, Scheme,
    Slab, Stored, recognise, split_name,
};
use safetensors::SafeTensors;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A tensor in memory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

/// Tensors by name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// A file or folder of the golden data.
pub(crate) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(path)
}

/// A JSON file of the golden data.
pub(crate) fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(data(path)).unwrap()).unwrap()
}

/// Tensors of a file.
pub(crate) fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |view: &safetensors::tensor::TensorView<'_>| Tensor {
        dtype: Dtype::from_tag(&view.dtype().to_string()).unwrap(),
        shape: view.shape().iter().map(|&side| side as u64).collect(),
        bytes: view.data().to_vec(),
    };
    file.tensors().iter().map(|(name, view)| (name.clone(), tensor(view))).collect()
}

/// Tensors of every file of a folder.
pub(crate) fn read_folder(path: &Path) -> Tensors {
    let mut tensors = Tensors::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            tensors.extend(read(&path));
        }
    }
    tensors
}

/// The tensors of each module by leaf name.
pub(crate) fn modules(tensors: &Tensors) -> BTreeMap<String, Tensors> {
    let mut modules: BTreeMap<String, Tensors> = BTreeMap::new();
    for (name, tensor) in tensors {
        let (module, leaf) = split_name(name);
        modules.entry(module.into()).or_default().insert(leaf.into(), tensor.clone());
    }
    modules
}

/// The view of a module's tensors.
pub(crate) fn view<'a>(module: &'a str, tensors: &'a Tensors, facts: Facts<'a>) -> LayerView<'a> {
    let tensors = tensors.iter().map(|(leaf, t)| Stored { leaf, dtype: t.dtype, shape: &t.shape }).collect();
    LayerView { module, tensors, facts }
}

/// The schemes that fit a layer as well as the best does.
pub(crate) fn best(layer: &LayerView<'_>) -> Vec<&'static str> {
    let Recognised { fit, .. } = recognise(layer);
    let schemes = quantscope_schemes::schemes().iter();
    schemes.filter(|s| s.recognise(layer) == fit).map(|s| s.id()).collect()
}

fn cut(tensors: &Tensors, slab: &Slab) -> Vec<u8> {
    let bytes = &tensors[slab.leaf.as_ref()].bytes;
    let at = |n: u64| usize::try_from(n).unwrap();
    let mut cut = Vec::new();
    for run in 0..slab.runs {
        let begin = at(slab.offset + run * slab.stride);
        cut.extend_from_slice(&bytes[begin..begin + at(slab.run)]);
    }
    cut
}

/// Decodes a layer in regions of `rows` rows and at most `cols` columns; its shape and values.
pub(crate) fn decode_by(
    scheme: &dyn Scheme,
    layer: &LayerView<'_>,
    tensors: &Tensors,
    step: [u64; 2],
) -> Result<(Vec<u64>, Vec<f32>), Refusal> {
    let decoder = scheme.decoder(layer)?;
    let [rows, cols] = decoder.extent();
    let mut values = vec![f32::NAN; usize::try_from(rows * cols).unwrap()];
    let unit = decoder.column_unit();
    let width = (step[1] / unit).max(1).saturating_mul(unit);
    for row in (0..rows).step_by(usize::try_from(step[0]).unwrap()) {
        for col in (0..cols).step_by(usize::try_from(width).unwrap_or(usize::MAX)) {
            let region = Region {
                rows: row..rows.min(row.saturating_add(step[0])),
                cols: col..cols.min(col.saturating_add(width)),
            };
            let parts: Vec<Vec<u8>> = decoder.needs(&region).iter().map(|s| cut(tensors, s)).collect();
            let mut out = Vec::new();
            futures_executor::block_on(decoder.decode(&CpuEngine::new(), &region, &parts, &mut out)).unwrap();
            let wide = usize::try_from(region.cols.end - region.cols.start).unwrap();
            assert_eq!(out.len() as u64, (region.rows.end - region.rows.start) * wide as u64);
            for (line, row) in out.chunks(wide).zip(region.rows.clone()) {
                let begin = usize::try_from(row * cols + region.cols.start).unwrap();
                values[begin..begin + wide].copy_from_slice(line);
            }
        }
    }
    Ok((decoder.shape(), values))
}

/// Decodes a layer whole.
pub(crate) fn decode(
    scheme: &dyn Scheme,
    layer: &LayerView<'_>,
    tensors: &Tensors,
) -> Result<(Vec<u64>, Vec<f32>), Refusal> {
    decode_by(scheme, layer, tensors, [1 << 20, 1 << 20])
}

/// The hash of decoded values as `decoded.json` has it: zeros without a sign, NaN as one pattern.
pub(crate) fn digest(values: &[f32]) -> String {
    let mut hash = Sha256::new();
    for &value in values {
        let bits = match value {
            v if v.is_nan() => 0x7fc0_0000,
            0.0 => 0,
            v => v.to_bits(),
        };
        hash.update(bits.to_le_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The values of a plain tensor.
pub(crate) fn floats(tensor: &Tensor) -> Vec<f32> {
    let mut values = Vec::new();
    widen(tensor.dtype, &tensor.bytes, &mut values);
    values
}

/// The float type of a tensor.
pub(crate) fn float_type(dtype: Dtype) -> FloatType {
    match dtype {
        Dtype::BF16 => FloatType::Bf16,
        Dtype::F16 => FloatType::F16,
        Dtype::F32 => FloatType::F32,
        other => panic!("{other} is no float"),
    }
}

/// What an encoding is asked for.
pub(crate) struct Ask<'a> {
    pub(crate) scheme: &'a dyn Scheme,
    pub(crate) form: Form,
    pub(crate) export: FloatType,
    pub(crate) settings: EncodeSettings,
    /// In place of the tensor's own.
    pub(crate) maximum: Option<f32>,
    /// Block maxima as F32 bits.
    pub(crate) blocks: Option<Vec<u32>>,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(scheme: &'a dyn Scheme, weight: &Tensor) -> Self {
        let (form, settings) = (Form::Linear, EncodeSettings::default());
        Self { scheme, form, export: float_type(weight.dtype), settings, maximum: None, blocks: None }
    }

    fn matrix(&self, weight: &Tensor) -> Matrix {
        let rows = weight.shape[0];
        Matrix { rows, cols: weight.shape.iter().skip(1).product(), form: self.form }
    }

    /// Encodes a weight in one tile, or scales first and codes in bands of so many rows.
    pub(crate) fn encode(&self, weight: &Tensor, band: Option<u64>) -> Result<Tensors, Refusal> {
        let matrix = self.matrix(weight);
        let dtype = float_type(weight.dtype);
        let encoding = self.scheme.encoding(matrix, &self.settings)?;
        let largest = floats(weight).into_iter().fold(0.0_f32, |a, v| a.max(v.abs()));
        let cast = match (dtype, self.export) {
            (FloatType::Bf16, FloatType::Bf16) | (FloatType::F16, FloatType::F16) => CodeCast::Keep,
            (_, FloatType::Bf16) => CodeCast::ToBf16,
            (_, FloatType::F16) => CodeCast::ToF16,
            (_, FloatType::F32) => CodeCast::Keep,
        };
        let encoder = self.scheme.encoder(&EncodeInput {
            matrix,
            dtype,
            cast,
            export: self.export,
            maximum: self.maximum.unwrap_or(largest),
            settings: self.settings,
            given_blocks: self.blocks.is_some(),
        })?;
        let engine = CpuEngine::new();
        let narrow = |n: u64| u32::try_from(n).unwrap();
        let tile = |from: u64, to: u64| {
            let row = matrix.cols * dtype.bytes() as u64;
            let at = |row_index: u64| usize::try_from(row_index * row).unwrap();
            FloatTile {
                dtype,
                bytes: &weight.bytes[at(from)..at(to)],
                rows: narrow(to - from),
                cols: narrow(matrix.cols),
            }
        };
        let (codes, scales) = if self.blocks.is_none() && band.is_none() {
            let whole = futures_executor::block_on(encoder.encode(&engine, tile(0, matrix.rows))).unwrap();
            (whole.codes, whole.scales)
        } else {
            let maxima = self.blocks.clone().unwrap_or_else(|| maxima(weight, matrix, encoding.block));
            let scales = encoder.scales(&maxima);
            let across = matrix.cols.div_ceil(u64::from(encoding.block[1]));
            let side = u64::from(encoding.block[0]);
            let width = scales.len() as u64 / (across * matrix.rows.div_ceil(side)).max(1);
            let mut codes = Vec::new();
            let step = band.unwrap_or(matrix.rows).next_multiple_of(encoding.row_unit);
            for from in (0..matrix.rows).step_by(usize::try_from(step).unwrap()) {
                let to = matrix.rows.min(from + step);
                let at = |row: u64| usize::try_from(row * across * width).unwrap();
                let own = &scales[at(from / side)..at(to.div_ceil(side))];
                let first = narrow(from % side);
                codes.extend(
                    futures_executor::block_on(encoder.codes(&engine, tile(from, to), first, own)).unwrap(),
                );
            }
            (codes, scales)
        };
        let scalars: BTreeMap<&str, f32> = encoder.scalars().into_iter().collect();
        let outputs = encoding.outputs.into_iter().map(|output| {
            let bytes = match output.role {
                Role::Weight => codes.clone(),
                Role::WeightScale if !output.shape.is_empty() => scales.clone(),
                _ => scalars[output.leaf].to_le_bytes().to_vec(),
            };
            let expected: u64 = output.shape.iter().product::<u64>() * output.dtype.bits() / 8;
            assert_eq!(bytes.len() as u64, expected, "{}.{}", self.scheme.id(), output.leaf);
            (output.leaf.to_string(), Tensor { dtype: output.dtype, shape: output.shape, bytes })
        });
        Ok(outputs.collect())
    }
}

/// Block maxima by plain loops, as F32 bits.
fn maxima(weight: &Tensor, matrix: Matrix, block: [u32; 2]) -> Vec<u32> {
    let values = floats(weight);
    let [down, across] = [matrix.rows.div_ceil(block[0].into()), matrix.cols.div_ceil(block[1].into())];
    let mut maxima = vec![0.0_f32; usize::try_from(down * across).unwrap()];
    for (i, value) in (0_u64..).zip(values) {
        let (row, col) = (i / matrix.cols / u64::from(block[0]), i % matrix.cols / u64::from(block[1]));
        let slot = &mut maxima[usize::try_from(row * across + col).unwrap()];
        *slot = slot.max(value.abs());
    }
    maxima.into_iter().map(f32::to_bits).collect()
}

/// The quantization section of a config as [`Facts`] take it.
pub(crate) fn section(config: &Value) -> Option<&Map<String, Value>> {
    config.get("quantization_config").and_then(Value::as_object)
}

/// Where bytes of E4M3 differ; NaN of either sign is one value.
pub(crate) fn differences(dtype: Dtype, expected: &[u8], found: &[u8]) -> usize {
    let nan = |byte: u8| dtype == Dtype::F8_E4M3 && byte & 0x7f == 0x7f;
    assert_eq!(expected.len(), found.len());
    expected.iter().zip(found).filter(|(e, f)| e != f && !(nan(**e) && nan(**f))).count()
}
