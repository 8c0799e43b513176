//! Layers that ModelOpt quantized with a static scale for each block.

use super::golden::tile_of;
use super::{Outcome, compare};
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Table, ScaleRange};
use quantscope_kernels::nvfp4_search::{ScaleSearch, SearchMethod};
use quantscope_kernels::{Engine, Nvfp4Out};
use safetensors::SafeTensors;

/// A case: the source, what calibration found, the export.
struct Case {
    name: &'static str,
    source: &'static [u8],
    calibration: &'static [u8],
    block_amax: &'static str,
    global_amax: &'static str,
    expected: &'static [u8],
}

macro_rules! layers {
    ($($name:literal),* $(,)?) => {
        [$(Case {
            name: $name,
            source: include_bytes!(concat!("../../../../tests/data/golden/", $name, "/source.safetensors")),
            calibration: include_bytes!(concat!("../../../../tests/data/golden/", $name, "/source.safetensors")),
            block_amax: "given.block_amax",
            global_amax: "given.global_amax",
            expected: include_bytes!(concat!("../../../../tests/data/golden/", $name, "/expected.safetensors")),
        }),*]
    };
}

macro_rules! releases {
    ($($name:literal),* $(,)?) => {
        [$(Case {
            name: $name,
            source: include_bytes!(concat!("../../../../tests/data/golden-pr/static/", $name, "/source/model.safetensors")),
            calibration: include_bytes!(concat!("../../../../tests/data/golden-pr/static/", $name, "/calibration_result.safetensors")),
            block_amax: "per_block_amax",
            global_amax: "global_amax",
            expected: include_bytes!(concat!("../../../../tests/data/golden-pr/static/", $name, "/expected/model.safetensors")),
        }),*]
    };
}

/// Each block's own maximum.
const MAX_LAYERS: [Case; 2] = layers!["nvfp4_static_max_33x96", "nvfp4_static_max_8x64"];
const MAX_RELEASES: [Case; 1] = releases!["release_max_static_bf16"];
/// The best of 126 candidates.
const SWEEP_LAYERS: [Case; 3] =
    layers!["nvfp4_static_mse_33x96", "nvfp4_static_mse_8x64", "nvfp4_static_mse_heavy_f32"];
const SWEEP_RELEASES: [Case; 11] = releases![
    "release_mse_bfloat16_16x64",
    "release_mse_bfloat16_32x96",
    "release_mse_bfloat16_8x32",
    "release_mse_edges",
    "release_mse_float16_16x64",
    "release_mse_float16_32x96",
    "release_mse_float16_8x32",
    "release_mse_float32_16x64",
    "release_mse_float32_32x96",
    "release_mse_float32_8x32",
    "release_mse_heavy_tail",
];
/// The better of two candidates.
const FOUR_OVER_SIX: [Case; 1] = layers!["nvfp4_static_four_over_six"];
/// Maxima that only calibration knows.
const GIVEN: [Case; 1] = releases!["release_mse_multiplier_bf16"];

fn f32_values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

impl Case {
    /// The block maxima and the global maximum that calibration found.
    fn calibrated(&self) -> (Vec<f32>, f32) {
        let file = SafeTensors::deserialize(self.calibration).unwrap();
        let values = |name| f32_values(file.tensor(name).unwrap().data());
        (values(self.block_amax), values(self.global_amax)[0])
    }
}

/// Holds every way to static scales, and the codes under them, to the reference's bytes.
pub(crate) async fn agree(engine: &dyn Engine) -> Outcome {
    for case in MAX_LAYERS.iter().chain(&MAX_RELEASES) {
        of_maxima(engine, case).await?;
    }
    for case in SWEEP_LAYERS.iter().chain(&SWEEP_RELEASES) {
        searched(engine, case, SearchMethod::SweepE4m3, ScaleRange::Full).await?;
    }
    for case in &FOUR_OVER_SIX {
        searched(engine, case, SearchMethod::FourOverSix, ScaleRange::FourOverSix).await?;
    }
    for case in &GIVEN {
        given(engine, case, ScaleRange::Full).await?;
    }
    let cases = [MAX_LAYERS.len(), MAX_RELEASES.len(), SWEEP_LAYERS.len(), SWEEP_RELEASES.len()];
    Ok(cases.iter().sum::<usize>() + FOUR_OVER_SIX.len() + GIVEN.len())
}

