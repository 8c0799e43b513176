//! The layers as tree or list: rows of one height, of which only those in sight are in the document.

use super::{LayerName, SchemeTag, SeverityMark};
use crate::hooks::{RowWindow, use_css_vars, use_row_window};
use crate::services::dom;
use crate::state::columns::{Column, Columns};
use crate::state::list::Rows;
use crate::state::route::Filter;
use crate::state::text;
use quantscope_session::api::TreeRow;
use web_sys::HtmlElement;
use yew::{
    Callback, Classes, Html, MouseEvent, Properties, classes, component, html, use_effect_with, use_node_ref,
};

/// Height of a row; `--row` in the style sheet says the same.
const ROW_PX: i32 = 30;

/// Deepest indent that the style sheet knows.
const DEEPEST: u32 = 12;

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
    /// Rows in sight: first and count.
    pub(crate) on_window: Callback<(u64, u64)>,
    /// A row was clicked.
    pub(crate) on_row: Callback<u64>,
    /// A row is to be opened or closed.
    pub(crate) on_toggle: Callback<u64>,
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
    let heads = props.columns.iter().map(|column| {
        let key = column.sorts(props.flat).then(|| column.slug());
        heading(
            props,
            column.label(),
            key,
            classes!(format!("c-{}", column.slug()), column.is_numeric().then_some("n")),
        )
    });
    let rows = (first..last).map(|index| {
        let row = props.rows.row(index);
        let selected = row.is_some_and(|row| row.layer.is_some() && row.layer == props.selected);
        let at_cursor = props.cursor == Some(index);
        let (on_row, on_focus) = (props.on_row.clone(), props.on_focus.clone());
        let open = row.and_then(|row| row.open);
        let level = row.filter(|_| !props.flat).map(|row| (row.depth + 1).to_string());
        let depth = row.map(|row| format!("depth-{}", row.depth.min(DEEPEST)));
        html! {
            <div key={index.to_string()} id={format!("row-{index}")} class={classes!("row", depth, selected.then_some("selected"), at_cursor.then_some("cursor"))}
                role="row" aria-rowindex={(index + 2).to_string()} aria-selected={selected.to_string()} aria-level={level} aria-expanded={open.map(|open| open.to_string())}
                tabindex={if index == props.cursor.unwrap_or(0) { "0" } else { "-1" }} onfocus={move |_| on_focus.emit(index)}
                data-testid="layer-row" data-name={row.and_then(|row| row.layer.clone())} data-key={row.map(|row| row.key.clone())} onclick={move |_| on_row.emit(index)}>
                { row.map_or_else(|| html! { <span class="row-waits" role="gridcell">{ "…" }</span> }, |row| cells(row, index, props)) }
            </div>
        }
    });
    html! {
        <div class="table" role={if props.flat { "grid" } else { "treegrid" }} aria-label="Layers" aria-rowcount={(total + 1).to_string()}>
            <div class="row head" role="row" aria-rowindex="1">{ heading(props, "Layer", Some("name"), classes!("c-name")) }{ for heads }</div>
            <div class="rows" ref={body} data-testid="layer-list" role="rowgroup">
                <div class="rows-whole" ref={inner}><div class="rows-seen">{ for rows }</div></div>
            </div>
        </div>
    }
}

fn heading(props: &LayerTableProps, word: &str, key: Option<&'static str>, class: Classes) -> Html {
    let Some(key) = key else { return html! { <span role="columnheader" {class}>{ word }</span> } };
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

fn cells(row: &TreeRow, index: u64, props: &LayerTableProps) -> Html {
    let on_toggle = props.on_toggle.clone();
    let on_caret = move |event: MouseEvent| {
        event.stop_propagation();
        on_toggle.emit(index);
    };
    html! {
        <>
            <span role="gridcell" class="c-name">
                if let Some(open) = row.open {
                    <i class="caret" aria-hidden="true" onclick={on_caret}>{ if open { "▾" } else { "▸" } }</i>
                } else if !props.flat {
                    <i class="caret" aria-hidden="true" />
                }
                <LayerName name={row.label.clone()} title={row.layer.clone().unwrap_or_else(|| row.key.clone())} />
                if row.folded > 1 { <span class="folded" title="blocks that look alike">{ format!("× {}", text::count(row.folded)) }</span> }
            </span>
            { for props.columns.iter().map(|column| cell(row, column)) }
        </>
    }
}

fn cell(row: &TreeRow, column: Column) -> Html {
    let class = classes!(format!("c-{}", column.slug()), column.is_numeric().then_some("n"));
    let counted = text::counted(row.layers, "layer");
    let (title, content) = match column {
        Column::Scheme => (None, schemes(row)),
        Column::Kind if row.layer.is_some() => (None, html! { { &row.kind } }),
        Column::Shape if row.layer.is_some() => (None, html! { { text::shape(&row.shape) } }),
        Column::Shape => (None, html! { <span class="faint">{ counted }</span> }),
        Column::Kind => (None, Html::default()),
        Column::Weights => {
            (Some(text::count(row.parameters)), html! { { text::short_count(row.parameters) } })
        }
        Column::Bits => {
            (Some(row.bits_per_weight.to_string()), html! { { text::bits(row.bits_per_weight) } })
        }
        Column::Size => (Some(text::exact_size(row.bytes)), html! { { text::size(row.bytes) } }),
        Column::Findings => (None, findings(row)),
    };
    html! { <span role="gridcell" {class} {title}>{ content }</span> }
}

/// The largest scheme in words, the others as colours beside it.
fn schemes(row: &TreeRow) -> Html {
    let Some((first, others)) = row.schemes.split_first() else { return Html::default() };
    let also: Vec<&str> = others.iter().map(|other| other.scheme.as_str()).collect();
    html! {
        <>
            <SchemeTag scheme={first.scheme.clone()} family={first.family.clone()} />
            if !others.is_empty() {
                <span class="also" title={format!("and {}", also.join(", "))}>
                    { for others.iter().map(|other| html! { <i class={classes!("swatch", format!("family-{}", other.family))} aria-hidden="true" /> }) }
                    <span class="read-out">{ format!(" and {}", also.join(", ")) }</span>
                </span>
            }
        </>
    }
}

fn findings(row: &TreeRow) -> Html {
    let Some(severity) = row.worst else { return Html::default() };
    html! { <><SeverityMark {severity} />if row.findings > 1 { <span class="faint">{ text::count(row.findings) }</span> }</> }
}
