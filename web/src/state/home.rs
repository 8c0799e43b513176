//! What the page keeps on this device, and what it can say of itself: guidance, memory, updates, diagnostics.

use super::form::Form;
use super::job::JobKind;
use super::recent::{self, Recent};
use super::route::View;
use super::{Command, EngineState, Notice, Slot, State, compare, text};
use crate::protocol::Request;
use quantscope_session::api::EngineChoice;
use std::fmt::Write as _;

/// Most timings that a report lists.
const TIMINGS: usize = 12;

/// What the user or the browser does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Home {
    /// The first steps were read.
    GuideRead,
    /// A recipe of before is wanted again.
    Recent(usize),
    /// An engine was chosen, for the next visits too.
    Engine(EngineChoice),
    /// Everything that is remembered on this device shall be forgotten.
    Forget,
    /// A report about this page is wanted.
    Report,
    /// What the browser says of itself.
    Facts(Box<Facts>),
    /// The report was copied, or why not.
    Copied(Result<(), String>),
    /// A newer version waits.
    Waiting,
    /// Change to it.
    Update,
    /// The page is kept for use without a network.
    Kept,
}

/// What the services shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chore {
    /// Remember that the first steps were read.
    GuideRead,
    /// Forget everything that is remembered.
    Forget,
    /// Gather what the browser says of itself.
    Gather,
    /// Put text on the clipboard.
    Copy(String),
    /// Change to the version that waits.
    Update,
    /// Remember these recipes.
    KeepRecents(String),
    /// Remember which engine was chosen.
    KeepEngine(EngineChoice),
}

/// What the browser says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Facts {
    /// Its name for itself.
    pub(crate) browser: String,
    /// Processors that it tells of.
    pub(crate) processors: f64,
    /// Width, height and density of the view.
    pub(crate) view: (f64, f64, f64),
    /// Bytes of the page's own WebAssembly memory.
    pub(crate) page_memory: f64,
    /// Whether this page may connect elsewhere.
    pub(crate) connects: bool,
}

/// The part of the state that belongs to this.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AtHome {
    /// Whether somebody is here for the first time.
    pub(crate) is_first_visit: bool,
    /// Recipes that were run lately.
    pub(crate) recents: Vec<Recent>,
    /// Whether the page is kept for use without a network.
    pub(crate) is_kept: bool,
    /// Whether a newer version waits.
    pub(crate) update_waits: bool,
    /// The last report.
    pub(crate) report: Option<String>,
    /// Bytes of the worker's WebAssembly memory, as it told last.
    worker_memory: Option<u64>,
    facts: Option<Facts>,
    timings: Vec<(&'static str, f64)>,
}

impl State {
    pub(super) fn at_home(&mut self, action: Home, commands: &mut Vec<Command>) {
        match action {
            Home::GuideRead => {
                self.home.is_first_visit = false;
                commands.push(Command::Home(Chore::GuideRead));
            }
            Home::Recent(place) => {
                if let Some(recent) = self.home.recents.get(place).cloned() {
                    let calibration = self.convert.form.calibration.take();
                    self.convert.form = Form { calibration, ..recent.form() };
                    self.convert.plan.outdate();
                }
            }
            Home::Engine(choice) => {
                commands.push(Command::Home(Chore::KeepEngine(choice)));
                self.engine = EngineState { choice, status: None };
                self.send(Slot::Quiet, Request::SetEngine(choice), commands);
            }
            Home::Forget => {
                commands.push(Command::Home(Chore::Forget));
                self.home.recents.clear();
                self.theme = super::Theme::System;
                commands.push(Command::SetTheme(self.theme));
                self.say("Forgotten", "Nothing of this page is remembered on this device now.".into(), false);
            }
            Home::Report => {
                self.send(Slot::Memory, Request::Memory, commands);
                commands.push(Command::Home(Chore::Gather));
            }
            Home::Facts(facts) => {
                self.home.facts = Some(*facts);
                self.copy_report(commands);
            }
            Home::Copied(Ok(())) => self.say(
                "Copied",
                "The report holds versions, sizes and times; no names, no paths and no values.".into(),
                false,
            ),
            Home::Copied(Err(reason)) => self.say(
                "Not copied",
                format!("The browser keeps the clipboard to itself: {reason}. Open the report below the keys and copy it by hand."),
                true,
            ),
            Home::Waiting => self.home.update_waits = true,
            Home::Update => commands.push(Command::Home(Chore::Update)),
            Home::Kept => self.home.is_kept = true,
        }
    }

    /// What a screen reader says when it changes: where the user is, what runs.
    pub(crate) fn spoken(&self) -> String {
        match (&self.job, &self.phase) {
            (Some(job), _) => format!("{}…", job.phase()),
            (None, super::Phase::Open(overview)) => {
                let compared = self.compare.found.as_ref().filter(|_| self.route.view == View::Compare);
                let title =
                    compared.map_or_else(|| overview.verdict.title.clone(), |found| compare::verdict(found));
                format!("{}: {title}", self.route.view.label())
            }
            (None, _) => String::new(),
        }
    }

    /// Remembers the recipe of a conversion that begins.
    pub(super) fn keep_recipe(&mut self, commands: &mut Vec<Command>) {
        let Some(recipe) = Recent::of(&self.convert.form) else { return };
        recent::remember(&mut self.home.recents, recipe);
        commands.push(Command::Home(Chore::KeepRecents(recent::write(&self.home.recents))));
    }

