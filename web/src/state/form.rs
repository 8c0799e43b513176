//! The recipe as the user fills it in, and its way to a request and back.

use quantscope_session::api::ConvertRequest;
use std::collections::BTreeMap;

/// The calibration file the user gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Calibration {
    /// File name.
    pub(crate) file: String,
    /// Entries found in it; `None` while it is read.
    pub(crate) entries: Option<u64>,
}

/// What the user asks for. Empty texts ask for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    /// What the recipe is called.
    pub(crate) name: String,
    /// Scheme id for every layer that no rule names.
    pub(crate) scheme: String,
    /// Scheme id by kind, in place of one for all.
    pub(crate) by_kind: Option<BTreeMap<String, String>>,
    /// Rules `GLOB=ID` or `GLOB=keep`, the first match wins.
    pub(crate) rules: Vec<String>,
    /// What single layers were given by hand: an id, or `keep`. Goes before the rules.
    pub(crate) by_layer: BTreeMap<String, String>,
    /// Globs of what stays as it is, separated by commas, spaces or lines.
    pub(crate) exclude: String,
    /// Dtype that weights are cast to first; empty for their own.
    pub(crate) dtype: String,
    /// Weights that share a scale.
    pub(crate) group_size: String,
    /// How the quotient of per-tensor FP8 is rounded.
    pub(crate) fp8_rounding: String,
    /// Which 3-D convolutions are packed.
    pub(crate) conv3d: String,
    /// What becomes of ties.
    pub(crate) ties: String,
    /// Path prefix of the sides that stay.
    pub(crate) canonical: String,
    /// Ties `ALIAS=CANONICAL`, and entries of a list, which gives no direction; a line each.
    pub(crate) declared_ties: String,
    /// Whether aliases are written again.
    pub(crate) expand_ties: bool,
    /// How quantized weights are padded.
    pub(crate) pad: String,
    /// Whether block scales are written in tiles.
    pub(crate) swizzle: bool,
    /// Whether groups such as q, k and v are joined.
    pub(crate) fuse: bool,
    /// Rules of renaming as JSON, in place of those of the model type.
    pub(crate) rename: String,
    /// Largest shard.
    pub(crate) shard_size: String,
    /// Calibration file.
    pub(crate) calibration: Option<Calibration>,
    /// Whether all-zero tensors are written as the reference does.
    pub(crate) zero_tensors_as_reference: bool,
    /// What a loaded recipe says beyond this form.
    pub(crate) beyond: Beyond,
}

/// What a recipe can say that the form only passes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    fuse_groups: Vec<Vec<String>>,
    configs: Option<Vec<String>>,
}

impl Beyond {
    /// What is passed on, in words; nothing if there is nothing.
    pub(crate) fn words(&self) -> Vec<&'static str> {
        let parts = [
            (!self.fuse_groups.is_empty(), "groups that share a global scale"),
            (self.configs.is_some(), "a choice of configs"),
        ];
        parts.into_iter().filter(|(there, _)| *there).map(|(_, word)| word).collect()
    }
}

impl Default for Form {
    fn default() -> Self {
        Self { scheme: "nvfp4".into(), ..Self::of(ConvertRequest::default()) }
    }
}

impl Form {
    /// The form with a scheme of its own for a layer, or, with an empty one, with what the recipe says.
    pub(crate) fn giving(&self, layer: &str, scheme: &str) -> Self {
        let mut form = self.clone();
        if scheme.is_empty() {
            form.by_layer.remove(layer);
        } else {
            form.by_layer.insert(layer.to_owned(), scheme.to_owned());
        }
        form
    }

    /// The form of a recipe. Its rules for single layers are rules like any others.
    pub(crate) fn of(request: ConvertRequest) -> Self {
        let text = Option::<String>::unwrap_or_default;
        Self {
            name: text(request.name),
            scheme: request.to,
            by_kind: Some(request.by_kind.into_iter().collect())
                .filter(|kinds: &BTreeMap<_, _>| !kinds.is_empty()),
            rules: request.layers,
            by_layer: BTreeMap::new(),
            exclude: request.exclude.join(", "),
            dtype: text(request.dtype),
            group_size: request.group_size.map(|size| size.to_string()).unwrap_or_default(),
            fp8_rounding: text(request.fp8_rounding),
            conv3d: text(request.conv3d),
            ties: text(request.ties),
            canonical: text(request.canonical),
            declared_ties: request.declared_ties.join("\n"),
            expand_ties: request.expand_ties,
            pad: text(request.pad),
            swizzle: request.swizzle,
            fuse: request.fuse,
            rename: text(request.rename_json),
            shard_size: text(request.shard_size),
            calibration: None,
            zero_tensors_as_reference: request.zero_tensors_as_reference,
            beyond: Beyond { fuse_groups: request.fuse_groups, configs: request.configs },
        }
    }

