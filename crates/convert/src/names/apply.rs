//! What rules do to a layer: it stays whole, a stack comes apart into its experts, a fused matrix into its parts.
//!
//! Knows which layers can be cut and why others cannot. Does not know where the bytes go.

use super::cut::Cut;
use super::rules::Rules;
use crate::error::ConvertError;
use crate::experts::{self, Form};
use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_schemes::{Kind, ScaleLayout, by_id};

/// Most modules that one layer becomes: more experts than any model has.
const MOST_PARTS: u64 = 1 << 17;

/// What becomes of the tensors of a layer.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// They stay together; for a stack of plain numbers, its form.
    Whole(Option<Form>),
    /// They are cut. The paths are those of the modules they become, before renames, part by part and expert by
    /// expert.
    Cut(Cut, Vec<String>),
}

/// Who the rules come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The preset of the model type: it cuts plain numbers, and leaves the user's other wishes alone.
    Preset,
    /// The user, who wants all of it done or nothing.
    User,
}

/// What the rules are, and whose.
#[derive(Debug, Clone)]
pub(crate) struct Applied {
    /// The rules.
    pub(crate) rules: Rules,
    /// Whose they are.
    pub(crate) origin: Origin,
    /// Whether stacks of plain experts come apart without being asked to, since they are to be quantized.
    pub(crate) unstacks: bool,
}

fn refused(layer: &LayerInfo, reason: String, remedy: &str) -> ConvertError {
    ConvertError::Tensor { tensor: layer.name.clone(), reason, remedy: remedy.into() }
}

/// Rows of weights that share a row of scales.
///
/// # Errors
/// Why the rows cannot be told apart.
pub(crate) fn scale_rows(checkpoint: &Checkpoint, layer: &LayerInfo) -> Result<Option<u64>, String> {
    let one_by_one = Ok(Some(1));
    let view = layer.view(checkpoint);
    if let Some(form) = layer.scheme.packed_form(&view) {
        let codes = form.codes.1;
        if form.scales.1.is_tiled || [codes.rows, codes.cols.saturating_mul(2)] != form.shape {
            return Err("is padded or tiled, which --pad none takes off".into());
        }
    }
    // Stacks in tiles are no layers that can be read, but their tiles lie as those of a matrix do.
    let tiles = by_id("fp8-block").filter(|tiles| {
        !layer.is_quantized() && tiles.scale_layout().scale_leaf().is_some_and(|leaf| view.has(leaf))
    });
    let layout = tiles.map_or_else(|| layer.scale_layout(checkpoint), |tiles| tiles.scale_layout_of(&view));
    match layout {
        ScaleLayout::Fp4Blocks { .. } | ScaleLayout::MxBlocks { .. } => one_by_one,
        ScaleLayout::Fp8Tiles { rows: u32::MAX, .. } => Ok(None),
        ScaleLayout::Fp8Tiles { rows, .. } => Ok(Some(u64::from(rows))),
        // The reference's integer schemes; packages of others pack along other axes.
        ScaleLayout::Scales { .. } if !layer.scheme.about().algos.is_empty() => one_by_one,
        _ if !layer.is_quantized() => one_by_one,
        _ => Err(format!("is stored as {}, whose rows do not stand together", layer.scheme.id())),
    }
}

/// The same, with what to do about it.
fn cut_rows(checkpoint: &Checkpoint, layer: &LayerInfo) -> Result<Option<u64>, ConvertError> {
    let remedy = "bring it into another form first, with --to bf16 for example, then split it";
    scale_rows(checkpoint, layer).map_err(|reason| refused(layer, reason, remedy))
}

