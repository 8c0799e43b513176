//! Writing a tensor whose bytes come row by row and may lie otherwise, and reading rows that do.

use crate::error::ConvertError;
use crate::passage::{length, sized, taken};
use crate::plan::{PlanFile, PlanTensor, Rows};
use crate::run::Job;
use crate::write::{Mark, TensorWriter};
use quantscope_format::{Buffer, Sink};
use quantscope_schemes::Arranger;
use std::sync::Arc;

/// A tensor that is written in the order of its rows, and lies as the plan says.
pub(crate) struct ArrangedWriter<'a> {
    writer: TensorWriter<'a>,
    arranger: Option<Arranger>,
    /// Bytes of padding that are written at once.
    budget: usize,
}

impl<'a> ArrangedWriter<'a> {
    /// Begins a tensor.
    pub(crate) fn new(file: &'a PlanFile, tensor: &PlanTensor, budget: u64) -> Self {
        Self {
            writer: TensorWriter::new(&file.name, tensor.span.start),
            arranger: tensor.lie.as_deref().map(|lie| Arranger::new(lie.cols, lie.to)),
            budget: usize::try_from(budget).unwrap_or(usize::MAX).max(1),
        }
    }

    /// Writes the next bytes.
    pub(crate) async fn write(
        &mut self,
        sink: &mut dyn Sink,
        bytes: &Arc<Buffer>,
    ) -> Result<(), ConvertError> {
        match &mut self.arranger {
            Some(arranger) => {
                let arranged = arranger.push(bytes);
                if arranged.is_empty() { Ok(()) } else { self.writer.write(sink, &arranged).await }
            }
            None => self.writer.write_shared(sink, bytes).await,
        }
    }

    /// Writes what is left, and answers the mark of all.
    pub(crate) async fn finish(mut self, sink: &mut dyn Sink) -> Result<Mark, ConvertError> {
        while let Some(arranger) = &mut self.arranger {
            let rest = arranger.finish(self.budget);
            if rest.is_empty() {
                break;
            }
            self.writer.write(sink, &rest).await?;
        }
        Ok(self.writer.finish())
    }
}

impl<'a> Job<'a> {
    /// Rows of a source tensor, out of their arrangement and into that of the output.
    pub(crate) async fn copy_rows(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        tensor: &'a PlanTensor,
        rows: &Rows,
    ) -> Result<(), ConvertError> {
        let Rows { ref place, from, kept: [rows, cols] } = *rows;
        let Some((shard, source)) = self.checkpoint.tensor(place.shard, place.tensor) else { return Ok(()) };
        let mut writer = ArrangedWriter::new(file, tensor, self.tile_bytes());
        let begin = source.begin.saturating_add(place.bytes.start);
        // Rows that exceed the budget are read part by part; only those that do not lie in tiles can be.
        let whole = from.is_tiled || from.cols <= self.tile_bytes();
        let step = if whole { from.rows_at_once(self.tile_bytes()) } else { 1 };
        let mut row = 0;
        while row < rows {
            let band = row..row.saturating_add(step).min(rows);
            let span = from.span(&band);
            if whole {
                let mut bytes = sized(span.end.saturating_sub(span.start));
                shard.source.read(begin.saturating_add(span.start), &mut bytes).await?;
                let plain = Arc::new(Buffer::from(from.row_by_row(&bytes, band.end - band.start, cols)));
                writer.write(sink, &plain).await?;
                self.passage.step(&tensor.spec.name, length(&plain))?;
            } else {
                let (mut at, end) = (span.start, span.start.saturating_add(cols));
                while at < end {
                    let (offset, len) = (begin.saturating_add(at), self.tile_bytes().min(end - at));
                    let bytes = taken(shard.source.as_ref(), offset, len).await?;
                    at += length(&bytes);
                    writer.write(sink, &bytes).await?;
                    self.passage.step(&tensor.spec.name, length(&bytes))?;
                }
            }
            row = band.end;
        }
        self.passage.written.insert(&tensor.spec.name, writer.finish(sink).await?);
        Ok(())
    }
}
