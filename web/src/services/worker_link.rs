//! The line to the worker: requests out, answers and events in.

use super::{address, reason};
use crate::protocol::{Event, FromWorker, Request, RequestId, ToWorker};
use crate::{locks, wire};
use gloo_events::EventListener;
use std::cell::RefCell;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{MessageEvent, Worker, WorkerOptions, WorkerType};

/// What comes from the worker.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message, and what is attached to it.
    Message(Box<FromWorker>, Vec<JsValue>),
    /// The worker cannot go on; why, in words.
    Failed(String),
}

impl Drop for WorkerLink {
    fn drop(&mut self) {
        self.worker.terminate();
    }
}

/// Messages that wait for the worker to listen; `None` once it does.
type Queue = Rc<RefCell<Option<Vec<JsValue>>>>;

/// The worker.
#[derive(Debug)]
pub(crate) struct WorkerLink {
    worker: Worker,
    queue: Queue,
    _listeners: [EventListener; 3],
}

impl WorkerLink {
    /// Starts the worker. Its name tells it how many compute workers are asked for.
    ///
    /// # Errors
    /// What the browser says.
    pub(crate) fn start(on_incoming: impl Fn(Incoming) + 'static) -> Result<Self, String> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        if let Some(workers) = address::workers() {
            options.set_name(&format!("workers={workers}"));
        }
        // A worker obeys the policy that its own script is served with.
        let script = if address::connects() { "./remote_worker_start.js" } else { "./worker_start.js" };
        let worker = Worker::new_with_options(script, &options).map_err(|error| reason(&error))?;
        let queue: Queue = Rc::new(RefCell::new(Some(Vec::new())));
        let on_incoming = Rc::new(on_incoming);
        let messages = {
            let (worker, queue, on_incoming) = (worker.clone(), Rc::clone(&queue), Rc::clone(&on_incoming));
            EventListener::new(&worker.clone(), "message", move |event| {
                let incoming = match wire::unpack(&event.unchecked_ref::<MessageEvent>().data()) {
                    Ok((message, attached)) => Incoming::Message(Box::new(message), attached),
                    Err(error) => {
                        Incoming::Failed(format!("Its answer could not be read: {}", reason(&error)))
                    }
                };
                if matches!(&incoming, Incoming::Message(message, _) if matches!(**message, FromWorker::Event(Event::Ready)))
                {
                    for message in queue.borrow_mut().take().into_iter().flatten() {
                        post(&worker, &message, &*on_incoming);
                    }
                }
                if let Incoming::Message(message, _) = &incoming
                    && let FromWorker::Event(Event::Lives { lock }) = &**message
                {
                    let on_incoming = Rc::clone(&on_incoming);
                    let ended = move || on_incoming(Incoming::Failed("The browser has ended it".into()));
                    if let Err(error) = locks::when_free(lock, ended) {
                        web_sys::console::warn_1(&error);
                    }
                }
                on_incoming(incoming);
            })
        };
        let garbled = {
            let on_incoming = Rc::clone(&on_incoming);
            // The browser could not rebuild an answer. Which one is not known, and somebody would wait for it for ever.
            EventListener::new(&worker, "messageerror", move |_| {
                on_incoming(Incoming::Failed("The browser could not read its answer".into()));
            })
        };
        let errors = EventListener::new(&worker, "error", move |event| {
            on_incoming(Incoming::Failed(reason(event)));
        });
        Ok(Self { worker, queue, _listeners: [messages, garbled, errors] })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// What the browser says.
    pub(crate) fn send(&self, id: RequestId, request: Request, attached: &[JsValue]) -> Result<(), String> {
        let message = wire::pack(&ToWorker { id, request }, attached).map_err(|error| reason(&error))?;
        match &mut *self.queue.borrow_mut() {
            Some(waiting) => {
                waiting.push(message);
                Ok(())
            }
            None => self.worker.post_message(&message).map_err(|error| reason(&error)),
        }
    }
}

fn post(worker: &Worker, message: &JsValue, on_incoming: &dyn Fn(Incoming)) {
    if let Err(error) = worker.post_message(message) {
        on_incoming(Incoming::Failed(reason(&error)));
    }
}
