//! Looking around: the layers as tree or list, where the bytes are, and parts of one layer.

use quantscope_session::api::{Block, HeatQuery, HeatTile, SizeView, TreePage, TreeQuery};
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
    /// A part of a layer as a picture.
    Heat(HeatQuery),
    /// A block of a layer.
    Block {
        /// Layer.
        name: String,
        /// Row.
        row: u64,
        /// Column of any of its weights.
        col: u64,
    },
}

/// What the worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ExploreReply {
    /// To [`ExploreRequest::Tree`].
    Tree(TreePage),
    /// To [`ExploreRequest::Size`]; `None` if there is no such module.
    Size(Option<SizeView>),
    /// To [`ExploreRequest::Heat`]; `None` if there is nothing to draw.
    Heat(Option<HeatTile>),
    /// To [`ExploreRequest::Block`]; `None` if nothing decodes.
    Block(Option<Block>),
}
