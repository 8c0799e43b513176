//! What the reference's configs say of an algorithm beyond its name.
//!
//! Source: `formats.md` e, the fields of `hf_quant_config.json` and the converted form of `config.json`.

use crate::encode::EncodeSettings;
use serde_json::{Map, Value, json};

/// How the group size of a scheme comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupSize {
    /// The config names none.
    None,
    /// The scheme fixes it.
    Fixed(u64),
    /// The user chooses it.
    Chosen,
}

/// How the weights or activations of a group are described: `{"dynamic": false, "num_bits": 8, "type": "float"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Bits of one number.
    pub(crate) bits: u64,
    /// `float` or `int`.
    pub(crate) kind: &'static str,
    /// Whether the group size stands here.
    pub(crate) grouped: bool,
    /// What shares a scale, where the reference says so.
    pub(crate) strategy: Strategy,
}

/// The `strategy` of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Not said.
    Unsaid,
    /// `channel`.
    Channel,
    /// `block`, with the sides of a tile.
    Block([u64; 2]),
}

/// Numbers of so many bits, without a group size.
pub(crate) const fn numbers(bits: u64, kind: &'static str) -> Numbers {
    Numbers { bits, kind, grouped: false, strategy: Strategy::Unsaid }
}

/// Numbers of so many bits, with the group size.
pub(crate) const fn grouped(bits: u64, kind: &'static str) -> Numbers {
    Numbers { bits, kind, grouped: true, strategy: Strategy::Unsaid }
}

/// Everything that configs say of one algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Config {
    /// `group_size`.
    pub(crate) group_size: GroupSize,
    /// Whether `has_zero_point: false` and `pre_quant_scale: true` are said.
    pub(crate) smoothed: bool,
    /// Whether they are said in the group as well.
    pub(crate) smoothed_group: bool,
    /// Whether a model of this algorithm alone has a group, or only one of several.
    pub(crate) alone: bool,
    /// Activations of a group.
    pub(crate) activations: Option<Numbers>,
    /// Weights of a group; without them a group holds the algorithm's name.
    pub(crate) weights: Option<Numbers>,
}

/// The config of an algorithm that the reference's conversion does not know: no fields, no group but its name.
pub(crate) const NAME_ALONE: Config = Config {
    group_size: GroupSize::None,
    smoothed: false,
    smoothed_group: false,
    alone: false,
    activations: None,
    weights: None,
};

impl Config {
    fn group_size(&self, settings: &EncodeSettings) -> Option<u64> {
        match self.group_size {
            GroupSize::None => None,
            GroupSize::Fixed(size) => Some(size),
            GroupSize::Chosen => Some(settings.group_size),
        }
    }

    /// Fields beside `quant_algo`.
    pub(crate) fn fields(&self, settings: &EncodeSettings) -> Vec<(&'static str, Value)> {
        let mut fields = Vec::new();
        fields.extend(self.group_size(settings).map(|size| ("group_size", json!(size))));
        if self.smoothed {
            fields.push(("has_zero_point", json!(false)));
            fields.push(("pre_quant_scale", json!(true)));
        }
        fields
    }

    /// Body of a `config_groups` entry.
    pub(crate) fn group(
        &self,
        algo: &str,
        settings: &EncodeSettings,
        mixed: bool,
    ) -> Option<Map<String, Value>> {
        if !mixed && !self.alone {
            return None;
        }
        let mut group = Map::new();
        let sides = [("input_activations", self.activations), ("weights", self.weights)];
        for (key, side) in sides {
            if let Some(numbers) = side {
                group.insert(key.into(), Value::Object(self.body(numbers, settings)));
            }
        }
        if group.is_empty() {
            group.insert("quant_algo".into(), algo.into());
        }
        if self.smoothed_group {
            group.insert("has_zero_point".into(), json!(false));
            group.insert("pre_quant_scale".into(), json!(true));
        }
        Some(group)
    }

    fn body(&self, numbers: Numbers, settings: &EncodeSettings) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("dynamic".into(), json!(false));
        body.insert("num_bits".into(), json!(numbers.bits));
        body.insert("type".into(), json!(numbers.kind));
        if let Some(size) = self.group_size(settings).filter(|_| numbers.grouped) {
            body.insert("group_size".into(), json!(size));
        }
        match numbers.strategy {
            Strategy::Unsaid => {}
            Strategy::Channel => {
                body.insert("strategy".into(), json!("channel"));
            }
            Strategy::Block(sides) => {
                body.insert("strategy".into(), json!("block"));
                body.insert("block_structure".into(), json!(sides));
            }
        }
        body
    }
}
