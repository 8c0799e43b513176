//! Trying schemes on every layer that a conversion would pack, one after the other: progress is kept, so that a
//! sweep that was stopped goes on where it was.

use crate::error::ConvertError;
use crate::experts::expert_of;
use crate::fused::siblings;
use crate::trial::values::Values;
use crate::trial::{Maxima, SchemeTrial, TrialRequest, Trials};
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_format::Glob;
use quantscope_schemes::Kind;
use quantscope_schemes::exclude::DEFAULT_EXCLUDES;
use serde::{Deserialize, Serialize};

/// What one scheme costs and loses on a layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepOption {
    /// Scheme id.
    pub scheme: String,
    /// Bytes of all tensors that would stand for the weight.
    pub bytes: u64,
    /// Sum of squared errors.
    pub squared_error: f64,
    /// Signal to noise in dB; `None` if nothing is lost.
    pub sqnr_db: Option<f64>,
    /// Why the scheme cannot hold the layer.
    pub refused: Option<String>,
}

/// A layer that was tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepRow {
    /// Module path.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// What it must share a scheme with: its own name, or that of a fused group or of a group of experts.
    pub group: String,
    /// Weights.
    pub weights: u64,
    /// Bytes of the weight as stored.
    pub bytes_before: u64,
    /// By scheme, in the order asked for.
    pub options: Vec<SweepOption>,
}

/// A sweep, as far as it has come.
#[derive(Debug, Clone)]
pub struct Sweep {
    request: TrialRequest,
    layers: Vec<(String, u64)>,
    rows: Vec<SweepRow>,
    maxima: Maxima,
}

/// The module whose scheme a layer shares: all experts of a block have one, as have fused layers.
fn group_of(layer: &LayerInfo) -> String {
    if let Some((experts, _, _)) = expert_of(&layer.name) {
        return format!("{experts}.*");
    }
    if layer.kind == Kind::ExpertStack
        && let Some((parent, _)) = layer.name.rsplit_once('.')
    {
        return format!("{parent}.*");
    }
    let mut fused = siblings(&layer.name);
    fused.push(layer.name.clone());
    fused.into_iter().min().unwrap_or_default()
}

/// Layers that a conversion packs without being told: floating-point, and not left out by default.
fn candidates(checkpoint: &Checkpoint, model: &Model) -> Vec<(String, u64)> {
    let excluded: Vec<Glob> = DEFAULT_EXCLUDES.iter().filter_map(|p| Glob::new(p).ok()).collect();
    let is_left_out = |layer: &LayerInfo| {
        let dotted = format!("{}.", layer.name);
        matches!(layer.kind, Kind::Embedding | Kind::Router) || excluded.iter().any(|g| g.is_match(&dotted))
    };
    let is_candidate = |layer: &&LayerInfo| {
        !layer.is_quantized() && !is_left_out(layer) && Values::open(checkpoint, model, layer).is_ok()
    };
    let bytes = |layer: &LayerInfo| {
        layer.tensor(checkpoint, layer.weight_leaf()).map_or(0, |(_, tensor)| tensor.byte_len())
    };
    model.layers.iter().filter(is_candidate).map(|layer| (layer.name.clone(), bytes(layer))).collect()
}

impl Sweep {
    /// Lists the layers. Reads nothing.
    ///
    /// # Errors
    /// If a scheme is unknown, or there is no layer to try.
    pub fn new(checkpoint: &Checkpoint, model: &Model, request: TrialRequest) -> Result<Self, ConvertError> {
        if request.schemes.is_empty() {
            return Err(ConvertError::Refused("no scheme was named to try".into()));
        }
        for id in &request.schemes {
            crate::trial::scheme_of(id)?;
        }
        let layers = candidates(checkpoint, model);
        if layers.is_empty() {
            return Err(ConvertError::Refused(
                "there is no floating-point layer that a conversion would pack; open the unquantized source"
                    .into(),
            ));
        }
        Ok(Self { request, layers, rows: Vec::new(), maxima: Maxima::default() })
    }

    /// Weights that share a scale, as asked for.
    #[must_use]
    pub fn group_size(&self) -> Option<u64> {
        self.request.group_size
    }

    /// Layers there are.
    #[must_use]
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// Bytes of values of the layers that are done, and of all.
    #[must_use]
    pub fn bytes(&self) -> [u64; 2] {
        let sum = |layers: &[(String, u64)]| layers.iter().map(|l| l.1).fold(0, u64::saturating_add);
        [sum(self.layers.get(..self.rows.len()).unwrap_or_default()), sum(&self.layers)]
    }

    /// The layer that is tried next.
    #[must_use]
    pub fn next_layer(&self) -> Option<&str> {
        self.layers.get(self.rows.len()).map(|(name, _)| name.as_str())
    }

    /// Its bytes of values.
    #[must_use]
    pub fn next_bytes(&self) -> u64 {
        self.layers.get(self.rows.len()).map_or(0, |(_, bytes)| *bytes)
    }

    /// The layers that are done.
    #[must_use]
    pub fn rows(&self) -> &[SweepRow] {
        &self.rows
    }

    /// Tries the next layer; answers whether there was one. What is done stays if this fails.
    ///
    /// # Errors
    /// If a source fails or the user cancels.
    pub async fn step(&mut self, trials: &Trials<'_>) -> Result<bool, ConvertError> {
        let Some((name, bytes_before)) = self.layers.get(self.rows.len()).cloned() else { return Ok(false) };
        let trial = trials.layer(&name, &self.request, &mut self.maxima).await?;
        let option = |scheme: SchemeTrial| SweepOption {
            scheme: scheme.scheme,
            bytes: scheme.bytes,
            squared_error: scheme.squared_error,
            sqnr_db: scheme.sqnr_db,
            refused: scheme.refused,
        };
        self.rows.push(SweepRow {
            group: trials.model.layer(&name).map_or_else(|| name.clone(), group_of),
            name,
            kind: trial.kind,
            weights: trial.values_total,
            bytes_before,
            options: trial.schemes.into_iter().map(option).collect(),
        });
        Ok(true)
    }
}
