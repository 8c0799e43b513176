//! Where files arrive: drop them here, or choose files or a folder.

use yew::{AttrValue, Callback, Event, Html, Properties, component, html};

/// Properties of [`DropArea`].
#[derive(Properties, PartialEq)]
pub(crate) struct DropAreaProps {
    /// What is being opened, if anything.
    #[prop_or_default]
    pub(crate) opening: Option<AttrValue>,
    /// Whether this page may connect to other places; if not, a way to the one that may is offered.
    pub(crate) connects: bool,
    /// Files or a folder were picked.
    pub(crate) on_pick: Callback<Event>,
}

/// The area. The whole page takes drops; this is where they are invited.
#[component]
pub(crate) fn DropArea(props: &DropAreaProps) -> Html {
    html! {
        <div class="drop" data-testid="drop-zone">
            if let Some(name) = &props.opening {
                <p class="drop-title" role="status">{ format!("Reading the headers of {name}") }</p>
            } else {
                <p class="drop-title">{ "Drop a checkpoint here" }</p>
            }
            <p class="drop-hint">{ "A folder with " }<code>{ ".safetensors" }</code>{ " files and its configs, or single files of any size." }</p>
            <div class="drop-ways">
                <label class="button primary"><input class="read-out" type="file" multiple=true data-testid="pick-files"
                    onchange={props.on_pick.clone()} />{ "Choose files" }</label>
                <label class="button"><input class="read-out" type="file" multiple=true webkitdirectory=true data-testid="pick-folder"
                    onchange={props.on_pick.clone()} />{ "Choose a folder" }</label>
                if !props.connects {
                    <a class="button" href="remote.html" data-testid="open-address">{ "Open an address" }</a>
                }
            </div>
            if props.connects {
                <p class="drop-promise">{ "Files stay in this tab. " }<a href="./">{ "Back to the page that connects to nothing" }</a></p>
            } else {
                <p class="drop-promise">{ "Nothing leaves this tab." }</p>
            }
        </div>
    }
}
