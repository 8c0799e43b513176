//! Compute workers: instances of this very program that hold nothing but the rows they were given.
//!
//! Buffers are transferred, not shared, so that any static host can serve the page. A worker that breaks, or does
//! not answer in time, is dropped, and its rows are done here.

use super::{js, scope};
use crate::{locks, wire};
use futures_util::future::{Either, LocalBoxFuture, select};
use gloo_timers::future::TimeoutFuture;
use js_sys::{Array, Function, Promise, Uint8Array};
use quantscope_session::call::{Call, Summary};
use quantscope_session::{CpuEngine, Engine as _, Helpers};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Event, MessageEvent, Worker, WorkerOptions, WorkerType};

/// How the name of a worker begins by which it knows that it is one of a pool. The rest makes it its own.
pub(super) const NAME: &str = "compute-";
/// Calls from this size on are divided: a message there and back takes as long as a kernel over some 256 KiB.
pub(super) const LEAST: usize = 1 << 20;
/// More would only wait for the file that all read from.
const MOST: u32 = 4;
/// How long a worker may take for its rows of a tile before it counts as lost: many times what the slowest kernel
/// takes.
const PATIENCE_MS: u32 = 60_000;

/// To a compute worker. Attached: the inputs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) id: u32,
    pub(super) call: Call,
}

/// From a compute worker. Attached: the outputs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It listens.
    Ready {
        /// Bytes of its WebAssembly memory.
        memory: u64,
    },
    /// To a task.
    Done {
        /// Number of the task.
        id: u32,
        /// What the call said; `None` if it refused.
        summary: Option<Summary>,
        /// Bytes of its WebAssembly memory.
        memory: u64,
    },
}

/// The workers of this tab.
pub(super) struct Pool {
    wanted: u32,
    started: Cell<bool>,
    members: RefCell<Vec<Rc<Member>>>,
    /// The most memory that any worker ever had, by number.
    memory: Rc<RefCell<BTreeMap<u32, u64>>>,
}

struct Member {
    worker: Worker,
    state: Rc<RefCell<State>>,
    _listeners: [Closure<dyn FnMut(Event)>; 3],
}

/// What is known of a worker.
#[derive(Default)]
struct State {
    ready: bool,
    lost: bool,
    next: u32,
    /// Whoever waits for a task, by its number.
    waiting: BTreeMap<u32, Function>,
}

impl State {
    fn lose(&mut self) {
        (self.lost, self.ready) = (true, false);
        for (_, resolve) in std::mem::take(&mut self.waiting) {
            settle(&resolve, &JsValue::NULL);
        }
    }
}

/// Settles a promise. A resolving function of a promise does not throw.
fn settle(resolve: &Function, value: &JsValue) {
    let _ = resolve.call1(&JsValue::NULL, value);
}

impl Pool {
    /// A pool in which nobody works yet. `asked` is what the address asks for; else one worker less than there
    /// are processors, and at least one.
    pub(super) fn new(asked: Option<u32>) -> Self {
        let processors = js::to_u64(scope().navigator().hardware_concurrency()).unwrap_or(1);
        let spare = u32::try_from(processors).unwrap_or(MOST).saturating_sub(1).max(1);
        Self {
            wanted: asked.unwrap_or(spare).min(MOST),
            started: Cell::new(false),
            members: RefCell::default(),
            memory: Rc::default(),
        }
    }

    /// Has the workers start, if they have not. Calls that come before they listen are done here.
    pub(super) fn start(&self) {
        if self.started.replace(true) {
            return;
        }
        for number in 1..=self.wanted {
            match Member::start(number, &self.memory) {
                Ok(member) => self.members.borrow_mut().push(Rc::new(member)),
                // Without workers of its own, this one does everything.
                Err(error) => web_sys::console::warn_1(&error),
            }
        }
    }

    /// Bytes of WebAssembly memory: of this worker, then of each compute worker that ever listened.
    pub(super) fn memory(&self) -> Vec<u64> {
        std::iter::once(own_memory()).chain(self.memory.borrow().values().copied()).collect()
    }

    /// The workers that listen, and forgets those that are lost.
    fn ready(&self) -> Vec<Rc<Member>> {
        let mut members = self.members.borrow_mut();
        members.retain(|member| !member.state.borrow().lost);
        members.iter().filter(|member| member.state.borrow().ready).cloned().collect()
    }
}

/// Bytes of this worker's WebAssembly memory. It never shrinks.
pub(super) fn own_memory() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return core::arch::wasm32::memory_size(0) as u64 * 65_536;
    #[cfg(not(target_arch = "wasm32"))]
    return 0;
}

