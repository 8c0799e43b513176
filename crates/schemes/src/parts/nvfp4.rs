//! What the NVFP4 schemes have in common: they differ in how block scales are chosen, in what stands beside
//! the weight, and in what a config says.

use crate::about::{About, Companion, Match, ScaleLayout};
use crate::arrangement::PackedForm;
use crate::decode::{Decoder, Refusal};
use crate::encode::{EncodeInput, EncodeSettings, Encoder, Encoding, Form, Matrix, Output, Shares};
use crate::layer::LayerView;
use crate::parts::config::Config;
use crate::parts::correction::{self, corrected};
use crate::parts::fp4::{ColumnBlocks, Factor, RowBlocks};
use crate::parts::nvfp4_encode::{BlockEncoder, Rule};
use crate::parts::nvfp4_layout::{
    BLOCK_SCALE, GLOBAL_SCALE, INPUT_SCALE, WEIGHT, logical_shape, scale_shapes, which,
};
use crate::parts::scales::input_scale;
use crate::parts::{fp4, mx_cast, mx_cast_rows, renamed};
use crate::recast::Recast;
use crate::scheme::Scheme;
use quantscope_kernels::nvfp4_quantize::Nvfp4Block;
use quantscope_numeric::Dtype;
use serde_json::{Map, Value};

/// One of the NVFP4 schemes.
pub(crate) struct Nvfp4 {
    /// Its description.
    pub(crate) about: &'static About,
    /// Weights that share a block scale.
    pub(crate) block: Nvfp4Block,
    /// How block scales are chosen; `None` if it is not written.
    pub(crate) rule: Option<Rule>,
    /// Whether files are read as this scheme: several write the same layout.
    pub(crate) is_read: bool,
    /// Whether a low-rank part belongs to it.
    pub(crate) has_low_rank: bool,
    /// What a config says of it.
    pub(crate) config: Config,
    /// Largest code and divisor of an activation scale.
    pub(crate) input: [f32; 2],
    /// Id of the scheme that takes given block maxima in its place.
    pub(crate) given: Option<&'static str>,
}

/// Activations in FP4, under scales that reach 6 * 448.
pub(crate) const FP4_INPUT: [f32; 2] = [6.0, 2688.0];
/// Activations in FP8.
pub(crate) const FP8_INPUT: [f32; 2] = [448.0, 448.0];

impl Nvfp4 {
    fn block(&self) -> u64 {
        u64::from(self.block.elems())
    }

    /// Refuses what the reference does not pack so, or what does not divide into blocks.
    fn check(&self, matrix: Matrix, rule: Rule) -> Result<(), Refusal> {
        let block = self.block();
        // The flattened K of a convolution is padded; a linear's K must fit (`formats.md` b and d).
        if matrix.form == Form::Conv3d {
            if rule == Rule::Dynamic && self.block == Nvfp4Block::Of16 {
                return Ok(());
            }
            let reason = format!("is a 3-D convolution, which is not packed as {}", self.about.id);
            return Err(Refusal::new(reason, "choose nvfp4 for it, or leave it out"));
        }
        if matrix.cols.is_multiple_of(block) {
            return Ok(());
        }
        let reason = format!("has rows of {} weights, which is no multiple of {block}", matrix.cols);
        Err(Refusal::new(reason, "leave it out"))
    }
}

