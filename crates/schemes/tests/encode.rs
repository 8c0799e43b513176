//! Every layer case of the golden data, encoded: the bytes that ModelOpt wrote.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod common;

use common::{Ask, Tensor, data, decode, differences, floats, json, read, read_folder, view};
use quantscope_kernels::FloatType;
use quantscope_numeric::{e4m3, round_to_bf16, round_to_f16};
use quantscope_schemes::{Facts, Form, Fp8Rounding, Naming, by_id};

/// ModelOpt's internal name and ours.
fn id_of(format: &str, case: &str) -> &'static str {
    match format {
        "nvfp4" if case.contains("static_max") => "nvfp4-static",
        "nvfp4" if case.contains("static_mse") => "nvfp4-mse",
        "nvfp4" if case.contains("four_over_six") => "nvfp4-four-over-six",
        "nvfp4" => "nvfp4",
        "w4a16_nvfp4" => "w4a16-nvfp4",
        "w4a8_nvfp4_fp8" => "w4a8-nvfp4-fp8",
        "fp8" => "fp8",
        "fp8_pc_pt" => "fp8-channel",
        "fp8_pb_wo" => "fp8-block-wo",
        "mxfp4" => "mxfp4",
        "w4a8_mxfp4_fp8" => "w4a8-mxfp4-fp8",
        "mxfp8" => "mxfp8",
        "int8_sq" => "int8",
        "int8_wo" => "int8-wo",
        "int4_awq" => "int4",
        "w4a8_awq" => "w4a8-int4-fp8",
        other => panic!("{other} has no scheme"),
    }
}

fn scalar(tensor: &Tensor) -> f32 {
    floats(tensor)[0]
}

/// Compares what was encoded with what is expected under a module.
fn compare(case: &str, module: &str, expected: &common::Tensors, found: &common::Tensors) {
    for (leaf, tensor) in found {
        let name = format!("{module}.{leaf}");
        let right = expected.get(&name).unwrap_or_else(|| panic!("{case}: {name} is not expected"));
        assert_eq!((right.dtype, &right.shape), (tensor.dtype, &tensor.shape), "{case}: {name}");
        assert_eq!(differences(tensor.dtype, &right.bytes, &tensor.bytes), 0, "{case}: {name}");
    }
    let others = expected.keys().filter(|name| {
        let leaf = name.strip_prefix(module).and_then(|rest| rest.strip_prefix('.'));
        leaf.is_some_and(|leaf| !found.contains_key(leaf) && !["bias", "input_scale"].contains(&leaf))
    });
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new(), "{case}: not written");
}

#[test]
fn layer_cases_are_encoded_to_the_byte() {
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(data("golden")).unwrap() {
        let case = entry.unwrap().file_name().into_string().unwrap();
        if !data(&format!("golden/{case}/source.safetensors")).exists() {
            continue;
        }
        let about = json(&format!("golden/{case}/case.json"));
        let Some(format) = about["modelopt_format"].as_str() else { continue };
        let source = read(&data(&format!("golden/{case}/source.safetensors")));
        let expected = read(&data(&format!("golden/{case}/expected.safetensors")));
        let weight = &source["linear.weight"];
        let scheme = by_id(id_of(format, &case)).unwrap();
        let mut ask = Ask::new(scheme, weight);
        ask.export = match about["export_dtype"].as_str().unwrap() {
            "torch.bfloat16" => FloatType::Bf16,
            "torch.float16" => FloatType::F16,
            _ => FloatType::F32,
        };
        let group = about["hf_quant_config"]["quantization"]["group_size"].as_u64();
        ask.settings.group_size = group.unwrap_or(ask.settings.group_size);
        ask.maximum = source.get("given.global_amax").map(scalar);
        let search = ["nvfp4-mse", "nvfp4-four-over-six"].contains(&scheme.id());
        compare(&case, "linear", &expected, &ask.encode(weight, None).unwrap());
        if !search {
            // Scales first, codes in bands: the same bytes.
            compare(&case, "linear", &expected, &ask.encode(weight, Some(3)).unwrap());
        }
        // Calibrated block maxima: the outcome of the search, for the schemes that take them.
        let given = source.get("given.block_amax").zip(scheme.with_given_blocks());
        if let Some((blocks, scheme)) = given {
            ask.scheme = scheme;
            ask.blocks = Some(floats(blocks).into_iter().map(f32::to_bits).collect());
            compare(&case, "linear", &expected, &ask.encode(weight, None).unwrap());
        }
        if let Some(amax) = source.get("given.input_amax").map(scalar) {
            let stored = expected.get("linear.input_scale").map(scalar);
            let expected = scheme.about().quantizes_activations.then(|| scheme.input_scale(amax));
            assert_eq!(stored, expected, "{case}: input_scale");
        }
        seen.push(scheme.id());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 16, "{seen:?}");
}

