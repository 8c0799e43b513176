//! Which layers are packed, taken over or kept, and why.
//!
//! Source: `formats.md` n (what stays unquantized by default) and d (Conv3d).

use crate::error::ConvertError;
use crate::experts::Form;
use crate::plain;
use crate::recipe::{Conv3d, Recipe, Target, writable};
use crate::views::{Module, View, Views};
use quantscope_audit::{Checkpoint, LayerInfo};
use quantscope_format::Glob;
use quantscope_kernels::FloatType;
use quantscope_numeric::Dtype;
use quantscope_schemes::exclude::DEFAULT_EXCLUDES;
use quantscope_schemes::{Kind, Recast, Scheme, WEIGHT_LEAF, is_transposed_conv};

/// What becomes of a layer.
pub(crate) enum Choice {
    /// Its weight is packed.
    Pack(&'static dyn Scheme),
    /// Its quantized form becomes that of another scheme.
    Recast(&'static dyn Scheme, Box<dyn Recast>),
    /// Its quantized weight becomes plain numbers of this type; other floats beside it too.
    Decode(FloatType),
    /// Its floats are cast to this type.
    Cast(FloatType),
    /// It stays as it is, for this reason.
    Keep(String),
    /// It has no weight that could be packed, and nobody asks why.
    PassOn,
}

impl Choice {
    /// What its weight is turned into, if it is.
    pub(crate) fn treatment(&self) -> Option<&'static str> {
        match self {
            Self::Pack(scheme) | Self::Recast(scheme, _) => Some(scheme.id()),
            Self::Decode(float) | Self::Cast(float) => Some(plain::id(*float)),
            Self::Keep(_) | Self::PassOn => None,
        }
    }
}

/// The rules of a recipe with the default exclusions, compiled once.
pub(crate) struct Selector<'a> {
    checkpoint: &'a Checkpoint,
    recipe: &'a Recipe,
    defaults: Vec<(&'static str, Glob)>,
    /// Whether some layers of the source are quantized already, so that the others were left out on purpose.
    is_quantized: bool,
}

/// What the user says of a layer.
enum Said {
    /// Keep it.
    Keep(String),
    /// What it becomes.
    Target(Target),
    /// Nothing.
    Nothing,
}

impl Said {
    /// Whether the same becomes of a layer.
    fn means_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keep(_), Self::Keep(_)) | (Self::Nothing, Self::Nothing) => true,
            (Self::Target(own), Self::Target(other)) => own.is(other),
            _ => false,
        }
    }
}

