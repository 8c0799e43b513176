//! The rows of the layer list that are in the document: as many as are in sight and a few beyond, for ever the same.
//!
//! Row `i` of the list is always said by element `i mod n`, so that of `n` elements a frame of scrolling changes those
//! alone whose rows came into sight. Each stands at its place by itself; the order in the document, which only those
//! hear who have the page read out, is put right when the list comes to rest.

use super::layer_row::{Face, Row};
use crate::services::nodes;
use crate::state::columns::Columns;
use crate::state::list::Rows;
use gloo_timers::callback::Timeout;
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use wasm_bindgen::JsCast;
use web_sys::{FocusOptions, HtmlElement};
use yew::Callback;

/// Height of a row; `--row` in the style sheet says the same.
const ROW_PX: i32 = 30;
/// Rows drawn beyond either edge, so that a quick scroll finds them there.
const BEYOND: u64 = 8;
/// Rows that the list moves before anyone is told; pages of rows are asked for earlier than that.
const UNTOLD: u64 = 16;
/// Milliseconds without scrolling after which the list is at rest.
const REST_MS: u32 = 100;
/// Rows made at a time before there is need of them, and the milliseconds between.
const AHEAD: usize = 4;
const AHEAD_MS: u32 = 15;

/// What the rows are to say.
#[derive(Debug)]
pub(super) struct Shown {
    /// The rows near the window.
    pub(super) rows: Rows,
    /// Whether they are no tree.
    pub(super) flat: bool,
    /// Columns in sight.
    pub(super) columns: Columns,
    /// Row that the keyboard is on.
    pub(super) cursor: Option<u64>,
    /// Layer in the panel.
    pub(super) selected: Option<String>,
}

/// The way of rows that come while the list is shown: to the list alone, since the rest of the page says the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowFeed(Rc<RefCell<Option<Callback<Rows>>>>);

impl PartialEq for RowFeed {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl RowFeed {
    /// Gives rows to the list. Answers whether there is one.
    pub(crate) fn give(&self, rows: &Rows) -> bool {
        let taker = self.0.borrow().clone();
        taker.is_some_and(|taker| {
            taker.emit(rows.clone());
            true
        })
    }

    /// Whoever takes rows from now on.
    pub(super) fn go_to(&self, taker: Option<Callback<Rows>>) {
        *self.0.borrow_mut() = taker;
    }
}

/// The rows in the document.
#[derive(Debug, Default)]
pub(super) struct RowPool {
    /// The element that scrolls, and that of all rows within.
    list: Option<(HtmlElement, HtmlElement)>,
    shown: Option<Shown>,
    /// All that were ever made of these columns; the first [`Self::attached`] of them are in the document.
    rows: Vec<Row>,
    attached: usize,
    /// Which of them comes first in the document; the others follow in their order, and round again.
    front: usize,
    /// Rows in sight and beyond, whatever there are.
    room: u64,
    top: u64,
    /// How far the list was scrolled when it was last asked.
    scrolled_px: i32,
    total: u64,
    told: Range<u64>,
    /// Whether rows out of sight still say what was there before: whoever types sees the others the earlier.
    late: bool,
    /// Runs while rows are late, or made that nobody needs yet.
    ahead: Option<Timeout>,
    /// Runs while the list scrolls.
    rest: Option<Timeout>,
    moved: bool,
}

/// What the pool asks of the outside after it has drawn.
pub(super) type Window = Option<Range<u64>>;

fn place(row: u64, room: u64) -> usize {
    usize::try_from(row.checked_rem(room).unwrap_or(0)).unwrap_or(0)
}

impl RowPool {
    /// The pool of a list: the element that scrolls, and the one in it that is as high as all rows.
    pub(super) fn of(list: HtmlElement, whole: HtmlElement) -> Self {
        let mut pool = Self { list: Some((list, whole)), ..Self::default() };
        pool.measure();
        pool
    }

    /// Says something else. Answers the rows drawn, if they are not those last told.
    pub(super) fn show(this: &Rc<RefCell<Self>>, shown: Shown) -> Window {
        let mut pool = this.borrow_mut();
        let Some((list, whole)) = &pool.list else { return None };
        let before = pool.shown.as_ref();
        let afresh = before.is_none_or(|before| before.columns != shown.columns || before.flat != shown.flat);
        if before.is_none_or(|before| before.rows.total != shown.rows.total) {
            let height = shown.rows.total.saturating_mul(ROW_PX.unsigned_abs().into());
            // A property of ours with a number of ours: there is nothing to refuse.
            let _ = whole.style().set_property("height", &format!("{height}px"));
        }
        let to_top = before.is_some_and(|before| before.rows.epoch != shown.rows.epoch);
        // The browser would lay the page out to find that it is there already.
        if to_top && pool.scrolled_px != 0 {
            list.set_scroll_top(0);
        }
        let goes_to = shown.cursor.filter(|_| before.and_then(|before| before.cursor) != shown.cursor);
        pool.top = if to_top { 0 } else { pool.top };
        pool.total = shown.rows.total;
        pool.shown = Some(shown);
        pool.late = to_top;
        pool.draw(afresh);
        if pool.rest.is_none() {
            pool.arrange();
        }
        let window = pool.tell();
        drop(pool);
        Self::make_ahead(this);
        match goes_to {
            Some(row) => Self::go_to(this, row).or(window),
            None => window,
        }
    }

