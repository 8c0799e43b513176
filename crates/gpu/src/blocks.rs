//! Maxima of blocks on a device.

use crate::engine::{GpuEngine, count, slice, words};
use crate::run::Storage;
use crate::split::split;
use quantscope_kernels::block_absmax::{BlockSize, Params, f32_bits};
use quantscope_kernels::{EngineError, FloatTile, Kernel};

impl GpuEngine {
    pub(crate) async fn block_maxima(
        &self,
        tile: FloatTile<'_>,
        block: BlockSize,
        out: &mut [u32],
    ) -> Result<(), EngineError> {
        block.check(&tile, out)?;
        out.fill(0);
        let (element, cols) = (tile.dtype.bytes() as u64, u64::from(tile.cols));
        let [_, col_blocks] = block.grid(tile.rows, tile.cols);
        // A part has as many maxima as elements at most.
        for part in split(u64::from(tile.rows), cols, self.most_units(4)?) {
            let shape = [count(part.rows.end - part.rows.start), count(part.units.end - part.units.start)];
            let place = [count(part.rows.start), count(part.units.start)];
            let params = Params::new(shape, place, block, tile.dtype);
            let maxima = u64::from(params.row_blocks()) * u64::from(params.col_blocks);
            let storage = [
                Storage::Input(slice(tile.bytes, &part, element, cols)),
                Storage::Output { bytes: maxima * 4, is_zeroed: true },
            ];
            let found =
                self.runner.run(Kernel::BlockAbsMax, &params.words(), &storage, params.runs(), words).await?;
            // A block that several parts share has the largest of their maxima.
            let first =
                (place[0] / block.rows) as usize * col_blocks as usize + (place[1] / block.cols) as usize;
            let rows = out.get_mut(first..).unwrap_or_default().chunks_mut(col_blocks as usize);
            for (row, found) in rows.zip(found.chunks(params.col_blocks as usize)) {
                for (largest, pattern) in row.iter_mut().zip(found) {
                    *largest = (*largest).max(f32_bits(*pattern, tile.dtype));
                }
            }
        }
        Ok(())
    }
}
