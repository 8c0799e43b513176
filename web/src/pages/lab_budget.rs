//! All layers by what they lose, and the mixed recipe that fits a budget.

use crate::components::{ErrorBox, LayerName, SchemeTag};
use crate::protocol::{ProposalDigest, SweepDigest};
use crate::services::dom;
use crate::state::lab::{Lab, LabState};
use crate::state::{Action, text};
use quantscope_session::api::{SweepOption, SweepRow};
use yew::{Callback, Html, InputEvent, Properties, component, html};

/// Properties of [`BudgetSection`].
#[derive(Properties, PartialEq)]
pub(crate) struct BudgetSectionProps {
    /// The view's part of the state.
    pub(crate) lab: LabState,
    /// Whether a job runs.
    pub(crate) busy: bool,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 8.0;
const FLOOR: f64 = 160.0;

/// The section.
#[component]
pub(crate) fn BudgetSection(props: &BudgetSectionProps) -> Html {
    let BudgetSectionProps { lab, busy, dispatch } = props;
    let word = match &lab.sweep {
        Some(sweep) if sweep.schemes == lab.schemes && sweep.done < sweep.layers => "Go on",
        Some(_) if lab.is_swept() => "All tried",
        Some(_) => "Try the schemes chosen now",
        None => "Try all layers",
    };
    html! {
        <section class="lab-all" aria-label="All layers">
            <h2>{ "All layers" }<span>{ "those that a conversion would pack; fused layers and the experts of a block share a scheme" }</span></h2>
            <p class="lab-run">
                <button class={if lab.sweep.is_none() { "primary" } else { "" }} data-testid="lab-sweep" disabled={*busy || lab.is_swept()} onclick={dispatch.reform(|_| Action::Lab(Lab::Sweep))}>{ word }</button>
                if let Some(sweep) = &lab.sweep {
                    <span class="faint" role="status" data-testid="lab-swept">{ format!("{} of {} tried under {}", text::count(sweep.done), text::counted(sweep.layers, "layer"), sweep.schemes.join(", ")) }</span>
                }
            </p>
            if let Some(error) = &lab.failed {
                <ErrorBox title="Not tried" error={error.clone()} />
            }
            if let Some(sweep) = &lab.sweep {
                { budget_view(sweep, props) }
                { table_view(sweep, props) }
            }
        </section>
    }
}

fn budget_view(sweep: &SweepDigest, props: &BudgetSectionProps) -> Html {
    let BudgetSectionProps { lab, dispatch, .. } = props;
    let (least, most) = (
        sweep.other_bytes.saturating_add(sweep.least_bytes),
        sweep.other_bytes.saturating_add(sweep.most_bytes),
    );
    let on_budget = dispatch.reform(move |event: InputEvent| {
        Action::Lab(Lab::Budget(dom::value_of(&event).parse().unwrap_or(least)))
    });
    let proposal = lab.proposal.value.as_deref();
    html! {
        <div class="lab-budget">
            <div class="lab-slider">
                <label><span>{ "Size of all tensors, at most" }</span>
                    <input type="range" data-testid="lab-budget" min={least.to_string()} max={most.to_string()} step="1" value={lab.budget.to_string()}
                        aria-valuetext={text::size(lab.budget)} oninput={on_budget} /></label>
                <p><b title={text::exact_size(lab.budget)}>{ text::size(lab.budget) }</b>
                    <span class="faint">{ format!("from {} to {}", text::size(least), text::size(most)) }</span></p>
            </div>
            if let Some(error) = &lab.proposal.failed {
                <ErrorBox title="No recipe" error={error.clone()} />
            }
            { chart(sweep, proposal) }
            if let Some(proposal) = proposal {
                { proposal_view(sweep, proposal, props) }
            }
        </div>
    }
}

fn proposal_view(sweep: &SweepDigest, proposal: &ProposalDigest, props: &BudgetSectionProps) -> Html {
    let fitting = sweep.uniform.iter().filter(|uniform| uniform.bytes <= proposal.bytes);
    let best = fitting.min_by(|a, b| a.squared_error.total_cmp(&b.squared_error));
    let against = best.filter(|best| best.squared_error > 0.0).map(|best| {
        let times = best.squared_error / proposal.squared_error.max(f64::MIN_POSITIVE);
        format!("{} everywhere, which fits too, loses {} times as much", best.scheme, text::number(times))
    });
    html! {
        <div class="lab-proposal" data-testid="lab-proposal">
            <p><b>{ "Mixed recipe: " }</b><span data-testid="lab-proposal-size" title={text::exact_size(proposal.total_bytes)} data-error={proposal.squared_error.to_string()}>{ text::size(proposal.total_bytes) }</span>
                { format!(", {} bits per weight of these layers, squared error {}", text::bits(proposal.bits_per_weight), text::number(proposal.squared_error)) }</p>
            if let Some(against) = against.filter(|_| proposal.schemes.len() > 1) { <p class="faint">{ against }</p> }
            if !proposal.fits { <p class="is-warning">{ "Nothing fits: this is the smallest there is." }</p> }
            <ul class="lab-shares-of">{ for proposal.schemes.iter().map(|(scheme, family, layers, bytes)| html! {
                <li><SchemeTag scheme={scheme.clone()} family={family.clone()} /><span class="n">{ text::counted(*layers, "layer") }</span><span class="n">{ text::size(*bytes) }</span></li>
            }) }</ul>
            <button class="primary" data-testid="lab-use" disabled={props.busy} onclick={props.dispatch.reform(|_| Action::Lab(Lab::Use))}>{ "Use in Convert" }</button>
        </div>
    }
}

/// Size across, squared error up as a logarithm: the curve of mixed recipes, single schemes as points.
#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn chart(sweep: &SweepDigest, proposal: Option<&ProposalDigest>) -> Html {
    let errors = sweep.curve.iter().map(|point| point.1).chain(sweep.uniform.iter().map(|u| u.squared_error));
    let (low, high) = errors
        .filter(|e| *e > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), e| (low.min(e), high.max(e)));
    if !low.is_finite() || sweep.most_bytes <= sweep.least_bytes {
        return Html::default();
    }
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    let x = |bytes: u64| {
        let part =
            bytes.saturating_sub(sweep.least_bytes) as f64 / (sweep.most_bytes - sweep.least_bytes) as f64;
        LEFT + part * (WIDTH - 2.0 * LEFT)
    };
    let y = |error: f64| {
        let part = if error > 0.0 { (error.log10() - low) / (high - low).max(1.0) } else { 0.0 };
        FLOOR - part.clamp(0.0, 1.0) * (FLOOR - 16.0)
    };
    let line: Vec<String> =
        sweep.curve.iter().map(|&(bytes, error)| format!("{:.1},{:.1}", x(bytes), y(error))).collect();
    let points = sweep.uniform.iter().map(|uniform| {
        let (x, y) = (x(uniform.bytes), y(uniform.squared_error));
        html! { <g><title>{ format!("{} everywhere: {}, squared error {}", uniform.scheme, text::size(uniform.bytes.saturating_add(sweep.other_bytes)), text::number(uniform.squared_error)) }</title>
            <circle class="uniform" cx={format!("{x:.1}")} cy={format!("{y:.1}")} r="4" />
            <text x={format!("{:.1}", x + 8.0)} y={format!("{:.1}", y - 5.0)}>{ &uniform.scheme }</text></g> }
    });
    let words = format!(
        "Squared error over size: mixed recipes from {} to {}, {} single schemes as points",
        text::size(sweep.least_bytes.saturating_add(sweep.other_bytes)),
        text::size(sweep.most_bytes.saturating_add(sweep.other_bytes)),
        sweep.uniform.len()
    );
    html! {
        <figure class="picture lab-chart">
            <svg viewBox={format!("0 0 {WIDTH} {HEIGHT}")} role="img" aria-label={words}>
                <line class="axis" x1="0" x2={WIDTH.to_string()} y1={FLOOR.to_string()} y2={FLOOR.to_string()} />
                <polyline class="curve" points={line.join(" ")} />
                { for points }
                if let Some(proposal) = proposal {
                    <circle class="chosen" cx={format!("{:.1}", x(proposal.bytes))} cy={format!("{:.1}", y(proposal.squared_error))} r="6" />
                }
                <text x={LEFT.to_string()} y="180">{ text::size(sweep.least_bytes.saturating_add(sweep.other_bytes)) }</text>
                <text x={(WIDTH - LEFT).to_string()} y="180" text-anchor="end">{ format!("{} unquantized", text::size(sweep.most_bytes.saturating_add(sweep.other_bytes))) }</text>
                <text x={LEFT.to_string()} y="12">{ "squared error, logarithmic" }</text>
            </svg>
        </figure>
    }
}

