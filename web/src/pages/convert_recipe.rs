//! The recipe, built by clicking: what most conversions need first, the rest folded in.

use super::convert_names::RecipeNames;
use crate::components::{Choice, OptionsOf};
use crate::services::dom;
use crate::state::converting::Converting;
use crate::state::form::Form;
use crate::state::{Action, text};
use std::collections::BTreeMap;
use yew::{
    AttrValue, Callback, Event, Html, InputEvent, KeyboardEvent, MouseEvent, Properties, SubmitEvent,
    component, html, use_state,
};

const DTYPES: [(&str, &str); 4] = [("", "as stored"), ("bf16", "bf16"), ("f16", "f16"), ("f32", "f32")];
const TIES: [(&str, &str); 3] = [
    ("", "merge, one scale for all"),
    ("keep-input-scale", "merge, input scales kept"),
    ("off", "leave alone"),
];
const PADS: [(&str, &str); 3] = [("", "none"), ("row", "rows to 16"), ("row_col", "rows and columns")];
const CONV3D: [(&str, &str); 2] = [("", "all that can be packed"), ("strict", "as the newest reference")];
const ROUNDINGS: [(&str, &str); 2] = [("", "as on a CPU"), ("cuda", "as on CUDA")];
/// The kinds whose scheme can be chosen, in the order of the contract.
const KINDS: [(&str, &str); 7] = [
    ("linear", "Linear"),
    ("conv3d", "3-D convolutions"),
    ("conv2d", "2-D convolutions"),
    ("conv1d", "1-D convolutions"),
    ("embedding", "Embeddings"),
    ("expert", "Experts"),
    ("expert-stack", "Stacked experts"),
];

/// Properties of [`RecipeForm`].
#[derive(Properties, PartialEq)]
pub(crate) struct RecipeFormProps {
    /// The recipe.
    pub(crate) form: Form,
    /// What can be written: ids and titles.
    pub(crate) writable: Vec<(String, String)>,
    /// Why there is no plan of the form.
    pub(crate) fault: Option<AttrValue>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
    /// A calibration file was picked.
    pub(crate) on_calibration: Callback<Event>,
    /// A recipe file was picked.
    pub(crate) on_recipe: Callback<Event>,
}

impl RecipeFormProps {
    /// Changes the recipe by what a field says.
    fn set(&self, change: fn(&mut Form, String)) -> impl Fn(String) + 'static {
        let (dispatch, form) = (self.dispatch.clone(), self.form.clone());
        move |value| {
            let mut form = form.clone();
            change(&mut form, value);
            dispatch.emit(Action::SetForm(Box::new(form)));
        }
    }

    fn select(
        &self,
        label: &str,
        id: &str,
        choices: &[(&str, &str)],
        chosen: &str,
        change: fn(&mut Form, String),
    ) -> Html {
        let set = self.set(change);
        html! {
            <label class="field"><span>{ label }</span>
                <Choice id={id.to_owned()} chosen={chosen.to_owned()} onchange={move |event: Event| set(dom::value_of(&event))}>
                    { for choices.iter().map(|(value, word)| html! { <option value={(*value).to_owned()} selected={*value == chosen}>{ *word }</option> }) }
                </Choice>
            </label>
        }
    }

    fn line(
        &self,
        label: &str,
        id: &str,
        placeholder: &str,
        value: &str,
        change: fn(&mut Form, String),
    ) -> Html {
        let set = self.set(change);
        html! {
            <label class="field"><span>{ label }</span>
                <input type="text" data-testid={id.to_owned()} placeholder={placeholder.to_owned()} spellcheck="false" autocomplete="off"
                    value={value.to_owned()} oninput={move |event: InputEvent| set(dom::value_of(&event))} />
            </label>
        }
    }

    fn tick(&self, words: &str, id: &str, checked: bool, change: fn(&mut Form, bool)) -> Html {
        let (dispatch, form) = (self.dispatch.clone(), self.form.clone());
        let onchange = move |event: Event| {
            let mut form = form.clone();
            change(&mut form, dom::is_checked(&event));
            dispatch.emit(Action::SetForm(Box::new(form)));
        };
        html! { <label class="tick"><input type="checkbox" {checked} {onchange} data-testid={id.to_owned()} /><span>{ words }</span></label> }
    }
}

