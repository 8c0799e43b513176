//! What the user does in the Convert view beside filling in the form.

use super::convert::{Growing, ROWS};
use super::form::{Calibration, Form};
use super::job::JobKind;
use super::route::{Route, View};
use super::{Command, Notice, Slot, State};
use crate::protocol::{RecipeReply, RecipeRequest, Reply, Request, STOPPED};
use quantscope_session::api::SessionError;

/// What the user, or the browser's own dialogs, did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Converting {
    /// Convert into a folder, which is to be picked first.
    PickFolder,
    /// A folder was picked; the service holds it beside.
    RunInto,
    /// Go on with the conversion that was broken off in the folder, or remove it and begin anew.
    Continue(bool),
    /// Leave the conversion that was broken off as it is.
    LeaveStopped,
    /// The browser gave no folder; why.
    NoFolder(String),
    /// Convert within the browser.
    Run,
    /// Look at the result as at any other checkpoint.
    OpenResult,
    /// A calibration file was picked; the service holds it beside. `None` takes it away.
    SetCalibration(Option<String>),
    /// Show hashes of the result, or more of them.
    Proof,
    /// Save the recipe as a file.
    SaveRecipe,
    /// A recipe file was picked; the service holds it beside.
    LoadRecipe,
    /// The layer of the plan whose scheme is to be chosen, or none.
    Choose(Option<String>),
    /// Convert this layer: the form, with the layer beside it.
    Layer(String),
    /// The layer that the user came with is done with.
    LayerDone,
}

impl State {
    pub(super) fn converting(&mut self, action: Converting, now_ms: f64, commands: &mut Vec<Command>) {
        match action {
            Converting::PickFolder => commands.push(Command::PickFolder),
            Converting::Run | Converting::RunInto => {
                self.convert.stopped = None;
                self.run(None, now_ms, commands);
            }
            Converting::Continue(resume) => self.run(Some(resume), now_ms, commands),
            Converting::LeaveStopped => self.convert.stopped = None,
            Converting::NoFolder(text) => {
                self.notice = Some(Notice { title: "No folder".into(), text, is_error: true });
            }
            Converting::OpenResult => {
                let (None, Some(overview), Some(_)) =
                    (&self.job, self.overview(), self.convert.result.as_ref())
                else {
                    return;
                };
                let name = format!("{} ({})", overview.name, self.convert.form.scheme);
                // The worker keeps the files: they are what is opened.
                self.convert.result = None;
                commands.push(Command::ForgetOutput);
                self.open(name.clone(), Request::OpenResult { name }, now_ms, commands);
            }
            Converting::SetCalibration(file) => {
                self.convert.form.calibration = file.map(|file| Calibration { file, entries: None });
                if self.convert.form.calibration.is_some() {
                    self.send(Slot::Calibration, Request::Calibration, commands);
                }
                self.convert.plan.outdate();
            }
            Converting::Proof => {
                let Some(result) = &mut self.convert.result else { return };
                let proof = result.proof.get_or_insert_with(|| Growing::new(1));
                if proof.asked || proof.len() >= proof.total {
                    return;
                }
                proof.asked = true;
                let start = proof.len();
                self.send(Slot::Proof, Request::ProofRows { start, count: ROWS }, commands);
            }
            Converting::SaveRecipe => {
                let (convert, _) = self.convert.form.request();
                let request = Request::Recipe(RecipeRequest::Write(Box::new(convert)));
                self.send(Slot::Recipe, request, commands);
            }
            Converting::LoadRecipe => {
                self.send(Slot::Recipe, Request::Recipe(RecipeRequest::Read), commands);
            }
            Converting::Choose(layer) => self.convert.choosing = layer,
            Converting::Layer(name) => self.convert_layer(name, commands),
            Converting::LayerDone => self.convert.picked = None,
        }
    }

