//! Where the errors of a layer are, as a picture: rows of the weight down, columns across.

use crate::services::error_paint;
use quantscope_session::api::ErrorMap;
use web_sys::HtmlCanvasElement;
use yew::{AttrValue, Html, Properties, classes, component, html, use_effect_with, use_node_ref};

/// Properties of [`ErrorPicture`].
#[derive(Properties, PartialEq)]
pub(crate) struct ErrorPictureProps {
    /// The errors.
    pub(crate) map: ErrorMap,
    /// Least and largest error of all pictures that stand side by side.
    pub(crate) range: (f32, f32),
    /// Family of the scheme, for the colour.
    pub(crate) family: AttrValue,
    /// What the picture shows, in words.
    pub(crate) words: AttrValue,
    /// Whether the page is dark: the picture is drawn anew when that changes.
    pub(crate) dark: bool,
}

/// The picture. Errors are drawn as logarithms, on one scale for all schemes.
#[component]
pub(crate) fn ErrorPicture(props: &ErrorPictureProps) -> Html {
    let canvas = use_node_ref();
    // Cells hold NaN, which equals nothing; the drawing depends on their bits instead.
    let bits: Vec<u32> = props.map.cells.iter().map(|cell| cell.to_bits()).collect();
    let (map, range) = (props.map.clone(), props.range);
    let range_bits = (range.0.to_bits(), range.1.to_bits());
    use_effect_with((canvas.clone(), bits, range_bits, props.dark), move |(canvas, ..)| {
        let drawn =
            canvas.cast::<HtmlCanvasElement>().map(|canvas| error_paint::errors(&canvas, &map, range));
        if let Some(Err(error)) = drawn {
            web_sys::console::warn_1(&error);
        }
    });
    let family = format!("ink-{}", props.family);
    html! { <canvas ref={canvas} class={classes!("errors", family)} role="img" aria-label={props.words.clone()} /> }
}

/// Least and largest error of some pictures, for a scale that all of them share.
pub(crate) fn common_range<'m>(maps: impl Iterator<Item = &'m ErrorMap>) -> (f32, f32) {
    let cells = maps.flat_map(|map| map.cells.iter().copied()).filter(|cell| *cell > 0.0);
    let (low, high) =
        cells.fold((f32::INFINITY, 0.0_f32), |(low, high), cell| (low.min(cell), high.max(cell)));
    if low <= high { (low, high) } else { (1.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::{ErrorMap, common_range};

    #[test]
    fn one_scale_serves_all_pictures() {
        let map = |cells: &[f32]| ErrorMap { rows: 1, cols: 3, cells: cells.to_vec() };
        let maps = [map(&[0.5, f32::NAN, 0.0]), map(&[2.0, 0.25, 1.0])];
        assert_eq!(common_range(maps.iter()), (0.25, 2.0));
        assert_eq!(common_range([map(&[0.0])].iter()), (1.0, 1.0));
    }
}
