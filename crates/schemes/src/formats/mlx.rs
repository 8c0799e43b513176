//! MLX: rows of codes in 32-bit words, either affine (a scale and a bias a group) or in floats of the MX and
//! NVFP4 kinds.
//!
//! Source: `formats.md` j (mlx 0.32.4). The config's section `quantization` says group size, bits and mode,
//! for the model and for modules that differ.

use crate::about::{About, Companion, Family, Match, Role, ScaleLayout};
use crate::decode::{Decoder, Refusal};
use crate::layer::{LayerView, Stored};
use crate::parts::foreign::{ABOUT, F16_FIRST, optional, required, scalar_shapes, typed};
use crate::parts::grid::{Grid, Number};
use crate::parts::rows::{Code, Outer, RowDecoder, rows_of};
use crate::parts::shapes::expect_elements;
use crate::scheme::Scheme;
use quantscope_numeric::Dtype;

/// The schemes of this file.
pub(crate) static SCHEMES: &[&dyn Scheme] = &[&AFFINE, &MXFP4, &MXFP8, &NVFP4];

const WEIGHT: Companion =
    required("weight", Role::Weight, &[Dtype::U32], "[N, K * bits / 32]", "codes, a stream of bits a row");
const SCALES: Companion =
    required("scales", Role::WeightScale, F16_FIRST, "[N, K / group]", "scale of a group, of either sign");
const BIASES: Companion =
    required("biases", Role::ZeroPoint, F16_FIRST, "[N, K / group]", "what code 0 stands for");
const BYTE_SCALES: Companion =
    required("scales", Role::WeightScale, &[Dtype::U8], "[N, K / 32]", "power of two of a block, E8M0");
const E4M3_SCALES: Companion =
    required("scales", Role::WeightScale, &[Dtype::U8], "[N, K / 16]", "scale of a block, the bits of E4M3");
const GLOBAL: Companion =
    optional("global_scale", Role::GlobalScale, &[Dtype::F32], "[]", "largest magnitude of the tensor");

const SOURCE: &str = "mlx 0.32.4";

/// How a mode's codes and scales are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Affine,
    Mxfp4,
    Mxfp8,
    Nvfp4,
}

impl Mode {
    /// Bits of a code and codes in a block, where the mode fixes them.
    const fn fixed(self) -> Option<(u64, u64)> {
        match self {
            Self::Affine => None,
            Self::Mxfp4 => Some((4, 32)),
            Self::Mxfp8 => Some((8, 32)),
            Self::Nvfp4 => Some((4, 16)),
        }
    }
}

/// One of MLX's modes.
struct Mlx {
    about: &'static About,
    /// Its name in configs.
    name: &'static str,
    mode: Mode,
}

static AFFINE: Mlx = Mlx {
    about: &About {
        id: "mlx-affine",
        place: 650,
        title: "MLX affine: 2 to 8 bits in groups, a scale and a bias each",
        family: Family::Int,
        companions: &[WEIGHT, SCALES, BIASES],
        declared_by: "`quantization` with `group_size` and `bits`",
        formula: &["w = q * scale + bias, rounded twice; scales are negative where the bias is the maximum"],
        source: SOURCE,
        ..ABOUT
    },
    name: "affine",
    mode: Mode::Affine,
};
static MXFP4: Mlx = Mlx {
    about: &About {
        id: "mlx-mxfp4",
        place: 660,
        title: "MLX MXFP4: E2M1 in blocks of 32, powers of two as scales",
        family: Family::Fp4,
        companions: &[WEIGHT, BYTE_SCALES],
        declared_by: "`quantization` with `mode` `mxfp4`",
        formula: &["w = code * 2^(scale - 127), the even column in the low nibble"],
        source: SOURCE,
        ..ABOUT
    },
    name: "mxfp4",
    mode: Mode::Mxfp4,
};
static MXFP8: Mlx = Mlx {
    about: &About {
        id: "mlx-mxfp8",
        place: 670,
        title: "MLX MXFP8: E4M3 in blocks of 32, powers of two as scales",
        family: Family::Fp8,
        companions: &[WEIGHT, BYTE_SCALES],
        declared_by: "`quantization` with `mode` `mxfp8`",
        formula: &["w = code * 2^(scale - 127)"],
        source: SOURCE,
        ..ABOUT
    },
    name: "mxfp8",
    mode: Mode::Mxfp8,
};
static NVFP4: Mlx = Mlx {
    about: &About {
        id: "mlx-nvfp4",
        place: 680,
        title: "MLX NVFP4: E2M1 in blocks of 16, E4M3 scales in bytes",
        family: Family::Fp4,
        companions: &[WEIGHT, E4M3_SCALES, GLOBAL],
        declared_by: "`quantization` with `mode` `nvfp4`",
        formula: &[
            "w = code * scale, the even column in the low nibble",
            "with a global scale g, an amax: w = code * (scale * (g / 2688))",
        ],
        source: SOURCE,
        ..ABOUT
    },
    name: "nvfp4",
    mode: Mode::Nvfp4,
};

