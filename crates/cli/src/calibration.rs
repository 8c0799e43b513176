//! `--calibration`: JSON is handed on as it is; safetensors become the same JSON.
//!
//! In safetensors the maxima stand under ModelOpt's state names, `<module>.input_quantizer._amax`, in a
//! file of their own or, leaked, among the weights of a checkpoint. What they mean is not known here.

use crate::exit::Failure;
use half::{bf16, f16};
use quantscope_format::{Limits, ShardHeader, Source as _, TensorInfo, read_header};
use serde_json::{Map, Number, Value};
use std::path::{Path, PathBuf};

use crate::files::FileSource;

/// Most maxima of one quantizer that are read; a single one is what conversions use today.
const MOST_VALUES: u64 = 1 << 20;

/// The calibration as JSON text.
pub(crate) async fn read(path: &Path, limits: &Limits) -> Result<String, Failure> {
    let fail = |what: String| Failure::new("refused", format!("the calibration {}: {what}", path.display()));
    let is_shard = |path: &Path| path.extension().is_some_and(|e| e == "safetensors");
    let shards: Vec<PathBuf> = if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| fail(error.to_string()))?;
        let mut shards: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| is_shard(p)).collect();
        shards.sort();
        shards
    } else if is_shard(path) {
        vec![path.to_path_buf()]
    } else {
        let len = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
        if len > limits.json_bytes {
            return Err(fail(format!("{len} bytes of JSON are over the limit of {}", limits.json_bytes)));
        }
        return std::fs::read_to_string(path).map_err(|error| fail(error.to_string()));
    };
    let mut maxima = Map::new();
    for shard in shards {
        let source = FileSource::new(shard.clone()).map_err(|error| fail(error.to_string()))?;
        let header = read_header(&source, limits).await.map_err(|error| fail(error.to_string()))?;
        for tensor in header.tensors.iter().filter(|tensor| is_maximum(&tensor.name)) {
            let values = values(&source, &header, tensor)
                .await
                .map_err(|what| fail(format!("{} {what}", tensor.name)))?;
            maxima.insert(tensor.name.clone(), values);
        }
    }
    if maxima.is_empty() {
        return Err(fail("it holds no maxima such as <module>.input_quantizer._amax".to_owned()));
    }
    Ok(Value::Object(maxima).to_string())
}

/// Whether a name is quantizer state that holds a maximum.
fn is_maximum(name: &str) -> bool {
    let Some((module, leaf)) = name.rsplit_once('.') else { return false };
    let quantizer =
        module.rsplit('.').any(|part| part.ends_with("_quantizer") || part.ends_with("_quantizers"));
    quantizer && matches!(leaf, "_amax" | "_global_amax")
}

/// A number for one element, an array for several.
async fn values(source: &FileSource, header: &ShardHeader, tensor: &TensorInfo) -> Result<Value, String> {
    if !header.is_readable(tensor) {
        return Err("cannot be read: its bytes are not all there".to_owned());
    }
    let elements = tensor.elements().unwrap_or(u64::MAX);
    if elements > MOST_VALUES {
        return Err(format!("holds {elements} values, over the limit of {MOST_VALUES}"));
    }
    let mut bytes = vec![0; usize::try_from(tensor.byte_len()).map_err(|_| "is too large".to_owned())?];
    source.read(tensor.begin, &mut bytes).await.map_err(|error| error.to_string())?;
    let decoded: Vec<f64> = match tensor.dtype.tag() {
        "F64" => bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        "F32" => bytes.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        "BF16" => bytes.as_chunks::<2>().0.iter().map(|b| f64::from(bf16::from_le_bytes(*b))).collect(),
        "F16" => bytes.as_chunks::<2>().0.iter().map(|b| f64::from(f16::from_le_bytes(*b))).collect(),
        other => return Err(format!("is {other}; maxima are F32, BF16, F16 or F64")),
    };
    let number =
        |value: &f64| Number::from_f64(*value).map(Value::Number).ok_or_else(|| format!("holds {value}"));
    match decoded.as_slice() {
        [single] => number(single),
        several => several.iter().map(number).collect::<Result<Vec<_>, _>>().map(Value::Array),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_maximum, read};
    use pollster::block_on;
    use quantscope_format::Limits;
    use serde_json::{Value, json};
    use std::path::Path;

    fn shard(path: &Path, tensors: &[(&str, &str, &str, &[u8])]) {
        let mut header = serde_json::Map::new();
        let mut data = Vec::new();
        for (name, dtype, shape, bytes) in tensors {
            let begin = data.len();
            data.extend_from_slice(bytes);
            let shape: Value = serde_json::from_str(shape).unwrap();
            header.insert(
                (*name).to_owned(),
                json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()]}),
            );
        }
        let header = Value::Object(header).to_string();
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.extend_from_slice(&data);
        std::fs::write(path, file).unwrap();
    }

    #[test]
    fn safetensors_become_json() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("c.safetensors");
        shard(
            &file,
            &[
                ("a.input_quantizer._amax", "F32", "[]", &0.1_f32.to_le_bytes()),
                ("b.weight_quantizer._amax", "BF16", "[1]", &[0x80, 0x3F]),
                ("b.weight_quantizer._global_amax", "F16", "[]", &[0x00, 0x40]),
                ("c.input_quantizer._amax", "F64", "[2]", &[0; 16]),
                ("a.weight", "I8", "[2]", &[1, 2]),
            ],
        );
        for path in [file.as_path(), root.path()] {
            let text = block_on(read(path, &Limits::default())).unwrap();
            let value: Value = serde_json::from_str(&text).unwrap();
            let expected = json!({"a.input_quantizer._amax": f64::from(0.1_f32), "b.weight_quantizer._amax": 1.0,
                "b.weight_quantizer._global_amax": 2.0, "c.input_quantizer._amax": [0.0, 0.0]});
            assert_eq!(value, expected);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("c.safetensors");
        let said = || block_on(read(&file, &Limits::default())).unwrap_err().message;
        shard(&file, &[("a.weight", "I8", "[1]", &[1])]);
        assert!(said().contains("holds no maxima"), "{}", said());
        shard(&file, &[("a.input_quantizer._amax", "F32", "[]", &f32::NAN.to_le_bytes())]);
        assert!(said().contains("a.input_quantizer._amax holds NaN"), "{}", said());
        shard(&file, &[("a.input_quantizer._amax", "I32", "[]", &[0; 4])]);
        assert!(said().contains("a.input_quantizer._amax is I32"), "{}", said());
        shard(&file, &[("a.input_quantizer._amax", "F32", "[]", &[0; 3])]);
        assert!(said().contains("not all there"), "{}", said());
        assert!(block_on(read(&root.path().join("absent.json"), &Limits::default())).is_err());
    }

    #[test]
    fn only_quantizer_state_counts() {
        assert!(is_maximum("m.experts.gate_up_proj_weight_quantizers.3._amax"));
        assert!(is_maximum("m.k_bmm_quantizer._amax"));
        assert!(!is_maximum("m.weight_quantizer._scale"));
        assert!(!is_maximum("m._amax") && !is_maximum("_amax") && !is_maximum("m.weight"));
    }
}
