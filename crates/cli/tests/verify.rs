//! `quantscope verify`: what convert and repair wrote, whole and damaged in one place each.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{copy_folder, data, edit, read_json, run, run_json, shards};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SOURCE: &str = "golden/_src/llama";

/// A converted checkpoint, and its source.
fn converted(root: &TempDir) -> (PathBuf, PathBuf) {
    let (source, out) = (root.path().join("source"), root.path().join("out"));
    copy_folder(&data(SOURCE), &source);
    let flags = ["--to", "nvfp4", "--exclude", "lm_head", "--shard-size", "20KB"];
    let (code, _, said) =
        run([&["convert", source.to_str().unwrap(), "-o", out.to_str().unwrap()], flags.as_slice()].concat());
    assert_eq!(code, 0, "{said}");
    (source, out)
}

fn verify(out: &Path, against: Option<&Path>) -> (i32, Value) {
    let mut args = vec!["verify", out.to_str().unwrap()];
    if let Some(source) = against {
        args.extend(["--against", source.to_str().unwrap()]);
    }
    run_json(args)
}

/// What is wrong: with what, and whose.
fn problems(document: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = document["verification"]["problems"].as_array().unwrap();
    list.iter().map(|p| (text(&p["about"]), text(&p["subject"]))).collect()
}

#[test]
fn what_was_written_is_verified() {
    let root = tempfile::tempdir().unwrap();
    let (source, out) = converted(&root);
    let (code, document) = verify(&out, Some(&source));
    assert_eq!(code, 0, "{document}");
    let found = &document["verification"];
    assert_eq!((found["verified"].as_bool(), document["schema"].as_u64()), (Some(true), Some(1)));
    let tensors: usize = shards(&out).iter().map(|shard| common::read_shard(shard).0.len()).sum();
    assert_eq!(found["tensors"].as_u64(), Some(tensors as u64));
    assert_eq!(found["sources"].as_u64(), Some(shards(&source).len() as u64));
    let (code, said, _) = run(["verify", out.to_str().unwrap()]);
    assert_eq!((code, said.contains("every byte is what the manifest says")), (0, true), "{said}");
}

/// A header that is just as long as the limit is hashed to its end.
#[test]
fn a_header_as_long_as_the_limit_is_verified() {
    let root = tempfile::tempdir().unwrap();
    let (_, out) = converted(&root);
    let length = |shard: &PathBuf| {
        let bytes = fs::read(shard).unwrap();
        u64::from_le_bytes(*bytes.first_chunk().unwrap())
    };
    let longest = shards(&out).iter().map(length).max().unwrap();
    let verified =
        |limit: u64| run(["verify", out.to_str().unwrap(), "--limit", &format!("header={limit}")]).0;
    assert_eq!([longest, longest - 1].map(verified), [0, 1]);
}

/// The hashes are those of another implementation: the tool that every system has.
#[cfg(unix)]
#[test]
fn the_hashes_are_those_of_sha256sum() {
    let root = tempfile::tempdir().unwrap();
    let (source, out) = converted(&root);
    let sum = |path: &Path| {
        let output = std::process::Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
    };
    let manifest = read_json(&out.join("quantscope.manifest.json"));
    let listed = |key: &str| manifest[key].as_array().unwrap().clone();
    assert!(!listed("sources").is_empty() && !listed("other_files").is_empty());
    for (key, folder) in [("sources", &source), ("other_files", &out)] {
        for file in listed(key) {
            let path = folder.join(file["file"].as_str().unwrap());
            assert_eq!(file["sha256"].as_str(), Some(sum(&path).as_str()), "{}", path.display());
            assert_eq!(file["bytes"].as_u64(), Some(fs::metadata(&path).unwrap().len()));
        }
    }
    let stored =
        shards(&out).iter().flat_map(|shard| common::read_shard(shard).0).collect::<common::Tensors>();
    for tensor in listed("tensors") {
        let path = root.path().join("one");
        fs::write(&path, &stored[tensor["name"].as_str().unwrap()].bytes).unwrap();
        assert_eq!(tensor["sha256"].as_str(), Some(sum(&path).as_str()), "{tensor}");
    }
}