/// The form.
#[component]
pub(crate) fn RecipeForm(props: &RecipeFormProps) -> Html {
    let (dispatch, form) = (&props.dispatch, &props.form);
    let beyond = form.beyond.words();
    html! {
        <form class="recipe" aria-label="Recipe" onsubmit={|event: SubmitEvent| event.prevent_default()}>
            <div class="recipe-file">
                <label class="button"><input class="read-out" type="file" accept=".toml,application/toml" aria-label="Load a recipe" data-testid="recipe-load"
                    onchange={props.on_recipe.clone()} />{ "Load a recipe" }</label>
                <button type="button" data-testid="recipe-save" onclick={dispatch.reform(|_| Action::Converting(Converting::SaveRecipe))}>{ "Save as TOML" }</button>
            </div>
            { default_view(props) }
            <RuleList form={form.clone()} writable={props.writable.clone()} dispatch={dispatch.clone()} />
            { props.line("Keep as they are", "convert-exclude", "*conv_in*, *head*", &form.exclude, |form, value| form.exclude = value) }
            { props.select("Cast weights first", "convert-dtype", &DTYPES, &form.dtype, |form, value| form.dtype = value) }
            { calibration_view(props) }
            <details class="recipe-more">
                <summary>{ "Ties" }</summary>
                { props.select("Tensors that share their values", "convert-ties", &TIES, &form.ties, |form, value| form.ties = value) }
                { props.line("Side that stays", "convert-canonical", "model.decoder", &form.canonical, |form, value| form.canonical = value) }
                { props.line("Declared ties", "convert-declared", "encoder.*=decoder.*, lm_head.weight, …", &form.declared_ties.replace('\n', ", "), |form, value| form.declared_ties = value) }
                { props.tick("Write aliases again, for runtimes that need both copies", "convert-expand", form.expand_ties, |form, on| form.expand_ties = on) }
            </details>
            <RecipeNames form={form.clone()} fault={props.fault.clone()} dispatch={dispatch.clone()} />
            <details class="recipe-more">
                <summary>{ "Layout of the output" }</summary>
                { props.line("Largest shard", "convert-shard", "5GB", &form.shard_size, |form, value| form.shard_size = value) }
                { props.select("Padding", "convert-pad", &PADS, &form.pad, |form, value| form.pad = value) }
                { props.tick("Block scales in the tiles that GPUs read (128×4)", "convert-swizzle", form.swizzle, |form, on| form.swizzle = on) }
                { props.line("Name of the recipe", "convert-name", "my-recipe", &form.name, |form, value| form.name = value) }
            </details>
            <details class="recipe-more">
                <summary>{ "Arithmetic" }</summary>
                { props.line("Weights that share a scale (INT4)", "convert-group", "128", &form.group_size, |form, value| form.group_size = value) }
                { props.select("3-D convolutions", "convert-conv3d", &CONV3D, &form.conv3d, |form, value| form.conv3d = value) }
                { props.select("Rounding of FP8", "convert-rounding", &ROUNDINGS, &form.fp8_rounding, |form, value| form.fp8_rounding = value) }
                { props.tick("Write all-zero tensors as the reference does (their scales are NaN)", "convert-zero", form.zero_tensors_as_reference, |form, on| form.zero_tensors_as_reference = on) }
            </details>
            if !beyond.is_empty() {
                <p class="faint">{ format!("The recipe also has {}; they are used and saved as they were loaded.", beyond.join(", ")) }</p>
            }
        </form>
    }
}

/// One scheme for all kinds, or one for each.
fn default_view(props: &RecipeFormProps) -> Html {
    let form = &props.form;
    let by_kind = {
        let (dispatch, form) = (props.dispatch.clone(), form.clone());
        move |event: Event| {
            let kinds =
                dom::is_checked(&event).then(|| BTreeMap::from([("linear".to_owned(), form.scheme.clone())]));
            dispatch.emit(Action::SetForm(Box::new(Form { by_kind: kinds, ..form.clone() })));
        }
    };
    let each = html! {
        <label class="tick"><input type="checkbox" checked={form.by_kind.is_some()} onchange={by_kind} data-testid="convert-by-kind" /><span>{ "A scheme for each kind of layer" }</span></label>
    };
    let Some(kinds) = &form.by_kind else {
        let set = props.set(|form, value| form.scheme = value);
        return html! {
            <>
                <label class="field"><span>{ "Scheme" }</span>
                    <Choice id="convert-scheme" chosen={form.scheme.clone()} onchange={move |event: Event| set(dom::value_of(&event))}>
                        <option value="" selected={form.scheme.is_empty()}>{ "as it is" }</option>
                        <OptionsOf writable={props.writable.clone()} chosen={form.scheme.clone()} />
                    </Choice>
                </label>
                { each }
            </>
        };
    };
    let kind = |(id, word): &(&'static str, &'static str)| {
        let chosen = kinds.get(*id).cloned().unwrap_or_default();
        let (dispatch, form, id) = (props.dispatch.clone(), form.clone(), *id);
        let onchange = move |event: Event| {
            let mut form = form.clone();
            form.by_kind.get_or_insert_default().insert(id.to_owned(), dom::value_of(&event));
            dispatch.emit(Action::SetForm(Box::new(form)));
        };
        html! {
            <label class="kind"><span>{ *word }</span>
                <Choice id="convert-kind" kind={id} chosen={chosen.clone()} {onchange}>
                    <option value="" selected={chosen.is_empty()}>{ "keep" }</option>
                    <OptionsOf writable={props.writable.clone()} chosen={chosen} />
                </Choice>
            </label>
        }
    };
    html! { <fieldset class="kinds"><legend>{ "Scheme by kind" }</legend>{ for KINDS.iter().map(kind) }{ each }</fieldset> }
}

