//! What every scheme answers.

use crate::about::{About, Family, Match, ScaleLayout};
use crate::arrangement::PackedForm;
use crate::decode::{Decoder, Refusal};
use crate::encode::{Activations, EncodeInput, EncodeSettings, Encoder, Encoding, Form, Matrix};
use crate::layer::LayerView;
use crate::recast::Recast;
use quantscope_numeric::Dtype;

/// One quantization scheme.
pub trait Scheme: Sync {
    /// Its description.
    fn about(&self) -> &'static About;

    /// Stable id: flag, JSON, label.
    fn id(&self) -> &'static str {
        self.about().id
    }

    /// Its family.
    fn family(&self) -> Family {
        self.about().family
    }

    /// How well the layer fits, given its tensors and what configs and headers say of it.
    fn recognise(&self, layer: &LayerView<'_>) -> Match;

    /// Leaf name of the tensor that holds the packed weight of this layer.
    fn weight_leaf(&self, _layer: &LayerView<'_>) -> &'static str {
        self.about().weight_leaf()
    }

    /// Last segments of the names of tensors that stand for no layer and only say that layers of this scheme
    /// are in the file, such as ComfyUI's `scaled_fp8`. They go when those layers are dequantized
    /// ([`crate::is_marker`]).
    fn markers(&self) -> &'static [&'static str] {
        &[]
    }

    /// Shape of the logical weight, as far as it can be known (padding included where it cannot be told).
    fn logical_shape(&self, layer: &LayerView<'_>) -> Vec<u64> {
        layer.get(self.weight_leaf(layer)).map(|t| t.shape.to_vec()).unwrap_or_default()
    }

    /// Legal shapes of a companion in this layer, the canonical one first.
    /// `None` if any shape will do or the companion is unknown.
    fn legal_shapes(&self, leaf: &str, layer: &LayerView<'_>) -> Option<Vec<Vec<u64>>>;

    /// How scales lie beside weights.
    fn scale_layout(&self) -> ScaleLayout;

    /// How scales lie beside the weights of one layer, where more than the scheme decides it.
    fn scale_layout_of(&self, _layer: &LayerView<'_>) -> ScaleLayout {
        self.scale_layout()
    }

    /// Whether weights are divided by the stored global scale, as compressed-tensors does, not multiplied.
    fn global_scale_divides(&self) -> bool {
        false
    }

    /// Whether a packed matrix may be a flattened convolution.
    fn flattens_convolutions(&self) -> bool {
        false
    }

    /// How codes and block scales lie, where this writer's layers can be padded or lie in tiles; `None` for others,
    /// and for a layer that is no matrix.
    fn packed_form(&self, _layer: &LayerView<'_>) -> Option<PackedForm> {
        None
    }

    /// How the codes and block scales of this encoding lie when they are written, where they can be padded and
    /// tiled afterwards.
    fn can_be_arranged(&self) -> bool {
        false
    }

    /// Makes a layer ready for decoding.
    ///
    /// # Errors
    /// If its tensors do not fit together, or the variant cannot be decoded.
    fn decoder(&self, layer: &LayerView<'_>) -> Result<Box<dyn Decoder>, Refusal>;

    /// Whether every decoded value is a number of this type, so that decoding to it rounds nothing. F32 is the type
    /// in which values are defined.
    fn decodes_exactly(&self, dtype: Dtype) -> bool {
        dtype == Dtype::F32
    }

    /// The matrix as which a stack of experts `[E, in, out]` is encoded; `None` if its sides overflow.
    fn stack_matrix(&self, [experts, cols, out]: [u64; 3]) -> Option<Matrix> {
        Some(Matrix { rows: experts.checked_mul(out)?, cols, form: Form::Stack { experts } })
    }

    /// What encoding a matrix will write.
    ///
    /// # Errors
    /// If the scheme cannot be written, or not for this matrix.
    fn encoding(&self, _matrix: Matrix, _settings: &EncodeSettings) -> Result<Encoding, Refusal> {
        Err(self.not_written())
    }

    /// Makes the scheme ready to encode one tensor, for which [`Self::encoding`] gave its promise.
    ///
    /// # Errors
    /// As [`Self::encoding`].
    fn encoder(&self, _input: &EncodeInput) -> Result<Box<dyn Encoder>, Refusal> {
        Err(self.not_written())
    }

    /// Takes over a layer of another scheme without quantizing it again; `None` where the two have nothing
    /// to do with each other.
    fn recast(&self, _from: &dyn Scheme, _layer: &LayerView<'_>) -> Option<Result<Box<dyn Recast>, Refusal>> {
        None
    }

    /// The scheme whose layout this one writes, where calibrated block maxima replace its own rule.
    fn with_given_blocks(&self) -> Option<&'static dyn Scheme> {
        None
    }

    /// The activation scale for a largest activation of `amax`.
    fn input_scale(&self, _amax: f32) -> f32 {
        1.0
    }

    /// Fields of `hf_quant_config.json` beside `quant_algo`, such as `group_size`.
    fn config_fields(&self, _settings: &EncodeSettings) -> Vec<(&'static str, serde_json::Value)> {
        Vec::new()
    }

    /// Body of a `config_groups` entry without its targets. `mixed` says that the model has several schemes:
    /// the reference writes a group for each of them then, and for few algorithms alone.
    fn config_group(
        &self,
        _settings: &EncodeSettings,
        _mixed: bool,
    ) -> Option<serde_json::Map<String, serde_json::Value>> {
        None
    }

    /// The whole `quantization_config` of a model that has this scheme alone, where it takes a form of its own
    /// (native FP8, compressed-tensors). `kept` are the modules left out, summarised; `layers` the quantized ones with
    /// what becomes of their activations.
    fn own_config(
        &self,
        _kept: &[String],
        _producer: &serde_json::Value,
        _layers: &[(&str, Activations)],
    ) -> Option<serde_json::Value> {
        None
    }

    /// The refusal of a scheme that cannot be written.
    fn not_written(&self) -> Refusal {
        Refusal::new(format!("cannot be written as {}", self.id()), "choose a scheme that can be written")
    }
}
