//! One row of the layers. A row whose properties stay the same is not drawn again, so that scrolling and typing cost
//! no more than the rows that change.

use super::{layer_name, scheme_tag, severity_mark};
use crate::state::columns::{Column, Columns};
use crate::state::list::RowAt;
use crate::state::text;
use quantscope_session::api::TreeRow;
use web_sys::{Element, Event};
use yew::{Html, Properties, TargetCast, classes, component, html};

/// Deepest indent that the style sheet knows.
const DEEPEST: u32 = 12;

/// Properties of [`LayerRow`].
#[derive(Properties, PartialEq)]
pub(crate) struct LayerRowProps {
    /// Which row it is.
    pub(crate) index: u64,
    /// What it says, once that is here.
    pub(crate) row: Option<RowAt>,
    /// Whether the rows are no tree.
    pub(crate) flat: bool,
    /// Columns in sight.
    pub(crate) columns: Columns,
    /// Whether its layer is in the panel.
    pub(crate) selected: bool,
    /// Whether the keyboard is on it.
    pub(crate) at_cursor: bool,
    /// Whether Tab comes to it.
    pub(crate) in_tab_order: bool,
}

/// Where an event of the list happened: the row, and whether it was on the mark that opens it.
pub(crate) fn row_of(event: &Event) -> Option<(u64, bool)> {
    let target = event.target_dyn_into::<Element>()?;
    let row = target.closest("[data-row]").ok().flatten()?;
    let on_caret = matches!(target.closest(".caret.opens"), Ok(Some(_)));
    Some((row.get_attribute("data-row")?.parse().ok()?, on_caret))
}

/// The row.
#[component]
pub(crate) fn LayerRow(props: &LayerRowProps) -> Html {
    let index = props.index;
    let row = props.row.as_ref().and_then(RowAt::get);
    let open = row.and_then(|row| row.open);
    let level = row.filter(|_| !props.flat).map(|row| (row.depth + 1).to_string());
    let depth = row.map(|row| format!("depth-{}", row.depth.min(DEEPEST)));
    let class =
        classes!("row", depth, props.selected.then_some("selected"), props.at_cursor.then_some("cursor"));
    html! {
        <div id={format!("row-{index}")} {class} role="row" data-row={index.to_string()} aria-rowindex={(index + 2).to_string()}
            aria-selected={if props.selected { "true" } else { "false" }} aria-level={level} aria-expanded={open.map(word)} tabindex={if props.in_tab_order { "0" } else { "-1" }}
            data-testid="layer-row" data-name={row.and_then(|row| row.layer.clone())} data-key={row.map(|row| row.key.clone())}>
            { row.map_or_else(|| html! { <span class="row-waits" role="gridcell">{ "…" }</span> }, |row| cells(row, props)) }
        </div>
    }
}

const fn word(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

fn cells(row: &TreeRow, props: &LayerRowProps) -> Html {
    let title = row.layer.as_ref().unwrap_or(&row.key);
    html! {
        <>
            <span role="gridcell" class="c-name">
                if let Some(open) = row.open {
                    <i class="caret opens" aria-hidden="true">{ if open { "▾" } else { "▸" } }</i>
                } else if !props.flat {
                    <i class="caret" aria-hidden="true" />
                }
                { layer_name(&row.label, title) }
                if row.folded > 1 { <span class="folded" title="blocks that look alike">{ format!("× {}", text::count(row.folded)) }</span> }
            </span>
            { for props.columns.iter().map(|column| cell(row, column)) }
        </>
    }
}

fn cell(row: &TreeRow, column: Column) -> Html {
    let class = column.class();
    let (title, content) = match column {
        Column::Scheme => (None, schemes(row)),
        Column::Kind if row.layer.is_some() => (None, html! { { &row.kind } }),
        Column::Shape if row.layer.is_some() => (None, html! { { text::shape(&row.shape) } }),
        Column::Shape => (None, html! { <span class="faint">{ text::counted(row.layers, "layer") }</span> }),
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
            { scheme_tag(&first.scheme, &first.family) }
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
    html! { <>{ severity_mark(severity, false) }if row.findings > 1 { <span class="faint">{ text::count(row.findings) }</span> }</> }
}
