//! Trying schemes on all layers, and the mixed recipe that comes of it.

use crate::Session;
use crate::api::{ConvertRequest, Mix, SessionError};
use quantscope_audit::{Engines, ratio};
use quantscope_convert::trial::{SAMPLE_BYTES, Sweep, TrialRequest, mix};
use quantscope_format::{Control, Progress, TensorInfo};
use serde::{Deserialize, Serialize};

/// How large the output may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Budget {
    /// Bytes of all tensors.
    Bytes(u64),
    /// Bits per weight of the layers that were tried, all their tensors counted.
    BitsPerWeight(f64),
}

/// A mixed recipe under a budget.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The choices, and what single schemes come to.
    pub mix: Mix,
    /// Bits per weight of the layers that were tried.
    pub bits_per_weight: f64,
    /// Bytes of all tensors then, those that are not quantized included.
    pub total_bytes: u64,
    /// Bytes of the tensors that the budget cannot change.
    pub other_bytes: u64,
    /// Whether all layers were tried, so that none is left to the default scheme unseen.
    pub complete: bool,
    /// The conversion.
    pub request: ConvertRequest,
    /// The same as a recipe file.
    pub recipe_toml: String,
}

/// Tells of a sweep as one job.
struct Overall<'a> {
    inner: &'a dyn Control,
    item: String,
    before: u64,
    layer: u64,
    total: u64,
}

impl Control for Overall<'_> {
    fn progress(&self, progress: &Progress) {
        let share = u128::from(self.layer) * u128::from(progress.done_bytes);
        let share = share / u128::from(progress.total_bytes.max(1));
        let done = self.before.saturating_add(u64::try_from(share).unwrap_or(0).min(self.layer));
        self.inner.progress(&Progress {
            phase: "Trying schemes on all layers".into(),
            item: self.item.clone(),
            done_bytes: done,
            total_bytes: self.total,
        });
    }

    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }
}

impl Session {
    /// Begins a sweep over the layers that a conversion would pack. Reads nothing.
    ///
    /// # Errors
    /// If a scheme is unknown, or there is no layer to try.
    pub fn sweep(
        &self,
        schemes: &[String],
        group_size: Option<u64>,
        sample_bytes: Option<u64>,
    ) -> Result<Sweep, SessionError> {
        let request = TrialRequest {
            schemes: schemes.to_vec(),
            group_size,
            sample_bytes: sample_bytes.unwrap_or(SAMPLE_BYTES).max(1),
        };
        Ok(Sweep::new(&self.checkpoint, &self.model, request)?)
    }

    /// Tries the next layer of a sweep; answers whether there was one.
    ///
    /// # Errors
    /// If a source fails or the job is cancelled. The layers that are done stay, and the sweep can go on.
    pub async fn sweep_step(
        &self,
        sweep: &mut Sweep,
        engines: Engines<'_>,
        control: &dyn Control,
    ) -> Result<bool, SessionError> {
        let Some(item) = sweep.next_layer().map(str::to_string) else { return Ok(false) };
        let [before, total] = sweep.bytes();
        let layer = sweep.next_bytes();
        let overall = Overall { inner: control, item, before, layer, total };
        Ok(sweep.step(&self.trials(engines, &overall)).await?)
    }

    /// The mixed recipe of least error under a budget, from what a sweep knows.
    ///
    /// # Errors
    /// If nothing was tried yet.
    pub fn propose(&self, sweep: &Sweep, budget: Budget) -> Result<Proposal, SessionError> {
        let rows = sweep.rows();
        if rows.is_empty() {
            let message = "no layer was tried yet; let the sweep run first".into();
            return Err(SessionError { kind: "refused".into(), message });
        }
        let tensors = self.checkpoint.shards.iter().flat_map(|s| s.header.tensors.iter());
        let all = tensors.map(TensorInfo::byte_len).fold(0, u64::saturating_add);
        let swept = rows.iter().map(|r| r.bytes_before).fold(0, u64::saturating_add);
        let weights = rows.iter().map(|r| r.weights).fold(0, u64::saturating_add);
        let other_bytes = all.saturating_sub(swept);
        let allowed = match budget {
            Budget::Bytes(bytes) => bytes.saturating_sub(other_bytes),
            Budget::BitsPerWeight(bits) => bytes_of(bits, weights),
        };
        let mix = mix(rows, allowed);
        let (to, rules) = mix.rules();
        let layers = rules.iter().map(|(pattern, scheme)| format!("{pattern}={scheme}")).collect();
        let request =
            ConvertRequest { to, layers, group_size: sweep.group_size(), ..ConvertRequest::default() };
        Ok(Proposal {
            bits_per_weight: ratio(mix.bytes.saturating_mul(8), weights),
            total_bytes: other_bytes.saturating_add(mix.bytes),
            other_bytes,
            complete: rows.len() == sweep.layer_count(),
            recipe_toml: request.to_toml()?,
            request,
            mix,
        })
    }
}

/// Bytes of a size as people write it, such as `5GB` or `512MiB`.
///
/// # Errors
/// If it is no size.
pub fn parse_size(text: &str) -> Result<u64, SessionError> {
    Ok(quantscope_convert::parse_size(text)?)
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a wish of a person; casts saturate"
)]
fn bytes_of(bits: f64, weights: u64) -> u64 {
    (bits.max(0.0) * weights as f64 / 8.0).floor() as u64
}