    /// The form as the session asks it, and whether the calibration goes with it.
    pub(crate) fn request(&self) -> (ConvertRequest, bool) {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let by_hand = self.by_layer.iter().map(|(name, scheme)| format!("{}={scheme}", literal_glob(name)));
        let by_kind = self.by_kind.iter().flatten().filter(|(_, scheme)| !scheme.is_empty());
        let convert = ConvertRequest {
            name: given(&self.name),
            to: if self.by_kind.is_some() { String::new() } else { self.scheme.clone() },
            by_kind: by_kind.map(|(kind, scheme)| (kind.clone(), scheme.clone())).collect(),
            exclude: list(&self.exclude, |c| c == ',' || c.is_whitespace()),
            layers: by_hand.chain(self.rules.iter().cloned()).collect(),
            dtype: given(&self.dtype),
            calibration_json: None,
            zero_tensors_as_reference: self.zero_tensors_as_reference,
            group_size: self.group_size.trim().parse().ok(),
            fp8_rounding: given(&self.fp8_rounding),
            conv3d: given(&self.conv3d),
            ties: given(&self.ties),
            canonical: given(&self.canonical),
            declared_ties: list(&self.declared_ties, |c| c == ',' || c == '\n'),
            expand_ties: self.expand_ties,
            rename_json: given(&self.rename),
            fuse_groups: self.beyond.fuse_groups.clone(),
            fuse: self.fuse,
            pad: given(&self.pad),
            swizzle: self.swizzle,
            shard_size: given(&self.shard_size),
            configs: self.beyond.configs.clone(),
        };
        (convert, self.calibration.is_some())
    }
}

fn list(text: &str, between: impl Fn(char) -> bool) -> Vec<String> {
    text.split(between).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A glob that matches exactly this name.
pub(crate) fn literal_glob(name: &str) -> String {
    let mut glob = String::with_capacity(name.len());
    for c in name.chars() {
        if "*?[{}".contains(c) {
            glob.extend(['[', c, ']']);
        } else {
            glob.push(c);
        }
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_says_what_the_flags_say() {
        let mut form = Form {
            exclude: " *conv_in*, quant_conv\nhead* ".into(),
            rules: vec!["*.mlp.*=fp8".into()],
            dtype: "bf16".into(),
            shard_size: " 5GB ".into(),
            ..Form::default()
        };
        form.by_layer.insert("mid.block[0]".into(), "keep".into());
        let (request, calibrated) = form.request();
        assert_eq!(request.to, "nvfp4");
        assert_eq!(request.exclude, ["*conv_in*", "quant_conv", "head*"]);
        assert_eq!(request.layers, ["mid.block[[]0]=keep", "*.mlp.*=fp8"], "single layers come first");
        assert_eq!(request.dtype.as_deref(), Some("bf16"));
        assert_eq!(request.shard_size.as_deref(), Some("5GB"));
        assert!(!calibrated);
        assert_eq!(Form::default().request().0.dtype, None);
    }

    #[test]
    fn a_recipe_comes_back_as_it_was() {
        let request = ConvertRequest {
            name: Some("mixed".into()),
            by_kind: vec![("conv3d".into(), "nvfp4".into()), ("linear".into(), "fp8-block".into())],
            exclude: vec!["*head*".into(), "a".into()],
            layers: vec!["*.attn.*=keep".into()],
            dtype: Some("f16".into()),
            zero_tensors_as_reference: true,
            group_size: Some(64),
            fp8_rounding: Some("cuda".into()),
            conv3d: Some("strict".into()),
            ties: Some("keep-input-scale".into()),
            canonical: Some("model.decoder".into()),
            declared_ties: vec!["encoder.*=decoder.*".into(), "a=b".into(), "lm_head.weight".into()],
            expand_ties: true,
            rename_json: Some("{}".into()),
            fuse_groups: vec![vec!["q".into(), "k".into()]],
            fuse: true,
            pad: Some("row".into()),
            swizzle: true,
            shard_size: Some("5GB".into()),
            configs: Some(vec!["config.json".into()]),
            ..ConvertRequest::default()
        };
        let form = Form::of(request.clone());
        assert_eq!(form.request(), (request, false));
        assert_eq!(form.beyond.words().len(), 2);
    }
}
