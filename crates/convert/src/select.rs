//! Which layers are packed, taken over or kept, and why.
//!
//! Source: `formats.md` n (what stays unquantized by default) and d (Conv3d).

use crate::error::ConvertError;
use crate::experts::Form;
use crate::recipe::{Conv3d, Recipe, writable};
use crate::views::{Module, View, Views};
use quantscope_audit::{Checkpoint, LayerInfo};
use quantscope_format::Glob;
use quantscope_numeric::Dtype;
use quantscope_schemes::exclude::DEFAULT_EXCLUDES;
use quantscope_schemes::{Kind, Recast, Scheme, is_transposed_conv};

/// What becomes of a layer.
pub(crate) enum Choice {
    /// Its weight is packed.
    Pack(&'static dyn Scheme),
    /// Its quantized form becomes that of another scheme.
    Recast(&'static dyn Scheme, Box<dyn Recast>),
    /// It stays as it is, for this reason.
    Keep(String),
    /// It has no weight that could be packed, and nobody asks why.
    PassOn,
}

impl Choice {
    /// The id of the scheme it is packed in.
    pub(crate) fn packed_as(&self) -> Option<&'static str> {
        match self {
            Self::Pack(scheme) => Some(scheme.id()),
            _ => None,
        }
    }
}

/// The rules of a recipe with the default exclusions, compiled once.
pub(crate) struct Selector<'a> {
    checkpoint: &'a Checkpoint,
    recipe: &'a Recipe,
    default: &'static dyn Scheme,
    defaults: Vec<(&'static str, Glob)>,
    /// Whether some layers of the source are quantized already, so that the others were left out on purpose.
    is_quantized: bool,
}

/// What the user says of a layer.
enum Said {
    /// Keep it.
    Keep(String),
    /// Pack it in this scheme.
    Scheme(&'static dyn Scheme),
    /// Nothing.
    Nothing,
}

impl<'a> Selector<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        recipe: &'a Recipe,
        default: &'static dyn Scheme,
        is_quantized: bool,
    ) -> Result<Self, ConvertError> {
        let compile = |&pattern: &&'static str| {
            let glob = Glob::new(pattern).map_err(|e| ConvertError::Refused(format!("{pattern:?}: {e}")))?;
            Ok((pattern, glob))
        };
        let defaults = DEFAULT_EXCLUDES.iter().map(compile).collect::<Result<_, ConvertError>>()?;
        Ok(Self { checkpoint, recipe, default, defaults, is_quantized })
    }

    /// What flags say of a module, which may have one name in the source and another in the output.
    fn said(&self, names: [&str; 2]) -> Said {
        said(self.recipe, names)
    }

    /// Decides on a layer.
    pub(crate) fn choose(
        &self,
        views: &Views,
        module: &Module,
        layer: &LayerInfo,
    ) -> Result<Choice, ConvertError> {
        let said = self.said([&module.name, &layer.name]);
        if layer.is_quantized() {
            return self.choose_quantized(said, layer);
        }
        let Some(weight) = views.weight(module) else { return Ok(Choice::PassOn) };
        if weight.shape.len() < 2 || !module.kind.is_counted() {
            return Ok(Choice::PassOn);
        }
        let named = match said {
            Said::Keep(reason) => return Ok(Choice::Keep(reason)),
            Said::Scheme(scheme) => Some(scheme),
            Said::Nothing => None,
        };
        let chosen = named.unwrap_or(self.default);
        if let Some(reason) = unfit(module, weight, chosen) {
            return Ok(Choice::Keep(reason));
        }
        if named.is_none()
            && let Some(reason) = self.left_out(module)
        {
            return Ok(Choice::Keep(reason));
        }
        if !chosen.about().can_encode {
            let id = chosen.id();
            if named.is_none() && self.is_quantized {
                return Ok(Choice::Keep(format!("{id} is only made of other quantized layers")));
            }
            return Err(ConvertError::Refused(format!(
                "{id} can be read but not written; choose one of {}",
                writable()
            )));
        }
        if let Some(Form::Unclear(reason)) = &module.stack {
            return Err(ConvertError::Tensor {
                tensor: module.name.clone(),
                reason: reason.clone(),
                remedy: format!(
                    "give hidden_size and model_type in config.json, or keep it with --layer '{}=keep'",
                    module.name
                ),
            });
        }
        self.check_conv3d(module, chosen)?;
        Ok(Choice::Pack(chosen))
    }

    /// What recipes of the reference leave out, and what the source has left out.
    fn left_out(&self, module: &Module) -> Option<String> {
        let dotted = format!("{}.", module.name);
        if let Some((pattern, _)) = self.defaults.iter().find(|(_, g)| g.is_match(&dotted)) {
            return Some(format!("left out by default ({pattern})"));
        }
        match module.kind {
            Kind::Embedding => Some("an embedding".into()),
            Kind::Router => Some("a router".into()),
            _ if self.is_quantized => Some("left out when the source was quantized".into()),
            _ => None,
        }
    }

    /// A layer that is quantized already: its scales would have to be judged anew.
    fn choose_quantized(&self, said: Said, layer: &LayerInfo) -> Result<Choice, ConvertError> {
        let chosen = match said {
            Said::Keep(reason) => return Ok(Choice::Keep(reason)),
            Said::Scheme(scheme) => scheme,
            Said::Nothing => self.default,
        };
        let refuse = |reason: String, remedy: String| {
            Err(ConvertError::Tensor { tensor: layer.name.clone(), reason, remedy })
        };
        match chosen.recast(layer.scheme, &layer.view(self.checkpoint)) {
            Some(Ok(recast)) => Ok(Choice::Recast(chosen, recast)),
            Some(Err(refusal)) => refuse(refusal.reason, refusal.remedy),
            None => refuse(
                format!("is stored as {} already", layer.scheme.id()),
                format!(
                    "convert from the unquantized source, or dequantize first with --to bf16, or keep it with \
                     --layer '{}=keep'",
                    layer.name
                ),
            ),
        }
    }

    /// The head of the reference's pull request packs a convolution under dynamic NVFP4 with calibrated
    /// activations alone; what needs the weight or the calibration is checked where they are known.
    fn check_conv3d(&self, module: &Module, chosen: &'static dyn Scheme) -> Result<(), ConvertError> {
        let static_scales = chosen.with_given_blocks().is_none_or(|s| s.id() == chosen.id());
        let dynamic = chosen.about().quantizes_activations && !static_scales;
        if module.kind != Kind::Conv3d || self.recipe.conv3d == Conv3d::Lenient || dynamic {
            return Ok(());
        }
        Err(ConvertError::Tensor {
            tensor: module.name.clone(),
            reason: format!(
                "is a 3-D convolution, which --conv3d strict packs as dynamic NVFP4 only, not as {}",
                chosen.id()
            ),
            remedy: format!(
                "choose nvfp4, or --conv3d lenient, or keep it with --layer '{}=keep'",
                module.name
            ),
        })
    }
}

