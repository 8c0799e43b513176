//! Trying schemes on one layer: what the converter would write is made tile by tile, decoded again and compared,
//! and nothing is kept.
//!
//! Knows: the same encoders, decoders and shared maxima as a conversion. Does not know: what the user does next.

mod attempt;
pub(crate) mod errors;
mod figures;
mod maxima;
mod mix;
mod sample;
mod sweep;
mod values;

pub use errors::ErrorMap;
pub use figures::BINS;
pub(crate) use figures::mean;
pub use maxima::Maxima;
pub use mix::{KEEP, Mix, MixChoice, Uniform, mix};
pub use sweep::{Sweep, SweepOption, SweepRow};

use crate::error::ConvertError;
use crate::recipe::{Target, target, writable};
use crate::rectangles::least_common_multiple;
use crate::trial::attempt::{Attempt, Scale};
use crate::trial::figures::count_bins;
use crate::trial::values::Values;
use quantscope_audit::{Checkpoint, Engines, FallbackEngine, LayerInfo, Model, ratio};
use quantscope_format::{Control, Limits, Progress};
use quantscope_kernels::Engine as _;
use quantscope_numeric::Dtype;
use quantscope_schemes::{EncodeSettings, Refusal, Scheme};
use serde::{Deserialize, Serialize};

/// What is tried, and how much of a layer is read for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialRequest {
    /// Ids of schemes.
    pub schemes: Vec<String>,
    /// Weights that share a scale, in the schemes that leave it open.
    pub group_size: Option<u64>,
    /// Bytes of values that are read of a layer; larger ones are sampled.
    pub sample_bytes: u64,
}

/// Bytes of values of a layer that are read without another wish.
pub const SAMPLE_BYTES: u64 = 64 << 20;

/// Bytes of values that are worked on at once.
const BAND_BYTES: u64 = 4 << 20;

/// Most bytes of values that blocks may need at once.
const LARGEST_BAND: u64 = 64 << 20;

/// What one scheme makes of a layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SchemeTrial {
    /// Scheme id.
    pub scheme: String,
    /// Its family, which sets its hue.
    pub family: String,
    /// Why it cannot hold this layer; the other figures are empty then.
    pub refused: Option<String>,
    /// Bits of codes and block scales per weight.
    pub bits_per_weight: f64,
    /// Bytes of all tensors that would stand for the weight.
    pub bytes: u64,
    /// Signal to quantization noise in dB; `None` if nothing was lost or nothing was there.
    pub sqnr_db: Option<f64>,
    /// Largest absolute error.
    pub max_abs: f64,
    /// Mean absolute error.
    pub mean_abs: f64,
    /// Sum of squared errors of the whole layer, carried over from the sample.
    pub squared_error: f64,
    /// Values read that lie beyond the largest that their code can stand for under its scale.
    pub saturated: u64,
    /// Values read that are not zero and become zero.
    pub zeroed: u64,
    /// Decoded values in the steps of [`LayerTrial::bins`].
    pub bins: Vec<u64>,
    /// Where the errors are.
    pub map: ErrorMap,
}

/// What several schemes make of a layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerTrial {
    /// Module path.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// How it is stored.
    pub from: String,
    /// Whether it is quantized, so that its decoded values were taken.
    pub decoded: bool,
    /// Logical shape.
    pub shape: Vec<u64>,
    /// Bits of codes and block scales per weight as stored.
    pub bits_before: f64,
    /// Bytes of the layer as stored.
    pub bytes_before: u64,
    /// Weights there are.
    pub values_total: u64,
    /// Weights that were read.
    pub values_read: u64,
    /// Largest magnitude, the ends of the histogram.
    pub extreme: f64,
    /// Values in equal steps from `-extreme` to `extreme`.
    pub bins: Vec<u64>,
    /// Modules whose maxima count too, since a runtime fuses them with this one.
    pub shares_with: Vec<String>,
    /// By scheme, in the order asked for.
    pub schemes: Vec<SchemeTrial>,
}

/// What trials need of their surroundings.
pub struct Trials<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// Its layers.
    pub model: &'a Model,
    /// Who computes.
    pub engines: Engines<'a>,
    /// How much at once.
    pub limits: &'a Limits,
    /// Who may stop it.
    pub control: &'a dyn Control,
}

fn refused(layer: &str, refusal: &Refusal) -> ConvertError {
    ConvertError::Tensor {
        tensor: layer.to_string(),
        reason: refusal.reason.clone(),
        remedy: refusal.remedy.clone(),
    }
}

