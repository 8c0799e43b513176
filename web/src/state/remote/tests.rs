//! Addresses, action by action.

use super::*;
use crate::protocol::{Reply, RequestId};
use crate::state::route::View;
use crate::state::tests::overview;
use crate::state::{Action, Theme};
use quantscope_session::api::VerifySummary;

fn page(fragment: &str) -> State {
    let mut state = State::new(Route::parse(fragment), Theme::System, false);
    state.remote.connects = true;
    state
}

fn act(state: &mut State, visit: Visit) -> Vec<(RequestId, Request)> {
    requests(state.update(Action::Visit(visit), 0.0))
}

fn requests(commands: Vec<Command>) -> Vec<(RequestId, Request)> {
    let sent = commands.into_iter().filter_map(|command| match command {
        Command::Send { id, request } => Some((id, *request)),
        _ => None,
    });
    sent.collect()
}

/// A page with a checkpoint at an address.
fn open(fragment: &str) -> State {
    let mut state = page(fragment);
    let sent = act(&mut state, Visit::Begin);
    let [(id, Request::Remote(RemoteRequest::Open { address, .. }))] = sent.as_slice() else {
        panic!("{sent:?}");
    };
    assert_eq!(address, "hf://o/r");
    state.update(Action::Answer { id: *id, result: Box::new(Ok(Reply::Opened(overview()))) }, 0.0);
    state
}

#[test]
fn an_address_in_the_fragment_opens_and_stays() {
    let state = open("#/layers?layer=a&address=hf%3A%2F%2Fo%2Fr");
    assert_eq!((state.route.view, state.route.layer.as_deref()), (View::Layers, Some("a")));
    assert_eq!(state.route.fragment(), "#/layers?layer=a&address=hf%3A%2F%2Fo%2Fr");
    assert_eq!(state.remote.host(), "huggingface.co");
}

#[test]
fn the_page_that_may_not_connect_asks_for_nothing() {
    let mut state = page("#/overview?address=hf%3A%2F%2Fo%2Fr");
    state.remote.connects = false;
    assert_eq!(act(&mut state, Visit::Begin), []);
    state.remote.address = "hf://o/r".into();
    assert_eq!(act(&mut state, Visit::Open), []);
    assert!(state.notice.is_some());
}

#[test]
fn what_reads_tensors_waits_for_the_word() {
    let mut state = open("#/overview?address=hf%3A%2F%2Fo%2Fr");
    let sent = requests(state.update(Action::Verify, 0.0));
    assert!(
        matches!(sent.as_slice(), [(_, Request::Remote(RemoteRequest::ScaleBytes))]),
        "nothing of the tensors is asked: {sent:?}"
    );
    assert_eq!(state.remote.held.as_ref().map(|held| held.kind), Some(JobKind::Verify));
    assert_eq!(act(&mut state, Visit::Refuse), []);
    assert!(state.remote.held.is_none() && state.job.is_none());
    state.update(Action::Verify, 0.0);
    let sent = act(&mut state, Visit::Allow);
    assert!(matches!(sent.as_slice(), [(_, Request::Verify)]), "{sent:?}");
    assert!(state.job.is_some() && state.remote.held.is_none());
}

#[test]
fn scales_alone_are_offered_once_their_size_is_known() {
    let mut state = open("#/overview?address=hf%3A%2F%2Fo%2Fr");
    let sent = requests(state.update(Action::Verify, 0.0));
    assert_eq!(state.remote.scale_bytes_for(JobKind::Verify), None);
    let reply = |state: &mut State, id, reply| {
        state.update(Action::Answer { id, result: Box::new(Ok(reply)) }, 0.0);
    };
    reply(&mut state, sent[0].0, Reply::ScaleBytes(1 << 20));
    assert_eq!(state.remote.scale_bytes_for(JobKind::Verify), Some(1 << 20));
    assert_eq!(state.remote.scale_bytes_for(JobKind::Convert), None, "a conversion needs more");
    let sent = act(&mut state, Visit::Scales);
    let [(id, Request::Remote(RemoteRequest::Scales))] = sent.as_slice() else { panic!("{sent:?}") };
    assert!(state.remote.held.is_none() && state.job.as_ref().is_some_and(|job| job.id == *id));
    let summary = VerifySummary { engine: "CPU".into(), findings_after: 2, ..VerifySummary::default() };
    reply(&mut state, *id, Reply::Verified { summary, overview: overview() });
    assert!(state.notice.as_ref().is_some_and(|notice| notice.title == "Scales checked on CPU"));
    assert!(state.job.is_none() && state.verified.is_none(), "the codes were not verified");
    // Of a checkpoint without scales there is nothing to offer.
    let sent = requests(state.update(Action::Verify, 0.0));
    assert_eq!(sent, [], "the size is known");
}

#[test]
fn values_of_a_layer_wait_for_the_word() {
    let mut state = open("#/layers?address=hf%3A%2F%2Fo%2Fr");
    let asks = |sent: &[(RequestId, Request)]| sent.iter().any(|(_, r)| matches!(r, Request::Values { .. }));
    let sent = requests(state.update(Action::Select(Some("a".into())), 0.0));
    assert!(!asks(&sent), "{sent:?}");
    assert!(asks(&act(&mut state, Visit::Values)));
    assert!(!asks(&requests(state.update(Action::Select(Some("b".into())), 0.0))));
}

#[test]
fn files_of_this_machine_are_read_without_asking() {
    let mut state = open("#/overview?address=hf%3A%2F%2Fo%2Fr");
    let paths = vec!["a.safetensors".to_owned()];
    let sent = requests(state.update(Action::OpenFiles { name: "a".into(), paths }, 0.0));
    let id = sent.last().map(|(id, _)| *id).unwrap_or_default();
    state.update(Action::Answer { id, result: Box::new(Ok(Reply::Opened(overview()))) }, 0.0);
    assert_eq!(state.route.fragment(), "#/overview");
    assert!(matches!(requests(state.update(Action::Verify, 0.0)).as_slice(), [(_, Request::Verify)]));
}

#[test]
fn the_history_leads_from_address_to_address() {
    let mut state = open("#/overview?address=hf%3A%2F%2Fo%2Fr");
    let there = Route::parse("#/overview?address=hf%3A%2F%2Fo%2Fother");
    let sent = requests(state.update(Action::Navigated(Box::new(there)), 0.0));
    assert!(
        matches!(sent.last(), Some((_, Request::Remote(RemoteRequest::Open { address, .. }))) if address == "hf://o/other")
    );
    let view = Route { view: View::Ties, ..state.route.clone() };
    let sent = requests(state.update(Action::Navigated(Box::new(view)), 0.0));
    assert!(!sent.iter().any(|(_, request)| matches!(request, Request::Remote(_))), "{sent:?}");
}

#[test]
fn hosts_are_told() {
    for (address, host) in
        [("https://h.test:8/a?b", "h.test:8"), ("hf://o/r", "huggingface.co"), ("nothing", "")]
    {
        assert_eq!(Remote { address: address.into(), ..Remote::default() }.host(), host);
    }
}