fn said(recipe: &Recipe, names: [&str; 2]) -> Said {
    let hits = |glob: &&Glob| names.iter().any(|name| glob.is_match(name));
    if let Some(glob) = recipe.exclude.iter().find(hits) {
        return Said::Keep(format!("excluded by {}", glob.pattern()));
    }
    match recipe.layers.iter().find(|(glob, _)| hits(&glob)) {
        Some((glob, None)) => Said::Keep(format!("kept by {}", glob.pattern())),
        Some((_, Some(scheme))) => Said::Scheme(*scheme),
        None => Said::Nothing,
    }
}

/// Why flags keep a layer, if they do.
pub(crate) fn kept_by_flags(recipe: &Recipe, name: &str) -> Option<String> {
    match said(recipe, [name, name]) {
        Said::Keep(reason) => Some(reason),
        Said::Scheme(_) | Said::Nothing => None,
    }
}

/// Why a layer cannot be packed whatever is asked.
fn unfit(module: &Module, weight: &View, chosen: &'static dyn Scheme) -> Option<String> {
    match module.kind {
        Kind::Conv2d => Some("a 2-D convolution, which is never packed".into()),
        Kind::Conv1d => Some("a 1-D convolution, which is never packed".into()),
        Kind::Conv3d if is_transposed_conv(&module.name) => Some("a transposed convolution".into()),
        Kind::Conv3d if !chosen.flattens_convolutions() => {
            Some(format!("a 3-D convolution, which is not packed as {}", chosen.id()))
        }
        _ if !matches!(weight.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16) => {
            Some(format!("its weight is {}", weight.dtype))
        }
        _ => None,
    }
}
