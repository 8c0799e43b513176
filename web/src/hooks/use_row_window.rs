//! Which rows of a scrolling list are in sight.

use super::use_css_vars;
use gloo_events::EventListener;
use std::ops::Range;
use web_sys::HtmlElement;
use yew::{Callback, NodeRef, UseStateHandle, hook, use_effect_with, use_state_eq};

/// Rows in sight, and some beyond either edge, so that a quick scroll finds them drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RowWindow {
    /// First row drawn.
    pub(crate) first: u64,
    /// Rows drawn.
    pub(crate) count: u64,
}

const BEYOND: u64 = 8;

/// Measures the list at `node`, whose rows are `row_px` high, when it scrolls and when the page changes size.
#[hook]
pub(crate) fn use_row_window(node: NodeRef, row_px: i32) -> RowWindow {
    let window = use_state_eq(RowWindow::default);
    let measure = {
        let window: UseStateHandle<RowWindow> = window.clone();
        let node = node.clone();
        Callback::from(move |()| {
            if let Some(list) = node.cast::<HtmlElement>() {
                let row = |px: i32| u64::try_from(px / row_px.max(1)).unwrap_or(0);
                let first = row(list.scroll_top()).saturating_sub(BEYOND);
                window.set(RowWindow { first, count: row(list.client_height()) + 2 * BEYOND + 1 });
            }
        })
    };
    use_effect_with(node, move |node| {
        measure.emit(());
        let listeners = node.cast::<HtmlElement>().zip(web_sys::window()).map(|(list, page)| {
            let on_scroll = measure.clone();
            [
                EventListener::new(&list, "scroll", move |_| on_scroll.emit(())),
                EventListener::new(&page, "resize", move |_| measure.emit(())),
            ]
        });
        move || drop(listeners)
    });
    *window
}

/// Gives the element of all rows its height, and puts that of the rows drawn where they belong in it.
#[hook]
pub(crate) fn use_row_places(whole: NodeRef, seen: NodeRef, total: u64, drawn: Range<u64>, row_px: i32) {
    // Properties of these two elements alone: a custom property would have the style of every row computed again.
    let pixels = |rows: u64| format!("{}px", rows.saturating_mul(row_px.unsigned_abs().into()));
    use_css_vars(whole, vec![("height", pixels(total))]);
    let place = format!("translateY({})", pixels(drawn.start));
    use_css_vars(seen, vec![("transform", place), ("height", pixels(drawn.end.saturating_sub(drawn.start)))]);
}
