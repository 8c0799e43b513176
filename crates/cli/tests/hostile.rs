//! Folders that are meant to be too much: many files, links that lead nowhere or in circles, devices.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod common;

use common::{copy_folder, data, read_json, run, run_json};
use std::fs;
use std::time::{Duration, Instant};

/// Ten thousand shards, every one of them sound: one checkpoint, in bounded time.
#[test]
fn a_folder_of_ten_thousand_files() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..10_000 {
        let json =
            format!("{{\"layers.{i}.weight\":{{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}}}");
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(json.as_bytes());
        bytes.extend([0; 4]);
        fs::write(folder.path().join(format!("model-{i}.safetensors")), bytes).unwrap();
    }
    let begun = Instant::now();
    let (code, report) = run_json(["inspect".as_ref(), folder.path().as_os_str()]);
    assert_eq!(code, 0);
    assert_eq!(report["checkpoint"]["tensors"], 10_000);
    assert_eq!(report["checkpoint"]["shards"].as_array().unwrap().len(), 10_000);
    assert!(begun.elapsed() < Duration::from_secs(120), "took {:?}", begun.elapsed());
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_are_left_out() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("in");
    copy_folder(&data("golden/e2e_llama_nvfp4/expected"), &folder);
    symlink("absent.safetensors", folder.join("dangling.safetensors")).unwrap();
    symlink("loop-b.safetensors", folder.join("loop-a.safetensors")).unwrap();
    symlink("loop-a.safetensors", folder.join("loop-b.safetensors")).unwrap();
    symlink(&folder, folder.join("itself")).unwrap();
    symlink("/dev/zero", folder.join("endless.safetensors")).unwrap();
    let (code, report) = run_json(["audit".as_ref(), folder.as_os_str()]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["checkpoint"]["shards"].as_array().unwrap().len(), 1);
    // Asked for by name, each is an error that names it.
    for name in ["dangling.safetensors", "loop-a.safetensors"] {
        let (code, _, error) = run(["audit".as_ref(), folder.join(name).as_os_str()]);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(name), "{error}");
    }
}

/// A device has no length: it is an empty file, which is a finding, and is never read to an end it has not.
#[cfg(unix)]
#[test]
fn a_device_is_not_read_for_ever() {
    let (code, report) = run_json(["audit", "/dev/zero"]);
    assert!(code == 1 || code == 2, "{report}");
}

/// What links lead to is read, never written: a conversion into another folder leaves them as they are.
#[cfg(unix)]
#[test]
fn a_linked_source_stays_as_it_is() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let (cache, folder, out) = (root.path().join("cache"), root.path().join("in"), root.path().join("out"));
    copy_folder(&data("golden/_src/llama"), &cache);
    fs::create_dir(&folder).unwrap();
    for entry in fs::read_dir(&cache).unwrap().flatten() {
        symlink(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    let before = fs::read(cache.join("model.safetensors")).unwrap();
    let (code, _, error) = run([
        "convert".as_ref(),
        folder.as_os_str(),
        "-o".as_ref(),
        out.as_os_str(),
        "--to".as_ref(),
        "nvfp4".as_ref(),
    ]);
    assert_eq!(code, 0, "{error}");
    assert_eq!(fs::read(cache.join("model.safetensors")).unwrap(), before);
    assert!(fs::symlink_metadata(folder.join("model.safetensors")).unwrap().file_type().is_symlink());
    assert!(!fs::symlink_metadata(out.join("config.json")).unwrap().file_type().is_symlink());
    assert_eq!(read_json(&out.join("config.json"))["quantization_config"]["quant_method"], "modelopt");
}
