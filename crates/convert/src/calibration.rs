//! Maxima measured by a calibration run, under ModelOpt's own state names.

use crate::error::ConvertError;
use serde_json::Value;
use std::collections::BTreeMap;

/// Maxima of activations and weights by quantizer, such as `decoder.conv1.input_quantizer`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Calibration {
    /// Activation maxima by module.
    pub(crate) inputs: BTreeMap<String, f32>,
    /// Weight maxima by module.
    pub(crate) weights: BTreeMap<String, f32>,
    /// Maxima of keys and values by `<attention>.k_bmm_quantizer` or `.v_bmm_quantizer`.
    pub(crate) kv: Vec<KvMaximum>,
    /// Keys of no form that a conversion can use.
    pub(crate) unknown: Vec<String>,
}

/// The maximum of one side of a KV cache.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct KvMaximum {
    /// Attention module.
    pub(crate) attention: String,
    /// `k` or `v`.
    pub(crate) side: char,
    /// Largest magnitude.
    pub(crate) amax: f32,
}

/// The number of an entry: `{"amax": 0.1}`, `{"amax": null}` for an uncalibrated quantizer.
enum Entry {
    Uncalibrated,
    Scalar(f32),
    Array,
}

fn entry(key: &str, value: &Value) -> Result<Entry, ConvertError> {
    let amax = match value {
        Value::Object(fields) => fields.get("amax").unwrap_or(&Value::Null),
        other => other,
    };
    let bad = |what: &str| {
        ConvertError::Refused(format!("calibration of {key:?} is {what}; a number or null is needed"))
    };
    match amax {
        Value::Null => Ok(Entry::Uncalibrated),
        Value::Array(_) => Ok(Entry::Array),
        Value::Number(n) => {
            let number = n
                .as_f64()
                .filter(|v| v.is_finite() && *v >= 0.0)
                .ok_or_else(|| bad("not a finite, positive number"))?;
            #[allow(
                clippy::cast_possible_truncation,
                reason = "maxima are F32 by definition; rounding is meant"
            )]
            let single = number as f32;
            Ok(Entry::Scalar(single))
        }
        other => Err(bad(match other {
            Value::String(_) => "a string",
            Value::Bool(_) => "true or false",
            _ => "an object without amax",
        })),
    }
}

impl Calibration {
    /// Reads `{"<module>.input_quantizer": {"amax": 0.117}, …}`; keys may end in `._amax`.
    ///
    /// # Errors
    /// If the text is no such JSON, a maximum is no finite number, or it holds block maxima, which select
    /// an export that this version does not write.
    pub fn from_json(text: &str) -> Result<Self, ConvertError> {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| ConvertError::Refused(format!("the calibration is no JSON: {e}")))?;
        let Value::Object(entries) = value else {
            return Err(ConvertError::Refused("the calibration must be a JSON object of quantizers".into()));
        };
        let mut calibration = Self::default();
        for (key, value) in &entries {
            calibration.add(key, &entry(key, value)?)?;
        }
        Ok(calibration)
    }

    fn add(&mut self, key: &str, entry: &Entry) -> Result<(), ConvertError> {
        let name = key.strip_suffix("._amax").unwrap_or(key);
        let amax = match entry {
            Entry::Uncalibrated => return Ok(()),
            Entry::Scalar(amax) => *amax,
            Entry::Array => {
                return Err(ConvertError::Refused(format!(
                    "{key:?} holds maxima of blocks, which select the static export; only single maxima can be used"
                )));
            }
        };
        if let Some(module) = name.strip_suffix(".input_quantizer") {
            self.inputs.insert(module.to_string(), amax);
        } else if let Some(module) = name.strip_suffix(".weight_quantizer") {
            self.weights.insert(module.to_string(), amax);
        } else if let Some(attention) = name.strip_suffix(".k_bmm_quantizer") {
            self.kv.push(KvMaximum { attention: attention.to_string(), side: 'k', amax });
        } else if let Some(attention) = name.strip_suffix(".v_bmm_quantizer") {
            self.kv.push(KvMaximum { attention: attention.to_string(), side: 'v', amax });
        } else {
            self.unknown.push(key.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_names_are_understood() {
        let json = r#"{"a.input_quantizer": {"amax": 0.5, "dtype": "torch.float32"}, "b.input_quantizer._amax": 2,
                       "c.input_quantizer": {"amax": null}, "d.k_bmm_quantizer": {"amax": 1.0}, "odd": 1}"#;
        let calibration = Calibration::from_json(json).unwrap();
        assert_eq!(calibration.inputs, BTreeMap::from([("a".into(), 0.5), ("b".into(), 2.0)]));
        assert_eq!(calibration.kv, [KvMaximum { attention: "d".into(), side: 'k', amax: 1.0 }]);
        assert_eq!(calibration.unknown, ["odd"]);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for bad in [r#"{"a.input_quantizer": {"amax": "x"}}"#, r#"{"a.input_quantizer": -1}"#, "[]", "{"] {
            assert!(Calibration::from_json(bad).is_err(), "{bad}");
        }
        let error = Calibration::from_json(r#"{"a.weight_quantizer": {"amax": [1, 2]}}"#).unwrap_err();
        assert!(error.to_string().contains("a.weight_quantizer"), "{error}");
    }
}
