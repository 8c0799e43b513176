//! The CPU twins against the specification and against ModelOpt's bytes, natively and in a browser, where
//! the vectors of WebAssembly do the work.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod twins;

use futures_util::FutureExt;
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table};
use quantscope_kernels::nvfp4_search::{ScaleSearch, SearchMethod, WHOLE, settle};
use quantscope_kernels::{
    CpuEngine, Engine, EngineError, FloatTile, FloatType, Fp4DecodeTable, Fp4Tile, Fp8Tile, Nibbles,
    Nvfp4Out, ScaleGrid,
};
use twins::reference::Reference;
use wasm_bindgen_test::wasm_bindgen_test;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// What the CPU engine is asked, it answers at once.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().unwrap()
}

#[wasm_bindgen_test(unsupported = test)]
fn the_twins_are_the_specification() {
    now(twins::assert_agreement(&Reference, &CpuEngine::new()));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_twins_write_modelopts_bytes() {
    now(twins::assert_golden(&CpuEngine::new()));
}

/// Processors without AVX-512 write the same.
#[cfg(all(feature = "narrower", target_arch = "x86_64"))]
#[test]
fn the_twins_are_the_specification_with_avx2() {
    quantscope_kernels::narrower::without_avx512(true);
    now(twins::assert_agreement(&Reference, &CpuEngine::new()));
    now(twins::assert_golden(&CpuEngine::new()));
    quantscope_kernels::narrower::without_avx512(false);
}

#[wasm_bindgen_test(unsupported = test)]
fn narrow_codes() {
    twins::nvfp4_quantize::narrow_codes_are_those_of_the_formula();
}

#[wasm_bindgen_test(unsupported = test)]
fn narrow_numbers_are_encoded_by_the_formula() {
    now(twins::nvfp4_encode::every_narrow_number_under_every_scale(&CpuEngine::new()));
}

#[wasm_bindgen_test(unsupported = test)]
fn wide_thresholds() {
    twins::nvfp4_quantize::wide_thresholds_are_those_of_the_formula();
}

#[wasm_bindgen_test(unsupported = test)]
fn scale_bytes() {
    twins::nvfp4_quantize::scale_bytes_are_those_of_the_formula();
}

#[wasm_bindgen_test(unsupported = test)]
fn mx_scale_bytes() {
    twins::mx_encode::scale_bytes_are_those_of_the_formula();
}

#[wasm_bindgen_test(unsupported = test)]
fn fp4_products() {
    twins::fp4_decode::products_are_those_of_the_formula();
}

#[wasm_bindgen_test(unsupported = test)]
fn a_perturbed_narrowing() {
    now(twins::nvfp4_search::a_perturbed_narrowing_changes_nothing());
}

#[wasm_bindgen_test(unsupported = test)]
fn decibels() {
    now(twins::error_metrics::decibels_are_within_the_resolution());
}

/// Codes beyond the largest finite value of the cast are the largest code.
#[wasm_bindgen_test(unsupported = test)]
fn a_value_that_the_cast_makes_infinite_saturates() {
    let mut weights = [0.0_f32; 16];
    (weights[0], weights[1], weights[2]) = (1.0e6, -70_000.0, 65_519.0);
    let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
    let tile = FloatTile { dtype: FloatType::F32, bytes: &bytes, rows: 1, cols: 16 };
    let (mut codes, mut scales) = ([0; 8], [0]);
    let out = Nvfp4Out { codes: &mut codes, scales: &mut scales };
    now(CpuEngine::new().nvfp4_quantize(
        tile,
        &Nvfp4Table::dynamic(1.0e6 / 2688.0, Nvfp4Block::Of16, CodeCast::ToF16),
        out,
    ))
    .unwrap();
    assert_eq!(scales, [0x7e]);
    // Infinity; minus infinity; 65504 / (448 * 1e6 / 2688) = 0.39.
    assert_eq!(codes[..2], [0xf7, 0x01]);
}

#[wasm_bindgen_test(unsupported = test)]
fn infinities_and_nans_show_in_the_maximum() {
    let lists = [[0x7f80_u16, 0x3f80], [0x3f80, 0xff80], [0x7fc1, 0x7f80]];
    for (list, bits) in lists.into_iter().zip([0x7f80_0000, 0x7f80_0000, 0x7fc1_0000]) {
        let bytes: Vec<u8> = list.iter().flat_map(|w| w.to_le_bytes()).collect();
        let tile = FloatTile { dtype: FloatType::Bf16, bytes: &bytes, rows: 1, cols: 2 };
        let amax = now(CpuEngine::new().absmax(tile)).unwrap();
        assert_eq!(amax.bits, bits);
        assert!(!amax.is_finite());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn tiles_of_the_wrong_size_are_refused() {
    let engine = CpuEngine::new();
    let size = |expected, found| Err(EngineError::TileSize { expected, found });
    let tile = FloatTile { dtype: FloatType::F16, bytes: &[0; 62], rows: 2, cols: 16 };
    assert_eq!(now(engine.absmax(tile)).map(|_| ()), size(64, 62));
    let tile = FloatTile { bytes: &[0; 64], ..tile };
    let table = Nvfp4Table::dynamic(1.0, Nvfp4Block::Of16, CodeCast::Keep);
    let out = Nvfp4Out { codes: &mut [0; 16], scales: &mut [0; 3] };
    assert_eq!(now(engine.nvfp4_quantize(tile, &table, out)), size(2, 3));
    assert_eq!(now(engine.nvfp4_encode(tile, &table, &[0; 2], &mut [0; 15])), size(16, 15));
    assert_eq!(now(engine.nvfp4_encode(tile, &table, &[0; 1], &mut [0; 16])), size(2, 1));
    let search = ScaleSearch { method: SearchMethod::SweepE4m3, global: 1.0 };
    assert_eq!(now(engine.nvfp4_search(tile, &search, &mut [0; 1])), size(2, 1));
    assert_eq!(settle(&tile, &search, &[WHOLE], &mut [0; 2]), size(2, 1));
    assert_eq!(now(engine.error_metrics(tile, &[0; 31])).map(|_| ()), size(32, 31));
    let table = Fp4DecodeTable::e8m0(Nibbles::LowFirst);
    let packed = Fp4Tile { codes: &[0; 16], scales: &[0; 2], rows: 2, blocks: 1, block: 16 };
    let errors = |packed| now(engine.fp4_errors(tile, packed, &table)).map(|_| ());
    assert_eq!(errors(packed), Ok(()));
    assert_eq!(errors(Fp4Tile { codes: &[0; 15], ..packed }), size(16, 15));
    assert_eq!(errors(Fp4Tile { scales: &[0; 3], ..packed }), size(2, 3));
    assert_eq!(errors(Fp4Tile { rows: 1, blocks: 2, ..packed }), size(2, 1));
    assert_eq!(errors(Fp4Tile { codes: &[0; 8], block: 8, ..packed }), size(16, 8));
    assert_eq!(now(engine.block_absmax(tile, BlockSize::group(3), &mut [0; 11])), size(12, 11));
    let flat = BlockSize { rows: 0, cols: 1 };
    assert_eq!(now(engine.block_absmax(tile, flat, &mut [0; 1])), size(u64::MAX, 1));
    // The second row's scale is missing; then a group of no rows.
    let tile = Fp8Tile {
        codes: &[0; 4],
        rows: 2,
        cols: 2,
        grid: ScaleGrid { first_row: 3, ..ScaleGrid::per_row(&[0; 4]) },
    };
    assert_eq!(now(engine.fp8_verify(tile)).map(|_| ()), size(5, 4));
    assert_eq!(
        now(engine.fp8_verify(Fp8Tile { grid: ScaleGrid { block_rows: 0, ..tile.grid }, ..tile }))
            .map(|_| ()),
        size(u64::MAX, 4)
    );
}
