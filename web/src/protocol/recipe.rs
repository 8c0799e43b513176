//! Recipes as files: the worker knows their form.

use quantscope_session::api::ConvertRequest;
use serde::{Deserialize, Serialize};

/// What the page asks of recipes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RecipeRequest {
    /// Write one. Attached to the reply: the blob.
    Write(Box<ConvertRequest>),
    /// Read one. Attached: the `File`.
    Read,
}

/// What the worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum RecipeReply {
    /// The name for the attached blob.
    Written {
        /// File name.
        file: String,
    },
    /// What the recipe says.
    Read(Box<ConvertRequest>),
}
