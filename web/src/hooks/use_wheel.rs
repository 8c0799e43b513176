//! The wheel over a picture: zooms while the picture has the focus, or with Ctrl as a trackpad's pinch has it. Else
//! it scrolls the page, which nobody wants to be caught on the way.

use gloo_events::{EventListener, EventListenerOptions};
use wasm_bindgen::JsCast;
use web_sys::{Element, WheelEvent};
use yew::{NodeRef, hook, use_effect};

/// Calls `zoom` with the direction and the place of the pointer.
#[hook]
pub(crate) fn use_wheel(node: NodeRef, zoom: impl Fn(bool, (f64, f64)) + 'static) {
    use_effect(move || {
        let listener = node.cast::<Element>().map(|element| {
            let options = EventListenerOptions::enable_prevent_default();
            EventListener::new_with_options(&element.clone(), "wheel", options, move |event| {
                let Some(event) = event.dyn_ref::<WheelEvent>() else { return };
                let focused = element.owner_document().and_then(|document| document.active_element());
                if event.ctrl_key() || focused.as_ref() == Some(&element) {
                    event.prevent_default();
                    zoom(event.delta_y() < 0.0, (f64::from(event.client_x()), f64::from(event.client_y())));
                }
            })
        });
        move || drop(listener)
    });
}
