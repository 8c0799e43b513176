//! The ways between views: a rail at the left, a bar at the bottom where the screen is narrow.

use crate::state::route::View;
use crate::state::{Action, text};
use yew::{Callback, Html, Properties, classes, component, html};

/// Properties of [`Rail`].
#[derive(Properties, PartialEq)]
pub(crate) struct RailProps {
    /// Where the user is.
    pub(crate) view: View,
    /// Number of layers.
    pub(crate) layers: u64,
    /// Findings: errors, warnings, notes; `None` until the headers were judged.
    pub(crate) findings: Option<(u64, u64, u64)>,
    /// Tie groups, as far as they were asked for.
    pub(crate) ties: Option<u64>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The rail.
#[component]
pub(crate) fn Rail(props: &RailProps) -> Html {
    let items = View::ALL.into_iter().map(|view| {
        let (count, class) = match view {
            View::Layers => (Some(props.layers), ""),
            View::Findings => match props.findings {
                Some((errors, warnings, infos)) => (
                    Some(errors + warnings + infos),
                    if errors > 0 { "is-error" } else if warnings > 0 { "is-warning" } else { "" },
                ),
                None => (None, ""),
            },
            View::Ties => (props.ties, ""),
            View::Overview | View::Preview | View::Compare | View::Convert => (None, ""),
        };
        let here = view == props.view;
        let dispatch = props.dispatch.clone();
        html! {
            <li class={if view == View::Convert { "rail-apart" } else { "" }}>
                <button class={classes!("rail-item", here.then_some("here"))} aria-current={here.then_some("page")}
                    data-testid={format!("nav-{}", view.slug())} onclick={move |_| dispatch.emit(Action::Go(view))}>
                    { view.label() }
                    if let Some(count) = count {
                        <em class={class}>{ text::count(count) }</em>
                    }
                </button>
            </li>
        }
    });
    html! { <nav class="rail" aria-label="Views"><ul>{ for items }</ul></nav> }
}
