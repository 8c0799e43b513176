//! Shapes of weights and companions.

use crate::decode::Refusal;
use crate::layer::{LayerView, Stored};
use quantscope_numeric::Dtype;

/// Rounds up to a multiple; saturating, since shapes may be hostile.
pub(crate) fn round_up(n: u64, multiple: u64) -> u64 {
    n.div_ceil(multiple).saturating_mul(multiple)
}

/// Adds a value that is not there yet.
pub(crate) fn pushed(mut list: Vec<u64>, value: u64) -> Vec<u64> {
    if !list.contains(&value) {
        list.push(value);
    }
    list
}

/// A shape as `[3, 4]`.
pub(crate) fn text(shape: &[u64]) -> String {
    let sides: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("[{}]", sides.join(", "))
}

/// The tensor of a leaf that decoding needs.
pub(crate) fn needed<'a>(layer: &LayerView<'a>, leaf: &str) -> Result<Stored<'a>, Refusal> {
    layer
        .get(leaf)
        .ok_or_else(|| Refusal::new(format!("lacks `{leaf}`"), "restore the tensor, or export again"))
}

/// Rows and columns of a matrix.
pub(crate) fn matrix(stored: Stored<'_>) -> Result<[u64; 2], Refusal> {
    match *stored.shape {
        [rows, cols] => Ok([rows, cols]),
        _ => Err(Refusal::new(
            format!("has `{}` of shape {}, where a matrix is expected", stored.leaf, text(stored.shape)),
            "export the layer again",
        )),
    }
}

/// Checks the number of elements of a companion.
pub(crate) fn expect_elements(stored: Stored<'_>, expected: Option<u64>) -> Result<(), Refusal> {
    if Some(stored.elements()) == expected {
        return Ok(());
    }
    let expected = expected.map_or_else(|| "another number".into(), |n| n.to_string());
    Err(Refusal::new(
        format!(
            "has `{}` of shape {}, where {expected} elements are expected",
            stored.leaf,
            text(stored.shape)
        ),
        "export the layer again",
    ))
}

/// Checks the element type of a tensor.
pub(crate) fn expect_type(stored: Stored<'_>, legal: &[Dtype]) -> Result<(), Refusal> {
    if legal.contains(&stored.dtype) {
        return Ok(());
    }
    let tags: Vec<&str> = legal.iter().map(|dtype| dtype.tag()).collect();
    Err(Refusal::new(
        format!("has `{}` of type {}, expected {}", stored.leaf, stored.dtype, tags.join(" or ")),
        "export the layer again",
    ))
}
