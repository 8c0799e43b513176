//! Stacks of experts: which are taken apart into one module an expert, which stay, which nobody can tell.
//!
//! Source: `formats.md` b (experts that multiply in batches stay stacked) and h (others are expanded).

use quantscope_audit::{Checkpoint, LayerInfo, Model};
use quantscope_numeric::Dtype;
use quantscope_schemes::{Kind, WEIGHT_LEAF};

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

/// The form of a layer, if it is a stack of plain numbers.
pub(crate) fn form(checkpoint: &Checkpoint, model: &Model, layer: &LayerInfo) -> Option<Form> {
    if layer.kind != Kind::ExpertStack || layer.is_quantized() {
        return None;
    }
    let (_, weight) = layer.tensor(checkpoint, WEIGHT_LEAF)?;
    if !matches!(weight.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16) {
        return None;
    }
    Some(tell(checkpoint, model, layer))
}

/// The form of a stack, of plain numbers or quantized.
pub(crate) fn tell(checkpoint: &Checkpoint, model: &Model, layer: &LayerInfo) -> Form {
    told(checkpoint, model, layer).unwrap_or_else(Form::Unclear)
}

fn told(checkpoint: &Checkpoint, model: &Model, layer: &LayerInfo) -> Result<Form, String> {
    let config = checkpoint.model_config();
    let inner = config.and_then(|c| c.value.get("text_config")?.get("model_type")?.as_str());
    let batched = |t: &str| t.starts_with("llama4") || t == "gpt_oss";
    if config.and_then(|c| c.model_type.as_deref()).into_iter().chain(inner).any(batched) {
        return Ok(Form::Together);
    }
    let (parent, own) = layer.name.rsplit_once('.').unwrap_or(("", &layer.name));
    let sibling = |names: &[&str]| names.iter().find_map(|name| model.layer(&format!("{parent}.{name}")));
    // What leads from the hidden size tells the form of what leads back.
    let leading = match own {
        "gate_up_proj" | "gate_proj" | "up_proj" | "w1" | "w3" => Some(layer),
        "down_proj" => sibling(&["gate_up_proj", "gate_proj", "up_proj"]),
        "w2" => sibling(&["w1", "w3"]),
        _ => None,
    };
    let halves = if leading.is_some_and(|l| l.name.ends_with("gate_up_proj")) { 2 } else { 1 };
    let Some(&[experts, middle, last]) = leading.map(|l| l.shape.as_slice()) else {
        return Err("is a stack of experts of no known form".into());
    };
    let Some(hidden) = config.and_then(|c| c.hidden_size) else {
        return Err("is a stack of experts, and no config.json tells the hidden size".into());
    };
    match (middle == hidden, last == hidden) {
        (true, false) => Ok(Form::Together),
        (false, true)
            if (1..=MOST_EXPERTS).contains(&experts) && middle.is_multiple_of(halves) && middle > 0 =>
        {
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
    fn experts_are_known_by_their_numbers() {
        assert_eq!(expert_of("a.experts.12.w1"), Some(("a.experts", "12", "w1")));
        for none in ["a.experts.w1", "a.layers.1.w1", "a.experts.x.w1", "experts.1"] {
            assert_eq!(expert_of(none), None, "{none}");
        }
    }
}
