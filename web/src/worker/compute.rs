//! The program of a compute worker: takes rows, gives back what the CPU twin makes of them.

use super::pool::{Answer, Task, own_memory};
use super::{js, scope};
use crate::{locks, wire};
use js_sys::{Array, Uint8Array};
use quantscope_session::call::{Call, Summary};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::MessageEvent;

/// Listens, and says that it does. As long as it lives it holds the lock of its name.
pub(super) fn start(name: &str) {
    let on_message = Closure::<dyn Fn(MessageEvent)>::new(|message: MessageEvent| {
        let Ok((Task { id, call }, inputs)) = wire::unpack::<Task>(&message.data()) else {
            // Of another build: the one who asked hears that this worker broke.
            wasm_bindgen::throw_str("the task could not be read");
        };
        let (summary, outputs) = work(&call, &inputs).unzip();
        answer(&Answer::Done { id, summary, memory: own_memory() }, &outputs.unwrap_or_default());
    });
    scope().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    // The listener lives as long as the worker.
    on_message.forget();
    let ready = || answer(&Answer::Ready { memory: own_memory() }, &[]);
    if let Err(error) = locks::hold(name, ready) {
        wasm_bindgen::throw_str(&js::reason(&error));
    }
}

/// `None` if the buffers are not those of the call, or there is no room for what it writes.
fn work(call: &Call, inputs: &[JsValue]) -> Option<(Summary, Vec<JsValue>)> {
    let inputs: Vec<Vec<u8>> = inputs.iter().map(|buffer| Uint8Array::new(buffer).to_vec()).collect();
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
    let outputs = outputs.iter().map(|bytes| Uint8Array::from(bytes.as_slice()).buffer().into());
    Some((summary, outputs.collect()))
}

fn answer(answer: &Answer, outputs: &[JsValue]) {
    let posted = wire::pack(answer, outputs)
        .and_then(|message| scope().post_message_with_transfer(&message, &outputs.iter().collect::<Array>()));
    if let Err(error) = posted {
        wasm_bindgen::throw_str(&js::reason(&error));
    }
}
