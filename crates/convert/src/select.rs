//! Which layers are packed, which are kept, and why.
//!
//! Source: `formats.md` n (what stays unquantized by default) and d (Conv3d).

use crate::error::ConvertError;
use crate::recipe::Recipe;
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_format::{Glob, TensorInfo};
use quantscope_numeric::Dtype;
use quantscope_schemes::exclude::DEFAULT_EXCLUDES;
use quantscope_schemes::{Family, Kind, Scheme, WEIGHT_LEAF, is_transposed_conv};

/// What becomes of a layer.
pub(crate) enum Choice {
    /// Its weight is packed.
    Pack(&'static dyn Scheme),
    /// It stays as it is, for this reason.
    Keep(String),
    /// It has no weight that could be packed, and nobody asks why.
    PassOn,
}

/// The default exclusions, compiled once.
pub(crate) struct Selector<'a> {
    recipe: &'a Recipe,
    defaults: Vec<(&'static str, Glob)>,
}

impl<'a> Selector<'a> {
    pub(crate) fn new(recipe: &'a Recipe) -> Result<Self, ConvertError> {
        let compile = |&pattern: &&'static str| {
            let glob = Glob::new(pattern).map_err(|e| ConvertError::Refused(format!("{pattern:?}: {e}")))?;
            Ok((pattern, glob))
        };
        let defaults = DEFAULT_EXCLUDES.iter().map(compile).collect::<Result<_, ConvertError>>()?;
        Ok(Self { recipe, defaults })
    }

    /// Decides on a layer.
    pub(crate) fn choose(&self, checkpoint: &Checkpoint, layer: &LayerInfo) -> Result<Choice, ConvertError> {
        let name = layer.name.as_str();
        if layer.kind == Kind::ExpertStack {
            return Err(ConvertError::Tensor {
                tensor: name.into(),
                reason: "holds all experts in one tensor of rank 3".into(),
                remedy: "unstack the experts first, stacks cannot be packed by this version".into(),
            });
        }
        let Some((_, weight)) = layer.tensor(checkpoint, WEIGHT_LEAF) else { return Ok(Choice::PassOn) };
        if weight.shape.len() < 2 || !layer.kind.is_counted() {
            return Ok(Choice::PassOn);
        }
        if let Some(pattern) = self.recipe.exclude.iter().find(|g| g.is_match(name)) {
            return Ok(Choice::Keep(format!("excluded by {}", pattern.pattern())));
        }
        let rule = self.recipe.layers.iter().find(|(glob, _)| glob.is_match(name));
        if let Some((glob, None)) = rule {
            return Ok(Choice::Keep(format!("kept by {}", glob.pattern())));
        }
        let named = rule.and_then(|(_, scheme)| *scheme);
        let chosen = named.unwrap_or(self.recipe.default);
        if let Some(reason) = unfit(layer, weight) {
            return Ok(Choice::Keep(reason));
        }
        if named.is_none() {
            let dotted = format!("{name}.");
            if let Some((pattern, _)) = self.defaults.iter().find(|(_, g)| g.is_match(&dotted)) {
                return Ok(Choice::Keep(format!("left out by default ({pattern})")));
            }
            if layer.kind == Kind::Embedding {
                return Ok(Choice::Keep("an embedding".into()));
            }
            if layer.kind == Kind::Router {
                return Ok(Choice::Keep("a router".into()));
            }
        }
        Ok(Choice::Pack(chosen))
    }
}

/// Why a layer cannot be packed whatever is asked.
fn unfit(layer: &LayerInfo, weight: &TensorInfo) -> Option<String> {
    match layer.kind {
        Kind::Conv2d => Some("a 2-D convolution, which is never packed".into()),
        Kind::Conv1d => Some("a 1-D convolution, which is never packed".into()),
        Kind::Conv3d if is_transposed_conv(&layer.name) => Some("a transposed convolution".into()),
        _ if !matches!(weight.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16) => {
            Some(format!("its weight is {}", weight.dtype))
        }
        _ => None,
    }
}

/// Refuses a checkpoint that holds quantized layers already: their scales would have to be judged anew.
pub(crate) fn refuse_quantized(model: &Model) -> Result<(), ConvertError> {
    match model.layers.iter().find(|l| l.scheme.family() != Family::Plain) {
        None => Ok(()),
        Some(layer) => Err(ConvertError::Tensor {
            tensor: layer.name.clone(),
            reason: format!("is stored as {} already", layer.scheme.id()),
            remedy: "convert from the unquantized source instead".into(),
        }),
    }
}
