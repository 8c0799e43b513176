//! Checkpoints by address, from a server on this machine that behaves as each test tells it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;
#[path = "remote/server.rs"]
mod server;

use common::{copy_folder, data, quantscope, run};
use server::{Answer, Server};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

const GOLDEN: &str = "golden/e2e_llama_nvfp4/expected";

/// The files of a golden folder under `/m/`.
fn golden(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files
        .map(|path| (format!("/m/{}", path.file_name().unwrap().to_str().unwrap()), fs::read(&path).unwrap()))
        .collect()
}

/// An index over the shards of a folder.
fn with_index(mut files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    if files.keys().any(|name| name.ends_with(".index.json")) {
        return files;
    }
    let mut map = serde_json::Map::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".safetensors")) {
        let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        let header: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        for tensor in header.keys().filter(|key| *key != "__metadata__") {
            map.insert(tensor.clone(), name.trim_start_matches("/m/").into());
        }
    }
    let index = serde_json::json!({ "weight_map": map });
    files.insert("/m/model.safetensors.index.json".into(), index.to_string().into_bytes());
    files
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

/// A report without its path.
fn report(arguments: &[&str]) -> (serde_json::Value, String) {
    let output = quantscope(arguments.iter().chain(&["--json"])).env_remove("HF_TOKEN").output().unwrap();
    let mut report = json(&output);
    report["checkpoint"]["path"] = "".into();
    (report, String::from_utf8(output.stderr).unwrap())
}

/// The golden checkpoint on disk, with an index, and the same files for a server.
fn both() -> (tempfile::TempDir, BTreeMap<String, Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&data(GOLDEN), folder.path());
    let files = with_index(golden(folder.path()));
    fs::write(folder.path().join("model.safetensors.index.json"), &files["/m/model.safetensors.index.json"])
        .unwrap();
    (folder, files)
}

#[test]
fn the_report_is_that_of_the_files_on_disk() {
    let (folder, files) = both();
    let server = Server::start(files, |_, _| Answer::Right);
    let index = server.url("/m/model.safetensors.index.json?X-Signature=secret");
    for command in [&["inspect"][..], &["audit", "--engine", "cpu", "--fail-on", "never"]] {
        let there: Vec<&str> = command.iter().copied().chain([index.as_str()]).collect();
        let here: Vec<&str> = command.iter().copied().chain([folder.path().to_str().unwrap()]).collect();
        let (remote, said) = report(&there);
        assert_eq!(remote, report(&here).0);
        assert!(said.contains("fetched "), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn opening_fetches_headers_index_and_configs() {
    let (_folder, files) = both();
    let expected: u64 = files
        .iter()
        .map(|(name, bytes)| match name.as_str() {
            name if name.ends_with(".safetensors") => u64::from_le_bytes(bytes[..8].try_into().unwrap()) + 8,
            "/m/config.json" | "/m/hf_quant_config.json" | "/m/model.safetensors.index.json" => {
                bytes.len() as u64
            }
            _ => 0,
        })
        .sum();
    let server = Server::start(files, |_, _| Answer::Right);
    let (status, _, said) = run(["inspect", &server.url("/m/model.safetensors.index.json")]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(server.sent(), expected, "{said}");
}

#[test]
fn cuts_busy_moments_and_redirects_are_overcome() {
    let (folder, files) = both();
    let (plain, _) = report(&["inspect", folder.path().to_str().unwrap()]);
    let server = Server::start(files, |path, count| match (path.ends_with(".safetensors"), count) {
        (true, 0) => Answer::Moved,
        (true, 1) => Answer::Status(503),
        (true, 2..=3) => Answer::Cut(5),
        (false, 0) => Answer::Cut(1),
        _ => Answer::Right,
    });
    let (remote, said) = report(&["inspect", &server.url("/m/model.safetensors.index.json")]);
    assert_eq!(remote, plain, "{said}");
}

#[test]
fn servers_that_cannot_be_relied_on_are_refused_in_words() {
    for (answer, words) in [
        (Answer::Whole, "does not answer ranges"),
        (Answer::Unlabelled, "Content-Range"),
        (Answer::Elsewhere, "was asked for"),
        (Answer::Status(404), "there is nothing at"),
        (Answer::Status(401), "HF_TOKEN"),
        (Answer::Status(500), "status 500"),
        (Answer::Silent, "could not be reached"),
        (Answer::Loop, "more than 8 times"),
    ] {
        let (_folder, files) = both();
        let name = files.keys().find(|name| name.ends_with(".safetensors")).unwrap().clone();
        let server = Server::start(files, move |_, _| answer);
        let (status, out, said) = run(["inspect", &server.url(&format!("{name}?X-Signature=secret"))]);
        assert_eq!(status, 2, "{words}: {said}");
        assert!(said.contains(words), "{words}: {said}");
        assert!(out.is_empty() && !said.contains("secret"), "{out}{said}");
    }
}

#[test]
fn a_token_goes_to_the_hub_and_no_further() {
    let (_folder, mut files) = both();
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let names: Vec<String> = files.keys().map(|name| name.trim_start_matches("/m/").to_owned()).collect();
    let siblings: Vec<_> = names
        .iter()
        .map(|name| serde_json::json!({"rfilename": name, "size": files[&format!("/m/{name}")].len()}))
        .collect();
    let listing = serde_json::json!({"sha": sha, "siblings": siblings}).to_string().into_bytes();
    files.insert("/api/models/o/r/revision/v1".into(), listing);
    for name in names {
        let bytes = files.remove(&format!("/m/{name}")).unwrap();
        files.insert(format!("/o/r/resolve/{sha}/{name}"), bytes);
    }
    let server = Server::start(files, |_, _| Answer::Right);
    let output = quantscope(["inspect", "hf://o/r@v1", "--json"])
        .env("HF_ENDPOINT", server.url(""))
        .env("HF_TOKEN", "hf_verysecret")
        .output()
        .unwrap();
    let report = json(&output);
    assert_eq!(report["checkpoint"]["path"], "hf://o/r@v1");
    // Over a connection without encryption, as this server's, it is not sent at all.
    assert!(server.log().iter().all(|request| !request.contains("verysecret")), "the token was sent");
    let said = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8(said).unwrap().contains("verysecret"));
}

#[test]
fn addresses_that_are_none_are_refused() {
    for (address, words) in [
        ("http://example.com/m.safetensors", "unencrypted"),
        ("hf://only-one-part", "hf://organization/repository"),
        ("https://h.invalid/page", "safetensors"),
    ] {
        let (status, _, said) = run(["inspect", address]);
        assert_eq!(status, 2, "{said}");
        assert!(said.contains(words), "{address}: {said}");
    }
}
