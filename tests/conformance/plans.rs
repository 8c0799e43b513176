//! A plan tells every output tensor before anything is read: held against the reference's exports, whose bytes must
//! then lie where the plan said.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, Uncontrolled};
use quantscope_session::Session;
use quantscope_session::api::ConvertRequest;
use quantscope_tests::data;
use quantscope_tests::jobs::{convert, files_of, weights};
use quantscope_tests::manifest::manifest;
use quantscope_tests::open_folder;
use quantscope_tests::planned::{PlanTensor, Planned};
use quantscope_tests::tensors::{Tensors, floats};
use std::collections::BTreeSet;

/// The plan of a folder, and the tensor bytes that were read for it.
fn plan(folder: &str, request: &ConvertRequest) -> (Planned, u64) {
    let (files, asked) = open_folder(&data(folder));
    let session =
        futures_executor::block_on(Session::open(folder, files, Limits::default(), &Uncontrolled)).unwrap();
    let before = asked.get();
    let planned = Planned::of(&session, request);
    (planned, asked.get() - before)
}

fn to(id: &str) -> ConvertRequest {
    ConvertRequest { to: id.into(), ..ConvertRequest::default() }
}

fn by_name<'p>(plan: &'p Planned, name: &str) -> &'p PlanTensor {
    plan.tensors.iter().find(|t| t.name == name).unwrap()
}

#[test]
fn the_plan_tells_the_references_output_before_reading_anything() {
    let mut checked = 0;
    for case in manifest().case.iter().filter(|case| !case.source.is_empty() && data(&case.source).is_dir()) {
        for job in case.jobs() {
            let (plan, read) = plan(&case.source, &job.request);
            assert_eq!(read, 0, "{}: the plan has read", job.name);
            assert!(plan.view.refused.is_empty(), "{}: {:?}", job.name, plan.view.refused);
            let told: BTreeSet<(&str, &str, &[u64])> = plan
                .tensors
                .iter()
                .map(|t| (t.name.as_str(), t.dtype.as_str(), t.shape.as_slice()))
                .collect();
            let right: BTreeSet<(&str, &str, &[u64])> = job
                .expected
                .iter()
                .map(|(n, t)| (n.as_str(), t.dtype.as_str(), t.shape.as_slice()))
                .collect();
            assert_eq!(told, right, "{}", job.name);
            let written = convert(&job.files, &job.request, None, &Limits::default()).unwrap();
            for tensor in &plan.tensors {
                let range = usize::try_from(tensor.begin).unwrap()..usize::try_from(tensor.end).unwrap();
                let bytes = &written[&tensor.file][range];
                let expected = &job.expected[&tensor.name];
                // NaN scales may differ in their sign; their place is told by all others.
                assert!(
                    bytes == expected.bytes
                        || bytes.len() == expected.bytes.len() && expected.dtype == "F8_E4M3"
                );
            }
            let len: u64 = written
                .iter()
                .filter(|(name, _)| *name != "quantscope.manifest.json")
                .map(|(_, bytes)| bytes.len() as u64)
                .sum();
            // Some cases add a config that the folder has not.
            assert!(!case.config.is_empty() || plan.view.bytes_to_write == len, "{}", job.name);
            checked += 1;
        }
    }
    assert!(checked > 15, "only {checked} plans were held against anything");
}

#[test]
fn every_tensor_has_its_inputs_and_its_step() {
    let (plan, _) =
        plan("golden/_src/llama", &ConvertRequest { layers: vec!["*.up_proj=f32".into()], ..to("nvfp4") });
    let told = |name: &str| {
        let tensor = by_name(&plan, name);
        (tensor.step.as_str(), tensor.inputs.clone(), tensor.scheme.as_deref(), tensor.lossless)
    };
    let weight = "model.layers.0.mlp.down_proj.weight";
    let input = vec![weight.to_string()];
    assert_eq!(told(weight), ("encode", input.clone(), Some("nvfp4"), Some(false)));
    for scale in ["weight_scale", "weight_scale_2"] {
        let name = format!("model.layers.0.mlp.down_proj.{scale}");
        assert_eq!(told(&name), ("scale", input.clone(), Some("nvfp4"), Some(false)));
    }
    let norm = "model.norm.weight";
    assert_eq!(told(norm), ("copy", vec![norm.into()], None, Some(true)));
    let cast = "model.layers.0.mlp.up_proj.weight";
    assert_eq!(told(cast), ("cast", vec![cast.into()], None, Some(true)));
}

/// A decoded layer is made of all its tensors; into a narrower type only the data tell whether it fits.
#[test]
fn decoding_and_recasting_say_what_they_lose() {
    let folder = "golden/e2e_llama_nvfp4/expected";
    let name = "model.layers.0.mlp.up_proj";
    for (id, exact) in [("f32", Some(true)), ("bf16", None)] {
        let (plan, _) = plan(folder, &to(id));
        let tensor = by_name(&plan, &format!("{name}.weight"));
        let mut inputs = tensor.inputs.clone();
        inputs.sort();
        let all =
            ["input_scale", "weight", "weight_scale", "weight_scale_2"].map(|leaf| format!("{name}.{leaf}"));
        assert_eq!((inputs.as_slice(), tensor.step.as_str(), tensor.lossless), (&all[..], "decode", exact));
    }
    let (plan, _) = plan(folder, &to("ct-nvfp4"));
    let tensor = by_name(&plan, &format!("{name}.weight_packed"));
    assert_eq!((tensor.step.as_str(), tensor.scheme.as_deref()), ("recast", Some("ct-nvfp4")));
}

/// Powers of two times E2M1 are numbers of BF16: what the plan calls lossless loses nothing.
#[test]
fn what_is_called_lossless_is() {
    let folder = "golden/e2e_llama_mxfp4/expected";
    let (plan, _) = plan(folder, &to("bf16"));
    let files = files_of(&data(folder));
    let [narrow, wide] =
        ["bf16", "f32"].map(|id| weights(&convert(&files, &to(id), None, &Limits::default()).unwrap()));
    let decoded = || plan.tensors.iter().filter(|t| t.step == "decode");
    assert!(decoded().count() > 10);
    for tensor in decoded() {
        assert_eq!(tensor.lossless, Some(true), "{}", tensor.name);
        assert_eq!(floats(&narrow[&tensor.name]), floats(&wide[&tensor.name]), "{}", tensor.name);
    }
}

/// One look tells all that stands against a conversion, not the first alone.
#[test]
fn all_refusals_are_told_at_once() {
    let files = files_of(&data("golden/_src/llama"));
    let source: Tensors = weights(&files);
    let request = ConvertRequest { group_size: Some(48), ..to("int4") };
    let (plan, read) = plan("golden/_src/llama", &request);
    let refused: BTreeSet<&str> = plan.view.refused.iter().map(|r| r.name.as_str()).collect();
    // A group of 48 fits into no row of 64 or 128 elements.
    let expected: BTreeSet<&str> = source
        .iter()
        .filter(|(name, tensor)| {
            name.contains("_proj.") && tensor.shape.last().is_some_and(|cols| !cols.is_multiple_of(48))
        })
        .filter_map(|(name, _)| name.strip_suffix(".weight"))
        .collect();
    assert!(!expected.is_empty() && read == 0);
    assert_eq!(refused, expected);
    let error = convert(&files, &request, None, &Limits::default()).unwrap_err();
    assert_eq!(error.kind, "refused");
    for name in &expected {
        assert!(error.message.contains(&format!("`{name}`")), "{name} is not in {}", error.message);
    }
}
