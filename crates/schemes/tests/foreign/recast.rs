//! Layers taken over into another scheme's form, held against what numpy makes of them.

use crate::case::{Case, data, tensors};
use quantscope_numeric::Dtype;
use quantscope_schemes::{Lossless, Naming, Recast, by_id, recognise};
use std::collections::BTreeSet;

/// A case of taking over: the source, and what becomes of it.
fn case(name: &str) -> (Case, std::collections::BTreeMap<String, crate::case::Tensor>) {
    let stem = data("made").join(name);
    let source = Case::read(name, &stem.with_extension("source.safetensors"), &stem.with_extension("json"));
    (source, tensors(&stem.with_extension("packed.safetensors")))
}

/// Shows a layer's tensor to whoever wants to see it, in two pieces.
fn survey(case: &Case, module: &str, recast: &mut dyn Recast) {
    let Some(leaf) = recast.surveys() else { return };
    let name = case.tensors.keys().find(|n| quantscope_schemes::split_name(n) == (module, leaf)).unwrap();
    let bytes = &case.tensors[name].bytes;
    // A number is not cut.
    let middle = if bytes.len() > 8 { bytes.len() / 2 } else { bytes.len() };
    recast.survey(&bytes[..middle]);
    if middle < bytes.len() {
        recast.survey(&bytes[middle..]);
    }
}

/// The bytes of an output, in spans of so many units.
fn produced(case: &Case, module: &str, recast: &dyn Recast, output: usize, len: u64, units: u64) -> Vec<u8> {
    let step = recast.unit(output).max(1) * units;
    let mut out = Vec::new();
    let mut at = 0;
    while at < len {
        let span = at..(at + step).min(len);
        let parts: Vec<Vec<u8>> =
            recast.needs(output, span.clone()).iter().map(|slab| case.slab(module, slab).unwrap()).collect();
        let bytes = recast.produce(output, span.clone(), &parts);
        assert_eq!(bytes.len() as u64, span.end - span.start, "{module} output {output} {span:?}");
        out.extend(bytes);
        at = span.end;
    }
    out
}

/// Blocks whose values change, counted in spans of so many units of the first output.
fn inexact(case: &Case, module: &str, recast: &dyn Recast, len: u64, units: u64) -> u64 {
    let step = recast.unit(0).max(1) * units;
    let spans = (0..len.div_ceil(step)).map(|i| i * step..((i + 1) * step).min(len));
    let count = |span: std::ops::Range<u64>| {
        let parts: Vec<Vec<u8>> =
            recast.needs(0, span.clone()).iter().map(|slab| case.slab(module, slab).unwrap()).collect();
        recast.inexact(span, &parts)
    };
    spans.map(count).sum()
}

fn check(name: &str, to: &str, modules: usize) -> Vec<Option<String>> {
    let (source, expected) = case(name);
    let to = by_id(to).unwrap();
    let mut left: BTreeSet<&String> =
        expected.keys().filter(|n| !n.contains("bias") && !n.contains("norm")).collect();
    let mut losses = Vec::new();
    let quantized = source.quantized();
    assert_eq!(quantized.len(), modules, "{name}");
    for (module, found) in quantized {
        let view = source.view(module);
        let mut recast = to.recast(found.scheme, &view).unwrap().unwrap();
        survey(&source, module, recast.as_mut());
        losses.push(recast.loss());
        let told = source.about["convert"]["inexact_blocks"].as_u64();
        let codes = expected.values().find(|t| t.dtype == Dtype::U8).unwrap().bytes.len() as u64;
        for units in [1, 3, 1 << 20] {
            let found = inexact(&source, module, recast.as_ref(), codes, units);
            assert_eq!(found, told.unwrap_or(found), "{name} in spans of {units}");
        }
        let naming = if module.contains("experts.") { Naming::Parameter } else { Naming::Dotted };
        for (i, output) in recast.outputs().iter().enumerate() {
            let tensor = naming.tensor(module, output.leaf);
            let wanted = expected.get(&tensor).unwrap_or_else(|| panic!("{name}: {tensor} is not of it"));
            left.remove(&tensor);
            assert_eq!((output.dtype, &output.shape), (wanted.dtype, &wanted.shape), "{name} {tensor}");
            for units in [1, 3, 1 << 20] {
                let bytes = produced(&source, module, recast.as_ref(), i, wanted.bytes.len() as u64, units);
                assert!(bytes == wanted.bytes, "{name} {tensor} in spans of {units}");
            }
        }
    }
    assert!(left.is_empty(), "{name}: {left:?} were not made");
    losses
}