/// The scheme of that id.
fn scheme_of(id: &str) -> Result<&'static dyn Scheme, ConvertError> {
    match target(id)? {
        Target::Scheme(scheme) => Ok(scheme),
        _ => Err(ConvertError::Refused(format!(
            "{id:?} is no quantization scheme; choose one of {}",
            writable()
        ))),
    }
}

impl Trials<'_> {
    /// Tries schemes on a layer. `maxima` keeps what was measured for the layers that come after.
    ///
    /// # Errors
    /// If there is no such layer, it has no values that could be packed, a scheme is unknown, a source fails or the
    /// user cancels. A scheme that cannot hold the layer is no error.
    pub async fn layer(
        &self,
        name: &str,
        request: &TrialRequest,
        maxima: &mut Maxima,
    ) -> Result<LayerTrial, ConvertError> {
        let Some(layer) = self.model.layer(name) else {
            return Err(ConvertError::Refused(format!(
                "there is no layer called {name:?} in this checkpoint"
            )));
        };
        let values = Values::open(self.checkpoint, self.model, layer).map_err(|r| refused(name, &r))?;
        let defaults = EncodeSettings::default();
        let settings = EncodeSettings {
            group_size: request.group_size.unwrap_or(defaults.group_size).max(1),
            ..defaults
        };
        let mut attempts = Vec::new();
        for id in &request.schemes {
            attempts.push(Attempt::new(scheme_of(id)?, &values, settings));
        }
        // One sample for all, in which each finds whole blocks.
        let [unit, columns] =
            attempts.iter().filter_map(Attempt::units).fold([1, 1], |[rows, cols], unit| {
                [least_common_multiple(rows, unit[0]), least_common_multiple(cols, unit[1])]
            });
        let band_bytes = BAND_BYTES.min(self.limits.tile_bytes).max(1);
        let width = values.dtype.bytes() as u64;
        let cols = cut(values.cols, band_bytes / width / unit.min(values.part_rows).max(1), columns);
        if cols.saturating_mul(width).saturating_mul(unit.min(values.part_rows)) > LARGEST_BAND {
            let reason = format!("has blocks of {unit} x {cols} weights, too many to hold at once");
            return Err(refused(name, &Refusal::new(reason, "choose a smaller --group-size")));
        }
        for attempt in &mut attempts {
            attempt.narrow(&values, cols);
        }
        let bands = sample::bands(
            [values.rows, values.part_rows],
            unit,
            cols.saturating_mul(width),
            request.sample_bytes,
            band_bytes,
        );
        let mut work = Work { trials: self, name, values: &values, bands, cols, done: 0, total: 0 };
        work.begin(attempts.len());
        let engine = FallbackEngine::new(self.engines);
        let own = work.maxima(&engine).await?;
        let siblings = self.siblings(layer, &attempts);
        let mut shared = own.iter().fold(0, |a, &(_, bits)| a.max(bits));
        let extreme = f64::from(f32::from_bits(shared));
        for sibling in &siblings {
            shared = shared.max(self.largest(sibling, request.sample_bytes, &engine, maxima).await?);
        }
        maxima.keep(name, own.iter().fold(0, |a, &(_, bits)| a.max(bits)));
        for attempt in &mut attempts {
            attempt.scale(name, &values, cols, &Scale { parts: &own, shared, settings });
        }
        let mut bins = vec![0; BINS];
        let extreme = if extreme > 0.0 && extreme.is_finite() { extreme } else { 1.0 };
        let values_read = work.run(&engine, &mut attempts, &mut bins, extreme).await?;
        let values_total = values.rows.saturating_mul(values.cols);
        Ok(LayerTrial {
            name: name.to_string(),
            kind: layer.kind.id().into(),
            from: layer.scheme.id().into(),
            decoded: values.are_decoded(),
            shape: layer.shape.clone(),
            bits_before: layer.bits_per_weight(),
            bytes_before: layer.bytes,
            values_total,
            values_read,
            extreme,
            bins,
            shares_with: siblings.iter().map(|l| l.name.clone()).collect(),
            schemes: attempts.iter().map(|a| a.report(values_total, values_read)).collect(),
        })
    }
}

/// Columns that are taken of a row: all, or as many whole units as fit.
fn cut(cols: u64, fitting: u64, unit: u64) -> u64 {
    if cols <= fitting { cols } else { (fitting / unit).max(1).saturating_mul(unit).min(cols) }
}

/// One layer being tried.
struct Work<'a, 'w> {
    trials: &'w Trials<'a>,
    name: &'w str,
    values: &'w Values<'a>,
    bands: Vec<std::ops::Range<u64>>,
    cols: u64,
    done: u64,
    total: u64,
}

