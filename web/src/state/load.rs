//! Something the worker is asked for: not asked, asked, there, or refused; and how shared values compare.

use crate::protocol::RequestId;
use quantscope_session::api::SessionError;
use std::ops::Deref;
use std::rc::Rc;

/// A shared value that equals only itself, so that comparing properties costs nothing however large it is.
#[derive(Debug)]
pub(crate) struct Shared<T>(Rc<T>);

impl<T> Shared<T> {
    /// Shares a value.
    pub(crate) fn new(value: T) -> Self {
        Self(Rc::new(value))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Something the worker is asked for. What is there stays shown until its successor arrives.
#[derive(Debug, PartialEq)]
pub(crate) struct Load<T> {
    /// The last value.
    pub(crate) value: Option<Shared<T>>,
    /// Why there is none.
    pub(crate) failed: Option<SessionError>,
    /// The request under way.
    asked: Option<RequestId>,
    /// Whether the value is of before a change.
    stale: bool,
    /// Whether the answer under way is, too.
    again: bool,
}

impl<T> Default for Load<T> {
    fn default() -> Self {
        Self { value: None, failed: None, asked: None, stale: false, again: false }
    }
}

impl<T> Clone for Load<T> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            failed: self.failed.clone(),
            asked: self.asked,
            stale: self.stale,
            again: self.again,
        }
    }
}

impl<T> Load<T> {
    /// Whether it has to be asked for.
    pub(crate) fn is_wanted(&self) -> bool {
        self.asked.is_none() && self.failed.is_none() && (self.value.is_none() || self.stale)
    }

    /// The request under way.
    pub(crate) fn asked(&self) -> Option<RequestId> {
        self.asked
    }

    /// Notes that it was asked for.
    pub(crate) fn ask(&mut self, id: RequestId) {
        self.asked = Some(id);
    }

    /// What is there is of before a change: ask again, whatever is under way.
    pub(crate) fn outdate(&mut self) {
        self.asked = None;
        self.failed = None;
        self.stale = true;
        self.again = false;
    }

    /// The same for what takes long to answer: nothing else is asked while an answer is under way, and once after.
    pub(crate) fn outdate_patiently(&mut self) {
        if self.asked.is_some() {
            self.again = true;
        } else {
            self.outdate();
        }
    }

    /// Takes the answer, if it is the one waited for.
    pub(crate) fn settle(&mut self, id: RequestId, answer: Result<T, SessionError>) {
        if self.asked != Some(id) {
            return;
        }
        self.asked = None;
        self.stale = false;
        match answer {
            Ok(value) => {
                self.value = Some(Shared::new(value));
                self.failed = None;
            }
            Err(error) => {
                self.value = None;
                self.failed = Some(error);
            }
        }
        if std::mem::take(&mut self.again) {
            self.outdate();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_changes_while_one_answer_is_under_way_ask_once_more() {
        let mut load = Load::<u8>::default();
        load.ask(1);
        load.outdate_patiently();
        load.outdate_patiently();
        assert!(!load.is_wanted(), "the answer to the first is under way");
        load.settle(1, Ok(5));
        assert_eq!(load.value.as_deref(), Some(&5), "it is shown meanwhile");
        assert!(load.is_wanted());
        load.ask(2);
        load.settle(2, Ok(6));
        assert!(!load.is_wanted());
        load.outdate_patiently();
        assert!(load.is_wanted(), "nothing was under way");
    }

    #[test]
    fn an_answer_to_an_older_question_is_dropped() {
        let mut load = Load::default();
        assert!(load.is_wanted());
        load.ask(1);
        assert!(!load.is_wanted());
        load.outdate();
        load.ask(2);
        load.settle(1, Ok("old"));
        assert_eq!(load.value, None);
        load.settle(2, Ok("new"));
        assert_eq!(load.value.as_deref(), Some(&"new"));
        assert!(!load.is_wanted());
    }

    #[test]
    fn a_refusal_is_not_asked_again_by_itself() {
        let mut load = Load::<u32>::default();
        load.ask(1);
        load.settle(1, Err(SessionError { kind: "refused".into(), message: "no".into() }));
        assert!(!load.is_wanted());
        load.outdate();
        assert!(load.is_wanted());
    }
}