fn table_view(sweep: &SweepDigest, props: &BudgetSectionProps) -> Html {
    let Some(shown) = &props.lab.rows else { return Html::default() };
    let dispatch = &props.dispatch;
    let rows = shown.rows.iter().map(|row| row_view(row, dispatch));
    let left = shown.total.saturating_sub(shown.len());
    html! {
        <div class="lab-table">
            <table class="facts"><thead><tr><th>{ "Layer, the largest squared error first" }</th><th class="n">{ "Weights" }</th>
                { for sweep.schemes.iter().map(|scheme| html! { <th class="n">{ scheme }</th> }) }</tr></thead>
            <tbody>{ for rows }</tbody></table>
            if left > 0 {
                <button class="quiet" disabled={shown.asked} onclick={dispatch.reform(|_| Action::Lab(Lab::MoreRows))}>{ format!("Show more ({} left)", text::count(left)) }</button>
            }
        </div>
    }
}

fn row_view(row: &SweepRow, dispatch: &Callback<Action>) -> Html {
    let name = row.name.clone();
    let cell = |option: &SweepOption| {
        let title = option.refused.clone().unwrap_or_else(|| {
            format!("squared error {}, {}", text::number(option.squared_error), text::size(option.bytes))
        });
        let shown = match (&option.refused, option.sqnr_db) {
            (Some(_), _) => "–".to_string(),
            (None, Some(db)) => format!("{db:.1} dB"),
            (None, None) => "nothing lost".into(),
        };
        html! { <td class="n" {title} data-scheme={option.scheme.clone()} data-db={option.sqnr_db.map(|db| db.to_string())} data-bytes={option.bytes.to_string()}>{ shown }</td> }
    };
    html! {
        <tr key={row.name.clone()} data-testid="lab-row" data-name={row.name.clone()}>
            <td><button class="quiet lab-name" onclick={dispatch.reform(move |_| Action::Lab(Lab::Pick(name.clone())))}><LayerName name={row.name.clone()} /></button></td>
            <td class="n" title={text::count(row.weights)}>{ text::short_count(row.weights) }</td>
            { for row.options.iter().map(cell) }
        </tr>
    }
}
