//! The layer list as the page holds it: the rows near the window, nothing else.
//!
//! Rows come in pages of [`PAGE`]. When the filter changes, the rows shown stay until the first page of the new
//! filter is there; when a row of the tree is opened or closed, the list stays where it is. Pages far from the window are forgotten, so that scrolling through 100,000 rows holds a few
//! hundred.

use super::load::Shared;
use super::route::{Filter, Route};
use crate::protocol::RequestId;
use quantscope_session::api::{SessionError, TreePage, TreeQuery, TreeRow};
use std::collections::BTreeMap;

/// Rows asked for at once.
pub(crate) const PAGE: u64 = 100;
/// Pages kept on each side of the window.
const KEEP: u64 = 4;

/// Rows that belong to one filter.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rows {
    /// Changes with every new question.
    generation: u32,
    /// Changes with every new filter, so that the list knows to scroll to its top.
    pub(crate) epoch: u32,
    /// Rows there are.
    pub(crate) total: u64,
    /// Layers that match.
    pub(crate) matching: u64,
    /// Layers there are without a filter.
    pub(crate) all: u64,
    /// Kinds to choose from.
    pub(crate) kinds: Vec<String>,
    /// Schemes to choose from.
    pub(crate) schemes: Vec<String>,
    pages: BTreeMap<u64, Shared<Vec<TreeRow>>>,
}

/// A row that is here, by its page and its place within. It equals itself alone, whatever it says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowAt {
    page: Shared<Vec<TreeRow>>,
    within: usize,
}

impl RowAt {
    /// The row.
    pub(crate) fn get(&self) -> Option<&TreeRow> {
        self.page.get(self.within)
    }
}

impl Rows {
    /// The same row as [`Self::row`], to be kept.
    pub(crate) fn at(&self, index: u64) -> Option<RowAt> {
        let page = self.pages.get(&(index / PAGE))?.clone();
        Some(RowAt { page, within: usize::try_from(index % PAGE).ok()? })
    }

    /// The row at an index, if it is here.
    pub(crate) fn row(&self, index: u64) -> Option<&TreeRow> {
        self.pages.get(&(index / PAGE))?.get(usize::try_from(index % PAGE).ok()?)
    }

    /// Where a layer is, if it is here.
    pub(crate) fn position(&self, name: &str) -> Option<u64> {
        self.pages.iter().find_map(|(page, rows)| {
            let within = rows.iter().position(|row| row.layer.as_deref() == Some(name))?;
            Some(page * PAGE + u64::try_from(within).ok()?)
        })
    }

    /// The row that holds another in the tree, if it is here.
    pub(crate) fn holder_of(&self, index: u64) -> Option<u64> {
        let depth = self.row(index)?.depth;
        (0..index)
            .rev()
            .map_while(|at| Some((at, self.row(at)?)))
            .find(|(_, row)| row.depth < depth)
            .map(|(at, _)| at)
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
    /// Pages that brought rows and changed nothing else.
    pub(crate) grown: u32,
    filter: Filter,
    flat: bool,
    toggled: Vec<String>,
    generation: u32,
    epoch: u32,
    window: (u64, u64),
    asked: BTreeMap<u64, RequestId>,
    /// Answers to older questions that are under way.
    outdated: usize,
}

impl LayerList {
    /// The question for a page.
    pub(crate) fn query(&self, page: u64) -> TreeQuery {
        let filter = self.filter.query(page.saturating_mul(PAGE), PAGE);
        TreeQuery { filter, flat: self.flat, toggled: self.toggled.clone() }
    }

    /// Takes filter and open rows of a route; does nothing if they are those already taken.
    pub(crate) fn set_query(&mut self, route: &Route) {
        if self.filter != route.filter || self.flat != route.flat || self.generation == 0 {
            self.filter = route.filter.clone();
            self.flat = route.flat;
            self.toggled = route.toggled.clone();
            self.epoch += 1;
            self.outdate();
        } else if self.toggled != route.toggled {
            self.toggled = route.toggled.clone();
            self.outdate();
        }
    }

