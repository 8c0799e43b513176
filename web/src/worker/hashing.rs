//! Who hashes beside a conversion: the browser, which has the processor's own instructions for it, where it can be given
//! all bytes at once; else a worker of the pool.

use super::control::JobControl;
use super::pool::{Member, Pool, Work};
use super::spare;
use futures_util::future::LocalBoxFuture;
use js_sys::{Function, Promise, Reflect, Uint8Array};
use quantscope_session::{Control, Hashing, Progress};
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Below this it is done sooner than anyone is asked.
const LEAST: u64 = 1 << 20;
/// What the browser is given at once, at most; it makes a copy.
const WHOLE: u64 = 32 << 20;
/// What a worker is given at once.
const PIECE: usize = 4 << 20;
/// Pieces that wait for the worker, at most: it never waits for us while we compute a tile.
const AHEAD: usize = 6;

thread_local! {
    /// The number of the next hash.
    static NEXT: Cell<u32> = const { Cell::new(0) };
}

/// The control of a job that lets others hash.
pub(super) struct Beside<'a> {
    control: &'a JobControl,
    pool: &'a Pool,
}

impl<'a> Beside<'a> {
    /// The same job, with those who hash.
    pub(super) fn new(control: &'a JobControl, pool: &'a Pool) -> Self {
        Self { control, pool }
    }
}

impl Control for Beside<'_> {
    fn progress(&self, progress: &Progress) {
        self.control.progress(progress);
    }

    fn is_cancelled(&self) -> bool {
        self.control.is_cancelled()
    }

    fn hashing(&self, bytes: u64) -> Option<Box<dyn Hashing>> {
        if bytes < LEAST {
            return None;
        }
        if let Some(len) = u32::try_from(bytes).ok().filter(|_| bytes <= WHOLE)
            && let Some(browser) = Browser::find()
        {
            return Some(Box::new(Whole { browser, bytes: spare::sized(len), at: 0 }));
        }
        let number = NEXT.replace(NEXT.get().wrapping_add(1));
        Some(Box::new(Chain { member: self.pool.hasher()?, number, begun: false, waiting: VecDeque::new() }))
    }
}

/// The browser's own SHA-256. Pages that came over a connection which anyone can change have none.
struct Browser {
    subtle: JsValue,
    digest: Function,
}

impl Browser {
    fn find() -> Option<Self> {
        let crypto = Reflect::get(&js_sys::global(), &"crypto".into()).ok()?;
        let subtle = Reflect::get(&crypto, &"subtle".into()).ok()?;
        let digest = Reflect::get(&subtle, &"digest".into()).ok()?.dyn_into().ok()?;
        Some(Self { subtle, digest })
    }

    /// Begins to hash.
    fn hash(&self, bytes: &Uint8Array) -> Option<JsFuture> {
        let promise = self.digest.call2(&self.subtle, &"SHA-256".into(), bytes).ok()?;
        Some(JsFuture::from(promise.dyn_into::<Promise>().ok()?))
    }
}

/// Bytes that are gathered until all are there.
struct Whole {
    browser: Browser,
    bytes: Uint8Array,
    at: u32,
}

impl Hashing for Whole {
    fn update<'a>(&'a mut self, bytes: &'a [u8]) -> LocalBoxFuture<'a, ()> {
        let end = self.at.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        if end <= self.bytes.length() {
            self.bytes.subarray(self.at, end).copy_from(bytes);
        }
        self.at = end;
        Box::pin(async {})
    }

    fn finish(self: Box<Self>) -> LocalBoxFuture<'static, Option<[u8; 32]>> {
        let hash = self.browser.hash(&self.bytes).filter(|_| self.at == self.bytes.length());
        Box::pin(async move {
            let hash = hash?.await.ok()?;
            spare::keep(&self.bytes);
            sha256(&Uint8Array::new(&hash))
        })
    }
}

/// Bytes that a worker takes as they come.
struct Chain {
    member: Rc<Member>,
    number: u32,
    begun: bool,
    /// What was handed over and not said to be done; whether it was.
    waiting: VecDeque<LocalBoxFuture<'static, bool>>,
}

impl Hashing for Chain {
    fn update<'a>(&'a mut self, bytes: &'a [u8]) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            if !std::mem::replace(&mut self.begun, true) && !self.member.begun().await {
                self.waiting.push_back(Box::pin(async { false }));
            }
            for piece in bytes.chunks(PIECE) {
                // One that was lost stays in front, so that it is known in the end.
                while self.waiting.len() >= AHEAD
                    && let Some(front) = self.waiting.front_mut()
                {
                    if !front.await {
                        self.waiting = VecDeque::from([Box::pin(async { false }) as LocalBoxFuture<'_, _>]);
                        return;
                    }
                    self.waiting.pop_front();
                }
                let asked = Rc::clone(&self.member).ask(Work::Hash(self.number), &[spare::copy(piece)]);
                self.waiting.push_back(Box::pin(async move { asked.await.is_some() }));
            }
        })
    }

    fn finish(self: Box<Self>) -> LocalBoxFuture<'static, Option<[u8; 32]>> {
        let asked = Rc::clone(&self.member).ask(Work::Hashed(self.number), &[]);
        Box::pin(async move {
            for waiting in self.waiting {
                if !waiting.await {
                    return None;
                }
            }
            let (_, outputs) = asked.await?;
            sha256(outputs.first()?)
        })
    }
}

fn sha256(bytes: &Uint8Array) -> Option<[u8; 32]> {
    bytes.to_vec().try_into().ok()
}
