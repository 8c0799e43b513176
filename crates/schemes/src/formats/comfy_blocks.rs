//! ComfyUI's NVFP4 and MXFP8: block scales in tiles of 128 x 4, sizes padded.
//!
//! Source: `formats.md` j (comfy-kitchen 0.2.40). NVFP4 has ModelOpt's names and types but the high nibble
//! first, so reading it as ModelOpt's is wrong everywhere. Metadata tells the two apart, or the shape of the
//! scales, which are in whole tiles always; ModelOpt's own tiles come with a config that names ModelOpt.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::layer::LayerView;
use crate::parts::foreign::{ABOUT, is_method, optional, required, scalar_shapes, typed};
use crate::parts::grid::{Grid, Number, tiled_sides};
use crate::parts::rows::{Code, Outer, RowDecoder, rows_of};
use crate::parts::shapes::{expect_elements, matrix};
use crate::scheme::Scheme;
use quantscope_numeric::{Dtype, e2m1};

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&NVFP4, &MXFP8];

const PACKED: Companion =
    required("weight", Role::Weight, &[Dtype::U8], "[N, K/2]", "two E2M1 codes a byte, the even column high");
const BYTES: Companion = required("weight", Role::Weight, &[Dtype::F8_E4M3], "[N, K]", "weight, E4M3");
const E4M3_SCALE: Companion = required(
    "weight_scale",
    Role::WeightScale,
    &[Dtype::F8_E4M3],
    "[128 ceil(N/128), 4 ceil(K/64)]",
    "block scale, E4M3, in tiles of 128 x 4",
);
const E8M0_SCALE: Companion = required(
    "weight_scale",
    Role::WeightScale,
    &[Dtype::F8_E8M0, Dtype::U8],
    "[128 ceil(N/128), 4 ceil(K/128)]",
    "power of two of a block, in tiles of 128 x 4",
);
const GLOBAL: Companion =
    required("weight_scale_2", Role::GlobalScale, &[Dtype::F32], "[]", "global scale, amax / 2688");
const INPUT: Companion = optional("input_scale", Role::InputScale, &[Dtype::F32], "[]", "activation scale");
const QUANT: Companion =
    optional("comfy_quant", Role::Layout, &[Dtype::U8], "[bytes]", "the layer's format, as JSON");

const DECLARED: &str = "`_quantization_metadata` of the header, or a tensor `comfy_quant`";
const SOURCE: &str = "comfy-kitchen 0.2.40";

/// One of the two.
struct ComfyBlocks {
    about: &'static About,
    /// Its name in metadata.
    format: &'static str,
    weight: Companion,
    scale: Companion,
    /// Weights under one scale.
    block: u64,
    /// Codes in an element of the weight.
    per_element: u64,
}

static NVFP4: ComfyBlocks = ComfyBlocks {
    about: &About {
        id: "comfy-nvfp4",
        place: 710,
        title: "ComfyUI NVFP4: E2M1 with the high nibble first, E4M3 scales in tiles",
        family: Family::Fp4,
        companions: &[PACKED, E4M3_SCALE, GLOBAL, INPUT, QUANT],
        declared_by: DECLARED,
        formula: &[
            "N and K are padded to multiples of 16",
            "scale (r, c) lies at ((r / 128) * (C / 4) + c / 4) * 512 + (r % 32) * 16 + (r % 128) / 32 * 4 + c % 4",
            "w = code * (weight_scale * weight_scale_2)",
        ],
        source: SOURCE,
        ..ABOUT
    },
    format: "nvfp4",
    weight: PACKED,
    scale: E4M3_SCALE,
    block: 16,
    per_element: 2,
};

static MXFP8: ComfyBlocks = ComfyBlocks {
    about: &About {
        id: "comfy-mxfp8",
        place: 720,
        title: "ComfyUI MXFP8: E4M3 in blocks of 32, powers of two in tiles",
        family: Family::Fp8,
        companions: &[BYTES, E8M0_SCALE, INPUT, QUANT],
        declared_by: DECLARED,
        formula: &[
            "scale (r, c) lies at ((r / 128) * (C / 4) + c / 4) * 512 + (r % 32) * 16 + (r % 128) / 32 * 4 + c % 4",
            "w = code * 2^(weight_scale - 127)",
        ],
        source: SOURCE,
        ..ABOUT
    },
    format: "mxfp8",
    weight: BYTES,
    scale: E8M0_SCALE,
    block: 32,
    per_element: 1,
};

impl ComfyBlocks {
    /// Rows and columns of weights, padding included.
    fn sides(&self, layer: &LayerView<'_>) -> Option<[u64; 2]> {
        let [rows, elements] = matrix(layer.weight()?).ok()?;
        Some([rows, elements.checked_mul(self.per_element)?])
    }

    /// Whether scales of this shape can only be tiles: padded further than rows and columns side by side.
    fn is_tiled(&self, layer: &LayerView<'_>) -> bool {
        let Some([rows, cols]) = self.sides(layer) else { return false };
        let tiles = tiled_sides([rows, cols], self.block);
        let shape = layer.get(self.scale.leaf).map(|s| s.shape);
        // ComfyUI pads both sides to 16; sizes that are not so come from elsewhere.
        let padded = rows.is_multiple_of(16) && cols.is_multiple_of(16);
        padded && shape == Some(&tiles) && tiles != [rows, cols.div_ceil(self.block)]
    }
}

impl Scheme for ComfyBlocks {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let fits =
            |c: &Companion| layer.get(c.leaf).is_some_and(|t| c.dtypes.contains(&t.dtype) && t.rank() == 2);
        if !fits(&self.weight) || !fits(&self.scale) {
            return Match::No;
        }
        // ModelOpt writes tiles too, and names its layers in the same metadata.
        if is_method(layer, "modelopt") || layer.facts.declared.is_some() {
            return Match::No;
        }
        let said = layer.facts.descriptor_text("format").map(|format| format == self.format);
        let complete = self.per_element == 1 || layer.has(GLOBAL.leaf);
        match (said, complete) {
            (Some(true), true) => Match::Certain,
            (Some(true), false) => Match::Partial,
            (None, true) if self.is_tiled(layer) => Match::Certain,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        self.sides(layer).map_or_else(Vec::new, |sides| sides.to_vec())
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        match leaf {
            "weight_scale" => Some(vec![tiled_sides(self.sides(layer)?, self.block).to_vec()]),
            "weight_scale_2" | "input_scale" => scalar_shapes(),
            _ => None,
        }
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: self.scale.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let weight = typed(layer, &self.weight)?;
        let [rows, elements] = rows_of(weight)?;
        let cols = elements.saturating_mul(self.per_element);
        let nibbles = Code { bits: 4, is_high_first: true, value: e2m1::decode };
        let (code, number) = match self.per_element {
            2 => (nibbles, Number::Float(Dtype::F8_E4M3)),
            _ => (Code::E4M3, Number::E8m0),
        };
        let scale = typed(layer, &self.scale)?;
        let grid = Grid::tiled(scale, self.scale.leaf, number, [rows, cols], self.block)?;
        let mut decoder = RowDecoder::new(weight, self.weight.leaf, code, cols, grid)?;
        if self.per_element == 2 {
            expect_elements(typed(layer, &GLOBAL)?, Some(1))?;
            decoder.outer = Some((GLOBAL.leaf, Number::Float(Dtype::F32), Outer::Times));
        }
        Ok(Box::new(decoder))
    }
}
