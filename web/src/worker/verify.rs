//! Checks the bytes of the open checkpoint.

use super::desk::Desk;
use super::js;
use crate::protocol::{Reply, RequestId};
use quantscope_session::Session;
use quantscope_session::api::SessionError;
use std::rc::Rc;

impl Desk {
    /// Works on a copy of the session, so that the page can look around meanwhile, and so that a verification
    /// that is cancelled leaves everything as it was.
    pub(super) async fn verify(&self, id: RequestId, scales_alone: bool) -> Result<Reply, SessionError> {
        let control = self.jobs.begin(id);
        let checkpoint = self.checkpoint()?;
        let mut session = Session::clone(&checkpoint.session);
        let engines = self.ready().await;
        let engines = engines.engines();
        let result = if scales_alone {
            session.check_scales(engines, &control).await
        } else {
            session.verify(engines, &control).await
        };
        self.tell_engine().await;
        let summary = result?;
        let overview = session.overview();
        let mut open = self.checkpoint.borrow_mut();
        match open.as_mut().filter(|open| Rc::ptr_eq(&open.session, &checkpoint.session)) {
            Some(open) => open.session = Rc::new(session),
            None => return Err(js::error("cancelled", "Another checkpoint was opened meanwhile.")),
        }
        Ok(Reply::Verified { summary, overview })
    }
}