impl Member {
    fn start(number: u32, memory: &Rc<RefCell<BTreeMap<u32, u64>>>) -> Result<Self, JsValue> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        // Nothing depends on these digits, but that no two workers meet.
        let name = format!("{NAME}{number}-{:016x}", (js_sys::Math::random() * 9.0e15).to_bits());
        options.set_name(&name);
        let worker = Worker::new_with_options("./worker_start.js", &options)?;
        let state = Rc::new(RefCell::new(State::default()));
        let (heard, memory) = (Rc::clone(&state), Rc::clone(memory));
        let on_message = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
            let data = event.unchecked_ref::<MessageEvent>().data();
            let mut state = heard.borrow_mut();
            let note = |bytes: u64| {
                memory.borrow_mut().insert(number, bytes);
            };
            match wire::unpack::<Answer>(&data) {
                Ok((Answer::Ready { memory }, _)) => {
                    note(memory);
                    state.ready = !state.lost;
                    // One that ends without a word lets go of its lock.
                    let gone = Rc::clone(&heard);
                    if let Err(error) = locks::when_free(&name, move || gone.borrow_mut().lose()) {
                        web_sys::console::warn_1(&error);
                    }
                }
                Ok((Answer::Done { id, memory, .. }, _)) => {
                    note(memory);
                    if let Some(resolve) = state.waiting.remove(&id) {
                        settle(&resolve, &data);
                    }
                }
                Err(_) => state.lose(),
            }
        });
        let lost = |state: &Rc<RefCell<State>>| {
            let state = Rc::clone(state);
            Closure::<dyn FnMut(Event)>::new(move |event: Event| {
                // It is dealt with: the page need not hear of it.
                event.prevent_default();
                state.borrow_mut().lose();
            })
        };
        let (on_error, on_garbled) = (lost(&state), lost(&state));
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        worker.set_onmessageerror(Some(on_garbled.as_ref().unchecked_ref()));
        Ok(Self { worker, state, _listeners: [on_message, on_error, on_garbled] })
    }

    /// Posts a task. The promise gives the answer, or null if the worker is lost.
    fn post(&self, call: &Call, inputs: &[&[u8]]) -> Result<Promise, JsValue> {
        let id = {
            let mut state = self.state.borrow_mut();
            state.next = state.next.wrapping_add(1);
            state.next
        };
        let buffers: Vec<JsValue> =
            inputs.iter().map(|bytes| Uint8Array::from(*bytes).buffer().into()).collect();
        let task = wire::pack(&Task { id, call: call.clone() }, &buffers)?;
        let promise = Promise::new(&mut |resolve, _| {
            self.state.borrow_mut().waiting.insert(id, resolve);
        });
        self.worker.post_message_with_transfer(&task, &buffers.iter().collect::<Array>())?;
        Ok(promise)
    }

    fn give_up(&self) {
        self.worker.terminate();
        self.state.borrow_mut().lose();
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.worker.terminate();
    }
}

impl Helpers for Pool {
    fn count(&self) -> usize {
        self.ready().len()
    }

    fn work<'a>(
        &'a self,
        number: usize,
        call: &'a Call,
        inputs: &'a [&'a [u8]],
        outputs: &'a mut [&mut [u8]],
    ) -> LocalBoxFuture<'a, Option<Summary>> {
        Box::pin(async move {
            let member = self.ready().into_iter().nth(number)?;
            let promise = match member.post(call, inputs) {
                Ok(posted) => posted,
                Err(_) => {
                    member.give_up();
                    return None;
                }
            };
            let answer = match select(JsFuture::from(promise), TimeoutFuture::new(PATIENCE_MS)).await {
                Either::Left((answer, _)) => answer.ok()?,
                Either::Right(_) => {
                    member.give_up();
                    return None;
                }
            };
            let (Answer::Done { summary, .. }, buffers) = wire::unpack::<Answer>(&answer).ok()? else {
                return None;
            };
            if buffers.len() != outputs.len() {
                return None;
            }
            for (output, buffer) in outputs.iter_mut().zip(&buffers) {
                let bytes = Uint8Array::new(buffer);
                if bytes.length() as usize != output.len() {
                    return None;
                }
                bytes.copy_to(output);
            }
            summary
        })
    }

    fn description(&self) -> String {
        let own = CpuEngine::new().description();
        match self.count() {
            1 => format!("{own}, 1 helper"),
            count => format!("{own}, {count} helpers"),
        }
    }
}
