//! What the configs declare of each module, in terms of our schemes.

use crate::exclude::ExcludeList;
use crate::registry::algo_scheme;
use crate::scheme::Scheme;
use quantscope_format::Gather as _;
use quantscope_format::QuantDeclaration;
use std::collections::BTreeMap;

/// A quantization declaration made ready for questions about single modules.
#[derive(Clone, Default)]
pub struct Declared {
    /// The algorithm of every module that is not excluded; `None` under mixed precision.
    global: Option<&'static dyn Scheme>,
    /// The algorithm's own name, which we may not know.
    algo: Option<String>,
    exclude: ExcludeList,
    /// Modules with an algorithm of their own.
    layers: BTreeMap<String, Option<&'static dyn Scheme>>,
    mixed: bool,
    /// Class names under `targets`.
    targets: Vec<String>,
    native_fp8: bool,
}

impl Declared {
    /// Reads a declaration.
    #[must_use]
    pub fn new(declaration: &QuantDeclaration) -> Self {
        let algo = effective_algo(declaration);
        let mixed = algo.as_deref() == Some("MIXED_PRECISION");
        let layers = declaration.quantized_layers.iter();
        Self {
            global: algo.as_deref().filter(|_| !mixed).and_then(algo_scheme),
            exclude: ExcludeList::new(&declaration.exclude),
            layers: layers
                .map(|l| (l.name.clone(), l.quant_algo.as_deref().and_then(algo_scheme)))
                .gather_map(),
            mixed,
            targets: declaration.groups.iter().flat_map(|g| g.targets.iter().cloned()).collect(),
            native_fp8: declaration.quant_method.as_deref() == Some("fp8"),
            algo,
        }
    }

    /// The algorithm as the config names it, `MIXED_PRECISION` included.
    #[must_use]
    pub fn algo(&self) -> Option<&str> {
        self.algo.as_deref()
    }

    /// The exclude list.
    #[must_use]
    pub fn exclude(&self) -> &ExcludeList {
        &self.exclude
    }

    /// Whether the config says Conv3d layers are quantized.
    #[must_use]
    pub fn targets_conv3d(&self) -> bool {
        self.targets.iter().any(|t| t == "Conv3d")
    }

    /// Whether the targets are Conv3d alone, so that every packed matrix is one.
    #[must_use]
    pub fn targets_only_conv3d(&self) -> bool {
        self.targets_conv3d() && self.targets.iter().all(|t| t == "Conv3d")
    }

    /// Whether modules are listed one by one.
    #[must_use]
    pub fn is_mixed(&self) -> bool {
        self.mixed
    }

    /// Whether the declaration is the native FP8 form, whose loaders leave output heads alone unasked.
    #[must_use]
    pub fn is_native_fp8(&self) -> bool {
        self.native_fp8
    }

    /// The scheme by which a module's tensors should be read, excluded or not.
    #[must_use]
    pub fn hint(&self, module: &str) -> Option<&'static str> {
        let own = self.layers.get(module).copied();
        own.unwrap_or(self.global).map(Scheme::id)
    }

    /// The algorithm promised for a module, by the name the config uses; `None` if it is excluded or
    /// not listed.
    #[must_use]
    pub fn promise(&self, module: &str) -> Option<&str> {
        if self.mixed {
            let scheme = self.layers.get(module)?;
            return Some(scheme.and_then(|s| s.about().algos.first().copied()).unwrap_or("a quantized form"));
        }
        self.algo.as_deref().filter(|_| self.exclude.covering(module).is_none())
    }
}

/// The algorithm a declaration amounts to. The native FP8 form has no `quant_algo`: with a block size it
/// is FP8_PB, without one plain FP8.
#[must_use]
pub fn effective_algo(declaration: &QuantDeclaration) -> Option<String> {
    declaration.quant_algo.clone().or_else(|| {
        let native = declaration.quant_method.as_deref() == Some("fp8");
        let algo = if declaration.weight_block_size.is_some() { "FP8_PB" } else { "FP8" };
        native.then(|| algo.to_string())
    })
}
