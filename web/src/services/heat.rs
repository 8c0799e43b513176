//! Draws a part of a layer on a canvas: the stronger a cell, the larger its value. Values below zero have another
//! hue and a dash; numbers are written where there is room.

use crate::state::area::Area;
use crate::state::text;
use quantscope_session::api::HeatTile;
use wasm_bindgen::{Clamped, JsCast, JsValue};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};

/// Opacity of the smallest value; what is NaN has none.
pub(super) const FAINTEST: f32 = 0.06;
/// Pixels from which on a cell below zero has a dash, and those from which on a number is written in it.
const DASH: f64 = 7.0;
const NUMBER: (f64, f64) = (42.0, 15.0);

/// Where a cell lies between the faintest and the strongest: block scales by their logarithm, weights by magnitude.
fn strength(tile: &HeatTile, value: f32) -> f32 {
    let magnitude = value.abs();
    let part = if tile.scales {
        let (low, high) = (tile.low.log2(), tile.high.log2());
        if high > low { (magnitude.log2() - low) / (high - low) } else { 1.0 }
    } else if tile.high > 0.0 {
        magnitude / tile.high
    } else {
        0.0
    };
    if magnitude == 0.0 { 0.0 } else { part.clamp(0.0, 1.0) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value lies between 0 and 255"
)]
fn alpha(tile: &HeatTile, value: f32) -> u8 {
    if value.is_nan() { 0 } else { ((FAINTEST + (1.0 - FAINTEST) * strength(tile, value)) * 255.0) as u8 }
}

/// Draws the cells of `tile` that lie in `area`, and the place of the keyboard.
///
/// # Errors
/// What the browser says.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixels"
)]
pub(crate) fn draw(
    canvas: &HtmlCanvasElement,
    tile: &HeatTile,
    area: Area,
    cursor: Option<(u64, u64)>,
) -> Result<(), JsValue> {
    let (Ok(down), Ok(across)) = (u32::try_from(tile.down), u32::try_from(tile.across)) else {
        return Ok(());
    };
    if down == 0 || across == 0 || tile.cells.len() as u64 != tile.down.saturating_mul(tile.across) {
        return Ok(());
    }
    let sharp = web_sys::window().map_or(1.0, |window| window.device_pixel_ratio()).clamp(1.0, 3.0);
    let (width, height) = (f64::from(canvas.client_width()), f64::from(canvas.client_height()));
    canvas.set_width((width * sharp) as u32);
    canvas.set_height((height * sharp) as u32);
    let colours = Colours::of(canvas);
    let context = context_of(canvas)?;
    context.scale(sharp, sharp)?;
    context.set_image_smoothing_enabled(false);
    // The picture may be of the part that was in sight before: it is drawn where it belongs.
    let area = area.within((tile.all_rows, tile.all_cols));
    let step = (width / area.cols.max(1) as f64, height / area.rows.max(1) as f64);
    let place = |row: u64, col: u64| {
        ((col as f64 - area.col as f64) * step.0, (row as f64 - area.row as f64) * step.1)
    };
    let (left, top) = place(tile.row, tile.col);
    let cells = cells_of(canvas, tile, &colours, (across, down))?;
    let size = (tile.cols as f64 * step.0, tile.rows as f64 * step.1);
    context.draw_image_with_html_canvas_element_and_dw_and_dh(&cells, left, top, size.0, size.1)?;
    if tile.exact && step.0 >= DASH && step.1 >= DASH {
        write_cells(&context, tile, step, (left, top), (width, height), &colours)?;
    }
    if let Some((row, col)) = cursor {
        let (x, y) = place(row, col);
        let (cell_width, cell_height) = (size.0 / f64::from(across), size.1 / f64::from(down));
        context.set_stroke_style_str(&colours.ink);
        context.set_line_width(1.5);
        context.stroke_rect(x, y, cell_width.max(step.0).max(3.0), cell_height.max(step.1).max(3.0));
    }
    Ok(())
}

fn context_of(canvas: &HtmlCanvasElement) -> Result<CanvasRenderingContext2d, JsValue> {
    Ok(canvas.get_context("2d")?.ok_or("no drawing context")?.unchecked_into())
}

