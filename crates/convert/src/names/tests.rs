//! Names compared with those that the reference has mapped, case by case.

use super::{Cut, Declared, Moved, Rules, preset};
use quantscope_format::TensorInfo;
use quantscope_numeric::Dtype;
use quantscope_schemes::role_of;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

fn golden() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/golden/reverse_names.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn dims(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).collect()
}

/// Names and shapes that rules make of a tensor.
fn made(rules: &Rules, name: &str, shape: &[u64]) -> BTreeMap<String, Vec<u64>> {
    let (module, leaf) = quantscope_schemes::split_name(name);
    let Some(parts) = rules.split(module) else {
        return BTreeMap::from([(rules.tensor(name), shape.to_vec())]);
    };
    let end = 4 * shape.iter().product::<u64>();
    let tensor = TensorInfo { name, dtype: Dtype::F32, shape, begin: 0, end };
    let cut = Cut { experts: None, parts: parts.len() as u64, rows: 6, cols: 4, scale_rows: Some(1) };
    let role = role_of(quantscope_schemes::unrecognised(), leaf).0;
    let slices = cut.slices(role, leaf, tensor).unwrap();
    let name = |part: u64| rules.tensor(&format!("{}.{leaf}", parts[usize::try_from(part).unwrap()]));
    slices.into_iter().map(|slice| (name(slice.part), slice.shape)).collect()
}

/// Every name and shape of the reference's own run over MiniMax-M3's mapping, once under the rules that the case
/// carries and once under the preset.
#[test]
fn minimax_takes_the_names_of_the_hub() {
    let case = golden();
    let own = Rules::from_json(&case.to_string()).unwrap();
    let preset = preset(case["model_type"].as_str()).unwrap();
    let tensors = case["tensors"].as_object().unwrap();
    assert!(tensors.len() > 40);
    for rules in [&own, &preset] {
        for (memory, expected) in tensors {
            let expected: BTreeMap<String, Vec<u64>> = expected
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, shape)| (name.clone(), dims(shape)))
                .collect();
            assert_eq!(made(rules, memory, &dims(&case["source_shapes"][memory])), expected, "{memory}");
        }
        for (memory, expected) in case["exclude_names"].as_object().unwrap() {
            assert_eq!(rules.config_names(memory), [expected.as_str().unwrap()]);
        }
    }
    // Fields of the case that are no rules.
    assert!(own.warnings.iter().any(|w| w.contains("\"exclude_names\"")), "{:?}", own.warnings);
    assert!(preset.warnings.is_empty(), "{:?}", preset.warnings);
}

/// Pairs as the reference's own mapping gives them, from the specification's table.
#[test]
fn mixtral_takes_the_names_of_the_hub() {
    let (mixtral, other) = (preset(Some("mixtral")).unwrap(), preset(Some("llama")).unwrap());
    let moe = "model.layers.0.block_sparse_moe";
    for (memory, hub) in [
        ("model.layers.0.mlp.experts.1.up_proj", format!("{moe}.experts.1.w3")),
        ("model.layers.0.mlp.experts.12.gate_proj", format!("{moe}.experts.12.w1")),
        ("model.layers.0.mlp.experts.0.down_proj", format!("{moe}.experts.0.w2")),
        ("model.layers.0.mlp.gate", format!("{moe}.gate")),
        ("model.layers.0.mlp.experts.gate_up_proj", format!("{moe}.experts.gate_up_proj")),
        ("model.layers.0.block_sparse_moe.experts.0.w1", format!("{moe}.experts.0.w1")),
        ("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.q_proj".into()),
        ("mlp.up_proj", "mlp.up_proj".into()),
    ] {
        assert_eq!(mixtral.module(memory), hub);
        assert_eq!(mixtral.tensor(&format!("{memory}.bias")), format!("{hub}.bias"));
        assert_eq!(other.module(memory), memory);
    }
}

/// Names that the mapping of transformers 5.23 for each type leads to and from.
#[test]
fn types_that_share_a_mapping_take_their_own_names() {
    for (model_type, memory, hub) in [
        ("minimax", "a.mlp.gate.weight", "a.block_sparse_moe.gate.weight"),
        ("minimax_m2", "a.mlp.e_score_correction_bias", "a.block_sparse_moe.e_score_correction_bias"),
        ("minimax_m2", "a.mlp.experts.3.down_proj.weight", "a.block_sparse_moe.experts.3.w2.weight"),
        ("phimoe", "a.mlp.router.weight", "a.block_sparse_moe.gate.weight"),
        ("phimoe", "a.mlp.experts.0.gate_proj.bias", "a.block_sparse_moe.experts.0.w1.bias"),
    ] {
        assert_eq!(preset(Some(model_type)).unwrap().tensor(memory), hub, "{model_type}");
    }
}

/// A rule with scopes sees what is below the first that fits, and nothing else.
#[test]
fn scopes_confine_a_rule() {
    let json = r#"{"renames": [{"pattern": "^", "repl": "vision_model.",
                                "scope_prefixes": ["model.visual.", "visual."]}]}"#;
    let rules = Rules::from_json(json).unwrap();
    for (name, expected) in [
        ("model.visual.a.weight", "model.visual.vision_model.a.weight"),
        ("visual.a.weight", "visual.vision_model.a.weight"),
        ("model.a.weight", "model.a.weight"),
        ("model.visual", "model.visual"),
    ] {
        assert_eq!(rules.tensor(name), expected);
    }
}

