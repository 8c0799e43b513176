//! Stacks of experts: which are taken apart into one module an expert, which stay, which nobody can tell.
//!
//! Source: `formats.md` b (experts that multiply in batches stay stacked) and h (others are expanded).

use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_format::TensorInfo;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Kind, WEIGHT_LEAF};
use std::ops::Range;

/// More experts than any model has: a shape that claims more is not taken apart.
const MOST_EXPERTS: u64 = 1 << 16;

/// What a stack is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// `[E, 2I, H]` and `[E, H, I]`: taken apart.
    Apart,
    /// `[E, in, out]`: stays, and is packed along `in`.
    Together,
    /// Unknown, for this reason.
    Unclear(String),
}

/// An expert's part of a stacked tensor.
pub(crate) struct Part {
    /// Module path, before presets rename it.
    pub(crate) module: String,
    /// What the module is.
    pub(crate) kind: Kind,
    /// Name below the module.
    pub(crate) leaf: &'static str,
    /// Dimensions.
    pub(crate) shape: Vec<u64>,
    /// Bytes within the stacked tensor.
    pub(crate) bytes: Range<u64>,
}

/// The form of a layer, if it is a stack of plain numbers.
pub(crate) fn form(checkpoint: &Checkpoint, model: &Model, layer: &LayerInfo) -> Option<Form> {
    if layer.kind != Kind::ExpertStack || layer.is_quantized() {
        return None;
    }
    let (_, weight) = layer.tensor(checkpoint, WEIGHT_LEAF)?;
    if !matches!(weight.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16) {
        return None;
    }
    Some(tell(checkpoint, model, layer, weight).unwrap_or_else(Form::Unclear))
}

fn tell(
    checkpoint: &Checkpoint,
    model: &Model,
    layer: &LayerInfo,
    weight: &TensorInfo,
) -> Result<Form, String> {
    let config = checkpoint.model_config();
    let inner = config.and_then(|c| c.value.get("text_config")?.get("model_type")?.as_str());
    let batched = |t: &str| t.starts_with("llama4") || t == "gpt_oss";
    if config.and_then(|c| c.model_type.as_deref()).into_iter().chain(inner).any(batched) {
        return Ok(Form::Together);
    }
    let parent = layer.name.rsplit_once('.').map_or("", |(parent, _)| parent);
    let fused = match layer.name.rsplit('.').next() {
        Some("gate_up_proj") => Some(weight),
        Some("down_proj") => {
            let sibling = model.layer(&format!("{parent}.gate_up_proj"));
            sibling.and_then(|l| l.tensor(checkpoint, WEIGHT_LEAF)).map(|(_, tensor)| tensor)
        }
        _ => None,
    };
    let Some(&[experts, middle, last]) = fused.map(|t| t.shape.as_slice()) else {
        return Err("is a stack of experts of no known form".into());
    };
    let Some(hidden) = config.and_then(|c| c.hidden_size) else {
        return Err("is a stack of experts, and no config.json tells the hidden size".into());
    };
    match (middle == hidden, last == hidden) {
        (true, false) => Ok(Form::Together),
        (false, true) if experts <= MOST_EXPERTS && middle.is_multiple_of(2) && weight.byte_len() > 0 => {
            Ok(Form::Apart)
        }
        (false, true) => Err("is a stack of experts whose shape cannot be taken apart".into()),
        (true, true) => {
            Err(format!("is a stack of experts both of whose sides are the hidden size {hidden}"))
        }
        (false, false) => {
            Err(format!("is a stack of experts none of whose sides is the hidden size {hidden}"))
        }
    }
}

