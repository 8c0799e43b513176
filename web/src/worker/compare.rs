//! The worker's part of the Compare view: the second checkpoint, what differs, and windows of it.

use super::desk::Desk;
use super::js;
use crate::protocol::remote::Traffic;
use crate::protocol::{
    CompareDigest, CompareReply, CompareRequest, DifferencePage, DifferenceRow, Reply, RequestId,
};
use quantscope_session::Arrange as _;
use quantscope_session::Session;
use quantscope_session::api::{Comparison, Difference, DifferenceQuery, SessionError};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::Blob;

/// Most rows of one window.
const MOST_ROWS: u64 = 500;
/// Largest file of rules that is read.
const MOST_RULES: f64 = 1_048_576.0;

/// What the view has on the desk.
#[derive(Default)]
pub(super) struct CompareDesk {
    second: RefCell<Option<Rc<Session>>>,
    /// Whether the second is the last result.
    is_result: Cell<bool>,
    rules: RefCell<Option<String>>,
    found: RefCell<Option<Found>>,
}

/// A comparison, and the order of its rows that was asked for last.
struct Found {
    sides: [Rc<Session>; 2],
    rules: Option<String>,
    comparison: Comparison,
    order: Option<(DifferenceQuery, Vec<usize>)>,
}

impl CompareDesk {
    /// Forgets everything: another first checkpoint is there.
    pub(super) fn clear(&self) {
        *self.second.borrow_mut() = None;
        *self.rules.borrow_mut() = None;
        *self.found.borrow_mut() = None;
    }

    /// Forgets the second if it is the last result, whose files go away.
    pub(super) fn forget_result(&self) {
        if self.is_result.replace(false) {
            *self.second.borrow_mut() = None;
            *self.found.borrow_mut() = None;
        }
    }

    fn take(&self, mut session: Session) -> CompareReply {
        self.is_result.set(false);
        session.judge();
        let overview = session.overview();
        *self.found.borrow_mut() = None;
        *self.second.borrow_mut() = Some(Rc::new(session));
        CompareReply::Opened(overview)
    }
}

impl Desk {
    pub(super) async fn compare(
        &self,
        id: RequestId,
        request: CompareRequest,
        attached: &[JsValue],
    ) -> Result<Reply, SessionError> {
        let reply = match request {
            CompareRequest::Open { name, paths } => {
                let files = attached.iter().filter_map(|file| file.dyn_ref::<Blob>().cloned());
                let files = paths.into_iter().zip(files).collect();
                self.compare.take(self.session_of(id, &name, files).await?.0)
            }
            CompareRequest::OpenSample { folder, name } => {
                let files = super::samples::fetch(&folder).await?;
                self.compare.take(self.session_of(id, &name, files).await?.0)
            }
            CompareRequest::OpenResult { name } => {
                let (session, _) = self.session_of(id, &name, self.result_files()?).await?;
                let reply = self.compare.take(session);
                self.compare.is_result.set(true);
                reply
            }
            CompareRequest::OpenAddress { address, token } => {
                // Beside files of the user's, all that comes is for the second.
                if !self.checkpoint()?.sources.is_empty() {
                    self.traffic.set(Traffic::default());
                }
                self.compare.take(self.session_at(id, &address, &token).await?)
            }
            CompareRequest::Drop => {
                *self.compare.second.borrow_mut() = None;
                *self.compare.found.borrow_mut() = None;
                return Ok(Reply::Done);
            }
            CompareRequest::Rename => {
                let rules = match attached.first().and_then(|file| file.dyn_ref::<Blob>()) {
                    Some(file) => Some(rules_of(file).await?),
                    None => None,
                };
                *self.compare.rules.borrow_mut() = rules;
                CompareReply::Renamed
            }
            CompareRequest::Run { swapped } => CompareReply::Compared(self.run(id, swapped).await?),
            CompareRequest::Rows { query, start, count } => {
                let mut found = self.compare.found.borrow_mut();
                CompareReply::Rows(page(found.as_mut().ok_or_else(nothing_compared)?, query, start, count))
            }
            CompareRequest::Row { name } => {
                let found = self.compare.found.borrow();
                let found = found.as_ref().ok_or_else(nothing_compared)?;
                let difference = found.comparison.differences.iter().find(|d| d.name() == name);
                CompareReply::Row(difference.map(row))
            }
            CompareRequest::Picture { name } => {
                let control = self.jobs.begin(id);
                let ([a, b], rules) = {
                    let found = self.compare.found.borrow();
                    let found = found.as_ref().ok_or_else(nothing_compared)?;
                    (found.sides.clone(), found.rules.clone())
                };
                let engines = self.ready().await;
                let rules = rules.as_deref();
                CompareReply::Picture(a.compare_layer(&b, &name, rules, engines.engines(), &control).await?)
            }
        };
        Ok(Reply::Compare(reply))
    }