fn calibration_view(props: &RecipeFormProps) -> Html {
    let calibration = props.form.calibration.as_ref().map(|given| match given.entries {
        Some(1) => format!("{}: 1 entry", given.file),
        Some(entries) => format!("{}: {} entries", given.file, text::count(entries)),
        None => format!("{}: reading", given.file),
    });
    let remove = props.dispatch.reform(|_| Action::Converting(Converting::SetCalibration(None)));
    html! {
        <div class="field"><span id="calibration-label">{ "Calibration" }</span>
            <div class="file-choice">
                <label class="button"><input class="read-out" type="file" accept=".json,application/json" aria-labelledby="calibration-label" data-testid="convert-calibration"
                    onchange={props.on_calibration.clone()} />{ "Choose a JSON file" }</label>
                if let Some(calibration) = calibration {
                    <span data-testid="calibration-state">{ calibration }</span>
                    <button class="quiet" type="button" onclick={remove}>{ "Remove" }</button>
                }
            </div>
            <small>{ "Largest activations by module, for " }<code>{ "input_scale" }</code>{ ": " }<code>{ "{\"conv.input_quantizer\": {\"amax\": 0.1}}" }</code></small>
        </div>
    }
}

/// Properties of [`RuleList`].
#[derive(Properties, PartialEq)]
struct RuleListProps {
    form: Form,
    writable: Vec<(String, String)>,
    dispatch: Callback<Action>,
}

impl RuleListProps {
    /// Changes the rules when a button is pressed.
    fn editing(&self, change: impl Fn(&mut Vec<String>) + 'static) -> Callback<MouseEvent> {
        let (dispatch, form) = (self.dispatch.clone(), self.form.clone());
        Callback::from(move |_| {
            let mut form = form.clone();
            change(&mut form.rules);
            dispatch.emit(Action::SetForm(Box::new(form)));
        })
    }
}

/// Rules by pattern, in the order in which they are tried, and a line for the next one.
#[component]
fn RuleList(props: &RuleListProps) -> Html {
    let pattern = use_state(String::new);
    let scheme = use_state(|| "keep".to_owned());
    let rule = |(place, rule): (usize, &String)| {
        let (glob, to) = rule.rsplit_once('=').unwrap_or((rule, ""));
        html! {
            <li data-testid="recipe-rule"><code>{ glob }</code><span class="faint">{ "→" }</span><code>{ to }</code><span class="grow" />
                <button type="button" class="quiet" disabled={place == 0} aria-label={format!("Try {glob} earlier")} onclick={props.editing(move |rules| if place > 0 { rules.swap(place - 1, place) })}>{ "↑" }</button>
                <button type="button" class="quiet" aria-label={format!("Remove {glob}")} onclick={props.editing(move |rules| { rules.remove(place); })}>{ "×" }</button></li>
        }
    };
    let add = {
        let (dispatch, form, pattern, scheme) =
            (props.dispatch.clone(), props.form.clone(), pattern.clone(), scheme.clone());
        Callback::from(move |()| {
            if !pattern.trim().is_empty() {
                let mut form = form.clone();
                form.rules.push(format!("{}={}", pattern.trim(), *scheme));
                dispatch.emit(Action::SetForm(Box::new(form)));
                pattern.set(String::new());
            }
        })
    };
    let on_key = {
        let add = add.clone();
        move |event: KeyboardEvent| {
            if event.key() == "Enter" {
                event.prevent_default();
                add.emit(());
            }
        }
    };
    let (on_pattern, on_scheme) = (pattern.clone(), scheme.clone());
    html! {
        <div class="field rules" role="group" aria-labelledby="rules-label"><span id="rules-label">{ "Rules, the first that matches counts" }</span>
            if !props.form.rules.is_empty() { <ol data-testid="recipe-rules">{ for props.form.rules.iter().enumerate().map(rule) }</ol> }
            <div class="rule-new">
                <input type="text" placeholder="*.mlp.*" aria-label="Pattern of module names" spellcheck="false" autocomplete="off" data-testid="rule-pattern"
                    value={(*pattern).clone()} onkeydown={on_key} oninput={move |event: InputEvent| on_pattern.set(dom::value_of(&event))} />
                <select aria-label="What they become" data-testid="rule-scheme" onchange={move |event: Event| on_scheme.set(dom::value_of(&event))}>
                    <option value="keep" selected={*scheme == "keep"}>{ "keep" }</option>
                    <OptionsOf writable={props.writable.clone()} chosen={(*scheme).clone()} />
                </select>
                <button type="button" data-testid="rule-add" disabled={pattern.trim().is_empty()} onclick={move |_| add.emit(())}>{ "Add" }</button>
            </div>
        </div>
    }
}
