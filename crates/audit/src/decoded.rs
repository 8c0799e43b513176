//! Decoded values of a layer, region by region, from the shards they stand in.

use crate::checkpoint::Checkpoint;
use crate::model::LayerInfo;
use quantscope_format::SourceError;
use quantscope_kernels::{Engine, EngineError};
use quantscope_schemes::{Decoder, Refusal, Region, Slab};

/// Gaps up to this many bytes are read along with what lies around them: a request costs more.
const GAP: u64 = 4096;

/// Most bytes that are read at once for the sake of fewer requests.
const AT_ONCE: u64 = 8 << 20;

/// Why values could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The layer's tensors do not fit together, or its variant cannot be decoded.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A source failed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The engine failed.
    #[error("decoding failed: {0}")]
    Engine(#[from] EngineError),
}

/// A layer open for decoding.
pub struct DecodedLayer<'a> {
    checkpoint: &'a Checkpoint,
    layer: &'a LayerInfo,
    decoder: Box<dyn Decoder>,
}

/// Reads bytes of one of a layer's tensors, within its bounds.
///
/// # Errors
/// If there is no such tensor, the slab is not within it, or the source fails.
pub async fn read_slab(
    checkpoint: &Checkpoint,
    layer: &LayerInfo,
    slab: &Slab,
) -> Result<Vec<u8>, DecodeError> {
    let outside =
        || Refusal::new(format!("needs bytes that `{}` does not have", slab.leaf), "export it again");
    let (shard, tensor) = layer.tensor(checkpoint, &slab.leaf).ok_or_else(outside)?;
    let span = slab.runs.saturating_sub(1).checked_mul(slab.stride).and_then(|n| n.checked_add(slab.run));
    let end = span.and_then(|span| slab.offset.checked_add(span)).ok_or_else(outside)?;
    if end > tensor.byte_len() || !shard.header.is_readable(tensor) {
        return Err(outside().into());
    }
    let wanted = slab.run.checked_mul(slab.runs).and_then(|n| usize::try_from(n).ok()).ok_or_else(outside)?;
    let begin = tensor.begin.saturating_add(slab.offset);
    let mut bytes = vec![0; wanted];
    if slab.runs <= 1 || slab.stride == slab.run {
        shard.source.read(begin, &mut bytes).await?;
        return Ok(bytes);
    }
    let run = usize::try_from(slab.run).map_err(|_| outside())?;
    if slab.stride.saturating_sub(slab.run) > GAP || end - slab.offset > AT_ONCE {
        for (i, piece) in (0_u64..).zip(bytes.chunks_mut(run.max(1))) {
            shard.source.read(begin.saturating_add(i.saturating_mul(slab.stride)), piece).await?;
        }
        return Ok(bytes);
    }
    let stride = usize::try_from(slab.stride).map_err(|_| outside())?.max(1);
    let mut whole = vec![0; usize::try_from(end - slab.offset).map_err(|_| outside())?];
    shard.source.read(begin, &mut whole).await?;
    for (piece, from) in bytes.chunks_mut(run.max(1)).zip(whole.chunks(stride)) {
        if let Some(from) = from.get(..piece.len()) {
            piece.copy_from_slice(from);
        }
    }
    Ok(bytes)
}

impl<'a> DecodedLayer<'a> {
    /// Checks that the layer can be decoded. Reads nothing.
    ///
    /// # Errors
    /// If its tensors do not fit together, or its variant cannot be decoded.
    pub fn new(checkpoint: &'a Checkpoint, layer: &'a LayerInfo) -> Result<Self, Refusal> {
        let decoder = layer.scheme.decoder(&layer.view(checkpoint))?;
        Ok(Self { checkpoint, layer, decoder })
    }

    /// Its decoder.
    #[must_use]
    pub fn decoder(&self) -> &dyn Decoder {
        self.decoder.as_ref()
    }

    /// Regions that cover the layer in order, each of at most `budget` decoded bytes where a row can be cut so.
    pub fn regions(&self, budget: u64) -> impl Iterator<Item = Region> + use<> {
        let [rows, cols] = self.decoder.extent();
        let grid = crate::tiles::Grid { rows, row_bytes: cols.saturating_mul(4) };
        let unit = self.decoder.column_unit().saturating_mul(4);
        crate::tiles::tiles(grid, budget, unit)
            .map(|tile| Region { rows: tile.rows.clone(), cols: tile.bytes.start / 4..tile.bytes.end / 4 })
    }

    /// The bytes a region is stored in, tensor by tensor, as its decoder takes them.
    ///
    /// # Errors
    /// If a source fails, or a tensor is shorter than its shape says.
    pub async fn stored(&self, region: &Region) -> Result<Vec<Vec<u8>>, DecodeError> {
        let mut parts = Vec::new();
        for slab in self.decoder.needs(region) {
            parts.push(read_slab(self.checkpoint, self.layer, &slab).await?);
        }
        Ok(parts)
    }

    /// Decodes a region.
    ///
    /// # Errors
    /// If a source or the engine fails.
    pub async fn values(&self, engine: &dyn Engine, region: &Region) -> Result<Vec<f32>, DecodeError> {
        let parts = self.stored(region).await?;
        let mut values = Vec::new();
        self.decoder.decode(engine, region, &parts, &mut values).await?;
        Ok(values)
    }
}
