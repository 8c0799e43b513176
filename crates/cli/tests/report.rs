//! The forms of the report: SARIF against its official schema, Markdown and HTML against hostile names.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;
mod schema;

use common::{Tensor, copy_folder, data, edit, run, run_json};
use schema::violations;
use serde_json::{Value, json};
use std::path::Path;

const SOUND: &str = "golden/e2e_llama_nvfp4/expected";
const PROMISED: &str = "golden/e2e_wan_vae_nvfp4_release/expected";

/// A name that is markup in every form of the report, and a way out of a quoted one.
const HOSTILE: &str = "`x`*[a](https://b.c)<script>alert(1)</script>\"'&|@everyone{0}\u{202e}.weight";

fn sarif(folder: &Path, more: &[&str]) -> (i32, Value) {
    let mut args = vec!["audit", folder.to_str().unwrap(), "--format", "sarif"];
    args.extend(more);
    let (code, out, error) = run(args);
    (code, serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {error}")))
}

fn official() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/sarif/sarif-schema-2.1.0.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn hostile() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&data(SOUND), folder.path());
    edit(folder.path(), |tensors| {
        let codes = Tensor { dtype: safetensors::Dtype::U8, shape: vec![16, 16], bytes: vec![7; 256] };
        tensors.insert(HOSTILE.into(), codes);
    });
    folder
}

#[test]
fn sarif_is_valid_and_names_rules_files_and_modules() {
    let (code, log) = sarif(&data(PROMISED), &["--target", "vllm"]);
    assert_eq!(code, 1);
    assert_eq!(violations(&official(), &log), Vec::<String>::new());
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(rules[index]["help"]["text"].as_str().is_some_and(|text| text.len() > 20));
    }
    let first = results.iter().find(|r| r["ruleId"] == "CF302").unwrap();
    assert_eq!(first["level"], "error");
    let location = &first["locations"][0];
    assert_eq!(location["physicalLocation"]["artifactLocation"]["uri"], "config.json");
    let name = location["logicalLocations"][0]["fullyQualifiedName"].as_str().unwrap();
    assert_eq!(Some(name), first["properties"]["subject"].as_str());
    assert_eq!(location["logicalLocations"][0]["kind"], "module");
}

/// The validator itself must be able to say no.
#[test]
fn a_broken_log_is_not_valid() {
    let (_, log) = sarif(&data(PROMISED), &[]);
    let breaks: [fn(&mut Value); 5] = [
        |log| log["version"] = json!("2.2.0"),
        |log| log["runs"][0]["results"][0]["level"] = json!("fatal"),
        |log| log["runs"][0]["results"][0]["extra"] = json!(1),
        |log| drop(log["runs"][0]["tool"]["driver"].as_object_mut().unwrap().remove("name")),
        |log| log["runs"][0]["results"][0]["locations"] = json!("config.json"),
    ];
    for change in breaks {
        let mut broken = log.clone();
        change(&mut broken);
        assert!(!violations(&official(), &broken).is_empty());
    }
}

#[test]
fn hostile_names_are_text_everywhere() {
    let folder = hostile();
    let (code, report) = run_json(["audit".as_ref(), folder.path().as_os_str()]);
    assert_eq!(code, 1, "{report}");
    let (_, log) = sarif(folder.path(), &[]);
    assert_eq!(violations(&official(), &log), Vec::<String>::new());
    let text = log.to_string();
    assert!(!text.contains("everyone{0}\u{202e}`"), "an argument of a message stands unescaped");
    let (_, markdown, _) = run(["audit", folder.path().to_str().unwrap(), "--format", "markdown"]);
    assert!(!markdown.contains('\u{202e}'), "{markdown}");
    let outside = without_code(&markdown);
    for markup in ["](", "<script", "@everyone", "://"] {
        assert!(!outside.contains(markup), "{markup} in\n{outside}");
    }
    assert!(markdown.contains("<script"), "the name itself must be there, as code");
}

/// What a reader of Markdown takes as text: code spans left out, as CommonMark pairs runs of backticks.
fn without_code(markdown: &str) -> String {
    let mut outside = String::new();
    let mut rest = markdown;
    while let Some(open) = rest.find('`') {
        let (before, from) = rest.split_at(open);
        outside.push_str(before);
        let run = from.len() - from.trim_start_matches('`').len();
        let body = &from[run..];
        let mut closes = body.match_indices('`').filter(|(at, _)| {
            let end = body[*at..].len() - body[*at..].trim_start_matches('`').len();
            end == run && !body[..*at].ends_with('`')
        });
        match closes.next() {
            Some((at, _)) if !before.ends_with('\\') => rest = &body[at + run..],
            _ => {
                outside.push_str(&from[..run]);
                rest = body;
            }
        }
    }
    outside + rest
}

#[test]
fn code_spans_are_left_out_as_readers_do() {
    assert_eq!(without_code("a `b` c ``d`e`` f \\`g` h"), "a  c  f \\`g` h");
}

#[test]
fn markdown_gives_the_verdict_first() {
    let (code, text, _) = run(["audit", data(PROMISED).to_str().unwrap(), "--format", "markdown"]);
    assert_eq!(code, 1);
    assert!(text.starts_with("### ❌ Will not load right"), "{text}");
    assert!(text.contains("| error | CF302 |"), "{text}");
    let (code, text, _) = run(["inspect", data(SOUND).to_str().unwrap(), "--format", "markdown"]);
    assert_eq!(code, 0);
    assert!(text.starts_with("### ✅ Sound NVFP4 export") && text.contains("Nothing found."), "{text}");
}

#[test]
fn targets_and_disabled_rules_shape_the_report() {
    let path = data(SOUND);
    let (code, report) =
        run_json(["audit", path.to_str().unwrap(), "--target", "comfyui", "--target", "vllm"]);
    assert_eq!(code, 1);
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|f| f["rule"] == "SN204" && f["target"] == "comfyui"), "{findings:?}");
    assert!(findings.iter().all(|f| f["target"] != "vllm" || f["severity"] != "error"), "{findings:?}");
    let args = ["audit", path.to_str().unwrap(), "--target", "comfyui", "--disable", "sn204"];
    let (code, report) = run_json(args);
    assert_eq!((code, report["summary"]["errors"].as_u64()), (0, Some(0)));
    let (code, _, error) = run(["audit", path.to_str().unwrap(), "--target", "ollama"]);
    assert_eq!(code, 2);
    assert!(error.contains("no runtime is called \"ollama\"") && error.contains("vllm"), "{error}");
}
