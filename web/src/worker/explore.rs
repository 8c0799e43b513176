//! Answers what is asked while the user looks around.

use super::desk::{Answer, Desk};
use crate::protocol::{ExploreReply, ExploreRequest, Reply, RequestId};

impl Desk {
    /// Answers from headers at once, from bytes as they are read.
    pub(super) async fn explore(&self, id: RequestId, request: ExploreRequest) -> Answer {
        let session = self.session()?;
        let reply = match request {
            ExploreRequest::Tree(query) => ExploreReply::Tree(session.tree(&query)),
            ExploreRequest::Heat(query) => {
                let control = self.jobs.begin(id);
                ExploreReply::Heat(session.heat(&query, &control).await?)
            }
            ExploreRequest::Block { name, row, col } => {
                ExploreReply::Block(session.block(&name, row, col).await?)
            }
            ExploreRequest::Size { path } => ExploreReply::Size(session.size_view(&path)),
        };
        Ok((Reply::Explore(reply), Vec::new()))
    }
}
