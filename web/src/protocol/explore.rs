//! Looking around: the layers as tree or list, and where the bytes are.

use quantscope_session::api::{SizeView, TreePage, TreeQuery};
use serde::{Deserialize, Serialize};

/// What the page asks while the user looks around.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ExploreRequest {
    /// A window of the tree, or of the flat list.
    Tree(TreeQuery),
    /// Where the bytes of a module are.
    Size {
        /// Its path.
        path: String,
    },
}

/// What the worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ExploreReply {
    /// To [`ExploreRequest::Tree`].
    Tree(TreePage),
    /// To [`ExploreRequest::Size`]; `None` if there is no such module.
    Size(Option<SizeView>),
}
