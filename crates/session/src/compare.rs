//! Comparing this checkpoint with another: what differs, and which cause explains it.

use crate::Session;
use crate::api::{Comparison, Difference, Picture, SessionError};
use crate::layers::Text;
use quantscope_audit::Engines;
use quantscope_convert::diff::{self, Side};
use quantscope_format::{Arrange as _, Control, natural_cmp};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Which differences of a comparison are wanted, and in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferenceQuery {
    /// Part of a name in either checkpoint, or a glob.
    pub text: String,
    /// Only those in which this cause has part.
    pub cause: Option<String>,
    /// Only those that no cause explains.
    pub unexplained: bool,
    /// `name`, `sqnr`, `max` or `cause`, with `-` for descending; empty for those that nothing explains first.
    pub sort: String,
}

impl DifferenceQuery {
    /// Places in [`Comparison::differences`] of what is wanted, in the order asked for. What has no figure comes last.
    #[must_use]
    pub fn order(&self, found: &Comparison) -> Vec<usize> {
        let text = Text::new(&self.text);
        let wanted = |d: &Difference| {
            let named = [&d.a, &d.b].into_iter().flatten().any(|name| text.matches(name));
            let caused = self.cause.as_ref().is_none_or(|cause| d.causes.contains(cause));
            named && caused && !(self.unexplained && d.explained)
        };
        let rows = found.differences.iter().enumerate();
        let mut order: Vec<usize> = rows.filter(|(_, d)| wanted(d)).map(|(at, _)| at).collect();
        let (column, down) =
            self.sort.strip_prefix('-').map_or((self.sort.as_str(), false), |key| (key, true));
        let directed = |order: Ordering| if down { order.reverse() } else { order };
        let figure = |d: &Difference| match column {
            "sqnr" => d.sqnr_db,
            _ => d.max_abs,
        };
        let compared = |a: &Difference, b: &Difference| match column {
            "name" => directed(natural_cmp(a.name(), b.name())),
            "cause" => directed(a.causes.cmp(&b.causes)),
            "sqnr" | "max" => match (figure(a), figure(b)) {
                (Some(a), Some(b)) => directed(a.total_cmp(&b)),
                (None, None) => Ordering::Equal,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            },
            _ => Ordering::Equal,
        };
        order.arrange_by(|&a, &b| match (found.differences.get(a), found.differences.get(b)) {
            (Some(a), Some(b)) => compared(a, b),
            _ => Ordering::Equal,
        });
        order
    }
}

impl Session {
    fn side(&self) -> Side<'_> {
        Side { checkpoint: &self.checkpoint, model: &self.model }
    }

    /// Compares another checkpoint with this one, tensor by tensor; differences of values are measured on what both
    /// decode to. `rename_json` holds rules of renaming from the names here to those there; without them the names
    /// that a conversion gives are known.
    ///
    /// # Errors
    /// If the rules cannot be read, a source fails or the job is cancelled. What the files contain is no error.
    pub async fn compare(
        &self,
        other: &Self,
        rename_json: Option<&str>,
        engines: Engines<'_>,
        control: &dyn Control,
    ) -> Result<Comparison, SessionError> {
        let recipe = diff::naming(rename_json)?;
        let sides = [self.side(), other.side()];
        Ok(diff::compare(sides, &recipe, engines, &self.limits, control).await?)
    }

    /// Where the values of one layer differ, by its name here or there.
    ///
    /// # Errors
    /// As [`Self::compare`], and if the layer is not in both or has no values that can be compared.
    pub async fn compare_layer(
        &self,
        other: &Self,
        name: &str,
        rename_json: Option<&str>,
        engines: Engines<'_>,
        control: &dyn Control,
    ) -> Result<Picture, SessionError> {
        let recipe = diff::naming(rename_json)?;
        let sides = [self.side(), other.side()];
        Ok(diff::picture(sides, name, &recipe, engines, &self.limits, control).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(a: Option<&str>, b: Option<&str>, cause: &str, db: Option<f64>) -> Difference {
        Difference {
            a: a.map(str::to_string),
            b: b.map(str::to_string),
            causes: vec![cause.into()],
            explained: cause != "values",
            sqnr_db: db,
            ..Difference::default()
        }
    }

    fn found() -> Comparison {
        let differences = vec![
            difference(Some("l.2"), Some("l.2"), "values", Some(9.0)),
            difference(Some("l.10"), Some("l.10"), "quantized", Some(21.5)),
            difference(Some("l.9"), Some("block.9"), "quantized", Some(19.0)),
            difference(Some("head"), None, "tied", None),
        ];
        Comparison { differences, ..Comparison::default() }
    }

    fn order(query: &DifferenceQuery) -> Vec<usize> {
        query.order(&found())
    }

    #[test]
    fn differences_are_filtered_by_either_name_cause_and_explanation() {
        let of = |text: &str| DifferenceQuery { text: text.into(), ..DifferenceQuery::default() };
        assert_eq!(order(&DifferenceQuery::default()), [0, 1, 2, 3]);
        assert_eq!(order(&of("BLOCK")), [2]);
        assert_eq!(order(&of("l.?")), [0, 2]);
        assert_eq!(order(&of("nowhere")), [0_usize; 0]);
        let tied = DifferenceQuery { cause: Some("tied".into()), ..DifferenceQuery::default() };
        assert_eq!(order(&tied), [3]);
        let open = DifferenceQuery { unexplained: true, ..DifferenceQuery::default() };
        assert_eq!(order(&open), [0]);
    }

    #[test]
    fn differences_are_sorted_by_name_and_error_and_those_without_one_come_last() {
        let by = |sort: &str| order(&DifferenceQuery { sort: sort.into(), ..DifferenceQuery::default() });
        assert_eq!(by("sqnr"), [0, 2, 1, 3]);
        assert_eq!(by("-sqnr"), [1, 2, 0, 3]);
        assert_eq!(by("name"), [2, 3, 0, 1]);
        assert_eq!(by("-name"), [1, 0, 3, 2]);
        assert_eq!(by("cause"), [1, 2, 3, 0]);
    }
}
