//! Quantizing what was dequantized changes nothing.
//!
//! Claimed, for weights in F32 and with the maximum that global scales come from given in both passes as calibration
//! (what was packed need not reach it, and it would otherwise be measured anew):
//!
//! - for every scheme, the values of the second pass are those of the first, bit for bit, zeros of either sign equal;
//! - except under MX, so are the stored bytes, but for the code of minus zero, which NVFP4 writes as zero. An MX block
//!   whose largest code is at most half of what its type can hold may take half the power of two and twice the codes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use quantscope_format::Limits;
use quantscope_session::api::ConvertRequest;
use quantscope_tests::jobs::{Files, convert, weights};
use quantscope_tests::tensors::{Stored, Tensors, file_of, floats};
use serde_json::json;

/// Schemes, and under which name they take the maximum.
const SCHEMES: &[(&str, Option<&str>)] = &[
    ("nvfp4", Some("_amax")),
    ("w4a16-nvfp4", Some("_amax")),
    ("nvfp4-static", Some("_global_amax")),
    ("nvfp4-mse", Some("_global_amax")),
    ("nvfp4-four-over-six", Some("_global_amax")),
    ("w4a8-nvfp4-fp8", Some("_amax")),
    ("fp8", None),
    ("fp8-channel", None),
    ("fp8-block", None),
    ("fp8-block-wo", None),
    ("mxfp4", None),
    ("w4a8-mxfp4-fp8", None),
    ("mxfp8", None),
    ("int8", None),
    ("int8-wo", None),
    ("int4", None),
    ("w4a8-int4-fp8", Some("_amax")),
];
const MX: &[&str] = &["mxfp4", "w4a8-mxfp4-fp8", "mxfp8"];

/// Numbers between -1 and 1, thin at the ends; the first 128 are zero, of either sign.
fn drawn(seed: u64, count: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // 24 bits are exact in F32.
        f32::from_bits(0x3F80_0000 | u32::try_from(state >> 41).unwrap()) - 1.5
    };
    let values = (0..count).map(|at| match at {
        0..64 => 0.0,
        64..128 => -0.0,
        _ => next() * next() * next() * 8.0,
    });
    values.collect()
}

fn checkpoint(shape: [u64; 2], values: &[f32]) -> Files {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let stored = Stored { dtype: "F32".into(), shape: shape.into(), bytes };
    let tensors = Tensors::from([("block.proj.weight".to_string(), stored)]);
    Files::from([
        ("model.safetensors".into(), file_of(&tensors, &[])),
        ("config.json".into(), br#"{"model_type": "llama"}"#.to_vec()),
    ])
}

fn pass(files: &Files, to: &str, maximum: Option<(&str, f32)>) -> Files {
    let calibration =
        maximum.map(|(leaf, value)| json!({format!("block.proj.weight_quantizer.{leaf}"): value}));
    let request = ConvertRequest {
        to: to.into(),
        calibration_json: calibration.map(|maxima| maxima.to_string()),
        ..ConvertRequest::default()
    };
    convert(files, &request, None, &Limits::default()).unwrap_or_else(|error| panic!("{to}: {error}"))
}

/// Stored bytes; of packed NVFP4 with zero for minus zero.
fn comparable(scheme: &str, name: &str, tensor: &Stored) -> Vec<u8> {
    let is_nvfp4 = scheme.contains("nvfp4") && name.ends_with(".weight");
    let plain = |nibble: u8| if nibble == 8 { 0 } else { nibble };
    let codes = tensor.bytes.iter();
    if is_nvfp4 { codes.map(|b| plain(b & 15) | plain(b >> 4) << 4).collect() } else { tensor.bytes.clone() }
}

#[test]
fn a_second_pass_changes_nothing() {
    for (seed, shape) in [(1, [2, 256]), (2, [34, 128]), (3, [130, 384])] {
        let values = drawn(seed, shape[0] * shape[1]);
        let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        for &(scheme, leaf) in SCHEMES {
            let maximum = leaf.map(|leaf| (leaf, largest));
            let packed = pass(&checkpoint(shape, &values), scheme, maximum);
            let plain = pass(&packed, "f32", None);
            let again = pass(&plain, scheme, maximum);
            let plain_again = pass(&again, "f32", None);

            let read = |files: &Files| floats(&weights(files)["block.proj.weight"]).unwrap();
            let (first, second) = (read(&plain), read(&plain_again));
            assert_ne!(first, values, "{scheme}: nothing was rounded");
            assert!(first == second, "{scheme} {shape:?}: values change in a second pass");
            if !MX.contains(&scheme) {
                let (first, second) = (weights(&packed), weights(&again));
                assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>(), "{scheme}");
                for (name, tensor) in &first {
                    let same = comparable(scheme, name, tensor) == comparable(scheme, name, &second[name]);
                    assert!(same, "{scheme} {shape:?}: {name} changes in a second pass");
                }
            }
        }
    }
}
