//! When the worker is gone: what it held is forgotten, and another one begins.
//!
//! A trap of WebAssembly, memory that has run out, a worker that the browser ended: none of them asks for a reload.
//! The files are the user's; they are opened again when the user asks for it, since what broke one worker may break
//! the next.

use super::{Command, EngineState, Notice, Phase, State};
use crate::protocol::Request;
use crate::state::route::Route;

/// Most workers that are begun one after the other without any of them having answered a question.
const ATTEMPTS: u8 = 3;

/// What is known of the worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Revival {
    /// Whether this one has answered anything: one that never did would not do so the next time.
    answers: bool,
    /// Workers begun since the last answer to a question of a view.
    attempts: u8,
    /// Whether something was open that is lost.
    is_lost: bool,
}

impl Revival {
    /// The worker has answered; `a_question` if a view waited for it.
    pub(super) fn answered(&mut self, a_question: bool) {
        self.answers = true;
        if a_question {
            self.attempts = 0;
            self.is_lost = false;
        }
    }
}

impl State {
    /// Whether something was open that went with a worker, and nothing was opened since.
    pub(crate) fn has_lost(&self) -> bool {
        self.revival.is_lost
    }

    /// The worker is gone, for this reason.
    pub(super) fn worker_failed(&mut self, reason: &str, commands: &mut Vec<Command>) {
        self.job = None;
        self.waiting.clear();
        let was_open = !matches!(self.phase, Phase::Arrival) || self.revival.is_lost;
        let begins = self.revival.answers && self.revival.attempts < ATTEMPTS;
        let remedy = if !begins {
            "Reload the page; this browser may be too old, or a file of the page is missing."
        } else if was_open {
            "Another one has begun. Nothing of the checkpoint was changed: open it again."
        } else {
            "Another one has begun."
        };
        if begins {
            let attempts = self.revival.attempts.saturating_add(1);
            self.revival = Revival { answers: false, attempts, is_lost: was_open };
            commands.push(Command::StartWorker);
            self.forget(commands);
            self.phase = Phase::Arrival;
            self.go(Route::default(), false, commands);
            self.engine = EngineState { choice: self.engine.choice, status: None };
            self.send(super::Slot::Quiet, Request::SetEngine(self.engine.choice), commands);
        } else if !matches!(self.phase, Phase::Open(_)) {
            self.phase = Phase::Arrival;
        }
        let text = format!("{}. {remedy}", reason.trim_end_matches(['.', '\n']));
        self.notice = Some(Notice { title: "The worker stopped".into(), text, is_error: true });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{open, overview, sent};
    use super::*;
    use crate::protocol::{Event, Reply};
    use crate::state::Action;

    fn fails(state: &mut State) -> Vec<Command> {
        state.update(Action::Told(Event::Failed("unreachable".into())), 0.0)
    }

    fn opens(state: &mut State) -> u32 {
        let action = Action::OpenFiles { name: "vae".into(), paths: vec!["a.safetensors".into()] };
        sent(&state.update(action, 0.0)).last().unwrap().0
    }

    #[test]
    fn another_worker_begins_and_the_checkpoint_is_forgotten() {
        let mut state = open();
        state.update(Action::Verify, 0.0);
        let commands = fails(&mut state);
        assert_eq!(commands.first(), Some(&Command::StartWorker), "before anything is sent to it");
        assert!(matches!(sent(&commands).as_slice(), [(_, Request::SetEngine(_))]));
        assert!(state.job.is_none() && state.phase == Phase::Arrival);
        let text = state.notice.clone().unwrap().text;
        assert!(text.contains("unreachable. ") && text.contains("open it again"), "{text}");
        assert!(state.has_lost(), "what was open is offered again");
        let id = opens(&mut state);
        state.update(Action::Answer { id, result: Box::new(Ok(Reply::Opened(overview()))) }, 0.0);
        assert!(state.overview().is_some() && !state.has_lost(), "the page goes on");
    }

    #[test]
    fn a_worker_that_never_answered_is_not_begun_again() {
        let mut state = State::default();
        let id = opens(&mut state);
        let commands = fails(&mut state);
        assert!(!commands.contains(&Command::StartWorker));
        assert!(state.notice.clone().unwrap().text.contains("Reload the page"));
        state.update(Action::Answer { id, result: Box::new(Ok(Reply::Opened(overview()))) }, 0.0);
        assert!(state.overview().is_none(), "nobody waits for it any more");
    }

    #[test]
    fn a_worker_that_breaks_while_nothing_is_open_loses_nothing() {
        let mut state = open();
        state.update(Action::Close, 0.0);
        fails(&mut state);
        assert!(!state.has_lost());
        assert!(!state.notice.clone().unwrap().text.contains("open it again"));
    }

    #[test]
    fn workers_that_only_fail_are_not_begun_for_ever() {
        let mut state = open();
        let begun = (0..10).filter(|_| {
            let begun = fails(&mut state).contains(&Command::StartWorker);
            // It answers about its engine, and nothing else.
            state.update(Action::Answer { id: u32::MAX, result: Box::new(Ok(Reply::Done)) }, 0.0);
            begun
        });
        assert_eq!(begun.count(), usize::from(ATTEMPTS));
    }
}
