//! What components share that has to do with the document: custom properties, windows of rows, keys.

mod fingers;
mod use_css_vars;
mod use_row_window;
mod use_shortcuts;
mod use_wheel;
mod use_width;

pub(crate) use fingers::Fingers;
use use_css_vars::use_css_vars;
pub(crate) use use_row_window::{RowWindow, use_row_places, use_row_window};
pub(crate) use use_shortcuts::use_shortcuts;
pub(crate) use use_wheel::use_wheel;
pub(crate) use use_width::use_width;
