//! The values of one layer as the converter would take them: rows of plain floats, decoded first where the layer
//! is quantized already.
//!
//! Source of what is packed at all: `formats.md` n; of how stacks of experts are taken apart: h.

use crate::error::ConvertError;
use crate::experts;
use crate::passage::sized;
use crate::plain::float_type;
use quantscope_audit::decoded::{DecodeError, DecodedLayer};
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_format::Source;
use quantscope_kernels::{Engine, FloatTile, FloatType};
use quantscope_schemes::{Form, Kind, Matrix, Refusal, Region, Scheme, is_transposed_conv};
use std::ops::Range;

/// Where values come from.
enum Origin<'a> {
    /// A tensor of plain floats: its file, and where it begins.
    Plain(&'a dyn Source, u64),
    /// A quantized layer.
    Decoded(DecodedLayer<'a>),
}

/// The values of a layer.
pub(crate) struct Values<'a> {
    origin: Origin<'a>,
    /// Element type; F32 where they are decoded.
    pub(crate) dtype: FloatType,
    /// All rows.
    pub(crate) rows: u64,
    /// Values in a row.
    pub(crate) cols: u64,
    /// Rows that are packed as a matrix of their own: an expert's, or all.
    pub(crate) part_rows: u64,
    kind: Kind,
}

fn product(sides: &[u64]) -> Option<u64> {
    sides.iter().try_fold(1_u64, |n, &side| n.checked_mul(side))
}

/// Why a layer is never packed, whatever the scheme.
fn never(layer: &LayerInfo) -> Option<&'static str> {
    match layer.kind {
        Kind::Conv2d => Some("is a 2-D convolution, which is never packed"),
        Kind::Conv1d => Some("is a 1-D convolution, which is never packed"),
        Kind::Conv3d if is_transposed_conv(&layer.name) => {
            Some("is a transposed convolution, which is never packed")
        }
        Kind::Norm | Kind::Other => Some("has no matrix of weights"),
        _ => None,
    }
}

impl<'a> Values<'a> {
    /// Opens a layer. Reads nothing.
    pub(crate) fn open(
        checkpoint: &'a Checkpoint,
        model: &Model,
        layer: &'a LayerInfo,
    ) -> Result<Self, Refusal> {
        let refuse = |reason: &str| Refusal::new(reason, "choose another layer");
        if let Some(reason) = never(layer) {
            return Err(refuse(reason));
        }
        if layer.is_quantized() {
            let decoded = DecodedLayer::new(checkpoint, layer)?;
            let [rows, stored_cols] = decoded.decoder().extent();
            let known = layer.shape.split_first().filter(|(first, rest)| **first == rows && !rest.is_empty());
            let logical = known.and_then(|(_, rest)| product(rest));
            let cols = logical.map_or(stored_cols, |cols| cols.min(stored_cols));
            if rows == 0 || cols == 0 {
                return Err(refuse("holds nothing"));
            }
            let origin = Origin::Decoded(decoded);
            return Ok(Self { origin, dtype: FloatType::F32, rows, cols, part_rows: rows, kind: layer.kind });
        }
        let weight = layer.tensor(checkpoint, layer.weight_leaf());
        let weight = weight.filter(|(shard, tensor)| shard.header.is_readable(*tensor));
        let Some((shard, tensor)) = weight else { return Err(refuse("has no weight that can be read")) };
        let Some(dtype) = float_type(tensor.dtype) else {
            return Err(refuse(&format!("has a weight of {}, not of floats", tensor.dtype)));
        };
        let (part_rows, rows, cols) = match (experts::form(checkpoint, model, layer), tensor.shape) {
            (Some(experts::Form::Apart), &[experts, middle, cols]) => {
                (Some(middle), experts.checked_mul(middle), Some(cols))
            }
            (Some(experts::Form::Together), _) => {
                return Err(refuse("is a stack of experts that is packed along its middle side"));
            }
            (Some(experts::Form::Unclear(reason)), _) => return Err(refuse(&reason)),
            (_, [first, rest @ ..]) if !rest.is_empty() => (Some(*first), Some(*first), product(rest)),
            _ => return Err(refuse("has no matrix of weights")),
        };
        match (part_rows, rows, cols) {
            (Some(part_rows), Some(rows), Some(cols)) if rows > 0 && cols > 0 => {
                let origin = Origin::Plain(shard.source.as_ref(), tensor.begin);
                Ok(Self { origin, dtype, rows, cols, part_rows, kind: layer.kind })
            }
            _ => Err(refuse("holds nothing")),
        }
    }

