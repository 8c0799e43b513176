//! What the user asks for, checked: schemes exist and can be written, patterns compile.

use crate::calibration::Calibration;
use crate::error::ConvertError;
use quantscope_format::Glob;
use quantscope_kernels::FloatType;
use quantscope_schemes::{EncodeSettings, Family, Fp8Rounding, Scheme, by_id, schemes};

/// What is done with a tensor that is zero everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ZeroTensors {
    /// Its scale would be NaN: refuse, naming it.
    #[default]
    Refuse,
    /// Write the NaN bytes that the reference writes.
    Reference,
}

/// Which 3-D convolutions are packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Conv3d {
    /// All that can be, as the first revision of the reference's pull request 1809 does.
    #[default]
    Lenient,
    /// Those that its head packs; it refuses the others.
    Strict,
}

/// What becomes of tensors that share their values with another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TiePolicy {
    /// Known and declared ties keep one side, with the largest of all activation maxima.
    #[default]
    ByName,
    /// The same, but each side keeps the activation scale of its own.
    KeepInputScale,
    /// Nothing is tied.
    Off,
}

/// What everything is converted to that no rule says otherwise of.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// A quantization scheme.
    Scheme(&'static dyn Scheme),
    /// Plain numbers: quantized layers are decoded, other floats cast.
    Float(FloatType),
}

/// A request as words, as flags and page give it. Empty texts are absent ones.
#[derive(Debug, Clone, Default)]
pub struct RecipeFields<'a> {
    /// Scheme id, or `bf16`, `f16`, `f32`.
    pub to: &'a str,
    /// Globs of modules to keep.
    pub exclude: &'a [String],
    /// `GLOB=ID` or `GLOB=keep`, the first match wins.
    pub layers: &'a [String],
    /// `bf16`, `f16` or `f32`.
    pub dtype: Option<&'a str>,
    /// Calibration as JSON text.
    pub calibration_json: Option<&'a str>,
    /// What is done with all-zero tensors.
    pub zero_tensors: ZeroTensors,
    /// Weights that share a scale, in the schemes that leave it open.
    pub group_size: Option<u64>,
    /// `cpu` or `cuda`.
    pub fp8_rounding: Option<&'a str>,
    /// `lenient` or `strict`.
    pub conv3d: Option<&'a str>,
    /// `by-name`, `keep-input-scale` or `off`.
    pub ties: Option<&'a str>,
    /// Path prefix of the sides that stay, such as `model.decoder`.
    pub canonical: Option<&'a str>,
    /// `ALIAS=CANONICAL` module patterns; `*` is the same text on both sides.
    pub declared_ties: &'a [String],
}

/// A checked request.
pub struct Recipe {
    /// What everything becomes that no rule says otherwise of.
    pub(crate) default: Target,
    /// Rules, the first match wins; `None` keeps.
    pub(crate) layers: Vec<(Glob, Option<&'static dyn Scheme>)>,
    /// Modules to keep, whatever the rules say.
    pub(crate) exclude: Vec<Glob>,
    /// Type that packed weights are cast to before their codes are taken.
    pub(crate) dtype: Option<FloatType>,
    /// Maxima.
    pub(crate) calibration: Calibration,
    /// What is done with all-zero tensors.
    pub(crate) zero_tensors: ZeroTensors,
    /// What the user chose of encodings.
    pub(crate) settings: EncodeSettings,
    /// Which 3-D convolutions are packed.
    pub(crate) conv3d: Conv3d,
    /// What becomes of ties.
    pub(crate) ties: TiePolicy,
    /// Prefix of the sides that stay.
    pub(crate) canonical: Option<String>,
    /// Declared ties: pattern of the alias, pattern of the side that stays.
    pub(crate) declared_ties: Vec<(String, String)>,
    /// The request as it was, for the manifest.
    pub(crate) as_json: serde_json::Value,
}

fn refuse<T>(message: String) -> Result<T, ConvertError> {
    Err(ConvertError::Refused(message))
}

fn glob(pattern: &str) -> Result<Glob, ConvertError> {
    Glob::new(pattern).or_else(|e| refuse(format!("the pattern {pattern:?} is no glob: {e}")))
}

/// Ids that can be written from floating-point weights, for messages.
pub(crate) fn writable() -> String {
    let ids: Vec<&str> = schemes().iter().filter(|s| s.about().can_encode).map(|s| s.id()).collect();
    ids.join(", ")
}

/// The quantized scheme of that id. Whether it can be written depends on the layer: some are only taken over
/// from another scheme's form.
fn quantized(id: &str) -> Result<&'static dyn Scheme, ConvertError> {
    match by_id(id) {
        Some(scheme) if scheme.family() != Family::Plain => Ok(scheme),
        Some(_) => refuse(format!("{id} is no quantization scheme; choose one of {}, or keep", writable())),
        None => refuse(format!("no scheme is called {id:?}; choose one of {}, bf16, f16, f32", writable())),
    }
}

