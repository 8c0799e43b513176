//! FP8 and MX weights that ModelOpt wrote: encoded anew under their scales, and decoded to what a second
//! implementation decodes them to (`tests/data/decoded.json`).

use super::compare;
use super::golden::tile_of;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{
    Engine, FloatTile, FloatType, Fp4DecodeTable, Fp4Tile, Fp8Rule, Fp8Tile, MxElement, Nibbles,
    QuotientRounding, ScaleGrid,
};
use quantscope_numeric::e8m0;
use safetensors::{Dtype, SafeTensors};
use sha2::{Digest, Sha256};

/// What is held to the golden data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Fp8Encode,
    Fp8Decode,
    MxEncode,
    MxDecode,
    Nvfp4Decode,
}

impl Part {
    /// Each with the number of its tensors.
    pub(crate) const ALL: [(Self, usize); 5] = [
        (Self::Fp8Encode, 77),
        (Self::Fp8Decode, 77),
        (Self::MxEncode, 35),
        (Self::MxDecode, 35),
        (Self::Nvfp4Decode, 25),
    ];
}

/// What a case's weights are. A 0-d scale does not tell a whole tensor from a single tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Fp8,
    Fp8Channel,
    Fp8Block,
    Mx,
    Nvfp4,
}

struct Case {
    /// The name of the case in `decoded.json`.
    name: &'static str,
    scheme: Scheme,
    source: &'static [u8],
    expected: &'static [u8],
}

macro_rules! layer {
    ($name:literal, $scheme:ident) => {
        Case {
            name: concat!("golden/", $name, "/expected.safetensors"),
            scheme: Scheme::$scheme,
            source: include_bytes!(concat!("../../../../tests/data/golden/", $name, "/source.safetensors")),
            expected: include_bytes!(concat!(
                "../../../../tests/data/golden/",
                $name,
                "/expected.safetensors"
            )),
        }
    };
}

macro_rules! folder {
    ($name:literal, $source:literal, $scheme:ident) => {
        Case {
            name: concat!("golden/", $name, "/expected"),
            scheme: Scheme::$scheme,
            source: include_bytes!(concat!(
                "../../../../tests/data/golden/_src/",
                $source,
                "/model.safetensors"
            )),
            expected: include_bytes!(concat!(
                "../../../../tests/data/golden/",
                $name,
                "/expected/model.safetensors"
            )),
        }
    };
}

const CASES: &[Case] = &[
    layer!("fp8_tensor_bf16", Fp8),
    layer!("fp8_tensor_f16", Fp8),
    layer!("fp8_tensor_f32", Fp8),
    layer!("fp8_tensor_zero", Fp8),
    layer!("fp8_channel_bf16", Fp8Channel),
    layer!("fp8_channel_f16_tiny", Fp8Channel),
    layer!("fp8_channel_f32", Fp8Channel),
    layer!("fp8_block_f16_tiny", Fp8Block),
    layer!("fp8_block_wo_100x60", Fp8Block),
    layer!("fp8_block_wo_128x128", Fp8Block),
    layer!("fp8_block_wo_130x140", Fp8Block),
    layer!("fp8_block_wo_3x260", Fp8Block),
    layer!("mxfp4", Mx),
    layer!("mxfp4_f32", Mx),
    layer!("mxfp4_ties", Mx),
    layer!("mxfp8", Mx),
    layer!("mxfp8_f32", Mx),
    layer!("mxfp8_log2_edges", Mx),
    layer!("w4a8_mxfp4_fp8", Mx),
    layer!("nvfp4_linear_bf16_33x208", Nvfp4),
    layer!("nvfp4_linear_bf16_edges", Nvfp4),
    layer!("nvfp4_linear_f16_heavy", Nvfp4),
    layer!("nvfp4_linear_f32_edges", Nvfp4),
    layer!("nvfp4_linear_zero_tensor", Nvfp4),
    layer!("nvfp4_static_four_over_six", Nvfp4),
    layer!("nvfp4_static_max_33x96", Nvfp4),
    layer!("nvfp4_static_mse_33x96", Nvfp4),
    layer!("nvfp4_static_mse_heavy_f32", Nvfp4),
    layer!("nvfp4_w4a16", Nvfp4),
    layer!("w4a8_nvfp4_fp8", Nvfp4),
    folder!("e2e_llama_fp8", "llama", Fp8),
    folder!("e2e_t5_fp8", "e2e_t5_fp8", Fp8),
    folder!("e2e_llama_fp8_pc_pt", "llama", Fp8Channel),
    folder!("e2e_llama_fp8_pb_wo", "llama", Fp8Block),
    folder!("e2e_llama_fp8_pb_w8a8", "llama_hidden136", Fp8Block),
    folder!("e2e_llama_mxfp4", "llama", Mx),
    folder!("e2e_llama_mxfp8", "llama", Mx),
    folder!("e2e_llama_nvfp4", "llama", Nvfp4),
];

