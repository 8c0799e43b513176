//! What is this, and is it right: verdict, size by scheme and layer, declared against found, files.

use crate::components::{ErrorBox, SchemeTag, SizeMap, Words};
use crate::state::exploring::{Explore, way_into};
use crate::state::load::Shared;
use crate::state::route::{Filter, View};
use crate::state::{Action, State, text};
use quantscope_session::api::{Overview, ShardView, SizeCell};
use quantscope_session::render::Form;
use yew::{Callback, Html, Properties, classes, component, html};

/// Properties of [`OverviewPage`].
#[derive(Properties, PartialEq)]
pub(crate) struct OverviewPageProps {
    /// The page's state.
    pub(crate) state: Shared<State>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The screen.
#[component]
pub(crate) fn OverviewPage(props: &OverviewPageProps) -> Html {
    let OverviewPageProps { state, dispatch } = props;
    let Some(overview) = state.overview() else { return Html::default() };
    html! {
        <main class="page overview">
            { verdict(overview, dispatch) }
            <section>
                { sizes(state, overview, dispatch) }
            </section>
            <div class="columns">
                { schemes(overview) }
                { declared(overview) }
            </div>
            { shards(overview) }
            <p class="overview-end">
                <button onclick={dispatch.reform(|_| Action::SaveReport(Form::Json))} data-testid="save-report">{ "Save the report as JSON" }</button>
                <span class="faint">{ "the same report as " }<code>{ "quantscope audit --format json" }</code></span>
            </p>
        </main>
    }
}

/// The map of the module that the address names, or of the whole checkpoint. Until it is there, the one before stays.
fn sizes(state: &State, overview: &Overview, dispatch: &Callback<Action>) -> Html {
    let at = &state.route.at;
    let sizes = &state.exploring.sizes;
    let on_path = dispatch.reform(|path| Action::Explore(Explore::Enter(path)));
    if let Some(error) = sizes.failed.as_ref().filter(|_| !at.is_empty()) {
        let on_retry = dispatch.reform(|_| Action::Retry);
        return html! { <ErrorBox title="The sizes could not be read" error={error.clone()} {on_retry} /> };
    }
    let (path, cells, layers, bytes) = match sizes.value.as_deref().filter(|_| !at.is_empty()) {
        Some(Some(view)) => (view.path.clone(), view.cells.clone(), view.layers, view.bytes),
        Some(None) => (at.clone(), Vec::new(), 0, 0),
        None => (String::new(), overview.size_map.clone(), overview.layer_count, overview.bytes),
    };
    let on_cell = {
        let (path, names) = (path.clone(), cells.iter().map(|cell| cell.name.clone()).collect::<Vec<_>>());
        dispatch.reform(move |cell: SizeCell| {
            let inner = way_into(&path, &cell.name, &names);
            if inner.len() < cell.name.len() {
                Action::Explore(Explore::Enter(inner))
            } else {
                cell_target(cell)
            }
        })
    };
    let on_layers = {
        let text = if path.is_empty() { String::new() } else { format!("{path}*") };
        dispatch.reform(move |_| Action::SetFilter(Filter { text: text.clone(), ..Filter::default() }))
    };
    html! {
        <>
            <h2>{ "Where the bytes are" }<span title={text::exact_size(bytes)}>{ format!("{}, by module and scheme", text::size(bytes)) }</span></h2>
            <SizeMap {path} {cells} {on_cell} on_row={dispatch.reform(cell_target)} {on_path} />
            <p class="sizes-end"><button class="quiet" onclick={on_layers}>{ format!("List {}", text::counted(layers, "layer")) }</button></p>
        </>
    }
}

/// A layer that stands alone is opened; a module is entered.
fn cell_target(cell: SizeCell) -> Action {
    if cell.name.is_empty() {
        return Action::Go(View::Layers);
    }
    if cell.layers == 1 {
        return Action::Select(Some(cell.name));
    }
    Action::Explore(Explore::Enter(cell.name))
}

fn verdict(overview: &Overview, dispatch: &Callback<Action>) -> Html {
    let verdict = &overview.verdict;
    let found = overview.errors + overview.warnings + overview.infos;
    html! {
        <section class="verdict-words">
            <h1 class={classes!(format!("verdict-ink-{}", verdict.state))}>{ &verdict.title }</h1>
            if !verdict.next.is_empty() {
                <ul class="next">{ for verdict.next.iter().map(|step| html! { <li><Words text={step.clone()} /></li> }) }</ul>
            }
            <p class="next-ways">
                if found > 0 {
                    <button class="primary" onclick={dispatch.reform(|_| Action::Go(View::Findings))}>{ format!("See {}", text::counted(found, "finding")) }</button>
                }
                <button onclick={dispatch.reform(|_| Action::Go(View::Layers))}>{ "Look at the layers" }</button>
                <button onclick={dispatch.reform(|_| Action::Go(View::Convert))}>{ "Plan a conversion" }</button>
            </p>
        </section>
    }
}

fn schemes(overview: &Overview) -> Html {
    let whole: u64 = overview.schemes.iter().map(|share| share.bytes).sum();
    let rows = overview.schemes.iter().map(|share| {
        html! {
            <tr>
                <td><SchemeTag scheme={share.scheme.clone()} family={share.family.clone()} /></td>
                <td class="n">{ text::count(share.layers) }</td>
                <td class="n" title={text::count(share.parameters)}>{ text::short_count(share.parameters) }</td>
                <td class="n" title={text::exact_size(share.bytes)}>{ text::size(share.bytes) }</td>
                <td class="n">{ text::percent(share.bytes, whole) }</td>
            </tr>
        }
    });
    html! {
        <section>
            <h2>{ "Schemes" }<span>{ format!("{} bits per weight", text::bits(overview.bits_per_weight)) }</span></h2>
            <table class="facts" data-testid="scheme-table">
                <thead><tr><th>{ "Scheme" }</th><th class="n">{ "Layers" }</th><th class="n">{ "Weights" }</th><th class="n">{ "Stored" }</th><th class="n">{ "Share" }</th></tr></thead>
                <tbody>{ for rows }</tbody>
            </table>
        </section>
    }
}

fn declared(overview: &Overview) -> Html {
    let found: Vec<String> = overview
        .schemes
        .iter()
        .filter(|share| share.layers > 0)
        .map(|share| format!("{} in {}", share.scheme, text::counted(share.layers, "layer")))
        .collect();
    let declared = if overview.declared.is_empty() { "nothing" } else { &overview.declared };
    let found = if found.is_empty() { "no layers".to_owned() } else { found.join(", ") };
    let verified = match &overview.verified_by {
        Some(engine) => format!("bytes verified on {engine}"),
        None if overview.scales_checked => "headers, configs and scales; codes not yet".to_owned(),
        None => "headers and configs only; scales and codes not yet".to_owned(),
    };
    html! {
        <section>
            <h2>{ "Declared and found" }</h2>
            <dl class="pairs">
                <dt>{ "configs declare" }</dt><dd data-testid="declared">{ declared }</dd>
                <dt>{ "tensors are" }</dt><dd>{ found }</dd>
                <dt>{ "checked" }</dt><dd>{ verified }</dd>
                <dt>{ "to open it" }</dt><dd title={text::exact_size(overview.bytes_read)}>{ format!("{} read of {}", text::size(overview.bytes_read), text::size(overview.bytes)) }</dd>
                <dt>{ "in all" }</dt><dd>{ format!("{} in {}", text::counted(overview.tensor_count, "tensor"), text::counted(overview.layer_count, "layer")) }</dd>
            </dl>
        </section>
    }
}

fn shards(overview: &Overview) -> Html {
    let row = |shard: &ShardView| {
        let sound = shard.state == "sound";
        html! {
            <tr>
                <td><code>{ &shard.file }</code></td>
                <td class="n">{ text::count(shard.tensors) }</td>
                <td class="n" title={text::exact_size(shard.bytes)}>{ text::size(shard.bytes) }</td>
                <td class={if sound { "is-sound" } else { "is-error" }}>
                    <span aria-hidden="true">{ if sound { "✓ " } else { "✕ " } }</span>{ &shard.state }
                </td>
            </tr>
        }
    };
    html! {
        <section>
            <h2>{ "Files" }<span>{ text::counted(overview.shards.len() as u64, "weight file") }</span></h2>
            <table class="facts" data-testid="shard-table">
                <thead><tr><th>{ "File" }</th><th class="n">{ "Tensors" }</th><th class="n">{ "Size" }</th><th>{ "State" }</th></tr></thead>
                <tbody>{ for overview.shards.iter().map(row) }</tbody>
            </table>
            if !overview.other_files.is_empty() {
                <p class="faint">{ "also " }<code>{ overview.other_files.join(", ") }</code></p>
            }
        </section>
    }
}
