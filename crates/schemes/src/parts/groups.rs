//! What `config_groups` of compressed-tensors says of weights, and the shape before packing.
//!
//! Which group holds for a module depends on class names that no file tells, so a statement counts for a layer
//! if its tensors fit it.

use crate::layer::LayerView;
use serde_json::Value;

/// The `weights` of one group, as far as they can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stated {
    /// Bits of a number.
    pub(crate) bits: Option<u64>,
    /// Weights under a scale.
    pub(crate) group: Option<u64>,
    /// Rows and columns under a scale.
    pub(crate) block: Option<[u64; 2]>,
}

/// Whether the config says that compressed-tensors wrote the model.
pub(crate) fn is_declared(layer: &LayerView<'_>) -> bool {
    crate::parts::foreign::is_method(layer, "compressed-tensors")
}

/// What the groups say, in the order of the config.
pub(crate) fn stated(layer: &LayerView<'_>) -> Vec<Stated> {
    let groups = layer.facts.config.get("config_groups").and_then(Value::as_object);
    let weights = groups.into_iter().flat_map(|g| g.values()).filter_map(|group| group.get("weights"));
    let positive = |value: &Value| value.as_u64().filter(|&n| n > 0);
    weights
        .map(|w| {
            let number = |key: &str| w.get(key).and_then(positive);
            let sides = w.get("block_structure").and_then(Value::as_array).map(Vec::as_slice);
            let block = match sides {
                Some([rows, cols]) => positive(rows).zip(positive(cols)).map(|(rows, cols)| [rows, cols]),
                _ => None,
            };
            Stated { bits: number("num_bits"), group: number("group_size"), block }
        })
        .collect()
}

/// Rows and columns before packing, which a tensor of its own holds.
pub(crate) fn original_shape(layer: &LayerView<'_>) -> Option<[u64; 2]> {
    let sides = layer.facts.descriptor?.get("weight_shape")?.as_array()?;
    match sides.as_slice() {
        [rows, cols] => Some([rows.as_u64()?, cols.as_u64()?]),
        _ => None,
    }
}
