//! The layers as tree or list: rows of one height, of which only those in sight are in the document.

use super::{LayerRow, row_of};
use crate::hooks::{RowWindow, use_row_places, use_row_window};
use crate::services::dom;
use crate::state::Action;
use crate::state::columns::Columns;
use crate::state::exploring::Explore;
use crate::state::list::{RowAt, Rows};
use crate::state::route::Filter;
use web_sys::HtmlElement;
use yew::{
    Callback, FocusEvent, Html, MouseEvent, Properties, component, html, use_effect_with, use_memo,
    use_node_ref,
};

/// Height of a row; `--row` in the style sheet says the same.
const ROW_PX: i32 = 30;

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
}

/// The list.
#[component]
pub(crate) fn LayerTable(props: &LayerTableProps) -> Html {
    let body = use_node_ref();
    let whole = use_node_ref();
    let seen = use_node_ref();
    let window = use_row_window(body.clone(), ROW_PX);
    let total = props.rows.total;
    let RowWindow { first, count } = window;
    let first = first.min(total.saturating_sub(count.min(total)));
    let last = first.saturating_add(count).min(total);
    use_row_places(whole.clone(), seen.clone(), total, first..last, ROW_PX);
    {
        let dispatch = props.dispatch.clone();
        use_effect_with((first, last), move |&(first, last)| {
            dispatch.emit(Action::ListWindow { first, count: last.saturating_sub(first) });
        });
    }
    {
        let body = body.clone();
        use_effect_with(props.rows.epoch, move |_| {
            if let Some(list) = body.cast::<HtmlElement>() {
                list.set_scroll_top(0);
            }
        });
    }
    {
        let body = body.clone();
        use_effect_with(props.cursor, move |cursor| {
            if let (Some(list), Some(row)) =
                (body.cast::<HtmlElement>(), cursor.and_then(|row| i32::try_from(row).ok()))
            {
                let (top, height) = (row.saturating_mul(ROW_PX), list.client_height());
                if top < list.scroll_top() {
                    list.set_scroll_top(top);
                } else if top + ROW_PX > list.scroll_top() + height {
                    list.set_scroll_top(top + ROW_PX - height);
                }
                dom::follow_focus(&list, &format!("row-{row}"));
            }
        });
    }
    let head = (props.columns.clone(), props.filter.clone(), props.flat, props.dispatch.clone());
    let head = use_memo(head, |(columns, filter, flat, dispatch)| heads(columns, filter, *flat, dispatch));
    let rows = (first..last).map(|index| {
        let row = props.rows.at(index);
        let layer = row.as_ref().and_then(RowAt::get).and_then(|row| row.layer.as_ref());
        let selected = layer.is_some() && layer == props.selected.as_ref();
        // A row that scrolls out of sight is the element of one that comes in.
        html! {
            <LayerRow key={index % count.max(1)} {index} {row} {selected} flat={props.flat} columns={props.columns.clone()}
                at_cursor={props.cursor == Some(index)} in_tab_order={index == props.cursor.unwrap_or(0)} />
        }
    });
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
            <div class="rows" ref={body} data-testid="layer-list" role="rowgroup" {onclick} {onfocusin}>
                <div class="rows-whole" ref={whole}><div class="rows-seen" ref={seen}>{ for rows }</div></div>
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
