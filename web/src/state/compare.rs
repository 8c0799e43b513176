//! The Compare view: a second checkpoint, what differs, and one difference looked at.

use super::job::JobKind;
use super::load::{Load, Shared};
use super::remote::host_of;
use super::route::View;
use super::{Command, Notice, Route, Slot, State, text};
use crate::protocol::{
    CompareDigest, CompareReply, CompareRequest, DifferencePage, DifferenceRow, Reply, Request, RequestId,
};
use quantscope_session::api::{DifferenceQuery, Overview, Picture, SessionError};

/// Rows that are asked for at once, and those of them that lie before the rows in sight.
const PAGE: (u64, u64) = (240, 80);

/// What the user does in the view.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Compare {
    /// Files were picked as the second checkpoint; the service holds them beside.
    Open {
        /// Name of the checkpoint.
        name: String,
        /// Paths, in the order of the files held.
        paths: Vec<String>,
    },
    /// A sample as the second.
    OpenSample {
        /// Folder under `samples/`.
        folder: &'static str,
        /// What to call it.
        name: &'static str,
    },
    /// The result of the last conversion as the second.
    OpenResult,
    /// Typed into the field for the address.
    Address(String),
    /// The address as the second.
    OpenAddress,
    /// Go without a second.
    Drop,
    /// The other one is the first.
    Swap,
    /// A file of rename rules was picked; the service holds it beside. `None` takes it away.
    Rules(Option<String>),
    /// Compare.
    Run,
    /// Other rows, or another order.
    Query(DifferenceQuery),
    /// Rows in sight.
    Window {
        /// First row.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The row that the keyboard is on.
    Cursor(u64),
    /// The difference in the panel.
    Pick(Option<String>),
    /// The values of the difference in the panel may be fetched once more, to draw them.
    Draw,
}

/// What an answer is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompareSlot {
    Open,
    Rules,
    Run,
    Rows,
    Row,
    Picture,
}

/// The part of the state that belongs to the view.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct CompareState {
    /// The second checkpoint.
    pub(crate) second: Option<Shared<Overview>>,
    /// Whether it comes over the network.
    pub(crate) is_remote: bool,
    /// Whether it is the result of the last conversion.
    is_result: bool,
    /// What stands in the field for its address.
    pub(crate) address: String,
    /// Whether it is the first of the two, such as the source of an export that is open.
    pub(crate) swapped: bool,
    /// File of rename rules.
    pub(crate) rules: Option<String>,
    /// Why the last step did not succeed: what it was, and the reason.
    pub(crate) failed: Option<(&'static str, SessionError)>,
    /// What was found.
    pub(crate) found: Option<Shared<CompareDigest>>,
    /// Rows near those in sight.
    pub(crate) rows: Load<DifferencePage>,
    /// Row that the keyboard is on.
    pub(crate) cursor: u64,
    /// The difference in the panel.
    pub(crate) row: Load<Option<DifferenceRow>>,
    /// Where its values differ.
    pub(crate) picture: Load<Picture>,
    /// First row in sight, and how many.
    window: (u64, u64),
    /// What [`Self::row`] and [`Self::picture`] are of.
    row_of: Option<String>,
    /// Whether reading them goes over the network.
    fetches: bool,
    /// Whether the user wants the picture even so.
    draws: bool,
}

impl CompareState {
    /// Whether the values of the difference in the panel can be drawn: those of a layer in both.
    pub(crate) fn has_picture(&self) -> bool {
        let row = self.row.value.as_deref().and_then(Option::as_ref);
        row.is_some_and(|row| row.difference.max_abs.is_some())
    }

    /// Whether the picture is read without asking.
    pub(crate) fn may_draw(&self) -> bool {
        !self.fetches || self.draws
    }

    /// Forgets what was found, since the question is another now.
    fn forget_found(&mut self) {
        let Self { second, is_remote, is_result, address, swapped, rules, window, .. } = std::mem::take(self);
        *self = Self { second, is_remote, is_result, address, swapped, rules, window, ..Self::default() };
    }

    /// Forgets the second if it is the result, whose files go away.
    pub(super) fn forget_result(&mut self) {
        if self.is_result {
            *self = Self::default();
        }
    }

    /// Whether the rows here are those that are wanted.
    fn has_rows(&self, query: &DifferenceQuery) -> bool {
        self.rows.value.as_ref().is_some_and(|page| {
            let (first, count) = self.window;
            let last = first.saturating_add(count).min(page.matching);
            let end = page.start.saturating_add(page.rows.len() as u64);
            page.query == *query && page.start <= first.min(last) && last <= end
        })
    }