impl Scheme for Nvfp4 {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let found = which(layer).filter(|(id, _)| self.is_read && *id == self.about.id);
        found.map_or(Match::No, |(_, fit)| fit)
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        logical_shape(layer, self.block())
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == GLOBAL_SCALE.leaf || leaf == INPUT_SCALE.leaf {
            return Some(vec![vec![], vec![1]]);
        }
        if leaf == BLOCK_SCALE.leaf {
            return scale_shapes(layer.weight()?.shape, self.block());
        }
        correction::legal_shapes(leaf, layer, &self.logical_shape(layer))
    }

    fn scale_layout(&self) -> ScaleLayout {
        ScaleLayout::Fp4Blocks {
            block: self.block.elems(),
            scale: BLOCK_SCALE.leaf,
            global: GLOBAL_SCALE.leaf,
        }
    }

    fn flattens_convolutions(&self) -> bool {
        self.block == Nvfp4Block::Of16
    }

    fn packed_form(&self, layer: &LayerView<'_>) -> Option<PackedForm> {
        fp4::packed_form(layer, [WEIGHT.leaf, BLOCK_SCALE.leaf], self.block()).ok()
    }

    fn can_be_arranged(&self) -> bool {
        true
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let leaves = [WEIGHT.leaf, BLOCK_SCALE.leaf, GLOBAL_SCALE.leaf];
        let shapes = layer.weight().zip(layer.get(BLOCK_SCALE.leaf));
        let down = shapes.is_some_and(|(w, s)| ColumnBlocks::fits(w.shape, s.shape, self.block()));
        let decoder: Box<dyn Decoder> = if down {
            Box::new(ColumnBlocks::new(layer, leaves, self.block())?)
        } else {
            let [weight, scale, global] = leaves;
            Box::new(RowBlocks::new(layer, [weight, scale], Factor::E4m3(global), self.block())?)
        };
        corrected(layer, decoder, self.has_low_rank)
    }

    fn encoding(&self, matrix: Matrix, _: &EncodeSettings) -> Result<Encoding, Refusal> {
        let rule = self.rule.ok_or_else(|| self.not_written())?;
        self.check(matrix, rule)?;
        let (block, blocks) = (self.block(), matrix.cols.div_ceil(self.block()));
        let output = |c: &Companion, dtype, shape| Output { leaf: c.leaf, role: c.role, dtype, shape };
        Ok(Encoding {
            outputs: vec![
                output(&WEIGHT, Dtype::U8, vec![matrix.rows, blocks.saturating_mul(block / 2)]),
                output(&BLOCK_SCALE, Dtype::F8_E4M3, vec![matrix.rows, blocks]),
                output(&GLOBAL_SCALE, Dtype::F32, vec![]),
            ],
            needs_maximum: true,
            shares: Shares::Always,
            // Without a guard the reference divides zero by zero, for the scales or for the codes.
            nan_if_zero: true,
            block: [1, self.block.elems()],
            row_unit: 1,
            column_unit: block,
        })
    }

    fn encoder(&self, input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        let rule = self.rule.ok_or_else(|| self.not_written())?;
        self.check(input.matrix, rule)?;
        Ok(Box::new(BlockEncoder::new(input, rule, self.block)))
    }

    fn recast(&self, from: &dyn Scheme, layer: &LayerView<'_>) -> Option<Result<Box<dyn Recast>, Refusal>> {
        match (self.about.id, from.id()) {
            ("nvfp4", "ct-nvfp4") => Some(renamed::to_modelopt(layer)),
            ("nvfp4" | "w4a16-nvfp4", "gpt-oss-mxfp4") => Some(mx_cast::to_nvfp4(layer)),
            ("nvfp4" | "w4a16-nvfp4", "mxfp4") => Some(mx_cast_rows::to_nvfp4(layer)),
            _ => None,
        }
    }

    fn with_given_blocks(&self) -> Option<&'static dyn Scheme> {
        crate::registry::by_id(self.given?)
    }

    fn input_scale(&self, amax: f32) -> f32 {
        let [largest_code, divisor] = self.input;
        input_scale(amax, largest_code, divisor)
    }

    fn config_fields(&self, settings: &EncodeSettings) -> Vec<(&'static str, Value)> {
        self.config.fields(settings)
    }

    fn config_group(&self, settings: &EncodeSettings, mixed: bool) -> Option<Map<String, Value>> {
        self.config.group(self.about.algos.first()?, settings, mixed)
    }
}
