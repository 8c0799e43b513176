//! Where the bytes are: a rectangle for each module and scheme, its area in proportion to stored bytes, and the same
//! as a table. A click or Enter goes into a module.

use super::SchemeTag;
use crate::hooks::use_width;
use crate::services::dom;
use crate::state::text;
use crate::state::treemap::{Rect, neighbour, squarify};
use quantscope_session::api::SizeCell;
use yew::{
    AttrValue, Callback, Event, Html, KeyboardEvent, Properties, UseStateHandle, classes, component, html,
    use_effect_with, use_mut_ref, use_node_ref, use_state, use_state_eq,
};

const HEIGHT: f64 = 220.0;

/// Properties of [`SizeMap`].
#[derive(Properties, PartialEq)]
pub(crate) struct SizeMapProps {
    /// Path of the module that is shown; empty for the whole checkpoint.
    pub(crate) path: AttrValue,
    /// Modules below it, the largest first.
    pub(crate) cells: Vec<SizeCell>,
    /// A cell was chosen: one level goes towards it.
    pub(crate) on_cell: Callback<SizeCell>,
    /// A row of the table was chosen.
    pub(crate) on_row: Callback<SizeCell>,
    /// Another module of those above; the whole checkpoint, if empty.
    pub(crate) on_path: Callback<String>,
}

/// The picture with the way to it, and its table.
#[component]
#[expect(clippy::cast_precision_loss, reason = "pixels")]
pub(crate) fn SizeMap(props: &SizeMapProps) -> Html {
    let frame = use_node_ref();
    let width = use_width(frame.clone());
    let focused = use_state(|| 0_usize);
    let listed = use_state_eq(|| false);
    // Whoever went in by the keyboard goes on by it: the cells are others then.
    let by_keys = use_mut_ref(|| false);
    {
        let (by_keys, focused) = (by_keys.clone(), focused.clone());
        use_effect_with(props.path.clone(), move |_| {
            if by_keys.replace(false) {
                focused.set(0);
                dom::focus("size-cell-0");
            }
        });
    }
    let cells: Vec<&SizeCell> = props.cells.iter().filter(|cell| cell.bytes > 0).collect();
    let weights: Vec<f64> = cells.iter().map(|cell| cell.bytes as f64).collect();
    let rects = squarify(&weights, width, HEIGHT);
    let at = if *focused < cells.len() { *focused } else { 0 };
    let onkeydown = {
        let (rects, focused, on_path, path) =
            (rects.clone(), focused.clone(), props.on_path.clone(), props.path.clone());
        let target = cells.get(at).map(|cell| SizeCell::clone(cell));
        let on_cell = props.on_cell.clone();
        Callback::from(move |event: KeyboardEvent| {
            let step = match event.key().as_str() {
                "ArrowLeft" => (-1.0, 0.0),
                "ArrowRight" => (1.0, 0.0),
                "ArrowUp" => (0.0, -1.0),
                "ArrowDown" => (0.0, 1.0),
                "Enter" | " " => {
                    event.prevent_default();
                    by_keys.replace(true);
                    return target.iter().cloned().for_each(|cell| on_cell.emit(cell));
                }
                "Backspace" if !path.is_empty() => {
                    by_keys.replace(true);
                    return on_path.emit(above(&path));
                }
                _ => return,
            };
            event.prevent_default();
            if let Some(next) = neighbour(&rects, at, step) {
                focused.set(next);
                dom::focus(&format!("size-cell-{next}"));
            }
        })
    };
    let drawn = cells.iter().zip(&rects).enumerate().map(|(index, (&cell, rect))| {
        let (on_cell, target) = (props.on_cell.clone(), cell.clone());
        let label = if rect.height > 18.0 { label_that_fits(name_of(cell), rect.width) } else { None };
        let words = words_of(cell);
        html! {
            <g key={format!("{}/{}", cell.name, cell.scheme)} id={format!("size-cell-{index}")} class="reach" role="button" aria-label={words.clone()} tabindex={if index == at { "0" } else { "-1" }}
                data-testid="size-cell" data-name={cell.name.clone()} onclick={move |_| on_cell.emit(target.clone())}>
                <title>{ words }</title>
                { shape_of(rect, &cell.family) }
                if let Some(label) = label {
                    <text class={format!("on-{}", cell.family)} x={format!("{:.1}", rect.x + 6.0)} y={format!("{:.1}", rect.y + 15.0)}>{ label }</text>
                }
            </g>
        }
    });
    html! {
        <div class="size-view" ref={frame} data-testid="size-map" data-path={props.path.clone()}>
            { way(props) }
            <svg class="size-map" viewBox={format!("0 0 {width} {HEIGHT}")} role="group" aria-label="Stored bytes by module and scheme" {onkeydown}>{ for drawn }</svg>
            { table(&cells, &listed, &props.on_row) }
        </div>
    }
}