    /// Draws the rows that are late, then makes those that a longer list would need, a few at a time: a key that brings
    /// one should not wait for them.
    fn make_ahead(this: &Rc<RefCell<Self>>) {
        let weak = Rc::downgrade(this);
        let mut pool = this.borrow_mut();
        let lacks = usize::try_from(pool.room).is_ok_and(|room| pool.rows.len() < room);
        pool.ahead = (pool.late || lacks).then(|| {
            Timeout::new(AHEAD_MS, move || {
                let Some(this) = weak.upgrade() else { return };
                let mut pool = this.borrow_mut();
                if std::mem::take(&mut pool.late) {
                    pool.draw(false);
                } else {
                    pool.make(AHEAD);
                }
                drop(pool);
                Self::make_ahead(&this);
            })
        });
    }

    /// Makes rows that are not in the document yet.
    fn make(&mut self, count: usize) {
        let (Some(shown), Ok(apart)) = (&self.shown, nodes::document().create_element("div")) else { return };
        self.rows.extend((0..count).map(|_| Row::new(&apart, shown.columns.iter(), shown.flat)));
    }

    /// Says the same with more rows. Answers as [`Self::show`].
    pub(super) fn take(&mut self, rows: Rows) -> Window {
        match self.shown.take() {
            Some(shown) => {
                self.shown = Some(Shown { rows, ..shown });
                self.draw(false);
                self.tell()
            }
            None => None,
        }
    }

    /// Draws what has come into sight. Answers as [`Self::show`].
    pub(super) fn look(this: &Rc<RefCell<Self>>) -> Window {
        let mut pool = this.borrow_mut();
        let before = pool.drawn();
        pool.measure();
        // What is late is not to come into sight.
        if !std::mem::take(&mut pool.late) && pool.drawn() == before {
            return None;
        }
        pool.draw(false);
        pool.moved = true;
        if pool.rest.is_none() {
            Self::await_rest(&mut pool, this);
        }
        pool.tell()
    }

    /// Brings a row into sight, and the keyboard onto it if that is in the list.
    fn go_to(this: &Rc<RefCell<Self>>, row: u64) -> Window {
        let (list, _) = this.borrow().list.clone()?;
        let top = i32::try_from(row).unwrap_or(i32::MAX).saturating_mul(ROW_PX);
        let (from, lowest) =
            (list.scroll_top(), top.saturating_add(ROW_PX).saturating_sub(list.client_height()));
        // A row in sight stays the element that it is: the pointer may be down on it.
        let to = if top < from { Some(top) } else { Some(lowest).filter(|&lowest| lowest > from) };
        let window = match to {
            Some(to) => {
                list.set_scroll_top(to);
                Self::look(this)
            }
            None => None,
        };
        let target = {
            let pool = this.borrow();
            pool.rows
                .get(place(row, pool.room))
                .filter(|at| at.index == Some(row))
                .map(|at| at.element.clone())
        };
        if let (Some(target), Some(focus)) = (target, focused())
            && list.contains(Some(&focus))
            && target != focus
        {
            focus_on(&target);
        }
        window
    }

    /// Rows that belong into the document.
    fn drawn(&self) -> Range<u64> {
        let count = self.room.min(self.total);
        let first = self.top.saturating_sub(BEYOND).min(self.total - count);
        first..first.saturating_add(count)
    }

    fn tell(&mut self) -> Window {
        let now = self.drawn();
        let same = now.end.saturating_sub(now.start) == self.told.end.saturating_sub(self.told.start)
            && now.start.abs_diff(self.told.start) < UNTOLD;
        if same {
            return None;
        }
        self.told = now.clone();
        Some(now)
    }

    fn measure(&mut self) {
        if let Some((list, _)) = &self.list {
            let rows = |px: i32| u64::try_from(px / ROW_PX).unwrap_or(0);
            self.scrolled_px = list.scroll_top();
            self.top = rows(self.scrolled_px);
            self.room = rows(list.client_height()) + 2 * BEYOND + 1;
        }
    }

