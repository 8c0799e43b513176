//! `quantscope convert --rename` and `--fuse` as the terminal has them: files, warnings, exit codes.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{data, read_folder, read_json, run};
use std::fs;

#[test]
fn rules_of_a_file_rename_and_what_is_wrong_with_them_is_said() {
    let root = tempfile::tempdir().unwrap();
    let reverse = data("golden-pr/reverse");
    let cases = read_json(&reverse.join("cases.json"));
    let case = cases.as_array().unwrap().iter().find(|c| c["case"] == "mixtral_real_mapping").unwrap();
    let rules = root.path().join("rules.json");
    let source = reverse.join("mixtral_real_mapping.safetensors");
    let convert = |text: &str, out: &str| {
        fs::write(&rules, text).unwrap();
        let out = root.path().join(out);
        let flags =
            [source.as_os_str(), "--rename".as_ref(), rules.as_os_str(), "-o".as_ref(), out.as_os_str()];
        run(std::iter::once("convert".as_ref())
            .chain(flags)
            .map(std::ffi::OsStr::to_owned)
            .collect::<Vec<_>>())
    };
    let (code, printed, said) = convert(&case["rules"].to_string(), "out");
    assert_eq!(code, 0, "{said}");
    let told = format!("{printed:?}{said}").replace('\\', "");
    // The line may be broken between any two words.
    assert!(told.contains("\"order\""), "{told}");
    let written = read_folder(&root.path().join("out"));
    let expected: Vec<&String> = case["expected"].as_object().unwrap().keys().collect();
    let mut names: Vec<&String> = written.keys().collect();
    names.sort();
    assert_eq!(names, expected);
    for (text, words) in [
        ("{", "no JSON"),
        (r#"{"renames": [{"pattern": "(?=a)", "repl": ""}]}"#, "renames[0].pattern"),
        (r#"{"renames": [{"pattern": "experts.[01]", "repl": "experts.0"}]}"#, "would be called"),
    ] {
        let (code, _, said) = convert(text, "refused");
        assert_eq!(code, 2, "{text}: {said}");
        assert!(said.contains(words), "{text}: {said}");
        assert!(!root.path().join("refused").exists(), "{text}");
    }
}

#[test]
fn fused_layers_are_planned_and_refused_by_name() {
    let run = |case: &str| {
        let source = data(&format!("golden/e2e_llama_{case}/expected"));
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        let args =
            ["convert".as_ref(), source.as_os_str(), "--fuse".as_ref(), "-o".as_ref(), out.as_os_str()];
        let (code, _, said) = run(args.map(std::ffi::OsStr::to_owned).to_vec());
        (code, said, out.exists().then(|| read_folder(&out)))
    };
    let (code, said, written) = run("nvfp4");
    assert_eq!(code, 0, "{said}");
    let written = written.unwrap();
    assert!(written.contains_key("model.layers.0.self_attn.qkv_proj.weight_scale_2"));
    assert!(!written.keys().any(|name| name.contains(".q_proj.")));
    let (code, said, written) = run("fp8");
    assert!(code == 2 && written.is_none(), "{said}");
    assert!(said.contains("several that differ"), "{said}");
}
