//! Recipe to plan to streamed output.
//!
//! Knows: how a conversion is asked for, laid out, carried out and proven. Does not know: the browser,
//! the terminal. The plan is finished before the first tensor byte moves, and is the promise: what is
//! written is read back and compared with it.
#![forbid(unsafe_code)]

mod account;
mod ahead;
mod arrange;
mod arranged;
mod builder;
mod calibrate;
mod calibration;
mod change;
mod configs;
mod dedup;
pub mod diff;
mod digest;
mod error;
mod experts;
mod fused;
mod hashing;
mod joined;
mod journal;
mod layout;
mod listed;
mod manifest;
mod maxima;
mod measure;
mod metadata;
mod names;
mod noise;
mod pack;
mod passage;
mod plain;
mod plan;
mod recipe;
mod rectangles;
mod refused;
pub mod repair;
mod run;
mod same;
mod select;
mod shards;
mod sides;
mod size;
mod stack;
mod survey;
mod tie_pattern;
mod tied;
pub mod trial;
mod verify;
mod views;
mod weigh;
mod write;

pub use arrange::Lie;
pub use calibration::{Blocks, Calibration};
pub use dedup::Ties;
pub use error::ConvertError;
pub use names::rename_presets;
pub use noise::LayerError;
pub use plan::{ChangedLayer, GivenBlocks, KeptLayer, PackedLayer, Place, Plan, PlanFile, PlanTensor, Step};
pub use recipe::{Recipe, RecipeFields, ZeroTensors};
pub use refused::Refused;
pub use run::{Outcome, run};
pub use size::parse as parse_size;
pub use verify::{Problem, Verification, verify};
