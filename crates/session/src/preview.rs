//! What schemes would make of a layer, without writing anything.

use crate::Session;
use crate::api::{LayerQuery, LayerTrial, SessionError};
use crate::layers::hits;
use quantscope_audit::{Engines, LayerInfo};
use quantscope_convert::trial::{Maxima, SAMPLE_BYTES, TrialRequest, Trials};
use quantscope_format::Control;
use quantscope_schemes::Kind;
use serde::{Deserialize, Serialize};

/// What is to be tried on a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewRequest {
    /// Module path, or the name of its weight.
    pub layer: String,
    /// Scheme ids.
    pub schemes: Vec<String>,
    /// Weights that share a scale, in the schemes that leave it open (`int4`: 128).
    pub group_size: Option<u64>,
    /// Bytes of values that are read at most; more than 64 MiB are sampled without it.
    pub sample_bytes: Option<u64>,
}

/// A layer that schemes can be tried on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Module path.
    pub name: String,
    /// Scheme id.
    pub scheme: String,
    /// Its family.
    pub family: String,
    /// Bytes of its tensors.
    pub bytes: u64,
}

impl Session {
    /// Tries schemes on a layer, with the encoders and decoders of a conversion. A quantized layer is decoded first.
    ///
    /// # Errors
    /// If there is no such layer, it holds nothing that could be packed, a scheme is unknown, a source fails or the
    /// job is cancelled. That a scheme cannot hold the layer stands in the reply.
    pub async fn preview(
        &self,
        request: &PreviewRequest,
        engines: Engines<'_>,
        control: &dyn Control,
    ) -> Result<LayerTrial, SessionError> {
        let trials = self.trials(engines, control);
        let wanted = TrialRequest {
            schemes: request.schemes.clone(),
            group_size: request.group_size,
            sample_bytes: request.sample_bytes.unwrap_or(SAMPLE_BYTES).max(1),
        };
        let name = self.module_of(&request.layer);
        Ok(trials.layer(name, &wanted, &mut Maxima::default()).await?)
    }

    /// Layers that schemes can be tried on, as far as their names match: the largest first,
    /// `count` of them at most.
    #[must_use]
    pub fn layers_to_try(&self, text: &str, count: usize) -> Vec<Candidate> {
        let query = LayerQuery { text: text.into(), sort: "-size".into(), ..LayerQuery::default() };
        let layers = hits(self, &query).into_iter().filter_map(|i| self.model.layers.get(i));
        let has_matrix = |l: &&LayerInfo| {
            !matches!(l.kind, Kind::Norm | Kind::Other | Kind::Conv1d | Kind::Conv2d) && l.shape.len() > 1
        };
        let candidate = |layer: &LayerInfo| Candidate {
            name: layer.name.clone(),
            scheme: layer.scheme.id().into(),
            family: layer.scheme.family().id().into(),
            bytes: layer.bytes,
        };
        layers.filter(has_matrix).take(count).map(candidate).collect()
    }

    /// The family of a scheme, which sets its hue; `plain` for what is none.
    #[must_use]
    pub fn family_of(scheme: &str) -> &'static str {
        quantscope_schemes::by_id(scheme).map_or("plain", |s| s.family().id())
    }

    /// What trials need of this session.
    pub(crate) fn trials<'a>(&'a self, engines: Engines<'a>, control: &'a dyn Control) -> Trials<'a> {
        let (checkpoint, model, limits) = (&*self.checkpoint, &*self.model, &self.limits);
        Trials { checkpoint, model, engines, limits, control }
    }

    /// The module that a name stands for: itself, or that of the tensor it names.
    fn module_of<'n>(&self, name: &'n str) -> &'n str {
        match name.strip_suffix(".weight") {
            Some(module) if self.model.layer(name).is_none() => module,
            _ => name,
        }
    }
}