    /// Puts as many elements into the document as there are rows to draw; `afresh`, if they are to be others.
    fn attach(&mut self, wanted: usize, afresh: bool) {
        let Some((list, whole)) = self.list.clone().filter(|_| wanted != self.attached || afresh) else {
            return;
        };
        let focus = focused().filter(|focus| list.contains(Some(focus)));
        if afresh || self.front != 0 {
            whole.set_text_content(None);
            self.attached = 0;
        }
        if afresh {
            self.rows.clear();
        }
        // Fewer rows than there is room for begin with the first element.
        for row in self.rows.iter().skip(wanted) {
            row.element.remove();
        }
        let lacking = wanted.saturating_sub(self.rows.len());
        self.make(lacking);
        for row in self.rows.iter().take(wanted).skip(self.attached) {
            nodes::put(&whole, &row.element);
        }
        (self.attached, self.front) = (wanted, 0);
        // What was taken out, if only for a moment, has lost the focus.
        match focus {
            Some(focus) if list.contains(Some(&focus)) => focus_on(&focus),
            Some(_) => focus_on(&list),
            None => {}
        }
    }

    fn draw(&mut self, afresh: bool) {
        let drawn = self.drawn();
        let wanted = usize::try_from(drawn.end.saturating_sub(drawn.start)).unwrap_or(usize::MAX);
        self.attach(wanted, afresh);
        let (Some((list, _)), Some(shown)) = (&self.list, &self.shown) else { return };
        let focus = focused();
        // Rows are late at the top of the list alone; those that do not stand at their place cannot wait.
        let in_time = if self.late { self.room - 2 * BEYOND } else { drawn.end };
        for index in drawn.clone() {
            let Some(at) = self.rows.get_mut(place(index, self.room)) else { continue };
            if index >= in_time && at.index == Some(index) {
                continue;
            }
            // The keyboard does not go with an element to another row: it waits in the list.
            if at.index.is_some_and(|index| !drawn.contains(&index)) && focus.as_ref() == Some(&at.element) {
                focus_on(list);
            }
            let row = shown.rows.at(index);
            let layer = row.as_ref().and_then(|row| row.get()).and_then(|row| row.layer.as_ref());
            let face = Face {
                selected: layer.is_some() && layer == shown.selected.as_ref(),
                at_cursor: shown.cursor == Some(index),
                in_tab_order: shown.cursor.unwrap_or(0) == index,
                row,
            };
            at.show(index, face, ROW_PX.unsigned_abs().into());
        }
    }

    fn await_rest(pool: &mut Self, this: &Rc<RefCell<Self>>) {
        let weak = Rc::downgrade(this);
        pool.rest = Some(Timeout::new(REST_MS, move || {
            let Some(this) = weak.upgrade() else { return };
            let mut pool = this.borrow_mut();
            pool.rest = None;
            if std::mem::take(&mut pool.moved) {
                Self::await_rest(&mut pool, &this);
            } else {
                pool.arrange();
            }
        }));
    }

    /// Puts the elements into the order of their rows. The one that has the focus stays where it is, since it would
    /// lose it; of the others, the fewer go round.
    fn arrange(&mut self) {
        let Some((_, whole)) = &self.list else { return };
        let first = place(self.drawn().start, self.room);
        let Some(before) =
            (first + self.attached).checked_sub(self.front).and_then(|by| by.checked_rem(self.attached))
        else {
            return;
        };
        let round = |from: usize, count: usize| {
            let rows = self.rows.iter().take(self.attached).cycle();
            rows.skip(from).take(count)
        };
        let focus = focused();
        let holds_focus = |row: &Row| focus.as_ref() == Some(&row.element);
        let (early, late) = (round(self.front, before), round(first, self.attached - before));
        let early_are_fewer = before <= self.attached / 2;
        let mut fewer = if early_are_fewer { early.clone() } else { late.clone() };
        if early_are_fewer != fewer.any(holds_focus) {
            for row in early {
                nodes::put(whole, &row.element);
            }
        } else {
            let front = self.rows.get(self.front).map(|row| &**row.element);
            for row in late {
                // As above.
                let _ = whole.insert_before(&row.element, front);
            }
        }
        self.front = first;
    }
}

/// The element that has the focus.
fn focused() -> Option<HtmlElement> {
    nodes::document().active_element().map(JsCast::unchecked_into)
}

fn focus_on(element: &HtmlElement) {
    let options = FocusOptions::new();
    options.set_prevent_scroll(true);
    // A row that cannot take the focus leaves it where it is.
    let _ = element.focus_with_options(&options);
}