/// The cells on a canvas of their own, one pixel each.
fn cells_of(
    canvas: &HtmlCanvasElement,
    tile: &HeatTile,
    colours: &Colours,
    (across, down): (u32, u32),
) -> Result<HtmlCanvasElement, JsValue> {
    let document = canvas.owner_document().ok_or("no document")?;
    let cells: HtmlCanvasElement = document.create_element("canvas")?.unchecked_into();
    cells.set_width(across);
    cells.set_height(down);
    let pixel = |value: &f32| {
        let (red, green, blue) = if *value < 0.0 { colours.below } else { colours.above };
        [red, green, blue, alpha(tile, *value)]
    };
    let pixels: Vec<u8> = tile.cells.iter().flat_map(pixel).collect();
    let image = ImageData::new_with_u8_clamped_array_and_sh(Clamped(&pixels), across, down)?;
    context_of(&cells)?.put_image_data(&image, 0.0, 0.0)?;
    Ok(cells)
}

/// Writes numbers into cells that are large enough, and a dash into those below zero that are smaller.
#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn write_cells(
    context: &CanvasRenderingContext2d,
    tile: &HeatTile,
    step: (f64, f64),
    (left, top): (f64, f64),
    (width, height): (f64, f64),
    colours: &Colours,
) -> Result<(), JsValue> {
    let numbers = step.0 >= NUMBER.0 && step.1 >= NUMBER.1;
    context.set_font("11px ui-monospace, Menlo, Consolas, monospace");
    context.set_text_align("center");
    context.set_text_baseline("middle");
    for (index, value) in (0_u64..).zip(&tile.cells) {
        let (x, y) = (left + (index % tile.cols) as f64 * step.0, top + (index / tile.cols) as f64 * step.1);
        if x + step.0 < 0.0 || y + step.1 < 0.0 || x > width || y > height || (!numbers && *value >= 0.0) {
            continue;
        }
        let strong = strength(tile, *value) > 0.55;
        context.set_fill_style_str(if strong { &colours.paper } else { &colours.ink });
        if numbers {
            let number = text::number(f64::from(*value));
            context.fill_text_with_max_width(&number, x + step.0 / 2.0, y + step.1 / 2.0, step.0 - 4.0)?;
        } else if *value < 0.0 {
            context.fill_rect(x + step.0 * 0.3, y + step.1 / 2.0 - 0.5, step.0 * 0.4, 1.0);
        }
    }
    Ok(())
}

/// Colours that the style sheet gives the canvas: for values above zero its text colour, for those below zero the
/// colour of its decoration, for words those of its outline and background.
struct Colours {
    above: (u8, u8, u8),
    below: (u8, u8, u8),
    ink: String,
    paper: String,
}

impl Colours {
    fn of(canvas: &HtmlCanvasElement) -> Self {
        let style = web_sys::window().and_then(|window| window.get_computed_style(canvas).ok()?);
        let value = |name: &str| style.as_ref().and_then(|style| style.get_property_value(name).ok());
        let rgb = |name: &str| value(name).and_then(|colour| parts_of(&colour));
        Self {
            above: rgb("color").unwrap_or((90, 90, 90)),
            below: rgb("text-decoration-color").unwrap_or((160, 98, 9)),
            ink: value("caret-color").unwrap_or_else(|| "black".into()),
            paper: value("background-color").unwrap_or_else(|| "white".into()),
        }
    }
}

/// The parts of a colour written `rgb(r, g, b)`.
fn parts_of(colour: &str) -> Option<(u8, u8, u8)> {
    let mut parts =
        colour.strip_prefix("rgb(")?.strip_suffix(')')?.split(',').map(|part| part.trim().parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::{HeatTile, alpha};

    #[test]
    fn larger_values_are_stronger_and_nan_is_blank() {
        let weights = HeatTile { high: 2.0, low: 0.5, ..HeatTile::default() };
        assert_eq!(
            [f32::NAN, 0.0, 2.0, -2.0, f32::INFINITY].map(|v| alpha(&weights, v)),
            [0, 15, 255, 255, 255]
        );
        assert!(alpha(&weights, -1.0) > alpha(&weights, 0.5));
        // Block scales by their logarithm: halfway between 1 and 16 is 4.
        let scales = HeatTile { scales: true, high: 16.0, low: 1.0, ..HeatTile::default() };
        assert_eq!([1.0, 16.0, 0.0].map(|v| alpha(&scales, v)), [15, 255, 15]);
        assert_eq!(alpha(&scales, 4.0), 135);
        let alike = HeatTile { scales: true, high: 3.0, low: 3.0, ..HeatTile::default() };
        assert_eq!(alpha(&alike, 3.0), 255, "one scale everywhere is full");
    }
}