#[test]
fn config_names_follow_splits_and_renames() {
    let json = r#"{"splits": [{"fused_suffix": ".qkv", "part_suffixes": [".q", ".k", ".v"]}],
                   "renames": [{"pattern": "\\.attn\\.", "repl": ".self_attn."}]}"#;
    let rules = Rules::from_json(json).unwrap();
    assert_eq!(rules.config_names("a.attn.qkv"), ["a.self_attn.q", "a.self_attn.k", "a.self_attn.v"]);
    assert_eq!(rules.config_names("a.attn.qkv*").first().unwrap(), "a.self_attn.q*");
    assert_eq!(rules.config_names("a.attn.*"), ["a.self_attn.*"]);
    assert_eq!(rules.config_names("a*"), ["a*"]);
}

#[test]
fn stacks_that_must_not_survive_are_known() {
    let rules = Rules::from_json(r#"{"expert_fused_leaves": ["gate_up_proj"]}"#).unwrap();
    for stack in ["a.experts.gate_up_proj", "experts.gate_up_proj"] {
        assert!(rules.is_forbidden_stack(stack), "{stack}");
    }
    for other in ["a.experts.0.gate_up_proj", "a.experts.down_proj", "a.gate_up_proj", "experts"] {
        assert!(!rules.is_forbidden_stack(other), "{other}");
    }
}

#[test]
fn bad_rules_are_refused_by_their_place() {
    for (json, said) in [
        ("{", "no JSON"),
        ("[]", "a list"),
        (r#"{"splits": 1}"#, "splits is 1"),
        (r#"{"splits": [{"part_suffixes": [".a", ".b"]}]}"#, "splits[0].fused_suffix is missing"),
        (r#"{"splits": [{"fused_suffix": "", "part_suffixes": [".a", ".b"]}]}"#, "empty"),
        (r#"{"splits": [{"fused_suffix": ".c", "part_suffixes": [".a"]}]}"#, "two parts"),
        (r#"{"splits": [{"fused_suffix": ".c", "part_suffixes": [".a", ".a"]}]}"#, "twice"),
        (r#"{"splits": [{"fused_suffix": ".c", "part_suffixes": [".a", ".b"], "dim": 1}]}"#, "dim is 1"),
        (r#"{"renames": [{"pattern": "a", "repl": "b"}, {"pattern": "("}]}"#, "renames[1].repl is missing"),
        (r#"{"renames": [{"pattern": "(", "repl": "b"}]}"#, "renames[0].pattern"),
        (r#"{"renames": [{"pattern": "(?<!a)b", "repl": "b"}]}"#, "look-around"),
        (r#"{"renames": [{"pattern": "a", "repl": "\\1"}]}"#, "renames[0].repl"),
        (r#"{"renames": [{"pattern": "a", "repl": "b", "scope_prefixes": "c"}]}"#, "scope_prefixes"),
        (r#"{"renames": [{"pattern": "(a{1000}){1000}", "repl": "b"}]}"#, "renames[0].pattern"),
        (r#"{"expert_fused_leaves": [1]}"#, "expert_fused_leaves[0] is 1"),
    ] {
        let error = Rules::from_json(json).unwrap_err().to_string();
        assert!(error.contains(said), "{json}: {error}");
    }
    let many = format!(r#"{{"expert_fused_leaves": [{}""]}}"#, "\"a\",".repeat(2000));
    assert!(Rules::from_json(&many).unwrap_err().to_string().contains("2001 entries"));
    let long = format!(r#"{{"expert_fused_leaves": ["{}"]}}"#, "a".repeat(5000));
    assert!(Rules::from_json(&long).unwrap_err().to_string().contains("5000 bytes"));
}

/// Rules that double a name again and again end soon after the longest name there may be.
#[test]
fn names_do_not_grow_without_end() {
    let doubling = r#"{"pattern": "^(.*)$", "repl": "\\1\\1"},"#.repeat(100);
    let json = format!(r#"{{"renames": [{}]}}"#, doubling.trim_end_matches(','));
    assert!(Rules::from_json(&json).unwrap().tensor("a.weight").len() < 20_000);
}

/// The pattern is shorter than the rule that moves what it names, a defect that the reference has.
#[test]
fn patterns_keep_the_modules_they_had() {
    let rules = preset(Some("minimax_m3_vl")).unwrap();
    let paths = [
        "model.vision_tower.layers.0.q",
        "model.vision_tower.pre_layrnorm",
        "lm_head",
        "model.language_model.a",
    ];
    let after: Vec<String> = paths.iter().map(|path| rules.module(path)).collect();
    let modules: Vec<Moved<'_>> = paths
        .iter()
        .zip(&after)
        .map(|(before, after)| Moved { before, after, is_quantized: *before == "model.language_model.a" })
        .collect();
    let mut declared = Declared::new(&rules, &modules, HashMap::new());
    let mut config = json!({"quantization_config": {
        "ignore": ["model.vision_tower*", "lm_head", "re:.*head", "model.audio*", 7],
        "config_groups": {"group_0": {"targets": ["Linear", "model.language_model.a"]}}}});
    declared.config(&mut config);
    let section = &config["quantization_config"];
    assert_eq!(
        section["ignore"],
        json!([
            "model.vision_tower*",
            "language_model.lm_head",
            "re:.*head",
            "model.audio*",
            7,
            "vision_tower*"
        ])
    );
    assert_eq!(section["config_groups"]["group_0"]["targets"], json!(["Linear", "language_model.model.a"]));
    let strangers: Vec<&str> = declared.strangers.iter().map(String::as_str).collect();
    assert_eq!(strangers, ["model.audio*", "model.vision_tower*"]);
}
