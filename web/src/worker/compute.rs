//! The program of a compute worker: takes rows, gives back what the CPU twin makes of them; takes bytes, gives their
//! hash.

use super::pool::{Answer, Task, Work, own_memory};
use super::{js, scope};
use crate::{locks, wire};
use js_sys::{Array, Uint8Array};
use quantscope_session::call::{Call, Summary};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::MessageEvent;

/// Bytes that are hashed at once: what is copied for it stays in the processor's nearer caches.
const PIECE: u32 = 1 << 18;

/// What was begun to be hashed, by number.
type Chains = BTreeMap<u32, Sha256>;

/// Listens, and says that it does. As long as it lives it holds the lock of its name.
pub(super) fn start(name: &str) {
    let mut chains = Chains::new();
    let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
        let Ok((Task { id, work }, inputs)) = wire::unpack::<Task>(&message.data()) else {
            // Of another build: the one who asked hears that this worker broke.
            wasm_bindgen::throw_str("the task could not be read");
        };
        let inputs: Vec<Uint8Array> = inputs.into_iter().map(Uint8Array::unchecked_from_js).collect();
        let done = match work {
            Work::Call(call) => run(&call, &inputs),
            Work::Hash(number) => {
                let chain = chains.entry(number).or_default();
                inputs.iter().for_each(|bytes| hash(chain, bytes));
                Some((Summary::Nothing, Vec::new()))
            }
            Work::Hashed(number) => {
                let hash = chains.remove(&number).unwrap_or_default().finalize();
                Some((Summary::Nothing, vec![Uint8Array::from(&*hash)]))
            }
        };
        let (summary, outputs) = done.unzip();
        let attached: Vec<Uint8Array> = outputs.unwrap_or_default().into_iter().chain(inputs).collect();
        answer(&Answer::Done { id, summary, memory: own_memory() }, &attached);
    });
    scope().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    // The listener lives as long as the worker.
    on_message.forget();
    let ready = || answer(&Answer::Ready { memory: own_memory() }, &[]);
    if let Err(error) = locks::hold(name, ready) {
        wasm_bindgen::throw_str(&js::reason(&error));
    }
}

/// Takes bytes into a hash, a piece at a time.
fn hash(chain: &mut Sha256, bytes: &Uint8Array) {
    let mut piece = vec![0; PIECE as usize];
    let mut at = 0;
    while at < bytes.length() {
        let end = at.saturating_add(PIECE).min(bytes.length());
        let part = piece.get_mut(..(end - at) as usize).unwrap_or_default();
        bytes.subarray(at, end).copy_to(part);
        chain.update(part);
        at = end;
    }
}

/// `None` if the buffers are not those of the call, or there is no room for what it writes.
fn run(call: &Call, inputs: &[Uint8Array]) -> Option<(Summary, Vec<Uint8Array>)> {
    let inputs: Vec<Vec<u8>> = inputs.iter().map(Uint8Array::to_vec).collect();
    let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
    let mut outputs = Vec::new();
    for len in call.output_lengths() {
        let len = usize::try_from(len).ok()?;
        let mut output = Vec::new();
        output.try_reserve_exact(len).ok()?;
        output.resize(len, 0_u8);
        outputs.push(output);
    }
    let mut slices: Vec<&mut [u8]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let summary = call.run(&inputs, &mut slices).ok()?;
    Some((summary, outputs.iter().map(|bytes| Uint8Array::from(bytes.as_slice())).collect()))
}

fn answer(answer: &Answer, attached: &[Uint8Array]) {
    let transferred = attached.iter().map(Uint8Array::buffer).collect::<Array>();
    let attached: Vec<JsValue> = attached.iter().map(JsValue::from).collect();
    let posted = wire::pack(answer, &attached)
        .and_then(|message| scope().post_message_with_transfer(&message, &transferred));
    if let Err(error) = posted {
        wasm_bindgen::throw_str(&js::reason(&error));
    }
}
