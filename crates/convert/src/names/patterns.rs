//! Names and patterns of configs on the same way as modules.
//!
//! Source: `formats.md` i: a trailing star is taken off, the path renamed as that of a module, the star put back. Other
//! than in the reference, splits count too: what is said of a fused module is said of each of its parts.

use super::rules::Rules;

impl Rules {
    /// What a module path or an exclude pattern of a config becomes: several where the module is split.
    ///
    /// ```text
    /// model.layers.0.mlp.experts.0* -> model.layers.0.block_sparse_moe.experts.0*
    /// model.layers.0.mlp.gate_up_proj -> model.layers.0.mlp.gate_proj, model.layers.0.mlp.up_proj
    /// ```
    pub(crate) fn config_names(&self, pattern: &str) -> Vec<String> {
        let (stem, tail) = match pattern.strip_suffix(".*") {
            Some(stem) => (stem, ".*"),
            None => pattern.strip_suffix('*').map_or((pattern, ""), |stem| (stem, "*")),
        };
        let modules = self.split(stem).unwrap_or_else(|| vec![stem.to_string()]);
        modules.iter().map(|module| format!("{}{tail}", self.module(module))).collect()
    }
}
