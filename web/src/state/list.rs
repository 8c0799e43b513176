//! The layer list as the page holds it: the rows near the window, nothing else.
//!
//! Rows come in pages of [`PAGE`]. When the filter changes, the rows shown stay until the first page of the new
//! filter is there. Pages far from the window are forgotten, so that scrolling through 100,000 rows holds a few
//! hundred.

use super::load::Shared;
use super::route::Filter;
use crate::protocol::RequestId;
use quantscope_session::api::{LayerPage, LayerRow, SessionError};
use std::collections::BTreeMap;

/// Rows asked for at once.
pub(crate) const PAGE: u64 = 100;
/// Pages kept on each side of the window.
const KEEP: u64 = 4;

/// Rows that belong to one filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rows {
    /// Changes with every new filter, so that the list knows to scroll to its top.
    pub(crate) generation: u32,
    /// Rows that match.
    pub(crate) total: u64,
    /// Rows there are without a filter.
    pub(crate) all: u64,
    /// Kinds to choose from.
    pub(crate) kinds: Vec<String>,
    /// Schemes to choose from.
    pub(crate) schemes: Vec<String>,
    pages: BTreeMap<u64, Shared<Vec<LayerRow>>>,
}

impl Rows {
    /// The row at an index, if it is here.
    pub(crate) fn row(&self, index: u64) -> Option<&LayerRow> {
        self.pages.get(&(index / PAGE))?.get(usize::try_from(index % PAGE).ok()?)
    }

    /// Where a layer is, if it is here.
    pub(crate) fn position(&self, name: &str) -> Option<u64> {
        self.pages.iter().find_map(|(page, rows)| {
            let within = rows.iter().position(|row| row.name == name)?;
            Some(page * PAGE + u64::try_from(within).ok()?)
        })
    }
}

/// The list with what is under way.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LayerList {
    /// What is shown; `None` before the first answer.
    pub(crate) shown: Option<Rows>,
    /// Why the last page did not come.
    pub(crate) failed: Option<SessionError>,
    /// Row that the keyboard is on.
    pub(crate) cursor: Option<u64>,
    filter: Filter,
    generation: u32,
    window: (u64, u64),
    asked: BTreeMap<u64, RequestId>,
}

impl LayerList {
    /// The filter that pages are asked with.
    pub(crate) fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Takes a filter; does nothing if it is the one already taken.
    pub(crate) fn set_filter(&mut self, filter: &Filter) {
        if self.filter != *filter || self.generation == 0 {
            self.filter = filter.clone();
            self.outdate();
        }
    }

    /// Asks for everything anew: another filter, or findings have changed.
    pub(crate) fn outdate(&mut self) {
        self.generation += 1;
        self.asked.clear();
        self.failed = None;
    }

    /// Notes which rows are in sight.
    pub(crate) fn set_window(&mut self, first: u64, count: u64) {
        self.window = (first, count);
    }

    /// Pages that are in sight, or one beside it, and neither here nor under way.
    pub(crate) fn wanted(&self) -> Vec<u64> {
        if self.failed.is_some() {
            return Vec::new();
        }
        let Some(shown) = self.shown.as_ref().filter(|shown| shown.generation == self.generation) else {
            return if self.asked.contains_key(&0) { Vec::new() } else { vec![0] };
        };
        let (first, count) = self.window;
        let last_page = shown.total.saturating_sub(1) / PAGE;
        let from = first.saturating_sub(PAGE / 2) / PAGE;
        let to = (first.saturating_add(count).saturating_add(PAGE / 2) / PAGE).min(last_page);
        (from..=to).filter(|page| !shown.pages.contains_key(page) && !self.asked.contains_key(page)).collect()
    }

    /// Notes that a page was asked for. Answers the generation to give back with it.
    pub(crate) fn ask(&mut self, page: u64, id: RequestId) -> u32 {
        self.asked.insert(page, id);
        self.generation
    }

