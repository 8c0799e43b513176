//! Sweeps over golden sources: what they try is what is packed, what they propose is what plans promise.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod opened;

use opened::{Stopping, open_folder};
use quantscope_session::api::{Budget, ConvertRequest, Proposal};
use quantscope_session::{Control, CpuEngine, Engines, Limits, Session, Sweep, Uncontrolled};

fn schemes(ids: &[&str]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn finish(session: &Session, sweep: &mut Sweep, control: &dyn Control) -> Result<(), String> {
    let cpu = CpuEngine::new();
    let engines = Engines { gpu: None, cpu: &cpu };
    while futures_executor::block_on(session.sweep_step(sweep, engines, control)).map_err(|e| e.kind)? {}
    Ok(())
}

fn swept(session: &Session, ids: &[&str]) -> Sweep {
    let mut sweep = session.sweep(&schemes(ids), None, None).unwrap();
    finish(session, &mut sweep, &Uncontrolled).unwrap();
    sweep
}

/// A proposal between two schemes: within its budget, better than what fits, and what a plan of it would write.
fn checked(session: &Session, sweep: &Sweep, budget: Budget) -> Proposal {
    let proposal = session.propose(sweep, budget).unwrap();
    let mix = &proposal.mix;
    assert!(mix.fits && proposal.complete && mix.bytes <= mix.budget, "{mix:?}");
    let plan = session.plan(&proposal.request).unwrap();
    assert_eq!(plan.bytes_after, proposal.total_bytes);
    for choice in &mix.choices {
        for name in &choice.layers {
            let packed = plan.packed.iter().find(|p| &p.name == name);
            assert_eq!(packed.map_or("keep", |p| p.to.as_str()), choice.scheme, "{name}");
        }
    }
    proposal
}

#[test]
fn a_budget_between_two_schemes_is_met_and_beats_what_fits() {
    let session = open_folder("golden/_src/llama_hidden128", Limits::default());
    let sweep = swept(&session, &["nvfp4", "fp8"]);
    assert_eq!(sweep.rows().len(), sweep.layer_count());
    let ends = session.propose(&sweep, Budget::Bytes(u64::MAX)).unwrap().mix;
    let (small, large) = (&ends.uniform[0], &ends.uniform[1]);
    assert!(small.bytes < large.bytes && small.squared_error > 10.0 * large.squared_error);
    let mut before = small.squared_error;
    for eighth in 1..8 {
        let bits = 4.6 + 0.4 * f64::from(eighth);
        let proposal = checked(&session, &sweep, Budget::BitsPerWeight(bits));
        assert!(proposal.bits_per_weight <= bits && proposal.bits_per_weight > bits - 1.5, "{bits}");
        // What fits uniformly is NVFP4 alone.
        assert!(proposal.mix.squared_error < small.squared_error && proposal.mix.squared_error <= before);
        before = proposal.mix.squared_error;
        // q, k and v stay together.
        let of = |name: &str| {
            let is = |c: &&quantscope_session::api::MixChoice| c.layers.iter().any(|l| l.ends_with(name));
            proposal.mix.choices.iter().find(is).unwrap()
        };
        assert_eq!(of("q_proj"), of("v_proj"));
        assert_eq!(of("gate_proj"), of("up_proj"));
    }
    let total = session.propose(&sweep, Budget::BitsPerWeight(6.0)).unwrap().total_bytes;
    let by_bytes = checked(&session, &sweep, Budget::Bytes(total));
    assert_eq!(by_bytes.total_bytes, total);
    assert!(!session.propose(&sweep, Budget::Bytes(1)).unwrap().mix.fits);
}

/// With more schemes to choose from, a mix of the same size as a uniform recipe loses no more than it.
#[test]
fn a_mix_beats_uniform_recipes_of_the_same_size() {
    for source in ["golden/_src/llama_hidden128", "golden/_src/llama"] {
        let session = open_folder(source, Limits::default());
        let sweep = swept(&session, &["nvfp4", "nvfp4-mse", "fp8", "fp8-channel", "int8-wo"]);
        let ends = session.propose(&sweep, Budget::Bytes(u64::MAX)).unwrap().mix;
        for uniform in &ends.uniform {
            if ["nvfp4", "fp8"].contains(&uniform.scheme.as_str()) {
                let other = session.propose(&sweep, Budget::Bytes(1)).unwrap().other_bytes;
                let mix = checked(&session, &sweep, Budget::Bytes(uniform.bytes + other)).mix;
                // In layers this small one step to NVFP4 loses more than all of FP8 does.
                let is_better = match uniform.scheme.as_str() {
                    "nvfp4" => mix.squared_error < 0.8 * uniform.squared_error,
                    _ => mix.squared_error <= uniform.squared_error,
                };
                assert!(is_better, "{source} {uniform:?} {}", mix.squared_error);
            }
        }
    }
}

/// A conversion packs the layers that the sweep has tried, into as many bytes: experts taken apart, convolutions and
/// fused groups too.
#[test]
fn plans_have_the_bytes_that_sweeps_have_told() {
    for (source, scheme) in [
        ("golden/_src/llama", "nvfp4"),
        ("golden/_src/llama", "nvfp4-mse"),
        ("golden/_src/llama_hidden136", "fp8-block"),
        ("golden/_src/e2e_t5_fp8", "fp8"),
        ("golden/_src/wan_vae", "nvfp4"),
        ("golden/_src/e2e_mixtral_nvfp4", "fp8-channel"),
    ] {
        let session = open_folder(source, Limits::default());
        let sweep = swept(&session, &[scheme]);
        let plan = session.plan(&ConvertRequest { to: scheme.into(), ..ConvertRequest::default() }).unwrap();
        let tried: u64 =
            sweep.rows().iter().filter(|r| r.options[0].refused.is_none()).map(|r| r.weights).sum();
        let packed: u64 = plan.packed.iter().map(|p| p.shape.iter().product::<u64>()).sum();
        assert_eq!(tried, packed, "{source}");
        let proposal = session.propose(&sweep, Budget::Bytes(1)).unwrap();
        let told = proposal.other_bytes + proposal.mix.uniform[0].bytes;
        assert_eq!(told, plan.bytes_after, "{source}");
    }
}

#[test]
fn a_sweep_that_was_stopped_goes_on() {
    let session = open_folder("golden/_src/llama", Limits::default());
    let whole = swept(&session, &["nvfp4"]);
    let mut sweep = session.sweep(&schemes(&["nvfp4"]), None, None).unwrap();
    let control = Stopping { after: std::cell::Cell::new(14) };
    assert_eq!(finish(&session, &mut sweep, &control), Err("cancelled".into()));
    let done = sweep.rows().len();
    assert!(done > 0 && done < whole.rows().len(), "{done}");
    let partial = session.propose(&sweep, Budget::BitsPerWeight(5.0)).unwrap();
    assert!(!partial.complete);
    finish(&session, &mut sweep, &Uncontrolled).unwrap();
    assert_eq!(sweep.rows(), whole.rows());
}

#[test]
fn there_must_be_something_to_try() {
    let session = open_folder("golden/e2e_llama_nvfp4/expected", Limits::default());
    let error = session.sweep(&schemes(&["nvfp4"]), None, None).unwrap_err();
    assert!(error.message.contains("unquantized source"), "{}", error.message);
    let session = open_folder("golden/_src/llama", Limits::default());
    for wrong in [&[][..], &["nvfp5"], &["bf16"]] {
        assert_eq!(session.sweep(&schemes(wrong), None, None).unwrap_err().kind, "refused");
    }
    let sweep = session.sweep(&schemes(&["nvfp4"]), None, None).unwrap();
    assert_eq!(session.propose(&sweep, Budget::Bytes(1)).unwrap_err().kind, "refused");
}
