//! The width of an element, for pictures whose units are pixels.

use gloo_events::EventListener;
use web_sys::Element;
use yew::{Callback, NodeRef, hook, use_effect_with, use_state_eq};

/// Width until the element is there.
const USUAL: i32 = 1000;

/// Measures the element at `node` when it appears and when the page changes size.
#[hook]
pub(crate) fn use_width(node: NodeRef) -> f64 {
    let width = use_state_eq(|| USUAL);
    let measure = {
        let (width, node) = (width.clone(), node.clone());
        Callback::from(move |()| {
            if let Some(pixels) =
                node.cast::<Element>().map(|element| element.client_width()).filter(|&pixels| pixels > 0)
            {
                width.set(pixels);
            }
        })
    };
    use_effect_with(node, move |_| {
        measure.emit(());
        let listener =
            web_sys::window().map(|page| EventListener::new(&page, "resize", move |_| measure.emit(())));
        move || drop(listener)
    });
    f64::from(*width)
}
