//! One scheme on one layer: encode a band, decode it, count.

use crate::error::ConvertError;
use crate::experts::expert_of;
use crate::noise::{Gauge, PackedTile};
use crate::rectangles::least_common_multiple;
use crate::trial::figures::{Figures, Row};
use crate::trial::values::Values;
use crate::trial::{SchemeTrial, bits_per_weight};
use quantscope_audit::FallbackEngine;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{EngineError, FloatTile};
use quantscope_numeric::Dtype;
use quantscope_schemes::{
    EncodeInput, EncodeSettings, Encoder, Encoding, Family, Matrix, Output, Refusal, Role, Scheme, Shares,
};
use std::ops::Range;

/// Patterns from here on are infinite or NaN.
const INFINITE: u32 = 0x7f80_0000;

/// What scales are made from.
pub(crate) struct Scale<'m> {
    /// Largest magnitude of each part, as bits.
    pub(crate) parts: &'m [(u64, u32)],
    /// That of the layer and all that it is fused with.
    pub(crate) shared: u32,
    /// What the user chose.
    pub(crate) settings: EncodeSettings,
}

/// A part made ready: its encoder, and what decodes it.
struct Part {
    at: u64,
    encoder: Box<dyn Encoder>,
    gauge: Gauge,
}

/// One scheme being tried.
pub(crate) struct Attempt {
    scheme: &'static dyn Scheme,
    settings: EncodeSettings,
    outcome: Result<Encoding, Refusal>,
    /// What the whole layer costs.
    cost: Cost,
    parts: Vec<Part>,
    figures: Figures,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    /// Bytes of codes and block scales.
    weights: u64,
    /// Bytes of everything.
    all: u64,
}

impl Cost {
    fn of(outputs: &[Output], parts: u64) -> Self {
        let mut cost = Self::default();
        for output in outputs {
            let elements = output.shape.iter().fold(1_u64, |n, &d| n.saturating_mul(d));
            let bytes = elements.saturating_mul(output.dtype.bits()) / 8;
            let counted = matches!(output.role, Role::Weight | Role::WeightScale) && !output.shape.is_empty();
            cost.all = cost.all.saturating_add(bytes.saturating_mul(parts));
            cost.weights = cost.weights.saturating_add(if counted { bytes.saturating_mul(parts) } else { 0 });
        }
        cost
    }
}

/// The codes of the largest and of the least value, as bytes of nothing else.
fn extremes(scheme: &dyn Scheme, encoding: &Encoding) -> Option<(u8, u8)> {
    let weight = encoding.outputs.iter().find(|o| o.role == Role::Weight)?;
    match (weight.dtype, scheme.family()) {
        (Dtype::F8_E4M3, _) => Some((0x7e, 0xfe)),
        (Dtype::I8, _) => Some((0x7f, 0x80)),
        (Dtype::U8, Family::Fp4) => Some((0x77, 0xff)),
        (Dtype::U8, Family::Int) => Some((0x77, 0x88)),
        _ => None,
    }
}

impl Attempt {
    pub(crate) fn new(scheme: &'static dyn Scheme, values: &Values<'_>, settings: EncodeSettings) -> Self {
        let outcome = Self::encoding(scheme, values, values.cols, &settings);
        let parts = values.rows / values.part_rows.max(1);
        let cost = outcome.as_ref().map(|e| Cost::of(&e.outputs, parts)).unwrap_or_default();
        let figures = Figures::new(values.rows, values.cols);
        Self { scheme, settings, outcome, cost, parts: Vec::new(), figures }
    }

    fn matrix(scheme: &dyn Scheme, values: &Values<'_>, cols: u64) -> Result<Matrix, Refusal> {
        values.matrix(scheme, values.part_rows, cols)
    }

    fn encoding(
        scheme: &dyn Scheme,
        values: &Values<'_>,
        cols: u64,
        settings: &EncodeSettings,
    ) -> Result<Encoding, Refusal> {
        if !scheme.about().can_encode {
            return Err(scheme.not_written());
        }
        scheme.encoding(Self::matrix(scheme, values, cols)?, settings)
    }

    /// Rows and columns that must stay together; `None` if the scheme cannot hold the layer.
    pub(crate) fn units(&self) -> Option<[u64; 2]> {
        let encoding = self.outcome.as_ref().ok()?;
        let whole = |side: u32| if side == u32::MAX { 1 } else { u64::from(side.max(1)) };
        let [rows, cols] = encoding.block.map(whole);
        Some([
            least_common_multiple(rows, encoding.row_unit),
            least_common_multiple(cols, encoding.column_unit),
        ])
    }

    /// Goes on with the first columns only.
    pub(crate) fn narrow(&mut self, values: &Values<'_>, cols: u64) {
        if cols < values.cols && self.outcome.is_ok() {
            self.outcome = Self::encoding(self.scheme, values, cols, &self.settings);
        }
        self.figures = Figures::new(values.rows, cols);
    }

    /// Whether the scales of that module depend on those it is fused with.
    pub(crate) fn shares(&self, module: &str) -> bool {
        match self.outcome.as_ref().map(|e| e.shares) {
            Ok(Shares::Always) => true,
            Ok(Shares::Experts) => expert_of(module).is_some(),
            Ok(Shares::Never) | Err(_) => false,
        }
    }

