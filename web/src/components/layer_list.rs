//! The layers as tree or list: rows of one height, of which only those in sight are in the document.

use super::layer_row::row_of;
use super::layer_rows::{RowFeed, RowPool, Shown, Window};
use crate::state::Action;
use crate::state::columns::Columns;
use crate::state::exploring::Explore;
use crate::state::list::Rows;
use crate::state::route::Filter;
use gloo_events::EventListener;
use std::ops::Range;
use web_sys::HtmlElement;
use yew::{
    Callback, FocusEvent, Html, MouseEvent, Properties, component, html, use_effect, use_effect_with,
    use_memo, use_mut_ref, use_node_ref,
};

/// Properties of [`LayerTable`].
#[derive(Properties, PartialEq)]
pub(crate) struct LayerTableProps {
    /// The rows near the window.
    pub(crate) rows: Rows,
    /// Filter, for the order.
    pub(crate) filter: Filter,
    /// Whether the rows are no tree.
    pub(crate) flat: bool,
    /// Columns in sight.
    pub(crate) columns: Columns,
    /// Row that the keyboard is on.
    pub(crate) cursor: Option<u64>,
    /// Layer in the panel.
    pub(crate) selected: Option<String>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
    /// Rows that come later.
    pub(crate) feed: RowFeed,
}

/// The list.
#[component]
pub(crate) fn LayerTable(props: &LayerTableProps) -> Html {
    let (body, whole) = (use_node_ref(), use_node_ref());
    let pool = use_mut_ref(RowPool::default);
    // The rows draw themselves: while the user scrolls, nothing of the page is drawn but what comes into sight.
    let tell = {
        let dispatch = props.dispatch.clone();
        Callback::from(move |window: Window| {
            if let Some(Range { start, end }) = window {
                dispatch.emit(Action::ListWindow { first: start, count: end.saturating_sub(start) });
            }
        })
    };
    {
        let (pool, tell) = (pool.clone(), tell.clone());
        use_effect_with((body.clone(), whole.clone(), props.feed.clone()), move |(body, whole, feed)| {
            let nodes = body.cast::<HtmlElement>().zip(whole.cast::<HtmlElement>()).zip(web_sys::window());
            let listeners = nodes.map(|((list, whole), page)| {
                *pool.borrow_mut() = RowPool::of(list.clone(), whole);
                let (rows, told) = (pool.clone(), tell.clone());
                let look = Callback::from(move |()| told.emit(RowPool::look(&rows)));
                let look_again = look.clone();
                [
                    EventListener::new(&list, "scroll", move |_| look.emit(())),
                    EventListener::new(&page, "resize", move |_| look_again.emit(())),
                ]
            });
            feed.go_to(Some(Callback::from(move |rows| {
                let window = pool.borrow_mut().take(rows);
                tell.emit(window);
            })));
            let feed = feed.clone();
            move || {
                feed.go_to(None);
                drop(listeners);
            }
        });
    }
    let shown = Shown {
        rows: props.rows.clone(),
        flat: props.flat,
        columns: props.columns.clone(),
        cursor: props.cursor,
        selected: props.selected.clone(),
    };
    // The list is drawn where one of these has changed.
    use_effect(move || tell.emit(RowPool::show(&pool, shown)));
    let total = props.rows.total;
    let head = (props.columns.clone(), props.filter.clone(), props.flat, props.dispatch.clone());
    let head = use_memo(head, |(columns, filter, flat, dispatch)| heads(columns, filter, *flat, dispatch));
    let onclick = {
        let dispatch = props.dispatch.clone();
        Callback::from(move |event: MouseEvent| match row_of(&event) {
            Some((index, true)) => dispatch.emit(Action::Explore(Explore::Toggle(index))),
            Some((index, false)) => dispatch.emit(Action::SelectRow(index)),
            None => {}
        })
    };
    let onfocusin = {
        let dispatch = props.dispatch.clone();
        Callback::from(move |event: FocusEvent| {
            if let Some((index, _)) = row_of(&event) {
                dispatch.emit(Action::CursorAt(index));
            }
        })
    };
    html! {
        <div class="table" role={if props.flat { "grid" } else { "treegrid" }} aria-label="Layers" aria-rowcount={(total + 1).to_string()}>
            { (*head).clone() }
            <div class="rows" ref={body} tabindex="-1" data-testid="layer-list" role="rowgroup" {onclick} {onfocusin}>
                <div class="rows-whole" ref={whole} />
            </div>
        </div>
    }
}

fn heads(columns: &Columns, filter: &Filter, flat: bool, dispatch: &Callback<Action>) -> Html {
    let heads = columns.iter().map(|column| {
        let key = column.sorts(flat).then(|| column.slug());
        heading(column.label(), key, column.class(), filter, dispatch)
    });
    html! {
        <div class="row head" role="row" aria-rowindex="1">{ heading("Layer", Some("name"), "c-name", filter, dispatch) }{ for heads }</div>
    }
}

fn heading(
    word: &'static str,
    key: Option<&'static str>,
    class: &'static str,
    filter: &Filter,
    dispatch: &Callback<Action>,
) -> Html {
    let Some(key) = key else { return html! { <span role="columnheader" {class}>{ word }</span> } };
    let current = filter.sort.trim_start_matches('-') == key;
    let (order, arrow) = match (current, filter.sort.starts_with('-')) {
        (true, true) => ("descending", " ↓"),
        (true, false) => ("ascending", " ↑"),
        (false, _) => ("none", ""),
    };
    let (dispatch, filter) = (dispatch.clone(), filter.clone());
    let onclick = move |_| {
        dispatch.emit(Action::SetFilter(Filter { sort: filter.next_sort(key), ..filter.clone() }));
    };
    html! {
        <span role="columnheader" {class} aria-sort={order}>
            <button class="sort" {onclick} data-testid={format!("sort-{key}")}>{ word }{ arrow }</button>
        </span>
    }
}
