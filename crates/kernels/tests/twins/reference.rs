//! The kernels once more, written as the specification says them: a division per element, a count per
//! value. Slow, and with no part of the engines in it.

use super::{block_absmax, error_metrics, nvfp4_encode, nvfp4_search, reference_codes};
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::error_metrics::ErrorMetrics;
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table, ScaleRange, ScaleRule};
use quantscope_kernels::nvfp4_search::ScaleSearch;
use quantscope_kernels::{
    AbsMax, ByteCensus, Engine, EngineError, EngineKind, FloatTile, FloatType, Fp4DecodeTable, Fp4Tile,
    Fp8Census, Fp8Rule, Fp8Tile, MxElement, NONE, Nvfp4Census, Nvfp4Out, Nvfp4Tile, ScaleCensus, ScaleGrid,
};
use quantscope_numeric::{bf16, e2m1, e4m3, f16};

/// The specification as an engine.
pub(crate) struct Reference;

/// The elements of a tile as numbers; widening is exact.
pub(crate) fn values(tile: &FloatTile<'_>) -> Vec<f32> {
    match tile.dtype {
        FloatType::F32 => {
            tile.bytes.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect()
        }
        FloatType::Bf16 => {
            tile.bytes.chunks_exact(2).map(|c| bf16::from_le_bytes(c.try_into().unwrap()).to_f32()).collect()
        }
        FloatType::F16 => {
            tile.bytes.chunks_exact(2).map(|c| f16::from_le_bytes(c.try_into().unwrap()).to_f32()).collect()
        }
    }
}

/// The scale byte of a block with this largest magnitude (`formats.md` b and c).
pub(crate) fn scale_byte(amax: f32, rule: ScaleRule) -> u8 {
    let s = match rule {
        ScaleRule::Dynamic { ws2 } => {
            let s = amax / (6.0 * ws2);
            if s == 0.0 { 1.0 } else { s }
        }
        ScaleRule::Static { global, range } => {
            let m = if range == ScaleRange::Full { 448.0 } else { 256.0 };
            let s = amax / 6.0;
            let s = if s == 0.0 { 1.0 } else { s };
            (s * m) / (global / 6.0)
        }
    };
    let byte = e4m3::encode(s.clamp(e4m3::MIN_POSITIVE, e4m3::MAX));
    if e4m3::is_nan(byte) { e4m3::NAN_BYTE } else { byte }
}

/// The elements of each block, rows padded with zeros.
pub(crate) fn blocks_of(tile: &FloatTile<'_>, block: Nvfp4Block) -> Vec<Vec<f32>> {
    let block = block.elems() as usize;
    let values = values(tile);
    let rows = values.chunks(tile.cols.max(1) as usize);
    let blocks = rows.flat_map(|row| row.chunks(block));
    blocks
        .map(|elements| {
            let mut padded = elements.to_vec();
            padded.resize(block, 0.0);
            padded
        })
        .collect()
}

/// The code of an element under a scale byte (`formats.md` b).
pub(crate) fn code(weight: f32, scale: u8, ws2: f32, cast: CodeCast) -> u8 {
    let cast = match cast {
        CodeCast::Keep => weight,
        CodeCast::ToBf16 => bf16::from_f32(weight).to_f32(),
        CodeCast::ToF16 => f16::from_f32(weight).to_f32(),
    };
    e2m1::encode_nvfp4(cast / (e4m3::decode(scale) * ws2))
}

fn quantize(tile: &FloatTile<'_>, table: &Nvfp4Table, out: &mut Nvfp4Out<'_>) {
    for (block, scale) in blocks_of(tile, table.block()).iter().zip(out.scales.iter_mut()) {
        let amax = block.iter().fold(0.0_f32, |a, w| a.max(w.abs()));
        *scale = scale_byte(amax, table.rule());
    }
    nvfp4_encode::reference(tile, table, out.scales, out.codes);
}

fn nvfp4_census(tile: &Nvfp4Tile<'_>) -> Nvfp4Census {
    let mut census = Nvfp4Census::default();
    let block = tile.block as usize;
    let row_elements = tile.blocks as usize * block;
    let codes: Vec<u8> = tile.codes.iter().flat_map(|&b| <[u8; 2]>::from(e2m1::unpack(b))).collect();
    for (i, &code) in codes.iter().enumerate() {
        census.codes[usize::from(code)] += 1;
        let is_padding = i % row_elements >= tile.logical_cols as usize;
        census.padding_not_zero += u64::from(is_padding && e2m1::decode(code) != 0.0);
    }
    for (i, (&scale, codes)) in tile.scales.iter().zip(codes.chunks_exact(block)).enumerate() {
        census.scales[usize::from(scale)] += 1;
        let value = e4m3::decode(scale);
        if value == 0.0 {
            if codes.iter().any(|&code| e2m1::decode(code) != 0.0) {
                census.zero_scale_with_codes += 1;
                census.first_zero_scale_with_codes = census.first_zero_scale_with_codes.min(i as u64);
            } else {
                census.zero_scale_zero_codes += 1;
            }
        } else if value.is_nan() || value < 0.0 {
            census.first_bad_scale = census.first_bad_scale.min(i as u64);
        }
    }
    census
}

