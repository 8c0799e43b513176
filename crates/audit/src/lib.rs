//! Checkpoint to layers, findings, ties and savings.
#![forbid(unsafe_code)]

pub mod report;