/// Words and groups of a row.
fn widths(layer: &LayerView<'_>) -> Option<(u64, u64)> {
    let last = |t: Stored<'_>| t.shape.last().copied();
    Some((layer.weight().and_then(last)?, layer.get(SCALES.leaf).and_then(last)?))
}

impl Mlx {
    /// Bits of a code, codes in a group, and codes in a row.
    fn sizes(&self, layer: &LayerView<'_>) -> Result<(u32, u64, u64), Refusal> {
        let lacking = || Refusal::new("lacks words or scales", "restore the tensors, or export again");
        let (words, groups) = widths(layer).ok_or_else(lacking)?;
        let stated = || {
            let number = |key| layer.facts.config_number(key).filter(|&n| n > 0);
            number("bits").zip(number("group_size"))
        };
        let unknown = || {
            let remedy = "restore `quantization` in config.json, with `bits` and `group_size`";
            Refusal::new("has no group size and bits that fit its words and scales", remedy)
        };
        let (bits, group) = self.mode.fixed().or_else(stated).ok_or_else(unknown)?;
        let known = [2, 3, 4, 5, 6, 8].contains(&bits);
        let cols = groups.checked_mul(group).filter(|_| known).ok_or_else(unknown)?;
        let fits = cols.checked_mul(bits) == words.checked_mul(32);
        let bits = u32::try_from(bits).ok().filter(|_| fits).ok_or_else(unknown)?;
        Ok((bits, group, cols))
    }
}

impl Scheme for Mlx {
    fn about(&self) -> &'static About {
        self.about
    }

    fn recognise(&self, layer: &LayerView<'_>) -> Match {
        let is_codes = layer.weight().is_some_and(|w| w.dtype == Dtype::U32 && w.rank() >= 2);
        let (true, Some(scales)) = (is_codes, layer.get(SCALES.leaf)) else { return Match::No };
        let in_bytes = scales.dtype == Dtype::U8;
        if in_bytes == (self.mode == Mode::Affine) {
            return Match::No;
        }
        match (layer.facts.config_text("mode"), self.mode) {
            (_, Mode::Affine) if layer.has(BIASES.leaf) => Match::Full,
            // Another name for the biases is another project's format.
            (_, Mode::Affine) if !layer.has("qbiases") => Match::Partial,
            (Some(mode), _) if mode == self.name => Match::Full,
            // Words per scale tell the modes apart: 4, 8 and 2.
            (None, _) if self.sizes(layer).is_ok() => Match::Full,
            _ => Match::No,
        }
    }

    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        let mut shape = layer.weight().map(|t| t.shape.to_vec()).unwrap_or_default();
        if let (Some(last), Ok((_, _, cols))) = (shape.last_mut(), self.sizes(layer)) {
            *last = cols;
        }
        shape
    }

    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>> {
        if leaf == GLOBAL.leaf {
            return scalar_shapes();
        }
        if leaf != SCALES.leaf && leaf != BIASES.leaf {
            return None;
        }
        let (_, group, cols) = self.sizes(layer).ok()?;
        let mut shape = layer.weight()?.shape.to_vec();
        *shape.last_mut()? = cols / group;
        Some(vec![shape])
    }

    fn scale_layout(&self) -> ScaleLayout {
        match self.mode {
            Mode::Mxfp4 | Mode::Mxfp8 => ScaleLayout::MxBlocks { scale: SCALES.leaf },
            // The end of the larger magnitude becomes the bias, so half of the scales are negative.
            mode => ScaleLayout::Scales { scale: SCALES.leaf, signed: mode == Mode::Affine },
        }
    }

    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal> {
        let (bits, group, cols) = self.sizes(layer)?;
        let weight = typed(layer, &WEIGHT)?;
        let [rows, _] = rows_of(weight)?;
        let sides = [rows, cols];
        let (code, scales, number) = match self.mode {
            Mode::Affine => {
                let scales = typed(layer, &SCALES)?;
                (Code::unsigned(bits), scales, Number::Float(scales.dtype))
            }
            Mode::Mxfp4 => (Code::E2M1, typed(layer, &BYTE_SCALES)?, Number::E8m0),
            Mode::Mxfp8 => (Code::E4M3, typed(layer, &BYTE_SCALES)?, Number::E8m0),
            Mode::Nvfp4 => (Code::E2M1, typed(layer, &E4M3_SCALES)?, Number::Float(Dtype::F8_E4M3)),
        };
        let grid = Grid::new(scales, SCALES.leaf, number, sides, [1, group])?;
        let mut decoder = RowDecoder::new(weight, WEIGHT.leaf, code, cols, grid)?;
        if self.mode == Mode::Affine {
            let biases = typed(layer, &BIASES)?;
            let number = Number::Float(biases.dtype);
            decoder.biases = Some(Grid::new(biases, BIASES.leaf, number, sides, [1, group])?);
        } else if layer.has(GLOBAL.leaf) {
            expect_elements(typed(layer, &GLOBAL)?, Some(1))?;
            decoder.outer = Some((GLOBAL.leaf, Number::Float(Dtype::F32), Outer::Largest));
        }
        Ok(Box::new(decoder))
    }
}
