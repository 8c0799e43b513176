//! Marks of other writers whose tensors have ModelOpt's names and types, so that one layer is not claimed twice.
//!
//! Source: `formats.md` j (compressed-tensors), `formats.md` j (ComfyUI).

use crate::layer::LayerView;

/// Whether the config says that compressed-tensors wrote the model.
fn is_compressed_tensors(layer: &LayerView<'_>) -> bool {
    layer.facts.config_text("quant_method") == Some("compressed-tensors")
}

/// Whether ComfyUI describes the layer. ModelOpt writes the same key of the header for its own layers; there a
/// config names the algorithm as well.
fn is_comfy(layer: &LayerView<'_>) -> bool {
    let modelopt =
        layer.facts.declared.is_some() || layer.facts.config_text("quant_method") == Some("modelopt");
    layer.has("comfy_quant") || (layer.facts.descriptor_text("format").is_some() && !modelopt)
}

/// Whether another writer's layout is told by something else than the tensors.
pub(crate) fn is_foreign(layer: &LayerView<'_>) -> bool {
    is_compressed_tensors(layer) || is_comfy(layer)
}
