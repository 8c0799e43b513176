//! The Compare view, action by action.

use super::super::tests::{open, overview, sent};
use super::super::{Action, Event};
use super::*;
use quantscope_session::api::Difference;

fn act(state: &mut State, action: Compare) -> Vec<(RequestId, Request)> {
    sent(&state.update(Action::Compare(action), 0.0))
}

fn answer(state: &mut State, id: RequestId, reply: CompareReply) -> Vec<(RequestId, Request)> {
    sent(&state.update(Action::Answer { id, result: Box::new(Ok(Reply::Compare(reply))) }, 0.0))
}

/// Two checkpoints, the second with 16 bits per weight beside the 4.5 of the first.
fn with_second() -> State {
    let mut state = open();
    state.update(Action::Go(View::Compare), 0.0);
    let files = Compare::Open { name: "source".into(), paths: vec!["a.safetensors".into()] };
    let asked = act(&mut state, files);
    let [(id, Request::Compare(CompareRequest::Open { .. }))] = asked.as_slice() else { panic!("{asked:?}") };
    let source = Overview { bits_per_weight: 16.0, ..overview() };
    assert_eq!(answer(&mut state, *id, CompareReply::Opened(source)), []);
    state
}

fn row(name: &str, max_abs: Option<f64>) -> DifferenceRow {
    let difference = Difference { b: Some(name.into()), max_abs, ..Difference::default() };
    DifferenceRow { difference, ..DifferenceRow::default() }
}

fn page(state: &State, start: u64, matching: u64) -> DifferencePage {
    let end = matching.min(start + PAGE.0);
    let rows = (start..end).map(|at| row(&at.to_string(), None)).collect();
    DifferencePage { query: state.route.compare.clone(), start, rows, matching }
}

/// A comparison with 1000 differences, its first rows there.
fn compared() -> State {
    let mut state = with_second();
    let asked = act(&mut state, Compare::Run);
    let digest = CompareDigest { unexplained: 1, explained: 999, ..CompareDigest::default() };
    let asked = answer(&mut state, asked[0].0, CompareReply::Compared(digest));
    let [(id, Request::Compare(CompareRequest::Rows { start: 0, .. }))] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let first = page(&state, 0, 1000);
    assert_eq!(answer(&mut state, *id, CompareReply::Rows(first)), []);
    state
}

#[test]
fn what_has_fewer_bits_is_taken_for_the_export_until_the_user_swaps() {
    let mut state = with_second();
    assert!(state.compare.swapped, "the open one has 4.5 bits per weight");
    assert_eq!(act(&mut state, Compare::Swap), []);
    let asked = act(&mut state, Compare::Run);
    assert!(matches!(asked.as_slice(), [(_, Request::Compare(CompareRequest::Run { swapped: false }))]));
    assert_eq!(act(&mut state, Compare::Swap), [], "not while it is being answered");
    assert!(!state.compare.swapped);
}

#[test]
fn nothing_is_compared_without_a_second() {
    let mut state = open();
    state.update(Action::Go(View::Compare), 0.0);
    assert_eq!(act(&mut state, Compare::Run), []);
    assert_eq!(act(&mut state, Compare::Open { name: "none".into(), paths: Vec::new() }), []);
    assert!(state.notice.as_ref().is_some_and(|notice| notice.is_error));
}

#[test]
fn rows_are_asked_for_where_the_user_looks() {
    let mut state = compared();
    assert_eq!(act(&mut state, Compare::Window { first: 100, count: 40 }), []);
    let asked = act(&mut state, Compare::Window { first: 600, count: 40 });
    let [(id, Request::Compare(CompareRequest::Rows { start: 520, .. }))] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let (id, later) = (*id, page(&state, 520, 1000));
    assert_eq!(act(&mut state, Compare::Window { first: 0, count: 40 }), [], "one question at a time");
    let asked = answer(&mut state, id, CompareReply::Rows(later));
    assert!(matches!(asked.as_slice(), [(_, Request::Compare(CompareRequest::Rows { start: 0, .. }))]));
}

#[test]
fn a_narrower_query_finds_its_rows_wherever_the_user_was() {
    let mut state = compared();
    let asked = act(&mut state, Compare::Window { first: 600, count: 40 });
    let later = page(&state, 520, 1000);
    answer(&mut state, asked[0].0, CompareReply::Rows(later));
    let query = DifferenceQuery { cause: Some("tied".into()), ..DifferenceQuery::default() };
    let asked = act(&mut state, Compare::Query(query));
    let (id, few) = (asked[0].0, page(&state, 520, 3));
    let asked = answer(&mut state, id, CompareReply::Rows(DifferencePage { rows: Vec::new(), ..few }));
    let [(id, Request::Compare(CompareRequest::Rows { start: 0, .. }))] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let (id, few) = (*id, page(&state, 0, 3));
    assert_eq!(answer(&mut state, id, CompareReply::Rows(few)), []);
}