#[test]
fn static_cases_are_encoded_to_the_byte() {
    let mut cases = 0;
    for entry in std::fs::read_dir(data("golden-pr/static")).unwrap() {
        let case = entry.unwrap().file_name().into_string().unwrap();
        let folder = format!("golden-pr/static/{case}");
        // Of the same-named cases only the released ones hold what the sweep is meant to give.
        if !case.starts_with("release_") || case.contains("multiplier") {
            continue;
        }
        let source = read_folder(&data(&format!("{folder}/source")));
        let expected = read_folder(&data(&format!("{folder}/expected")));
        let id = if case.contains("mse") { "nvfp4-mse" } else { "nvfp4-static" };
        let weight = &source["linear.weight"];
        let ask = Ask::new(by_id(id).unwrap(), weight);
        compare(&case, "linear", &expected, &ask.encode(weight, None).unwrap());
        cases += 1;
    }
    assert!(cases >= 12, "{cases}");
}

#[test]
fn convolutions_are_flattened_and_padded() {
    let mut cases = 0;
    for entry in std::fs::read_dir(data("golden")).unwrap() {
        let case = entry.unwrap().file_name().into_string().unwrap();
        if !case.starts_with("nvfp4_conv3d") {
            continue;
        }
        let source = read(&data(&format!("golden/{case}/source.safetensors")));
        let expected = read(&data(&format!("golden/{case}/expected.safetensors")));
        let weight = &source["conv.weight"];
        let mut ask = Ask::new(by_id("nvfp4").unwrap(), weight);
        ask.form = Form::Conv3d;
        compare(&case, "conv", &expected, &ask.encode(weight, None).unwrap());
        ask.scheme = by_id("nvfp4-mse").unwrap();
        assert!(ask.encode(weight, None).unwrap_err().to_string().contains("nvfp4-mse"), "{case}");
        cases += 1;
    }
    assert_eq!(cases, 4);
}

/// `[E, in, out]` as `[E * out, in]`, which is how a stack comes to an encoder.
fn turned(tensor: &Tensor) -> Tensor {
    let &[experts, rows, cols] = tensor.shape.as_slice() else { panic!("no stack") };
    let width = usize::try_from(tensor.dtype.bits() / 8).unwrap();
    let mut bytes = Vec::new();
    for expert in 0..experts {
        for col in 0..cols {
            for row in 0..rows {
                let at = usize::try_from((expert * rows + row) * cols + col).unwrap() * width;
                bytes.extend_from_slice(&tensor.bytes[at..at + width]);
            }
        }
    }
    Tensor { dtype: tensor.dtype, shape: vec![experts * cols, rows], bytes }
}

/// `[E, a, b]` with the sides turned, kept as a stack.
fn turned_stack(tensor: &Tensor) -> Tensor {
    let &[experts, a, b] = tensor.shape.as_slice() else { panic!("no stack") };
    Tensor { shape: vec![experts, b, a], ..turned(tensor) }
}

#[test]
fn stacks_are_encoded_turned() {
    let source = read(&data("golden/nvfp4_bmm_llama4_experts/source.safetensors"));
    let expected = read(&data("golden/nvfp4_bmm_llama4_experts/expected.safetensors"));
    let mut stacks = 0;
    for (name, weight) in source.iter().filter(|(_, t)| t.shape.len() == 3) {
        let matrix = turned(weight);
        let mut ask = Ask::new(by_id("nvfp4").unwrap(), &matrix);
        ask.form = Form::Stack { experts: weight.shape[0] };
        let found = ask.encode(&matrix, None).unwrap();
        for (leaf, suffix) in [("weight", ""), ("weight_scale", "_weight_scale")] {
            let right = turned_stack(&expected[&format!("{name}{suffix}")]);
            assert_eq!(right.bytes, found[leaf].bytes, "{name} {leaf}");
        }
        assert_eq!(expected[&format!("{name}_weight_scale_2")].bytes, found["weight_scale_2"].bytes);
        // One scale for each expert is not what a single scale can say.
        ask.scheme = by_id("fp8").unwrap();
        assert!(ask.encode(&matrix, None).unwrap_err().remedy.contains("expand"));
        stacks += 1;
    }
    assert_eq!(stacks, 2);
}

