//! Ties declared as a list, which gives no direction: the reference's tied exports come out as from a table, byte for
//! byte, however the list is written; what a list leaves open is refused by name.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, MemorySource, Uncontrolled};
use quantscope_session::api::{ConvertRequest, PlanView};
use quantscope_session::{InputFile, Session};
use quantscope_tests::data;
use quantscope_tests::jobs::{Files, convert, files_of, weights};
use quantscope_tests::manifest::{Job, json_of, manifest};
use quantscope_tests::tensors::{Tensors, file_of, parse};
use std::rc::Rc;

const CASE: &str = "golden-pr/tied/nvfp4_canonical_on";

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// All files but the manifest, which holds the request.
fn written(files: &Files, request: &ConvertRequest) -> Files {
    let mut out = convert(files, request, None, &Limits::default()).unwrap();
    out.remove("quantscope.manifest.json").unwrap();
    out
}

fn assert_same(found: &Tensors, right: &Tensors, case: &str) {
    let names = found.keys().chain(right.keys());
    let wrong: Vec<&String> = names.filter(|name| found.get(*name) != right.get(*name)).collect();
    assert!(wrong.is_empty(), "{case}: {wrong:#?}");
}

/// Whether two conversions wrote the same files; a failure shows configs, and of others the names.
fn assert_same_files(found: &Files, right: &Files, case: &str) {
    for name in found.keys().chain(right.keys()) {
        if let [Some(found), Some(right)] = [found, right].map(|files| files.get(name))
            && name.ends_with("config.json")
        {
            let [found, right] = [found, right].map(|json| String::from_utf8_lossy(json));
            assert_eq!(found, right, "{case}: {name}");
        }
        assert!(found.get(name) == right.get(name), "{case}: {name} differs");
    }
}

fn refusal(files: &Files, ties: &[&str], canonical: Option<&str>) -> String {
    let request = ConvertRequest {
        to: "nvfp4".into(),
        declared_ties: strings(ties),
        canonical: canonical.map(str::to_string),
        ..ConvertRequest::default()
    };
    let error = convert(files, &request, None, &Limits::default()).unwrap_err();
    assert_eq!(error.kind, "refused", "{error}");
    error.message
}

fn plan(files: &Files, request: &ConvertRequest) -> PlanView {
    let inputs = files.iter().map(|(path, bytes)| InputFile {
        path: path.clone(),
        source: Rc::new(MemorySource::new(path.clone(), bytes.clone())),
    });
    let session = Session::open("checkpoint", inputs.collect(), Limits::default(), &Uncontrolled);
    futures_executor::block_on(session).unwrap().plan(request).unwrap()
}

fn duplicated() -> Files {
    files_of(&data(CASE).join("source_duplicated"))
}

fn with(files: &Files, change: impl FnOnce(&mut Tensors)) -> Files {
    let (mut tensors, metadata) = parse(&files["model.safetensors"]);
    change(&mut tensors);
    let mut files = files.clone();
    files.insert("model.safetensors".into(), file_of(&tensors, &metadata));
    files
}

fn flipped(files: &Files, name: &str) -> Files {
    with(files, |tensors| tensors.get_mut(name).unwrap().bytes[0] ^= 1)
}

/// The cases of the reference whose request names ties, or a side that stays.
fn golden() -> Vec<Job> {
    let cases = manifest().case;
    let ties = cases.iter().filter(|case| case.family == "ties");
    ties.flat_map(quantscope_tests::manifest::Case::jobs).collect()
}

