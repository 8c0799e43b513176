//! The shaders against the CPU twins and ModelOpt's bytes: natively on whatever Vulkan, Metal or
//! Direct3D 12 offers (lavapipe counts), and on WebGPU in a dedicated worker of a browser.
//!
//! `QUANTSCOPE_GPU` says what a missing adapter means: `off` skips, `auto` (the default) skips and says so,
//! `required` fails. A browser has no environment, so there the variable is read when the test is built.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../kernels/tests/twins/mod.rs"]
mod twins;

mod softfloat;

use quantscope_gpu::{GpuEngine, GpuOptions};
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table};
use quantscope_kernels::nvfp4_search::{ScaleSearch, SearchMethod};
use quantscope_kernels::{
    CpuEngine, Engine, EngineError, EngineKind, FloatTile, FloatType, Fp4DecodeTable, Fp4Tile, Fp8Rule,
    Fp8Tile, Kernel, MxElement, Nibbles, Nvfp4Out, QuotientRounding, ScaleGrid,
};
use twins::random::Random;

/// The engine, or `None` if there is none and that is allowed.
async fn engine(options: GpuOptions) -> Option<GpuEngine> {
    let wanted = match option_env!("QUANTSCOPE_GPU") {
        Some(built) if cfg!(target_arch = "wasm32") => built.to_owned(),
        _ => std::env::var("QUANTSCOPE_GPU").unwrap_or_else(|_| "auto".to_owned()),
    };
    if wanted == "off" {
        say(&format!("SKIPPED {} kernels: QUANTSCOPE_GPU=off", Kernel::ALL.len()));
        return None;
    }
    match GpuEngine::request(options).await {
        Ok(engine) => Some(engine),
        Err(why) if wanted == "auto" => {
            say(&format!("SKIPPED {} kernels: {why}", Kernel::ALL.len()));
            None
        }
        Err(why) => panic!("QUANTSCOPE_GPU={wanted}: {why}"),
    }
}

fn say(line: &str) {
    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_test::console_log!("{line}");
    // Past the test harness, which keeps to itself what a passing test prints.
    #[cfg(not(target_arch = "wasm32"))]
    std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes()).unwrap();
}

async fn shaders_agree_with_the_twins() {
    let Some(gpu) = engine(GpuOptions::default()).await else { return };
    say(&format!("{} (software: {})", gpu.description(), gpu.is_software()));
    assert_eq!(gpu.kind(), EngineKind::Gpu);
    twins::assert_agreement(&CpuEngine::new(), &gpu).await;
}

async fn shaders_write_modelopts_bytes() {
    let Some(gpu) = engine(GpuOptions::default()).await else { return };
    twins::assert_golden(&gpu).await;
}

