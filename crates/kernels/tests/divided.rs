//! Divided calls give what the CPU twin gives, on every kernel, whatever the number of helpers and whatever
//! becomes of them; and ModelOpt's bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod twins;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::call::{Call, Summary};
use quantscope_kernels::nvfp4_quantize::{CodeCast, Nvfp4Block, Nvfp4Table};
use quantscope_kernels::{
    CpuEngine, DividedEngine, Engine, EngineError, FloatTile, FloatType, Helpers, Kernel,
};
use std::cell::{Cell, RefCell};
use wasm_bindgen_test::wasm_bindgen_test;

wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Helpers that are not far away, some of which do not bring back what they were given.
struct Near {
    count: usize,
    /// Every how many calls one is lost; 0 for never.
    loses: u32,
    given: Cell<u32>,
    rows: RefCell<Vec<u32>>,
}

fn helpers(count: usize, loses: u32) -> DividedEngine<Near> {
    DividedEngine::new(Near { count, loses, given: Cell::new(0), rows: RefCell::default() }, 0)
}

impl Helpers for Near {
    fn count(&self) -> usize {
        self.count
    }

    fn work<'a>(
        &'a self,
        number: usize,
        call: &'a Call,
        inputs: &'a [&'a [u8]],
        outputs: &'a mut [&mut [u8]],
    ) -> LocalBoxFuture<'a, Option<Summary>> {
        assert!(number < self.count, "there is no helper {number}");
        self.given.set(self.given.get() + 1);
        self.rows.borrow_mut().push(call.rows().0);
        if self.loses > 0 && self.given.get().is_multiple_of(self.loses) {
            for output in outputs {
                output.fill(0xa5);
            }
            return Box::pin(async { None });
        }
        // Far away, buffers are made anew: as long as the call itself says.
        let mut own: Vec<Vec<u8>> =
            call.output_lengths().into_iter().map(|len| vec![0; usize::try_from(len).unwrap()]).collect();
        let mut slices: Vec<&mut [u8]> = own.iter_mut().map(Vec::as_mut_slice).collect();
        let summary = call.run(inputs, &mut slices).unwrap();
        for (output, own) in outputs.iter_mut().zip(&own) {
            output.copy_from_slice(own);
        }
        Box::pin(async move { Some(summary) })
    }

    fn description(&self) -> String {
        format!("CPU, {} helpers", self.count)
    }
}

fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().unwrap()
}

#[wasm_bindgen_test(unsupported = test)]
fn divided_calls_are_the_twins() {
    let engine = helpers(3, 0);
    now(twins::assert_agreement(&CpuEngine::new(), &engine));
    assert!(engine.helpers().given.get() > 0);
    // Half of what is handed over is lost.
    let engine = helpers(4, 2);
    for &kernel in Kernel::ALL {
        now(twins::agree(kernel, &CpuEngine::new(), &engine)).unwrap();
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn divided_calls_write_modelopts_bytes() {
    now(twins::assert_golden(&helpers(3, 0)));
    now(twins::assert_golden(&helpers(2, 3)));
}

#[wasm_bindgen_test(unsupported = test)]
fn rows_are_shared_evenly_and_the_rest_is_done_here() {
    let engine = helpers(3, 0);
    let bytes = [0; 10 * 16 * 2];
    let tile = FloatTile { dtype: FloatType::Bf16, bytes: &bytes, rows: 10, cols: 16 };
    now(engine.absmax(tile)).unwrap();
    assert_eq!(*engine.helpers().rows.borrow(), [3, 3, 3]);
    // A single row cannot be shared.
    let tile = FloatTile { dtype: FloatType::Bf16, bytes: &bytes[..32], rows: 1, cols: 16 };
    now(engine.absmax(tile)).unwrap();
    assert_eq!(engine.helpers().given.get(), 3);
}

#[wasm_bindgen_test(unsupported = test)]
fn small_calls_and_wrong_sizes_are_not_handed_over() {
    let near = Near { count: 2, loses: 0, given: Cell::new(0), rows: RefCell::default() };
    let engine = DividedEngine::new(near, 65);
    let tile = FloatTile { dtype: FloatType::Bf16, bytes: &[0; 64], rows: 2, cols: 16 };
    now(engine.absmax(tile)).unwrap();
    assert_eq!(engine.helpers().given.get(), 0, "64 bytes are below the least");
    let engine = helpers(2, 0);
    let table = Nvfp4Table::dynamic(1.0, Nvfp4Block::Of16, CodeCast::Keep);
    let refused = now(engine.nvfp4_encode(tile, &table, &[0; 2], &mut [0; 15]));
    assert_eq!(refused, Err(EngineError::TileSize { expected: 16, found: 15 }));
    assert_eq!(engine.helpers().given.get(), 0);
}
