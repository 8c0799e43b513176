//! Draws errors on a canvas: the stronger a cell, the larger its error, by logarithms.

use quantscope_session::api::ErrorMap;
use wasm_bindgen::{Clamped, JsCast, JsValue};
use web_sys::{CanvasRenderingContext2d, HtmlCanvasElement, ImageData};

/// Opacity of the smallest error; what has none, or was not read, is empty.
pub(super) const FAINTEST: f32 = 0.10;

/// Draws the map in the text colour of the canvas, one pixel a cell; the style sheet makes it larger.
///
/// # Errors
/// What the browser says.
pub(crate) fn errors(
    canvas: &HtmlCanvasElement,
    map: &ErrorMap,
    (low, high): (f32, f32),
) -> Result<(), JsValue> {
    if map.rows == 0 || map.cols == 0 {
        return Ok(());
    }
    canvas.set_width(map.cols);
    canvas.set_height(map.rows);
    let (red, green, blue) = text_colour(canvas).unwrap_or((90, 90, 90));
    let pixels: Vec<u8> =
        map.cells.iter().flat_map(|cell| [red, green, blue, alpha(*cell, low, high)]).collect();
    let context: CanvasRenderingContext2d =
        canvas.get_context("2d")?.ok_or("no drawing context")?.unchecked_into();
    let image = ImageData::new_with_u8_clamped_array_and_sh(Clamped(&pixels), map.cols, map.rows)?;
    context.put_image_data(&image, 0.0, 0.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value lies between 0 and 255"
)]
fn alpha(cell: f32, low: f32, high: f32) -> u8 {
    if !cell.is_finite() || cell <= 0.0 {
        return 0;
    }
    let steps = (high / low).log2();
    let part = if steps > 0.0 { ((cell / low).log2() / steps).clamp(0.0, 1.0) } else { 1.0 };
    ((FAINTEST + (1.0 - FAINTEST) * part) * 255.0) as u8
}

/// The colour that the style sheet gives the canvas, as `rgb(r, g, b)`.
fn text_colour(canvas: &HtmlCanvasElement) -> Option<(u8, u8, u8)> {
    let style = web_sys::window()?.get_computed_style(canvas).ok()??;
    let colour = style.get_property_value("color").ok()?;
    let mut parts =
        colour.strip_prefix("rgb(")?.strip_suffix(')')?.split(',').map(|part| part.trim().parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::alpha;

    #[test]
    fn larger_errors_are_stronger_and_none_is_empty() {
        assert_eq!(alpha(f32::NAN, 1.0, 4.0), 0);
        assert_eq!(alpha(0.0, 1.0, 4.0), 0);
        assert_eq!(alpha(1.0, 1.0, 4.0), 25);
        assert_eq!(alpha(4.0, 1.0, 4.0), 255);
        assert_eq!(alpha(2.0, 1.0, 4.0), 140, "half-way by logarithms");
        assert_eq!(alpha(3.0, 3.0, 3.0), 255, "one error everywhere is full");
    }
}
