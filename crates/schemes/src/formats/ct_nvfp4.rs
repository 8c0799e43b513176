//! NVFP4 of compressed-tensors: ModelOpt's codes and block scales under other names, the global scales as
//! divisors.
//!
//! Source: `formats.md` j (compressed-tensors 0.20.0, `nvfp4-pack-quantized`). `weight_global_scale` is
//! 2688 / amax, of shape `[1]`; ModelOpt's `weight_scale_2` is its reciprocal.

use crate::about::{About, Companion, Family, Match, Presence, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::encode::Activations;
use crate::layer::LayerView;
use crate::parts::foreign::{ABOUT, misfit, optional, required, scalar_shapes, typed};
use crate::parts::grid::{Grid, Number};
use crate::parts::groups::is_declared;
use crate::parts::renamed::to_compressed;
use crate::parts::rows::{Code, Outer, RowDecoder, rows_of};
use crate::parts::shapes::expect_elements;
use crate::recast::Recast;
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&CtNvfp4];

/// The packed codes.
pub(crate) const PACKED: Companion = required(
    "weight_packed",
    Role::Weight,
    &[Dtype::U8],
    "[N, K/2]",
    "two E2M1 codes a byte, the even column in the low nibble",
);
/// The block scales.
pub(crate) const SCALE: Companion = required(
    "weight_scale",
    Role::WeightScale,
    &[Dtype::F8_E4M3],
    "[N, K/16]",
    "block scale, E4M3, one per 16 weights",
);
/// The divisor of the block scales.
pub(crate) const GLOBAL: Companion = required(
    "weight_global_scale",
    Role::GlobalScale,
    &[Dtype::F32],
    "[1]",
    "global scale, a divisor: 2688 / amax",
);
/// The same for activations.
pub(crate) const INPUT: Companion = Companion {
    presence: Presence::Calibrated,
    ..optional(
        "input_global_scale",
        Role::InputScale,
        &[Dtype::F32],
        "[1]",
        "activation scale, a divisor: 2688 / amax",
    )
};

/// Codes under a scale.
const BLOCK: u64 = 16;

/// A pattern that ends with `*` as compressed-tensors takes it: it knows exact names and expressions after `re:`.
fn regex(pattern: &str) -> String {
    let Some(prefix) = pattern.strip_suffix('*') else { return pattern.to_string() };
    format!("re:^{}.*", prefix.replace('.', "\\."))
}

/// NVFP4 as compressed-tensors stores it.
pub(crate) struct CtNvfp4;

impl Scheme for CtNvfp4 {
    fn about(&self) -> &'static About {
        const CT_NVFP4: About = About {
            id: "ct-nvfp4",
            place: 550,
            title: "compressed-tensors NVFP4: as NVFP4, the global scale a divisor",
            family: Family::Fp4,
            companions: &[PACKED, SCALE, GLOBAL, INPUT],
            declared_by: "`quant_method` `compressed-tensors`, `format` `nvfp4-pack-quantized`",
            quantizes_activations: true,
            formula: &[
                "weight_global_scale = 2688 / amax",
                "w = code * (weight_scale / weight_global_scale)",
            ],
            source: "compressed-tensors 0.20.0",
            ..ABOUT
        };
        &CT_NVFP4
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let has = |c: &Companion| layer.get(c.leaf).is_some_and(|t| c.dtypes.contains(&t.dtype));
        match (has(&PACKED), has(&SCALE), layer.has(GLOBAL.leaf)) {
            (true, true, true) if is_declared(layer) => Match::Certain,
            (true, true, true) => Match::Full,
            (true, true, false) | (true, false, true) => Match::Partial,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let mut shape = layer.get(PACKED.leaf).map(|t| t.shape.to_vec()).unwrap_or_default();
        if let Some(last) = shape.last_mut() {
            *last = last.saturating_mul(2);
        }
        shape
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == GLOBAL.leaf || leaf == INPUT.leaf {
            return scalar_shapes().map(|shapes| shapes.into_iter().rev().collect());
        }
        let mut shape = self.logical_shape(layer);
        let last = shape.last_mut()?;
        *last = last.div_ceil(BLOCK);
        (leaf == SCALE.leaf).then(|| vec![shape])
    }

    fn global_scale_divides(&self) -> bool {
        true
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Fp4Blocks { block: 16, scale: SCALE.leaf, global: GLOBAL.leaf }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let packed = typed(layer, &PACKED)?;
        let [rows, bytes] = rows_of(packed)?;
        let cols = bytes.checked_mul(2).ok_or_else(|| misfit(packed, "a matrix of a countable size"))?;
        expect_elements(typed(layer, &GLOBAL)?, Some(1))?;
        let number = Number::Float(Dtype::F8_E4M3);
        let grid = Grid::new(typed(layer, &SCALE)?, SCALE.leaf, number, [rows, cols], [1, BLOCK])?;
        let mut decoder = RowDecoder::new(packed, PACKED.leaf, Code::E2M1, cols, grid)?;
        decoder.outer = Some((GLOBAL.leaf, Number::Float(Dtype::F32), Outer::Divide));
        Ok(Box::new(decoder))
    }

    fn recast(&self, from: &dyn Scheme, layer: &LayerView<'_>) -> Option<Result<Box<dyn Recast>, Refusal>> {
        // What has no activation scale is recognised as weight-only, whatever it was made for.
        ["nvfp4", "w4a16-nvfp4"].contains(&from.id()).then(|| to_compressed(layer))
    }

    fn own_config(&self, kept: &[String], _: &Value, layers: &[(&str, Activations)]) -> Option<Value> {
        let numbers = |dynamic: Value| {
            json!({
                "num_bits": 4,
                "type": "float",
                "strategy": "tensor_group",
                "group_size": BLOCK,
                "symmetric": true,
                "dynamic": dynamic,
            })
        };
        let mut by_activations: BTreeMap<Activations, Vec<&str>> = BTreeMap::new();
        for (module, activations) in layers {
            by_activations.entry(*activations).or_default().push(module);
        }
        let is_mixed = by_activations.len() > 1;
        let group = |(i, (activations, modules)): (usize, (Activations, Vec<&str>))| {
            // Names where a class would mean others as well.
            let targets = if is_mixed { json!(modules) } else { json!(["Linear"]) };
            let mut group = json!({"targets": targets, "weights": numbers(Value::Bool(false))});
            // A stored scale is that of the tensor, the scales of its blocks are found as they come; without one both.
            let dynamic = match activations {
                Activations::Static => Some(json!("local")),
                Activations::Dynamic => Some(json!(true)),
                Activations::Kept => None,
            };
            if let (Some(dynamic), Some(fields)) = (dynamic, group.as_object_mut()) {
                fields.insert("input_activations".into(), numbers(dynamic));
            }
            (format!("group_{i}"), group)
        };
        let groups: Map<String, Value> = by_activations.into_iter().enumerate().map(group).collect();
        Some(json!({
            "quant_method": "compressed-tensors",
            "format": "nvfp4-pack-quantized",
            "quantization_status": "compressed",
            "config_groups": groups,
            "ignore": kept.iter().map(|pattern| regex(pattern)).collect::<Vec<_>>(),
        }))
    }
}
