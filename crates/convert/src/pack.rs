//! Packing layers tile by tile through the engine.
//!
//! A tile holds whole blocks: a band of rows, as many as the budget takes, or a part of one row. Where blocks are
//! larger than the budget, their maxima are found part by part first, then codes are made under the scales known.

use crate::arranged::ArrangedWriter;
use crate::error::ConvertError;
use crate::joined::Joined;
use crate::measure::not_finite;
use crate::noise::{Gauge, LayerError, PackedTile};
use crate::passage::{length, sized};
use crate::plan::{PackedLayer, PlanFile, PlanTensor};
use crate::rectangles::{BlockGrid, Rectangle, least_common_multiple, parts};
use crate::run::Job;
use quantscope_format::{Buffer, Sink, Source};
use quantscope_kernels::block_absmax::BlockSize;
use quantscope_kernels::{Engine as _, FloatTile};
use quantscope_schemes::{EncodeInput, Encoded, Encoder, Form};
use std::sync::Arc;

/// Patterns from here on are infinite or NaN.
const INFINITE: u32 = 0x7f80_0000;

/// A layer being packed.
pub(crate) struct Packing<'a> {
    pub(crate) packed: &'a PackedLayer,
    pub(crate) encoder: Box<dyn Encoder>,
    pub(crate) grid: BlockGrid,
    pub(crate) codes: ArrangedWriter<'a>,
    pub(crate) scales: Option<ArrangedWriter<'a>>,
    pub(crate) gauge: Gauge,
}

impl Packing<'_> {
    /// Writes the next block scales, where they are stored one by one.
    pub(crate) async fn put_scales(
        &mut self,
        sink: &mut dyn Sink,
        scales: &Arc<Buffer>,
    ) -> Result<(), ConvertError> {
        match &mut self.scales {
            Some(writer) => writer.write(sink, scales).await,
            None => Ok(()),
        }
    }
}

/// Some values as the engine takes them.
pub(crate) fn tile<'t>(packed: &PackedLayer, bytes: &'t [u8], rectangle: &Rectangle) -> FloatTile<'t> {
    let side = |range: &std::ops::Range<u64>| {
        u32::try_from(range.end.saturating_sub(range.start)).unwrap_or(u32::MAX)
    };
    FloatTile { dtype: packed.dtype, bytes, rows: side(&rectangle.rows), cols: side(&rectangle.cols) }
}

