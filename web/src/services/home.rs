//! What the browser does for [`crate::state::home`]: local memory, the service worker, the clipboard, facts.

use super::{address, reason};
use crate::state::home::{Chore, Facts, Home};
use crate::state::recent::{self, Recent};
use gloo_events::EventListener;
use js_sys::{Object, Reflect};
use quantscope_session::api::EngineChoice;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    ServiceWorker, ServiceWorkerContainer, ServiceWorkerRegistration, ServiceWorkerState, Storage, Window,
};
use yew::Callback;
use yew::platform::spawn_local;

/// Everything of ours in the local memory begins with this.
const PREFIX: &str = "quantscope.";
const ENGINE: &str = "quantscope.engine";
const RECENTS: &str = "quantscope.recipes";
const GUIDE: &str = "quantscope.guide-read";
/// The service worker, which keeps the built files.
const KEEPER: &str = "./sw.js";

fn storage() -> Option<Storage> {
    web_sys::window().and_then(|window| window.local_storage().ok()?)
}

/// Whether somebody is here for the first time, as far as the browser remembers anything.
pub(crate) fn is_first_visit() -> bool {
    storage().is_some_and(|storage| storage.get_item(GUIDE).ok().flatten().is_none())
}

/// Recipes of before.
pub(crate) fn recents() -> Vec<Recent> {
    let text = storage().and_then(|storage| storage.get_item(RECENTS).ok()?);
    text.map(|text| recent::read(&text)).unwrap_or_default()
}

/// Does a chore.
pub(crate) fn carry_out(chore: Chore, tell: Callback<Home>) {
    match chore {
        Chore::GuideRead => {
            if let Some(storage) = storage() {
                // A browser that keeps nothing shows the guide again.
                let _ = storage.set_item(GUIDE, "1");
            }
        }
        Chore::Forget => forget(),
        Chore::KeepRecents(text) => {
            if let Some(storage) = storage() {
                // A browser that keeps nothing offers nothing next time.
                let _ = storage.set_item(RECENTS, &text);
            }
        }
        Chore::KeepEngine(choice) => keep_engine(choice),
        Chore::Gather => tell.emit(Home::Facts(Box::new(facts()))),
        Chore::Copy(text) => spawn_local(async move { tell.emit(Home::Copied(copy(&text).await)) }),
        Chore::Update => spawn_local(async move {
            if let Some(waiting) = registration().await.and_then(|registration| registration.waiting()) {
                // The page loads anew once the other has taken over.
                let _ = waiting.post_message(&"take over".into());
            }
        }),
    }
}

/// The engine that was chosen last time.
pub(crate) fn engine() -> EngineChoice {
    let word = storage().and_then(|storage| storage.get_item(ENGINE).ok()?);
    match word.as_deref() {
        Some("cpu") => EngineChoice::Cpu,
        Some("gpu") => EngineChoice::Gpu,
        _ => EngineChoice::Auto,
    }
}

fn keep_engine(choice: EngineChoice) {
    let Some(storage) = storage() else { return };
    // What is not kept is chosen again.
    let _ = match choice {
        EngineChoice::Auto => storage.remove_item(ENGINE),
        EngineChoice::Cpu => storage.set_item(ENGINE, "cpu"),
        EngineChoice::Gpu => storage.set_item(ENGINE, "gpu"),
    };
}

fn forget() {
    let Some(storage) = storage() else { return };
    let count = storage.length().unwrap_or(0);
    let keys: Vec<String> = (0..count).filter_map(|index| storage.key(index).ok().flatten()).collect();
    for key in keys.iter().filter(|key| key.starts_with(PREFIX)) {
        // One that cannot be removed was not ours to keep either.
        let _ = storage.remove_item(key);
    }
}

async fn copy(text: &str) -> Result<(), String> {
    let window = web_sys::window().ok_or("there is no window")?;
    JsFuture::from(window.navigator().clipboard().write_text(text))
        .await
        .map(|_| ())
        .map_err(|error| reason(&error))
}

fn number(object: &JsValue, field: &str) -> f64 {
    Reflect::get(object, &field.into()).ok().and_then(|value| value.as_f64()).unwrap_or(0.0)
}

fn facts() -> Facts {
    let Some(window) = web_sys::window() else { return Facts::default() };
    let memory = wasm_bindgen::memory();
    let buffer = Reflect::get(&memory, &"buffer".into()).unwrap_or_else(|_| Object::new().into());
    Facts {
        browser: window.navigator().user_agent().unwrap_or_default(),
        processors: window.navigator().hardware_concurrency(),
        view: (
            number(&window, "innerWidth"),
            number(&window, "innerHeight"),
            number(&window, "devicePixelRatio"),
        ),
        page_memory: number(&buffer, "byteLength"),
        connects: address::connects(),
    }
}

/// The keeper of the built files; `None` where the browser has none, or allows none at this address.
fn container(window: &Window) -> Option<ServiceWorkerContainer> {
    let navigator: JsValue = window.navigator().into();
    Reflect::get(&navigator, &"serviceWorker".into()).ok()?.dyn_into().ok()
}

async fn registration() -> Option<ServiceWorkerRegistration> {
    let container = container(&web_sys::window()?)?;
    JsFuture::from(container.get_registration()).await.ok()?.dyn_into().ok()
}

/// Has the built files kept for use without a network. A newer version waits until the user wants it; then every
/// page of this place loads anew, so that none runs with files of two versions.
pub(crate) fn keep(tell: Callback<Home>) {
    let Some(container) = web_sys::window().and_then(|window| container(&window)) else { return };
    let was_kept = container.controller().is_some();
    EventListener::new(&container, "controllerchange", move |_| {
        // The first keeper takes over a page that came from the network: those are the same files.
        if let Some(window) = web_sys::window().filter(|_| was_kept) {
            let _ = window.location().reload();
        }
    })
    .forget();
    spawn_local(async move {
        let options = Object::new();
        let whole = Reflect::set(&options, &"updateViaCache".into(), &"none".into()).is_ok();
        let method = Reflect::get(&container, &"register".into()).ok();
        let register = method.and_then(|method| method.dyn_into::<js_sys::Function>().ok()).filter(|_| whole);
        let promise = register.and_then(|register| register.call2(&container, &KEEPER.into(), &options).ok());
        let Some(promise) = promise.and_then(|promise| promise.dyn_into::<js_sys::Promise>().ok()) else {
            return;
        };
        // A place that has no keeper, or a browser that refuses one, serves the page as before.
        let Ok(registered) = JsFuture::from(promise).await else { return };
        let Ok(registration) = registered.dyn_into::<ServiceWorkerRegistration>() else { return };
        if registration.waiting().is_some() && was_kept {
            tell.emit(Home::Waiting);
        }
        if registration.active().is_some() {
            tell.emit(Home::Kept);
        }
        let found = registration.clone();
        watch(registration.installing(), was_kept, &tell);
        EventListener::new(&registration, "updatefound", move |_| watch(found.installing(), was_kept, &tell))
            .forget();
    });
}

/// Tells when a keeper has all files: the first one keeps the page, a later one waits.
fn watch(keeper: Option<ServiceWorker>, was_kept: bool, tell: &Callback<Home>) {
    let Some(keeper) = keeper else { return };
    let tell = tell.clone();
    let changed = keeper.clone();
    EventListener::new(&keeper, "statechange", move |_| match changed.state() {
        ServiceWorkerState::Installed if was_kept => tell.emit(Home::Waiting),
        ServiceWorkerState::Activated => tell.emit(Home::Kept),
        _ => {}
    })
    .forget();
}
