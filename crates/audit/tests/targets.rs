//! Profiles of runtimes: complete, sourced, and silent where nobody asked.

use crate::fixture::targets::target_rules;
use quantscope_audit::targets::{profile, profiles};

/// The runtimes of the contract.
const IDS: [&str; 6] = ["comfyui", "diffusers", "sglang", "transformers", "trtllm", "vllm"];

#[test]
fn every_runtime_has_a_profile_with_sources() {
    assert_eq!(profiles().iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), IDS);
    for profile in profiles() {
        assert!(!profile.source.is_empty() && !profile.scheme.is_empty(), "{}", profile.id);
        for source in &profile.source {
            let said = [&source.project, &source.file, &source.release, &source.says];
            assert!(said.iter().all(|text| !text.is_empty()), "{}: {source:?}", profile.id);
            assert!(source.project.contains('/'), "{}: {}", profile.id, source.project);
        }
    }
    assert!(profile("VLLM").is_some() && profile("llama.cpp").is_none());
}

/// A name that no layer kind has would never match, and refuse every layer.
#[test]
fn profiles_name_kinds_that_exist() {
    let kinds = ["linear", "conv3d", "conv2d", "conv1d", "embedding", "expert", "expert-stack"];
    for profile in profiles() {
        for kind in &profile.kinds {
            assert!(kinds.contains(&kind.as_str()), "{}: {kind}", profile.id);
        }
    }
}

#[test]
fn findings_name_their_runtime_and_nothing_is_found_unasked() {
    for (rule, trips, _) in target_rules() {
        let findings = trips.findings();
        let own: Vec<_> = findings.iter().filter(|f| f.rule == rule).collect();
        assert!(own.iter().all(|f| f.target.as_deref() == trips.target), "{rule}: {own:?}");
        let mut unasked = trips.clone();
        unasked.target = None;
        assert!(!unasked.rules().contains(rule), "{rule} without a target: {:?}", unasked.findings());
    }
}

#[test]
fn safe_sizes_are_counted_out() {
    let (_, trips, _) = target_rules().into_iter().find(|(rule, _, _)| *rule == "BK952").unwrap();
    let finding = trips.findings().into_iter().find(|f| f.rule == "BK952").unwrap();
    // 1024 columns are eight blocks: sixteen devices would get half a block each.
    assert_eq!(finding.expected.as_deref(), Some("a size of 1, 2, 4, 8"));
    assert_eq!(finding.found.as_deref(), Some("refused at 16"));
    assert!(finding.message.contains("1024 columns / 16 = 64, no multiple of 128"), "{}", finding.message);
}