impl Work<'_, '_> {
    fn begin(&mut self, schemes: usize) {
        let rows = self.bands.iter().map(|b| b.end - b.start).fold(0, u64::saturating_add);
        let once = rows.saturating_mul(self.cols).saturating_mul(self.values.dtype.bytes() as u64);
        self.total = once.saturating_mul(u64::try_from(schemes).unwrap_or(0).saturating_add(1));
    }

    fn step(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        self.done = self.done.saturating_add(crate::passage::length(bytes));
        self.trials.control.progress(&Progress {
            phase: "Trying schemes".into(),
            item: self.name.to_string(),
            done_bytes: self.done.min(self.total),
            total_bytes: self.total,
        });
        if self.trials.control.is_cancelled() { Err(ConvertError::Cancelled) } else { Ok(()) }
    }

    /// The largest magnitude of each part that the sample touches, as bits.
    async fn maxima(&mut self, engine: &FallbackEngine<'_>) -> Result<Vec<(u64, u32)>, ConvertError> {
        let mut found: Vec<(u64, u32)> = Vec::new();
        for band in self.bands.clone() {
            let bytes = self.values.read(engine, band.clone(), self.cols).await?;
            let bits = engine.absmax(self.values.tile(&bytes, &band, self.cols)).await?.bits;
            let part = band.start / self.values.part_rows.max(1);
            match found.last_mut().filter(|(last, _)| *last == part) {
                Some((_, largest)) => *largest = bits.max(*largest),
                None => found.push((part, bits)),
            }
            self.step(&bytes)?;
        }
        Ok(found)
    }

    /// Encodes and compares band by band; answers how many values were read.
    async fn run(
        &mut self,
        engine: &FallbackEngine<'_>,
        attempts: &mut [Attempt],
        bins: &mut [u64],
        extreme: f64,
    ) -> Result<u64, ConvertError> {
        let dtype = match self.values.dtype {
            quantscope_kernels::FloatType::F32 => Dtype::F32,
            quantscope_kernels::FloatType::Bf16 => Dtype::BF16,
            quantscope_kernels::FloatType::F16 => Dtype::F16,
        };
        let mut read = 0_u64;
        for band in self.bands.clone() {
            let bytes = self.values.read(engine, band.clone(), self.cols).await?;
            let mut source = Vec::new();
            quantscope_numeric::widen(dtype, &bytes, &mut source);
            count_bins(bins, &source, extreme);
            read = read.saturating_add(u64::try_from(source.len()).unwrap_or(0));
            let tile = self.values.tile(&bytes, &band, self.cols);
            for attempt in attempts.iter_mut() {
                attempt.take(engine, &band, self.values.part_rows, (tile, &source), extreme).await?;
                self.step(&bytes)?;
            }
        }
        Ok(read)
    }
}

impl<'a> Trials<'a> {
    /// Layers that share their maxima with this one under any of the schemes.
    fn siblings(&self, layer: &LayerInfo, attempts: &[Attempt]) -> Vec<&'a LayerInfo> {
        if !attempts.iter().any(|a| a.shares(&layer.name)) {
            return Vec::new();
        }
        let names = crate::fused::siblings(&layer.name);
        names.iter().filter_map(|name| self.model.layer(name)).collect()
    }

    /// The largest magnitude of another layer, as bits; 0 where it cannot be read.
    async fn largest(
        &self,
        layer: &'a LayerInfo,
        sample_bytes: u64,
        engine: &FallbackEngine<'_>,
        maxima: &mut Maxima,
    ) -> Result<u32, ConvertError> {
        if let Some(known) = maxima.of(&layer.name) {
            return Ok(known);
        }
        let Ok(values) = Values::open(self.checkpoint, self.model, layer) else { return Ok(0) };
        let band_bytes = BAND_BYTES.min(self.limits.tile_bytes).max(1);
        let cols = cut(values.cols, band_bytes / values.dtype.bytes() as u64, 1);
        let row_bytes = cols.saturating_mul(values.dtype.bytes() as u64);
        let bands = sample::bands([values.rows, values.part_rows], 1, row_bytes, sample_bytes, band_bytes);
        let mut work =
            Work { trials: self, name: &layer.name, values: &values, bands, cols, done: 0, total: 0 };
        work.begin(0);
        let found = work.maxima(engine).await?;
        let largest = found.iter().fold(0, |a, &(_, bits)| a.max(bits));
        maxima.keep(&layer.name, largest);
        Ok(largest)
    }
}

/// Bits per weight of some bytes.
fn bits_per_weight(bytes: u64, weights: u64) -> f64 {
    ratio(bytes.saturating_mul(8), weights)
}
