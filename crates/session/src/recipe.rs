//! Requests as recipes: the same fields as TOML files that people keep, and flags over them.

use crate::api::{ConvertRequest, SessionError};
use quantscope_convert::{RecipeFields, ZeroTensors};

impl From<&ConvertRequest> for RecipeFields {
    fn from(request: &ConvertRequest) -> Self {
        let zero_tensors =
            if request.zero_tensors_as_reference { ZeroTensors::Reference } else { ZeroTensors::Refuse };
        Self {
            zero_tensors,
            name: request.name.clone(),
            to: request.to.clone(),
            by_kind: request.by_kind.clone(),
            exclude: request.exclude.clone(),
            layers: request.layers.clone(),
            dtype: request.dtype.clone(),
            calibration_json: request.calibration_json.clone(),
            group_size: request.group_size,
            fp8_rounding: request.fp8_rounding.clone(),
            conv3d: request.conv3d.clone(),
            fuse_groups: request.fuse_groups.clone(),
            fuse: request.fuse,
            rename_json: request.rename_json.clone(),
            ties: request.ties.clone(),
            canonical: request.canonical.clone(),
            declared_ties: request.declared_ties.clone(),
            expand_ties: request.expand_ties,
            pad: request.pad.clone(),
            swizzle: request.swizzle,
            shard_size: request.shard_size.clone(),
            configs: request.configs.clone(),
        }
    }
}

impl From<RecipeFields> for ConvertRequest {
    fn from(fields: RecipeFields) -> Self {
        Self {
            zero_tensors_as_reference: fields.zero_tensors == ZeroTensors::Reference,
            name: fields.name,
            to: fields.to,
            by_kind: fields.by_kind,
            exclude: fields.exclude,
            layers: fields.layers,
            dtype: fields.dtype,
            calibration_json: fields.calibration_json,
            group_size: fields.group_size,
            fp8_rounding: fields.fp8_rounding,
            conv3d: fields.conv3d,
            fuse_groups: fields.fuse_groups,
            fuse: fields.fuse,
            rename_json: fields.rename_json,
            ties: fields.ties,
            canonical: fields.canonical,
            declared_ties: fields.declared_ties,
            expand_ties: fields.expand_ties,
            pad: fields.pad,
            swizzle: fields.swizzle,
            shard_size: fields.shard_size,
            configs: fields.configs,
        }
    }
}

impl ConvertRequest {
    /// Reads a recipe.
    ///
    /// # Errors
    /// If it is no recipe, with the line of the fault.
    pub fn from_toml(text: &str) -> Result<Self, SessionError> {
        Ok(RecipeFields::from_toml(text)?.into())
    }

    /// Writes the request as a recipe. A calibration is no part of it.
    ///
    /// # Errors
    /// If its rules of renaming are no JSON.
    pub fn to_toml(&self) -> Result<String, SessionError> {
        Ok(RecipeFields::from(self).to_toml()?)
    }

    /// A recipe with flags over it: what they say counts, their rules come first, and what they list is added.
    #[must_use]
    pub fn overridden_by(&self, flags: &Self) -> Self {
        RecipeFields::from(self).overridden_by(flags.into()).into()
    }
}