    /// Whether they are decoded from codes first.
    pub(crate) fn are_decoded(&self) -> bool {
        matches!(self.origin, Origin::Decoded(_))
    }

    /// Bytes of a row of values.
    pub(crate) fn row_bytes(&self) -> u64 {
        self.cols.saturating_mul(self.dtype.bytes() as u64)
    }

    /// The matrix that a scheme encodes, of `rows` rows and `cols` columns.
    pub(crate) fn matrix(&self, scheme: &dyn Scheme, rows: u64, cols: u64) -> Result<Matrix, Refusal> {
        let form = match self.kind {
            Kind::Conv3d if scheme.flattens_convolutions() => Form::Conv3d,
            Kind::Conv3d => {
                let reason = format!("is a 3-D convolution, which is not packed as {}", scheme.id());
                return Err(Refusal::new(reason, "choose another scheme"));
            }
            _ => Form::Linear,
        };
        Ok(Matrix { rows, cols, form })
    }

    /// The first `cols` values of each of some rows, little-endian.
    pub(crate) async fn read(
        &self,
        engine: &dyn Engine,
        rows: Range<u64>,
        cols: u64,
    ) -> Result<Vec<u8>, ConvertError> {
        let width = self.dtype.bytes() as u64;
        let count = rows.end.saturating_sub(rows.start);
        let run = cols.saturating_mul(width);
        match &self.origin {
            Origin::Plain(source, begin) => {
                let at = |row: u64| begin.saturating_add(row.saturating_mul(self.row_bytes()));
                let mut bytes = sized(run.saturating_mul(count));
                if cols == self.cols {
                    source.read(at(rows.start), &mut bytes).await?;
                    return Ok(bytes.into_vec());
                }
                let piece = usize::try_from(run).unwrap_or(usize::MAX).max(1);
                for (row, piece) in rows.zip(bytes.chunks_mut(piece)) {
                    source.read(at(row), piece).await?;
                }
                Ok(bytes.into_vec())
            }
            Origin::Decoded(layer) => {
                let [_, stored] = layer.decoder().extent();
                let unit = layer.decoder().column_unit().max(1);
                let end = cols.div_ceil(unit).saturating_mul(unit).min(stored);
                let region = Region { rows, cols: 0..end };
                let values = layer.values(engine, &region).await.map_err(failed)?;
                let (stored, logical) =
                    (usize::try_from(end).unwrap_or(usize::MAX), usize::try_from(cols).unwrap_or(usize::MAX));
                let rows = values.chunks(stored.max(1)).map(|row| row.get(..logical).unwrap_or(row));
                Ok(rows.flatten().flat_map(|value| value.to_le_bytes()).collect())
            }
        }
    }

    /// Some rows as the engine takes them.
    pub(crate) fn tile<'t>(&self, bytes: &'t [u8], rows: &Range<u64>, cols: u64) -> FloatTile<'t> {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        FloatTile {
            dtype: self.dtype,
            bytes,
            rows: narrow(rows.end.saturating_sub(rows.start)),
            cols: narrow(cols),
        }
    }
}

fn failed(error: DecodeError) -> ConvertError {
    match error {
        DecodeError::Source(error) => error.into(),
        DecodeError::Engine(error) => error.into(),
        DecodeError::Refused(refusal) => ConvertError::Refused(refusal.to_string()),
    }
}
