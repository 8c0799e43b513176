//! Weights or block scales of a layer as a picture that zooms to single values: by wheel, by touch, by keys.

use crate::hooks::{Fingers, use_wheel};
use crate::services::heat;
use crate::state::area::Area;
use crate::state::load::Shared;
use crate::state::looking::Look;
use crate::state::text;
use quantscope_session::api::HeatTile;
use web_sys::{Element, HtmlCanvasElement};
use yew::{
    AttrValue, Callback, Html, KeyboardEvent, MouseEvent, NodeRef, PointerEvent, Properties, classes,
    component, html, use_effect_with, use_mut_ref, use_node_ref, use_state_eq,
};

/// Properties of [`HeatMap`].
#[derive(Properties, PartialEq)]
pub(crate) struct HeatMapProps {
    /// The picture, or that of the part before.
    pub(crate) tile: Shared<Option<HeatTile>>,
    /// The part in sight.
    pub(crate) area: Area,
    /// Whether block scales are in sight.
    pub(crate) scales: bool,
    /// Whether there are block scales.
    pub(crate) has_scales: bool,
    /// Family of the scheme, for the colour.
    pub(crate) family: AttrValue,
    /// Whether the page is dark: the picture is drawn anew when that changes.
    pub(crate) dark: bool,
    /// What the user does.
    pub(crate) on_look: Callback<Look>,
}

/// A place on the picture in rows and columns.
fn place_of(node: &NodeRef, (x, y): (f64, f64), area: Area) -> Option<(u64, u64)> {
    let frame = node.cast::<Element>()?.get_bounding_client_rect();
    let part = |at: f64, from: f64, length: f64| ((at - from) / length.max(1.0)).clamp(0.0, 0.999_999);
    let (right, down) = (part(x, frame.left(), frame.width()), part(y, frame.top(), frame.height()));
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "pixels"
    )]
    let index = |part: f64, first: u64, length: u64| first + (part * length as f64) as u64;
    Some((index(down, area.row, area.rows), index(right, area.col, area.cols)))
}

/// The cell that holds a row and column: its first row and column, their numbers, and its value.
fn cell_at(tile: &HeatTile, (row, col): (u64, u64)) -> Option<(Area, f32)> {
    let side = |at: u64, first: u64, length: u64, cells: u64| {
        let within = at.checked_sub(first).filter(|within| *within < length)?;
        // The cell whose bounds, rounded down, hold the place.
        let cell = (0..=(within.checked_add(1)?.checked_mul(cells)? / length.max(1))
            .min(cells.saturating_sub(1)))
            .rev()
            .find(|cell| cell * length / cells <= within)?;
        let begin = cell * length / cells;
        Some((cell, first + begin, (cell + 1) * length / cells - begin))
    };
    let (down, row, rows) = side(row, tile.row, tile.rows, tile.down)?;
    let (across, col, cols) = side(col, tile.col, tile.cols, tile.across)?;
    let value = tile.cells.get(usize::try_from(down * tile.across + across).ok()?)?;
    Some((Area { row, col, rows, cols }, *value))
}

fn span(word: &str, first: u64, length: u64) -> String {
    if length <= 1 {
        format!("{word} {}", text::count(first))
    } else {
        format!("{word}s {}–{}", text::count(first), text::count(first + length - 1))
    }
}

