//! Checkpoint to layers, findings, ties and savings.
//!
//! Knows: what a sound checkpoint looks like, and every rule. Does not know: how a finding is shown.
//! Auditing never fails because of what a file contains: damage is a finding about the damaged part.
#![forbid(unsafe_code)]

pub mod bytes;
mod checkpoint;
pub mod decoded;
mod engines;
mod findings;
mod forensics;
mod forms;
mod identical;
mod leaf;
mod model;
mod names;
mod reader;
mod registry;
pub mod report;
mod rules;
mod sampling;
pub mod targets;
mod texts;
pub mod ties;
pub mod tiles;
mod window;

pub use checkpoint::{Checkpoint, ConfigFile, InputFile, Shard};
pub use engines::{Engines, FallbackEngine};
pub use findings::{FindingView, Findings};
pub use leaf::Leaf;
pub use model::{LayerInfo, Member, Model, ratio};
pub use registry::{Example, Rule, rule, rules};
pub use rules::{FAMILIES, HeaderContext, RuleFamily, header_findings};
pub use window::WindowedSource;
