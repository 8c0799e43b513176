//! Answers what is asked while the user looks around.

use super::desk::{Answer, Desk};
use crate::protocol::{ExploreReply, ExploreRequest, Reply};

impl Desk {
    /// Answers from headers, at once.
    pub(super) fn explore(&self, request: ExploreRequest) -> Answer {
        let session = self.session()?;
        let reply = match request {
            ExploreRequest::Tree(query) => ExploreReply::Tree(session.tree(&query)),
            ExploreRequest::Size { path } => ExploreReply::Size(session.size_view(&path)),
        };
        Ok((Reply::Explore(reply), Vec::new()))
    }
}
