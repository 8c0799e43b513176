//! Causes that may explain a difference, and how much each may cost.

use crate::diff::values::Distance;
use quantscope_audit::LayerInfo;
use quantscope_numeric::Dtype;

/// What a difference comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Floats of the first are codes in the second.
    Quantized,
    /// Codes of the first are floats in the second.
    Dequantized,
    /// Both are codes, of two schemes.
    Requantized,
    /// Floats of another type.
    Cast,
    /// Rows or columns of zeros were added or taken away.
    Padded,
    /// A fused matrix or a stack of experts came apart.
    Split,
    /// Another name.
    Renamed,
    /// The same as another tensor, which stays.
    Tied,
    /// A tied copy that was written again.
    Expanded,
    /// Scales of activations or caches.
    Calibrated,
    /// Quantizer state that was left out.
    State,
    /// What configs say.
    Config,
    /// What headers say.
    Metadata,
    /// Other files.
    File,
    /// Values that no cause explains.
    Values,
    /// Shapes that do not go with each other.
    Shape,
    /// In the first alone.
    Missing,
    /// In the second alone.
    Extra,
}

impl Cause {
    /// The word of the JSON document.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Quantized => "quantized",
            Self::Dequantized => "dequantized",
            Self::Requantized => "requantized",
            Self::Cast => "cast",
            Self::Padded => "padded",
            Self::Split => "split",
            Self::Renamed => "renamed",
            Self::Tied => "tied",
            Self::Expanded => "expanded",
            Self::Calibrated => "calibrated",
            Self::State => "state",
            Self::Config => "config",
            Self::Metadata => "metadata",
            Self::File => "file",
            Self::Values => "values",
            Self::Shape => "shape",
            Self::Missing => "missing",
            Self::Extra => "extra",
        }
    }
}

/// Signal to noise, in dB, that a layer of so many bits per weight must keep for its scheme to explain the loss.
///
/// Codes of eight bits keep more than 25 dB of any weight that is not mostly outliers, those of four more than 12;
/// what is far below was not made of this weight.
fn least_db(bits: f64) -> f64 {
    match bits {
        bits if bits >= 7.0 => 20.0,
        bits if bits >= 3.5 => 8.0,
        _ => 3.0,
    }
}

/// A claim on a difference of values.
pub(crate) struct Claim {
    pub(crate) cause: Cause,
    pub(crate) explained: bool,
    pub(crate) note: String,
}

fn float_of(layer: &LayerInfo, dtype: Dtype) -> bool {
    !layer.is_quantized() && dtype.is_plain_float()
}

/// Claims that the values of a layer differ as they do because of what was done to it.
pub(crate) fn of_values(
    a: (&LayerInfo, Dtype),
    b: (&LayerInfo, Dtype),
    distance: &Distance,
) -> Option<Claim> {
    let claim = |cause, explained, note: &str| Some(Claim { cause, explained, note: note.into() });
    let loses = |bits: f64| {
        let least = least_db(bits);
        match distance.sqnr_db() {
            None if distance.is_equal() => (true, "no value differs".to_string()),
            None => (false, "the first has no signal, the second has values".into()),
            Some(db) if db >= least => (true, String::new()),
            Some(_) => (false, format!("less than {least} dB are left, too little for this scheme")),
        }
    };
    let (is_plain_a, is_plain_b) = (float_of(a.0, a.1), float_of(b.0, b.1));
    match (is_plain_a, is_plain_b) {
        (true, false) if b.0.is_quantized() => {
            let (explained, note) = loses(b.0.bits_per_weight());
            claim(Cause::Quantized, explained, &note)
        }
        (false, true) if a.0.is_quantized() => match distance.is_rounded() {
            true => claim(Cause::Dequantized, true, "every value is the decoded one, rounded once"),
            false => {
                let close = distance.sqnr_db().is_some_and(|db| db >= 40.0);
                claim(Cause::Dequantized, close, "values are not exactly the decoded ones")
            }
        },
        (true, true) if a.1 != b.1 => match distance.is_rounded() {
            true => claim(Cause::Cast, true, "every value is the other, rounded once"),
            false => claim(Cause::Values, false, "values are not those of the first, rounded once"),
        },
        (false, false) if a.0.scheme.id() != b.0.scheme.id() => {
            let bits = a.0.bits_per_weight().min(b.0.bits_per_weight());
            let (explained, note) = loses(bits);
            claim(Cause::Requantized, explained, &note)
        }
        _ if distance.is_equal() => None,
        _ => claim(Cause::Values, false, ""),
    }
}