/// A file with one side only: the list names both, and the one that is there stays.
#[test]
fn a_list_gives_what_the_table_gives() {
    let mut compared = 0;
    for job in golden().into_iter().filter(|job| !job.request.declared_ties.is_empty()) {
        assert_eq!(job.request.declared_ties, ["encoder.*=decoder.*"]);
        let table = written(&job.files, &job.request);
        for list in [
            ["encoder.*", "decoder.*"],
            ["decoder", "encoder"],
            [r"encoder\.(?:[^.]+\.)*weight", r"decoder\.(?:[^.]+\.)*weight"],
        ] {
            for canonical in [None, Some("decoder")] {
                let request = ConvertRequest {
                    declared_ties: strings(&list),
                    canonical: canonical.map(str::to_string),
                    ..job.request.clone()
                };
                let found = written(&job.files, &request);
                assert_same(&weights(&found), &job.expected, &job.name);
                assert_same_files(&found, &table, &format!("{} from {list:?}, {canonical:?}", job.name));
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 12);
}

/// Both sides in the file: what is canonical stays, whichever side it is.
#[test]
fn the_canonical_side_of_a_list_stays() {
    let mut compared = 0;
    for job in golden().into_iter().filter(|job| job.request.canonical.is_some()) {
        let table = written(&job.files, &job.request);
        for list in [["model.encoder", "model.decoder"], ["model.decoder.*", "model.encoder.*"]] {
            let request = ConvertRequest { declared_ties: strings(&list), ..job.request.clone() };
            let found = written(&job.files, &request);
            assert_same(&weights(&found), &job.expected, &job.name);
            assert_same_files(&found, &table, &format!("{} from {list:?}", job.name));
            compared += 1;
        }
    }
    assert!(compared >= 10, "only {compared}");
}

/// One side in the list: the weights of the other, found by their bytes, stay.
#[test]
fn what_holds_the_same_values_outside_of_the_list_stays() {
    let calibration = json_of(&data(CASE).join("case.json"))["calibrated_amax_before_merge"].take();
    let request = |ties: &[&str], to: &str| ConvertRequest {
        to: to.into(),
        declared_ties: strings(ties),
        calibration_json: (to == "nvfp4").then(|| calibration.to_string()),
        ..ConvertRequest::default()
    };
    // Quantized at once, and copies of a finished checkpoint.
    let apart = ConvertRequest { ties: Some("off".into()), ..request(&[], "nvfp4") };
    for (files, to) in [(duplicated(), "nvfp4"), (written(&duplicated(), &apart), "")] {
        let table = request(&["model.encoder.*=model.decoder.*"], to);
        let right = written(&files, &table);
        assert!(!weights(&right).contains_key("model.encoder.layers.1.self_attn.q_proj.weight"));
        for list in [
            ["model.encoder.*"].as_slice(),
            &["model.encoder"],
            &[r"model.encoder\.(?:[^.]+\.)*weight", "lm_head.weight"],
        ] {
            let list = request(list, to);
            assert_same_files(&written(&files, &list), &right, &format!("{list:?}"));
            assert_eq!(plan(&files, &list).bytes_tied, plan(&files, &table).bytes_tied, "{list:?}");
        }
    }
    // The head of a model that says nothing of it.
    let config = br#"{"tie_word_embeddings": false}"#.to_vec();
    let untied = Files::from([
        ("config.json".into(), config),
        duplicated().remove_entry("model.safetensors").unwrap(),
    ]);
    let table =
        request(&["lm_head.weight=model.decoder.embed_tokens.weight", "model.encoder=model.decoder"], "bf16");
    let list = request(&["lm_head.weight", "model.encoder"], "bf16");
    let right = written(&untied, &table);
    assert!(!weights(&right).contains_key("lm_head.weight"));
    assert_same_files(&written(&untied, &list), &right, "untied head");
}

#[test]
fn a_list_without_a_direction_is_refused() {
    let both = refusal(&duplicated(), &["model.encoder", "model.decoder"], None);
    for words in ["model.encoder.layers.0.self_attn.q_proj", "no direction", "--canonical"] {
        assert!(both.contains(words), "{both}");
    }
    let names = ["model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"];
    let untied = with(&duplicated(), |tensors| tensors.retain(|name, _| name != "lm_head.weight"));
    let config = br#"{"hidden_size": 32, "model_type": "tiny", "tie_word_embeddings": false}"#;
    let config = ("config.json".to_string(), config.to_vec());
    let untied: Files = untied.into_iter().chain([config]).collect();
    let named = refusal(&untied, &names, None);
    assert!(named.contains("`model.encoder.embed_tokens`") && named.contains("no direction"), "{named}");
    // With one, they are converted.
    let request = ConvertRequest {
        to: "nvfp4".into(),
        declared_ties: strings(&names),
        canonical: Some("model.decoder".into()),
        ..ConvertRequest::default()
    };
    assert!(!weights(&written(&untied, &request)).contains_key(names[0]));
}

#[test]
fn values_that_differ_are_refused_by_name() {
    let name = "model.encoder.layers.1.self_attn.q_proj";
    let files = flipped(&duplicated(), &format!("{name}.weight"));
    let outside = refusal(&files, &["model.encoder.*"], None);
    assert!(outside.contains(&format!("`{name}`")) && outside.contains("no weight outside"), "{outside}");
    for list in [["model.encoder", "model.decoder"].as_slice(), &["model.encoder.*"]] {
        let differs = refusal(&files, list, Some("model.decoder"));
        assert!(
            differs.contains(&format!("`{name}.weight`"))
                && differs.contains("declared tied to `model.decoder"),
            "{differs}"
        );
        assert!(!differs.contains("layers.0"), "{differs}");
    }
}

#[test]
fn several_weights_of_the_same_values_are_refused() {
    let files = with(&duplicated(), |tensors| {
        tensors.retain(|name, _| name.contains("decoder"));
        let weight = tensors["model.decoder.embed_tokens.weight"].clone();
        for name in ["head.weight", "one.table.weight", "two.table.weight"] {
            tensors.insert(name.into(), weight.clone());
        }
    });
    let several = refusal(&files, &["head.weight"], None);
    for words in ["`head`", "`one.table`", "`two.table`", "declared = { \"head\""] {
        assert!(several.contains(words), "{several}");
    }
}

#[test]
fn entries_that_name_nothing_are_told() {
    let request =
        |ties: &[&str]| ConvertRequest { declared_ties: strings(ties), ..ConvertRequest::default() };
    let warned = plan(&duplicated(), &request(&["cls.decoder.bias", "model.encoder.*"])).warnings;
    assert!(warned.iter().any(|w| w.starts_with("cls.decoder.bias is in the list")), "{warned:?}");
    assert!(!warned.iter().any(|w| w.starts_with("model.encoder.*")), "{warned:?}");
    // What the config knows of is no stranger, in the file or not.
    let headless = with(&duplicated(), |tensors| tensors.retain(|name, _| name != "lm_head.weight"));
    let warned = plan(&headless, &request(&["lm_head.weight"])).warnings;
    assert!(!warned.iter().any(|w| w.contains("list of ties")), "{warned:?}");
}