/// Stacks that the golden data lacks, from the formulas in numpy: the other NVFP4 schemes, and FP8 with a scale an
/// expert.
#[test]
fn made_stacks_are_encoded_to_the_byte() {
    let mut stacks = Vec::new();
    for case in ["nvfp4", "nvfp4_static", "nvfp4_mse", "nvfp4_four_over_six", "w4a16_nvfp4", "fp8"] {
        let scheme = by_id(&case.replace('_', "-")).unwrap();
        let source = read(&data(&format!("made/bmm/{case}.source.safetensors")));
        let expected = read(&data(&format!("made/bmm/{case}.packed.safetensors")));
        for (name, weight) in source.iter().filter(|(_, t)| t.shape.len() == 3) {
            let matrix = scheme.stack_matrix(weight.shape.clone().try_into().unwrap()).unwrap();
            let is_turned = matches!(matrix.form, Form::Stack { .. });
            let rows = if is_turned { turned(weight) } else { weight.clone() };
            let rows = Tensor { shape: vec![matrix.rows, matrix.cols], ..rows };
            let mut ask = Ask::new(scheme, &rows);
            ask.form = matrix.form;
            for (leaf, found) in ask.encode(&rows, None).unwrap() {
                let right = &expected[&Naming::Parameter.tensor(name, &leaf)];
                let right =
                    if is_turned && right.shape.len() == 3 { turned_stack(right) } else { right.clone() };
                assert_eq!(right.bytes, found.bytes, "{case}: {name} {leaf}");
                assert!(is_turned || right.shape == found.shape, "{case}: {name} {leaf}");
            }
            stacks.push(scheme.id());
        }
    }
    assert_eq!(stacks.len(), 12, "{stacks:?}");
}

/// What was decoded, encoded again and decoded again is the same: the values lie on the grid already. (Where a block
/// scale is subnormal they need not: those weights are left out.)
#[test]
fn decoding_and_encoding_again_changes_nothing() {
    let mut seen = 0;
    for scheme in quantscope_schemes::schemes().iter().filter(|s| s.about().can_encode) {
        for case in ["int4_block128", "nvfp4_w4a16", "mxfp8_f32"] {
            let source = read(&data(&format!("golden/{case}/source.safetensors")));
            let weight = &source["linear.weight"];
            let mut ask = Ask::new(*scheme, weight);
            ask.settings.group_size = 32;
            ask.export = FloatType::F32;
            let stored = ask.encode(weight, None).unwrap();
            let facts = Facts { declared: Some(scheme.id()), ..Facts::default() };
            let (shape, values) = decode(*scheme, &view("linear", &stored, facts), &stored).unwrap();
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let again = Tensor { dtype: quantscope_numeric::Dtype::F32, shape, bytes };
            // A global scale is that of the first encoding: the largest weight may have been rounded.
            ask.maximum = Some(floats(weight).into_iter().fold(0.0_f32, |a, v| a.max(v.abs())));
            let restored = ask.encode(&again, None).unwrap();
            let (_, twice) = decode(*scheme, &view("linear", &restored, facts), &restored).unwrap();
            let worst = values.iter().zip(&twice).map(|(a, b)| (a - b).abs() / a.abs().max(1e-30));
            let worst = worst.fold(0.0_f32, f32::max);
            assert!(worst <= 2.0 * f32::EPSILON, "{} of {case}: {worst}", scheme.id());
            seen += 1;
        }
    }
    assert_eq!(seen, 17 * 3);
}

/// Where the quotient of a single scale is rounded: to the type that the weight is exported in; and on a GPU the scale
/// is rounded to it first (`formats.md` a).
#[test]
fn a_single_scale_divides_in_the_exported_type() {
    let mut differ = 0;
    for (case, round) in [
        ("fp8_tensor_bf16", round_to_bf16 as fn(f32) -> f32),
        ("fp8_tensor_f16", round_to_f16),
        ("fp8_tensor_f32", |value| value),
    ] {
        let source = read(&data(&format!("golden/{case}/source.safetensors")));
        let weight = &source["linear.weight"];
        let values = floats(weight);
        let scale = values.iter().fold(0.0_f32, |a, v| a.max(v.abs())) / 448.0;
        let codes = |divisor: f32, round: fn(f32) -> f32| -> Vec<u8> {
            values.iter().map(|value| e4m3::encode(round(value / divisor))).collect()
        };
        let mut ask = Ask::new(by_id("fp8").unwrap(), weight);
        let cpu = ask.encode(weight, None).unwrap();
        assert_eq!(cpu["weight"].bytes, codes(scale, round), "{case}");
        ask.settings.fp8_rounding = Fp8Rounding::Cuda;
        let gpu = ask.encode(weight, None).unwrap();
        assert_eq!(gpu["weight"].bytes, codes(round(scale), round), "{case} as on a GPU");
        assert_eq!(gpu["weight_scale"].bytes, scale.to_le_bytes(), "{case}: stored unrounded");
        differ += differences(gpu["weight"].dtype, &cpu["weight"].bytes, &gpu["weight"].bytes);
        ask.settings.fp8_rounding = Fp8Rounding::Cpu;
        ask.export = FloatType::F32;
        let wide = ask.encode(weight, None).unwrap();
        assert_eq!(wide["weight"].bytes, codes(scale, |value| value), "{case} exported in F32");
    }
    assert!(differ > 0, "the two roundings are told apart by these weights");
}
