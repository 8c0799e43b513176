//! What form controls say, and small things of the document.

use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{
    Element, Event, FocusOptions, HtmlElement, HtmlInputElement, HtmlSelectElement, HtmlTextAreaElement,
    KeyboardEvent, SvgElement,
};

/// The text or choice of the control that an event is about.
pub(crate) fn value_of(event: &Event) -> String {
    let Some(target) = event.target() else { return String::new() };
    if let Some(input) = target.dyn_ref::<HtmlInputElement>() {
        input.value()
    } else if let Some(select) = target.dyn_ref::<HtmlSelectElement>() {
        select.value()
    } else if let Some(area) = target.dyn_ref::<HtmlTextAreaElement>() {
        area.value()
    } else {
        String::new()
    }
}

/// Whether the checkbox that an event is about is ticked.
pub(crate) fn is_checked(event: &Event) -> bool {
    event
        .target()
        .and_then(|target| target.dyn_into::<HtmlInputElement>().ok())
        .is_some_and(|input| input.checked())
}

/// Whether the details that an event is about are open.
pub(crate) fn is_open(event: &Event) -> bool {
    let element = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    element.is_some_and(|element| element.has_attribute("open"))
}

/// Whether keys belong to a control that the user types into.
pub(crate) fn is_typing(event: &KeyboardEvent) -> bool {
    event
        .target()
        .and_then(|target| target.dyn_into::<Element>().ok())
        .is_some_and(|element| matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT"))
}

/// Whether keys belong to a picture that is worked with arrows: one marked with `data-keys`.
pub(crate) fn keeps_keys(event: &KeyboardEvent) -> bool {
    event
        .target()
        .and_then(|target| target.dyn_into::<Element>().ok())
        .is_some_and(|element| matches!(element.closest("[data-keys]"), Ok(Some(_))))
}

/// Whether a key would press the control that has the focus.
pub(crate) fn is_on_control(event: &KeyboardEvent) -> bool {
    event
        .target()
        .and_then(|target| target.dyn_into::<Element>().ok())
        .is_some_and(|element| matches!(element.tag_name().as_str(), "BUTTON" | "A" | "SUMMARY"))
}

/// Moves the focus to an element of a list if the focus is in that list, without scrolling.
pub(crate) fn follow_focus(list: &HtmlElement, id: &str) {
    let Some(document) = web_sys::window().and_then(|window| window.document()) else { return };
    let target = document.get_element_by_id(id).and_then(|element| element.dyn_into::<HtmlElement>().ok());
    let inside = document.active_element().is_some_and(|focus| list.contains(Some(&focus)));
    if let Some(target) = target.filter(|target| inside && document.active_element().as_ref() != Some(target))
    {
        let options = FocusOptions::new();
        options.set_prevent_scroll(true);
        // A row that cannot take the focus leaves it where it is.
        let _ = target.focus_with_options(&options);
    }
}

/// The element that has the focus.
pub(crate) fn focused() -> Option<HtmlElement> {
    web_sys::window()?.document()?.active_element()?.dyn_into().ok()
}

/// Gives the focus back to where it was, unless the user has put it elsewhere meanwhile.
pub(crate) fn give_back(before: Option<HtmlElement>) {
    // What had the focus in between is still there; it goes before the next turn.
    spawn_local(async move {
        let lost = focused().is_none_or(|element| element.tag_name() == "BODY");
        if let Some(before) = before.filter(|element| lost && element.is_connected()) {
            // An element that cannot take the focus leaves it where it is.
            let _ = before.focus();
        }
    });
}

/// Puts the keyboard into an element.
pub(crate) fn focus(id: &str) {
    let element = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|document| document.get_element_by_id(id));
    if let Some(drawn) = element.as_ref().and_then(|element| element.dyn_ref::<SvgElement>()) {
        // As below.
        let _ = drawn.focus();
    } else if let Some(element) = element.and_then(|element| element.dyn_into::<HtmlElement>().ok()) {
        // An element that cannot take the focus leaves it where it is.
        let _ = element.focus();
        if let Some(input) = element.dyn_ref::<HtmlInputElement>() {
            input.select();
        }
    }
}
