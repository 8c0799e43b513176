//! What the user asks for, checked: schemes exist and can be written, patterns compile.

use crate::calibration::Calibration;
use crate::error::ConvertError;
use quantscope_format::Glob;
use quantscope_kernels::FloatType;
use quantscope_schemes::{EncodeSettings, Scheme, by_id, schemes};

/// What is done with a tensor that is zero everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ZeroTensors {
    /// Its scale would be NaN: refuse, naming it.
    #[default]
    Refuse,
    /// Write the NaN bytes that the reference writes.
    Reference,
}

/// A request as words, as flags and page give it.
#[derive(Debug, Clone, Default)]
pub struct RecipeFields<'a> {
    /// Scheme id.
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
}

/// A checked request.
pub struct Recipe {
    /// Scheme of everything that no rule says otherwise.
    pub(crate) default: &'static dyn Scheme,
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
    /// The request as it was, for the manifest.
    pub(crate) as_json: serde_json::Value,
}

fn glob(pattern: &str) -> Result<Glob, ConvertError> {
    Glob::new(pattern).map_err(|e| ConvertError::Refused(format!("the pattern {pattern:?} is no glob: {e}")))
}

/// The scheme of that id, if the converter can write it.
fn encodable(id: &str) -> Result<&'static dyn Scheme, ConvertError> {
    let writable = || {
        let ids: Vec<&str> = schemes().iter().filter(|s| s.about().can_encode).map(|s| s.id()).collect();
        ids.join(", ")
    };
    match by_id(id) {
        Some(scheme) if scheme.about().can_encode => Ok(scheme),
        Some(_) => Err(ConvertError::Refused(format!(
            "{id} can be read but not written; choose one of {}",
            writable()
        ))),
        None => {
            Err(ConvertError::Refused(format!("no scheme is called {id:?}; choose one of {}", writable())))
        }
    }
}

impl Recipe {
    /// Checks a request.
    ///
    /// # Errors
    /// If a scheme or dtype is unknown or cannot be written, a pattern is no glob, or the calibration
    /// cannot be read.
    pub fn new(fields: &RecipeFields<'_>) -> Result<Self, ConvertError> {
        let rule = |text: &String| {
            let (pattern, id) = text.rsplit_once('=').ok_or_else(|| {
                ConvertError::Refused(format!("{text:?} is no rule; write GLOB=SCHEME or GLOB=keep"))
            })?;
            let scheme = if id == "keep" { None } else { Some(encodable(id)?) };
            Ok((glob(pattern)?, scheme))
        };
        let dtype = match fields.dtype {
            None => None,
            Some("bf16") => Some(FloatType::Bf16),
            Some("f16") => Some(FloatType::F16),
            Some("f32") => Some(FloatType::F32),
            Some(other) => {
                return Err(ConvertError::Refused(format!("{other:?} is no dtype; choose bf16, f16 or f32")));
            }
        };
        Ok(Self {
            default: encodable(fields.to)?,
            layers: fields.layers.iter().map(rule).collect::<Result<_, ConvertError>>()?,
            exclude: fields.exclude.iter().map(|p| glob(p)).collect::<Result<_, _>>()?,
            dtype,
            calibration: fields.calibration_json.map(Calibration::from_json).transpose()?.unwrap_or_default(),
            zero_tensors: fields.zero_tensors,
            settings: EncodeSettings::default(),
            as_json: serde_json::json!({
                "to": fields.to,
                "exclude": fields.exclude,
                "layers": fields.layers,
                "dtype": fields.dtype,
                "calibrated": fields.calibration_json.is_some(),
                "zero_tensors": match fields.zero_tensors {
                    ZeroTensors::Refuse => "refuse",
                    ZeroTensors::Reference => "reference",
                },
            }),
        })
    }
}
