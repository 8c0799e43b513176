//! The encoders and decoders once more, as the specification says them.

use super::reference::values;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{
    ByteCensus, FloatTile, Fp4DecodeTable, Fp4Tile, Fp8Rule, Fp8Tile, MxElement, NONE, Nibbles,
    QuotientRounding, ScaleGrid,
};
use quantscope_numeric::{bf16, e2m1, e4m3, e8m0, f16};

fn cast(value: f32, cast: CodeCast) -> f32 {
    match cast {
        CodeCast::Keep => value,
        CodeCast::ToBf16 => bf16::from_f32(value).to_f32(),
        CodeCast::ToF16 => f16::from_f32(value).to_f32(),
    }
}

/// The E4M3 code; NaN without a sign.
fn e4m3_code(value: f32) -> u8 {
    if value.is_nan() { e4m3::NAN_BYTE } else { e4m3::encode(value) }
}

fn bits(value: f32) -> u32 {
    if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() }
}

/// The scale of element `index` of a tile with `cols` columns.
pub(crate) fn scale(grid: &ScaleGrid<'_>, cols: u32, index: usize) -> f32 {
    let (row, col) = (index as u64 / u64::from(cols), index as u64 % u64::from(cols));
    let scale_row = (u64::from(grid.first_row) + row) / u64::from(grid.block_rows);
    let at = scale_row * u64::from(grid.scale_cols) + col / u64::from(grid.block_cols);
    f32::from_bits(grid.scales[usize::try_from(at).unwrap()])
}

/// `formats.md` a and e: fp8, fp8_pc_pt, fp8_pb.
pub(crate) fn fp8_codes(tile: &FloatTile<'_>, grid: &ScaleGrid<'_>, rule: Fp8Rule, codes: &mut [u8]) {
    for (i, (code, weight)) in codes.iter_mut().zip(values(tile)).enumerate() {
        let quotient = cast(weight, rule.cast) / scale(grid, tile.cols, i);
        *code = e4m3_code(match rule.quotient {
            QuotientRounding::None => quotient,
            QuotientRounding::Bf16 => cast(quotient, CodeCast::ToBf16),
            QuotientRounding::F16 => cast(quotient, CodeCast::ToF16),
        });
    }
}

pub(crate) fn fp8_values(tile: &Fp8Tile<'_>, out: &mut [u32]) {
    for (i, (value, &code)) in out.iter_mut().zip(tile.codes).enumerate() {
        *value = bits(e4m3::decode(code) * scale(&tile.grid, tile.cols, i));
    }
}

/// `formats.md` e: mxfp4 divides by the power of two, mxfp8 multiplies with its reciprocal and clamps.
pub(crate) fn mx_codes(
    tile: &FloatTile<'_>,
    element: MxElement,
    code_cast: CodeCast,
    codes: &mut [u8],
    scales: &mut [u8],
) {
    let all = values(tile);
    let mut places = codes.chunks_mut(element.block_bytes() as usize).zip(scales);
    for row in all.chunks(tile.cols.max(1) as usize) {
        for block in row.chunks(32) {
            let (codes, scale) = places.next().unwrap();
            let mut padded = [0.0; 32];
            padded[..block.len()].copy_from_slice(block);
            let amax = padded.iter().fold(0_u32, |amax, w| amax.max(w.abs().to_bits()));
            let quotient = f32::from_bits(amax) / element.max();
            // What is no number counts as infinite.
            *scale = e8m0::encode_quotient(if quotient.is_nan() { f32::INFINITY } else { quotient });
            let cast = padded.map(|weight| cast(weight, code_cast));
            match element {
                MxElement::E2m1 => {
                    for (byte, pair) in codes.iter_mut().zip(cast.chunks(2)) {
                        let code = |weight: f32| e2m1::encode_mx(weight / e8m0::decode(*scale));
                        *byte = e2m1::pack(code(pair[0]), code(pair[1]));
                    }
                }
                MxElement::E4m3 => {
                    for (code, weight) in codes.iter_mut().zip(cast) {
                        *code = e4m3_code((weight * e8m0::decode(254 - *scale)).clamp(-448.0, 448.0));
                    }
                }
            }
        }
    }
}

pub(crate) fn fp4_values(tile: &Fp4Tile<'_>, table: &Fp4DecodeTable, out: &mut [u32]) {
    for (i, value) in out.iter_mut().enumerate() {
        let (low, high) = e2m1::unpack(tile.codes[i / 2]);
        let code = if (i % 2 == 0) == (table.nibbles() == Nibbles::LowFirst) { low } else { high };
        let scale = tile.scales[i / tile.block as usize];
        *value = table.words()[usize::from(scale) * 16 + usize::from(code)];
    }
}

pub(crate) fn byte_census(bytes: &[u8]) -> ByteCensus {
    let mut census = ByteCensus::default();
    for byte in 0..=255_u8 {
        let at = usize::from(byte);
        census.counts[at] = bytes.iter().filter(|&&found| found == byte).count() as u64;
        census.first[at] = bytes.iter().position(|&found| found == byte).map_or(NONE, |i| i as u64);
    }
    census
}
