//! The conversion as the user builds it: form, plan, result.

use super::form::Form;
use super::load::{Load, Shared};
use crate::protocol::{PlanSummary, ProofRow, ResultSummary};
use quantscope_session::api::{LayerError, PlanLayer, SessionError};

/// Rows of a plan or result that are added at once.
pub(crate) const ROWS: u64 = 200;

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
    /// Hashes, once they were asked for.
    pub(crate) proof: Option<Growing<ProofRow>>,
}

/// The Convert view.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Convert {
    /// What is asked.
    pub(crate) form: Form,
    /// The layer of the plan whose scheme is being chosen.
    pub(crate) choosing: Option<String>,
    /// The layer that the user came with.
    pub(crate) picked: Option<String>,
    /// The plan of the form.
    pub(crate) plan: Load<PlanSummary>,
    /// The plan's rows.
    pub(crate) shown: Option<PlanShown>,
    /// What stands in the folder of a conversion that was broken off there, while the user is asked.
    pub(crate) stopped: Option<String>,
    /// Why the last run did not finish.
    pub(crate) failed: Option<SessionError>,
    /// The last run.
    pub(crate) result: Option<ResultShown>,
}