    fn convert_layer(&mut self, name: String, commands: &mut Vec<Command>) {
        let detail = self.panel.detail.value.as_deref().and_then(Option::as_ref);
        let is_packed = detail.is_some_and(|detail| detail.row.name == name && detail.row.family != "plain");
        let form = &mut self.convert.form;
        // A form that nobody has touched would convert all the other layers too.
        if *form == Form::default() {
            form.scheme.clear();
        }
        if form.scheme.is_empty() && form.by_kind.is_none() {
            let first = if is_packed { "bf16" } else { "nvfp4" };
            form.by_layer.entry(name.clone()).or_insert_with(|| first.into());
        }
        self.convert.picked = Some(name);
        self.convert.plan.outdate();
        self.go(Route { view: View::Convert, ..self.route.clone() }, false, commands);
    }

    /// Begins the conversion that the plan is of.
    fn run(&mut self, resume: Option<bool>, now_ms: f64, commands: &mut Vec<Command>) {
        if !self.plan_is_fresh() {
            return;
        }
        let (convert, calibrated) = self.convert.form.request();
        self.forget_result(commands);
        self.keep_recipe(commands);
        let request = Request::Convert { convert, calibrated, resume };
        self.begin(Slot::Convert, JobKind::Convert, request, now_ms, commands);
    }

    /// Takes the end of a run that brought nothing.
    pub(super) fn settle_unconverted(&mut self, error: SessionError) {
        if error.kind == STOPPED {
            self.convert.stopped = Some(error.message);
        } else {
            self.convert.failed = Some(error);
        }
    }

    /// Takes hashes.
    pub(super) fn settle_proof(&mut self, result: Result<Reply, SessionError>) {
        let proof = self.convert.result.as_mut().and_then(|result| result.proof.as_mut());
        match (proof, result) {
            (Some(proof), Ok(Reply::Proof(page))) => {
                proof.total = page.total;
                proof.extend(page.rows);
            }
            (Some(_), Err(error)) => {
                self.notice = Some(Notice { title: "No hashes".into(), text: error.message, is_error: true });
            }
            _ => {}
        }
    }

    /// Takes what the worker says of a recipe.
    pub(super) fn settle_recipe(&mut self, result: Result<Reply, SessionError>, commands: &mut Vec<Command>) {
        match result {
            Ok(Reply::Recipe(RecipeReply::Written { file })) => commands.push(Command::Save(file)),
            Ok(Reply::Recipe(RecipeReply::Read(request))) => {
                // The calibration is a file of its own.
                let calibration = self.convert.form.calibration.take();
                self.convert.form = Form { calibration, ..Form::of(*request) };
                self.convert.choosing = None;
                self.convert.plan.outdate();
            }
            Err(error) => {
                self.notice =
                    Some(Notice { title: "Not a recipe".into(), text: error.message, is_error: true });
            }
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{open, sent};
    use super::*;
    use crate::state::Action;

    fn convert(state: &mut State, name: &str) -> Vec<Request> {
        let commands = state.update(Action::Converting(Converting::Layer(name.into())), 0.0);
        sent(&commands).into_iter().map(|(_, request)| request).collect()
    }

    #[test]
    fn converting_one_layer_leaves_the_others_as_they_are() {
        let mut state = open();
        let asked = convert(&mut state, "a.b");
        assert_eq!(state.route.view, View::Convert);
        let [Request::Plan { convert: request, .. }] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!((request.to.as_str(), request.layers.as_slice()), ("", &["a.b=nvfp4".to_owned()][..]));
        assert_eq!(state.convert.picked.as_deref(), Some("a.b"));
        convert(&mut state, "c");
        assert_eq!(state.convert.form.request().0.layers, ["a.b=nvfp4", "c=nvfp4"]);
    }

    #[test]
    fn a_recipe_that_was_begun_is_kept() {
        let mut state = open();
        state.convert.form.scheme = "fp8".into();
        convert(&mut state, "a.b");
        let request = state.convert.form.request().0;
        assert_eq!((request.to.as_str(), request.layers.len()), ("fp8", 0));
        state.update(Action::Converting(Converting::LayerDone), 0.0);
        assert_eq!(state.convert.picked, None);
    }
}
