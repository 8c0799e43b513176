//! Runtimes: what each loads, as data, and the rules that hold for one runtime only.
//!
//! The profiles stand in `targets/*.toml` with their sources; `build.rs` checks their form. The rules run only
//! for the runtimes that were asked for, and their findings name it.

mod built_in;
mod loads;
mod parallel;
mod profile;

pub use profile::{Algos, Load, Parallel, Physical, Profile, Scale, Source};

use crate::checkpoint::Checkpoint;
use crate::findings::Findings;
use crate::model::LayerInfo;
use crate::registry::Rule;
use crate::rules::HeaderContext;
use std::sync::LazyLock;

pub(crate) const RULES: &[Rule] = &[loads::SN202, loads::SN204, loads::TI705, parallel::BK952];

/// Written by the build script, which reads each profile in this very form.
const BUILT_IN: &str = include_str!(concat!(env!("OUT_DIR"), "/targets.json"));

static PROFILES: LazyLock<Vec<Profile>> = LazyLock::new(|| built_in::profiles(BUILT_IN));

/// Every runtime, by id.
#[must_use]
pub fn profiles() -> &'static [Profile] {
    &PROFILES
}

/// The runtime of that id, in any case.
#[must_use]
pub fn profile(id: &str) -> Option<&'static Profile> {
    profiles().iter().find(|profile| profile.id.eq_ignore_ascii_case(id))
}

/// What is wrong with a checkpoint for some runtimes. Headers and configs only.
#[must_use]
pub fn target_findings(context: HeaderContext<'_>, targets: &[&Profile]) -> Findings {
    let mut findings = Findings::default();
    for profile in targets {
        let from = findings.len();
        loads::check(context, profile, &mut findings);
        parallel::check(context, profile, &mut findings);
        findings.aim(from, &profile.id);
    }
    findings
}

/// `quant_method` as the configs declare it. ModelOpt's older file has none and needs none.
#[must_use]
pub fn method_of(checkpoint: &Checkpoint) -> Option<&str> {
    let declaration = checkpoint.declaration()?;
    Some(declaration.quant_method.as_deref().unwrap_or("modelopt"))
}

/// The scales that a runtime reads for a layer; empty if it does not load the layer or nothing is known.
#[must_use]
pub fn scales_of<'a>(profile: &'a Profile, layer: &LayerInfo, method: Option<&str>) -> &'a [Scale] {
    load_of(profile, layer.scheme.id(), method).map_or(&[], |load| load.scales.as_slice())
}

/// The entry of a profile that fits a scheme under a method. Without a declaration the first of its id counts.
fn load_of<'a>(profile: &'a Profile, scheme: &str, method: Option<&str>) -> Option<&'a Load> {
    let fits = |load: &&Load| {
        let id = match load.id.split_once('*') {
            Some((start, end)) => scheme.starts_with(start) && scheme.ends_with(end),
            None => load.id == scheme,
        };
        let named = method.is_none_or(|m| load.methods.iter().any(|own| own.eq_ignore_ascii_case(m)));
        id && (load.methods.is_empty() || named)
    };
    profile.scheme.iter().find(fits)
}