    async fn run(&self, id: RequestId, swapped: bool) -> Result<CompareDigest, SessionError> {
        let control = self.jobs.begin(id);
        let open = self.session()?;
        let second = self.compare.second.borrow().clone();
        let second = second.ok_or_else(|| {
            js::error("refused", "There is no second checkpoint. Choose one to compare with.")
        })?;
        let sides = if swapped { [second, open] } else { [open, second] };
        let rules = self.compare.rules.borrow().clone();
        *self.compare.found.borrow_mut() = None;
        let engines = self.ready().await;
        let [a, b] = &sides;
        let comparison = a.compare(b, rules.as_deref(), engines.engines(), &control).await;
        self.tell_engine().await;
        let comparison = comparison?;
        let mut by_cause: Vec<(String, u64)> =
            comparison.by_cause.iter().map(|(cause, count)| (cause.clone(), *count)).collect();
        by_cause.arrange_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let digest = CompareDigest {
            a: comparison.a.clone(),
            b: comparison.b.clone(),
            equal_layers: comparison.equal_layers,
            explained: comparison.explained,
            unexplained: comparison.unexplained,
            by_cause,
        };
        *self.compare.found.borrow_mut() = Some(Found { sides, rules, comparison, order: None });
        Ok(digest)
    }
}

fn nothing_compared() -> SessionError {
    js::error("refused", "Nothing was compared yet. Choose a second checkpoint and compare.")
}

/// The text of a file of rules. Whether they are rules is said when they are used.
async fn rules_of(file: &Blob) -> Result<String, SessionError> {
    if file.size() > MOST_RULES {
        let message = "The file of rules is larger than 1 MiB; rename rules are a short JSON file.";
        return Err(js::error("refused", message));
    }
    let text = wasm_bindgen_futures::JsFuture::from(file.text()).await.map_err(|error| {
        js::error("source", format!("The rules could not be read: {}", js::reason(&error)))
    })?;
    Ok(text.as_string().unwrap_or_default())
}

fn page(found: &mut Found, query: DifferenceQuery, start: u64, count: u64) -> DifferencePage {
    if found.order.as_ref().is_none_or(|(known, _)| *known != query) {
        found.order = Some((query.clone(), query.order(&found.comparison)));
    }
    let order = found.order.as_ref().map(|(_, order)| order.as_slice()).unwrap_or_default();
    let first = usize::try_from(start).unwrap_or(usize::MAX);
    let count = usize::try_from(count.min(MOST_ROWS)).unwrap_or(0);
    let rows = order.iter().skip(first).take(count);
    DifferencePage {
        query,
        start,
        rows: rows.filter_map(|&at| found.comparison.differences.get(at)).map(row).collect(),
        matching: order.len() as u64,
    }
}

fn row(difference: &Difference) -> DifferenceRow {
    DifferenceRow {
        difference: difference.clone(),
        from_family: Session::family_of(&difference.from).into(),
        to_family: Session::family_of(&difference.to).into(),
    }
}
