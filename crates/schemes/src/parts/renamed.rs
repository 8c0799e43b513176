//! NVFP4 between ModelOpt's names and those of compressed-tensors: codes and block scales stay byte by byte, the
//! global scales become their reciprocals.
//!
//! Source: `formats.md` j: ModelOpt's `weight_scale_2` = 1 / `weight_global_scale`, and so for activations.

use crate::about::Role;
use crate::decode::{Refusal, Slab};
use crate::encode::Output;
use crate::layer::{LayerView, Stored};
use crate::parts::bytes::scalar;
use crate::parts::shapes::{expect_elements, matrix, needed, text};
use crate::recast::{Lossless, Recast};
use quantscope_numeric::Dtype;
use std::ops::Range;

/// A tensor under another name.
struct Renamed {
    from: &'static str,
    to: &'static str,
    role: Role,
    is_inverted: bool,
}

const fn renamed(from: &'static str, to: &'static str, role: Role) -> Renamed {
    Renamed { from, to, role, is_inverted: false }
}

const fn inverted(from: &'static str, to: &'static str, role: Role) -> Renamed {
    Renamed { from, to, role, is_inverted: true }
}

/// From ModelOpt's names: weight, block scales, global scale, activation scale.
const TO_COMPRESSED: [Renamed; 4] = [
    renamed("weight", "weight_packed", Role::Weight),
    renamed("weight_scale", "weight_scale", Role::WeightScale),
    inverted("weight_scale_2", "weight_global_scale", Role::GlobalScale),
    inverted("input_scale", "input_global_scale", Role::InputScale),
];

/// The same to them.
const TO_MODELOPT: [Renamed; 4] = [
    renamed("weight_packed", "weight", Role::Weight),
    renamed("weight_scale", "weight_scale", Role::WeightScale),
    inverted("weight_global_scale", "weight_scale_2", Role::GlobalScale),
    inverted("input_global_scale", "input_scale", Role::InputScale),
];

/// Takes over a layer of compressed-tensors.
pub(crate) fn to_modelopt(layer: &LayerView<'_>) -> Result<Box<dyn Recast>, Refusal> {
    Ok(Box::new(Reciprocal::new(layer, &TO_MODELOPT, vec![])?))
}

/// Takes over a layer of ModelOpt.
pub(crate) fn to_compressed(layer: &LayerView<'_>) -> Result<Box<dyn Recast>, Refusal> {
    Ok(Box::new(Reciprocal::new(layer, &TO_COMPRESSED, vec![1])?))
}

/// Whether F32 has the reciprocal of a number: that of a power of two; any other is rounded.
fn is_reciprocal_exact(number: f32) -> bool {
    f64::from(1.0 / number) * f64::from(number) == 1.0
}

/// One layer.
struct Reciprocal {
    /// Tensors that are there, with the shape of each.
    tensors: Vec<(&'static Renamed, Dtype, Vec<u64>)>,
    /// The global scale, once it was seen.
    global: Option<f32>,
}

impl Reciprocal {
    /// `scalar` is the shape of a single number in the other form.
    fn new(layer: &LayerView<'_>, names: &'static [Renamed; 4], scalar: Vec<u64>) -> Result<Self, Refusal> {
        let [weight, scale, global, input] = names;
        let typed = |name: &Renamed, dtype: Dtype| {
            let stored = needed(layer, name.from)?;
            let wrong = || format!("has `{}` of type {}, expected {dtype}", name.from, stored.dtype);
            (stored.dtype == dtype).then_some(stored).ok_or_else(|| Refusal::new(wrong(), "export it again"))
        };
        let codes = typed(weight, Dtype::U8)?;
        let [rows, bytes] = matrix(codes)?;
        let scales = typed(scale, Dtype::F8_E4M3)?;
        if !bytes.is_multiple_of(8) || scales.shape != [rows, bytes / 8] {
            // Padded or tiled: the other form has neither.
            let reason = format!("has `{}` of shape {}", scale.from, text(scales.shape));
            return Err(Refusal::new(reason, "dequantize it first, and quantize it again"));
        }
        let one = |name: &Renamed| {
            let stored = typed(name, Dtype::F32)?;
            expect_elements(stored, Some(1)).map(|()| stored)
        };
        let whole = |stored: Stored<'_>| stored.shape.to_vec();
        one(global)?;
        let mut tensors = vec![
            (weight, Dtype::U8, whole(codes)),
            (scale, Dtype::F8_E4M3, whole(scales)),
            (global, Dtype::F32, scalar.clone()),
        ];
        if layer.has(input.from) {
            one(input)?;
            tensors.push((input, Dtype::F32, scalar));
        }
        Ok(Self { tensors, global: None })
    }
}

impl Recast for Reciprocal {
    fn outputs(&self) -> Vec<Output> {
        let output = |(name, dtype, shape): &(&'static Renamed, Dtype, Vec<u64>)| Output {
            leaf: name.to,
            role: name.role,
            dtype: *dtype,
            shape: shape.clone(),
        };
        self.tensors.iter().map(output).collect()
    }

    fn surveys(&self) -> Option<&'static str> {
        self.tensors.iter().find(|(name, ..)| name.role == Role::GlobalScale).map(|(name, ..)| name.from)
    }

    fn survey(&mut self, bytes: &[u8]) {
        self.global = Some(scalar(Dtype::F32, Some(bytes)));
    }

    fn unit(&self, output: usize) -> u64 {
        self.tensors.get(output).map_or(1, |(_, dtype, _)| dtype.bits() / 8)
    }

    fn needs(&self, output: usize, span: Range<u64>) -> Vec<Slab> {
        let Some((name, ..)) = self.tensors.get(output) else { return Vec::new() };
        vec![Slab::range(name.from, span.start, span.end.saturating_sub(span.start))]
    }

    fn produce(&self, output: usize, _: Range<u64>, parts: &[Vec<u8>]) -> Vec<u8> {
        let bytes = parts.first().cloned().unwrap_or_default();
        match self.tensors.get(output) {
            Some((name, ..)) if name.is_inverted => {
                (1.0 / scalar(Dtype::F32, Some(&bytes))).to_le_bytes().to_vec()
            }
            _ => bytes,
        }
    }

    fn lossless(&self) -> Lossless {
        match self.global {
            Some(global) if is_reciprocal_exact(global) => Lossless::Yes,
            Some(_) => Lossless::No,
            None => Lossless::DataDecides,
        }
    }

    fn loss(&self) -> Option<String> {
        let exact = self.global.is_some_and(is_reciprocal_exact);
        let words =
            "the global scale becomes its reciprocal, which F32 rounds: weights may change in the last bit";
        (!exact).then(|| words.to_string())
    }
}