    fn say(&mut self, title: &str, text: String, is_error: bool) {
        self.notice = Some(Notice { title: title.into(), text, is_error });
    }

    /// The worker told its memory.
    pub(super) fn take_memory(&mut self, bytes: u64, commands: &mut Vec<Command>) {
        self.home.worker_memory = Some(bytes);
        self.copy_report(commands);
    }

    /// Keeps how long a job took.
    pub(super) fn keep_time(&mut self, kind: JobKind, milliseconds: f64) {
        let name = match kind {
            JobKind::Open => "open",
            JobKind::Verify => "verify",
            JobKind::Scales => "scales",
            JobKind::Convert => "convert",
            JobKind::Repair => "repair",
            JobKind::Sweep => "sweep",
            JobKind::Compare => "compare",
        };
        if self.home.timings.len() >= TIMINGS {
            self.home.timings.remove(0);
        }
        self.home.timings.push((name, milliseconds));
    }

    /// Copies the report once both have answered, the browser and the worker.
    fn copy_report(&mut self, commands: &mut Vec<Command>) {
        let (Some(facts), Some(worker_memory)) = (&self.home.facts, self.home.worker_memory) else { return };
        let report = self.report_of(facts, worker_memory);
        self.home.report = Some(report.clone());
        (self.home.facts, self.home.worker_memory) = (None, None);
        commands.push(Command::Home(Chore::Copy(report)));
    }

    /// Versions, sizes and times. No names, no paths, no values: it is meant to be shown to others.
    fn report_of(&self, facts: &Facts, worker_memory: u64) -> String {
        let mut report = format!("quantscope {}\n", env!("CARGO_PKG_VERSION"));
        let (width, height, density) = facts.view;
        let page = match (facts.connects, self.home.is_kept) {
            (true, true) => "for addresses, kept for use offline",
            (true, false) => "for addresses",
            (false, true) => "kept for use offline",
            (false, false) => "not kept for use offline",
        };
        let engine = self
            .engine
            .status
            .as_ref()
            .map_or_else(|| "not known yet".to_owned(), |status| format!("{} {}", status.label, status.note));
        let mut line = |name: &str, value: String| {
            // Writing to a string does not fail.
            let _ = writeln!(report, "{name}: {value}");
        };
        line("page", page.into());
        line("browser", facts.browser.clone());
        line("processors", facts.processors.to_string());
        line("view", format!("{width} x {height} at {density}"));
        line("engine", engine.trim().into());
        line("memory", format!("{} bytes in the page, {worker_memory} in the worker", facts.page_memory));
        if let Some(overview) = self.overview() {
            line(
                "checkpoint",
                format!(
                    "{}, {}, {}, {} bytes, {} bits per weight",
                    text::counted(overview.shards.len() as u64, "file"),
                    text::counted(overview.tensor_count, "tensor"),
                    text::counted(overview.layer_count, "layer"),
                    overview.bytes,
                    text::bits(overview.bits_per_weight),
                ),
            );
            let schemes: Vec<String> =
                overview.schemes.iter().map(|share| format!("{} {}", share.scheme, share.layers)).collect();
            line("layers by scheme", schemes.join(", "));
            line(
                "findings",
                format!(
                    "{} errors, {} warnings, {} notes",
                    overview.errors, overview.warnings, overview.infos
                ),
            );
            line("bytes read to open", overview.bytes_read.to_string());
        }
        if self.remote.is_open {
            let traffic = self.remote.traffic;
            line("fetched", format!("{} bytes in {} requests", traffic.bytes, traffic.requests));
        }
        for (name, milliseconds) in &self.home.timings {
            line(name, format!("{milliseconds:.0} ms"));
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Reply;
    use crate::state::tests::{open, sent};
    use crate::state::{Action, Command};

    #[test]
    fn a_report_has_sizes_and_no_names() {
        let mut state = open();
        let commands = state.update(Action::Home(Home::Report), 0.0);
        assert!(commands.contains(&Command::Home(Chore::Gather)));
        let (id, request) = sent(&commands).remove(0);
        assert_eq!(request, Request::Memory);
        let facts = Facts { browser: "Browser/1".into(), page_memory: 4096.0, ..Facts::default() };
        assert_eq!(state.update(Action::Home(Home::Facts(Box::new(facts))), 0.0), []);
        let reply = Box::new(Ok(Reply::Memory { bytes: 65_536 }));
        let commands = state.update(Action::Answer { id, result: reply }, 0.0);
        let [Command::Home(Chore::Copy(report))] = commands.as_slice() else { panic!("{commands:?}") };
        for part in ["Browser/1", "65536 in the worker", "1000 bytes", "4 tensors", "open: "] {
            assert!(report.contains(part), "{part}: {report}");
        }
        assert!(!report.contains("vae"), "{report}");
    }

    #[test]
    fn guidance_is_shown_until_it_is_read() {
        let mut state = State::default();
        state.home.is_first_visit = true;
        let commands = state.update(Action::Home(Home::GuideRead), 0.0);
        assert!(!state.home.is_first_visit);
        assert_eq!(commands, [Command::Home(Chore::GuideRead)]);
    }

    #[test]
    fn forgetting_leaves_the_theme_to_the_system() {
        let mut state = State { theme: crate::state::Theme::Dark, ..State::default() };
        let commands = state.update(Action::Home(Home::Forget), 0.0);
        assert!(commands.contains(&Command::Home(Chore::Forget)));
        assert_eq!(state.theme, crate::state::Theme::System);
    }
}
