//! Comparing two checkpoints: what differs, by how much, and which cause explains it.
//!
//! Knows: both checkpoints' layers, the names that a conversion would give, and what each change may cost. Does not
//! know: how a difference is shown.

mod claim;
mod files;
mod layer;
mod pairs;
mod tensors;
mod values;

pub use claim::Cause;
pub use layer::Picture;

use crate::error::ConvertError;
use crate::recipe::Recipe;
use pairs::Pairs;
pub use pairs::naming;
use quantscope_audit::{Checkpoint, Engines, FallbackEngine, Model};
use quantscope_format::Arrange as _;
use quantscope_format::{Control, Limits, Progress};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tensors that are looked at in search of twins of those without a partner.
const PROBES: u64 = 1 << 16;

/// One of the two checkpoints.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// Its layers.
    pub model: &'a Model,
}

/// A difference.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Module, tensor, file or key in the first checkpoint; `None` if it is in the second alone.
    pub a: Option<String>,
    /// The same in the second.
    pub b: Option<String>,
    /// What caused it, the weightiest first: ids of [`Cause`].
    pub causes: Vec<String>,
    /// Whether a cause explains all of it.
    pub explained: bool,
    /// Scheme or type in the first.
    pub from: String,
    /// Scheme or type in the second.
    pub to: String,
    /// Logical shape in the first, or of what is in the second alone.
    pub shape: Vec<u64>,
    /// Signal to noise of the values in dB; `None` where no value differs or none were compared.
    pub sqnr_db: Option<f64>,
    /// Largest difference of two values.
    pub max_abs: Option<f64>,
    /// Mean difference of two values.
    pub mean_abs: Option<f64>,
    /// What else is to be known.
    pub note: String,
}

impl Difference {
    /// Its name in the second checkpoint, or in the first if it is there alone.
    #[must_use]
    pub fn name(&self) -> &str {
        self.b.as_deref().or(self.a.as_deref()).unwrap_or_default()
    }
}

/// What comparing has found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Name of the first checkpoint.
    pub a: String,
    /// Name of the second.
    pub b: String,
    /// Layers whose tensors have the same bytes under the same names.
    pub equal_layers: u64,
    /// Differences, those that nothing explains first.
    pub differences: Vec<Difference>,
    /// How many differences each cause has part in.
    pub by_cause: BTreeMap<String, u64>,
    /// Differences that a cause explains.
    pub explained: u64,
    /// Those that none does.
    pub unexplained: u64,
}

/// A comparison in progress.
pub(crate) struct Job<'a> {
    pub(crate) a: Side<'a>,
    pub(crate) b: Side<'a>,
    pub(crate) engine: &'a FallbackEngine<'a>,
    pub(crate) limits: &'a Limits,
    control: &'a dyn Control,
    /// The layer in hand.
    pub(crate) item: String,
    /// Tensors that may still be looked at in search of a twin.
    pub(crate) probes: u64,
    done: u64,
    total: u64,
}

impl Job<'_> {
    /// Tells of progress, and stops if the user wants it.
    pub(crate) fn step(&mut self, bytes: u64) -> Result<(), ConvertError> {
        self.done = self.done.saturating_add(bytes);
        self.control.progress(&Progress {
            phase: "Comparing".into(),
            item: self.item.clone(),
            done_bytes: self.done.min(self.total),
            total_bytes: self.total,
        });
        if self.control.is_cancelled() { Err(ConvertError::Cancelled) } else { Ok(()) }
    }

    /// Bytes that are held of a tensor at once.
    pub(crate) fn tile_bytes(&self) -> u64 {
        self.limits.tile_bytes.clamp(1, 4 << 20)
    }
}

/// Compares the second checkpoint with the first. `recipe` holds the user's rename rules, if there are any; else
/// the names that a conversion gives by itself are known.
///
/// # Errors
/// If a source fails or the user cancels. What the files contain is never an error.
pub async fn compare(
    [a, b]: [Side<'_>; 2],
    recipe: &Recipe,
    engines: Engines<'_>,
    limits: &Limits,
    control: &dyn Control,
) -> Result<Comparison, ConvertError> {
    let engine = FallbackEngine::new(engines);
    let total = b.checkpoint.byte_len();
    let mut job =
        Job { a, b, engine: &engine, limits, control, item: String::new(), probes: PROBES, done: 0, total };
    let pairs = Pairs::new(a, b, recipe);
    let mut found =
        Comparison { a: a.checkpoint.name.clone(), b: b.checkpoint.name.clone(), ..Comparison::default() };
    for pair in &pairs.pairs {
        match job.layer(pair, &pairs).await? {
            Some(difference) => found.differences.push(difference),
            None => found.equal_layers += 1,
        }
    }
    for &layer in &pairs.only_a {
        let difference = job.missing(layer, &pairs).await?;
        found.differences.push(difference);
    }
    for &layer in &pairs.only_b {
        let difference = job.extra(layer).await?;
        found.differences.push(difference);
    }
    let changes_schemes = found.differences.iter().any(|d| d.from != d.to && d.a.is_some() && d.b.is_some());
    let is_any = !found.differences.is_empty();
    found.differences.extend(job.files(changes_schemes, is_any).await?);
    found.differences.arrange_by_key(|difference| difference.explained);
    for difference in &found.differences {
        for cause in &difference.causes {
            *found.by_cause.entry(cause.clone()).or_default() += 1;
        }
        *if difference.explained { &mut found.explained } else { &mut found.unexplained } += 1;
    }
    Ok(found)
}

/// The errors of one layer as a picture, by its name in the first checkpoint or in the second.
///
/// # Errors
/// If there is no such pair, its values cannot be compared, a source fails or the user cancels.
pub async fn picture(
    [a, b]: [Side<'_>; 2],
    name: &str,
    recipe: &Recipe,
    engines: Engines<'_>,
    limits: &Limits,
    control: &dyn Control,
) -> Result<Picture, ConvertError> {
    let engine = FallbackEngine::new(engines);
    let pairs = Pairs::new(a, b, recipe);
    let refuse = |what: &str| ConvertError::Refused(format!("{name:?} {what}"));
    let Some(pair) = pairs.find(name, a, b) else {
        return Err(refuse("is not in both checkpoints"));
    };
    let bytes = b.model.layers.get(pair.b).map_or(0, |l| l.bytes);
    let mut job = Job {
        a,
        b,
        engine: &engine,
        limits,
        control,
        item: String::new(),
        probes: PROBES,
        done: 0,
        total: bytes,
    };
    job.picture(pair).await?.ok_or_else(|| refuse("holds no values that can be compared"))
}
