//! Integer codes against layers that ModelOpt 0.47.0 made, and E5M2 against its definition.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use quantscope_numeric::{Dtype, e5m2, int4, int8, widen};
use safetensors::SafeTensors;
use wasm_bindgen_test::wasm_bindgen_test;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Columns of a layer's weight, its values, codes and scales.
struct Layer {
    cols: usize,
    weights: Vec<f32>,
    codes: Vec<u8>,
    scales: Vec<f32>,
}

impl Layer {
    fn read(source: &[u8], expected: &[u8]) -> Self {
        let (source, expected) =
            (SafeTensors::deserialize(source).unwrap(), SafeTensors::deserialize(expected).unwrap());
        let weight = source.tensor("linear.weight").unwrap();
        let (mut weights, mut scales) = (Vec::new(), Vec::new());
        let dtype = Dtype::from_tag(&format!("{:?}", weight.dtype())).unwrap();
        widen(dtype, weight.data(), &mut weights);
        widen(Dtype::F32, expected.tensor("linear.weight_scale").unwrap().data(), &mut scales);
        let codes = expected.tensor("linear.weight").unwrap().data().to_vec();
        assert!(!weights.is_empty() && !scales.is_empty());
        Self { cols: weight.shape()[1], weights, codes, scales }
    }

    /// The weight divided by its scale; scales lie evenly over the weight.
    fn quotient(&self, at: usize) -> f32 {
        self.weights[at] / self.scales[at / (self.weights.len() / self.scales.len())]
    }
}

macro_rules! layer {
    ($name:literal) => {
        Layer::read(
            include_bytes!(concat!("../../../tests/data/golden/", $name, "/source.safetensors")),
            include_bytes!(concat!("../../../tests/data/golden/", $name, "/expected.safetensors")),
        )
    };
}

#[wasm_bindgen_test(unsupported = test)]
fn int8_codes_are_modelopts() {
    for layer in [layer!("int8_sq"), layer!("int8_wo"), layer!("int8_wo_f16_tiny")] {
        assert_eq!(layer.codes.len(), layer.weights.len());
        for (at, code) in layer.codes.iter().enumerate() {
            assert_eq!(int8::encode(layer.quotient(at)), code.cast_signed(), "element {at}");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn int4_codes_are_modelopts() {
    for layer in [layer!("int4_block32"), layer!("int4_block128"), layer!("w4a8_awq_max")] {
        assert_eq!(layer.codes.len() * 2, layer.weights.len());
        for (at, &byte) in layer.codes.iter().enumerate() {
            let even = at / layer.cols * 2 * layer.cols + at % layer.cols;
            let codes = [even, even + layer.cols].map(|at| int4::encode(layer.quotient(at)));
            assert_eq!(int4::pack(codes[0], codes[1]), byte, "byte {at}");
            assert_eq!(int4::unpack(byte), (codes[0], codes[1]));
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn int4_values_are_twos_complement() {
    let values: Vec<i8> = (0..16).map(int4::decode).collect();
    assert_eq!(values, [0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1]);
    for value in -8_i8..8 {
        assert_eq!(int4::decode(int4::encode(f32::from(value))), value);
    }
    assert_eq!(
        [int4::encode(f32::NAN), int4::encode(f32::INFINITY), int4::encode(f32::NEG_INFINITY)],
        [0, 7, 8]
    );
    assert_eq!(
        [int8::encode(f32::NAN), int8::encode(f32::INFINITY), int8::encode(f32::NEG_INFINITY)],
        [0, 127, -128]
    );
}

/// Sign, five bits of exponent, two of mantissa, read as the standard says.
#[wasm_bindgen_test(unsupported = test)]
fn e5m2_is_its_definition() {
    for byte in 0..=255_u8 {
        let (exponent, mantissa) = (i32::from(byte >> 2 & 0x1f), f64::from(byte & 3));
        let magnitude = match exponent {
            31 if mantissa == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            0 => mantissa / 4.0 * 2.0_f64.powi(-14),
            e => (1.0 + mantissa / 4.0) * 2.0_f64.powi(e - 15),
        };
        let expected = if byte & 0x80 == 0 { magnitude } else { -magnitude };
        let found = f64::from(e5m2::decode(byte));
        assert!(
            found == expected || found.is_nan() && expected.is_nan(),
            "{byte:#04x}: {found} is not {expected}"
        );
        assert_eq!(found.is_sign_negative(), byte & 0x80 != 0, "{byte:#04x}");
    }
}
