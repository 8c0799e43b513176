//! The Preview view, action by action.

use super::super::route::View;
use super::super::{Action, Phase};
use super::*;
use quantscope_session::api::{ConvertRequest, Overview, Uniform};

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

fn act(state: &mut State, action: Lab) -> Vec<(RequestId, Request)> {
    requests(&state.update(Action::Lab(action), 0.0))
}

fn answer(state: &mut State, id: RequestId, reply: LabReply) -> Vec<(RequestId, Request)> {
    requests(&state.update(Action::Answer { id, result: Box::new(Ok(Reply::Lab(reply))) }, 0.0))
}

fn open() -> State {
    let mut state = State { phase: Phase::Open(Shared::new(overview())), ..State::default() };
    let asked = requests(&state.update(Action::Go(View::Preview), 0.0));
    let [(id, Request::Lab(LabRequest::Find { .. }))] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(answer(&mut state, *id, LabReply::Found(Vec::new())), []);
    state
}

fn digest(done: u64) -> SweepDigest {
    let uniform =
        |scheme: &str, bytes, squared_error| Uniform { scheme: scheme.into(), bytes, squared_error };
    SweepDigest {
        schemes: FIRST.map(str::to_string).to_vec(),
        done,
        layers: 3,
        other_bytes: 1000,
        least_bytes: 40,
        most_bytes: 200,
        uniform: vec![uniform("nvfp4", 40, 8.0), uniform("fp8", 80, 1.0)],
        curve: Vec::new(),
    }
}

#[test]
fn a_layer_is_tried_under_the_schemes_that_are_chosen() {
    let mut state = open();
    let asked = act(&mut state, Lab::Pick("a.b".into()));
    let [(first, Request::Lab(LabRequest::Try { layer, schemes }))] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!((layer.as_str(), schemes.as_slice()), ("a.b", &FIRST.map(String::from)[..]));
    assert_eq!(state.route.fragment(), "#/preview?layer=a.b");
    // Another scheme stops what is under way and asks anew.
    let asked = act(&mut state, Lab::Toggle("int4".into()));
    assert_eq!(asked[0].1, Request::Cancel { job: *first });
    assert!(matches!(&asked[1].1, Request::Lab(LabRequest::Try { schemes, .. }) if schemes.len() == 5));
    // The last scheme cannot be taken away.
    for id in ["int4", "nvfp4", "nvfp4-four-over-six", "fp8", "int8-wo"] {
        act(&mut state, Lab::Toggle(id.into()));
    }
    assert_eq!(state.lab.schemes, ["int8-wo"]);
}

#[test]
fn a_sweep_is_a_job_and_its_proposal_goes_to_convert() {
    let mut state = open();
    let asked = act(&mut state, Lab::Sweep);
    assert!(matches!(asked.as_slice(), [(_, Request::Lab(LabRequest::Sweep { .. }))]), "{asked:?}");
    assert!(state.job.is_some() && act(&mut state, Lab::Sweep).is_empty(), "one at a time");
    let asked = answer(&mut state, asked[0].0, LabReply::Swept(digest(3)));
    assert!(state.job.is_none() && state.lab.is_swept());
    let [(_, Request::Lab(LabRequest::Rows { start: 0, .. })), (id, propose)] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    // Half-way between the single schemes, with the tensors that stay as they are.
    assert_eq!(*propose, Request::Lab(LabRequest::Propose { total_bytes: 1060 }));
    let request =
        ConvertRequest { to: "fp8".into(), layers: vec!["a=nvfp4".into()], ..ConvertRequest::default() };
    answer(
        &mut state,
        *id,
        LabReply::Proposed(Box::new(ProposalDigest { request, ..ProposalDigest::default() })),
    );
    let asked = act(&mut state, Lab::Use);
    assert_eq!(state.route.view, View::Convert);
    let plan = asked.iter().find_map(|(_, request)| match request {
        Request::Plan { convert, .. } => Some(convert),
        _ => None,
    });
    let plan = plan.unwrap();
    assert_eq!((plan.to.as_str(), plan.layers.as_slice()), ("fp8", &["a=nvfp4".to_string()][..]));
}

#[test]
fn a_stopped_sweep_keeps_what_is_done_and_a_budget_asks_anew() {
    let mut state = open();
    let id = act(&mut state, Lab::Sweep)[0].0;
    let asked = answer(&mut state, id, LabReply::Swept(digest(2)));
    assert!(!state.lab.is_swept());
    assert_eq!(state.notice.as_ref().map(|n| n.title.as_str()), Some("Stopped"));
    answer(&mut state, asked[1].0, LabReply::Proposed(Box::default()));
    let asked = act(&mut state, Lab::Budget(1100));
    assert!(matches!(asked.as_slice(), [(_, Request::Lab(LabRequest::Propose { total_bytes: 1100 }))]));
    assert_eq!(act(&mut state, Lab::Budget(1100)), []);
}
