//! The differences of two checkpoints: rows of one height, of which only those in sight are in the document.

use super::{LayerName, SchemeTag};
use crate::hooks::{RowWindow, use_row_places, use_row_window};
use crate::protocol::{DifferencePage, DifferenceRow};
use crate::services::dom;
use crate::state::load::Shared;
use crate::state::{causes, text};
use quantscope_session::api::DifferenceQuery;
use web_sys::HtmlElement;
use yew::{
    Callback, Html, KeyboardEvent, Properties, classes, component, html, use_effect_with, use_node_ref,
};

/// Height of a row; `--row` in the style sheet says the same.
const ROW_PX: i32 = 30;
/// The element that has the focus while a row is on its way.
const LIST_ID: &str = "difference-list";
/// Rows that a page key moves.
const LEAP: u64 = 15;

/// Properties of [`DifferenceTable`].
#[derive(Properties, PartialEq)]
pub(crate) struct DifferenceTableProps {
    /// Rows near those in sight.
    pub(crate) page: Shared<DifferencePage>,
    /// What is asked, for the order.
    pub(crate) query: DifferenceQuery,
    /// Row that the keyboard is on.
    pub(crate) cursor: u64,
    /// The difference in the panel.
    pub(crate) selected: Option<String>,
    /// Rows in sight: first and count.
    pub(crate) on_window: Callback<(u64, u64)>,
    /// The keyboard is on another row.
    pub(crate) on_cursor: Callback<u64>,
    /// A row was opened.
    pub(crate) on_pick: Callback<String>,
    /// Another order.
    pub(crate) on_query: Callback<DifferenceQuery>,
}

/// The list.
#[component]
pub(crate) fn DifferenceTable(props: &DifferenceTableProps) -> Html {
    let (body, whole, seen) = (use_node_ref(), use_node_ref(), use_node_ref());
    let total = props.page.matching;
    let RowWindow { first, count } = use_row_window(body.clone(), ROW_PX);
    let first = first.min(total.saturating_sub(count.min(total)));
    let last = first.saturating_add(count).min(total);
    use_row_places(whole.clone(), seen.clone(), total, first..last, ROW_PX);
    {
        let on_window = props.on_window.clone();
        use_effect_with((first, last), move |(first, last)| {
            on_window.emit((*first, last.saturating_sub(*first)));
        });
    }
    {
        let body = body.clone();
        use_effect_with(props.query.clone(), move |_| {
            if let Some(list) = body.cast::<HtmlElement>() {
                list.set_scroll_top(0);
            }
        });
    }
    {
        let body = body.clone();
        let is_drawn = (first..last).contains(&props.cursor);
        use_effect_with(props.cursor, move |cursor| {
            if let (Some(list), Ok(row)) = (body.cast::<HtmlElement>(), i32::try_from(*cursor)) {
                let (top, height) = (row.saturating_mul(ROW_PX), list.client_height());
                if top < list.scroll_top() {
                    list.set_scroll_top(top);
                } else if top.saturating_add(ROW_PX) > list.scroll_top().saturating_add(height) {
                    list.set_scroll_top(top.saturating_add(ROW_PX).saturating_sub(height));
                }
                // The row that has the focus may leave the document before the other is in it.
                if !is_drawn {
                    dom::follow_focus(&list, LIST_ID);
                }
            }
        });
    }
    {
        let body = body.clone();
        use_effect_with((props.cursor, first, last), move |(cursor, ..)| {
            if let Some(list) = body.cast::<HtmlElement>() {
                dom::follow_focus(&list, &format!("difference-{cursor}"));
            }
        });
    }
    let row_at = |index: u64| {
        let place = usize::try_from(index.checked_sub(props.page.start)?).ok()?;
        props.page.rows.get(place)
    };
    let on_key = {
        let (on_cursor, on_pick) = (props.on_cursor.clone(), props.on_pick.clone());
        let (cursor, end) = (props.cursor, total.saturating_sub(1));
        let name = row_at(cursor).map(|row| row.difference.name().to_owned());
        Callback::from(move |event: KeyboardEvent| {
            if event.ctrl_key() || event.meta_key() || event.alt_key() {
                return;
            }
            let to = match event.key().as_str() {
                "j" | "ArrowDown" => cursor.saturating_add(1),
                "k" | "ArrowUp" => cursor.saturating_sub(1),
                "PageDown" => cursor.saturating_add(LEAP),
                "PageUp" => cursor.saturating_sub(LEAP),
                "Home" => 0,
                "End" => end,
                "Enter" => {
                    if let Some(name) = &name {
                        on_pick.emit(name.clone());
                    }
                    return;
                }
                _ => return,
            };
            event.prevent_default();
            on_cursor.emit(to.min(end));
        })
    };
    let rows = (first..last).map(|index| {
        let row = row_at(index);
        let name = row.map(|row| row.difference.name().to_owned());
        let selected = name.is_some() && name == props.selected;
        let at_cursor = index == props.cursor;
        let (on_pick, on_cursor) = (props.on_pick.clone(), props.on_cursor.clone());
        let picked = name.clone();
        let onclick = move |_| {
            on_cursor.emit(index);
            if let Some(name) = &picked {
                on_pick.emit(name.clone());
            }
        };
        html! {
            <div key={index.to_string()} id={format!("difference-{index}")} class={classes!("row", selected.then_some("selected"), at_cursor.then_some("cursor"))}
                role="row" aria-rowindex={index.saturating_add(2).to_string()} aria-selected={selected.to_string()} tabindex={if at_cursor { "0" } else { "-1" }}
                data-testid="difference" data-name={name} data-explained={row.map(|row| row.difference.explained.to_string())} {onclick}>
                { row.map_or_else(|| html! { <span class="row-waits" role="gridcell">{ "…" }</span> }, cells) }
            </div>
        }
    });
    html! {
        <div class="table differences" role="grid" aria-label="Differences" aria-rowcount={total.saturating_add(1).to_string()}>
            <div class="row head" role="row" aria-rowindex="1">
                { heading(props, "Difference", "name", "c-name") }
                <span role="columnheader" class="d-schemes">{ "First to second" }</span>
                { heading(props, "Cause", "cause", "d-causes") }
                { heading(props, "SQNR", "sqnr", "d-sqnr n") }
                { heading(props, "Largest", "max", "d-max n") }
            </div>
            <div class="rows" ref={body} id={LIST_ID} tabindex="-1" data-testid="difference-list" data-keys="rows" role="rowgroup" onkeydown={on_key}>
                <div class="rows-whole" ref={whole}><div class="rows-seen" ref={seen}>{ for rows }</div></div>
            </div>
        </div>
    }
}