impl<'a> Selector<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        recipe: &'a Recipe,
        is_quantized: bool,
    ) -> Result<Self, ConvertError> {
        let compile = |&pattern: &&'static str| {
            let glob = Glob::new(pattern).map_err(|e| ConvertError::Refused(format!("{pattern:?}: {e}")))?;
            Ok((pattern, glob))
        };
        let defaults = DEFAULT_EXCLUDES.iter().map(compile).collect::<Result<_, ConvertError>>()?;
        Ok(Self { checkpoint, recipe, defaults, is_quantized })
    }

    /// Decides on a layer, which may have one name in the source and another in the output.
    pub(crate) fn choose(
        &self,
        views: &Views,
        module: &Module,
        layer: &LayerInfo,
    ) -> Result<Choice, ConvertError> {
        let (target, is_named) = match self.said(module, layer)? {
            Said::Keep(reason) => return Ok(kept(views, module, layer, reason)),
            Said::Target(target) => (target, true),
            Said::Nothing => (self.recipe.default_of(module.kind), false),
        };
        let is_arranged = self.recipe.pad.is_some() || self.recipe.swizzle;
        if module.is_part && layer.is_quantized() && (is_arranged || !matches!(target, Target::Keep)) {
            return Err(ConvertError::Tensor {
                tensor: module.name.clone(),
                reason: format!("comes of `{}`, which is quantized as {}", layer.name, layer.scheme.id()),
                remedy:
                    "split or join it in one conversion, and change its values or how they lie in another"
                        .into(),
            });
        }
        match (target, self.recipe.casts_all()) {
            (Target::Scheme(scheme), _) if layer.is_quantized() => self.choose_quantized(scheme, layer),
            (Target::Scheme(scheme), _) => self.choose_plain(views, module, scheme, is_named),
            (Target::Float(float), _) if layer.is_quantized() || self.holds_unknown_codes(layer) => {
                Ok(Choice::Decode(float))
            }
            (Target::Float(float), _) => Ok(Choice::Cast(float)),
            (Target::Keep, Some(float)) if !layer.is_quantized() => Ok(Choice::Cast(float)),
            (Target::Keep, _) => Ok(kept(views, module, layer, "no scheme is asked for it".into())),
        }
    }

    /// What flags say of a module, which may have one name in the source and another in the output. Where several are
    /// joined, they must say the same of each.
    fn said(&self, module: &Module, layer: &LayerInfo) -> Result<Said, ConvertError> {
        if module.joined.is_empty() {
            return Ok(said(self.recipe, [&module.name, &layer.name]));
        }
        let mut each = module.joined.iter().map(|member| said(self.recipe, [&module.name, &member.name]));
        let first = each.next().unwrap_or(Said::Nothing);
        if each.all(|other| other.means_as(&first)) {
            return Ok(first);
        }
        Err(ConvertError::Tensor {
            tensor: module.name.clone(),
            reason: "is joined of layers that the recipe treats differently".into(),
            remedy: "give all of them one rule, or leave --fuse out".into(),
        })
    }

    /// Decides on a layer of plain numbers that is to have a scheme.
    fn choose_plain(
        &self,
        views: &Views,
        module: &Module,
        chosen: &'static dyn Scheme,
        is_named: bool,
    ) -> Result<Choice, ConvertError> {
        let Some(weight) = packable(views, module) else { return Ok(Choice::PassOn) };
        if let Some(reason) = unfit(module, weight, chosen) {
            return Ok(Choice::Keep(reason));
        }
        if !is_named && let Some(reason) = self.left_out(module) {
            return Ok(Choice::Keep(reason));
        }
        if !chosen.about().can_encode {
            let id = chosen.id();
            if !is_named && self.is_quantized {
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

    /// Whether a layer of no known scheme has a weight of anything but numbers: copying it would leave codes
    /// behind that nothing explains any more.
    fn holds_unknown_codes(&self, layer: &LayerInfo) -> bool {
        let weight = [WEIGHT_LEAF, "qweight", "weight_packed"]
            .into_iter()
            .find_map(|l| layer.tensor(self.checkpoint, l));
        weight.is_some_and(|(_, t)| t.shape.len() >= 2 && !t.dtype.is_plain_float() && t.dtype != Dtype::BOOL)
    }

    /// What recipes of the reference leave out, and what the source has left out.
    fn left_out(&self, module: &Module) -> Option<String> {
        let dotted = format!("{}.", module.name);
        if let Some((pattern, _)) = self.defaults.iter().find(|(_, g)| g.is_match(&dotted)) {
            return Some(format!("left out by default ({pattern})"));
        }
        let is_asked_for = self.recipe.by_kind.contains_key(&module.kind);
        match module.kind {
            Kind::Embedding if !is_asked_for => Some("an embedding".into()),
            Kind::Router if !is_asked_for => Some("a router".into()),
            _ if self.is_quantized => Some("left out when the source was quantized".into()),
            _ => None,
        }
    }

    /// A layer that is quantized already: its scales would have to be judged anew.
    fn choose_quantized(
        &self,
        chosen: &'static dyn Scheme,
        layer: &LayerInfo,
    ) -> Result<Choice, ConvertError> {
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
        Some((glob, Target::Keep)) => Said::Keep(format!("kept by {}", glob.pattern())),
        Some((_, target)) => Said::Target(*target),
        None => Said::Nothing,
    }
}

/// Whether a rule or `--exclude` keeps a layer.
pub(crate) fn is_kept_by_rule(recipe: &Recipe, name: &str) -> bool {
    matches!(said(recipe, [name, name]), Said::Keep(_))
}

/// The weight of a module, if it is one that schemes are for.
fn packable<'v>(views: &'v Views, module: &Module) -> Option<&'v View> {
    views.weight(module).filter(|weight| weight.shape.len() >= 2 && module.kind.is_counted())
}

/// A layer that stays as it is; listed if it could have been otherwise.
fn kept(views: &Views, module: &Module, layer: &LayerInfo, reason: String) -> Choice {
    if layer.is_quantized() || packable(views, module).is_some() {
        Choice::Keep(reason)
    } else {
        Choice::PassOn
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
