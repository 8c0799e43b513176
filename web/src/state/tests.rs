//! The page's behaviour, action by action.

use super::exploring::Explore;
use super::form::Form;
use super::*;
use crate::protocol::{ExploreReply, ExploreRequest, PlanSummary, Reply};
use quantscope_session::api::{Progress, SessionError, TreePage, TreeRow, Verdict};

pub(super) fn overview() -> Overview {
    Overview {
        name: "vae".into(),
        shards: vec![],
        other_files: vec![],
        layer_count: 2,
        tensor_count: 4,
        parameters: 100,
        bytes: 1000,
        bytes_read: 10,
        bits_per_weight: 4.5,
        schemes: vec![],
        size_map: Vec::new(),
        declared: String::new(),
        verdict: Verdict { state: "sound".into(), title: "Sound".into(), next: vec![] },
        errors: 0,
        warnings: 0,
        infos: 0,
        verified_by: None,
        scales_checked: false,
        writable: Vec::new(),
    }
}

pub(super) fn sent(commands: &[Command]) -> Vec<(RequestId, Request)> {
    commands
        .iter()
        .filter_map(|command| match command {
            Command::Send { id, request } => Some((*id, Request::clone(request))),
            _ => None,
        })
        .collect()
}

fn answer(state: &mut State, id: RequestId, reply: Reply) -> Vec<Command> {
    state.update(Action::Answer { id, result: Box::new(Ok(reply)) }, 0.0)
}

fn refuse(state: &mut State, id: RequestId, kind: &str) -> Vec<Command> {
    let error = SessionError { kind: kind.into(), message: "because".into() };
    state.update(Action::Answer { id, result: Box::new(Err(error)) }, 0.0)
}

pub(super) fn open() -> State {
    let mut state = State::default();
    let commands =
        state.update(Action::OpenFiles { name: "vae".into(), paths: vec!["a.safetensors".into()] }, 0.0);
    let (id, _) = sent(&commands).remove(0);
    assert!(matches!(state.phase, Phase::Opening { .. }));
    answer(&mut state, id, Reply::Opened(overview()));
    assert!(state.overview().is_some());
    assert!(state.job.is_none());
    state
}

#[test]
fn a_view_asks_once_for_what_it_shows() {
    let mut state = open();
    let asked = sent(&state.update(Action::Go(View::Findings), 0.0));
    assert!(matches!(asked.as_slice(), [(_, Request::Findings(_))]));
    assert_eq!(sent(&state.update(Action::Keys(true), 0.0)), []);
    answer(&mut state, asked[0].0, Reply::Findings(vec![]));
    assert_eq!(sent(&state.update(Action::Go(View::Findings), 0.0)), []);
}

#[test]
fn an_address_opens_its_view_once_files_are_there() {
    let mut state = State::default();
    state.update(Action::Navigated(Box::new(Route::parse("#/layers?layer=a.b&q=a"))), 0.0);
    let commands = state.update(Action::OpenSample { folder: "sound", name: "Sound" }, 0.0);
    let (id, _) = sent(&commands).remove(0);
    let asked: Vec<Request> =
        sent(&answer(&mut state, id, Reply::Opened(overview()))).into_iter().map(|(_, r)| r).collect();
    assert!(matches!(&asked[0], Request::Explore(ExploreRequest::Tree(query)) if query.filter.text == "a"));
    assert_eq!(asked[1..], [Request::Layer { name: "a.b".into() }, Request::Values { name: "a.b".into() }]);
}

#[test]
fn values_of_a_layer_no_longer_looked_at_are_cancelled() {
    let mut state = open();
    let asked = sent(&state.update(Action::Select(Some("a".into())), 0.0));
    let values = asked.iter().find(|(_, request)| matches!(request, Request::Values { .. })).unwrap().0;
    let asked = sent(&state.update(Action::Select(Some("b".into())), 0.0));
    assert!(asked.iter().any(|(_, request)| *request == Request::Cancel { job: values }));
    refuse(&mut state, values, "cancelled");
    assert_eq!(state.panel.values.failed, None);
}

