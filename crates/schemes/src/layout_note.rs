//! What the header of a file with padded or tiled layers says of them, so that padding and tiles can come off again:
//! the reference's exporter records neither.
//!
//! An entry of `__metadata__` under [`KEY`]: `{"layers": {"<module>": {"shape": [N, K], "scales": "tiles"}}}`, the
//! shape of the weight without padding, and whether its block scales lie in `rows` or in `tiles`.

use crate::layer::LayerView;
use serde_json::{Map, Value, json};

/// The entry of the header.
pub(crate) const KEY: &str = "quantscope_layout";

/// Rows and columns of a weight without padding, and whether its scales lie in tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayoutNote {
    /// Logical rows and columns.
    pub shape: [u64; 2],
    /// Whether block scales lie in tiles of 128 x 4.
    pub is_tiled: bool,
}

impl LayoutNote {
    /// What stands in the header of a layer, if what it says can be.
    pub(crate) fn of(layer: &LayerView<'_>) -> Option<Self> {
        let note = layer.facts.descriptor?.get(KEY)?;
        let sides = note.get("shape")?.as_array()?;
        let [rows, cols] = sides.as_slice() else { return None };
        let shape = [rows.as_u64()?, cols.as_u64()?];
        Some(Self { shape, is_tiled: note.get("scales").and_then(Value::as_str) == Some("tiles") })
    }
}

/// The key of the entry.
#[must_use]
pub const fn layout_notes_key() -> &'static str {
    KEY
}

/// The entry of a header for these layers: its key and its text.
#[must_use]
pub fn layout_notes<'a>(notes: impl IntoIterator<Item = (&'a str, LayoutNote)>) -> (String, String) {
    let entry = |(module, note): (&str, LayoutNote)| {
        let scales = if note.is_tiled { "tiles" } else { "rows" };
        (module.to_string(), json!({"shape": note.shape, "scales": scales}))
    };
    let layers: Map<String, Value> = notes.into_iter().map(entry).collect();
    (KEY.to_string(), json!({"layers": layers}).to_string())
}