/// A packed weight with its scales and what it was made from.
struct Layer<'c> {
    what: String,
    scheme: Scheme,
    source: FloatTile<'c>,
    is_fp8: bool,
    codes: &'c [u8],
    scales: &'c [u8],
    ws2: Option<f32>,
    /// SHA-256 of the decoded values.
    decoded: String,
}

/// Holds the engine to every tensor of a part; how many there were.
pub(crate) async fn agree(part: Part, engine: &dyn Engine) -> super::Outcome {
    let decoded: serde_json::Value =
        serde_json::from_str(include_str!("../../../../tests/data/decoded.json")).unwrap();
    let mut tensors = 0;
    for case in CASES {
        let expected = SafeTensors::deserialize(case.expected).unwrap();
        let source = SafeTensors::deserialize(case.source).unwrap();
        for (name, weight) in
            expected.iter().filter(|(_, t)| [Dtype::U8, Dtype::F8_E4M3].contains(&t.dtype()))
        {
            if !name.ends_with(".weight") {
                continue;
            }
            let find = |suffix: &str| expected.tensor(&format!("{name}{suffix}")).ok();
            let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
            let layer = Layer {
                what: format!("{} {name}", case.name),
                scheme: case.scheme,
                source: tile_of(&source.tensor(name).unwrap()),
                is_fp8: weight.dtype() == Dtype::F8_E4M3,
                codes: weight.data(),
                scales: find("_scale").or_else(|| find("_scale_inv")).unwrap().data(),
                ws2: find("_scale_2").map(|scale| float(scale.data())),
                decoded: decoded[case.name][name]["sha256"].as_str().unwrap().to_owned(),
            };
            tensors +=
                usize::from(layer.agree(part, engine).await.map_err(|e| format!("{}: {e}", layer.what))?);
        }
    }
    Ok(tensors)
}

