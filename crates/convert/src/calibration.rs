//! Maxima measured by a calibration run, by the name of their quantizer: from JSON, or from safetensors whose
//! long lists of block maxima stay in the file.
//!
//! Knows ModelOpt's state names (`<module>.input_quantizer._amax`). Does not know which modules there are.

use crate::error::ConvertError;
use quantscope_audit::InputFile;
use quantscope_format::{Limits, ShardHeader, Source, TensorInfo, read_header};
use quantscope_numeric::{Dtype, widen};
use serde_json::Value;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Maxima of activations and weights by quantizer, such as `decoder.conv1.input_quantizer`.
#[derive(Clone, Default)]
pub struct Calibration {
    entries: BTreeMap<String, Amax>,
}

/// What one quantizer has found.
#[derive(Debug, Clone)]
pub(crate) enum Amax {
    /// A single maximum.
    One(f32),
    /// A maximum for each block.
    Many(Blocks),
}

/// A list of block maxima.
#[derive(Clone)]
pub struct Blocks {
    count: u64,
    store: Store,
}

#[derive(Clone)]
enum Store {
    Memory(Rc<[f32]>),
    File { source: Rc<dyn Source>, begin: u64, dtype: Dtype },
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} block maxima", self.count)
    }
}

impl Blocks {
    /// The maximum of an only block.
    pub(crate) fn one(amax: f32) -> Self {
        Self { count: 1, store: Store::Memory([amax].into()) }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Appends `count` maxima from the `first` on, as F32 patterns. `key` is what they are called in errors.
    ///
    /// # Errors
    /// If the file cannot be read, there are fewer, or one is no finite, positive number.
    pub(crate) async fn read(
        &self,
        key: &str,
        first: u64,
        count: u64,
        patterns: &mut Vec<u32>,
    ) -> Result<(), ConvertError> {
        let end = first.checked_add(count).filter(|&end| end <= self.count);
        let (Some(end), Ok(length)) = (end, usize::try_from(count)) else {
            return Err(refused(key, "holds fewer maxima than the layer has blocks"));
        };
        let mut add = |value: f32| {
            // Zero of either sign is zero: patterns have no sign.
            patterns.push(value.abs().to_bits());
            if value.is_finite() && value >= 0.0 {
                Ok(())
            } else {
                Err(refused(key, &format!("holds {value}")))
            }
        };
        match &self.store {
            Store::Memory(values) => {
                let range =
                    usize::try_from(first).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
                values.get(range).unwrap_or_default().iter().try_for_each(|&value| add(value))
            }
            Store::File { source, begin, dtype } => {
                let width = dtype.bits() / 8;
                let mut bytes = vec![0; length.saturating_mul(usize::try_from(width).unwrap_or(8))];
                source.read(begin.saturating_add(first.saturating_mul(width)), &mut bytes).await?;
                floats(*dtype, &bytes).into_iter().try_for_each(add)
            }
        }
    }
}

fn refused(key: &str, what: &str) -> ConvertError {
    ConvertError::Refused(format!("the calibration of {key:?} {what}; finite, positive numbers are needed"))
}

/// Maxima of any float type as F32, which they are by definition.
fn floats(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    if dtype == Dtype::F64 {
        return bytes.as_chunks::<8>().0.iter().map(|b| single(f64::from_le_bytes(*b))).collect();
    }
    let mut values = Vec::new();
    widen(dtype, bytes, &mut values);
    values
}

#[allow(clippy::cast_possible_truncation, reason = "maxima are F32 by definition; rounding is meant")]
fn single(value: f64) -> f32 {
    value as f32
}

/// A maximum as a JSON number.
fn number(key: &str, value: &Value) -> Result<f32, ConvertError> {
    let single = value.as_f64().map(single).filter(|v| v.is_finite() && *v >= 0.0);
    single.ok_or_else(|| refused(key, &format!("holds {value}")))
}

/// Numbers of a list, or of lists in it, row by row. The parser has bounded their depth.
fn flatten(key: &str, values: &[Value], flat: &mut Vec<f32>) -> Result<(), ConvertError> {
    for value in values {
        match value {
            Value::Array(inner) => flatten(key, inner, flat)?,
            other => flat.push(number(key, other)?),
        }
    }
    Ok(())
}

/// `{"amax": 0.1}`, `0.1`, lists of them; `None` for an uncalibrated quantizer.
fn entry(key: &str, value: &Value) -> Result<Option<Amax>, ConvertError> {
    let amax = match value {
        Value::Object(fields) => fields.get("amax").unwrap_or(&Value::Null),
        other => other,
    };
    match amax {
        Value::Null => Ok(None),
        Value::Array(values) => {
            let mut flat = Vec::new();
            flatten(key, values, &mut flat)?;
            Ok(Some(match flat.as_slice() {
                [] => return Err(refused(key, "is an empty list")),
                [one] => Amax::One(*one),
                many => Amax::Many(Blocks {
                    count: u64::try_from(many.len()).unwrap_or(u64::MAX),
                    store: Store::Memory(many.into()),
                }),
            }))
        }
        other => number(key, other).map(|value| Some(Amax::One(value))),
    }
}

/// Whether a tensor name is quantizer state that holds maxima.
fn is_maximum(name: &str) -> bool {
    let Some((module, leaf)) = name.rsplit_once('.') else { return false };
    let quantizer =
        module.rsplit('.').any(|part| part.ends_with("_quantizer") || part.ends_with("_quantizers"));
    quantizer && matches!(leaf, "_amax" | "_global_amax")
}

impl Calibration {
    /// Reads `{"<module>.input_quantizer": {"amax": 0.117}, …}`; keys may end in `._amax`.
    ///
    /// # Errors
    /// If the text is no such JSON, or a maximum is no finite, positive number.
    pub fn from_json(text: &str) -> Result<Self, ConvertError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| ConvertError::Refused(format!("the calibration is no JSON: {e}")))?;
        let Value::Object(entries) = value else {
            return Err(ConvertError::Refused("the calibration must be a JSON object of quantizers".into()));
        };
        let mut calibration = Self::default();
        for (key, value) in &entries {
            if let Some(amax) = entry(key, value)? {
                calibration.insert(key, amax);
            }
        }
        Ok(calibration)
    }

    /// Reads the maxima of safetensors files: a calibration's own, or state that leaked into a checkpoint.
    /// Single maxima are read at once, lists when they are needed.
    ///
    /// # Errors
    /// If a file cannot be read, holds no maxima, or one of no float type or no finite, positive value.
    pub async fn from_files(files: &[InputFile], limits: &Limits) -> Result<Self, ConvertError> {
        let mut calibration = Self::default();
        for file in files.iter().filter(|f| f.path.ends_with(".safetensors")) {
            let header = read_header(file.source.as_ref(), limits).await?;
            for tensor in header.tensors.iter().filter(|t| is_maximum(t.name)) {
                let amax = stored(&file.source, &header, tensor).await?;
                calibration.insert(tensor.name, amax);
            }
        }
        if calibration.entries.is_empty() {
            let what = "the calibration holds no maxima such as <module>.input_quantizer._amax";
            return Err(ConvertError::Refused(what.into()));
        }
        Ok(calibration)
    }

    fn insert(&mut self, key: &str, amax: Amax) {
        self.entries.insert(key.strip_suffix("._amax").unwrap_or(key).to_string(), amax);
    }

    /// Takes in what another one says; where both speak of a quantizer, the other one counts.
    pub fn extend(&mut self, other: Self) {
        self.entries.extend(other.entries);
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Maxima by quantizer in the order of their names.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Amax)> {
        self.entries.iter().map(|(key, amax)| (key.as_str(), amax))
    }
}

