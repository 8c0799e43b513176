//! Errors of decoded values on a device.

use crate::engine::{GpuEngine, census_of, count, short, slice, words};
use crate::run::Storage;
use crate::split::split;
use quantscope_kernels::error_metrics::{
    ELEMENTS_PER_INVOCATION, ErrorMetrics, METRICS_WORDS, Params, check,
};
use quantscope_kernels::{EngineError, FloatTile, Kernel};

impl GpuEngine {
    pub(crate) async fn metrics(
        &self,
        tile: FloatTile<'_>,
        decoded: &[u32],
    ) -> Result<ErrorMetrics, EngineError> {
        check(&tile, decoded)?;
        let decoded_bytes: &[u8] = bytemuck::cast_slice(decoded);
        let elements = decoded.len() as u64;
        let mut metrics = ErrorMetrics::default();
        for part in split(1, elements, self.most_units(4)?) {
            let params = Params { element_count: count(part.unit_count()), dtype: tile.dtype.number() };
            let storage = [
                Storage::Input(slice(tile.bytes, &part, tile.dtype.bytes() as u64, elements)),
                Storage::Input(slice(decoded_bytes, &part, 4, elements)),
                census_of(METRICS_WORDS),
            ];
            let invocations = part.unit_count().div_ceil(u64::from(ELEMENTS_PER_INVOCATION));
            let result =
                self.runner.run(Kernel::ErrorMetrics, &params.words(), &storage, invocations, words).await?;
            metrics.add(&ErrorMetrics::from_words(&result).ok_or_else(short)?);
        }
        Ok(metrics)
    }
}