/// The picture with its keys and legend.
#[component]
pub(crate) fn HeatMap(props: &HeatMapProps) -> Html {
    let canvas = use_node_ref();
    let cursor = use_state_eq(|| None::<(u64, u64)>);
    let grabbed = use_mut_ref(|| None::<((f64, f64), Area)>);
    let fingers = use_mut_ref(Fingers::default);
    let Some(tile) = &*props.tile else {
        return html! { <p class="faint">{ "Nothing that could be drawn." }</p> };
    };
    let all = (tile.all_rows, tile.all_cols);
    let area = props.area.within(all);
    let at = cursor.map(|(row, col)| (row.min(all.0.saturating_sub(1)), col.min(all.1.saturating_sub(1))));
    {
        let (tile, at) = (props.tile.clone(), at);
        use_effect_with((canvas.clone(), props.tile.clone(), area, at, props.dark), move |(canvas, ..)| {
            let drawn = canvas.cast::<HtmlCanvasElement>().zip(tile.as_ref());
            if let Some(Err(error)) = drawn.map(|(canvas, tile)| heat::draw(&canvas, tile, area, at)) {
                web_sys::console::warn_1(&error);
            }
        });
    }
    let to = props.on_look.reform(Look::Area);
    {
        let (to, node) = (to.clone(), canvas.clone());
        use_wheel(canvas.clone(), move |inward, place| {
            if let Some(at) = place_of(&node, place, area) {
                to.emit(area.zoomed(inward, at, all));
            }
        });
    }
    let middle = at.unwrap_or((area.row + area.rows / 2, area.col + area.cols / 2));
    let onkeydown = {
        let (cursor, to, on_look) = (cursor.clone(), to.clone(), props.on_look.clone());
        let step = tile_step(tile, area);
        let scales = props.scales;
        Callback::from(move |event: KeyboardEvent| {
            let next = match event.key().as_str() {
                "ArrowLeft" => (middle.0, middle.1.saturating_sub(step.1)),
                "ArrowRight" => (middle.0, middle.1.saturating_add(step.1).min(all.1.saturating_sub(1))),
                "ArrowUp" => (middle.0.saturating_sub(step.0), middle.1),
                "ArrowDown" => (middle.0.saturating_add(step.0).min(all.0.saturating_sub(1)), middle.1),
                "+" | "=" => return to.emit(area.zoomed(true, middle, all)),
                "-" => return to.emit(area.zoomed(false, middle, all)),
                "0" => return to.emit(Area::default()),
                "Enter" if !scales => {
                    event.prevent_default();
                    return on_look.emit(Look::Block { row: middle.0, col: middle.1 });
                }
                _ => return,
            };
            event.prevent_default();
            cursor.set(Some(next));
            let held = area.holding(next, all);
            if held != area {
                to.emit(held);
            }
        })
    };
    let onpointerdown = {
        let (grabbed, cursor, node) = (grabbed.clone(), cursor.clone(), canvas.clone());
        let fingers = fingers.clone();
        Callback::from(move |event: PointerEvent| {
            let place = (f64::from(event.client_x()), f64::from(event.client_y()));
            let mut fingers = fingers.borrow_mut();
            fingers.put(event.pointer_id(), place);
            // Two fingers zoom and do not move the picture.
            *grabbed.borrow_mut() = (!fingers.are_two()).then_some((place, area));
            cursor.set(place_of(&node, place, area));
            if let Some(element) = node.cast::<Element>() {
                // Without capture the drag ends at the edge, nothing worse.
                let _ = element.set_pointer_capture(event.pointer_id());
            }
        })
    };
    let onpointermove = {
        let (grabbed, cursor, to, node) = (grabbed.clone(), cursor.clone(), to.clone(), canvas.clone());
        let fingers = fingers.clone();
        Callback::from(move |event: PointerEvent| {
            let place = (f64::from(event.client_x()), f64::from(event.client_y()));
            let pinched = fingers.borrow_mut().moved(event.pointer_id(), place);
            if let Some((inward, middle)) = pinched {
                if let Some(at) = place_of(&node, middle, area) {
                    to.emit(area.zoomed(inward, at, all));
                }
                return;
            }
            match *grabbed.borrow() {
                Some((from, began)) => {
                    let frame = node.cast::<Element>().map(|element| element.get_bounding_client_rect());
                    let Some(frame) = frame else { return };
                    let steps = |pixels: f64, length: u64, size: f64| {
                        #[expect(
                            clippy::cast_precision_loss,
                            clippy::cast_possible_truncation,
                            reason = "pixels"
                        )]
                        let steps = (pixels * length as f64 / size.max(1.0)).round() as i64;
                        steps
                    };
                    let down = steps(from.1 - place.1, began.rows, frame.height());
                    let right = steps(from.0 - place.0, began.cols, frame.width());
                    let next = began.moved(down, right, all);
                    if next != area {
                        to.emit(next);
                    }
                }
                None if event.pointer_type() == "mouse" => cursor.set(place_of(&node, place, area)),
                None => {}
            }
        })
    };
    let release = {
        let grabbed = grabbed.clone();
        Callback::from(move |event: PointerEvent| {
            *grabbed.borrow_mut() = None;
            fingers.borrow_mut().lift(event.pointer_id());
        })
    };
    let ondblclick = {
        let (to, node) = (to.clone(), canvas.clone());
        Callback::from(move |event: MouseEvent| {
            let place = (f64::from(event.client_x()), f64::from(event.client_y()));
            if let Some(at) = place_of(&node, place, area) {
                to.emit(area.zoomed(true, at, all));
            }
        })
    };
    let button = |word: &'static str, label: &'static str, id: &'static str, area: Area| {
        let to = to.clone();
        html! { <button class="square" aria-label={label} data-testid={id} onclick={move |_| to.emit(area)}>{ word }</button> }
    };
    html! {
        <figure class="picture">
            <div class="heat-tools">
                if props.has_scales {
                    <span class="choice" role="group" aria-label="What is drawn">
                        { for [(false, "Weights", "heat-weights"), (true, "Block scales", "heat-scales")].map(|(scales, word, id)| html! {
                            <button class={classes!("toggle", (props.scales == scales).then_some("on"))} aria-pressed={(props.scales == scales).to_string()} data-testid={id}
                                onclick={props.on_look.reform(move |_| Look::Scales(scales))}>{ word }</button>
                        }) }
                    </span>
                }
                <span class="grow" />
                { button("−", "Zoom out", "heat-out", area.zoomed(false, middle, all)) }
                { button("+", "Zoom in", "heat-in", area.zoomed(true, middle, all)) }
                <button onclick={to.reform(|_| Area::default())} disabled={area == Area::default().within(all)}>{ "All" }</button>
            </div>
            <canvas ref={canvas} class={classes!("heat", format!("ink-{}", props.family))} data-keys="arrows" data-testid="heat-map" tabindex="0" role="application"
                data-exact={tile.exact.to_string()} data-area={format!("{},{},{},{}", area.row, area.col, area.rows, area.cols)}
                aria-label={format!("Heat map of {} rows by {} columns. Arrows move, plus and minus zoom, 0 shows all, Enter shows the block.", text::count(all.0), text::count(all.1))}
                {onkeydown} {onpointerdown} {onpointermove} onpointerup={release.clone()} onpointercancel={release} {ondblclick} />
            <figcaption class="spread" aria-live="polite" data-testid="heat-readout">{ readout(tile, at) }</figcaption>
            { legend(props, tile, area) }
            if let Some((row, col)) = at.filter(|_| !props.scales) {
                <button class="quiet" data-testid="heat-block" onclick={props.on_look.reform(move |_| Look::Block { row, col })}>{ "Show the block at this place" }</button>
            }
        </figure>
    }
}