/// The maxima of a tensor.
async fn stored(
    source: &Rc<dyn Source>,
    header: &ShardHeader,
    tensor: TensorInfo<'_>,
) -> Result<Amax, ConvertError> {
    let (key, dtype) = (tensor.name, tensor.dtype);
    let count = tensor.elements().filter(|_| header.is_readable(tensor));
    let Some(count) = count.filter(|&n| n > 0 && tensor.byte_len() == n.saturating_mul(dtype.bits() / 8))
    else {
        return Err(refused(key, "has not all its bytes"));
    };
    if !dtype.is_plain_float() {
        return Err(refused(key, &format!("is {dtype}, of no float type")));
    }
    let blocks =
        Blocks { count, store: Store::File { source: Rc::clone(source), begin: tensor.begin, dtype } };
    if count > 1 {
        return Ok(Amax::Many(blocks));
    }
    let mut pattern = Vec::new();
    blocks.read(key, 0, 1, &mut pattern).await?;
    Ok(Amax::One(pattern.first().map_or(0.0, |&bits| f32::from_bits(bits))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quantscope_format::MemorySource;

    fn one(calibration: &Calibration, key: &str) -> Option<f32> {
        match calibration.entries.get(key) {
            Some(Amax::One(value)) => Some(*value),
            _ => None,
        }
    }

    fn many(calibration: &Calibration, key: &str, first: u64, count: u64) -> Result<Vec<f32>, ConvertError> {
        let Some(Amax::Many(blocks)) = calibration.entries.get(key) else { return Ok(Vec::new()) };
        let mut patterns = Vec::new();
        futures_util::FutureExt::now_or_never(blocks.read(key, first, count, &mut patterns)).unwrap()?;
        Ok(patterns.into_iter().map(f32::from_bits).collect())
    }

    #[test]
    fn state_names_are_understood() {
        let json = r#"{"a.input_quantizer": {"amax": 0.5, "dtype": "torch.float32"}, "b.input_quantizer._amax": 2,
                       "c.input_quantizer": {"amax": null}, "d.weight_quantizer._global_amax": [[3]],
                       "e.weight_quantizer": {"amax": [[1], [2], [0]]}}"#;
        let calibration = Calibration::from_json(json).unwrap();
        let keys: Vec<&str> = calibration.entries().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "a.input_quantizer",
                "b.input_quantizer",
                "d.weight_quantizer._global_amax",
                "e.weight_quantizer"
            ]
        );
        assert_eq!(one(&calibration, "b.input_quantizer"), Some(2.0));
        assert_eq!(one(&calibration, "d.weight_quantizer._global_amax"), Some(3.0));
        assert_eq!(many(&calibration, "e.weight_quantizer", 1, 2).unwrap(), [2.0, 0.0]);
        assert!(many(&calibration, "e.weight_quantizer", 2, 2).is_err());
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for bad in [
            r#"{"a.input_quantizer": {"amax": "x"}}"#,
            r#"{"a.input_quantizer": -1}"#,
            r#"{"a.input_quantizer": [1, "x"]}"#,
            r#"{"a.input_quantizer": []}"#,
            r#"{"a.input_quantizer": 1e60}"#,
        ] {
            let error = Calibration::from_json(bad).err().unwrap().to_string();
            assert!(error.contains("a.input_quantizer"), "{bad}: {error}");
        }
        assert!(Calibration::from_json("[]").is_err());
        assert!(Calibration::from_json("{").is_err());
    }

    fn file(tensors: &[(&str, &str, &str, &[u8])]) -> Vec<InputFile> {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, dtype, shape, bytes) in tensors {
            let begin = data.len();
            data.extend_from_slice(bytes);
            let shape: Value = serde_json::from_str(shape).unwrap();
            let entry =
                serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()]});
            header.insert((*name).to_string(), entry);
        }
        let header = Value::Object(header).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&data);
        let source = Rc::new(MemorySource::new("c.safetensors", bytes));
        vec![InputFile { path: "c.safetensors".into(), source }]
    }

    fn read(tensors: &[(&str, &str, &str, &[u8])]) -> Result<Calibration, ConvertError> {
        let (files, limits) = (file(tensors), Limits::default());
        futures_util::FutureExt::now_or_never(Calibration::from_files(&files, &limits)).unwrap()
    }

    #[test]
    fn safetensors_give_single_maxima_and_lists() {
        let mut list = 1.5_f32.to_le_bytes().to_vec();
        list.extend_from_slice(&(-0.0_f32).to_le_bytes());
        list.extend_from_slice(&f32::NAN.to_le_bytes());
        let calibration = read(&[
            ("a.input_quantizer._amax", "F32", "[]", &0.1_f32.to_le_bytes()),
            ("b.weight_quantizer._amax", "BF16", "[1]", &[0x80, 0x3F]),
            ("c.weight_quantizer._global_amax", "F64", "[]", &0.1_f64.to_le_bytes()),
            ("d.weight_quantizer._amax", "F32", "[3, 1]", &list),
            ("a.weight", "I8", "[2]", &[1, 2]),
        ])
        .unwrap();
        assert_eq!(one(&calibration, "a.input_quantizer"), Some(0.1));
        assert_eq!(one(&calibration, "b.weight_quantizer"), Some(1.0));
        assert_eq!(one(&calibration, "c.weight_quantizer._global_amax"), Some(0.1));
        assert_eq!(many(&calibration, "d.weight_quantizer", 0, 2).unwrap(), [1.5, 0.0]);
        let error = many(&calibration, "d.weight_quantizer", 0, 3).unwrap_err().to_string();
        assert!(error.contains("NaN"), "{error}");
        assert_eq!(calibration.entries().count(), 4);
    }

    #[test]
    fn what_files_cannot_give_is_refused_by_name() {
        let said = |tensors: &[(&str, &str, &str, &[u8])]| read(tensors).err().unwrap().to_string();
        assert!(said(&[("a.weight", "I8", "[1]", &[1])]).contains("holds no maxima"));
        let nan = said(&[("a.input_quantizer._amax", "F32", "[]", &f32::NAN.to_le_bytes())]);
        assert!(nan.contains("a.input_quantizer") && nan.contains("NaN"), "{nan}");
        assert!(said(&[("a.input_quantizer._amax", "I32", "[]", &[0; 4])]).contains("is I32"));
        assert!(said(&[("a.input_quantizer._amax", "F32", "[]", &[0; 3])]).contains("not all its bytes"));
        assert!(said(&[("a.input_quantizer._amax", "F32", "[0]", &[])]).contains("not all its bytes"));
    }

    #[test]
    fn only_quantizer_state_counts() {
        assert!(is_maximum("m.experts.gate_up_proj_weight_quantizers.3._amax"));
        assert!(is_maximum("m.k_bmm_quantizer._amax"));
        assert!(!is_maximum("m.weight_quantizer._scale"));
        assert!(!is_maximum("m._amax") && !is_maximum("_amax") && !is_maximum("m.weight"));
    }
}
