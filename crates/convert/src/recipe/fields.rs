//! A request as words: what flags, page and recipe files give before anything is checked.

use super::ZeroTensors;

/// A request as words, as flags, page and recipe files give it. Empty texts are absent ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecipeFields {
    /// What the recipe is called.
    pub name: Option<String>,
    /// Scheme id, or `bf16`, `f16`, `f32`; nothing or `keep` leaves values alone.
    pub to: String,
    /// Scheme by kind, such as `linear` and `nvfp4`, in place of `to`: kinds that are not named are kept, but
    /// for experts, which count as linear.
    pub by_kind: Vec<(String, String)>,
    /// Globs of modules to keep.
    pub exclude: Vec<String>,
    /// `GLOB=ID` or `GLOB=keep`, the first match wins.
    pub layers: Vec<String>,
    /// `bf16`, `f16` or `f32`.
    pub dtype: Option<String>,
    /// Calibration as JSON text.
    pub calibration_json: Option<String>,
    /// What is done with all-zero tensors.
    pub zero_tensors: ZeroTensors,
    /// Weights that share a scale, in the schemes that leave it open.
    pub group_size: Option<u64>,
    /// `cpu` or `cuda`.
    pub fp8_rounding: Option<String>,
    /// `lenient` or `strict`.
    pub conv3d: Option<String>,
    /// Groups of last path segments that share a global scale; none are the usual ones.
    pub fuse_groups: Vec<Vec<String>>,
    /// Whether groups are joined into one tensor.
    pub fuse: bool,
    /// Rules of renaming, as JSON text.
    pub rename_json: Option<String>,
    /// `by-name`, `keep-input-scale` or `off`.
    pub ties: Option<String>,
    /// Path prefix of the sides that stay, such as `model.decoder`.
    pub canonical: Option<String>,
    /// Declared ties: `ALIAS=CANONICAL` module patterns, `*` being the same text on both sides; or entries of a list,
    /// which gives no direction: names, prefixes, patterns.
    pub declared_ties: Vec<String>,
    /// Whether the aliases of ties are written again, for runtimes that need both copies.
    pub expand_ties: bool,
    /// `none` takes padding and tiles off, `row` pads rows, `row_col` both sides.
    pub pad: Option<String>,
    /// Whether block scales are written in the tiles that GPUs read.
    pub swizzle: bool,
    /// Largest shard, such as `5GB`.
    pub shard_size: Option<String>,
    /// Config files that are written; all that there are without it.
    pub configs: Option<Vec<String>>,
}

impl RecipeFields {
    /// The recipe with flags over it: what they say counts, their rules come first, and what they list is added.
    #[must_use]
    pub fn overridden_by(mut self, flags: Self) -> Self {
        fn add<T>(first: Vec<T>, then: Vec<T>) -> Vec<T> {
            first.into_iter().chain(then).collect()
        }
        if !flags.to.is_empty() || !flags.by_kind.is_empty() {
            (self.to, self.by_kind) = (flags.to, flags.by_kind);
        }
        if flags.zero_tensors != ZeroTensors::default() {
            self.zero_tensors = flags.zero_tensors;
        }
        let own_groups = if flags.fuse_groups.is_empty() { self.fuse_groups } else { flags.fuse_groups };
        Self {
            name: flags.name.or(self.name),
            to: self.to,
            by_kind: self.by_kind,
            exclude: add(flags.exclude, self.exclude),
            layers: add(flags.layers, self.layers),
            dtype: flags.dtype.or(self.dtype),
            calibration_json: flags.calibration_json.or(self.calibration_json),
            zero_tensors: self.zero_tensors,
            group_size: flags.group_size.or(self.group_size),
            fp8_rounding: flags.fp8_rounding.or(self.fp8_rounding),
            conv3d: flags.conv3d.or(self.conv3d),
            fuse_groups: own_groups,
            fuse: flags.fuse || self.fuse,
            rename_json: flags.rename_json.or(self.rename_json),
            ties: flags.ties.or(self.ties),
            canonical: flags.canonical.or(self.canonical),
            declared_ties: add(flags.declared_ties, self.declared_ties),
            expand_ties: flags.expand_ties || self.expand_ties,
            pad: flags.pad.or(self.pad),
            swizzle: flags.swizzle || self.swizzle,
            shard_size: flags.shard_size.or(self.shard_size),
            configs: flags.configs.or(self.configs),
        }
    }

    /// The request for the manifest.
    pub(super) fn as_json(&self, calibrated: bool) -> serde_json::Value {
        let mut json = serde_json::json!({
            "to": self.to,
            "exclude": self.exclude,
            "layers": self.layers,
            "dtype": self.dtype,
            "calibrated": calibrated,
            "zero_tensors": match self.zero_tensors {
                ZeroTensors::Refuse => "refuse",
                ZeroTensors::Reference => "reference",
            },
            "group_size": self.group_size,
            "fp8_rounding": self.fp8_rounding.as_deref().unwrap_or("cpu"),
            "conv3d": self.conv3d.as_deref().unwrap_or("lenient"),
            "fuse": self.fuse,
            "fuse_groups": self.fuse_groups,
            "rename": self.rename_json,
            "ties": self.ties.as_deref().unwrap_or("by-name"),
            "canonical": self.canonical,
            "declared_ties": self.declared_ties,
            "expand_ties": self.expand_ties,
            "pad": self.pad,
            "swizzle": self.swizzle,
            "shard_size": self.shard_size,
            "configs": self.configs,
        });
        if let serde_json::Value::Object(object) = &mut json {
            if let Some(name) = &self.name {
                object.insert("name".into(), name.as_str().into());
            }
            if !self.by_kind.is_empty() {
                let kinds = self.by_kind.iter().map(|(kind, id)| (kind.clone(), id.as_str().into()));
                object.insert("to".into(), serde_json::Value::Object(kinds.collect()));
            }
        }
        json
    }
}
