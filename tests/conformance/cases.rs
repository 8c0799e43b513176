//! Every golden conversion of `cases.toml` and `tests/data/made`, byte for byte, on each engine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use quantscope_format::Limits;
use quantscope_kernels::Engine;
use quantscope_session::api::ConvertRequest;
use quantscope_tests::forgiven::{Forgiven, Kind};
use quantscope_tests::jobs::{Files, convert, weights};
use quantscope_tests::manifest::{Job, json_of, manifest, quantization};
use quantscope_tests::tally::Tally;
use quantscope_tests::tensors::{Difference, Tensors, difference, read};
use quantscope_tests::{data, gpu};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What is wrong with the tensors that came out.
fn wrong_tensors(name: &str, found: &Tensors, expected: &Tensors, forgiven: &Forgiven) -> Vec<String> {
    let mut wrong = Vec::new();
    for tensor in found.keys().chain(expected.keys()).collect::<BTreeSet<_>>() {
        match (found.get(tensor), expected.get(tensor)) {
            (Some(_), None) => wrong.push(format!("{name}: {tensor} should not be there")),
            (None, Some(_)) => wrong.push(format!("{name}: {tensor} is missing")),
            (Some(found), Some(right)) => match difference(found, right) {
                None => {}
                Some(Difference::NanSigns) if forgiven.forgives(name, tensor, Kind::NanSign) => {}
                Some(Difference::Kind) => wrong.push(format!(
                    "{name}: {tensor} is {} {:?}, expected {} {:?}",
                    found.dtype, found.shape, right.dtype, right.shape
                )),
                Some(other) => wrong.push(format!("{name}: {tensor} differs: {other:?}")),
            },
            (None, None) => {}
        }
    }
    wrong
}

/// Groups of a config have numbers that mean nothing: compared as a set.
fn without_group_numbers(mut config: Value) -> Value {
    if let Some(Value::Object(groups)) = config.get_mut("config_groups") {
        let mut bodies: Vec<Value> = groups.values().cloned().collect();
        bodies.sort_by_key(ToString::to_string);
        config["config_groups"] = Value::Array(bodies);
    }
    config
}

fn wrong_configs(job: &Job, written: &Files) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, right) in &job.configs {
        let found = written.get(file).and_then(|bytes| serde_json::from_slice(bytes).ok());
        let found = found.map_or(Value::Null, |found| quantization(file, found));
        if without_group_numbers(found.clone()) != without_group_numbers(right.clone()) {
            wrong.push(format!("{}: {file} says {found}\n  expected {right}", job.name));
        }
    }
    wrong
}

fn check(job: &Job, engine: Option<&dyn Engine>, forgiven: &Forgiven) -> Vec<String> {
    match convert(&job.files, &job.request, engine, &Limits::default()) {
        Err(error) => vec![format!("{} to {}: {error}", job.name, job.request.to)],
        Ok(written) => {
            let mut wrong = wrong_tensors(&job.name, &weights(&written), &job.expected, forgiven);
            wrong.extend(wrong_configs(job, &written));
            wrong
        }
    }
}

/// The cases of `made` that are conversions.
fn made() -> Vec<Job> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(data("made"))
        .unwrap()
        .flatten()
        .flat_map(|family| std::fs::read_dir(family.path()).unwrap().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let jobs = paths.iter().filter_map(|path| {
        let facts = json_of(path);
        let wanted = facts.get("convert")?;
        let name = facts["name"].as_str()?;
        let source = std::fs::read(path.with_extension("source.safetensors")).unwrap();
        Some(Job {
            name: format!("made/{name}"),
            family: format!("made, {}", name.split('/').next()?),
            files: [
                ("model.safetensors".to_string(), source),
                ("config.json".to_string(), facts["config"].to_string().into_bytes()),
            ]
            .into(),
            request: ConvertRequest {
                to: wanted["to"].as_str()?.into(),
                calibration_json: wanted.get("calibration").map(ToString::to_string),
                ..ConvertRequest::default()
            },
            expected: read(&path.with_extension("packed.safetensors")),
            configs: Vec::new(),
        })
    });
    jobs.collect()
}

#[test]
fn every_conversion_is_what_the_reference_wrote() {
    let forgiven = Forgiven::read();
    let gpu = gpu();
    let mut jobs: Vec<Job> =
        manifest().case.iter().flat_map(quantscope_tests::manifest::Case::jobs).collect();
    let made = made();
    assert!(made.len() > 10, "only {} conversions in made", made.len());
    jobs.extend(made);
    let mut tally = Tally::default();
    for job in &jobs {
        tally.add("CPU", &job.family, check(job, None, &forgiven));
        if let Some(engine) = &gpu {
            tally.add("GPU", &job.family, check(job, Some(engine), &forgiven));
        }
    }
    tally.finish();
    let unused = forgiven.unused();
    assert!(unused.is_empty(), "these forgive nothing: {unused:?}");
}

/// A comparison that cannot fail proves nothing.
#[test]
fn one_byte_more_or_less_is_noticed() {
    let forgiven = Forgiven::read();
    let expected = read(&data("golden/fp8_tensor_bf16/expected.safetensors"));
    let wrong = |found: &Tensors| wrong_tensors("a case", found, &expected, &forgiven).len();
    assert_eq!(wrong(&expected), 0);
    for change in 0..4 {
        let mut found = expected.clone();
        let weight = found.get_mut("linear.weight").unwrap();
        match change {
            0 => weight.bytes[7] ^= 1,
            1 => weight.dtype = "U8".into(),
            2 => drop(found.remove("linear.weight_scale")),
            _ => drop(found.insert("linear.more".into(), expected["linear.weight"].clone())),
        }
        assert_eq!(wrong(&found), 1, "change {change}");
    }
}

/// No golden folder is forgotten: each is converted to, or listed with a reason.
#[test]
fn every_golden_folder_has_its_place() {
    let manifest = manifest();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for case in &manifest.case {
        known.insert(case.layer.clone());
        known.extend(case.expected.rsplit_once('/').map(|(folder, _)| folder.to_string()));
    }
    for entry in &manifest.not_converted {
        assert!(entry.reason.len() > 20, "{} has no reason", entry.folder);
        assert!(known.insert(entry.folder.clone()), "{} is listed and converted", entry.folder);
    }
    let mut folders = Vec::new();
    for top in [
        "golden",
        "golden-pr/conv3d",
        "golden-pr/fp8",
        "golden-pr/leaks",
        "golden-pr/static",
        "golden-pr/tied",
        "golden-pr/vae",
    ] {
        for entry in std::fs::read_dir(data(top)).unwrap().flatten() {
            if entry.path().join("case.json").is_file() {
                folders.push(format!("{top}/{}", entry.file_name().to_string_lossy()));
            }
        }
    }
    assert!(folders.len() > 100, "only {} folders were found", folders.len());
    let forgotten: Vec<&String> = folders.iter().filter(|folder| !known.contains(*folder)).collect();
    assert!(forgotten.is_empty(), "no case covers {forgotten:#?}");
}
