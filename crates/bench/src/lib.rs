//! The wasm contestants, for Node to load: a header from its bytes, and a matrix to NVFP4.
//!
//! Compiled with the page's own profile, so what is measured is what the page runs.
#![forbid(unsafe_code)]
#![cfg(target_arch = "wasm32")]

use futures_util::FutureExt as _;
use quantscope_format::{Limits, ShardHeader};
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table};
use quantscope_kernels::{CpuEngine, Engine as _, FloatTile, FloatType, Nvfp4Out};
use sha2::Digest as _;
use wasm_bindgen::prelude::wasm_bindgen;

/// The number of tensors in a sound header, given its JSON and the length of its file; -1 of another.
#[wasm_bindgen]
#[must_use]
#[allow(clippy::needless_pass_by_value, reason = "the bytes were copied into this memory and belong here")]
pub fn header(json: Vec<u8>, file_len: u64) -> i32 {
    let header = ShardHeader::parse(&json, file_len, &Limits::default());
    if header.is_sound() { i32::try_from(header.tensors.len()).unwrap_or(-1) } else { -1 }
}

/// A matrix of BF16 that stays in this memory, and the room for its codes.
#[wasm_bindgen]
pub struct Matrix {
    source: Vec<u8>,
    rows: u32,
    cols: u32,
    table: Nvfp4Table,
    codes: Vec<u8>,
    scales: Vec<u8>,
}

#[wasm_bindgen]
impl Matrix {
    /// Takes the bytes of a matrix, and finds the largest magnitude.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(source: Vec<u8>, rows: u32, cols: u32) -> Self {
        let tile = FloatTile { dtype: FloatType::Bf16, bytes: &source, rows, cols };
        // Of bytes that do not fit the shape nothing is quantized either.
        let largest = CpuEngine::new().absmax(tile).now_or_never().and_then(Result::ok).unwrap_or_default();
        let largest = largest.value();
        let blocks = rows as usize * cols.div_ceil(16) as usize;
        let table = Nvfp4Table::dynamic(largest / 2688.0, Nvfp4Block::Of16, CodeCast::Keep);
        Self { source, rows, cols, table, codes: vec![0; blocks * 8], scales: vec![0; blocks] }
    }

    /// Makes scales and codes once; `false` if the shape does not fit the bytes.
    pub fn quantize(&mut self) -> bool {
        let tile =
            FloatTile { dtype: FloatType::Bf16, bytes: &self.source, rows: self.rows, cols: self.cols };
        let out = Nvfp4Out { codes: &mut self.codes, scales: &mut self.scales };
        CpuEngine::new()
            .nvfp4_quantize(tile, &self.table, out)
            .now_or_never()
            .is_some_and(|done| done.is_ok())
    }

    /// A check of the result, the same as the native contestant's.
    #[must_use]
    pub fn check(&self) -> u64 {
        let mut hash = sha2::Sha256::new();
        hash.update(&self.codes);
        hash.update(&self.scales);
        let hash: [u8; 32] = hash.finalize().into();
        hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}
