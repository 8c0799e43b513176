//! `quantscope convert` against the files that the reference exported.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{Tensors, data, read_folder, read_json, run, run_json, write_shard};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Converts into a new folder; gives the folder.
fn convert(source: &Path, flags: &[&str]) -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let mut args =
        vec!["convert".into(), source.as_os_str().to_owned(), "-o".into(), out.as_os_str().to_owned()];
    args.extend(flags.iter().map(|flag| (*flag).into()));
    let (code, _, said) = run(args);
    assert_eq!(code, 0, "{}: {said}", source.display());
    (root, out)
}

/// Names of the tensors that differ, and how.
fn differences(ours: &Tensors, theirs: &Tensors) -> Vec<String> {
    let mut found: Vec<String> = ours
        .keys()
        .filter(|name| !theirs.contains_key(*name))
        .map(|n| format!("{n}: not in theirs"))
        .collect();
    for (name, expected) in theirs {
        match ours.get(name) {
            None => found.push(format!("{name}: missing")),
            Some(tensor) if tensor != expected => {
                let at = tensor.bytes.iter().zip(&expected.bytes).position(|(a, b)| a != b);
                found.push(format!(
                    "{name}: {:?} {:?} for {:?} {:?}, first different byte {at:?}",
                    tensor.dtype, tensor.shape, expected.dtype, expected.shape
                ));
            }
            Some(_) => {}
        }
    }
    found
}

/// `quantization_config` without its `producer`, the one field that may name this tool.
fn declaration(folder: &Path) -> Value {
    let mut config = read_json(&folder.join("config.json"));
    let mut declared = config["quantization_config"].take();
    declared
        .as_object_mut()
        .unwrap_or_else(|| panic!("{} declares nothing", folder.display()))
        .remove("producer");
    declared
}

/// The calibration of a case as a JSON file.
fn calibration_of(case: &Path, root: &TempDir) -> String {
    let path = root.path().join("calibration.json");
    fs::write(&path, read_json(&case.join("case.json"))["activation_amax"].to_string()).unwrap();
    path.to_string_lossy().into_owned()
}

const WAN: &str = "golden/e2e_wan_vae_nvfp4_conv3d";

#[test]
fn the_calibrated_vae_is_the_reference_export() {
    let root = tempfile::tempdir().unwrap();
    let calibration = calibration_of(&data(WAN), &root);
    for engine in ["cpu", "auto"] {
        let flags =
            ["--to", "nvfp4", "--exclude", "*conv_in*", "--calibration", &calibration, "--engine", engine];
        let (_root, out) = convert(&data("golden/_src/wan_vae"), &flags);
        let expected = data(WAN).join("expected");
        let theirs = read_folder(&expected);
        assert!(theirs.len() > 200);
        assert_eq!(differences(&read_folder(&out), &theirs), Vec::<String>::new());
        assert_eq!(declaration(&out), declaration(&expected));
        let mut ours = read_json(&out.join("config.json"));
        let mut theirs = read_json(&expected.join("config.json"));
        ours["quantization_config"].take();
        theirs["quantization_config"].take();
        assert_eq!(ours, theirs, "the rest of config.json is untouched");
        let (code, report) = run_json(["audit".as_ref(), out.as_os_str()]);
        assert_eq!((code, report["summary"]["errors"].as_u64()), (0, Some(0)), "{report}");
    }
}

