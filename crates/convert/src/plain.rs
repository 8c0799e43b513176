//! Plain numbers as a target: their types under every name, and what is a remnant of quantization beside them.

use quantscope_kernels::FloatType;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Role, Scheme, by_id, descriptor_type, is_marker, role_of, unrecognised};

/// The id of the plain scheme.
pub(crate) fn id(float: FloatType) -> &'static str {
    match float {
        FloatType::Bf16 => "bf16",
        FloatType::F16 => "f16",
        FloatType::F32 => "f32",
    }
}

/// The plain scheme.
pub(crate) fn scheme(float: FloatType) -> &'static dyn Scheme {
    by_id(id(float)).unwrap_or_else(unrecognised)
}

/// The element type of stored tensors.
pub(crate) fn dtype(float: FloatType) -> Dtype {
    match float {
        FloatType::Bf16 => Dtype::BF16,
        FloatType::F16 => Dtype::F16,
        FloatType::F32 => Dtype::F32,
    }
}

/// The word of configs.
pub(crate) fn config_word(float: FloatType) -> &'static str {
    match float {
        FloatType::Bf16 => "bfloat16",
        FloatType::F16 => "float16",
        FloatType::F32 => "float32",
    }
}

/// The type that engines read, for a stored one.
pub(crate) fn float_type(dtype: Dtype) -> Option<FloatType> {
    match dtype {
        Dtype::F32 => Some(FloatType::F32),
        Dtype::BF16 => Some(FloatType::Bf16),
        Dtype::F16 => Some(FloatType::F16),
        _ => None,
    }
}

/// Whether a tensor beside plain weights belongs to a quantized format: a scale of a KV cache or of activations, or
/// a mark. `leaf` is its name below its module, `name` the whole.
pub(crate) fn is_remnant(leaf: &str, name: &str) -> bool {
    let role = role_of(unrecognised(), leaf).0;
    matches!(role, Role::KvScale | Role::InputScale) || descriptor_type(leaf).is_some() || is_marker(name)
}
