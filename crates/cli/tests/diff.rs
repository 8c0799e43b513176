//! `quantscope diff`: what conversions did is explained; what anybody did besides is not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{Tensor, copy_folder, data, edit, run, run_json};
use safetensors::tensor::Dtype;
use serde_json::Value;
use std::fs;
use std::path::Path;

const SOURCE: &str = "golden/_src/llama";

fn diff(a: &Path, b: &Path) -> (i32, Value) {
    let (code, document) = run_json(["diff".as_ref(), a.as_os_str(), b.as_os_str()]);
    (code, document["diff"].clone())
}

fn unexplained(found: &Value) -> Vec<(String, String)> {
    let differences = found["differences"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    differences
        .filter(|d| d["explained"] == false)
        .map(|d| (text(&d["causes"][0]), text(if d["b"].is_null() { &d["a"] } else { &d["b"] })))
        .collect()
}

/// A way of changing a file's tensors.
type Change = fn(&mut common::Tensors);

#[test]
fn what_convert_does_is_explained() {
    let source = data(SOURCE);
    let folder = tempfile::tempdir().unwrap();
    for (i, flags) in [
        &["--to", "nvfp4"][..],
        &["--to", "fp8-channel", "--layer", "*.o_proj=nvfp4-mse", "--layer", "*.down_proj=keep"],
        &["--to", "mxfp4"],
        &["--to", "int8-wo"],
        &["--to", "f16"],
        &["--dtype", "f32"],
    ]
    .into_iter()
    .enumerate()
    {
        let out = folder.path().join(i.to_string());
        let mut arguments = vec!["convert", source.to_str().unwrap(), "-o", out.to_str().unwrap()];
        arguments.extend(flags);
        let (code, _, error) = run(arguments);
        assert_eq!(code, 0, "{flags:?}: {error}");
        let (code, found) = diff(&source, &out);
        assert_eq!((code, unexplained(&found)), (0, Vec::new()), "{flags:?}: {found}");
        assert!(found["explained"].as_u64().unwrap() > 0);
    }
    // What is quantized and then decoded again is a dequantized copy of the quantized one.
    let (packed, plain) = (folder.path().join("0"), folder.path().join("plain"));
    let (code, _, error) = run([
        "convert".as_ref(),
        packed.as_os_str(),
        "-o".as_ref(),
        plain.as_os_str(),
        "--to".as_ref(),
        "bf16".as_ref(),
    ]);
    assert_eq!(code, 0, "{error}");
    let (code, found) = diff(&packed, &plain);
    assert_eq!((code, found["by_cause"]["dequantized"].as_u64()), (0, Some(14)), "{found}");
    let (code, text, _) = run(["diff".as_ref(), source.as_os_str(), packed.as_os_str()]);
    assert!(code == 0 && text.contains("every difference is explained"), "{text}");
    let (code, text, _) = run(["diff".as_ref(), source.as_os_str(), source.as_os_str()]);
    assert!(code == 0 && text.contains("nothing differs"), "{text}");
}

#[test]
fn what_nobody_explains_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let source = data("golden/_src/llama");
    let export = data("golden/e2e_llama_nvfp4/expected");
    let changed = |name: &str, change: Change| {
        let copy = folder.path().join(name);
        copy_folder(&export, &copy);
        edit(&copy, change);
        copy
    };
    let cases: [(&str, Change, &str, &str); 6] = [
        ("norm", |t| t.get_mut("model.norm.weight").unwrap().bytes[1] ^= 0x40, "values", "model.norm"),
        (
            "gone",
            |t| drop(t.remove("model.layers.1.input_layernorm.weight")),
            "missing",
            "model.layers.1.input_layernorm",
        ),
        (
            "new",
            |t| {
                let bytes = vec![1; 8];
                t.insert("surprise.weight".into(), Tensor { dtype: Dtype::BF16, shape: vec![2, 2], bytes });
            },
            "extra",
            "surprise",
        ),
        (
            "swapped",
            |t| {
                // Codes of another layer: every scale is still sound.
                let other = t["model.layers.1.mlp.up_proj.weight"].clone();
                t.insert("model.layers.0.mlp.up_proj.weight".into(), other);
            },
            "quantized",
            "model.layers.0.mlp.up_proj",
        ),
        (
            "scaled",
            |t| {
                let scale = &mut t.get_mut("model.layers.0.mlp.up_proj.weight_scale_2").unwrap().bytes;
                let value = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
                *scale = (2.0 * value).to_le_bytes().to_vec();
            },
            "quantized",
            "model.layers.0.mlp.up_proj",
        ),
        (
            "shape",
            |t| {
                let norm = t.get_mut("model.norm.weight").unwrap();
                norm.bytes.truncate(32);
                norm.shape = vec![16];
            },
            "padded",
            "model.norm",
        ),
    ];
    for (name, change, cause, layer) in cases {
        let (code, found) = diff(&source, &changed(name, change));
        let told = unexplained(&found);
        assert_eq!(code, 1, "{name}: {found}");
        assert!(told.iter().any(|(c, l)| (c.as_str(), l.as_str()) == (cause, layer)), "{name}: {told:?}");
        assert_eq!(told.len(), 1, "{name}: {told:?}");
    }
    let copy = folder.path().join("config");
    copy_folder(&source, &copy);
    let text = fs::read_to_string(copy.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["hidden_size"] = 65.into();
    fs::write(copy.join("config.json"), config.to_string()).unwrap();
    let (code, found) = diff(&source, &copy);
    assert_eq!((code, unexplained(&found)), (1, vec![("config".into(), "config.json: hidden_size".into())]));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let source = data(SOURCE);
    let (code, document) = run_json(["diff".as_ref(), source.as_os_str(), "/nothing/here".as_ref()]);
    assert_eq!((code, document["error"]["kind"].is_string()), (2, true));
}