#[test]
fn verifying_asks_again_for_what_it_may_have_changed() {
    let mut state = open();
    let findings = sent(&state.update(Action::Go(View::Findings), 0.0)).remove(0).0;
    answer(&mut state, findings, Reply::Findings(vec![]));
    let job = sent(&state.update(Action::Verify, 0.0)).remove(0).0;
    assert_eq!(sent(&state.update(Action::Verify, 0.0)), [], "one job at a time");
    let progress =
        Progress { phase: "Verifying bytes".into(), item: "w".into(), done_bytes: 1, total_bytes: 2 };
    state.update(Action::Told(Event::Progress { job, progress: progress.clone() }), 5.0);
    state.update(Action::Told(Event::Progress { job: job + 100, progress }), 6.0);
    assert_eq!(state.job.as_ref().unwrap().fraction(), Some(0.5));
    let summary = VerifySummary {
        engine: "CPU".into(),
        engine_note: None,
        layers_checked: 1,
        bytes_read: 2,
        findings_before: 0,
        findings_after: 1,
    };
    let asked = sent(&answer(&mut state, job, Reply::Verified { summary, overview: overview() }));
    assert!(matches!(asked.as_slice(), [(_, Request::Findings(_))]));
    assert!(state.job.is_none());
    assert_eq!(state.notice.as_ref().unwrap().text, "1 layer checked, 2 B read: 1 new finding.");
}

#[test]
fn cancelling_is_asked_once_and_ends_with_a_word() {
    let mut state = open();
    let job = sent(&state.update(Action::Verify, 0.0)).remove(0).0;
    assert!(
        matches!(sent(&state.update(Action::CancelJob, 0.0)).as_slice(), [(_, Request::Cancel { job: it })] if *it == job)
    );
    assert_eq!(sent(&state.update(Action::CancelJob, 0.0)), []);
    refuse(&mut state, job, "cancelled");
    assert!(state.job.is_none());
    assert!(!state.notice.as_ref().unwrap().is_error);
}

#[test]
fn a_refused_checkpoint_says_so_where_files_are_dropped() {
    let mut state = State::default();
    let id =
        sent(&state.update(Action::OpenFiles { name: "x".into(), paths: vec!["x".into()] }, 0.0)).remove(0).0;
    refuse(&mut state, id, "nothing");
    assert_eq!(state.phase, Phase::Arrival);
    assert!(state.notice.as_ref().unwrap().is_error);
    state.update(Action::OpenFiles { name: "empty".into(), paths: vec![] }, 0.0);
    assert_eq!(state.notice.as_ref().unwrap().title, "Nothing to open");
}

#[test]
fn opening_again_drops_the_answer_to_the_first() {
    let mut state = State::default();
    let first = sent(&state.update(Action::OpenSample { folder: "sound", name: "A" }, 0.0)).remove(0).0;
    let asked = sent(&state.update(Action::OpenSample { folder: "faults", name: "B" }, 0.0));
    assert_eq!(asked[0].1, Request::Cancel { job: first });
    refuse(&mut state, first, "cancelled");
    assert_eq!(state.phase, Phase::Opening { name: "B".into() });
    answer(&mut state, asked[1].0, Reply::Opened(overview()));
    assert!(state.overview().is_some());
}

#[test]
fn back_and_forward_keep_what_the_address_does_not_say() {
    let mut state = open();
    let commands = state.update(Action::ShowRule("SH501".into()), 0.0);
    assert!(
        commands.contains(&Command::SetAddress { fragment: "#/layers?rule=SH501".into(), replace: false })
    );
    state.update(Action::Navigated(Box::new(Route::parse("#/overview"))), 0.0);
    assert_eq!(state.route.view, View::Overview);
    let commands = state.update(Action::Go(View::Layers), 0.0);
    assert!(
        commands.contains(&Command::SetAddress { fragment: "#/layers?rule=SH501".into(), replace: false })
    );
}

#[test]
fn the_keyboard_moves_opens_and_closes() {
    let mut state = open();
    let asked = sent(&state.update(Action::Go(View::Layers), 0.0));
    answer(&mut state, asked[0].0, tree(vec![leaf("a"), leaf("b")]));
    state.update(Action::Move(1), 0.0);
    assert_eq!(state.route.layer, None, "moving does not open");
    state.update(Action::Enter, 0.0);
    assert_eq!(state.route.layer.as_deref(), Some("a"));
    state.update(Action::Move(1), 0.0);
    assert_eq!(state.route.layer.as_deref(), Some("b"), "an open panel follows");
    state.update(Action::Escape, 0.0);
    assert_eq!(state.route.layer, None);
    assert_eq!(state.list.cursor, Some(1));
}

