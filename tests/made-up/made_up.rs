//! A scheme that nobody uses: bytes around 128, with one step for the tensor. It stands here, outside the
//! folder of the real ones, to show that a scheme is one file: nothing else in the project names it.

use crate::about::{About, Companion, Family, Match, Presence, Role, ScaleLayout, WEIGHT_LEAF};
use crate::decode::{Decoder, Refusal, Region, Slab};
use crate::encode::{EncodeInput, EncodeSettings, Encoded, Encoder, Encoding, Matrix, Output, Shares};
use crate::layer::LayerView;
use crate::parts::bytes::{part, scalar};
use crate::parts::shapes::{expect_elements, matrix, needed};
use crate::scheme::Scheme;
use futures_util::future::{LocalBoxFuture, ready};
use quantscope_kernels::{Engine, EngineError, FloatTile, FloatType};
use quantscope_numeric::{Dtype, widen};

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&MadeUp];

const WEIGHT: Companion = Companion {
    leaf: WEIGHT_LEAF,
    role: Role::Weight,
    dtypes: &[Dtype::U8],
    presence: Presence::Required,
    words: "weight in steps, 128 stands for zero",
    shape: "[N, K]",
};
const STEP: Companion = Companion {
    leaf: "weight_step",
    role: Role::WeightScale,
    dtypes: &[Dtype::F32],
    presence: Presence::Required,
    words: "step, amax / 127",
    shape: "[]",
};

struct MadeUp;

impl Scheme for MadeUp {
    fn about(&self) -> &'static About {
        const ABOUT: About = About {
            id: "made-up",
            place: 800,
            title: "Bytes around 128, one step for the tensor",
            family: Family::Int,
            companions: &[WEIGHT, STEP],
            algos: &["MADE_UP"],
            declared_by: "",
            quantizes_activations: false,
            can_encode: true,
            formula: &["weight_step = amax / 127", "code = 128 + round(w / weight_step)"],
            source: "a test of this project",
        };
        &ABOUT
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let bytes = layer.weight().is_some_and(|w| w.dtype == Dtype::U8 && w.rank() == 2);
        match (bytes, layer.has(STEP.leaf), layer.facts.declared == Some("made-up")) {
            (true, true, _) => Match::Full,
            (true, false, true) => Match::Partial,
            _ => Match::No,
        }
    }

    fn legal_shapes(&self, leaf: &str, _: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        (leaf == STEP.leaf).then(|| vec![vec![]])
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Scales { scale: STEP.leaf, signed: false }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        expect_elements(needed(layer, STEP.leaf)?, Some(1))?;
        Ok(Box::new(Steps { sides: matrix(needed(layer, WEIGHT.leaf)?)? }))
    }

    fn encoding(&self, matrix: Matrix, _: &EncodeSettings) -> Result<Encoding, Refusal> {
        let output = |c: &Companion, dtype, shape| Output { leaf: c.leaf, role: c.role, dtype, shape };
        Ok(Encoding {
            outputs: vec![
                output(&WEIGHT, Dtype::U8, vec![matrix.rows, matrix.cols]),
                output(&STEP, Dtype::F32, vec![]),
            ],
            needs_maximum: true,
            shares: Shares::Never,
            nan_if_zero: true,
            block: [u32::MAX, u32::MAX],
            row_unit: 1,
            column_unit: 1,
        })
    }

    fn encoder(&self, input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        Ok(Box::new(Stepper { step: input.maximum / 127.0 }))
    }
}

struct Steps {
    sides: [u64; 2],
}

impl Decoder for Steps {
    fn shape(&self) -> Vec<u64> {
        self.sides.to_vec()
    }

    fn extent(&self) -> [u64; 2] {
        self.sides
    }

    fn needs(&self, region: &Region) -> Vec<Slab> {
        vec![
            Slab::rectangle(WEIGHT.leaf, self.sides[1], region.rows.clone(), region.cols.clone()),
            Slab::range(STEP.leaf, 0, 4),
        ]
    }

    fn decode<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        _region: &'a Region,
        parts: &'a [Vec<u8>],
        out: &'a mut Vec<f32>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        let step = scalar(Dtype::F32, parts.get(1).map(Vec::as_slice));
        out.extend(part(parts, 0).iter().map(|&code| (f32::from(code) - 128.0) * step));
        Box::pin(ready(Ok(())))
    }
}

struct Stepper {
    step: f32,
}

impl Encoder for Stepper {
    fn scalars(&self) -> Vec<(&'static str, f32)> {
        vec![(STEP.leaf, self.step)]
    }

    fn scales(&self, _maxima: &[u32]) -> Vec<u8> {
        Vec::new()
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 255, and saturating beyond"
    )]
    fn codes<'a>(
        &'a self,
        _engine: &'a dyn Engine,
        tile: FloatTile<'a>,
        _first_row: u32,
        _scales: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Vec<u8>, EngineError>> {
        let dtype = match tile.dtype {
            FloatType::F32 => Dtype::F32,
            FloatType::Bf16 => Dtype::BF16,
            FloatType::F16 => Dtype::F16,
        };
        let mut values = Vec::new();
        widen(dtype, tile.bytes, &mut values);
        let codes = values.iter().map(|v| (128.0 + (v / self.step).round_ties_even()) as u8).collect();
        Box::pin(ready(Ok(codes)))
    }

    fn encode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
    ) -> LocalBoxFuture<'a, Result<Encoded, EngineError>> {
        Box::pin(
            async move { Ok(Encoded { codes: self.codes(engine, tile, 0, &[]).await?, scales: Vec::new() }) },
        )
    }
}
