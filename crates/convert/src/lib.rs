//! Recipe to plan to streamed output.
//!
//! Knows: how a conversion is asked for, laid out, carried out and proven. Does not know: the browser,
//! the terminal. The plan is finished before the first tensor byte moves, and is the promise: what is
//! written is read back and compared with it.
#![forbid(unsafe_code)]

mod builder;
mod calibration;
mod configs;
mod error;
mod fused;
mod manifest;
mod noise;
mod pack;
mod plan;
mod recipe;
mod run;
mod select;
mod write;

pub use calibration::Calibration;
pub use error::ConvertError;
pub use noise::LayerError;
pub use plan::{KeptLayer, PackedLayer, Plan, PlanFile, PlanTensor, Step};
pub use recipe::{Recipe, RecipeFields, ZeroTensors};
pub use run::{Outcome, run};
