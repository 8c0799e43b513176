//! The page and its worker: two small programs over one library.
//!
//! The page (main thread) renders and nothing else. The worker owns the session, the engines and every byte.
//! They speak in the messages of [`protocol`]. The state of the page is plain data with a pure update function
//! ([`state`]); only [`services`], [`hooks`], [`locks`], the worker and [`wire`] touch the browser's interfaces.
#![forbid(unsafe_code)]

mod app;
mod components;
mod hooks;
mod locks;
mod pages;
mod protocol;
mod services;
mod state;
mod wire;
mod worker;

pub use app::start_page;
pub use worker::start_worker;
