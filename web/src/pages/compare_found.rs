//! What a comparison found: the verdict, the causes, and the list.

use crate::components::{DifferenceTable, ErrorBox};
use crate::protocol::CompareDigest;
use crate::services::dom;
use crate::state::compare::{Compare, CompareState, verdict};
use crate::state::{Action, causes, text};
use quantscope_session::api::DifferenceQuery;
use yew::{Callback, Html, InputEvent, Properties, classes, component, html};

/// Properties of [`FoundSection`].
#[derive(Properties, PartialEq)]
pub(crate) struct FoundSectionProps {
    /// The view's part of the state.
    pub(crate) compare: CompareState,
    /// Which differences are listed.
    pub(crate) query: DifferenceQuery,
    /// The difference in the panel.
    pub(crate) pair: Option<String>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The section.
#[component]
pub(crate) fn FoundSection(props: &FoundSectionProps) -> Html {
    let FoundSectionProps { compare, query, pair, dispatch } = props;
    let Some(found) = &compare.found else { return Html::default() };
    let on_query = dispatch.reform(|query| Action::Compare(Compare::Query(query)));
    let total = found.explained.saturating_add(found.unexplained);
    html! {
        <section class="compare-found" aria-label="What was found" data-testid="compare-found" data-unexplained={found.unexplained.to_string()} data-explained={found.explained.to_string()} data-equal={found.equal_layers.to_string()}>
            { verdict_view(found) }
            if total > 0 {
                { filters(found, query, &on_query) }
                if let Some(error) = &compare.rows.failed {
                    <ErrorBox title="The list could not be read" error={error.clone()} on_retry={dispatch.reform(|_| Action::Retry)} />
                } else if let Some(page) = &compare.rows.value {
                    <DifferenceTable page={page.clone()} query={query.clone()} cursor={compare.cursor} selected={pair.clone()} {on_query}
                        on_window={dispatch.reform(|(first, count)| Action::Compare(Compare::Window { first, count }))}
                        on_cursor={dispatch.reform(|row| Action::Compare(Compare::Cursor(row)))}
                        on_pick={dispatch.reform(|name| Action::Compare(Compare::Pick(Some(name))))} />
                    if page.matching == 0 {
                        <p class="empty" role="status">{ "No difference matches. Clear the search or a filter." }</p>
                    }
                } else {
                    <p class="waits" role="status">{ "Reading" }</p>
                }
            }
        </section>
    }
}

fn verdict_view(found: &CompareDigest) -> Html {
    let (class, icon) =
        if found.unexplained == 0 { ("verdict-sound", "✓") } else { ("verdict-broken", "✕") };
    let same = match found.equal_layers {
        0 => "no layer is the same byte by byte".to_owned(),
        1 => "1 layer is the same byte by byte".to_owned(),
        count => format!("{} layers are the same byte by byte", text::count(count)),
    };
    html! {
        <p class="compare-verdict" role="status">
            <span class={classes!("verdict", class)} data-testid="compare-verdict"><span aria-hidden="true">{ icon }</span>{ verdict(found) }</span>
            <span class="faint">{ same }</span>
        </p>
    }
}

fn filters(found: &CompareDigest, query: &DifferenceQuery, on_query: &Callback<DifferenceQuery>) -> Html {
    let on_text = {
        let (on_query, query) = (on_query.clone(), query.clone());
        Callback::from(move |event: InputEvent| {
            on_query.emit(DifferenceQuery { text: dom::value_of(&event), ..query.clone() });
        })
    };
    let emit = |changed: DifferenceQuery| {
        let on_query = on_query.clone();
        move |_| on_query.emit(changed.clone())
    };
    let chips = found.by_cause.iter().map(|(cause, count)| {
        let on = query.cause.as_ref() == Some(cause);
        let changed = DifferenceQuery { cause: (!on).then(|| cause.clone()), ..query.clone() };
        html! {
            <button class={classes!("toggle", on.then_some("on"))} aria-pressed={on.to_string()} title={causes::words(cause)} data-testid="compare-cause" data-cause={cause.clone()} onclick={emit(changed)}>
                { cause }<em>{ text::count(*count) }</em></button>
        }
    });
    let is_open = query.unexplained;
    let narrows = DifferenceQuery { sort: String::new(), ..query.clone() } != DifferenceQuery::default();
    let clear = DifferenceQuery { sort: query.sort.clone(), ..DifferenceQuery::default() };
    html! {
        <div class="tools compare-filters" role="search">
            <input type="search" data-testid="compare-search" placeholder="Name, or a glob" aria-label="Search differences" spellcheck="false" autocomplete="off" value={query.text.clone()} oninput={on_text} />
            if found.unexplained > 0 {
                <button class={classes!("toggle", is_open.then_some("on"))} aria-pressed={is_open.to_string()} data-testid="compare-open"
                    onclick={emit(DifferenceQuery { unexplained: !is_open, ..query.clone() })}>{ "not explained" }<em class="is-error">{ text::count(found.unexplained) }</em></button>
            }
            { for chips }
            if narrows { <button class="quiet" onclick={emit(clear)}>{ "Clear" }</button> }
        </div>
    }
}
