//! The worker: owns the session, the engines and every byte; answers the page's requests.

mod blob;
mod compare;
mod compute;
mod control;
mod convert;
mod desk;
mod engines;
mod explore;
mod fetch;
mod folder;
mod hashing;
mod js;
mod judging;
mod lab;
mod later;
mod mend;
mod output;
mod plan;
mod pool;
mod proof;
mod recipe;
mod remote;
mod samples;
mod segments;
mod sink;
mod spare;
mod stopped;
mod stream;
mod verify;

use crate::protocol::{Event, FromWorker, Reply, ToWorker};
use crate::wire;
use desk::Desk;
use quantscope_session::api::SessionError;
use std::rc::Rc;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

/// How many compute workers the name of the worker asks for.
const WORKERS: &str = "workers=";

/// Starts the worker: listens, then says that it does. By its name it is the page's, or one of a pool.
pub fn start_worker() {
    let name = scope().name();
    // Which message it was is not known, and whoever sent it would wait for ever: he hears that this worker broke.
    let on_garbled =
        Closure::<dyn Fn()>::new(|| wasm_bindgen::throw_str("the browser could not read a message"));
    scope().set_onmessageerror(Some(on_garbled.as_ref().unchecked_ref()));
    // The listener lives as long as the worker.
    on_garbled.forget();
    if name.starts_with(pool::NAME) {
        spawn_local(async move {
            if let Err(error) = later::fetch().await {
                wasm_bindgen::throw_str(&error.message);
            }
            compute::start(&name);
        });
        return;
    }
    let workers = name.strip_prefix(WORKERS).and_then(|count| count.parse().ok());
    std::panic::set_hook(Box::new(|panic| {
        console_error_panic_hook::hook(panic);
        tell(Event::Failed(panic.to_string()));
    }));
    let desk = Rc::new(Desk::new(workers));
    let listener = Rc::clone(&desk);
    let on_message = Closure::<dyn Fn(MessageEvent)>::new(move |message: MessageEvent| {
        match wire::unpack::<ToWorker>(&message.data()) {
            Ok((ToWorker { id, request }, attached)) => {
                let desk = Rc::clone(&listener);
                spawn_local(async move {
                    let (result, attached) = match desk.answer(id, request, attached).await {
                        Ok((reply, attached)) => (Ok(reply), attached),
                        Err(error) => (Err(error), Vec::new()),
                    };
                    reply(id, result, &attached);
                    desk.judge_meanwhile().await;
                });
            }
            Err(error) => tell(Event::Failed(format!("A message could not be read: {}", js::reason(&error)))),
        }
    });
    scope().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    on_message.forget();
    tell(Event::Ready);
    spawn_local(async move { desk.begin().await });
}

fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

fn reply(id: u32, result: Result<Reply, SessionError>, attached: &[JsValue]) {
    post(&FromWorker::Reply { id, result: Box::new(result) }, attached);
}

/// Tells the page something it did not ask for.
fn tell(event: Event) {
    post(&FromWorker::Event(event), &[]);
}

fn post(message: &FromWorker, attached: &[JsValue]) {
    // The page would wait for ever for an answer that cannot be packed or posted: it hears that this worker broke.
    if let Err(error) = wire::pack(message, attached).and_then(|message| scope().post_message(&message)) {
        wasm_bindgen::throw_val(error);
    }
}
