//! `quantscope preview`: what it prints, what it refuses.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod common;

use common::{data, read_json, run, run_json};

#[test]
fn figures_are_those_of_the_independent_computation() {
    let cases = read_json(&data("preview.json"));
    let case = &cases[0];
    let source = data(case["source"].as_str().unwrap());
    let layer = case["layer"].as_str().unwrap();
    let (code, document) = run_json([
        "preview",
        source.to_str().unwrap(),
        "--tensor",
        layer,
        "--to",
        "nvfp4,fp8-channel,int8-wo",
    ]);
    assert_eq!((code, &document["schema"]), (0, &1.into()));
    let schemes = document["preview"]["schemes"].as_array().unwrap();
    assert_eq!(schemes.len(), 3);
    for scheme in schemes {
        let expected = &case["schemes"][scheme["scheme"].as_str().unwrap()];
        let (found, wanted) = (scheme["sqnr_db"].as_f64().unwrap(), expected["sqnr_db"].as_f64().unwrap());
        assert!((found - wanted).abs() < 1e-6, "{scheme}");
        assert_eq!(scheme["bytes"], expected["bytes"]);
    }
    let weight = format!("{layer}.weight");
    let (code, text, _) =
        run(["preview", source.to_str().unwrap(), "--tensor", &weight, "--to", "nvfp4,nvfp4-awq"]);
    assert_eq!(code, 0);
    assert!(text.contains("20.40 dB") && text.contains("nvfp4-awq: not possible"), "{text}");
    assert!(text.contains("largest magnitude shared with model.layers.0.self_attn.q_proj"), "{text}");
}

#[test]
fn a_budget_gives_a_recipe_that_convert_takes() {
    let source = data("golden/_src/llama");
    let source = source.to_str().unwrap();
    let (code, document) = run_json(["preview", source, "--to", "nvfp4,fp8", "--budget", "6"]);
    assert_eq!(code, 0);
    let proposal = &document["proposal"];
    assert_eq!(document["layers"].as_array().unwrap().len(), 14);
    let request = &proposal["request"];
    let mut arguments = vec!["convert", source, "--plan", "--to", request["to"].as_str().unwrap()];
    for rule in request["layers"].as_array().unwrap() {
        arguments.extend(["--layer", rule.as_str().unwrap()]);
    }
    let (code, plan) = run_json(arguments);
    assert_eq!((code, &plan["plan"]["bytes_after"]), (0, &proposal["total_bytes"]));
    let (_, text, _) = run(["preview", source, "--to", "nvfp4,fp8", "--budget", "60KB"]);
    assert!(text.contains("fp8 everywhere") && text.contains("[[layer]]"), "{text}");
    let (code, text, _) = run(["preview", source, "--to", "nvfp4,fp8", "--budget", "1KB"]);
    assert!(code == 0 && text.contains("nothing fits the budget"), "{text}");
}

#[test]
fn what_is_not_there_is_refused() {
    let source = data("golden/_src/llama");
    let source = source.to_str().unwrap();
    for arguments in [
        ["preview", source, "--tensor", "model.norm", "--to", "nvfp4"],
        ["preview", source, "--tensor", "nothing", "--to", "nvfp4"],
        ["preview", source, "--tensor", "model.layers.0.mlp.up_proj", "--to", "nvfp5"],
    ] {
        let (code, document) = run_json(arguments);
        assert_eq!((code, &document["error"]["kind"]), (2, &"refused".into()), "{document}");
    }
}
