//! Nodes of the document that are kept, and written to only where they are to say something else.
//!
//! For what changes with every frame while the user scrolls; all else is drawn by components. What is written is
//! text and attributes, never markup.

use web_sys::{Document, Element, Node, Text};

/// The document.
pub(crate) fn document() -> Document {
    let document = web_sys::window().and_then(|window| window.document());
    document.unwrap_or_else(|| wasm_bindgen::throw_str("a page without a document"))
}

/// A new element with a class, at the end of another.
pub(crate) fn add(to: &Element, tag: &str, class: &str) -> Element {
    // The tags are ours: there is nothing to refuse.
    let element = document().create_element(tag).unwrap_or_else(|error| wasm_bindgen::throw_val(error));
    element.set_class_name(class);
    put(to, &element);
    element
}

/// Puts a node at the end of an element, which every browser can.
pub(crate) fn put(into: &Element, node: &Node) {
    let _ = into.append_child(node);
}

/// A text in the document.
#[derive(Debug)]
pub(crate) struct Words {
    node: Text,
    says: String,
}

impl Words {
    /// An empty text at the end of an element.
    pub(crate) fn new(within: &Element) -> Self {
        let node = document().create_text_node("");
        put(within, &node);
        Self { node, says: String::new() }
    }

    /// Says this from now on.
    pub(crate) fn say(&mut self, words: &str) {
        if self.says != words {
            self.node.set_node_value(Some(words));
            words.clone_into(&mut self.says);
        }
    }
}

/// An attribute of an element, which has not got it at first.
#[derive(Debug)]
pub(crate) struct Attribute {
    of: Element,
    name: &'static str,
    value: Option<String>,
}

impl Attribute {
    /// Sets one that stays as it is.
    pub(crate) fn fix(of: &Element, name: &'static str, value: &str) {
        // A name of ours: there is nothing to refuse.
        let _ = of.set_attribute(name, value);
    }

    /// The attribute of this name.
    pub(crate) fn new(of: &Element, name: &'static str) -> Self {
        Self { of: of.clone(), name, value: None }
    }

    /// Gives it a value, or takes it away.
    pub(crate) fn set(&mut self, value: Option<&str>) {
        if self.value.as_deref() == value {
            return;
        }
        // As for one that stays.
        let _ = match value {
            Some(value) => self.of.set_attribute(self.name, value),
            None => self.of.remove_attribute(self.name),
        };
        self.value = value.map(str::to_owned);
    }
}
