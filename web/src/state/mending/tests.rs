//! The Findings view, action by action.

use super::super::route::View;
use super::super::{Action, JobKind};
use super::*;
use quantscope_session::api::Overview;

fn open() -> State {
    let mut state = State { phase: Phase::Open(Shared::new(overview())), ..State::default() };
    state.update(Action::Go(View::Findings), 0.0);
    state
}

fn overview() -> Overview {
    let text = r#"{"name":"m","shards":[],"other_files":[],"layer_count":0,"tensor_count":0,"parameters":0,"bytes":0,
        "bytes_read":0,"bits_per_weight":0.0,"schemes":[],"size_map":[],"declared":"","writable":[],
        "verdict":{"state":"sound","title":"Sound","next":[]},"errors":0,"warnings":0,"infos":0,"verified_by":null,"scales_checked":false}"#;
    serde_json::from_str(text).unwrap()
}

fn requests(commands: &[Command]) -> Vec<(RequestId, Request)> {
    let sent = commands.iter().filter_map(|command| match command {
        Command::Send { id, request } => Some((*id, Request::clone(request))),
        _ => None,
    });
    sent.collect()
}

fn act(state: &mut State, mend: Mend) -> Vec<(RequestId, Request)> {
    requests(&state.update(Action::Mend(mend), 0.0))
}

fn answer(state: &mut State, id: RequestId, reply: Reply) -> Vec<(RequestId, Request)> {
    requests(&state.update(Action::Answer { id, result: Box::new(Ok(reply)) }, 0.0))
}

#[test]
fn a_filter_asks_the_worker_and_stands_in_the_address() {
    let mut state = open();
    let query = FindingQuery { layer: "up".into(), ..FindingQuery::default() };
    let commands = state.update(Action::Mend(Mend::Filter(query.clone())), 0.0);
    assert!(
        commands.contains(&Command::SetAddress { fragment: "#/findings?layer=up".into(), replace: true })
    );
    assert!(matches!(requests(&commands).as_slice(), [(_, Request::Findings(asked))] if *asked == query));
}

#[test]
fn a_runtime_is_audited_for_and_taken_back() {
    let mut state = open();
    let sent = act(&mut state, Mend::Toggle("vllm"));
    let [(id, Request::Audit(choice))] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(choice.targets, ["vllm"]);
    // The findings are of before: they are asked for again.
    let sent = answer(&mut state, *id, Reply::Audited(overview()));
    assert!(matches!(sent.as_slice(), [(_, Request::Findings(_))]), "{sent:?}");
    let sent = act(&mut state, Mend::Toggle("vllm"));
    assert!(matches!(sent.as_slice(), [(_, Request::Audit(choice))] if choice.targets.is_empty()));
}

#[test]
fn a_repair_shows_its_plan_before_it_runs() {
    let mut state = open();
    assert_eq!(act(&mut state, Mend::Run), [], "nothing runs without a plan");
    let sent = act(&mut state, Mend::Plan(vec!["LK401".into()]));
    let [(id, Request::RepairPlan { rules })] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(rules, &["LK401"]);
    assert_eq!(act(&mut state, Mend::Run), [], "nor before it is there");
    let digest = RepairDigest { rules: rules.clone(), change_count: 1, ..RepairDigest::default() };
    answer(&mut state, *id, Reply::RepairPlanned(digest));
    let sent = act(&mut state, Mend::Run);
    let [(id, Request::Repair { rules })] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!(rules, &["LK401"]);
    assert!(state.job.as_ref().is_some_and(|job| job.kind == JobKind::Repair));
    answer(&mut state, *id, Reply::Repaired(ResultSummary::default()));
    assert!(state.job.is_none() && state.mending.rules.is_none() && state.mending.result.is_some());
}
