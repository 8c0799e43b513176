//! The part of the recipe that is about names: rules of renaming, from a preset or one's own, and joining groups.

use crate::components::{Choice, Words};
use crate::services::dom;
use crate::state::Action;
use crate::state::form::Form;
use quantscope_session::rename_presets;
use yew::{AttrValue, Callback, Event, Html, InputEvent, Properties, component, html};

/// Rules that rename nothing, in place of those of the model type.
const NONE: &str = "{}";
/// The choice of rules that are none of the presets.
const OWN: &str = "own";
/// What a user begins from.
const BEGIN: &str = r#"{"renames": [
  {"pattern": "^model\\.", "repl": ""}
]}"#;
/// What the session's errors about rules begin with.
const FAULT: &str = "the rename rules: ";

/// Properties of [`RecipeNames`].
#[derive(Properties, PartialEq)]
pub(crate) struct RecipeNamesProps {
    /// The recipe.
    pub(crate) form: Form,
    /// Why there is no plan of the form.
    pub(crate) fault: Option<AttrValue>,
    /// What the user does.
    pub(crate) dispatch: Callback<Action>,
}

impl RecipeNamesProps {
    fn set(&self, change: impl Fn(&mut Form, &Event) + 'static) -> Callback<Event> {
        let (dispatch, form) = (self.dispatch.clone(), self.form.clone());
        Callback::from(move |event: Event| {
            let mut form = form.clone();
            change(&mut form, &event);
            dispatch.emit(Action::SetForm(Box::new(form)));
        })
    }
}

/// The choice that a text of rules is.
fn chosen(rules: &str) -> &str {
    let preset = rename_presets().iter().find(|(_, preset)| *preset == rules);
    match (rules.trim(), preset) {
        ("", _) => "",
        (NONE, _) => NONE,
        (_, Some((model_type, _))) => model_type,
        _ => OWN,
    }
}

/// The rules that a choice stands for.
fn rules_of(choice: &str) -> &str {
    let preset = rename_presets().iter().find(|(model_type, _)| *model_type == choice);
    match choice {
        OWN => BEGIN,
        NONE => NONE,
        _ => preset.map_or("", |(_, rules)| rules),
    }
}

/// The section.
#[component]
pub(crate) fn RecipeNames(props: &RecipeNamesProps) -> Html {
    let form = &props.form;
    let now = chosen(&form.rename);
    let choice = |value: &str, words: String| html! { <option value={value.to_owned()} selected={value == now}>{ words }</option> };
    let presets =
        rename_presets().iter().map(|(model_type, _)| choice(model_type, format!("those of {model_type}")));
    let fault =
        props.fault.as_ref().and_then(|fault| fault.strip_prefix(FAULT)).filter(|_| !form.rename.is_empty());
    let oninput = {
        let set = props.set(|form, event| form.rename = dom::value_of(event));
        move |event: InputEvent| set.emit(event.into())
    };
    let choose = props.set(|form, event| form.rename = rules_of(&dom::value_of(event)).to_owned());
    let fuse = props.set(|form, event| form.fuse = dom::is_checked(event));
    html! {
        <details class="recipe-more">
            <summary>{ "Names" }</summary>
            <label class="field"><span>{ "Rules of renaming" }</span>
                <Choice id="convert-preset" chosen={now.to_owned()} onchange={choose}>
                    { choice("", "as the model type says".into()) }
                    { choice(NONE, "none, names stay".into()) }
                    { for presets }
                    { choice(OWN, "own rules".into()) }
                </Choice>
            </label>
            if !form.rename.is_empty() {
                <label class="field"><span>{ "Rules, as JSON" }</span>
                    <textarea class="rules-text" rows="9" spellcheck="false" autocomplete="off" data-testid="convert-rules" aria-invalid={fault.is_some().to_string()}
                        aria-describedby="rules-fault" value={form.rename.clone()} {oninput} />
                    <small>{ "Splits first, then every rename in this order, on the name of each tensor: " }<code>{ "splits" }</code>{ ", " }<code>{ "renames" }</code>{ ", " }<code>{ "expert_fused_leaves" }</code></small>
                </label>
                <p id="rules-fault" class="field-fault" role="status" data-testid="convert-rules-fault">
                    if let Some(fault) = fault { <span aria-hidden="true">{ "✕ " }</span><Words text={fault.to_owned()} /> }
                </p>
            }
            <label class="tick"><input type="checkbox" checked={form.fuse} onchange={fuse} data-testid="convert-fuse" /><span>{ "Join q, k, v and gate, up into one tensor each" }</span></label>
        </details>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_known_by_its_rules() {
        let presets = rename_presets().iter().map(|(model_type, _)| *model_type);
        for choice in ["", NONE, OWN].into_iter().chain(presets) {
            // Two model types may have the same rules.
            assert_eq!(rules_of(chosen(rules_of(choice))), rules_of(choice), "{choice}");
        }
        assert_eq!((chosen("{\"renames\": []}"), chosen(" ")), (OWN, ""));
        assert_eq!(chosen(rules_of("mixtral")), "mixtral");
    }
}
