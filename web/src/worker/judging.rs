//! When headers are judged: at once where that takes no time, else once the first rows can be seen.

use super::desk::Desk;
use super::tell;
use crate::protocol::remote::RemoteRequest;
use crate::protocol::{Event, ExploreRequest, Reply, Request};
use gloo_timers::future::TimeoutFuture;
use quantscope_session::Session;
use quantscope_session::api::{AuditChoice, Overview, SessionError};
use std::rc::Rc;

/// Layers whose headers are judged before the user would notice.
const QUICK: u64 = 4000;
/// Milliseconds in which the page asks for what it shows first.
const FIRST_ROWS_MS: u32 = 80;

/// Whether a checkpoint is judged as it is opened.
pub(super) fn is_quick(session: &Session) -> bool {
    session.layer_count() <= QUICK
}

/// Whether the answer to a request depends on the findings. What is shown in the meantime is asked again by the page
/// when they are there.
pub(super) fn is_needed(request: &Request) -> bool {
    match request {
        Request::Explore(ExploreRequest::Tree(query)) => query.filter.needs_findings(),
        Request::Open { .. }
        | Request::OpenSample { .. }
        | Request::OpenResult { .. }
        | Request::Remote(RemoteRequest::Open { .. } | RemoteRequest::ScaleBytes)
        | Request::Explore(_)
        | Request::Layer { .. }
        | Request::Values { .. }
        | Request::Memory
        | Request::DropOutput
        | Request::SetEngine(_)
        | Request::Cancel { .. } => false,
        _ => true,
    }
}

impl Desk {
    /// Judges what is open, a family of rules at a time, so that questions are answered meanwhile; then tells the page.
    pub(super) async fn judge_meanwhile(&self) {
        if self.unjudged().is_none() || self.judging.replace(true) {
            return;
        }
        TimeoutFuture::new(FIRST_ROWS_MS).await;
        // Another checkpoint may have been opened meanwhile.
        while let Some(before) = self.unjudged() {
            let mut session = Session::clone(&before);
            session.judge_in_steps(async || TimeoutFuture::new(0).await).await;
            self.replace(&before, session);
        }
        self.judging.set(false);
        TimeoutFuture::new(0).await;
        if let Ok(session) = self.session() {
            session.prepare_search();
        }
    }

    /// Judges what is open, if that is still to be done: a request needs it.
    pub(super) fn judge_now(&self) {
        if let Some(before) = self.unjudged() {
            let mut session = Session::clone(&before);
            session.judge();
            self.replace(&before, session);
        }
    }

    /// Judges for other runtimes. Works on a copy, so that whoever reads the session meanwhile reads it whole.
    pub(super) fn audit(&self, choice: &AuditChoice) -> Result<Reply, SessionError> {
        let mut session = Session::clone(&*self.session()?);
        session.choose(choice)?;
        let overview = session.overview();
        if let Some(open) = self.checkpoint.borrow_mut().as_mut() {
            open.session = Rc::new(session);
        }
        Ok(Reply::Audited(overview))
    }

    fn unjudged(&self) -> Option<Rc<Session>> {
        let open = self.checkpoint.borrow();
        open.as_ref().map(|open| Rc::clone(&open.session)).filter(|session| !session.is_judged())
    }

    /// Puts the judged session where the other was, if it is still there.
    fn replace(&self, before: &Rc<Session>, judged: Session) {
        let overview: Overview = judged.overview();
        match self.checkpoint.borrow_mut().as_mut().filter(|open| Rc::ptr_eq(&open.session, before)) {
            Some(open) => open.session = Rc::new(judged),
            None => return,
        }
        tell(Event::Judged(Box::new(overview)));
    }
}