fn leaf(name: &str) -> TreeRow {
    TreeRow { key: name.into(), layer: Some(name.into()), depth: 1, ..TreeRow::default() }
}

fn tree(rows: Vec<TreeRow>) -> Reply {
    Reply::Explore(ExploreReply::Tree(TreePage { total: rows.len() as u64, rows, ..TreePage::default() }))
}

#[test]
fn the_keyboard_opens_and_closes_modules() {
    let module = |open| TreeRow { key: "m".into(), open: Some(open), ..TreeRow::default() };
    let mut state = open();
    let asked = sent(&state.update(Action::Go(View::Layers), 0.0));
    answer(&mut state, asked[0].0, tree(vec![module(false)]));
    state.update(Action::Move(1), 0.0);
    let asked = sent(&state.update(Action::Explore(Explore::Inward), 0.0));
    assert!(
        matches!(&asked[0].1, Request::Explore(ExploreRequest::Tree(query)) if query.toggled == ["m"]),
        "{asked:?}"
    );
    assert_eq!(state.route.fragment(), "#/layers?toggled=m");
    answer(&mut state, asked[0].0, tree(vec![module(true), leaf("m.a"), leaf("m.b")]));
    assert_eq!(state.list.cursor, Some(0), "the cursor stays on the row");
    state.update(Action::Explore(Explore::Inward), 0.0);
    state.update(Action::Move(1), 0.0);
    assert_eq!(state.list.cursor, Some(2));
    state.update(Action::Explore(Explore::Outward), 0.0);
    assert_eq!(state.list.cursor, Some(0), "out of a layer is its module");
    state.update(Action::Enter, 0.0);
    assert_eq!((state.route.toggled.len(), state.route.layer.clone()), (0, None));
}

#[test]
fn the_map_of_sizes_asks_for_modules_only() {
    let mut state = open();
    assert_eq!(sent(&state.update(Action::Go(View::Overview), 0.0)), []);
    let asked = sent(&state.update(Action::Explore(Explore::Enter("model".into())), 0.0));
    let expected = Request::Explore(ExploreRequest::Size { path: "model".into() });
    assert_eq!(asked.iter().map(|(_, request)| request.clone()).collect::<Vec<_>>(), [expected]);
    let late = asked[0].0;
    state.update(Action::Explore(Explore::Enter("other".into())), 0.0);
    answer(&mut state, late, Reply::Explore(ExploreReply::Size(None)));
    assert!(state.exploring.sizes.value.is_none(), "an answer about another module is dropped");
}

#[test]
fn a_changed_form_asks_for_its_plan_once_the_one_under_way_is_there() {
    let mut state = open();
    let first = sent(&state.update(Action::Go(View::Convert), 0.0)).remove(0).0;
    for exclude in ["*conv", "*conv_in*"] {
        let form = Form { exclude: exclude.into(), ..Form::default() };
        assert!(sent(&state.update(Action::SetForm(Box::new(form)), 0.0)).is_empty(), "one plan at a time");
    }
    let asked = sent(&answer(
        &mut state,
        first,
        Reply::Planned(PlanSummary { packed_count: 9, ..PlanSummary::default() }),
    ));
    assert!(!state.plan_is_fresh(), "what is shown meanwhile cannot be run");
    let (second, request) = asked.last().unwrap();
    assert!(matches!(request, Request::Plan { convert, .. } if convert.exclude == ["*conv_in*"]));
    let rows = sent(&answer(
        &mut state,
        *second,
        Reply::Planned(PlanSummary { packed_count: 3, ..PlanSummary::default() }),
    ));
    assert!(state.plan_is_fresh());
    assert_eq!(state.convert.shown.as_ref().unwrap().packed.total, 3);
    assert!(matches!(rows.as_slice(), [(_, Request::PlanRows { packed: true, start: 0, .. })]));
}