#[test]
fn a_picture_is_drawn_of_values_that_differ_and_stopped_when_nobody_looks() {
    let mut state = compared();
    let asked = act(&mut state, Compare::Pick(Some("config.json".into())));
    let [(id, Request::Compare(CompareRequest::Row { .. }))] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(answer(&mut state, *id, CompareReply::Row(Some(row("config.json", None)))), []);
    let asked = act(&mut state, Compare::Pick(Some("a.b".into())));
    let asked = answer(&mut state, asked[0].0, CompareReply::Row(Some(row("a.b", Some(0.5)))));
    let [(job, Request::Compare(CompareRequest::Picture { .. }))] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    let asked = sent(&state.update(Action::Escape, 0.0));
    assert!(asked.contains(&(job + 1, Request::Cancel { job: *job })), "{asked:?}");
    assert_eq!(state.route.pair, None);
}

#[test]
fn a_picture_over_the_network_waits_for_the_users_word() {
    let mut state = compared();
    state.remote.is_open = true;
    let asked = act(&mut state, Compare::Pick(Some("a.b".into())));
    assert_eq!(answer(&mut state, asked[0].0, CompareReply::Row(Some(row("a.b", Some(0.5))))), []);
    assert!(matches!(
        act(&mut state, Compare::Draw).as_slice(),
        [(_, Request::Compare(CompareRequest::Picture { .. }))]
    ));
    // So does the comparison itself, and what is at stake is both.
    assert_eq!(act(&mut state, Compare::Run), []);
    assert_eq!(state.remote.held.as_ref().map(|held| held.kind), Some(JobKind::Compare));
    assert_eq!(state.would_fetch(JobKind::Compare).1, 1000);
}

#[test]
fn a_comparison_that_fails_says_what_failed_and_one_that_is_stopped_does_not() {
    let mut state = with_second();
    let id = act(&mut state, Compare::Run)[0].0;
    let refused = SessionError { kind: "source".into(), message: "gone".into() };
    state.update(Action::Answer { id, result: Box::new(Err(refused.clone())) }, 0.0);
    assert_eq!(state.compare.failed, Some(("Not compared", refused)));
    let id = act(&mut state, Compare::Run)[0].0;
    assert_eq!(state.compare.failed, None);
    let stopped = SessionError { kind: "cancelled".into(), message: String::new() };
    state.update(Action::Answer { id, result: Box::new(Err(stopped)) }, 0.0);
    assert_eq!(state.compare.failed, None);
    assert!(state.compare.second.is_some(), "it can be compared again");
    state.update(Action::Told(Event::Ready), 0.0);
}

#[test]
fn another_question_forgets_the_answer() {
    for action in [Compare::Swap, Compare::Rules(None), Compare::Drop] {
        let mut state = compared();
        act(&mut state, action.clone());
        assert!(state.compare.found.is_none(), "{action:?}");
    }
    let mut state = compared();
    state.update(Action::Close, 0.0);
    assert_eq!(state.compare, CompareState::default());
}

#[test]
fn a_result_is_compared_as_long_as_it_is_there() {
    let mut state = open();
    let asked = act(&mut state, Compare::OpenResult);
    let [(id, Request::Compare(CompareRequest::OpenResult { .. }))] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(state.route.view, View::Compare);
    answer(&mut state, *id, CompareReply::Opened(Overview { bits_per_weight: 2.0, ..overview() }));
    act(&mut state, Compare::Swap);
    assert!(state.compare.second.is_some());
    state.update(Action::DropOutput, 0.0);
    assert_eq!(state.compare, CompareState::default());
}

#[test]
fn what_was_found_is_one_sentence_that_is_spoken_too() {
    let of = |explained, unexplained| {
        verdict(&CompareDigest { explained, unexplained, ..CompareDigest::default() })
    };
    assert_eq!(of(0, 0), "Nothing differs");
    assert_eq!(of(1, 0), "The one difference is explained");
    assert_eq!(of(0, 1), "1 of 1 difference is not explained");
    assert_eq!(of(1998, 2), "2 of 2,000 differences are not explained");
    let state = compared();
    assert_eq!(state.spoken(), "Compare: 1 of 1,000 differences is not explained");
}
