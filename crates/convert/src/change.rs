//! Carrying out what changes a tensor's form without quantizing: casts, decoded layers, recast ones.

use crate::arranged::ArrangedWriter;
use crate::error::ConvertError;
use crate::joined::Joined;
use crate::noise::{self, LayerError};
use crate::passage::{length, sized};
use crate::plan::{Place, PlanFile, PlanTensor};
use crate::run::Job;
use crate::write::TensorWriter;
use quantscope_audit::LayerInfo;
use quantscope_audit::decoded::{DecodeError, DecodedLayer, read_slab};
use quantscope_format::{Buffer, Sink, Source as _};
use quantscope_kernels::error_metrics::ErrorMetrics;
use quantscope_kernels::{FloatTile, FloatType};
use quantscope_numeric::{Dtype, narrow, widen};
use quantscope_schemes::{Output, Recast, Scheme};
use std::sync::Arc;

/// A failure of decoding, with the layer's name.
pub(crate) fn named(layer: &LayerInfo, error: DecodeError) -> ConvertError {
    match error {
        DecodeError::Refused(refusal) => ConvertError::Tensor {
            tensor: layer.name.clone(),
            reason: refusal.reason,
            remedy: refusal.remedy,
        },
        DecodeError::Source(error) => ConvertError::Source(error),
        DecodeError::Engine(error) => ConvertError::Engine(error),
    }
}

/// Whether numbers may lose something in this type.
fn rounds(dtype: Dtype) -> bool {
    !matches!(dtype, Dtype::F32 | Dtype::F64)
}

/// Bytes of an output as they come.
pub(crate) fn stored_len(output: &Output) -> u64 {
    let elements = output.shape.iter().fold(1_u64, |n, &side| n.saturating_mul(side));
    output.dtype.byte_len(elements).unwrap_or(u64::MAX)
}

