//! Checkpoints that the reference implementation wrote, opened and verified whole: sound ones give no
//! error, and one whose config promises what its tensors are not is told so.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, Uncontrolled};
use quantscope_kernels::CpuEngine;
use quantscope_session::api::{Finding, Report, Severity};
use quantscope_session::{Engines, InputFile, Session};
use quantscope_tests::specimen::file;
use quantscope_tests::{data, open_folder};
use std::collections::BTreeSet;

/// Exports whose schemes are all known, as the reference wrote them.
const SOUND: &[&str] = &[
    "golden/e2e_llama_nvfp4/expected",
    "golden/e2e_llama_nvfp4_embed_quantized/expected",
    "golden/e2e_llama_nvfp4_kvfp8/expected",
    "golden/e2e_llama_nvfp4_sharded/expected",
    "golden/e2e_llama_nvfp4_static_mse/expected",
    "golden/e2e_llama_nvfp4_tied_head/expected",
    "golden/e2e_llama_w4a16_nvfp4/expected",
    "golden/e2e_llama_fp8/expected",
    "golden/e2e_llama_fp8_pb_w8a8/expected",
    "golden/e2e_llama_fp8_pb_w8a8_nocalib/expected",
    "golden/e2e_llama_fp8_pb_wo/expected",
    "golden/e2e_llama_fp8_pc_pt/expected",
    "golden/e2e_llama_int4/expected",
    "golden/e2e_llama_int4_awq/expected",
    "golden/e2e_llama_int8/expected",
    "golden/e2e_llama_int8_smoothquant/expected",
    "golden/e2e_llama_mxfp4/expected",
    "golden/e2e_llama_mxfp8/expected",
    "golden/e2e_llama_mixed_nvfp4_fp8/expected",
    "golden/e2e_llama_mixed_nvfp4_fp8_pb/expected",
    "golden/e2e_mixtral_nvfp4/expected",
    "golden/e2e_t5_fp8/expected",
    "golden/e2e_tied_encdec_fp8/expected",
    "golden/e2e_tied_encdec_nvfp4/expected",
    "golden/e2e_wan_vae_nvfp4_conv3d/expected",
    "golden-pr/conv3d/conv3d_bf16/expected",
    "golden-pr/conv3d/conv3d_f16/expected",
    "golden-pr/conv3d/conv3d_f16_to_bf16/expected",
    "golden-pr/conv3d/conv3d_f32/expected",
    "golden-pr/conv3d/conv3d_f32_to_bf16/expected",
    "golden-pr/conv3d/conv3d_seed_grouped/expected",
    "golden-pr/conv3d/conv3d_seed_weight_only/expected",
    "golden-pr/fp8/mixed_nvfp4_fp8pb/expected",
    "golden-pr/fp8/release_mixed_nvfp4_fp8pb/expected",
    "golden-pr/fp8/release_w8a8_not_mult128/expected",
    "golden-pr/fp8/w8a8_excluded_layer/expected",
    "golden-pr/fp8/w8a8_mult128/expected",
    "golden-pr/fp8/w8a8_not_mult128/expected",
    "golden-pr/fp8/weight_only_mult128/expected",
    "golden-pr/static/release_max_static_bf16/expected",
    "golden-pr/static/release_mse_edges/expected",
    "golden-pr/tied/fp8_canonical_on/expected",
    "golden-pr/tied/nvfp4_canonical_off/expected",
    "golden-pr/tied/nvfp4_canonical_on/expected",
    "golden-pr/tied/nvfp4_experts_only_on/expected",
    "golden-pr/tied/release_nvfp4_canonical_off/expected",
    "golden-pr/vae/wan21_all/expected",
    "golden-pr/vae/wan21_filter/expected",
    "golden-pr/vae/wan22_residual/expected",
    "golden-pr/vae/wan22_residual_filter/expected",
];

/// Opens a folder, verifies every byte on the CPU engine, and answers the report.
fn verified(path: &str) -> Report {
    verified_files(path, open_folder(&data(path)).0)
}

fn verified_files(path: &str, files: Vec<InputFile>) -> Report {
    futures_executor::block_on(async {
        let mut session = Session::open(path, files, Limits::default(), &Uncontrolled).await.unwrap();
        let engine = CpuEngine::new();
        let summary = session.verify(Engines { gpu: None, cpu: &engine }, &Uncontrolled).await.unwrap();
        assert!(summary.engine.starts_with("CPU"), "{path}: {}", summary.engine);
        session.report().unwrap()
    })
}

fn errors(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.severity == Severity::Error).collect()
}

#[test]
fn sound_exports_have_no_errors() {
    let mut wrong = Vec::new();
    for path in SOUND {
        let report = verified(path);
        assert!(!report.layers.is_empty(), "{path} has no layers");
        let quantized =
            report.layers.iter().filter(|layer| !["bf16", "f16", "f32"].contains(&layer.scheme.as_str()));
        assert!(quantized.count() > 0, "{path}: nothing was recognised as quantized");
        wrong.extend(errors(&report).iter().map(|finding| format!("{path}: {finding:?}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names a finding touches.
fn touched(finding: &Finding) -> impl Iterator<Item = &str> {
    finding.layers.iter().map(String::as_str).chain([finding.subject.as_str()])
}

/// The release before packed convolutions: the config says NVFP4, every tensor is plain.
#[test]
fn a_promise_that_is_not_kept_is_found() {
    for (path, config, promised) in [
        (
            "golden/e2e_wan_vae_nvfp4_release/expected",
            "golden/e2e_wan_vae_nvfp4_release/expected/config.json",
            43,
        ),
        // Its tensors are those of the source, so only the config of the export is kept.
        ("golden-pr/vae/wan21_all/source", "golden-pr/vae/release_wan21_unpacked.json", 36),
    ] {
        let (mut files, _) = open_folder(&data(path));
        let text = std::fs::read(data(config)).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&text).unwrap();
        files.retain(|f| f.path != "config.json");
        files.push(file("config.json", text));
        let ignored: Vec<&str> = config["quantization_config"]["ignore"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p.as_str().unwrap())
            .collect();
        // Every pattern of these two configs is a name, or the beginning of one with a star.
        let is_ignored = |name: &str| {
            ignored
                .iter()
                .any(|p| p.strip_suffix('*').map_or(name == *p, |beginning| name.starts_with(beginning)))
        };
        let report = verified_files(path, files);
        let expected: BTreeSet<&str> = report
            .layers
            .iter()
            .filter(|layer| layer.kind.starts_with("conv") && !is_ignored(&layer.name))
            .map(|layer| layer.name.as_str())
            .collect();
        assert_eq!(expected.len(), promised, "{path}");
        let errors = errors(&report);
        assert!(errors.iter().all(|finding| finding.rule == "CF302"), "{path}: {errors:#?}");
        let found: BTreeSet<&str> = errors
            .iter()
            .flat_map(|finding| touched(finding))
            .filter(|name| expected.contains(name))
            .collect();
        assert_eq!(found, expected, "{path}");
        let kept =
            report.layers.iter().filter(|layer| layer.kind.starts_with("conv") && is_ignored(&layer.name));
        for layer in kept {
            assert!(
                !errors.iter().any(|f| touched(f).any(|name| name == layer.name)),
                "{path}: {}",
                layer.name
            );
        }
    }
}