fn float(id: &str) -> Option<FloatType> {
    match id {
        "bf16" => Some(FloatType::Bf16),
        "f16" => Some(FloatType::F16),
        "f32" => Some(FloatType::F32),
        _ => None,
    }
}

/// The choice among `words`, the first being the default.
fn choice<T: Copy>(what: &str, chosen: Option<&str>, words: &[(&str, T)]) -> Result<T, ConvertError> {
    let found = words.iter().find(|(word, _)| chosen.is_none_or(|c| c == *word));
    let list = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    match found {
        Some((_, value)) => Ok(*value),
        None => refuse(format!("{:?} is no {what}; choose one of {}", chosen.unwrap_or_default(), list())),
    }
}

impl Recipe {
    /// Checks a request. `calibration` is what files have given beside `calibration_json`, which counts where
    /// both speak of a quantizer.
    ///
    /// # Errors
    /// If a scheme, dtype or choice is unknown, a pattern is no glob, or the calibration cannot be read.
    pub fn new(fields: &RecipeFields<'_>, mut calibration: Calibration) -> Result<Self, ConvertError> {
        let default = match float(fields.to) {
            Some(dtype) => Target::Float(dtype),
            None => Target::Scheme(quantized(fields.to)?),
        };
        let rule = |text: &String| {
            let Some((pattern, id)) = text.rsplit_once('=') else {
                return refuse(format!("{text:?} is no rule; write GLOB=SCHEME or GLOB=keep"));
            };
            let scheme = if id == "keep" { None } else { Some(quantized(id)?) };
            if matches!(default, Target::Float(_)) && scheme.is_some() {
                return refuse(format!("{text:?}: --to {} decodes; its rules can only keep", fields.to));
            }
            Ok((glob(pattern)?, scheme))
        };
        let stars = |text: &str| text.matches('*').count();
        let tie = |text: &String| match text.split_once('=') {
            Some((alias, canonical)) if stars(alias) == stars(canonical) && stars(alias) < 2 => {
                Ok((alias.to_string(), canonical.to_string()))
            }
            _ => refuse(format!("{text:?} is no tie; write ALIAS=CANONICAL, both with one * or none")),
        };
        let dtype = match fields.dtype.map(|d| (d, float(d))) {
            Some((word, None)) => return refuse(format!("{word:?} is no dtype; choose bf16, f16 or f32")),
            Some((_, known)) => known,
            None => None,
        };
        if let Some(json) = fields.calibration_json {
            calibration.extend(Calibration::from_json(json)?);
        }
        let defaults = EncodeSettings::default();
        let group_size = fields.group_size.unwrap_or(defaults.group_size);
        if group_size == 0 {
            return refuse("--group-size must not be 0".into());
        }
        let roundings = [("cpu", Fp8Rounding::Cpu), ("cuda", Fp8Rounding::Cuda)];
        let policies = [
            ("by-name", TiePolicy::ByName),
            ("keep-input-scale", TiePolicy::KeepInputScale),
            ("off", TiePolicy::Off),
        ];
        Ok(Self {
            default,
            layers: fields.layers.iter().map(rule).collect::<Result<_, ConvertError>>()?,
            exclude: fields.exclude.iter().map(|p| glob(p)).collect::<Result<_, _>>()?,
            dtype,
            as_json: as_json(fields, !calibration.is_empty()),
            calibration,
            zero_tensors: fields.zero_tensors,
            settings: EncodeSettings {
                group_size,
                fp8_rounding: choice("rounding", fields.fp8_rounding, &roundings)?,
            },
            conv3d: choice(
                "rule for Conv3d",
                fields.conv3d,
                &[("lenient", Conv3d::Lenient), ("strict", Conv3d::Strict)],
            )?,
            ties: choice("policy of ties", fields.ties, &policies)?,
            canonical: fields.canonical.filter(|p| !p.is_empty()).map(str::to_string),
            declared_ties: fields.declared_ties.iter().map(tie).collect::<Result<_, ConvertError>>()?,
        })
    }
}

fn as_json(fields: &RecipeFields<'_>, calibrated: bool) -> serde_json::Value {
    serde_json::json!({
        "to": fields.to,
        "exclude": fields.exclude,
        "layers": fields.layers,
        "dtype": fields.dtype,
        "calibrated": calibrated,
        "zero_tensors": match fields.zero_tensors {
            ZeroTensors::Refuse => "refuse",
            ZeroTensors::Reference => "reference",
        },
        "group_size": fields.group_size,
        "fp8_rounding": fields.fp8_rounding.unwrap_or("cpu"),
        "conv3d": fields.conv3d.unwrap_or("lenient"),
        "ties": fields.ties.unwrap_or("by-name"),
        "canonical": fields.canonical,
        "declared_ties": fields.declared_ties,
    })
}
