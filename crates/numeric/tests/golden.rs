//! The codecs against tables and layers that ModelOpt 0.47.0 on torch 2.15 made, natively and in a browser.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use quantscope_numeric::{
    bf16, e2m1, e4m3, e8m0, f16, f32_bits_from_bf16, f32_bits_from_f16, round_to_bf16, round_to_f16,
};
use safetensors::SafeTensors;
use wasm_bindgen_test::wasm_bindgen_test;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

const TABLES: &[u8] = include_bytes!("../../../tests/data/golden/tables/numeric_tables.safetensors");

/// The bytes of a tensor, which must have `count` elements.
fn bytes(file: &[u8], name: &str, count: usize) -> Vec<u8> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    assert_eq!(tensor.shape().iter().product::<usize>(), count, "{name}");
    tensor.data().to_vec()
}

fn words(file: &[u8], name: &str, count: usize) -> Vec<u32> {
    bytes(file, name, count).chunks_exact(4).map(|c| u32::from_le_bytes(c.try_into().unwrap())).collect()
}

/// Every difference between the table and `ours`, with its index, both codes and what was encoded.
fn compare_codes(table: &[u8], ours: impl Fn(usize) -> u8, input: impl Fn(usize) -> f32) -> Vec<String> {
    let mut wrong = Vec::new();
    for (i, &expected) in table.iter().enumerate() {
        let found = ours(i);
        if found != expected {
            wrong.push(format!("[{i}] {:e}: expected {expected:#04x}, found {found:#04x}", input(i)));
        }
    }
    wrong
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_file_holds_no_table_that_no_test_reads() {
    let tensors = SafeTensors::deserialize(TABLES).unwrap();
    let mut names = tensors.names();
    names.sort_unstable();
    let read = [
        "e2m1_code_mxfp4",
        "e2m1_code_nvfp4",
        "e2m1_ratio",
        "e4m3_from_bf16",
        "e4m3_from_f16",
        "e4m3_from_f32_probe",
        "e8m0_to_f32",
        "f32_from_e4m3",
        "f32_probe",
    ];
    assert_eq!(names, read);
}

#[wasm_bindgen_test(unsupported = test)]
fn e2m1_codes_of_ratios_round_every_boundary() {
    let ratios = words(TABLES, "e2m1_ratio", 154);
    let ratio = |i: usize| f32::from_bits(ratios[i]);
    let nvfp4 = bytes(TABLES, "e2m1_code_nvfp4", 154);
    let mx = bytes(TABLES, "e2m1_code_mxfp4", 154);
    assert_none(&compare_codes(&nvfp4, |i| e2m1::encode_nvfp4(ratio(i)), ratio));
    assert_none(&compare_codes(&mx, |i| e2m1::encode_mx(ratio(i)), ratio));
    // The comparison sees one flipped code, and one rule in place of the other.
    let mut flipped = nvfp4.clone();
    flipped[77] ^= 1;
    assert_eq!(compare_codes(&flipped, |i| e2m1::encode_nvfp4(ratio(i)), ratio).len(), 1);
    assert!(!compare_codes(&nvfp4, |i| e2m1::encode_mx(ratio(i)), ratio).is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn e4m3_of_every_bf16_and_f16() {
    let table = bytes(TABLES, "e4m3_from_bf16", 65_536);
    let value = |i: usize| bf16::from_bits(u16::try_from(i).unwrap()).to_f32();
    assert_none(&compare_codes(&table, |i| e4m3::encode(value(i)), value));
    let table = bytes(TABLES, "e4m3_from_f16", 65_536);
    let value = |i: usize| f16::from_bits(u16::try_from(i).unwrap()).to_f32();
    assert_none(&compare_codes(&table, |i| e4m3::encode(value(i)), value));
}

#[wasm_bindgen_test(unsupported = test)]
fn e4m3_of_f32_probes_at_the_midpoints() {
    let probes = words(TABLES, "f32_probe", 389);
    let probe = |i: usize| f32::from_bits(probes[i]);
    let table = bytes(TABLES, "e4m3_from_f32_probe", 389);
    assert_none(&compare_codes(&table, |i| e4m3::encode(probe(i)), probe));
}

#[wasm_bindgen_test(unsupported = test)]
fn decoding_every_e4m3_and_e8m0_byte() {
    let e4m3_table = words(TABLES, "f32_from_e4m3", 256);
    let e8m0_table = words(TABLES, "e8m0_to_f32", 256);
    for byte in 0..=255_u8 {
        for (table, found) in [(&e4m3_table, e4m3::decode(byte)), (&e8m0_table, e8m0::decode(byte))] {
            let expected = f32::from_bits(table[usize::from(byte)]);
            if std::ptr::eq(table, &e8m0_table) && byte == 255 {
                // The one forgiven difference: the reference computes 2^128, OCP MX 1.0 says NaN.
                // It never writes this byte.
                assert!(expected.is_infinite() && found.is_nan());
            } else if expected.is_nan() {
                assert!(found.is_nan(), "{byte:#04x}: expected NaN, found {found:e}");
            } else {
                assert_eq!(found.to_bits(), expected.to_bits(), "{byte:#04x}: {found:e}, {expected:e}");
            }
        }
        assert_eq!(e4m3::is_nan(byte), e4m3::decode(byte).is_nan(), "{byte:#04x}");
    }
    assert_eq!(e4m3::decode(0x7e), e4m3::MAX);
    assert_eq!(e4m3::decode(0x01), e4m3::MIN_POSITIVE);
}

/// An MX layer made by ModelOpt.
struct MxLayer {
    source: &'static [u8],
    is_bf16: bool,
    expected: &'static [u8],
    elements: usize,
    is_fp4: bool,
}

macro_rules! mx_layer {
    ($name:literal, bf16: $bf16:literal, elements: $n:literal, fp4: $fp4:literal) => {
        MxLayer {
            source: include_bytes!(concat!("../../../tests/data/golden/", $name, "/source.safetensors")),
            is_bf16: $bf16,
            expected: include_bytes!(concat!("../../../tests/data/golden/", $name, "/expected.safetensors")),
            elements: $n,
            is_fp4: $fp4,
        }
    };
}

#[wasm_bindgen_test(unsupported = test)]
fn e8m0_scales_and_codes_of_mx_layers() {
    let layers = [
        mx_layer!("mxfp4", bf16: true, elements: 768, fp4: true),
        mx_layer!("mxfp4_f32", bf16: false, elements: 512, fp4: true),
        mx_layer!("mxfp4_ties", bf16: true, elements: 64, fp4: true),
        mx_layer!("mxfp8", bf16: true, elements: 768, fp4: false),
        mx_layer!("mxfp8_f32", bf16: false, elements: 512, fp4: false),
        mx_layer!("mxfp8_log2_edges", bf16: false, elements: 224, fp4: false),
    ];
    for layer in layers {
        let n = layer.elements;
        let raw = bytes(layer.source, "linear.weight", n);
        let weight: Vec<f32> = if layer.is_bf16 {
            raw.chunks_exact(2).map(|c| bf16::from_le_bytes(c.try_into().unwrap()).to_f32()).collect()
        } else {
            raw.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
        };
        let scales = bytes(layer.expected, "linear.weight_scale", n / 32);
        let codes = bytes(layer.expected, "linear.weight", if layer.is_fp4 { n / 2 } else { n });
        let largest = if layer.is_fp4 { 6.0 } else { e4m3::MAX };
        for (b, block) in weight.chunks_exact(32).enumerate() {
            let amax = block.iter().fold(0.0_f32, |a, w| a.max(w.abs()));
            let scale = e8m0::encode_quotient(amax / largest);
            assert_eq!(scale, scales[b], "block {b}: amax {amax:e}");
            for (i, w) in block.iter().enumerate() {
                let at = b * 32 + i;
                let ratio = w / e8m0::decode(scale);
                let (found, expected) = if layer.is_fp4 {
                    let (even, odd) = e2m1::unpack(codes[at / 2]);
                    (e2m1::encode_mx(ratio), if at % 2 == 0 { even } else { odd })
                } else {
                    (e4m3::encode(ratio.clamp(-448.0, 448.0)), codes[at])
                };
                assert_eq!(found, expected, "element {at}: {w:e} under scale byte {scale}");
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn widening_equals_the_half_crate_and_keeps_the_order() {
    let mut below = 0;
    for bits in 0..=u16::MAX {
        let (ours, theirs) = (f32_bits_from_bf16(bits), bf16::from_bits(bits));
        if theirs.is_nan() {
            assert!(f32::from_bits(ours).is_nan(), "{bits:#06x}");
        } else {
            assert_eq!(ours, theirs.to_f32().to_bits(), "{bits:#06x}");
        }
        let (ours, theirs) = (f32_bits_from_f16(bits), f16::from_bits(bits));
        if theirs.is_nan() {
            assert!(f32::from_bits(ours).is_nan(), "{bits:#06x}");
        } else {
            assert_eq!(ours, theirs.to_f32().to_bits(), "{bits:#06x}");
        }
        if bits & 0x7fff != 0 {
            assert!(ours & 0x7fff_ffff > below, "{bits:#06x}");
        }
        below = ours & 0x7fff_ffff;
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn rounding_goes_to_the_nearest_and_ties_to_even() {
    // Around every finite value of the narrow type: the midpoint above it, and that midpoint's neighbours.
    type Widen = fn(u16) -> u32;
    type Round = fn(f32) -> f32;
    let formats: [(Widen, Round, u16); 2] =
        [(f32_bits_from_bf16, round_to_bf16, 0x7f7f), (f32_bits_from_f16, round_to_f16, 0x7bff)];
    for (widen, round, largest) in formats {
        for bits in 0..largest {
            let (here, above) = (widen(bits), widen(bits + 1));
            let middle = f32::midpoint(f32::from_bits(here), f32::from_bits(above));
            assert_eq!(round(middle).to_bits(), widen(bits + (bits & 1)), "{bits:#06x}");
            assert_eq!(round(middle.next_down()).to_bits(), here, "{bits:#06x}");
            assert_eq!(round(middle.next_up()).to_bits(), above, "{bits:#06x}");
            assert_eq!(round(-middle), -round(middle), "{bits:#06x}");
        }
    }
    assert_eq!(round_to_f16(65_519.0), 65_504.0);
    assert_eq!(round_to_f16(-65_520.0), f32::NEG_INFINITY);
    // Any pattern, infinities and NaN of both signs included, as the half crate rounds it.
    for bits in (0..=u32::MAX).step_by(0x3fff).chain([0x7f7f_ffff, 0x7f80_0000, 0x7f80_0001, 0xffff_ffff]) {
        let value = f32::from_bits(bits);
        assert_eq!(round_to_bf16(value).to_bits(), bf16::from_f32(value).to_f32().to_bits(), "{bits:#010x}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn packing_puts_the_even_column_low() {
    assert_eq!(e2m1::pack(0x3, 0xc), 0xc3);
    for byte in 0..=255 {
        let (even, odd) = e2m1::unpack(byte);
        assert_eq!(e2m1::pack(even, odd), byte);
    }
    // Decoding agrees with the magnitudes, the sign in bit 3.
    for code in 0..16_u8 {
        let sign = if code < 8 { 1.0 } else { -1.0 };
        assert_eq!(e2m1::decode(code), sign * e2m1::MAGNITUDES[usize::from(code & 7)]);
    }
}