/// The same on the GPU, a software one if there is no other.
#[test]
fn the_gpu_writes_the_same_bytes() {
    let wanted = std::env::var("QUANTSCOPE_GPU").unwrap_or_else(|_| "auto".to_owned());
    if wanted == "off" {
        println!("SKIPPED: QUANTSCOPE_GPU=off");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let calibration = calibration_of(&data(WAN), &root);
    let (source, out) = (data("golden/_src/wan_vae"), root.path().join("out"));
    let (source, out_name) = (source.to_string_lossy(), out.to_string_lossy());
    let flags = ["--to", "nvfp4", "--exclude", "*conv_in*", "--calibration", &calibration, "--engine", "gpu"];
    let (code, document) = run_json([["convert", &source, "-o", &out_name].as_slice(), &flags].concat());
    if code == 2 && document["error"]["message"].as_str().is_some_and(|m| m.starts_with("no GPU adapter")) {
        assert_ne!(wanted, "required", "{document}");
        println!("SKIPPED: {}", document["error"]["message"]);
        return;
    }
    assert_eq!(code, 0, "{document}");
    assert!(
        !document["summary"]["engine"].as_str().unwrap().contains("CPU, "),
        "{}",
        document["summary"]["engine"]
    );
    assert_eq!(
        differences(&read_folder(&out), &read_folder(&data(WAN).join("expected"))),
        Vec::<String>::new()
    );
}

/// The comparer must be able to fail.
#[test]
fn the_comparison_sees_a_single_byte() {
    let theirs = read_folder(&data(WAN).join("expected"));
    assert!(differences(&theirs, &theirs).is_empty());
    let mut ours = theirs.clone();
    let name = "decoder.conv_out.weight";
    ours.get_mut(name).unwrap().bytes[7] ^= 1;
    assert_eq!(differences(&ours, &theirs).len(), 1);
    ours.remove(name);
    assert_eq!(differences(&ours, &theirs), [format!("{name}: missing")]);
}

#[test]
fn a_calibration_in_safetensors_gives_the_same_bytes() {
    let root = tempfile::tempdir().unwrap();
    let json = calibration_of(&data(WAN), &root);
    let maxima = read_json(Path::new(&json));
    let mut tensors = Tensors::new();
    for (quantizer, entry) in maxima.as_object().unwrap() {
        #[allow(clippy::cast_possible_truncation, reason = "the reference keeps maxima in single precision")]
        if let Some(amax) = entry["amax"].as_f64().map(|v| v as f32) {
            let dtype = safetensors::Dtype::F32;
            let tensor = common::Tensor { dtype, shape: vec![], bytes: amax.to_le_bytes().to_vec() };
            tensors.insert(format!("{quantizer}._amax"), tensor);
        }
    }
    assert!(tensors.len() > 40);
    let file = root.path().join("calibration.safetensors");
    write_shard(&file, &tensors, HashMap::new());
    let flags = ["--to", "nvfp4", "--exclude", "*conv_in*", "--calibration", &file.to_string_lossy()];
    let (_root, out) = convert(&data("golden/_src/wan_vae"), &flags);
    assert_eq!(
        differences(&read_folder(&out), &read_folder(&data(WAN).join("expected"))),
        Vec::<String>::new()
    );
}

/// Cases without calibration data: everything but `input_scale` must be equal.
fn convert_case(case: &Path) {
    let source = case.join("source");
    let facts = read_json(&case.join("case.json"));
    let (ours_config, expected) = (source.join("config.json").exists(), case.join("expected"));
    let text = facts.to_string();
    let mut flags = vec!["--to".to_owned(), "nvfp4".to_owned()];
    let theirs = read_folder(&expected);
    // What the case left out is what its export holds as it was: modules of float weights in the source.
    if theirs.contains_key("z_disabled.weight") {
        flags.extend(["--exclude".to_owned(), "z_disabled".to_owned()]);
    }
    if text.contains("weight_only") || text.contains("weight-only") {
        flags[1] = "w4a16-nvfp4".to_owned();
    }
    for (name, id) in [("bfloat16", "bf16"), ("float16", "f16"), ("float32", "f32")] {
        if facts["what"]
            .as_str()
            .unwrap()
            .ends_with(&format!("export dtype {name}; z_disabled is left unquantized"))
        {
            flags.extend(["--dtype".to_owned(), id.to_owned()]);
        }
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (_root, out) = convert(&source, &flags);
    let theirs: Tensors = theirs.into_iter().filter(|(name, _)| !name.ends_with(".input_scale")).collect();
    assert!(
        theirs.keys().any(|name| name.ends_with(".weight_scale")),
        "{}: nothing is packed",
        case.display()
    );
    assert_eq!(
        differences(&read_folder(&out), &theirs),
        Vec::<String>::new(),
        "{} {flags:?}",
        case.display()
    );
    if ours_config {
        assert_eq!(declaration(&out), declaration(&expected), "{}", case.display());
    }
}

#[test]
fn the_residual_vae_is_the_reference_export() {
    convert_case(&data("golden-pr/vae/wan22_residual"));
}

#[test]
fn banks_of_convolutions_are_the_reference_export() {
    let mut converted = 0;
    for entry in fs::read_dir(data("golden-pr/conv3d")).unwrap() {
        let case = entry.unwrap().path();
        if case.is_dir() {
            convert_case(&case);
            converted += 1;
        }
    }
    assert!(converted >= 7, "only {converted} cases");
}

#[test]
fn the_plan_is_the_output() {
    let source = data("golden/_src/wan_vae");
    let source = source.to_string_lossy();
    let (code, document) =
        run_json(["convert", &source, "--to", "nvfp4", "--exclude", "*conv_in*", "--plan"]);
    assert_eq!(
        (code, document["schema"].as_u64(), document["tool"]["name"].as_str()),
        (0, Some(1), Some("quantscope"))
    );
    let plan = &document["plan"];
    assert_eq!(plan["packed"].as_array().unwrap().len(), 43);
    let (_root, out) = convert(Path::new(&*source), &["--to", "nvfp4", "--exclude", "*conv_in*"]);
    let planned = plan["files"].as_array().unwrap();
    assert!(!planned.is_empty());
    for file in planned {
        let len = fs::metadata(out.join(file[0].as_str().unwrap())).unwrap().len();
        assert_eq!(file[1].as_u64(), Some(len));
    }
    let weights = planned.iter().map(|file| file[0].as_str().unwrap());
    let others = plan["other_files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let mut names: Vec<String> = weights.chain(others).map(str::to_owned).collect();
    let mut written: Vec<String> =
        fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    written.sort();
    // The manifest tells of the run itself and is in no plan.
    written.retain(|name| names.contains(name) || name != "quantscope.manifest.json");
    assert_eq!(written, names);
    let manifest = read_json(&out.join("quantscope.manifest.json"));
    assert!(manifest.is_object());
}

/// A recipe with a flag over it, and what `--plan` says where it cannot be carried out.
#[test]
fn recipes_are_files_and_plans_tell_every_refusal() {
    let source = data("golden/_src/llama");
    let root = tempfile::tempdir().unwrap();
    let recipe = root.path().join("r.toml");
    fs::write(&recipe, "default = \"fp8\"\n[[layer]]\nmatch = \"*.self_attn.*\"\nscheme = \"keep\"\n")
        .unwrap();
    let recipe = recipe.to_str().unwrap();
    let (_out, out) = convert(&source, &["--recipe", recipe, "--layer", "*.o_proj=fp8"]);
    let expected = read_folder(&data("golden/e2e_llama_fp8/expected"));
    let found = read_folder(&out);
    let given = read_folder(&source);
    for (name, tensor) in &found {
        let is_kept = name.contains("self_attn") && !name.contains("o_proj");
        let right = if is_kept { &given[name] } else { &expected[name] };
        assert_eq!(tensor, right, "{name}");
    }
    let out = root.path().join("never");
    let source = source.to_str().unwrap();
    let flags = ["convert", source, "-o", out.to_str().unwrap(), "--to", "int4", "--group-size", "48"];
    let (code, document) = run_json([&flags[..], &["--plan"]].concat());
    let refused = document["plan"]["refused"].as_array().unwrap();
    assert_eq!(code, 2, "{document}");
    assert!(refused.len() > 5, "{refused:?}");
    assert!(document["space"]["free"].as_u64().unwrap() > 0);
    let (code, _, complaint) = run([&flags[..], &["--plan"]].concat());
    assert_eq!(code, 2, "{complaint}");
    let (code, _, complaint) = run(flags);
    assert_eq!(code, 2);
    for layer in refused {
        let name = layer["name"].as_str().unwrap();
        assert!(complaint.contains(&format!("`{name}`")), "{name} is not in {complaint}");
    }
    assert!(!out.exists());
    fs::write(root.path().join("r.toml"), "default = \"fp8\"\n\nlayers = []\n").unwrap();
    let (code, _, complaint) = run(["convert", source, "--plan", "--recipe", recipe]);
    assert_eq!(code, 2);
    assert!(complaint.contains("line 3: unknown field `layers`"), "{complaint}");
}

#[test]
fn refused_conversions_write_nothing() {
    let source = data("golden/_src/wan_vae");
    let source = source.to_string_lossy();
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let out = out.to_string_lossy();
    let no_calibration = root.path().join("none.json");
    let no_calibration = no_calibration.to_string_lossy();
    let cases: [(&[&str], &str); 7] = [
        (&["--to", "nvfp5"], "nvfp5"),
        (&["--to", "f64"], "f64 is no quantization scheme"),
        (&["--to", "nvfp4", "--layer", "no rule"], "no rule"),
        (&["--to", "nvfp4", "--calibration", &no_calibration], "none.json"),
        (&["--to", "nvfp4", "--dtype", "f64"], "f64"),
        (&["--to", "nvfp4", "--ties", "never"], "--ties"),
        (&["--recipe", "r.toml"], "r.toml"),
    ];
    for (flags, word) in cases {
        let (code, said, complaint) = run([&["convert", &source, "-o", &out], flags].concat());
        assert_eq!((code, said.as_str()), (2, ""), "{flags:?}: {complaint}");
        assert!(complaint.contains(word), "{flags:?}: {complaint}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "{flags:?} left something");
    }
    let full = root.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "x").unwrap();
    let (code, document) = run_json(["convert", &source, "-o", &full.to_string_lossy(), "--to", "nvfp4"]);
    assert_eq!((code, document["error"]["kind"].as_str()), (2, Some("sink")), "{document}");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);
    let (code, _, complaint) = run(["convert", &source, "-o", "x.safetensors", "--to", "nvfp4"]);
    assert_eq!(code, 2, "{complaint}");
}

/// Ctrl-C while tensors are being worked on: status 130, nothing left.
#[cfg(unix)]
#[test]
fn an_interrupted_conversion_leaves_nothing() {
    use std::io::{Seek as _, SeekFrom, Write as _};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let root = tempfile::tempdir().unwrap();
    // Sparse: costs no disk, but takes seconds to quantize.
    let (rows, cols) = (400_000_u64, 4096_u64);
    let bytes = rows * cols * 4;
    let json =
        format!(r#"{{"l.weight":{{"dtype":"F32","shape":[{rows},{cols}],"data_offsets":[0,{bytes}]}}}}"#);
    let source = root.path().join("big.safetensors");
    let mut file = fs::File::create(&source).unwrap();
    file.write_all(&(json.len() as u64).to_le_bytes()).unwrap();
    file.write_all(json.as_bytes()).unwrap();
    file.write_all(&1.0_f32.to_le_bytes()).unwrap();
    file.seek(SeekFrom::Start(8 + json.len() as u64 + bytes - 1)).unwrap();
    file.write_all(&[0]).unwrap();

    let out = root.path().join("out");
    let args = [
        "convert".as_ref(),
        source.as_os_str(),
        "-o".as_ref(),
        out.as_os_str(),
        "--to".as_ref(),
        "nvfp4".as_ref(),
    ];
    let mut child = common::quantscope(args)
        .args(["--engine", "cpu"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let unfinished = || fs::read_dir(root.path()).unwrap().count() > 1;
    let start = Instant::now();
    while !unfinished() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(unfinished(), "the conversion has begun");
    std::thread::sleep(Duration::from_millis(200));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let start = Instant::now();
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(20), "it stops within a tile, not at the end");
    let left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["big.safetensors"]);
}