#[test]
fn every_damage_is_named_and_no_other() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &str, &str); 8] = [
        (
            "a byte of a tensor",
            |out| {
                let shard = &shards(out)[0];
                let mut bytes = fs::read(shard).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(shard, bytes).unwrap();
            },
            "tensor",
            "*",
        ),
        ("a shard is gone", |out| fs::remove_file(&shards(out)[1]).unwrap(), "file", "*"),
        (
            "a shard too many",
            |out| {
                fs::copy(&shards(out)[0], out.join("stray.safetensors")).unwrap();
            },
            "file",
            "stray.safetensors",
        ),
        ("another config", |out| fs::write(out.join("config.json"), "{}").unwrap(), "file", "config.json"),
        (
            "no index",
            |out| fs::remove_file(out.join("model.safetensors.index.json")).unwrap(),
            "file",
            "model.safetensors.index.json",
        ),
        (
            "a header with other spaces",
            |out| {
                let shard = &shards(out)[0];
                let mut bytes = fs::read(shard).unwrap();
                let comma = bytes.iter().position(|&b| b == b'"').unwrap();
                assert_eq!(&bytes[comma..comma + 14], b"\"__metadata__\"");
                let value = bytes.windows(4).position(|w| w == b"\"pt\"").unwrap();
                bytes[value + 1] = b'n';
                fs::write(shard, bytes).unwrap();
            },
            "header",
            "*",
        ),
        (
            "a torn manifest",
            |out| {
                let path = out.join("quantscope.manifest.json");
                let bytes = fs::read(&path).unwrap();
                fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            },
            "manifest",
            "quantscope.manifest.json",
        ),
        (
            "a manifest of strange numbers",
            |out| {
                let path = out.join("quantscope.manifest.json");
                let mut manifest = read_json(&path);
                manifest["files"][0]["bytes"] = json!(-1);
                fs::write(&path, manifest.to_string()).unwrap();
            },
            "manifest",
            "quantscope.manifest.json",
        ),
    ];
    for (what, damage, about, subject) in cases {
        let root = tempfile::tempdir().unwrap();
        let (_, out) = converted(&root);
        damage(&out);
        let (code, document) = verify(&out, None);
        assert_eq!(code, 1, "{what}: {document}");
        let found = problems(&document);
        assert!(
            matches!(found.as_slice(), [(a, s)] if a == about && (subject == "*" || s == subject)),
            "{what}: {found:?}"
        );
        let (code, said, _) = run(["verify", out.to_str().unwrap()]);
        assert_eq!(
            (code, said.contains("not what the manifest says: 1 problem")),
            (1, true),
            "{what}: {said}"
        );
    }
}

#[test]
fn tensors_that_are_not_as_promised_are_named() {
    let root = tempfile::tempdir().unwrap();
    let (_, out) = converted(&root);
    let mut gone = String::new();
    edit(&out, |tensors| {
        let (name, tensor) = tensors.pop_first().unwrap();
        tensors.insert("model.strange.weight".into(), tensor);
        gone = name;
    });
    let (code, document) = verify(&out, None);
    assert_eq!(code, 1);
    let found = problems(&document);
    for expected in [("tensor", gone.as_str()), ("tensor", "model.strange.weight")] {
        assert!(found.contains(&(expected.0.into(), expected.1.into())), "{found:?}");
    }
    assert!(found.iter().any(|(about, _)| about == "header"), "{found:?}");
}

#[test]
fn another_source_is_told() {
    let root = tempfile::tempdir().unwrap();
    let (source, out) = converted(&root);
    let shard = &shards(&source)[0];
    let mut bytes = fs::read(shard).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(shard, bytes).unwrap();
    let name = shard.file_name().unwrap().to_str().unwrap().to_owned();
    let (code, document) = verify(&out, Some(&source));
    assert_eq!((code, problems(&document)), (1, vec![("source".into(), name)]));
    assert_eq!(verify(&out, None).0, 0, "the output itself is sound");
}

#[test]
fn what_no_one_wrote_cannot_be_verified() {
    let (code, document) = verify(&data(SOURCE), None);
    assert_eq!((code, document["error"]["kind"].as_str()), (2, Some("refused")), "{document}");
    let root = tempfile::tempdir().unwrap();
    assert_eq!(verify(&root.path().join("absent"), None).0, 2);
    let (_, out) = converted(&root);
    let path = out.join("quantscope.manifest.json");
    let mut manifest = read_json(&path);
    manifest["schema"] = json!(2);
    fs::write(&path, manifest.to_string()).unwrap();
    assert_eq!(verify(&out, None).0, 2, "a manifest of a later version");
}

/// What repair writes has a manifest of the same form.
#[test]
fn a_repaired_checkpoint_is_verified() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let source = fs::read_dir(data("golden-pr/leaks"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.is_dir())
        .unwrap();
    let source = if source.join("source").is_dir() { source.join("source") } else { source };
    let (code, _, said) = run(["repair", source.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    assert!(out.exists(), "{code}: {said}");
    let (code, document) = verify(&out, Some(&source));
    assert_eq!(code, 0, "{document}");
}
