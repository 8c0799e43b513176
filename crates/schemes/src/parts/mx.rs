//! What the OCP MX schemes have in common: codes in blocks of 32 along a row, a power of two per block.
//!
//! Source: `formats.md` a (E8M0, the MX rule of ties), e and j.

use crate::about::{About, Companion, INPUT_SCALE_LEAF, Match, Presence, Role, ScaleLayout, WEIGHT_LEAF};
use crate::decode::{Decoder, Refusal};
use crate::encode::{EncodeInput, EncodeSettings, Encoded, Encoder, Encoding, Matrix, Output, Shares};
use crate::layer::LayerView;
use crate::parts::config::Config;
use crate::parts::fp4::{Factor, RowBlocks};
use crate::parts::fp8::expect_linear;
use crate::parts::marks::is_foreign;
use crate::parts::scales::input_scale;
use crate::parts::tiles::TileDecoder;
use crate::scheme::Scheme;
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{Engine, EngineError, FloatTile, MxElement};
use quantscope_numeric::{Dtype, e4m3, e8m0};
use serde_json::{Map, Value};

/// Weights that share a scale.
pub(crate) const BLOCK: u64 = 32;
const BLOCK_SIDE: u32 = 32;

/// E2M1 codes.
pub(crate) const FP4_WEIGHT: Companion = Companion {
    leaf: WEIGHT_LEAF,
    role: Role::Weight,
    dtypes: &[Dtype::U8],
    presence: Presence::Required,
    words: "packed weight, two E2M1 codes a byte",
    shape: "[N, K/2]",
};
/// Powers of two.
pub(crate) const SCALE: Companion = Companion {
    leaf: "weight_scale",
    role: Role::WeightScale,
    dtypes: &[Dtype::U8, Dtype::F8_E8M0],
    presence: Presence::Required,
    words: "block scale, E8M0, one per 32 weights",
    shape: "[N, K/32]",
};
/// Scale of FP8 activations.
pub(crate) const INPUT_SCALE: Companion = Companion {
    leaf: INPUT_SCALE_LEAF,
    role: Role::InputScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Calibrated,
    words: "activation scale, amax / 448",
    shape: "[]",
};

/// One of the MX schemes.
pub(crate) struct Mx {
    /// Its description.
    pub(crate) about: &'static About,
    /// Type of the codes.
    pub(crate) element: MxElement,
    /// What a config says of it.
    pub(crate) config: Config,
}

/// The schemes with E2M1 codes, by id.
const FP4: &str = "mxfp4";
const FP4_STATIC_ACTIVATIONS: &str = "w4a8-mxfp4-fp8";

/// Dtype of the weight.
const fn weight_dtype(element: MxElement) -> Dtype {
    match element {
        MxElement::E2m1 => Dtype::U8,
        MxElement::E4m3 => Dtype::F8_E4M3,
    }
}

impl Mx {
    /// Whether a layer with the tensors of FP4 codes is this scheme: activation scales tell, or the config.
    fn is_this_fp4(&self, layer: &LayerView<'_>) -> bool {
        let declared = layer.facts.declared.filter(|id| [FP4, FP4_STATIC_ACTIVATIONS].contains(id));
        let calibrated = layer.has(INPUT_SCALE.leaf);
        let found = declared.unwrap_or(if calibrated { FP4_STATIC_ACTIVATIONS } else { FP4 });
        found == self.about.id
    }

    fn check(&self, matrix: Matrix) -> Result<(), Refusal> {
        expect_linear(matrix, self.about.id)?;
        if matrix.cols.is_multiple_of(BLOCK) {
            return Ok(());
        }
        let reason = format!("has rows of {} weights, which is no multiple of {BLOCK}", matrix.cols);
        Err(Refusal::new(reason, "leave it out"))
    }
}