impl<'a> Job<'a> {
    /// What values have lost in a type.
    async fn rounding(
        &self,
        values: &[f32],
        dtype: Dtype,
        rounded: &[u8],
    ) -> Result<ErrorMetrics, ConvertError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let cols = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let tile = FloatTile { dtype: FloatType::F32, bytes: &bytes, rows: 1, cols };
        let mut decoded = Vec::new();
        widen(dtype, rounded, &mut decoded);
        Ok(noise::compare(self.engine, tile, &decoded, decoded.len()).await?)
    }

    pub(crate) fn changed_layer(&self, i: usize) -> Option<(&'a LayerInfo, &'static dyn Scheme)> {
        let changed = self.plan.changed.get(i)?;
        Some((self.model.layers.get(changed.layer)?, changed.to))
    }

    /// The largest of single numbers; what is no number counts for nothing.
    pub(crate) async fn largest(&self, places: &[Place]) -> Result<f32, ConvertError> {
        let mut largest: Option<f32> = None;
        for place in places {
            let Some((shard, source)) = self.checkpoint.tensor(place.shard, place.tensor) else { continue };
            let mut bytes = [0; 4];
            shard.source.read(source.begin.saturating_add(place.bytes.start), &mut bytes).await?;
            let number = f32::from_le_bytes(bytes);
            largest = Some(largest.map_or(number, |known| known.max(number)));
        }
        Ok(largest.unwrap_or_default())
    }

    /// Numbers of a source tensor, or of several one after another, in another float type.
    pub(crate) async fn cast_tensor(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        tensor: &'a PlanTensor,
        (places, from): (&[Place], Dtype),
    ) -> Result<(), ConvertError> {
        let Some(source) = Joined::new(self.checkpoint, places) else { return Ok(()) };
        let name = tensor.spec.name.as_str();
        let mut writer = TensorWriter::new(&file.name, tensor.span.start);
        let mut metrics = rounds(tensor.spec.dtype).then(ErrorMetrics::default);
        let width = (from.bits() / 8).max(1);
        let step = (self.tile_bytes() / width).max(1) * width;
        let mut at = 0;
        while at < source.len() {
            let mut bytes = sized(step.min(source.len() - at));
            source.read(at, &mut bytes).await?;
            at += length(&bytes);
            let (mut values, mut rounded) = (Vec::new(), Vec::new());
            widen(from, &bytes, &mut values);
            narrow(tensor.spec.dtype, &values, &mut rounded);
            let rounded = Arc::new(Buffer::from(rounded));
            writer.write_shared(sink, &rounded).await?;
            if let Some(metrics) = &mut metrics {
                metrics.add(&self.rounding(&values, tensor.spec.dtype, &rounded).await?);
            }
            self.passage.step(name, length(&rounded))?;
        }
        self.errors.extend(metrics.map(|m| (name.to_string(), LayerError::new(name, &m))));
        self.passage.written.insert(name, writer.finish());
        Ok(())
    }

    /// The decoded weight of a quantized layer.
    pub(crate) async fn decode_layer(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        tensor: &'a PlanTensor,
        i: usize,
    ) -> Result<(), ConvertError> {
        let Some((layer, _)) = self.changed_layer(i) else { return Ok(()) };
        let decoded = DecodedLayer::new(self.checkpoint, layer).map_err(|e| named(layer, e.into()))?;
        let mut writer = TensorWriter::new(&file.name, tensor.span.start);
        let mut metrics = rounds(tensor.spec.dtype).then(ErrorMetrics::default);
        for region in decoded.regions(self.tile_bytes()) {
            let values = decoded.values(self.engine, &region).await.map_err(|e| named(layer, e))?;
            let mut rounded = Vec::new();
            narrow(tensor.spec.dtype, &values, &mut rounded);
            let rounded = Arc::new(Buffer::from(rounded));
            writer.write_shared(sink, &rounded).await?;
            if let Some(metrics) = &mut metrics {
                metrics.add(&self.rounding(&values, tensor.spec.dtype, &rounded).await?);
            }
            self.passage.step(&layer.name, length(&rounded))?;
        }
        let name = tensor.spec.name.as_str();
        self.errors.extend(metrics.map(|m| (name.to_string(), LayerError::new(&layer.name, &m))));
        self.passage.written.insert(name, writer.finish());
        Ok(())
    }

    /// Makes a layer ready for being taken over: what must be seen first is seen.
    pub(crate) async fn recast(
        &mut self,
        layer: &LayerInfo,
        to: &'static dyn Scheme,
    ) -> Result<Option<Box<dyn Recast>>, ConvertError> {
        let view = layer.view(self.checkpoint);
        let Some(made) = to.recast(layer.scheme, &view) else { return Ok(None) };
        let mut recast = made.map_err(|e| named(layer, e.into()))?;
        let surveyed = recast.surveys().and_then(|leaf| layer.tensor(self.checkpoint, leaf));
        if let Some((shard, tensor)) = surveyed {
            let mut at = tensor.begin;
            while at < tensor.end {
                let mut bytes = sized(self.tile_bytes().min(tensor.end - at));
                shard.source.read(at, &mut bytes).await?;
                recast.survey(&bytes);
                at += length(&bytes);
                self.passage.step(&layer.name, 0)?;
            }
        }
        Ok(Some(recast))
    }

    /// An output of a layer taken over from another scheme's form.
    pub(crate) async fn recast_layer(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        tensor: &'a PlanTensor,
        (i, output): (usize, usize),
    ) -> Result<(), ConvertError> {
        let Some((layer, to)) = self.changed_layer(i) else { return Ok(()) };
        let Some(recast) = self.recast(layer, to).await? else { return Ok(()) };
        let len = recast.outputs().get(output).map_or(0, stored_len);
        let unit = recast.unit(output).max(1);
        let step = (self.tile_bytes() / unit).max(1).saturating_mul(unit);
        let mut writer = ArrangedWriter::new(file, tensor, self.tile_bytes());
        let mut at = 0;
        while at < len {
            let span = at..at.saturating_add(step).min(len);
            let mut parts = Vec::new();
            for slab in recast.needs(output, span.clone()) {
                parts.push(read_slab(self.checkpoint, layer, &slab).await.map_err(|e| named(layer, e))?);
            }
            let bytes = Arc::new(Buffer::from(recast.produce(output, span.clone(), &parts)));
            writer.write(sink, &bytes).await?;
            self.passage.step(&layer.name, length(&bytes))?;
            at = span.end;
        }
        self.passage.written.insert(&tensor.spec.name, writer.finish(sink).await?);
        Ok(())
    }
}