    /// Asks again for everything that failed.
    pub(super) fn retry(&mut self) {
        self.rows.outdate();
        self.row.outdate();
        self.picture.outdate();
    }
}

/// What was found, in one sentence.
pub(crate) fn verdict(found: &CompareDigest) -> String {
    let total = found.explained.saturating_add(found.unexplained);
    match (total, found.unexplained) {
        (0, _) => "Nothing differs".to_owned(),
        (1, 0) => "The one difference is explained".to_owned(),
        (_, 0) => format!("All {} differences are explained", text::count(total)),
        (_, open) => {
            let verb = if open == 1 { "is" } else { "are" };
            format!("{} of {} {verb} not explained", text::count(open), text::counted(total, "difference"))
        }
    }
}

impl State {
    pub(super) fn act_in_compare(&mut self, action: Compare, now_ms: f64, commands: &mut Vec<Command>) {
        match action {
            Compare::Open { name, paths } if paths.is_empty() => {
                self.notice = Some(Notice {
                    title: "Nothing to compare with".into(),
                    text: format!(
                        "{name} holds no files. Choose .safetensors files, or the folder they are in."
                    ),
                    is_error: true,
                });
            }
            Compare::Open { name, paths } => {
                self.open_second(CompareRequest::Open { name, paths }, false, now_ms, commands);
            }
            Compare::OpenSample { folder, name } => {
                let request = CompareRequest::OpenSample { folder: folder.into(), name: name.into() };
                self.open_second(request, false, now_ms, commands);
            }
            Compare::OpenResult => {
                let Some(name) = self.overview().map(|overview| format!("{}, converted", overview.name))
                else {
                    return;
                };
                if self.job.is_none() {
                    self.open_second(CompareRequest::OpenResult { name }, false, now_ms, commands);
                    self.go(Route { view: View::Compare, ..self.route.clone() }, false, commands);
                }
            }
            Compare::Address(text) => self.compare.address = text,
            Compare::OpenAddress => {
                let address = self.compare.address.trim().to_owned();
                if self.remote.connects && !address.is_empty() {
                    let request = CompareRequest::OpenAddress { address, token: self.remote.token.clone() };
                    self.open_second(request, true, now_ms, commands);
                }
            }
            Compare::Drop if self.job.is_none() => {
                self.compare = CompareState::default();
                self.send(Slot::Quiet, Request::Compare(CompareRequest::Drop), commands);
            }
            Compare::Swap if self.job.is_none() => {
                self.compare.forget_found();
                self.compare.swapped = !self.compare.swapped;
            }
            Compare::Rules(file) if self.job.is_none() => {
                self.compare.forget_found();
                self.compare.rules = file;
                self.send(
                    Slot::Compare(CompareSlot::Rules),
                    Request::Compare(CompareRequest::Rename),
                    commands,
                );
            }
            Compare::Run if self.compare.second.is_some() && self.job.is_none() => {
                self.compare.forget_found();
                let request = Request::Compare(CompareRequest::Run { swapped: self.compare.swapped });
                self.begin(Slot::Compare(CompareSlot::Run), JobKind::Compare, request, now_ms, commands);
            }
            // What would change the question waits until it is answered.
            Compare::Drop | Compare::Swap | Compare::Rules(_) | Compare::Run => {}
            Compare::Query(compare) => {
                self.compare.cursor = 0;
                self.go(Route { compare, ..self.route.clone() }, true, commands);
            }
            Compare::Window { first, count } => self.compare.window = (first, count),
            Compare::Draw => self.compare.draws = true,
            Compare::Cursor(row) => self.compare.cursor = row,
            Compare::Pick(pair) => {
                let replace = self.route.pair.is_some() && pair.is_some();
                self.go(Route { pair, ..self.route.clone() }, replace, commands);
            }
        }
    }

    fn open_second(
        &mut self,
        request: CompareRequest,
        is_remote: bool,
        now_ms: f64,
        commands: &mut Vec<Command>,
    ) {
        if self.job.is_some() || self.overview().is_none() {
            return;
        }
        let CompareState { address, rules, window, .. } = std::mem::take(&mut self.compare);
        let is_result = matches!(request, CompareRequest::OpenResult { .. });
        self.compare =
            CompareState { address, rules, window, is_remote, is_result, ..CompareState::default() };
        let slot = Slot::Compare(CompareSlot::Open);
        self.begin(slot, JobKind::Open, Request::Compare(request), now_ms, commands);
    }