/// Buffers of 4096 bytes cut most tiles into several parts, long rows included.
async fn parts_make_the_same_whole() {
    let Some(gpu) = engine(GpuOptions { most_buffer_bytes: Some(4096), ..GpuOptions::default() }).await
    else {
        return;
    };
    assert_eq!(gpu.most_buffer_bytes(), 4096);
    twins::assert_golden(&gpu).await;
    for kernel in [
        Kernel::AbsMax,
        Kernel::BlockAbsMax,
        Kernel::ByteCensus,
        Kernel::ErrorMetrics,
        Kernel::Nvfp4Encode,
        Kernel::Nvfp4Search,
        Kernel::Nvfp4Verify,
    ] {
        twins::agree(kernel, &CpuEngine::new(), &gpu).await.unwrap_or_else(|e| panic!("{e}"));
    }
    let mut random = Random(6);
    // A row of three and a bit buffers under blocks of 100 columns, from a row that is not the first.
    let codes = random.bytes(3 * 13_000);
    let scales: Vec<u32> = (0..5 * 130).map(|i| if i % 7 == 0 { 0 } else { 0x3f80_0000 }).collect();
    let tile = Fp8Tile {
        codes: &codes,
        rows: 3,
        cols: 13_000,
        grid: ScaleGrid { scales: &scales, block_rows: 1, block_cols: 100, scale_cols: 130, first_row: 1 },
    };
    assert_eq!(gpu.fp8_verify(tile).await, CpuEngine::new().fp8_verify(tile).await);
    let cpu = CpuEngine::new();
    twins::fp8_decode::agree_on(&cpu, &gpu, tile).await.unwrap();
    let bytes = random.tile(FloatType::F16, 3, 13_000, 1.0);
    let source = FloatTile { dtype: FloatType::F16, bytes: &bytes, rows: 3, cols: 13_000 };
    let rule = Fp8Rule { cast: CodeCast::Keep, quotient: QuotientRounding::F16 };
    twins::fp8_encode::agree_on(&cpu, &gpu, source, tile.grid, rule).await.unwrap();
    for element in [MxElement::E2m1, MxElement::E4m3] {
        twins::mx_encode::agree_on(&cpu, &gpu, source, element, CodeCast::Keep).await.unwrap();
    }
    // Rows of which one fits, two do not; then rows of which one does not.
    let table = Fp4DecodeTable::e8m0(Nibbles::HighFirst);
    for (rows, blocks) in [(7, 30), (3, 70)] {
        let count = rows as usize * blocks as usize;
        let packed =
            Fp4Tile { codes: &codes[..16 * count], scales: &codes[..count], rows, blocks, block: 32 };
        twins::fp4_decode::agree_on(&cpu, &gpu, packed, &table).await.unwrap();
    }
    let bits: Vec<u32> = random.bytes(4001).into_iter().map(|byte| u32::from(byte) << 24).collect();
    assert_eq!(gpu.scale_verify(&bits).await, CpuEngine::new().scale_verify(&bits).await);
    // The scales of one row alone do not fit.
    let too_many = vec![0x3f80_0000; 1025];
    let tile = Fp8Tile {
        codes: &[0; 1025],
        rows: 1,
        cols: 1025,
        grid: ScaleGrid { scales: &too_many, block_rows: 1, block_cols: 1, scale_cols: 1025, first_row: 0 },
    };
    assert!(matches!(gpu.fp8_verify(tile).await, Err(EngineError::Refused(_))));
}

/// Workgroups a dimension that make the largest tiles need two dimensions.
const FEW_WORKGROUPS: u32 = 19;

/// With few workgroups a dimension, tiles need rows of them, as tiles of hundreds of megabytes do otherwise.
async fn dispatches_in_two_dimensions_agree() {
    let Some(gpu) =
        engine(GpuOptions { most_workgroups: Some(FEW_WORKGROUPS), ..GpuOptions::default() }).await
    else {
        return;
    };
    twins::assert_agreement(&CpuEngine::new(), &gpu).await;
    let cols = FEW_WORKGROUPS * FEW_WORKGROUPS + 1;
    let bytes = vec![0; 4096 * cols as usize];
    let tile = FloatTile { dtype: FloatType::F32, bytes: &bytes, rows: 1024, cols };
    let refused = gpu.absmax(tile).await;
    assert!(matches!(refused, Err(EngineError::Refused(_))), "{refused:?}");
}

/// A few megabytes at once.
async fn large_tiles_agree() {
    let Some(gpu) = engine(GpuOptions::default()).await else { return };
    let (rows, cols) = (1024, 2048);
    let bytes = Random(7).tile(FloatType::Bf16, rows, cols, 0.05);
    let tile = FloatTile { dtype: FloatType::Bf16, bytes: &bytes, rows, cols };
    let cpu = CpuEngine::new();
    let amax = cpu.absmax(tile).await.unwrap();
    assert_eq!(gpu.absmax(tile).await, Ok(amax));
    let table = Nvfp4Table::dynamic(amax.value() / 2688.0, Nvfp4Block::Of16, CodeCast::Keep);
    let mut results = Vec::new();
    for engine in [&cpu as &dyn Engine, &gpu] {
        let (mut codes, mut scales) = (vec![0; 1 << 20], vec![0; 1 << 17]);
        let out = Nvfp4Out { codes: &mut codes, scales: &mut scales };
        engine.nvfp4_quantize(tile, &table, out).await.unwrap();
        results.push((codes, scales));
    }
    twins::compare::scales("scales", &results[0].1, &results[1].1).unwrap();
    twins::compare::codes("codes", &results[0].0, &results[1].0).unwrap();
}

