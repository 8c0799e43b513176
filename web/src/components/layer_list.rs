//! The layer list: rows of one height, of which only those in sight are in the document.

use super::{LayerName, SchemeTag, SeverityMark};
use crate::hooks::{RowWindow, use_css_vars, use_row_window};
use crate::services::dom;
use crate::state::list::Rows;
use crate::state::route::Filter;
use crate::state::text;
use quantscope_session::api::LayerRow;
use web_sys::HtmlElement;
use yew::{Callback, Html, Properties, classes, component, html, use_effect_with, use_node_ref};

/// Height of a row; `--row` in the style sheet says the same.
const ROW_PX: i32 = 30;

/// Columns that can be sorted by: word, key, class.
const COLUMNS: [(&str, &str, &str); 5] = [
    ("Layer", "name", "c-name"),
    ("Scheme", "scheme", "c-scheme"),
    ("Shape", "", "c-shape"),
    ("Bits", "bits", "c-bits n"),
    ("Size", "size", "c-size n"),
];

/// Properties of [`LayerTable`].
#[derive(Properties, PartialEq)]
pub(crate) struct LayerTableProps {
    /// The rows near the window.
    pub(crate) rows: Rows,
    /// Filter, for the order.
    pub(crate) filter: Filter,
    /// Row that the keyboard is on.
    pub(crate) cursor: Option<u64>,
    /// Layer in the panel.
    pub(crate) selected: Option<String>,
    /// Rows in sight: first and count.
    pub(crate) on_window: Callback<(u64, u64)>,
    /// A row was clicked.
    pub(crate) on_row: Callback<u64>,
    /// The keyboard came to a row by itself.
    pub(crate) on_focus: Callback<u64>,
    /// Another order.
    pub(crate) on_filter: Callback<Filter>,
}

/// The list.
#[component]
pub(crate) fn LayerTable(props: &LayerTableProps) -> Html {
    let body = use_node_ref();
    let inner = use_node_ref();
    let window = use_row_window(body.clone(), ROW_PX);
    let total = props.rows.total;
    let RowWindow { first, count } = window;
    let first = first.min(total.saturating_sub(count.min(total)));
    let last = first.saturating_add(count).min(total);
    use_css_vars(
        inner.clone(),
        vec![
            ("--rows-height", format!("{}px", total.saturating_mul(30))),
            ("--rows-top", format!("{}px", first.saturating_mul(30))),
        ],
    );
    {
        let on_window = props.on_window.clone();
        use_effect_with((first, last), move |(first, last)| {
            on_window.emit((*first, last.saturating_sub(*first)));
        });
    }
    {
        let body = body.clone();
        use_effect_with(props.rows.generation, move |_| {
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
    let heads = COLUMNS.iter().map(|(word, key, class)| heading(props, word, key, class));
    let rows = (first..last).map(|index| {
        let row = props.rows.row(index);
        let selected = row.is_some_and(|row| Some(&row.name) == props.selected.as_ref());
        let at_cursor = props.cursor == Some(index);
        let (on_row, on_focus) = (props.on_row.clone(), props.on_focus.clone());
        html! {
            <div key={index.to_string()} id={format!("row-{index}")} class={classes!("row", selected.then_some("selected"), at_cursor.then_some("cursor"))}
                role="row" aria-rowindex={(index + 2).to_string()} aria-selected={selected.to_string()}
                tabindex={if index == props.cursor.unwrap_or(0) { "0" } else { "-1" }} onfocus={move |_| on_focus.emit(index)}
                data-testid="layer-row" data-name={row.map(|row| row.name.clone())} onclick={move |_| on_row.emit(index)}>
                { row.map_or_else(|| html! { <span class="row-waits" role="gridcell">{ "…" }</span> }, cells) }
            </div>
        }
    });
    html! {
        <div class="table" role="grid" aria-label="Layers" aria-rowcount={(total + 1).to_string()}>
            <div class="row head" role="row" aria-rowindex="1">{ for heads }<span role="columnheader" class="c-worst"><span class="read-out">{ "Findings" }</span></span></div>
            <div class="rows" ref={body} data-testid="layer-list" role="rowgroup">
                <div class="rows-whole" ref={inner}><div class="rows-seen">{ for rows }</div></div>
            </div>
        </div>
    }
}

fn heading(props: &LayerTableProps, word: &str, key: &'static str, class: &'static str) -> Html {
    if key.is_empty() {
        return html! { <span role="columnheader" {class}>{ word }</span> };
    }
    let current = props.filter.sort.trim_start_matches('-') == key;
    let (order, arrow) = match (current, props.filter.sort.starts_with('-')) {
        (true, true) => ("descending", " ↓"),
        (true, false) => ("ascending", " ↑"),
        (false, _) => ("none", ""),
    };
    let (on_filter, filter) = (props.on_filter.clone(), props.filter.clone());
    let onclick = move |_| on_filter.emit(Filter { sort: filter.next_sort(key), ..filter.clone() });
    html! {
        <span role="columnheader" {class} aria-sort={order}>
            <button class="sort" {onclick} data-testid={format!("sort-{key}")}>{ word }{ arrow }</button>
        </span>
    }
}

fn cells(row: &LayerRow) -> Html {
    html! {
        <>
            <span role="gridcell" class="c-name"><LayerName name={row.name.clone()} /></span>
            <span role="gridcell" class="c-scheme"><SchemeTag scheme={row.scheme.clone()} family={row.family.clone()} /></span>
            <span role="gridcell" class="c-shape">{ text::shape(&row.shape) }</span>
            <span role="gridcell" class="c-bits n">{ text::bits(row.bits_per_weight) }</span>
            <span role="gridcell" class="c-size n" title={text::exact_size(row.bytes)}>{ text::size(row.bytes) }</span>
            <span role="gridcell" class="c-worst">
                if let Some(severity) = row.worst {
                    <SeverityMark {severity} />
                    if row.findings > 1 { <span class="faint">{ row.findings }</span> }
                }
            </span>
        </>
    }
}