/// Block maxima; then scales and codes at once.
async fn of_maxima(engine: &dyn Engine, case: &Case) -> Result<(), String> {
    let source = SafeTensors::deserialize(case.source).unwrap();
    let weight = source.tensor("linear.weight").unwrap();
    let tile = tile_of(&weight);
    let (block_amax, global) = case.calibrated();
    let mut maxima = vec![0xa5; block_amax.len()];
    let done = engine.block_absmax(tile, BlockSize::group(16), &mut maxima).await;
    done.map_err(|e| format!("{}: {e}", case.name))?;
    let expected: Vec<u32> = block_amax.iter().map(|amax| amax.to_bits()).collect();
    compare::words(&format!("{} maxima", case.name), &expected, &maxima)?;

    let table = Nvfp4Table::fixed(global, ScaleRange::Full, CodeCast::Keep);
    let (mut codes, mut scales) = (vec![0xa5; block_amax.len() * 8], vec![0xa5; block_amax.len()]);
    let out = Nvfp4Out { codes: &mut codes, scales: &mut scales };
    engine.nvfp4_quantize(tile, &table, out).await.map_err(|e| format!("{}: {e}", case.name))?;
    exported(case, &scales, &codes)?;
    given(engine, case, ScaleRange::Full).await
}

/// Scales by a search, and codes under them.
async fn searched(
    engine: &dyn Engine,
    case: &Case,
    method: SearchMethod,
    range: ScaleRange,
) -> Result<(), String> {
    let source = SafeTensors::deserialize(case.source).unwrap();
    let weight = source.tensor("linear.weight").unwrap();
    let (block_amax, global) = case.calibrated();
    let mut scales = vec![0xa5; block_amax.len()];
    let search = ScaleSearch { method, global };
    let done = engine.nvfp4_search(tile_of(&weight), &search, &mut scales).await;
    done.map_err(|e| format!("{}: {e}", case.name))?;
    encoded(engine, case, &Nvfp4Table::fixed(global, range, CodeCast::Keep), &scales).await?;
    given(engine, case, range).await
}

/// Scales from the calibrated maxima, and codes under them.
async fn given(engine: &dyn Engine, case: &Case, range: ScaleRange) -> Result<(), String> {
    let (block_amax, global) = case.calibrated();
    let table = Nvfp4Table::fixed(global, range, CodeCast::Keep);
    let scales: Vec<u8> = block_amax.iter().map(|amax| table.scale_byte(amax.to_bits())).collect();
    encoded(engine, case, &table, &scales).await
}

/// Encodes under `scales` and compares with the export.
async fn encoded(engine: &dyn Engine, case: &Case, table: &Nvfp4Table, scales: &[u8]) -> Result<(), String> {
    let source = SafeTensors::deserialize(case.source).unwrap();
    let weight = source.tensor("linear.weight").unwrap();
    let expected = SafeTensors::deserialize(case.expected).unwrap();
    let expected_ws2 = expected.tensor("linear.weight_scale_2").unwrap();
    if table.ws2().to_le_bytes() != expected_ws2.data() {
        return Err(format!("{}: ws2 {:e}, expected {:02x?}", case.name, table.ws2(), expected_ws2.data()));
    }
    let mut codes = vec![0xa5; scales.len() * 8];
    let done = engine.nvfp4_encode(tile_of(&weight), table, scales, &mut codes).await;
    done.map_err(|e| format!("{}: {e}", case.name))?;
    exported(case, scales, &codes)
}

fn exported(case: &Case, scales: &[u8], codes: &[u8]) -> Result<(), String> {
    let expected = SafeTensors::deserialize(case.expected).unwrap();
    let data = |name| expected.tensor(name).unwrap().data().to_vec();
    compare::scales(&format!("{} scales", case.name), &data("linear.weight_scale"), scales)?;
    compare::codes(&format!("{} codes", case.name), &data("linear.weight"), codes)
}