    /// Asks for everything anew: another filter, or findings have changed.
    pub(crate) fn outdate(&mut self) {
        self.generation += 1;
        self.outdated += self.asked.len();
        self.asked.clear();
        self.failed = None;
    }

    /// Notes which rows are in sight.
    pub(crate) fn set_window(&mut self, first: u64, count: u64) {
        self.window = (first, count);
    }

    /// Pages that are in sight, or one beside it, and neither here nor under way.
    pub(crate) fn wanted(&self) -> Vec<u64> {
        // Who types faster than questions are answered asks the last one, not each.
        if self.failed.is_some() || self.outdated > 0 {
            return Vec::new();
        }
        let Some(shown) = self.shown.as_ref().filter(|shown| shown.epoch == self.epoch) else {
            return if self.asked.contains_key(&0) { Vec::new() } else { vec![0] };
        };
        let (first, count) = self.window;
        if shown.generation != self.generation {
            // Rows were opened or closed: what is in sight comes first. How many there are is not known yet.
            let pages = first / PAGE..=first.saturating_add(count) / PAGE;
            return pages.filter(|page| !self.asked.contains_key(page)).collect();
        }
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
    pub(crate) fn settle(&mut self, generation: u32, page: u64, answer: Result<TreePage, SessionError>) {
        if generation != self.generation {
            self.outdated = self.outdated.saturating_sub(1);
            return;
        }
        self.asked.remove(&page);
        match answer {
            Err(error) => self.failed = Some(error),
            Ok(answer) => {
                let before = self.shown.as_ref().map(|shown| (shown.generation, shown.epoch));
                if before.is_none_or(|(known, _)| known != generation) {
                    if before.is_none_or(|(_, epoch)| epoch != self.epoch) {
                        self.cursor = None;
                    }
                    self.shown = Some(Rows { generation, epoch: self.epoch, ..Rows::default() });
                }
                if let Some(shown) = &mut self.shown {
                    let is_same = before == Some((shown.generation, shown.epoch))
                        && (shown.total, shown.matching, shown.all)
                            == (answer.total, answer.matching, answer.all)
                        && shown.kinds == answer.kinds
                        && shown.schemes == answer.schemes;
                    self.grown = self.grown.wrapping_add(u32::from(is_same));
                    shown.total = answer.total;
                    shown.matching = answer.matching;
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

    /// Moves the cursor by some rows. Answers the row it is on, if that row is here.
    pub(crate) fn move_cursor(&mut self, rows: i64) -> Option<&TreeRow> {
        let shown = self.shown.as_ref()?;
        let last = shown.total.checked_sub(1)?;
        let next = match self.cursor {
            None => 0,
            Some(at) => at.saturating_add_signed(rows).min(last),
        };
        self.cursor = Some(next);
        shown.row(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(start: u64, total: u64) -> TreePage {
        let name = |index| format!("layer.{index}");
        let rows = (start..total.min(start + PAGE))
            .map(|index| TreeRow { key: name(index), layer: Some(name(index)), ..TreeRow::default() })
            .collect();
        TreePage { total, all: total, start, rows, ..TreePage::default() }
    }

    fn open(total: u64) -> LayerList {
        let mut list = LayerList::default();
        list.set_query(&Route::default());
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
        assert_eq!(rows.row(50_007).unwrap().key, "layer.50007");
        assert_eq!(rows.position("layer.49900"), Some(49_900));
        assert!(rows.row(0).is_none(), "a page far from the window is forgotten");
        list.set_window(99_990, 30);
        assert_eq!(list.wanted(), [999], "there is nothing past the end");
    }

    #[test]
    fn a_page_that_brings_rows_alone_is_told_from_one_that_changes_more() {
        let mut list = open(1000);
        list.set_window(350, 30);
        let mut take = |total: u64| {
            let (before, generation) = (list.grown, list.ask(3, 2));
            list.settle(generation, 3, Ok(page(300, total)));
            list.grown != before
        };
        assert!(take(1000));
        assert!(!take(1001), "another number of rows");
        assert!(take(1001));
        let filter = Filter { text: "layer".into(), ..Filter::default() };
        list.set_query(&Route { filter, ..Route::default() });
        let (before, generation) = (list.grown, list.ask(0, 3));
        list.settle(generation, 0, Ok(page(0, 1001)));
        assert_eq!(list.grown, before, "the first page of another filter");
    }

    #[test]
    fn a_page_of_an_older_filter_is_dropped_and_old_rows_stay_until_the_new_are_there() {
        let mut list = open(300);
        let filter = Filter { text: "conv".into(), ..Filter::default() };
        list.set_query(&Route { filter, ..Route::default() });
        let old = list.ask(0, 5) - 1;
        list.settle(old, 0, Ok(page(0, 7)));
        assert_eq!(list.shown.as_ref().unwrap().total, 300);
        list.settle(old + 1, 0, Ok(page(0, 2)));
        assert_eq!(list.shown.as_ref().unwrap().total, 2);
    }

    #[test]
    fn while_an_answer_is_under_way_typing_on_asks_for_the_last_text_alone() {
        let mut list = open(300);
        let typed = |list: &mut LayerList, text: &str| {
            let filter = Filter { text: text.into(), ..Filter::default() };
            list.set_query(&Route { filter, ..Route::default() });
            list.wanted()
        };
        assert_eq!(typed(&mut list, "c"), [0]);
        let first = list.ask(0, 5);
        assert_eq!(typed(&mut list, "co"), [0u64; 0]);
        assert_eq!(typed(&mut list, "con"), [0u64; 0]);
        list.settle(first, 0, Ok(page(0, 7)));
        assert_eq!(list.wanted(), [0], "the answer is there, now to the last text");
        assert_eq!(list.query(0).filter.text, "con");
        let last = list.ask(0, 6);
        list.settle(last, 0, Ok(page(0, 2)));
        assert_eq!(list.shown.as_ref().unwrap().total, 2);
    }

    #[test]
    fn the_cursor_stops_at_both_ends() {
        let mut list = open(3);
        for (rows, expected) in [(1, "layer.0"), (-1, "layer.0"), (9, "layer.2")] {
            assert_eq!(list.move_cursor(rows).map(|row| row.key.as_str()), Some(expected));
        }
        assert_eq!(open(0).move_cursor(1), None);
    }

    #[test]
    fn opening_a_row_keeps_place_and_cursor_and_a_filter_does_not() {
        let mut list = open(1000);
        list.set_window(350, 30);
        list.cursor = Some(360);
        let toggled = Route { toggled: vec!["layer.360".into()], ..Route::default() };
        list.set_query(&toggled);
        assert_eq!(list.wanted(), [3], "the page in sight, not the first");
        let before = list.shown.as_ref().unwrap().epoch;
        let generation = list.ask(3, 7);
        list.settle(generation, 3, Ok(page(300, 1040)));
        let rows = list.shown.as_ref().unwrap();
        assert_eq!((rows.total, rows.epoch, list.cursor), (1040, before, Some(360)));
        list.set_query(&Route { flat: true, ..toggled });
        assert_eq!(list.wanted(), [0]);
        let generation = list.ask(0, 8);
        list.settle(generation, 0, Ok(page(0, 9)));
        assert_ne!(list.shown.as_ref().unwrap().epoch, before);
        assert_eq!(list.cursor, None);
    }

    #[test]
    fn the_row_that_holds_another_is_the_nearest_above_that_is_less_deep() {
        let mut list = open(6);
        let mut answer = page(0, 6);
        for (row, depth) in answer.rows.iter_mut().zip([0, 1, 2, 2, 1, 0]) {
            row.depth = depth;
        }
        list.settle(list.generation, 0, Ok(answer));
        let rows = list.shown.as_ref().unwrap();
        let holders: Vec<Option<u64>> = (0..6).map(|index| rows.holder_of(index)).collect();
        assert_eq!(holders, [None, Some(0), Some(1), Some(1), Some(0), None]);
    }
}