#[test]
fn compressed_tensors_and_modelopt_take_each_other_over() {
    for (name, to) in [("ct/nvfp4_to_ct_nvfp4", "ct-nvfp4"), ("ct/ct_nvfp4_to_nvfp4", "nvfp4")] {
        let losses = check(name, to, 1);
        assert!(losses.iter().all(Option::is_some), "{name}: the global scale is no power of two");
    }
}

#[test]
fn experts_in_mxfp4_become_nvfp4() {
    let losses = check("gpt_oss/to_nvfp4", "nvfp4", 2);
    assert!(losses.iter().all(Option::is_none), "{losses:?}");
    let losses = check("gpt_oss/to_nvfp4_far", "nvfp4", 2);
    assert!(losses.iter().all(Option::is_some), "{losses:?}");
}

#[test]
fn matrices_in_mxfp4_become_nvfp4() {
    for name in ["modelopt/mxfp4_to_nvfp4", "modelopt/mxfp4_to_nvfp4_far"] {
        let losses = check(name, "nvfp4", 1);
        // A block of zeros far down keeps its values, which the powers alone do not tell.
        assert!(losses.iter().all(Option::is_some), "{name}: {losses:?}");
    }
}

/// What is known before any data is seen, and what after it.
#[test]
fn losses_are_certain_only_once_the_data_were_seen() {
    for (name, to, after) in [
        ("ct/nvfp4_to_ct_nvfp4", "ct-nvfp4", Lossless::No),
        ("gpt_oss/to_nvfp4", "nvfp4", Lossless::Yes),
        ("gpt_oss/to_nvfp4_far", "nvfp4", Lossless::DataDecides),
        ("modelopt/mxfp4_to_nvfp4", "nvfp4", Lossless::DataDecides),
    ] {
        let (source, _) = case(name);
        for (module, found) in source.quantized() {
            let view = source.view(module);
            let mut recast = by_id(to).unwrap().recast(found.scheme, &view).unwrap().unwrap();
            assert_eq!(recast.lossless(), Lossless::DataDecides, "{name} {module}");
            survey(&source, module, recast.as_mut());
            assert_eq!(recast.lossless(), after, "{name} {module}");
        }
    }
}

/// As long as no power is out of reach, the cast changes no value.
#[test]
fn the_cast_keeps_every_value() {
    let (source, packed) = case("gpt_oss/to_nvfp4");
    for (module, _) in source.quantized() {
        let before = source.decoder(module).unwrap();
        let values = source.decoded(module, before.as_ref(), before.extent());
        let [codes, scales, global] =
            ["", "_weight_scale", "_weight_scale_2"].map(|leaf| &packed[&format!("{module}{leaf}")]);
        let global = f32::from_le_bytes(global.bytes.clone().try_into().unwrap());
        let &[experts, half, out] = codes.shape.as_slice() else { panic!("a stack") };
        assert_eq!(scales.dtype, Dtype::F8_E4M3);
        for e in 0..experts {
            for k in 0..half * 2 {
                for o in 0..out {
                    let byte = codes.bytes[((e * half + k / 2) * out + o) as usize];
                    let code = if k % 2 == 0 { byte & 15 } else { byte >> 4 };
                    let scale = scales.bytes[((e * half / 8 + k / 16) * out + o) as usize];
                    let value = quantscope_numeric::e2m1::decode(code)
                        * (quantscope_numeric::e4m3::decode(scale) * global);
                    assert_eq!(
                        value,
                        values[((e * half * 2 + k) * out + o) as usize],
                        "{module} {e} {k} {o}"
                    );
                }
            }
        }
    }
}

/// Padded or tiled scales, stacks, other types: refused, not taken over wrongly.
#[test]
fn what_does_not_fit_is_refused() {
    let (source, _) = case("ct/nvfp4_to_ct_nvfp4");
    let to = by_id("ct-nvfp4").unwrap();
    let from = recognise(&source.view("linear")).scheme;
    for (leaf, shape) in
        [("weight_scale", vec![16, 4]), ("weight", vec![2, 6, 32]), ("weight_scale_2", vec![6])]
    {
        let mut tensors = source.tensors.clone();
        tensors.get_mut(&format!("linear.{leaf}")).unwrap().shape = shape;
        let changed = Case::of("changed", tensors, source.about.clone());
        assert!(to.recast(from, &changed.view("linear")).unwrap().is_err(), "{leaf}");
    }
    assert!(to.recast(by_id("fp8").unwrap(), &source.view("linear")).is_none());
}
