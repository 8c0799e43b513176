//! The sweep over 126 scales as the specification reads: block by block, candidate by candidate, element by element.

use crate::Contestant;
use crate::machine::shared;
use crate::packing::{Matrix, largest};
use anyhow::Result;
use half::bf16;
use quantscope_kernels::nvfp4_quantize::{ScaleRange, ScaleRule};
use quantscope_numeric::{e2m1, e4m3};
use std::path::Path;

/// Scales of least error and the codes under them (`formats.md` c), for a matrix whose rows are whole blocks.
pub(crate) fn nvfp4_mse(file: &Path, rows: u32, cols: u32) -> Result<Contestant> {
    let matrix = Matrix::open(file, rows, cols, [cols / 2, cols / 16])?;
    let run = |matrix: &mut Matrix| {
        let global = largest(matrix)?;
        let rule = ScaleRule::Static { global, range: ScaleRange::Full };
        let values: Vec<f32> = values(matrix.tile().bytes);
        let results = matrix.codes.chunks_exact_mut(8).zip(&mut matrix.scales);
        for (block, (codes, scale)) in values.chunks_exact(16).zip(results) {
            *scale = best_scale(block, global, rule);
            let divisor = e4m3::decode(*scale) * rule.ws2();
            for (byte, pair) in codes.iter_mut().zip(block.as_chunks::<2>().0) {
                let [even, odd] = pair.map(|weight| e2m1::encode_nvfp4(weight / divisor));
                *byte = e2m1::pack(even, odd);
            }
        }
        Ok(())
    };
    Ok(shared(matrix, run, Matrix::check))
}

fn values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<2>().0.iter().map(|&pair| bf16::from_le_bytes(pair).to_f32()).collect()
}

fn best_scale(block: &[f32], global: f32, rule: ScaleRule) -> u8 {
    let (mut best, mut least) = (1, f64::INFINITY);
    for byte in 1..=0x7e_u8 {
        let share = e4m3::decode(byte) / e4m3::MAX;
        let mut divisor = (share * global) / 6.0;
        if divisor == 0.0 {
            divisor = 1.0;
        }
        let mut loss = 0.0;
        for weight in block {
            let rounded = e2m1::decode(e2m1::encode_nvfp4(weight.abs() / divisor));
            let error = weight.abs() - rounded * divisor;
            loss += f64::from(error * error);
        }
        if loss < least {
            (best, least) = (byte, loss);
        }
    }
    rule.scale_byte(global * (e4m3::decode(best) / e4m3::MAX))
}