    /// Asks for what the view shows and is not there.
    pub(super) fn ask_compare(&mut self, commands: &mut Vec<Command>) {
        // A comparison has the worker to itself, and what is shown after it is of its result.
        if self.compare.found.is_none() || self.job.is_some() {
            return;
        }
        let query = self.route.compare.clone();
        if self.compare.rows.asked().is_none()
            && self.compare.rows.failed.is_none()
            && !self.compare.has_rows(&query)
        {
            // Rows that were in sight before the query may be more than there are now.
            let known = self.compare.rows.value.as_ref().filter(|page| page.query == query);
            let first = known.map_or(self.compare.window.0, |page| self.compare.window.0.min(page.matching));
            let start = first.saturating_sub(PAGE.1);
            let request = CompareRequest::Rows { query, start, count: PAGE.0 };
            let id = self.send(Slot::Compare(CompareSlot::Rows), Request::Compare(request), commands);
            self.compare.rows.ask(id);
        }
        if self.compare.row_of != self.route.pair {
            self.stop_picture(commands);
            (self.compare.row, self.compare.picture) = (Load::default(), Load::default());
            self.compare.row_of.clone_from(&self.route.pair);
            (self.compare.fetches, self.compare.draws) =
                (self.remote.is_open || self.compare.is_remote, false);
        }
        let Some(name) = self.compare.row_of.clone() else { return };
        if self.compare.row.is_wanted() {
            let request = CompareRequest::Row { name: name.clone() };
            let id = self.send(Slot::Compare(CompareSlot::Row), Request::Compare(request), commands);
            self.compare.row.ask(id);
        }
        if self.compare.has_picture() && self.compare.may_draw() && self.compare.picture.is_wanted() {
            let request = CompareRequest::Picture { name };
            let id = self.send(Slot::Compare(CompareSlot::Picture), Request::Compare(request), commands);
            self.compare.picture.ask(id);
        }
    }

    fn stop_picture(&mut self, commands: &mut Vec<Command>) {
        if let Some(job) = self.compare.picture.asked() {
            self.send(Slot::Quiet, Request::Cancel { job }, commands);
        }
    }

    /// Takes the answers that belong to the view; gives back what does not.
    pub(super) fn settle_compare(
        &mut self,
        id: RequestId,
        slot: Slot,
        result: Result<Reply, SessionError>,
    ) -> Option<(Slot, Result<Reply, SessionError>)> {
        let bits = self.overview().map(|overview| overview.bits_per_weight);
        let compare = &mut self.compare;
        match (slot, result) {
            (Slot::Compare(_), Ok(Reply::Compare(reply))) => match reply {
                CompareReply::Opened(second) => {
                    // What has fewer bits was made of the other, as a rule; the user can say otherwise.
                    compare.swapped = bits.is_some_and(|bits| second.bits_per_weight > bits);
                    compare.second = Some(Shared::new(second));
                }
                CompareReply::Renamed => {}
                CompareReply::Compared(digest) => compare.found = Some(Shared::new(digest)),
                CompareReply::Rows(page) => compare.rows.settle(id, Ok(page)),
                CompareReply::Row(row) => compare.row.settle(id, Ok(row)),
                CompareReply::Picture(picture) => compare.picture.settle(id, Ok(picture)),
            },
            (Slot::Compare(slot), Err(error)) => match slot {
                CompareSlot::Rows => compare.rows.settle(id, Err(error)),
                CompareSlot::Row => compare.row.settle(id, Err(error)),
                CompareSlot::Picture => compare.picture.settle(id, Err(error)),
                _ if error.kind == "cancelled" => {
                    self.notice = Some(Notice {
                        title: "Cancelled".into(),
                        text: "Nothing was compared. Compare again when you like.".into(),
                        is_error: false,
                    });
                }
                CompareSlot::Open => compare.failed = Some(("The second checkpoint was not opened", error)),
                CompareSlot::Rules => {
                    compare.rules = None;
                    compare.failed = Some(("The rename rules were not taken", error));
                }
                CompareSlot::Run => compare.failed = Some(("Not compared", error)),
            },
            (Slot::Compare(_), Ok(_)) => {}
            other => return Some(other),
        }
        None
    }
}

impl State {
    /// Where the bytes come from that the job asks for, and how many at most.
    pub(crate) fn would_fetch(&self, kind: JobKind) -> (&str, u64) {
        let own = |is_remote: bool, overview: Option<&Shared<Overview>>| {
            overview.filter(|_| is_remote).map_or(0, |overview| overview.bytes)
        };
        let first = own(self.remote.is_open, self.overview());
        if kind != JobKind::Compare {
            return (self.remote.host(), first);
        }
        let second = own(self.compare.is_remote, self.compare.second.as_ref());
        let host = if self.remote.is_open { self.remote.host() } else { host_of(&self.compare.address) };
        (host, first.saturating_add(second))
    }
}

#[cfg(test)]
mod tests;
