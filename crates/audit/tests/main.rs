//! The auditor's tests: each rule against its fixtures, the reference's exports, layouts, and public threads.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(clippy::cast_possible_truncation, reason = "fixtures of a few bytes")]

mod cases;
mod fixture;
mod foreign;
mod forensics;
mod golden;
mod hostile;
mod layouts;
mod opened;
mod rules;
mod scale;
mod targets;
mod threads;