fn shape_of(rect: &Rect, family: &str) -> Html {
    html! {
        <rect class={classes!("cell", format!("fill-{family}"))} x={format!("{:.1}", rect.x)} y={format!("{:.1}", rect.y)}
            width={format!("{:.1}", (rect.width - 1.5).max(0.5))} height={format!("{:.1}", (rect.height - 1.5).max(0.5))} rx="2" />
    }
}

/// The modules above, each a button.
fn way(props: &SizeMapProps) -> Html {
    let path: &str = &props.path;
    let ends = path.match_indices('.').map(|(dot, _)| dot).chain((!path.is_empty()).then_some(path.len()));
    let mut begin = 0;
    let steps = ends.map(|end| {
        let word = path.get(begin..end).unwrap_or_default().to_owned();
        begin = end + 1;
        step(path.get(..end).unwrap_or_default(), word, end == path.len(), &props.on_path)
    });
    html! {
        <nav class="way" aria-label="Module in the map">
            { step("", "all layers".into(), path.is_empty(), &props.on_path) }
            { for steps }
        </nav>
    }
}

fn step(path: &str, word: String, here: bool, on_path: &Callback<String>) -> Html {
    let (on_path, path) = (on_path.clone(), path.to_owned());
    html! { <button class="quiet" aria-current={here.then_some("true")} disabled={here} onclick={move |_| on_path.emit(path.clone())}>{ word }</button> }
}

/// The rows are drawn once the table is opened.
fn table(cells: &[&SizeCell], listed: &UseStateHandle<bool>, on_row: &Callback<SizeCell>) -> Html {
    let whole: u64 = cells.iter().map(|cell| cell.bytes).fold(0, u64::saturating_add);
    let rows = cells.iter().map(|&cell| {
        let (on_row, target) = (on_row.clone(), cell.clone());
        html! {
            <tr>
                <td>if cell.name.is_empty() { { name_of(cell) } } else { <button class="quiet" onclick={move |_| on_row.emit(target.clone())}><code>{ name_of(cell) }</code></button> }</td>
                <td>if !cell.scheme.is_empty() { <SchemeTag scheme={cell.scheme.clone()} family={cell.family.clone()} /> }</td>
                <td class="n">{ text::count(cell.layers) }</td>
                <td class="n" title={text::exact_size(cell.bytes)}>{ text::size(cell.bytes) }</td>
                <td class="n">{ text::percent(cell.bytes, whole) }</td>
            </tr>
        }
    });
    let ontoggle = {
        let listed = listed.clone();
        move |event: Event| listed.set(dom::is_open(&event))
    };
    html! {
        <details class="sizes-table" data-testid="size-table" {ontoggle}>
            <summary>{ "The same as a table" }</summary>
            <table class="facts">
                <thead><tr><th>{ "Module" }</th><th>{ "Scheme" }</th><th class="n">{ "Layers" }</th><th class="n">{ "Stored" }</th><th class="n">{ "Share" }</th></tr></thead>
                <tbody>if **listed { { for rows } }</tbody>
            </table>
        </details>
    }
}

fn name_of(cell: &SizeCell) -> &str {
    if cell.name.is_empty() { "smaller ones" } else { &cell.name }
}

fn words_of(cell: &SizeCell) -> String {
    let mut words = vec![name_of(cell).to_owned(), cell.scheme.clone()];
    words.retain(|word| !word.is_empty());
    words.extend([text::counted(cell.layers, "layer"), text::size(cell.bytes)]);
    words.join(" · ")
}

/// The module that holds another; empty for the whole checkpoint.
fn above(path: &str) -> String {
    path.rsplit_once('.').map_or_else(String::new, |(above, _)| above.to_owned())
}

/// As much of the end of a module path as fits; what does not is left to the tooltip.
#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn label_that_fits(name: &str, width: f64) -> Option<String> {
    // About 7 units a character at this size.
    let fits = |label: &str| width > 7.4 * label.chars().count() as f64 + 12.0;
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
    starts.filter_map(|start| name.get(start..)).find(|label| fits(label)).map(str::to_owned)
}
