//! Layers that ModelOpt quantized: source, result, and the element type of the export.

use super::{Outcome, compare};
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table};
use quantscope_kernels::{Engine, FloatTile, FloatType, Nvfp4Out, Nvfp4Tile};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

struct Case {
    name: &'static str,
    case: &'static str,
    source: &'static [u8],
    expected: &'static [u8],
}

macro_rules! cases {
    ($folder:literal, $source:literal, $expected:literal, [$($name:literal),* $(,)?]) => {
        &[$(Case {
            name: $name,
            case: include_str!(concat!("../../../../tests/data/", $folder, $name, "/case.json")),
            source: include_bytes!(concat!("../../../../tests/data/", $folder, $name, $source)),
            expected: include_bytes!(concat!("../../../../tests/data/", $folder, $name, $expected)),
        }),*]
    };
}

const LAYERS: &[Case] = cases!(
    "golden/",
    "/source.safetensors",
    "/expected.safetensors",
    [
        "nvfp4_linear_bf16_1x16",
        "nvfp4_linear_bf16_33x208",
        "nvfp4_linear_bf16_64x48",
        "nvfp4_linear_bf16_7x32",
        "nvfp4_linear_bf16_edges",
        "nvfp4_linear_bf16_heavy",
        "nvfp4_linear_f16_1x16",
        "nvfp4_linear_f16_33x208",
        "nvfp4_linear_f16_64x48",
        "nvfp4_linear_f16_7x32",
        "nvfp4_linear_f16_edges",
        "nvfp4_linear_f16_heavy",
        "nvfp4_linear_f32_1x16",
        "nvfp4_linear_f32_33x208",
        "nvfp4_linear_f32_64x48",
        "nvfp4_linear_f32_7x32",
        "nvfp4_linear_f32_edges",
        "nvfp4_linear_f32_heavy",
        "nvfp4_linear_f32_to_bf16",
        "nvfp4_linear_zero_tensor",
        "nvfp4_conv3d_3x12g1_1x1x1",
        "nvfp4_conv3d_6x4g2_3x1x1",
        "nvfp4_conv3d_7x5g1_3x3x3",
        "nvfp4_conv3d_8x16g1_1x3x3",
        "nvfp4_w4a16",
        "w4a8_nvfp4_fp8",
    ]
);

const BANKS: &[Case] = cases!(
    "golden-pr/conv3d/",
    "/source/diffusion_pytorch_model.safetensors",
    "/expected/diffusion_pytorch_model.safetensors",
    ["conv3d_bf16", "conv3d_f16", "conv3d_f16_to_bf16", "conv3d_f32", "conv3d_f32_to_bf16"]
);

const CONVOLUTIONS: &[Case] = cases!(
    "golden-pr/conv3d/",
    "/source/model.safetensors",
    "/expected/model.safetensors",
    ["conv3d_seed_grouped", "conv3d_seed_weight_only"]
);

/// A weight as a matrix: all axes but the first in a row.
pub(crate) fn tile_of<'t>(weight: &TensorView<'t>) -> FloatTile<'t> {
    let dtype = match weight.dtype() {
        Dtype::F32 => FloatType::F32,
        Dtype::BF16 => FloatType::Bf16,
        Dtype::F16 => FloatType::F16,
        other => panic!("{other:?}"),
    };
    FloatTile {
        dtype,
        bytes: weight.data(),
        rows: u32::try_from(weight.shape()[0]).unwrap(),
        cols: u32::try_from(weight.shape()[1..].iter().product::<usize>()).unwrap(),
    }
}

/// Quantizes every packed tensor of every case as the reference did, and takes the census of the result.
pub(crate) async fn agree(engine: &dyn Engine) -> Outcome {
    let mut tensors = 0;
    for case in [LAYERS, BANKS, CONVOLUTIONS].into_iter().flatten() {
        tensors += agree_on(engine, case).await?;
    }
    Ok(tensors)
}

async fn agree_on(engine: &dyn Engine, case: &Case) -> Outcome {
    let source = SafeTensors::deserialize(case.source).unwrap();
    let expected = SafeTensors::deserialize(case.expected).unwrap();
    let facts: serde_json::Value = serde_json::from_str(case.case).unwrap();
    let export = facts["export_dtype"].as_str().map(|name| name.trim_start_matches("torch."));
    let mut tensors = 0;
    for (name, codes) in expected.iter().filter(|(_, tensor)| tensor.dtype() == Dtype::U8) {
        let what = format!("{} {name}", case.name);
        let weight = source.tensor(name).unwrap();
        let tile = tile_of(&weight);
        let cast = match (tile.dtype, export) {
            (_, None) | (FloatType::F32, Some("float32")) => CodeCast::Keep,
            (FloatType::Bf16, Some("bfloat16")) | (FloatType::F16, Some("float16")) => CodeCast::Keep,
            (_, Some("bfloat16")) => CodeCast::ToBf16,
            (_, other) => panic!("{what}: exported as {other:?}"),
        };
        let (block, share) = match facts["modelopt_format"].as_str() {
            Some("w4a8_nvfp4_fp8") => (Nvfp4Block::Of32, 448.0),
            _ => (Nvfp4Block::Of16, 2688.0),
        };
        let ws2 = engine.absmax(tile).await.map_err(|e| e.to_string())?.value() / share;
        let expected_ws2 = expected.tensor(&format!("{name}_scale_2")).unwrap();
        if ws2.to_le_bytes() != expected_ws2.data() {
            return Err(format!("{what}_scale_2: expected {:02x?}, found {ws2:e}", expected_ws2.data()));
        }
        let scales = expected.tensor(&format!("{name}_scale")).unwrap();
        let mut out_codes = vec![0xa5; codes.data().len()];
        let mut out_scales = vec![0xa5; scales.data().len()];
        let out = Nvfp4Out { codes: &mut out_codes, scales: &mut out_scales };
        let table = Nvfp4Table::dynamic(ws2, block, cast);
        engine.nvfp4_quantize(tile, &table, out).await.map_err(|e| format!("{what}: {e}"))?;
        compare::scales(&format!("{what}_scale"), scales.data(), &out_scales)?;
        compare::codes(&what, codes.data(), &out_codes)?;

        let packed = Nvfp4Tile {
            codes: codes.data(),
            scales: scales.data(),
            rows: tile.rows,
            blocks: tile.row_blocks(block),
            block: block.elems(),
            logical_cols: tile.cols,
        };
        let census = engine.nvfp4_verify(packed).await.map_err(|e| format!("{what}: {e}"))?;
        let blocks = scales.data().len() as u64;
        assert_eq!(census.codes.iter().sum::<u64>(), blocks * u64::from(block.elems()), "{what}");
        assert_eq!(census.scales.iter().sum::<u64>(), blocks, "{what}");
        assert_eq!((census.zero_scale_with_codes, census.zero_scale_zero_codes), (0, 0), "{what}");
        if case.name == "nvfp4_linear_zero_tensor" {
            assert_eq!(census.first_bad_scale, 0, "{what}: its scales are NaN");
        } else {
            assert_eq!(census.first_bad_scale, quantscope_kernels::NONE, "{what}");
            assert_eq!(census.padding_not_zero, 0, "{what}");
        }
        tensors += 1;
    }
    Ok(tensors)
}
