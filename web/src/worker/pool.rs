//! Compute workers: instances of this very program that hold nothing but the rows they were given.
//!
//! Buffers are transferred, not shared, so that any static host can serve the page. A worker that breaks, or does
//! not answer in time, is dropped, and its rows are done here.

use super::{js, scope, spare};
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
    pub(super) work: Work,
}

/// What there is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Work {
    /// A kernel over some rows.
    Call(Call),
    /// The next bytes of what is hashed under this number.
    Hash(u32),
    /// No more bytes come: the output is their SHA-256.
    Hashed(u32),
}

/// From a compute worker. Attached: the outputs, then the inputs, whose memory is used again.
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
    /// One more, which hashes. It has its own core only where there are more than two, but never waits for a band.
    hasher: RefCell<Option<Rc<Member>>>,
    /// The most memory that any worker ever had, by number.
    memory: Rc<RefCell<BTreeMap<u32, u64>>>,
}

/// A worker of the pool.
pub(super) struct Member {
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
    /// Whoever waits for it to listen.
    early: Vec<Function>,
    /// Whoever waits for a task, by its number.
    waiting: BTreeMap<u32, Function>,
}

impl State {
    fn lose(&mut self) {
        (self.lost, self.ready) = (true, false);
        for resolve in self.early.drain(..).chain(std::mem::take(&mut self.waiting).into_values()) {
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
            hasher: RefCell::default(),
            memory: Rc::default(),
        }
    }

    /// Has the workers start, if they have not. Calls that come before they listen are done here.
    pub(super) fn start(&self) {
        if self.started.replace(true) {
            return;
        }
        // Without workers of its own, this one does everything.
        let start =
            |number| Member::start(number, &self.memory).map(Rc::new).inspect_err(web_sys::console::warn_1);
        for number in 1..=self.wanted {
            self.members.borrow_mut().extend(start(number));
        }
        if self.wanted > 0 {
            *self.hasher.borrow_mut() = start(self.wanted + 1).ok();
        }
    }

    /// The worker that hashes, if there is one.
    pub(super) fn hasher(&self) -> Option<Rc<Member>> {
        self.hasher.borrow().clone().filter(|member| !member.state.borrow().lost)
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
                    for resolve in state.early.drain(..) {
                        settle(&resolve, &JsValue::NULL);
                    }
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

    /// Waits until it listens, or is known not to.
    pub(super) async fn begun(&self) -> bool {
        let begun = Promise::new(&mut |resolve, _| {
            let mut state = self.state.borrow_mut();
            if state.ready || state.lost {
                settle(&resolve, &JsValue::NULL);
            } else {
                state.early.push(resolve);
            }
        });
        let _ = select(JsFuture::from(begun), TimeoutFuture::new(PATIENCE_MS)).await;
        self.state.borrow().ready
    }

    /// Posts work. The promise gives the answer, or null if the worker is lost meanwhile.
    fn post(&self, work: Work, inputs: &[Uint8Array]) -> Result<Promise, JsValue> {
        let id = {
            let mut state = self.state.borrow_mut();
            if state.lost {
                return Err(JsValue::NULL);
            }
            state.next = state.next.wrapping_add(1);
            state.next
        };
        let attached: Vec<JsValue> = inputs.iter().map(JsValue::from).collect();
        let task = wire::pack(&Task { id, work }, &attached)?;
        let promise = Promise::new(&mut |resolve, _| {
            self.state.borrow_mut().waiting.insert(id, resolve);
        });
        let transferred = inputs.iter().map(Uint8Array::buffer).collect::<Array>();
        self.worker.post_message_with_transfer(&task, &transferred)?;
        Ok(promise)
    }

    /// Hands work over, at once, and waits for what it comes to: its summary and outputs. `None` if the worker
    /// refuses or is lost. The memory of the inputs is kept for later ones.
    pub(super) fn ask(
        self: Rc<Self>,
        work: Work,
        inputs: &[Uint8Array],
    ) -> impl Future<Output = Option<(Summary, Vec<Uint8Array>)>> + use<> {
        let posted = self.post(work, inputs);
        let count = inputs.len();
        async move {
            let Ok(promise) = posted else {
                self.give_up();
                return None;
            };
            let answer = match select(JsFuture::from(promise), TimeoutFuture::new(PATIENCE_MS)).await {
                Either::Left((answer, _)) => answer.ok()?,
                Either::Right(_) => {
                    self.give_up();
                    return None;
                }
            };
            let (Answer::Done { summary, .. }, attached) = wire::unpack::<Answer>(&answer).ok()? else {
                return None;
            };
            let mut outputs: Vec<Uint8Array> =
                attached.into_iter().map(JsValue::dyn_into).collect::<Result<_, _>>().ok()?;
            let inputs = outputs.split_off(outputs.len().checked_sub(count)?);
            inputs.iter().for_each(spare::keep);
            Some((summary?, outputs))
        }
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
            let inputs: Vec<Uint8Array> = inputs.iter().map(|bytes| spare::copy(bytes)).collect();
            let (summary, found) = member.ask(Work::Call(call.clone()), &inputs).await?;
            if found.len() != outputs.len() {
                return None;
            }
            for (output, bytes) in outputs.iter_mut().zip(&found) {
                if bytes.length() as usize != output.len() {
                    return None;
                }
                bytes.copy_to(output);
            }
            Some(summary)
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
