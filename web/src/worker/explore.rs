//! Answers what is asked of bytes while the user looks around.

use super::desk::Desk;
use crate::protocol::{ExploreReply, Reply, RequestId};
use quantscope_session::api::{HeatQuery, SessionError};

impl Desk {
    pub(super) async fn heat(&self, id: RequestId, query: HeatQuery) -> Result<Reply, SessionError> {
        let control = self.jobs.begin(id);
        Ok(Reply::Explore(ExploreReply::Heat(self.session()?.heat(&query, &control).await?)))
    }

    pub(super) async fn block(&self, name: String, row: u64, col: u64) -> Result<Reply, SessionError> {
        Ok(Reply::Explore(ExploreReply::Block(self.session()?.block(&name, row, col).await?)))
    }

    /// One layer from its bytes.
    pub(super) async fn values(&self, id: RequestId, name: String) -> Result<Reply, SessionError> {
        let control = self.jobs.begin(id);
        Ok(Reply::Values(self.session()?.layer_values(&name, &control).await?))
    }
}
