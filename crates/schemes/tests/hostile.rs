//! Whatever the shapes, types and configs of a file say, ModelOpt's schemes refuse a layer or decode it: no panic, no
//! overflow, no memory for what a file only claims.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod common;

use common::{Tensors, data, modules, read, view};
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{CpuEngine, EngineError, FloatType};
use quantscope_numeric::Dtype;
use quantscope_schemes::{
    EncodeInput, EncodeSettings, Facts, Form, Matrix, Region, Section, Settings, Slab, recognise, schemes,
};
use serde_json::{Value, json};

/// Numbers that sizes are replaced by.
const SIDES: &[u64] = &[0, 1, 7, 1 << 32, 1 << 60, u64::MAX];

/// A case of each layout.
const CASES: &[&str] = &[
    "nvfp4_linear_bf16_7x32",
    "w4a8_nvfp4_fp8",
    "fp8_tensor_bf16",
    "fp8_channel_bf16",
    "fp8_block_wo_130x140",
    "mxfp4",
    "mxfp8",
    "int8_sq",
    "int4_block32",
    "w4a8_awq_max",
];

/// The tensors of the one module of every case, with companions that only some exports have.
fn layers() -> Vec<(String, Tensors)> {
    let mut layers = Vec::new();
    for case in CASES {
        let file = modules(&read(&data(&format!("golden/{case}/expected.safetensors"))));
        layers.push(((*case).to_string(), file["linear"].clone()));
    }
    for case in ["modelopt/nvfp4_svdquant", "fp8/block_16x32", "bmm/nvfp4"] {
        let file = modules(&read(&data(&format!("made/{case}.packed.safetensors"))));
        layers.extend(file.into_values().map(|tensors| (case.to_string(), tensors)));
    }
    layers
}

/// The bytes of a slab; `None` if the tensor does not have them, which a reader refuses.
fn cut(tensors: &Tensors, slab: &Slab) -> Option<Vec<u8>> {
    let bytes = &tensors.get(slab.leaf.as_ref())?.bytes;
    let span = slab.runs.saturating_sub(1).checked_mul(slab.stride)?.checked_add(slab.run)?;
    if slab.offset.checked_add(span)? > bytes.len() as u64 {
        return None;
    }
    let at = |n: u64| usize::try_from(n).unwrap();
    let run =
        |i: u64| &bytes[at(slab.offset + i * slab.stride)..at(slab.offset + i * slab.stride + slab.run)];
    Some((0..slab.runs).flat_map(run).copied().collect())
}

/// Asks every scheme everything about a layer, and decodes two corners of it. Answers how many decoded.
fn ask(name: &str, tensors: &Tensors, facts: Facts<'_>) -> usize {
    let layer = view("linear", tensors, facts);
    let _ = recognise(&layer);
    let mut decoded = 0;
    for scheme in schemes() {
        let _ = (scheme.recognise(&layer), scheme.logical_shape(&layer), scheme.scale_layout_of(&layer));
        for tensor in &layer.tensors {
            let _ = scheme.legal_shapes(tensor.leaf, &layer);
        }
        let Ok(decoder) = scheme.decoder(&layer) else { continue };
        let [rows, cols] = decoder.extent();
        let unit = decoder.column_unit();
        assert!(unit > 0, "{name}: {}", scheme.id());
        for (top, left) in [(0, 0), (rows.saturating_sub(2), cols.saturating_sub(1) / unit * unit)] {
            let rows = top..top.saturating_add(2).min(rows);
            let region = Region { rows, cols: left..left.saturating_add(unit).min(cols) };
            let slabs = decoder.needs(&region);
            let parts: Option<Vec<Vec<u8>>> = slabs.iter().map(|slab| cut(tensors, slab)).collect();
            let short = vec![Vec::new(); slabs.len()];
            for (parts, is_whole) in [(parts, true), (Some(short), false), (Some(Vec::new()), false)] {
                let Some(parts) = parts else { continue };
                let mut values = Vec::new();
                let engine = CpuEngine::new();
                match futures_executor::block_on(decoder.decode(&engine, &region, &parts, &mut values)) {
                    Ok(()) => decoded += 1,
                    Err(EngineError::TileSize { .. }) if !is_whole => {}
                    Err(error) => panic!("{name}: {}: {error}", scheme.id()),
                }
                assert!(values.len() as u64 <= 2 * unit, "{name}: {}: {}", scheme.id(), values.len());
            }
        }
    }
    decoded
}

