//! Nodes of the document that are kept, and written to only where they are to say something else.
//!
//! For what changes with every frame while the user scrolls; all else is drawn by components. What is written is
//! text and attributes, never markup.

use wasm_bindgen::JsValue;
use web_sys::{Document, Element, Text};

/// The document.
///
/// # Errors
/// Where there is none, which no page is.
pub(crate) fn document() -> Result<Document, JsValue> {
    web_sys::window().and_then(|window| window.document()).ok_or(JsValue::NULL)
}

/// A new element with a class, at the end of another.
///
/// # Errors
/// What the browser says.
pub(crate) fn add(to: &Element, tag: &str, class: &str) -> Result<Element, JsValue> {
    let element = document()?.create_element(tag)?;
    element.set_class_name(class);
    to.append_child(&element)?;
    Ok(element)
}

/// A text in the document.
#[derive(Debug)]
pub(crate) struct Words {
    node: Text,
    says: String,
}

impl Words {
    /// An empty text at the end of an element.
    ///
    /// # Errors
    /// What the browser says.
    pub(crate) fn new(within: &Element) -> Result<Self, JsValue> {
        let node = document()?.create_text_node("");
        within.append_child(&node)?;
        Ok(Self { node, says: String::new() })
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
    /// The attribute of this name.
    pub(crate) fn new(of: &Element, name: &'static str) -> Self {
        Self { of: of.clone(), name, value: None }
    }

    /// Gives it a value, or takes it away.
    ///
    /// # Errors
    /// What the browser says.
    pub(crate) fn set(&mut self, value: Option<&str>) -> Result<(), JsValue> {
        if self.value.as_deref() == value {
            return Ok(());
        }
        match value {
            Some(value) => self.of.set_attribute(self.name, value)?,
            None => self.of.remove_attribute(self.name)?,
        }
        self.value = value.map(str::to_owned);
        Ok(())
    }
}
