//! What a conversion did: proof, files to save, and the error it made in each layer.

use crate::components::{LayerName, Words};
use crate::state::compare::Compare;
use crate::state::convert::ResultShown;
use crate::state::converting::Converting;
use crate::state::{Action, text};
use yew::{Callback, Html, Properties, component, html};

/// Properties of [`ResultSection`].
#[derive(Properties, PartialEq)]
pub(crate) struct ResultSectionProps {
    /// The result.
    pub(crate) result: ResultShown,
    /// Warnings that the plan shows already.
    pub(crate) told: Vec<String>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

/// The result.
#[component]
pub(crate) fn ResultSection(props: &ResultSectionProps) -> Html {
    let (result, dispatch) = (&*props.result.summary, &props.dispatch);
    let files = result.files.iter().map(|(file, bytes)| {
        let name = file.clone();
        html! {
            <tr>
                <td><code>{ file }</code></td>
                <td class="n" title={text::exact_size(*bytes)}>{ text::size(*bytes) }</td>
                <td class="c-save"><button data-testid="save-file" data-file={file.clone()} onclick={dispatch.reform(move |_| Action::Save(name.clone()))}>{ "Save" }</button></td>
            </tr>
        }
    });
    let proof = if result.read_back_equal { "read back and equal to the plan" } else { "not read back" };
    let where_they_are = match &result.folder {
        Some(folder) => format!("The files are in the folder {folder}."),
        None => "The files wait in this tab until they are saved.".to_owned(),
    };
    let left = props.result.rows.total.saturating_sub(props.result.rows.len());
    html! {
        <section class="result" data-testid="convert-result" aria-label="Result">
            <h2><span class="is-sound" aria-hidden="true">{ "✓ " }</span>{ "Converted" }
                <span>{ format!("{} packed, {} copied unchanged, on {}", text::counted(result.packed, "layer"), text::counted(result.copied, "tensor"), result.engine) }</span></h2>
            <p>{ format!("{} written, {proof}. {where_they_are}", text::size(result.bytes_written)) }</p>
            if let Some(most) = result.memory.iter().max() {
                <p data-testid="worker-memory" data-bytes={most.to_string()} data-workers={result.memory.len().to_string()}>{ memory_words(&result.memory) }</p>
            }
            { for result.warnings.iter().filter(|warning| !props.told.contains(warning)).map(|warning| html! { <p class="notice is-warning"><span aria-hidden="true">{ "! " }</span><Words text={warning.clone()} /></p> }) }
            <table class="facts"><tbody>{ for files }</tbody></table>
            <p class="next-ways">
                if result.folder.is_none() {
                    <button class="primary" data-testid="save-all" onclick={dispatch.reform(|_| Action::SaveAll)}>{ "Save all" }</button>
                }
                <button data-testid="open-result" onclick={dispatch.reform(|_| Action::Converting(Converting::OpenResult))}>{ "Open the result" }</button>
                <button data-testid="compare-result" onclick={dispatch.reform(|_| Action::Compare(Compare::OpenResult))}>{ "Compare with the source" }</button>
                <button data-testid="drop-output" onclick={dispatch.reform(|_| Action::DropOutput)}>{ if result.folder.is_none() { "Discard" } else { "Close" } }</button>
            </p>
            { proof_view(props) }
            if props.result.rows.total > 0 {
                <details class="more">
                    <summary>{ "Round-trip error by layer" }
                        if let Some((name, db)) = &result.worst { <span class="faint">{ format!("  lowest {db:.1} dB, {name}") }</span> }
                    </summary>
                    <table class="facts errors" data-testid="error-table"><thead><tr><th>{ "Layer" }</th><th class="n">{ "SQNR" }</th><th class="n">{ "Largest error" }</th></tr></thead>
                    <tbody>{ for props.result.rows.rows.iter().map(|row| html! {
                        <tr key={row.name.clone()}>
                            <td class="c-plan-name"><LayerName name={row.name.clone()} /></td>
                            <td class="n">{ row.sqnr_db.map_or_else(|| "exact".to_owned(), |db| format!("{db:.1} dB")) }</td>
                            <td class="n">{ text::number(row.max_abs) }</td>
                        </tr>
                    }) }</tbody></table>
                    if left > 0 {
                        <button class="quiet" disabled={props.result.rows.asked} onclick={dispatch.reform(|_| Action::MoreResultRows)}>{ format!("Show more ({} left)", text::count(left)) }</button>
                    }
                </details>
            }
        </section>
    }
}

/// The hash of every tensor, as the manifest has it.
fn proof_view(props: &ResultSectionProps) -> Html {
    let ask = props.dispatch.reform(|_| Action::Converting(Converting::Proof));
    let Some(proof) = &props.result.proof else {
        return html! { <p><button class="quiet" data-testid="proof-show" onclick={ask}>{ "Show the SHA-256 of every tensor" }</button></p> };
    };
    let left = proof.total.saturating_sub(proof.len());
    html! {
        <details class="more" open=true>
            <summary>{ "SHA-256 of every tensor" }<span class="faint">{ "  as quantscope.manifest.json has them" }</span></summary>
            <table class="facts" data-testid="proof-table"><thead><tr><th>{ "Tensor and hash" }</th></tr></thead>
            <tbody>{ for proof.rows.iter().map(|row| html! {
                <tr key={row.name.clone()}><td class="c-plan-name"><LayerName name={row.name.clone()} /><small><code>{ &row.sha256 }</code></small></td></tr>
            }) }</tbody></table>
            if left > 0 && !proof.rows.is_empty() {
                <button class="quiet" disabled={proof.asked} onclick={ask}>{ format!("Show more ({} left)", text::count(left)) }</button>
            }
        </details>
    }
}

/// How many workers had how much memory.
fn memory_words(memory: &[u64]) -> String {
    let most = text::size(memory.iter().copied().max().unwrap_or_default());
    match memory.len() {
        1 => format!("The worker never held more than {most}."),
        count => format!("None of the {count} workers ever held more than {most}."),
    }
}