/// The sort after a click on a heading: ascending, descending, default.
fn next_sort(sort: &str, column: &str) -> String {
    match sort.strip_prefix('-') {
        Some(current) if current == column => String::new(),
        None if sort == column => format!("-{column}"),
        _ => column.into(),
    }
}

fn heading(props: &DifferenceTableProps, word: &str, key: &'static str, class: &'static str) -> Html {
    let is_current = props.query.sort.trim_start_matches('-') == key;
    let (order, arrow) = match (is_current, props.query.sort.starts_with('-')) {
        (true, true) => ("descending", " ↓"),
        (true, false) => ("ascending", " ↑"),
        (false, _) => ("none", ""),
    };
    let (on_query, query) = (props.on_query.clone(), props.query.clone());
    let onclick =
        move |_| on_query.emit(DifferenceQuery { sort: next_sort(&query.sort, key), ..query.clone() });
    html! {
        <span role="columnheader" {class} aria-sort={order}>
            <button class="sort" {onclick} data-testid={format!("sort-{key}")}>{ word }{ arrow }</button>
        </span>
    }
}

fn cells(row: &DifferenceRow) -> Html {
    let difference = &row.difference;
    let title = match (&difference.a, &difference.b) {
        (Some(a), Some(b)) if a != b => format!("{a} → {b}"),
        _ => difference.name().to_owned(),
    };
    let tag = |scheme: &String, family: &String| {
        html! { if !scheme.is_empty() { <SchemeTag scheme={scheme.clone()} family={family.clone()} /> } else { <span class="faint">{ "–" }</span> } }
    };
    let has_scheme = !difference.from.is_empty() || !difference.to.is_empty();
    let causes = difference
        .causes
        .iter()
        .map(|cause| html! { <span class="cause" title={causes::words(cause)}>{ cause }</span> });
    let sqnr = difference.sqnr_db.map(|db| format!("{db:.1} dB")).unwrap_or_default();
    let largest = difference.max_abs.map(text::number).unwrap_or_default();
    html! {
        <>
            <span role="gridcell" class="c-name">
                if difference.explained {
                    <i class="mark" aria-hidden="true" />
                } else {
                    <b class="mark is-error" title="no cause explains it"><span aria-hidden="true">{ "✕" }</span><span class="read-out">{ "not explained" }</span></b>
                }
                <LayerName name={difference.name().to_owned()} {title} />
            </span>
            <span role="gridcell" class="d-schemes">
                if has_scheme {
                    { tag(&difference.from, &row.from_family) }
                    if difference.from != difference.to { <span class="faint">{ "→" }</span>{ tag(&difference.to, &row.to_family) } }
                }
            </span>
            <span role="gridcell" class="d-causes">{ for causes }</span>
            <span role="gridcell" class="d-sqnr n" title={difference.sqnr_db.map(|db| db.to_string())}>{ sqnr }</span>
            <span role="gridcell" class="d-max n" title={difference.max_abs.map(|most| most.to_string())}>{ largest }</span>
        </>
    }
}

#[cfg(test)]
mod tests {
    use super::next_sort;

    #[test]
    fn a_heading_sorts_up_then_down_then_not() {
        let mut sort = String::new();
        for expected in ["sqnr", "-sqnr", "", "sqnr"] {
            sort = next_sort(&sort, "sqnr");
            assert_eq!(sort, expected);
        }
        assert_eq!(next_sort("-sqnr", "max"), "max");
    }
}