impl Layer<'_> {
    /// Whether the part concerns this layer, and the engine agrees.
    async fn agree(&self, part: Part, engine: &dyn Engine) -> Result<bool, String> {
        let is_plain_fp8 = [Scheme::Fp8, Scheme::Fp8Channel, Scheme::Fp8Block].contains(&self.scheme);
        match part {
            Part::Fp8Encode if is_plain_fp8 => self.encode_fp8(engine).await?,
            Part::MxEncode if self.scheme == Scheme::Mx => self.encode_mx(engine).await?,
            Part::Fp8Decode if is_plain_fp8 => {
                let scales = self.f32_scales();
                self.decode_fp8(engine, self.grid(&scales)).await?;
            }
            Part::MxDecode if self.scheme == Scheme::Mx && self.is_fp8 => {
                let scales: Vec<u32> = self.scales.iter().map(|&byte| e8m0::decode(byte).to_bits()).collect();
                let scale_cols = self.source.cols / 32;
                let grid = ScaleGrid { block_cols: 32, scale_cols, ..ScaleGrid::per_row(&scales) };
                self.decode_fp8(engine, grid).await?;
            }
            Part::MxDecode if self.scheme == Scheme::Mx => {
                self.decode_fp4(engine, &Fp4DecodeTable::e8m0(Nibbles::LowFirst)).await?;
            }
            Part::Nvfp4Decode if self.scheme == Scheme::Nvfp4 => {
                self.decode_fp4(engine, &Fp4DecodeTable::e4m3(self.ws2.unwrap(), Nibbles::LowFirst)).await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn f32_scales(&self) -> Vec<u32> {
        self.scales.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    fn grid<'s>(&self, scales: &'s [u32]) -> ScaleGrid<'s> {
        match self.scheme {
            Scheme::Fp8 => ScaleGrid::one(&scales[0]),
            Scheme::Fp8Block => ScaleGrid {
                block_rows: 128,
                block_cols: 128,
                scale_cols: self.source.cols.div_ceil(128),
                ..ScaleGrid::per_row(scales)
            },
            _ => ScaleGrid::per_row(scales),
        }
    }

    async fn encode_fp8(&self, engine: &dyn Engine) -> Result<(), String> {
        let scales = self.f32_scales();
        let quotient = match (self.scheme, self.source.dtype) {
            (Scheme::Fp8, FloatType::Bf16) => QuotientRounding::Bf16,
            (Scheme::Fp8, FloatType::F16) => QuotientRounding::F16,
            _ => QuotientRounding::None,
        };
        let rule = Fp8Rule { cast: CodeCast::Keep, quotient };
        let mut codes = vec![0xa5; self.codes.len()];
        let done = engine.fp8_encode(self.source, self.grid(&scales), rule, &mut codes).await;
        done.map_err(|e| e.to_string())?;
        compare::scales("codes", self.codes, &codes)
    }

    async fn encode_mx(&self, engine: &dyn Engine) -> Result<(), String> {
        let element = if self.is_fp8 { MxElement::E4m3 } else { MxElement::E2m1 };
        let (mut codes, mut scales) = (vec![0xa5; self.codes.len()], vec![0xa5; self.scales.len()]);
        let done = engine.mx_encode(self.source, element, CodeCast::Keep, &mut codes, &mut scales).await;
        done.map_err(|e| e.to_string())?;
        compare::exact("scales", self.scales, &scales)?;
        compare::exact("codes", self.codes, &codes)
    }

    async fn decode_fp8(&self, engine: &dyn Engine, grid: ScaleGrid<'_>) -> Result<(), String> {
        let tile = Fp8Tile { codes: self.codes, rows: self.source.rows, cols: self.source.cols, grid };
        let mut values = vec![0xa5a5_a5a5; self.codes.len()];
        engine.fp8_decode(tile, &mut values).await.map_err(|e| e.to_string())?;
        self.compare_decoded(&values)
    }

    async fn decode_fp4(&self, engine: &dyn Engine, table: &Fp4DecodeTable) -> Result<(), String> {
        let rows = self.source.rows;
        let blocks = u32::try_from(self.scales.len()).unwrap() / rows;
        let tile = Fp4Tile {
            codes: self.codes,
            scales: self.scales,
            rows,
            blocks,
            block: self.source.cols / blocks,
        };
        let mut values = vec![0xa5a5_a5a5; self.codes.len() * 2];
        engine.fp4_decode(tile, table, &mut values).await.map_err(|e| e.to_string())?;
        self.compare_decoded(&values)
    }

    /// Every zero counts as +0, as in the list.
    fn compare_decoded(&self, values: &[u32]) -> Result<(), String> {
        let plain = values.iter().map(|&bits| if bits == 0x8000_0000 { 0 } else { bits });
        let bytes: Vec<u8> = plain.flat_map(u32::to_le_bytes).collect();
        let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if found == self.decoded { Ok(()) } else { Err("decodes to other values".to_owned()) }
    }
}