impl<'a> Job<'a> {
    /// The bytes of a packed layer's weight.
    pub(crate) fn weight(&self, packed: &PackedLayer) -> Result<Joined<'a>, ConvertError> {
        let weight = Joined::new(self.checkpoint, packed.places()).ok_or_else(|| {
            ConvertError::Refused(format!("`{}` has lost its weight since the plan was made", packed.name))
        })?;
        Ok(if self.ahead.keeps() { weight.behind(self.ahead) } else { weight })
    }

    /// Bytes of source that are taken at once.
    pub(crate) fn tile_bytes(&self) -> u64 {
        self.passage.tile_bytes()
    }

    fn encoder(&self, packed: &PackedLayer, maximum: f32) -> Result<Box<dyn Encoder>, ConvertError> {
        let input = EncodeInput {
            matrix: packed.matrix,
            dtype: packed.dtype,
            cast: packed.cast,
            export: self.recipe.dtype.unwrap_or(packed.dtype),
            maximum,
            settings: self.recipe.settings,
            given_blocks: packed.given.is_some(),
        };
        packed.scheme.encoder(&input).map_err(|refusal| ConvertError::Tensor {
            tensor: packed.name.clone(),
            reason: refusal.reason,
            remedy: refusal.remedy,
        })
    }

    /// A 0-d scale of a packed layer.
    pub(crate) async fn scalar(&self, i: usize, leaf: &str) -> Result<Option<f32>, ConvertError> {
        let Some(packed) = self.plan.packed.get(i) else { return Ok(None) };
        let scalars = self.encoder(packed, self.maximum(i).await?)?.scalars();
        Ok(scalars.into_iter().find(|(name, _)| *name == leaf).map(|(_, value)| value))
    }

    /// Packs one layer: codes and block scales of each tile go to their two places at once.
    pub(crate) async fn pack(
        &mut self,
        sink: &mut dyn Sink,
        file: &'a PlanFile,
        i: usize,
        (codes, scales): (&'a PlanTensor, Option<&'a PlanTensor>),
    ) -> Result<(), ConvertError> {
        let Some(packed) = self.plan.packed.get(i) else { return Ok(()) };
        let encoder = self.encoder(packed, self.maximum(i).await?)?;
        let gauge = Gauge::new(packed, encoder.scalars());
        let mut packing = Packing {
            packed,
            encoder,
            grid: BlockGrid::new(packed),
            codes: ArrangedWriter::new(file, codes, self.tile_bytes()),
            scales: scales.map(|scales| ArrangedWriter::new(file, scales, self.tile_bytes())),
            gauge,
        };
        match packed.matrix.form {
            Form::Stack { experts } => self.pack_stack(sink, &mut packing, experts).await?,
            Form::Linear | Form::Conv3d | Form::Experts { .. } => self.pack_rows(sink, &mut packing).await?,
        }
        if let Some(metrics) = &packing.gauge.metrics {
            self.errors.insert(codes.spec.name.clone(), LayerError::new(&packed.name, metrics));
        }
        self.passage.written.insert(&codes.spec.name, packing.codes.finish(sink).await?);
        if let Some((scales, writer)) = scales.zip(packing.scales) {
            self.passage.written.insert(&scales.spec.name, writer.finish(sink).await?);
        }
        Ok(())
    }

    /// Bands of rows, each holding whole blocks.
    async fn pack_rows(
        &mut self,
        sink: &mut dyn Sink,
        packing: &mut Packing<'a>,
    ) -> Result<(), ConvertError> {
        let packed = packing.packed;
        let least = least_common_multiple(packing.grid.block_rows, packed.encoding.row_unit);
        let row_bytes = packed.matrix.cols.saturating_mul(packed.dtype.bytes() as u64);
        let fitting = self.tile_bytes() / row_bytes.saturating_mul(least).max(1);
        let mut row = 0;
        while row < packed.matrix.rows {
            let end = row.saturating_add(fitting.max(1).saturating_mul(least)).min(packed.matrix.rows);
            let band = Rectangle { rows: row..end, cols: 0..packed.matrix.cols };
            if fitting > 0 {
                self.pack_whole(sink, packing, band).await?;
            } else if least == 1 && packing.grid.blocks_lie_in_rows() {
                let elements = self.tile_bytes() / packed.dtype.bytes() as u64;
                for part in parts(&band, elements, 1, packing.grid.column_unit, u64::MAX) {
                    self.pack_whole(sink, packing, part).await?;
                }
            } else {
                self.pack_band(sink, packing, &band).await?;
            }
            row = end;
        }
        Ok(())
    }

    /// A rectangle of whole blocks, whose scales and codes follow on those before.
    async fn pack_whole(
        &mut self,
        sink: &mut dyn Sink,
        packing: &mut Packing<'a>,
        rectangle: Rectangle,
    ) -> Result<(), ConvertError> {
        let bytes = self.values(packing.packed, &rectangle).await?;
        let Encoded { codes, scales } = self.encode(packing, &rectangle, &bytes).await?;
        let scales = Arc::new(Buffer::from(scales));
        packing.put_scales(sink, &scales).await?;
        self.put(sink, packing, rectangle, &bytes, (codes, &scales)).await
    }

    /// Scales and codes of values that hold whole blocks.
    pub(crate) async fn encode(
        &self,
        packing: &Packing<'a>,
        rectangle: &Rectangle,
        bytes: &[u8],
    ) -> Result<Encoded, ConvertError> {
        let part = tile(packing.packed, bytes, rectangle);
        self.check_finite(packing.packed, part).await?;
        if packing.packed.given.is_none() {
            return Ok(packing.encoder.encode(self.engine, part).await?);
        }
        let maxima = self.given(packing, rectangle).await?;
        let scales = packing.encoder.scales(&maxima);
        let codes = packing.encoder.codes(self.engine, part, 0, &scales).await?;
        Ok(Encoded { codes, scales })
    }

    /// Refuses NaN and infinities that no measuring has met before.
    async fn check_finite(&self, packed: &PackedLayer, part: FloatTile<'_>) -> Result<(), ConvertError> {
        if packed.encoding.needs_maximum || self.engine.absmax(part).await?.is_finite() {
            return Ok(());
        }
        Err(not_finite(packed))
    }

    /// Writes codes, and takes their error.
    async fn put(
        &mut self,
        sink: &mut dyn Sink,
        packing: &mut Packing<'a>,
        rectangle: Rectangle,
        bytes: &[u8],
        (codes, scales): (Vec<u8>, &[u8]),
    ) -> Result<(), ConvertError> {
        let codes = Arc::new(Buffer::from(codes));
        packing.codes.write(sink, &codes).await?;
        let source = tile(packing.packed, bytes, &rectangle);
        let Rectangle { rows, cols } = rectangle;
        let packed_tile = PackedTile { rows, cols, source, codes: &codes, scales };
        packing.gauge.add(self.engine, packed_tile).await?;
        self.ahead.give_way().await;
        self.passage.step(&packing.packed.name, length(&codes) + length(scales))
    }

    /// A band that exceeds the budget: its scales first, then its codes part by part.
    async fn pack_band(
        &mut self,
        sink: &mut dyn Sink,
        packing: &mut Packing<'a>,
        band: &Rectangle,
    ) -> Result<(), ConvertError> {
        let packed = packing.packed;
        let maxima = match (&packed.given, packing.grid.has_scales()) {
            (_, false) => Vec::new(),
            (Some(_), true) => self.given(packing, band).await?,
            (None, true) => self.maxima_of_band(packing, band).await?,
        };
        let scales = packing.encoder.scales(&maxima);
        let scales = Arc::new(Buffer::from(scales));
        packing.put_scales(sink, &scales).await?;
        let elements = self.tile_bytes() / packed.dtype.bytes() as u64;
        for part in parts(band, elements, packed.encoding.row_unit, packing.grid.column_unit, u64::MAX) {
            let bytes = self.values(packed, &part).await?;
            self.check_finite(packed, tile(packed, &bytes, &part)).await?;
            let (first_row, own) = packing.grid.touched(band, &part, &scales);
            let codes =
                packing.encoder.codes(self.engine, tile(packed, &bytes, &part), first_row, &own).await?;
            self.put(sink, packing, part, &bytes, (codes, &own)).await?;
        }
        Ok(())
    }

    /// Maxima of a band's blocks, found part by part.
    async fn maxima_of_band(
        &mut self,
        packing: &Packing<'a>,
        band: &Rectangle,
    ) -> Result<Vec<u32>, ConvertError> {
        let (packed, grid) = (packing.packed, &packing.grid);
        let mut maxima = vec![0_u32; grid.blocks_in(band)];
        let elements = self.tile_bytes() / packed.dtype.bytes() as u64;
        for part in parts(band, elements, 1, grid.column_unit, grid.block_rows) {
            let bytes = self.values(packed, &part).await?;
            let block = BlockSize { rows: u32::MAX, cols: packed.encoding.block[1] };
            let (at, count) = grid.first_block(band, &part);
            let mut found = vec![0_u32; count];
            self.engine.block_absmax(tile(packed, &bytes, &part), block, &mut found).await?;
            for (slot, found) in maxima.iter_mut().skip(at).zip(found) {
                *slot = (*slot).max(found);
            }
            self.passage.step(&packed.name, 0)?;
        }
        if maxima.iter().any(|&bits| bits >= INFINITE) { Err(not_finite(packed)) } else { Ok(maxima) }
    }

    /// Calibrated maxima of the blocks of a rectangle.
    async fn given(&self, packing: &Packing<'a>, rectangle: &Rectangle) -> Result<Vec<u32>, ConvertError> {
        let Some(given) = &packing.packed.given else { return Ok(Vec::new()) };
        let mut maxima = Vec::new();
        for (first, count) in packing.grid.runs(rectangle) {
            let first = given.first.saturating_add(first);
            given.blocks.read(&given.key, first, count, &mut maxima).await?;
        }
        Ok(maxima)
    }

    /// Values of a rectangle of a matrix as it is stored.
    async fn values(&self, packed: &PackedLayer, rectangle: &Rectangle) -> Result<Buffer, ConvertError> {
        let source = self.weight(packed)?;
        self.stored(&source, packed.matrix.cols, packed.dtype.bytes() as u64, rectangle).await
    }

    /// Elements of a rectangle of a row-major matrix.
    pub(crate) async fn stored(
        &self,
        source: &dyn Source,
        cols: u64,
        width: u64,
        rectangle: &Rectangle,
    ) -> Result<Buffer, ConvertError> {
        let at = |row: u64| {
            let element = row.saturating_mul(cols).saturating_add(rectangle.cols.start);
            element.saturating_mul(width)
        };
        let run = (rectangle.cols.end - rectangle.cols.start).saturating_mul(width);
        let len = run.saturating_mul(rectangle.rows.end - rectangle.rows.start);
        if rectangle.cols == (0..cols) {
            let len = usize::try_from(len).unwrap_or(0);
            return Ok(source.take(at(rectangle.rows.start), len).await?);
        }
        let mut bytes = sized(len);
        let run = usize::try_from(run).unwrap_or(usize::MAX).max(1);
        for (row, piece) in rectangle.rows.clone().zip(bytes.chunks_mut(run)) {
            source.read(at(row), piece).await?;
        }
        Ok(bytes)
    }
}