#[test]
fn shapes_and_types_may_say_anything() {
    let mut decoded = 0;
    for (name, tensors) in layers() {
        decoded += ask(&name, &tensors, Facts::default());
        for leaf in tensors.keys() {
            let change = |shape: Vec<u64>| {
                let mut changed = tensors.clone();
                changed.get_mut(leaf).unwrap().shape = shape;
                for declared in [None, Some("int4"), Some("fp8-block-wo"), Some("nvfp4-svdquant")] {
                    ask(&name, &changed, Facts { declared, ..Facts::default() });
                }
            };
            let shape = &tensors[leaf].shape;
            for side in 0..shape.len() {
                for &length in SIDES {
                    let mut shape = shape.clone();
                    shape[side] = length;
                    change(shape);
                }
            }
            for shape in [vec![], vec![u64::MAX; 2], vec![u64::MAX; 4], vec![1; 5], vec![0, u64::MAX, 2]] {
                change(shape);
            }
            for &dtype in Dtype::ALL {
                let mut changed = tensors.clone();
                changed.get_mut(leaf).unwrap().dtype = dtype;
                ask(&name, &changed, Facts::default());
            }
            let mut less = tensors.clone();
            less.remove(leaf);
            ask(&name, &less, Facts::default());
        }
    }
    assert!(decoded > 20, "{decoded}");
}

#[test]
fn configs_may_say_anything() {
    let (name, tensors) = layers().into_iter().find(|(name, _)| name == "fp8/block_16x32").unwrap();
    let mut refused = 0;
    for sides in [
        json!(null),
        json!([]),
        json!([0, 0]),
        json!([1, 0]),
        json!([16, 32]),
        json!([-1, 32]),
        json!([u64::MAX, u64::MAX]),
        json!([16, 32, 1]),
        json!("128"),
        json!({"a": 1}),
    ] {
        let Value::Object(config) = json!({"quant_method": "fp8", "weight_block_size": sides}) else {
            continue;
        };
        let facts = Facts { config: Section::whole(&config), ..Facts::default() };
        ask(&name, &tensors, facts);
        let layer = view("linear", &tensors, facts);
        let scheme = recognise(&layer).scheme;
        assert_eq!(scheme.id(), "fp8-block", "{sides}");
        refused += usize::from(scheme.decoder(&layer).is_err());
    }
    // All but the right one; the wrong ones are no pair of sides, or do not fit the scales.
    assert_eq!(refused, 9);
}

/// A config may name a million modules, and hold texts of any length beside them: those stand in memory once.
#[test]
fn what_holds_for_all_modules_is_kept_once() {
    let config = json!({"quantization_config": {
        "mode": "x".repeat(1000), "bits": 4, "sizes": [1], "a.b": {"bits": 8}, "c.d": {"sizes": [2]}, "e.f": false,
    }});
    let settings = Settings::new(Some(&config));
    let get = |module: &str, key: &str| settings.facts(module, None).config.get(key);
    let [of_one, of_other, of_rest] = ["a.b", "c.d", "g.h"].map(|module| get(module, "mode").unwrap());
    assert!(std::ptr::eq(of_one, of_other) && std::ptr::eq(of_one, of_rest));
    let bits = ["a.b", "c.d", "e.f", "g.h", "a"].map(|module| get(module, "bits").and_then(Value::as_u64));
    assert_eq!(bits, [Some(8), Some(4), None, Some(4), Some(4)]);
    // What is a list speaks of the whole, unless it is the module's own.
    let sizes = ["a.b", "c.d", "e.f", "g.h"].map(|module| get(module, "sizes").cloned());
    assert_eq!(sizes, [None, Some(json!([2])), None, Some(json!([1]))]);
}

#[test]
fn any_matrix_is_promised_or_refused() {
    let sides = [0, 1, 2, 15, 16, 32, 127, 128, 1 << 31, 1 << 40, u64::MAX - 1, u64::MAX];
    let forms = [Form::Linear, Form::Conv3d, Form::Stack { experts: 0 }, Form::Stack { experts: u64::MAX }];
    let mut promised = 0;
    for scheme in schemes() {
        for (rows, cols) in sides.iter().flat_map(|&rows| sides.iter().map(move |&cols| (rows, cols))) {
            for form in forms {
                for group_size in [0, 1, 32, 1 << 33, u64::MAX] {
                    let settings = EncodeSettings { group_size, ..EncodeSettings::default() };
                    let matrix = Matrix { rows, cols, form };
                    let promise = scheme.encoding(matrix, &settings);
                    let encoder = scheme.encoder(&EncodeInput {
                        matrix,
                        dtype: FloatType::Bf16,
                        cast: CodeCast::Keep,
                        export: FloatType::Bf16,
                        maximum: 1.0,
                        settings,
                        given_blocks: false,
                    });
                    assert_eq!(promise.is_ok(), encoder.is_ok(), "{} {rows} x {cols}", scheme.id());
                    let Ok(promise) = promise else { continue };
                    promised += 1;
                    assert!(promise.column_unit > 0 && promise.row_unit > 0, "{}", scheme.id());
                    assert!(promise.block.iter().all(|&side| side > 0), "{}", scheme.id());
                }
            }
        }
    }
    assert!(promised > 1000, "{promised}");
}