fn fp8_census(tile: &Fp8Tile<'_>) -> Fp8Census {
    let mut census = Fp8Census::default();
    for (i, &code) in tile.codes.iter().enumerate() {
        let scale = reference_codes::scale(&tile.grid, tile.cols, i);
        census.codes[usize::from(code)] += 1;
        let value = e4m3::decode(code);
        if value.is_nan() {
            census.first_nan = census.first_nan.min(i as u64);
        }
        if scale == 0.0 && value != 0.0 {
            census.nonzero_under_zero_scale += 1;
            census.first_nonzero_under_zero_scale = census.first_nonzero_under_zero_scale.min(i as u64);
        }
    }
    census
}

fn scale_census(scales: &[u32]) -> ScaleCensus {
    let mut census = ScaleCensus::default();
    for (i, &bits) in scales.iter().enumerate() {
        let scale = f32::from_bits(bits);
        let is_negative = scale.is_finite() && scale < 0.0;
        census.not_finite += u64::from(!scale.is_finite());
        census.negative += u64::from(is_negative);
        census.zero += u64::from(scale == 0.0);
        census.subnormal += u64::from(scale.is_subnormal());
        if (!scale.is_finite() || is_negative) && census.first_bad == NONE {
            census.first_bad = i as u64;
        }
    }
    census
}

impl Engine for Reference {
    fn kind(&self) -> EngineKind {
        EngineKind::Cpu
    }

    fn description(&self) -> String {
        "the specification".to_owned()
    }

    fn absmax<'a>(&'a self, tile: FloatTile<'a>) -> LocalBoxFuture<'a, Result<AbsMax, EngineError>> {
        let amax = values(&tile).iter().fold(0.0_f32, |a, w| a.max(w.abs()));
        Box::pin(async move { Ok(AbsMax { bits: amax.to_bits() }) })
    }

    fn block_absmax<'a>(
        &'a self,
        tile: FloatTile<'a>,
        block: BlockSize,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        block_absmax::reference(&tile, block, out);
        Box::pin(async { Ok(()) })
    }

    fn nvfp4_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        scales: &'a [u8],
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        nvfp4_encode::reference(&tile, table, scales, codes);
        Box::pin(async { Ok(()) })
    }

    fn nvfp4_quantize<'a>(
        &'a self,
        tile: FloatTile<'a>,
        table: &'a Nvfp4Table,
        mut out: Nvfp4Out<'a>,
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        quantize(&tile, table, &mut out);
        Box::pin(async { Ok(()) })
    }

    fn nvfp4_search<'a>(
        &'a self,
        tile: FloatTile<'a>,
        search: &'a ScaleSearch,
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        nvfp4_search::reference(&tile, search, scales);
        Box::pin(async { Ok(()) })
    }

    fn nvfp4_verify<'a>(
        &'a self,
        tile: Nvfp4Tile<'a>,
    ) -> LocalBoxFuture<'a, Result<Nvfp4Census, EngineError>> {
        Box::pin(async move { Ok(nvfp4_census(&tile)) })
    }

    fn fp8_verify<'a>(&'a self, tile: Fp8Tile<'a>) -> LocalBoxFuture<'a, Result<Fp8Census, EngineError>> {
        Box::pin(async move { Ok(fp8_census(&tile)) })
    }

    fn scale_verify<'a>(&'a self, scales: &'a [u32]) -> LocalBoxFuture<'a, Result<ScaleCensus, EngineError>> {
        Box::pin(async move { Ok(scale_census(scales)) })
    }

    fn fp8_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        grid: ScaleGrid<'a>,
        rule: Fp8Rule,
        codes: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        reference_codes::fp8_codes(&tile, &grid, rule, codes);
        Box::pin(async { Ok(()) })
    }

    fn fp8_decode<'a>(
        &'a self,
        tile: Fp8Tile<'a>,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        reference_codes::fp8_values(&tile, out);
        Box::pin(async { Ok(()) })
    }

    fn mx_encode<'a>(
        &'a self,
        tile: FloatTile<'a>,
        element: MxElement,
        cast: CodeCast,
        codes: &'a mut [u8],
        scales: &'a mut [u8],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        reference_codes::mx_codes(&tile, element, cast, codes, scales);
        Box::pin(async { Ok(()) })
    }

    fn fp4_decode<'a>(
        &'a self,
        tile: Fp4Tile<'a>,
        table: &'a Fp4DecodeTable,
        out: &'a mut [u32],
    ) -> LocalBoxFuture<'a, Result<(), EngineError>> {
        reference_codes::fp4_values(&tile, table, out);
        Box::pin(async { Ok(()) })
    }

    fn error_metrics<'a>(
        &'a self,
        tile: FloatTile<'a>,
        decoded: &'a [u32],
    ) -> LocalBoxFuture<'a, Result<ErrorMetrics, EngineError>> {
        let metrics = error_metrics::reference(&tile, decoded);
        Box::pin(async { Ok(metrics) })
    }

    fn byte_census<'a>(&'a self, bytes: &'a [u8]) -> LocalBoxFuture<'a, Result<ByteCensus, EngineError>> {
        Box::pin(async move { Ok(reference_codes::byte_census(bytes)) })
    }
}