/// The search on the device leaves few blocks to the CPU, and the winner among what it leaves.
async fn the_search_is_narrowed() {
    let Some(gpu) = engine(GpuOptions::default()).await else { return };
    let (rows, cols) = (64, 1024);
    for dtype in [FloatType::F32, FloatType::Bf16, FloatType::F16] {
        let bytes = twins::nvfp4_search::weights(&mut Random(12), dtype, rows, cols);
        let tile = FloatTile { dtype, bytes: &bytes, rows, cols };
        for method in [SearchMethod::SweepE4m3, SearchMethod::FourOverSix] {
            let search = ScaleSearch { method, global: 0.1 };
            let ranges = gpu.narrow(tile, &search).await.unwrap();
            let undecided = ranges.iter().filter(|range| *range & 0xff != *range >> 8).count();
            assert!(undecided * 50 < ranges.len(), "{dtype:?} {method:?}: {undecided} of {}", ranges.len());
            let mut expected = vec![0; ranges.len()];
            CpuEngine::new().nvfp4_search(tile, &search, &mut expected).await.unwrap();
            let mut found = vec![0xa5; ranges.len()];
            gpu.nvfp4_search(tile, &search, &mut found).await.unwrap();
            twins::compare::scales("scales", &expected, &found).unwrap();
        }
    }
}

async fn wrong_tiles_are_refused_and_a_lost_device_says_so() {
    let Some(gpu) = engine(GpuOptions::default()).await else { return };
    let tile = FloatTile { dtype: FloatType::F32, bytes: &[0; 60], rows: 1, cols: 16 };
    assert_eq!(gpu.absmax(tile).await, Err(EngineError::TileSize { expected: 64, found: 60 }));
    let tile = FloatTile { bytes: &[0; 64], ..tile };
    assert!(gpu.absmax(tile).await.is_ok());
    gpu.destroy();
    let lost = gpu.absmax(tile).await;
    assert!(matches!(lost, Err(EngineError::DeviceLost(_))), "{lost:?}");
    assert!(matches!(gpu.absmax(tile).await, Err(EngineError::DeviceLost(_))));
}

/// The float arithmetic that shaders do with integers.
async fn float_functions_are_ieee() {
    let Some(gpu) = engine(GpuOptions::default()).await else { return };
    softfloat::agree(&gpu).await;
}

/// Runs that overlap do not share buffers.
async fn overlapping_runs_keep_apart() {
    let Some(gpu) = engine(GpuOptions::default()).await else { return };
    let tiles: Vec<Vec<u8>> = (1..=8).map(|i| vec![i; 4096]).collect();
    let runs = tiles
        .iter()
        .map(|bytes| gpu.absmax(FloatTile { dtype: FloatType::Bf16, bytes, rows: 1, cols: 2048 }));
    for (amax, i) in futures_util::future::join_all(runs).await.into_iter().zip(1..) {
        assert_eq!(amax.unwrap().bits, 0x0101_0000 * i);
    }
}

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        mod browser {
            use wasm_bindgen_test::wasm_bindgen_test;
            wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
            $(#[wasm_bindgen_test]
            async fn $name() {
                super::$name().await;
            })*
        }

        #[cfg(not(target_arch = "wasm32"))]
        mod native {
            $(#[test]
            fn $name() {
                futures_executor::block_on(super::$name());
            })*
        }
    };
}

tests! {
    shaders_agree_with_the_twins,
    shaders_write_modelopts_bytes,
    parts_make_the_same_whole,
    dispatches_in_two_dimensions_agree,
    large_tiles_agree,
    the_search_is_narrowed,
    wrong_tiles_are_refused_and_a_lost_device_says_so,
    overlapping_runs_keep_apart,
    float_functions_are_ieee,
}
