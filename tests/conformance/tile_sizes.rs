//! Every golden conversion and every decoding again, cut into tiles of any size: the bytes are the same, whatever
//! the budget.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::Limits;
use quantscope_session::api::ConvertRequest;
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::manifest::{Case, Job, manifest};
use std::collections::BTreeSet;

/// Budgets in bytes: less than any block, a few rows of some layers and less than one of others.
const BUDGETS: [u64; 2] = [1, 600];

fn converted(files: &Files, request: &ConvertRequest, tile_bytes: u64) -> Files {
    let limits = Limits { tile_bytes, ..Limits::default() };
    convert(files, request, None, &limits).unwrap()
}

/// Compares the outputs under every budget; answers the number of tensors.
fn check(name: &str, files: &Files, request: &ConvertRequest) -> usize {
    let whole = converted(files, request, Limits::default().tile_bytes);
    for budget in BUDGETS {
        let cut = converted(files, request, budget);
        assert!(cut.keys().eq(whole.keys()), "{name}: other files");
        for (file, bytes) in &whole {
            assert!(cut[file] == *bytes, "{name} to {}: {file} differs, tiles of {budget} bytes", request.to);
        }
    }
    weights(&whole).len()
}

#[test]
fn no_conversion_depends_on_the_tile_size() {
    let jobs: Vec<Job> = manifest().case.iter().flat_map(Case::jobs).collect();
    let schemes: BTreeSet<&str> = jobs.iter().map(|job| job.request.to.as_str()).collect();
    assert!(schemes.len() > 15, "only {schemes:?}");
    for job in &jobs {
        assert!(check(&job.name, &job.files, &job.request) > 0, "{} wrote nothing", job.name);
    }
}

#[test]
fn no_decoding_depends_on_the_tile_size() {
    let mut folders = 0;
    for entry in std::fs::read_dir(data("golden")).unwrap().flatten() {
        let expected = entry.path().join("expected");
        if !expected.is_dir() {
            continue;
        }
        folders += 1;
        for to in ["bf16", "f32"] {
            let request = ConvertRequest { to: to.into(), ..ConvertRequest::default() };
            check(&expected.display().to_string(), &files_of(&expected), &request);
        }
    }
    assert!(folders > 20, "only {folders} folders");
}

/// Stacks stay stacked where the model multiplies in batches; their bands are cut along the other side.
#[test]
fn no_stack_depends_on_the_tile_size() {
    let source = data("golden/nvfp4_bmm_llama4_experts/source.safetensors");
    let files: Files = [
        ("model.safetensors".to_string(), std::fs::read(source).unwrap()),
        ("config.json".to_string(), br#"{"model_type": "llama4"}"#.to_vec()),
    ]
    .into();
    for to in ["nvfp4", "nvfp4-mse", "nvfp4-four-over-six", "w4a16-nvfp4"] {
        let request = ConvertRequest { to: to.into(), ..ConvertRequest::default() };
        assert_eq!(check("a stack", &files, &request), 6);
    }
}
