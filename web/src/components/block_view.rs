//! One block as it is stored, beside what it decodes to, and the way to any other block.

use crate::services::dom;
use crate::state::load::Shared;
use crate::state::looking::Look;
use crate::state::text;
use quantscope_session::api::Block;
use yew::{Callback, Event, Html, Properties, component, html};

/// Properties of [`BlockView`].
#[derive(Properties, PartialEq)]
pub(crate) struct BlockViewProps {
    /// The block.
    pub(crate) block: Shared<Option<Block>>,
    /// Another block is wanted.
    pub(crate) on_look: Callback<Look>,
}

/// The block.
#[component]
pub(crate) fn BlockView(props: &BlockViewProps) -> Html {
    let Some(block) = &*props.block else { return Html::default() };
    let Block { row, col, rows, cols, width, place: (file, begin), raw_hex, codes, scale, values } = block;
    let (row, col, rows, cols, width) = (*row, *col, *rows, *cols, (*width).max(1));
    let cells = values.iter().enumerate().map(|(index, value)| {
        html! { <div title={value.to_string()}><code>{ codes.get(index).cloned().unwrap_or_default() }</code><span>{ text::number(f64::from(*value)) }</span></div> }
    });
    let to = |row: u64, col: u64| props.on_look.reform(move |_| Look::Block { row, col });
    // Blocks follow each other along the row, then in the next one.
    let before = if col > 0 {
        Some((row, col - 1))
    } else {
        row.checked_sub(1).map(|above| (above, cols.saturating_sub(1)))
    };
    let next = col.saturating_add(width);
    let after = if next < cols { Some((row, next)) } else { Some((row + 1, 0)).filter(|_| row + 1 < rows) };
    let step = |word: &'static str, label: &'static str, id: &'static str, target: Option<(u64, u64)>| {
        let (row, col) = target.unwrap_or_default();
        html! { <button class="square" aria-label={label} data-testid={id} disabled={target.is_none()} onclick={to(row, col)}>{ word }</button> }
    };
    let typed = |set: fn(u64, u64, u64) -> Look| {
        props
            .on_look
            .reform(move |event: Event| set(dom::value_of(&event).trim().parse().unwrap_or(0), row, col))
    };
    html! {
        <div class="block" data-testid="block" data-row={row.to_string()} data-col={col.to_string()}>
            <div class="block-way">
                <label>{ "row " }<input type="text" inputmode="numeric" data-testid="block-row" value={row.to_string()} onchange={typed(|value, _, col| Look::Block { row: value, col })} /></label>
                <label>{ "column " }<input type="text" inputmode="numeric" data-testid="block-col" value={col.to_string()} onchange={typed(|value, row, _| Look::Block { row, col: value })} /></label>
                <span class="grow" />
                { step("‹", "The block before", "block-before", before) }
                { step("›", "The next block", "block-next", after) }
            </div>
            if !scale.is_empty() { <p><span class="faint">{ "scale " }</span><code>{ scale }</code></p> }
            <p title={file.clone()}><span class="faint">{ format!("bytes from {} ", text::count(*begin)) }</span><code data-testid="block-bytes">{ raw_hex }</code></p>
            <div class="block-cells" aria-label="Codes and their values" role="group">{ for cells }</div>
        </div>
    }
}