    /// Makes the encoders, once the maxima are known.
    pub(crate) fn scale(&mut self, name: &str, values: &Values<'_>, cols: u64, scale: &Scale<'_>) {
        let shares = self.shares(name) && values.part_rows == values.rows;
        let made = self.outcome.clone().and_then(|encoding| {
            let matrix = Self::matrix(self.scheme, values, cols)?;
            if scale.parts.iter().any(|&(_, bits)| bits >= INFINITE) {
                return Err(Refusal::new("has NaN or infinite weights", "mend the source"));
            }
            let mut parts = Vec::new();
            for &(at, own) in scale.parts {
                let maximum = if shares { scale.shared } else { own };
                if maximum == 0 && encoding.nan_if_zero && encoding.needs_maximum {
                    return Err(Refusal::new(
                        "is zero everywhere, so that its scale would be NaN",
                        "keep it",
                    ));
                }
                let input = EncodeInput {
                    matrix,
                    dtype: values.dtype,
                    cast: CodeCast::Keep,
                    export: values.dtype,
                    maximum: f32::from_bits(maximum),
                    settings: scale.settings,
                    given_blocks: false,
                };
                let encoder = self.scheme.encoder(&input)?;
                let gauge = Gauge::of(self.scheme, name, &encoding, cols, encoder.scalars());
                parts.push(Part { at, encoder, gauge });
            }
            Ok((encoding, parts))
        });
        match made {
            Ok((encoding, parts)) => (self.outcome, self.parts) = (Ok(encoding), parts),
            Err(refusal) => self.outcome = Err(refusal),
        }
    }

    /// Takes in a band of rows: its values as stored, and widened.
    pub(crate) async fn take(
        &mut self,
        engine: &FallbackEngine<'_>,
        band: &Range<u64>,
        part_rows: u64,
        (tile, source): (FloatTile<'_>, &[f32]),
        extreme: f64,
    ) -> Result<(), ConvertError> {
        let Ok(encoding) = &self.outcome else { return Ok(()) };
        let at = band.start / part_rows.max(1);
        let Some(part) = self.parts.iter().find(|p| p.at == at) else { return Ok(()) };
        let within = at.saturating_mul(part_rows);
        let rows = band.start.saturating_sub(within)..band.end.saturating_sub(within);
        let encoded = part.encoder.encode(engine, tile).await?;
        let cols = 0..u64::from(tile.cols);
        let decode = async |codes: &[u8]| -> Result<Option<(Vec<f32>, usize)>, EngineError> {
            let packed = PackedTile {
                rows: rows.clone(),
                cols: cols.clone(),
                source: tile,
                codes,
                scales: &encoded.scales,
            };
            part.gauge.decode(engine, &packed).await
        };
        let Some((decoded, stored)) = decode(&encoded.codes).await? else {
            self.outcome = Err(Refusal::new("cannot be decoded again in parts", "choose another scheme"));
            return Ok(());
        };
        let reach = |code: u8| vec![code; encoded.codes.len()];
        let (top, bottom) = match extremes(self.scheme, encoding) {
            Some((top, bottom)) => (decode(&reach(top)).await?, decode(&reach(bottom)).await?),
            None => (None, None),
        };
        // Of codes whose ends are not known, nothing counts as beyond them.
        let unbounded = |end: f32| vec![end; decoded.len()];
        let top = top.map_or_else(|| unbounded(f32::INFINITY), |(values, _)| values);
        let bottom = bottom.map_or_else(|| unbounded(f32::NEG_INFINITY), |(values, _)| values);
        let logical = usize::try_from(tile.cols).unwrap_or(usize::MAX).max(1);
        let stored = stored.max(1);
        let sides = top.chunks(stored).zip(bottom.chunks(stored));
        let rows = source.chunks(logical).zip(decoded.chunks(stored)).zip(sides);
        for (index, ((source, decoded), (top, bottom))) in (band.start..).zip(rows) {
            let decoded = decoded.get(..source.len()).unwrap_or(decoded);
            self.figures.add(index, &Row { source, decoded, top, bottom }, extreme);
        }
        Ok(())
    }

    /// The figures, the errors carried over to all values.
    pub(crate) fn report(&self, values_total: u64, values_read: u64) -> SchemeTrial {
        let family = self.scheme.family().id().to_string();
        let scheme = self.scheme.id().to_string();
        if let Err(refusal) = &self.outcome {
            return SchemeTrial {
                scheme,
                family,
                refused: Some(refusal.to_string()),
                ..SchemeTrial::default()
            };
        }
        let figures = &self.figures;
        SchemeTrial {
            scheme,
            family,
            refused: None,
            bits_per_weight: bits_per_weight(self.cost.weights, values_total),
            bytes: self.cost.all,
            sqnr_db: figures.sqnr_db(),
            max_abs: figures.max_abs,
            mean_abs: figures.mean_abs(),
            squared_error: figures.noise * quantscope_audit::ratio(values_total, values_read),
            saturated: figures.saturated,
            zeroed: figures.zeroed,
            bins: figures.bins.clone(),
            map: figures.map(),
        }
    }
}
