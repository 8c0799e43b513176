//! The screens: one file each. They join components and say what the user can do.

mod address;
mod arrival;
mod compare;
mod compare_found;
mod compare_panel;
mod convert;
mod convert_names;
mod convert_plan;
mod convert_recipe;
mod convert_result;
mod convert_stopped;
mod findings;
mod findings_tools;
mod frame;
mod help;
mod lab;
mod lab_budget;
mod lab_cards;
mod layers;
mod overview;
mod repair;
mod ties;

pub(crate) use compare::SecondPicks;
pub(crate) use frame::Frame;