impl Applied {
    /// Decides on a layer.
    ///
    /// # Errors
    /// If the user's rules ask for what cannot be done to it.
    pub(crate) fn way(
        &self,
        checkpoint: &Checkpoint,
        model: &Model,
        layer: &LayerInfo,
    ) -> Result<Way, ConvertError> {
        let last = layer.name.rsplit('.').next().unwrap_or_default();
        let split = self.rules.split(&layer.name);
        let is_user = self.origin == Origin::User;
        if layer.kind == Kind::ExpertStack {
            let is_asked =
                is_user && (split.is_some() || self.rules.stacked_leaves.iter().any(|l| l == last));
            let form = match () {
                () if is_asked => Some(experts::tell(checkpoint, model, layer)),
                () if self.unstacks => experts::form(checkpoint, model, layer),
                () => None,
            };
            return match form {
                Some(Form::Apart) => self.unstack(checkpoint, layer, split),
                Some(Form::Together) if is_asked => Err(refused(
                    layer,
                    "is a stack of experts [E, in, out], the parts of which do not stand in rows".into(),
                    "leave it out of the rules: runtimes of such models want it stacked",
                )),
                Some(Form::Unclear(reason)) if is_asked => Err(refused(
                    layer,
                    reason,
                    "give hidden_size and model_type in config.json, or leave it out of the rules",
                )),
                form => Ok(Way::Whole(form)),
            };
        }
        match split.filter(|_| is_user || !layer.is_quantized()) {
            Some(paths) => self.split(checkpoint, layer, paths),
            None => Ok(Way::Whole(None)),
        }
    }

    fn split(
        &self,
        checkpoint: &Checkpoint,
        layer: &LayerInfo,
        paths: Vec<String>,
    ) -> Result<Way, ConvertError> {
        let side = |side: Option<&u64>| side.copied().unwrap_or(0);
        let cut = Cut {
            experts: None,
            parts: u64::try_from(paths.len()).unwrap_or(u64::MAX),
            rows: side(layer.shape.first()),
            cols: side(layer.shape.last()),
            scale_rows: cut_rows(checkpoint, layer)?,
        };
        Ok(Way::Cut(cut, paths))
    }

    fn unstack(
        &self,
        checkpoint: &Checkpoint,
        layer: &LayerInfo,
        split: Option<Vec<String>>,
    ) -> Result<Way, ConvertError> {
        let (parent, last) = layer.name.rsplit_once('.').unwrap_or(("", &layer.name));
        let leaves: Vec<String> = match split {
            Some(paths) => paths.iter().filter_map(|p| p.rsplit('.').next()).map(str::to_string).collect(),
            None if last == "gate_up_proj" => vec!["gate_proj".into(), "up_proj".into()],
            None => vec![last.to_string()],
        };
        let parts = u64::try_from(leaves.len()).unwrap_or(u64::MAX);
        let &[experts, rows, cols] = layer.shape.as_slice() else {
            return Err(refused(layer, format!("has the shape {:?}", layer.shape), "mend the checkpoint"));
        };
        if experts.checked_mul(parts).is_none_or(|n| n > MOST_PARTS) {
            return Err(refused(layer, format!("claims to hold {experts} experts"), "mend the checkpoint"));
        }
        let cut = Cut { experts: Some(experts), parts, rows, cols, scale_rows: cut_rows(checkpoint, layer)? };
        let path = |expert: u64| leaves.iter().map(move |leaf| format!("{parent}.{expert}.{leaf}"));
        Ok(Way::Cut(cut, (0..experts).flat_map(path).collect()))
    }

    /// Refuses a stack that the user's rules do not let survive.
    ///
    /// # Errors
    /// If the renamed path of a whole layer is that of such a stack.
    pub(crate) fn check_survivor(&self, layer: &LayerInfo, path: &str) -> Result<(), ConvertError> {
        if self.origin == Origin::User && self.rules.is_forbidden_stack(path) {
            return Err(refused(
                layer,
                format!("would survive as `{path}`, which the rules name in expert_fused_leaves"),
                "un-stack it first, or leave it out of expert_fused_leaves",
            ));
        }
        Ok(())
    }
}
