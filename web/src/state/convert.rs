//! The conversion as the user builds it: form, plan, result.

use super::load::{Load, Shared};
use crate::protocol::{PlanSummary, ResultSummary};
use quantscope_session::api::{ConvertRequest, LayerError, PlanLayer, SessionError};
use std::collections::BTreeSet;

/// Rows of a plan or result that are added at once.
pub(crate) const ROWS: u64 = 200;

/// The calibration file the user gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Calibration {
    /// File name.
    pub(crate) file: String,
    /// Entries found in it; `None` while it is read.
    pub(crate) entries: Option<u64>,
}

/// What the user asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    /// Scheme id.
    pub(crate) scheme: String,
    /// Globs, separated by commas, spaces or lines.
    pub(crate) exclude: String,
    /// Layers kept by hand.
    pub(crate) keep: BTreeSet<String>,
    /// Dtype that weights are cast to first; empty for their own.
    pub(crate) dtype: String,
    /// Calibration file.
    pub(crate) calibration: Option<Calibration>,
    /// Whether all-zero tensors are written as the reference does.
    pub(crate) zero_tensors_as_reference: bool,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            scheme: "nvfp4".into(),
            exclude: String::new(),
            keep: BTreeSet::new(),
            dtype: String::new(),
            calibration: None,
            zero_tensors_as_reference: false,
        }
    }
}

impl Form {
    /// The form as the session asks it, and whether the calibration goes with it.
    pub(crate) fn request(&self) -> (ConvertRequest, bool) {
        let convert = ConvertRequest {
            to: self.scheme.clone(),
            exclude: self
                .exclude
                .split(|c: char| c == ',' || c.is_whitespace())
                .filter(|glob| !glob.is_empty())
                .map(str::to_owned)
                .collect(),
            layers: self.keep.iter().map(|name| format!("{}=keep", literal_glob(name))).collect(),
            dtype: Some(self.dtype.clone()).filter(|dtype| !dtype.is_empty()),
            calibration_json: None,
            zero_tensors_as_reference: self.zero_tensors_as_reference,
            ..ConvertRequest::default()
        };
        (convert, self.calibration.is_some())
    }
}

/// A glob that matches exactly this name.
fn literal_glob(name: &str) -> String {
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

/// Rows of a list that grows on request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Growing<T> {
    /// Rows here.
    pub(crate) rows: Shared<Vec<T>>,
    /// Rows there are.
    pub(crate) total: u64,
    /// Whether more are on their way.
    pub(crate) asked: bool,
}

impl<T: Clone> Growing<T> {
    /// A list of which nothing is here.
    pub(crate) fn new(total: u64) -> Self {
        Self { rows: Shared::new(Vec::new()), total, asked: false }
    }

    /// Rows here.
    pub(crate) fn len(&self) -> u64 {
        u64::try_from(self.rows.len()).unwrap_or(u64::MAX)
    }

    /// Takes more rows.
    pub(crate) fn extend(&mut self, more: Vec<T>) {
        let mut rows = self.rows.to_vec();
        rows.extend(more);
        self.rows = Shared::new(rows);
        self.asked = false;
    }
}

/// A plan and as many of its rows as are here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlanShown {
    /// The plan.
    pub(crate) summary: Shared<PlanSummary>,
    /// Layers that are packed.
    pub(crate) packed: Growing<PlanLayer>,
    /// Layers that are kept.
    pub(crate) kept: Growing<PlanLayer>,
}

/// A result and as many of its rows as are here.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResultShown {
    /// The result.
    pub(crate) summary: Shared<ResultSummary>,
    /// Round-trip errors.
    pub(crate) rows: Growing<LayerError>,
}

/// The Convert view.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Convert {
    /// What is asked.
    pub(crate) form: Form,
    /// The plan of the form.
    pub(crate) plan: Load<PlanSummary>,
    /// The plan's rows.
    pub(crate) shown: Option<PlanShown>,
    /// Why the last run did not finish.
    pub(crate) failed: Option<SessionError>,
    /// The last run.
    pub(crate) result: Option<ResultShown>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_says_what_the_flags_say() {
        let mut form = Form {
            exclude: " *conv_in*, quant_conv\nhead* ".into(),
            dtype: "bf16".into(),
            ..Form::default()
        };
        form.keep.insert("mid.block[0]".into());
        let (request, calibrated) = form.request();
        assert_eq!(request.to, "nvfp4");
        assert_eq!(request.exclude, ["*conv_in*", "quant_conv", "head*"]);
        assert_eq!(request.layers, ["mid.block[[]0]=keep"]);
        assert_eq!(request.dtype.as_deref(), Some("bf16"));
        assert!(!calibrated);
        assert_eq!(Form::default().request().0.dtype, None);
    }
}