impl Scheme for Mx {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let dtype = weight_dtype(self.element);
        let Some(weight) = layer.weight().filter(|w| w.dtype == dtype && w.rank() == 2) else {
            return Match::No;
        };
        let fp4 = self.element == MxElement::E2m1;
        if is_foreign(layer) || (fp4 && !self.is_this_fp4(layer)) {
            return Match::No;
        }
        let declared = layer.facts.declared == Some(self.about.id);
        let Some(scale) = layer.get(SCALE.leaf) else {
            return if declared && !layer.has("weight_scale_inv") { Match::Partial } else { Match::No };
        };
        // A power of two as its own type is what others write as well; then the shape must fit.
        let fits = self.legal_shapes(SCALE.leaf, layer).is_some_and(|s| s.iter().any(|s| s == scale.shape));
        match (scale.dtype, fits || declared) {
            (Dtype::U8, true) | (Dtype::F8_E8M0, true) => Match::Full,
            // Bytes of codes with bytes of scales are nothing else, whatever their shape.
            (Dtype::U8, false) if weight.rank() == scale.rank() => Match::Partial,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let mut shape = layer.weight().map(|w| w.shape.to_vec()).unwrap_or_default();
        if let Some(last) = shape.last_mut().filter(|_| self.element == MxElement::E2m1) {
            *last = last.saturating_mul(2);
        }
        shape
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == INPUT_SCALE.leaf {
            return Some(vec![vec![], vec![1]]);
        }
        let &[rows, stored] = layer.weight().filter(|_| leaf == SCALE.leaf)?.shape else { return None };
        let bytes = u64::from(self.element.block_bytes());
        Some(vec![vec![rows, stored.div_ceil(bytes)]])
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::MxBlocks { scale: SCALE.leaf }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        match self.element {
            MxElement::E2m1 => {
                let leaves = [WEIGHT_LEAF, SCALE.leaf];
                Ok(Box::new(RowBlocks::new(layer, leaves, Factor::E8m0, BLOCK)?))
            }
            MxElement::E4m3 => Ok(Box::new(TileDecoder::new(layer, WEIGHT_LEAF, SCALE.leaf, [1, BLOCK])?)),
        }
    }

    fn decodes_exactly(&self, dtype: Dtype) -> bool {
        // Two bits of a code under a power of two: BF16 has them down to 2^-133. The four bits of E4M3 reach lower.
        dtype == Dtype::F32 || (dtype == Dtype::BF16 && self.element == MxElement::E2m1)
    }

    fn encoding(&self, matrix: Matrix, _: &EncodeSettings) -> Result<Encoding, Refusal> {
        self.check(matrix)?;
        let blocks = matrix.cols / BLOCK;
        let bytes = blocks.saturating_mul(u64::from(self.element.block_bytes()));
        let (rows, dtype) = (matrix.rows, weight_dtype(self.element));
        Ok(Encoding {
            outputs: vec![
                Output { leaf: WEIGHT_LEAF, role: Role::Weight, dtype, shape: vec![rows, bytes] },
                Output { leaf: SCALE.leaf, role: SCALE.role, dtype: Dtype::U8, shape: vec![rows, blocks] },
            ],
            needs_maximum: false,
            shares: Shares::Never,
            nan_if_zero: false,
            block: [1, BLOCK_SIDE],
            row_unit: 1,
            column_unit: BLOCK,
        })
    }

    fn encoder(&self, input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        self.check(input.matrix)?;
        Ok(Box::new(MxEncoder { element: self.element, cast: input.cast }))
    }

    fn input_scale(&self, amax: f32) -> f32 {
        input_scale(amax, e4m3::MAX, e4m3::MAX)
    }

    fn config_fields(&self, settings: &EncodeSettings) -> Vec<(&'static str, Value)> {
        self.config.fields(settings)
    }

    fn config_group(&self, settings: &EncodeSettings, mixed: bool) -> Option<Map<String, Value>> {
        self.config.group(self.about.algos.first()?, settings, mixed)
    }
}

/// Makes scales and codes block by block.
struct MxEncoder {
    element: MxElement,
    cast: CodeCast,
}

impl Encoder for MxEncoder {
    fn scalars(&self) -> Vec<(&'static str, f32)> {
        Vec::new()
    }

    fn scales(&self, maxima: &[u32]) -> Vec<u8> {
        let largest = self.element.max();
        maxima.iter().map(|&bits| e8m0::encode_quotient(f32::from_bits(bits) / largest)).collect()
    }

    // A tile holds whole blocks, and a block's scale follows from its own weights: the given ones are the same.
    fn codes<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
        _first_row: u32,
        _scales: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Vec<u8>, EngineError>> {
        Box::pin(async move { Ok(self.encode(engine, tile).await?.codes) })
    }

    fn encode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
    ) -> LocalBoxFuture<'a, Result<Encoded, EngineError>> {
        Box::pin(async move {
            let blocks = u64::from(tile.rows) * u64::from(tile.cols.div_ceil(BLOCK_SIDE));
            let length = |n: u64| usize::try_from(n).unwrap_or(0);
            let bytes = blocks.saturating_mul(u64::from(self.element.block_bytes()));
            let mut encoded = Encoded { codes: vec![0; length(bytes)], scales: vec![0; length(blocks)] };
            let (codes, scales) = (&mut encoded.codes, &mut encoded.scales);
            engine.mx_encode(tile, self.element, self.cast, codes, scales).await?;
            Ok(encoded)
        })
    }
}
