//! Sets custom properties of an element through the object model, which a strict content security policy allows
//! where it forbids style attributes.

use web_sys::HtmlElement;
use yew::{NodeRef, hook, use_effect_with};

/// Keeps custom properties of an element at these values.
#[hook]
pub(super) fn use_css_vars(node: NodeRef, values: Vec<(&'static str, String)>) {
    use_effect_with((node, values), |(node, values)| {
        if let Some(element) = node.cast::<HtmlElement>() {
            for (name, value) in values {
                // A property of ours with a number of ours: there is nothing to refuse.
                let _ = element.style().set_property(name, value);
            }
        }
    });
}