    /// Takes a page, if it is of the present filter.
    pub(crate) fn settle(&mut self, generation: u32, page: u64, answer: Result<LayerPage, SessionError>) {
        if generation != self.generation {
            return;
        }
        self.asked.remove(&page);
        match answer {
            Err(error) => self.failed = Some(error),
            Ok(answer) => {
                if self.shown.as_ref().is_none_or(|shown| shown.generation != generation) {
                    self.shown = Some(Rows { generation, ..Rows::default() });
                    self.cursor = None;
                }
                if let Some(shown) = &mut self.shown {
                    shown.total = answer.total;
                    shown.all = answer.all;
                    shown.kinds = answer.kinds;
                    shown.schemes = answer.schemes;
                    shown.pages.insert(page, Shared::new(answer.rows));
                    let (low, high) = (self.window.0 / PAGE, (self.window.0 + self.window.1) / PAGE);
                    shown
                        .pages
                        .retain(|kept, _| *kept == page || (*kept + KEEP >= low && *kept <= high + KEEP));
                }
            }
        }
    }

    /// Moves the cursor by some rows. Answers the name of the row it is on, if that row is here.
    pub(crate) fn move_cursor(&mut self, rows: i64) -> Option<&str> {
        let shown = self.shown.as_ref()?;
        let last = shown.total.checked_sub(1)?;
        let next = match self.cursor {
            None => 0,
            Some(at) => at.saturating_add_signed(rows).min(last),
        };
        self.cursor = Some(next);
        shown.row(next).map(|row| row.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(start: u64, total: u64) -> LayerPage {
        let rows = (start..total.min(start + PAGE))
            .map(|index| LayerRow {
                name: format!("layer.{index}"),
                kind: "linear".into(),
                scheme: "nvfp4".into(),
                family: "fp4".into(),
                shape: vec![16, 16],
                bits_per_weight: 4.5,
                bytes: 1,
                worst: None,
                findings: 0,
            })
            .collect();
        LayerPage { total, all: total, start, rows, ..LayerPage::default() }
    }

    fn open(total: u64) -> LayerList {
        let mut list = LayerList::default();
        list.set_filter(&Filter::default());
        assert_eq!(list.wanted(), [0]);
        let generation = list.ask(0, 1);
        assert_eq!(list.wanted(), [0u64; 0]);
        list.settle(generation, 0, Ok(page(0, total)));
        list
    }

    #[test]
    fn only_pages_near_the_window_are_asked_for_and_kept() {
        let mut list = open(100_000);
        list.set_window(0, 30);
        assert_eq!(list.wanted(), [0u64; 0]);
        list.set_window(50_000, 30);
        assert_eq!(list.wanted(), [499, 500]);
        for wanted in [499, 500] {
            let generation = list.ask(wanted, 2);
            list.settle(generation, wanted, Ok(page(wanted * PAGE, 100_000)));
        }
        let rows = list.shown.as_ref().unwrap();
        assert_eq!(rows.row(50_007).unwrap().name, "layer.50007");
        assert_eq!(rows.position("layer.49900"), Some(49_900));
        assert!(rows.row(0).is_none(), "a page far from the window is forgotten");
        list.set_window(99_990, 30);
        assert_eq!(list.wanted(), [999], "there is nothing past the end");
    }

    #[test]
    fn a_page_of_an_older_filter_is_dropped_and_old_rows_stay_until_the_new_are_there() {
        let mut list = open(300);
        let filter = Filter { text: "conv".into(), ..Filter::default() };
        list.set_filter(&filter);
        let old = list.ask(0, 5) - 1;
        list.settle(old, 0, Ok(page(0, 7)));
        assert_eq!(list.shown.as_ref().unwrap().total, 300);
        list.settle(old + 1, 0, Ok(page(0, 2)));
        assert_eq!(list.shown.as_ref().unwrap().total, 2);
    }

    #[test]
    fn the_cursor_stops_at_both_ends() {
        let mut list = open(3);
        assert_eq!(list.move_cursor(1), Some("layer.0"));
        assert_eq!(list.move_cursor(-1), Some("layer.0"));
        assert_eq!(list.move_cursor(9), Some("layer.2"));
        assert_eq!(open(0).move_cursor(1), None);
    }
}