/// The parts of a stacked tensor, expert by expert; `None` where its shape does not divide so, or it is
/// neither weight nor bias.
pub(crate) fn parts(module: &str, leaf: &str, tensor: &TensorInfo) -> Option<Vec<Part>> {
    let (parent, last) = module.rsplit_once('.')?;
    let leaf = ["weight", "bias"].into_iter().find(|known| *known == leaf)?;
    let names: &[&str] = if last == "gate_up_proj" { &["gate_proj", "up_proj"] } else { &["down_proj"] };
    let (&experts, inner) = tensor.shape.split_first()?;
    let (&rows, rest) = inner.split_first()?;
    let halves = u64::try_from(names.len()).ok()?;
    if rest.len() != usize::from(leaf == "weight") || experts > MOST_EXPERTS || !rows.is_multiple_of(halves) {
        return None;
    }
    let count = experts.checked_mul(halves).filter(|&n| n > 0)?;
    let length = tensor.byte_len() / count;
    let mut shape = vec![rows / halves];
    shape.extend_from_slice(rest);
    let part = |at: u64| {
        let (expert, half) = (at / halves, usize::try_from(at % halves).unwrap_or(0));
        Part {
            module: format!("{parent}.{expert}.{}", names.get(half).copied().unwrap_or_default()),
            kind: Kind::Expert,
            leaf,
            shape: shape.clone(),
            bytes: at.saturating_mul(length)..at.saturating_add(1).saturating_mul(length),
        }
    };
    Some((0..count).map(part).collect())
}

/// Gate and up of a dense layer's fused tensor; `None` where its rows are not even, or it is neither weight nor
/// bias.
pub(crate) fn halves(layer: &LayerInfo, leaf: &str, tensor: &TensorInfo) -> Option<Vec<Part>> {
    let (parent, _) = layer.name.rsplit_once('.').filter(|(_, last)| *last == "gate_up_proj")?;
    let leaf = ["weight", "bias"].into_iter().find(|known| *known == leaf)?;
    let (&rows, rest) = tensor.shape.split_first()?;
    if layer.kind != Kind::Linear || layer.is_quantized() || !rows.is_multiple_of(2) {
        return None;
    }
    let length = tensor.byte_len() / 2;
    let part = |name: &str, at: u64| Part {
        module: format!("{parent}.{name}"),
        kind: layer.kind,
        leaf,
        shape: std::iter::once(rows / 2).chain(rest.iter().copied()).collect(),
        bytes: at.saturating_mul(length)..at.saturating_add(1).saturating_mul(length),
    };
    Some(vec![part("gate_proj", 0), part("up_proj", 1)])
}

/// The expert a module belongs to: the path of all experts, the number, the last segment.
pub(crate) fn expert_of(module: &str) -> Option<(&str, &str, &str)> {
    let (expert, last) = module.rsplit_once('.')?;
    let (parent, number) = expert.rsplit_once('.')?;
    let numbered = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let experts = parent == "experts" || parent.ends_with(".experts");
    (numbered && experts).then_some((parent, number, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_and_up_are_the_halves_of_an_expert() {
        let tensor = TensorInfo {
            name: "m.experts.gate_up_proj".into(),
            dtype: Dtype::BF16,
            shape: vec![3, 4, 5],
            begin: 100,
            end: 220,
        };
        let parts = parts("m.experts.gate_up_proj", "weight", &tensor).unwrap();
        let names: Vec<&str> = parts.iter().map(|p| p.module.as_str()).collect();
        assert_eq!(names[..3], ["m.experts.0.gate_proj", "m.experts.0.up_proj", "m.experts.1.gate_proj"]);
        assert_eq!((parts[3].shape.clone(), parts[3].bytes.clone()), (vec![2, 5], 60..80));
        assert_eq!(parts.last().unwrap().bytes.end, 120);
    }

    #[test]
    fn experts_are_known_by_their_numbers() {
        assert_eq!(expert_of("a.experts.12.w1"), Some(("a.experts", "12", "w1")));
        for none in ["a.experts.w1", "a.layers.1.w1", "a.experts.x.w1", "experts.1"] {
            assert_eq!(expert_of(none), None, "{none}");
        }
    }
}
