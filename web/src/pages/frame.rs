//! The frame: header, band, rail, the view in the middle, and the job bar.

use super::address::HeldBox;
use super::arrival::Arrival;
use super::compare::{ComparePage, SecondPicks};
use super::convert::ConvertPage;
use super::findings::FindingsPage;
use super::help::{HelpSheet, UpdateBox};
use super::lab::LabPage;
use super::layers::LayersPage;
use super::overview::OverviewPage;
use super::ties::TiesPage;
use crate::components::{Band, Header, JobBar, NoticeBox, Rail, RowFeed, is_judged};
use crate::hooks::use_shortcuts;
use crate::state::load::Shared;
use crate::state::remote::Held;
use crate::state::route::View;
use crate::state::{Action, State};
use yew::{Callback, DragEvent, Event, Html, Properties, component, html};

/// Properties of [`Frame`].
#[derive(Properties, PartialEq)]
pub(crate) struct FrameProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
    /// Files or a folder were picked.
    pub(crate) on_pick: Callback<Event>,
    /// Something was dropped.
    pub(crate) on_drop: Callback<DragEvent>,
    /// A calibration file was picked.
    pub(crate) on_calibration: Callback<Event>,
    /// A recipe file was picked.
    pub(crate) on_recipe: Callback<Event>,
    /// What was lost with a worker shall be opened again; nothing if nothing was.
    pub(crate) on_again: Option<Callback<()>>,
    /// What is picked or dropped in the Compare view.
    pub(crate) second: SecondPicks,
    /// Rows of the layer list that come while it is shown.
    pub(crate) feed: RowFeed,
}

/// The whole page.
#[component]
pub(crate) fn Frame(props: &FrameProps) -> Html {
    let FrameProps { state, dispatch, on_pick, on_drop, on_calibration, on_recipe, on_again, second, feed } =
        props;
    use_shortcuts(dispatch.clone(), state.overview().is_some() && state.route.view == View::Layers);
    let engine = state.engine.status.as_ref().map(|status| status.label.clone()).unwrap_or_default();
    let view = state.route.view;
    let middle = match state.overview() {
        None => {
            html! { <Arrival state={state.clone()} dispatch={dispatch.clone()} on_pick={on_pick.clone()} on_again={on_again.clone()} /> }
        }
        Some(overview) => html! {
            <>
                <Band overview={overview.clone()} busy={state.job.is_some()} dispatch={dispatch.clone()} />
                <div class="middle">
                    <Rail {view} layers={overview.layer_count} findings={is_judged(overview).then_some((overview.errors, overview.warnings, overview.infos))}
                        ties={state.ties.value.as_ref().map(|ties| ties.group_count)} dispatch={dispatch.clone()} />
                    <div class="view">
                        if let Some(notice) = &state.notice {
                            <NoticeBox notice={notice.clone()} on_close={dispatch.reform(|_| Action::Dismiss)} />
                        }
                        if let Some(held) = &state.remote.held {
                            { held_box(state, held, dispatch) }
                        }
                        { match view {
                            View::Overview => html! { <OverviewPage state={state.clone()} dispatch={dispatch.clone()} /> },
                            View::Layers => html! { <LayersPage state={state.clone()} dispatch={dispatch.clone()} feed={feed.clone()} /> },
                            View::Findings => html! { <FindingsPage state={state.clone()} dispatch={dispatch.clone()} /> },
                            View::Ties => html! { <TiesPage state={state.clone()} dispatch={dispatch.clone()} /> },
                            View::Preview => html! { <LabPage state={state.clone()} dispatch={dispatch.clone()} /> },
                            View::Compare => html! { <ComparePage state={state.clone()} dispatch={dispatch.clone()} picks={second.clone()} /> },
                            View::Convert => html! {
                                <ConvertPage state={state.clone()} dispatch={dispatch.clone()} on_calibration={on_calibration.clone()} on_recipe={on_recipe.clone()} />
                            },
                        } }
                    </div>
                </div>
            </>
        },
    };
    html! {
        <div class="app" ondragover={|event: DragEvent| event.prevent_default()} ondrop={on_drop.clone()}>
            <Header overview={state.overview().cloned()} route={state.route.clone()} engine={state.engine.clone()} theme={state.theme}
                traffic={state.remote.is_open.then_some(state.remote.traffic)} dispatch={dispatch.clone()} />
            { middle }
            if let Some(job) = &state.job {
                <JobBar job={job.clone()} {engine} on_cancel={dispatch.reform(|_| Action::CancelJob)} />
            }
            <p class="read-out" aria-live="polite" data-testid="live">{ state.spoken() }</p>
            if state.home.update_waits {
                <UpdateBox dispatch={dispatch.clone()} />
            }
            if state.keys_open {
                <HelpSheet state={state.clone()} dispatch={dispatch.clone()} />
            }
        </div>
    }
}

/// Asks before a job fetches tensors.
fn held_box(state: &State, held: &Held, dispatch: &Callback<Action>) -> Html {
    let (host, bytes) = state.would_fetch(held.kind);
    let scale_bytes = state.remote.scale_bytes_for(held.kind);
    html! { <HeldBox held={held.clone()} host={host.to_owned()} {bytes} {scale_bytes} dispatch={dispatch.clone()} /> }
}