/// Rows and columns that one step of the keyboard goes: those of a cell.
fn tile_step(tile: &HeatTile, area: Area) -> (u64, u64) {
    let step = |length: u64, cells: u64| (length / cells.max(1)).max(1);
    (step(area.rows, tile.down), step(area.cols, tile.across))
}

/// What the cell under the pointer, or under the keyboard, says.
fn readout(tile: &HeatTile, at: Option<(u64, u64)>) -> Html {
    let Some((cell, value)) = at.and_then(|at| cell_at(tile, at)) else {
        return html! { <span class="faint">{ "Point at a cell, or use the arrows. Click, then the wheel zooms." }</span> };
    };
    let place = format!("{}, {}", span("row", cell.row, cell.rows), span("column", cell.col, cell.cols));
    let what = if tile.exact { "" } else { "rms " };
    let value = if value.is_nan() { "NaN".to_owned() } else { value.to_string() };
    html! { <><span>{ place }</span><b class="n">{ what }{ value }</b></> }
}

fn legend(props: &HeatMapProps, tile: &HeatTile, area: Area) -> Html {
    let low = if tile.scales { tile.low } else { 0.0 };
    let what = match (tile.exact, tile.whole) {
        (true, _) => "single values".to_owned(),
        (false, true) => "root mean square of each cell".to_owned(),
        (false, false) => "root mean square of some rows of each cell".to_owned(),
    };
    let family = format!("ink-{}", props.family);
    html! {
        <>
            <figcaption class="spread"><span>{ format!("{} of {} × {} of {}", text::count(area.rows), text::count(tile.all_rows), text::count(area.cols), text::count(tile.all_cols)) }</span><span>{ what }</span></figcaption>
            <figcaption>
                <span title={low.to_string()}>{ text::number(f64::from(low)) }</span>
                <svg class={classes!("ramp", family)} viewBox="0 0 16 1" preserveAspectRatio="none" aria-hidden="true">
                    { for (0..16).map(|step| html! { <rect x={step.to_string()} y="0" width="1.05" height="1" fill="currentColor"
                        fill-opacity={format!("{:.2}", 0.06 + 0.94 * f64::from(step) / 15.0)} /> }) }
                </svg>
                <span title={tile.high.to_string()}>{ text::number(f64::from(tile.high)) }</span>
                <span class="faint">{ if tile.scales { "log scale; blank: NaN" } else if tile.exact { "other hue and dash: below 0; blank: NaN" } else { "blank: NaN" } }</span>
            </figcaption>
        </>
    }
}

#[cfg(test)]
mod tests {
    use super::{Area, HeatTile, cell_at};

    #[test]
    fn a_place_belongs_to_the_cell_whose_bounds_hold_it() {
        // Five columns in two cells: the session cuts them at 0, 2 and 5.
        let tile = HeatTile {
            row: 10,
            col: 100,
            rows: 2,
            cols: 5,
            down: 2,
            across: 2,
            cells: vec![0.0, 1.0, 2.0, 3.0],
            ..HeatTile::default()
        };
        let values: Vec<f32> = (100..105).map(|col| cell_at(&tile, (11, col)).unwrap().1).collect();
        assert_eq!(values, [2.0, 2.0, 3.0, 3.0, 3.0]);
        let (area, _) = cell_at(&tile, (10, 104)).unwrap();
        assert_eq!(area, Area { row: 10, col: 102, rows: 1, cols: 3 });
        assert!(
            [(9, 100), (12, 100), (10, 99), (10, 105)].into_iter().all(|at| cell_at(&tile, at).is_none())
        );
    }
}
