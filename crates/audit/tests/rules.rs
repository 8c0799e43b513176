//! Each rule with a checkpoint that trips it and one that nearly does and must not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]
#![allow(clippy::cast_possible_truncation, reason = "fixtures of a few bytes")]

mod fixture;

use fixture::Ckpt;
use quantscope_audit::rules;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// A sound little model: NVFP4, declared, an excluded head.
fn sound() -> Ckpt {
    Ckpt::new()
        .nvfp4("mlp.up", 4, 32, 1)
        .nvfp4("mlp.down", 4, 48, 2)
        .plain("lm_head", &[4, 8], 3)
        .declares("NVFP4", &["lm_head"])
}

fn two_shards() -> Ckpt {
    Ckpt::new().nvfp4("mlp.up", 4, 32, 1).shard("other.safetensors").nvfp4("mlp.down", 4, 48, 2)
}

/// A flattened convolution of a Wan VAE: 3 channels of 3 x 3 x 3, so 81 columns of 96.
fn conv() -> Ckpt {
    let config = json!({"_class_name": "AutoencoderKLWan", "quantization_config": {"quant_method": "modelopt",
        "quant_algo": "NVFP4", "ignore": [], "config_groups": {"group_0": {"targets": ["Conv3d"]}}}});
    Ckpt::new().nvfp4("decoder.conv1", 2, 96, 5).json("config.json", &config).change(
        "decoder.conv1.weight",
        |t| {
            for row in t.bytes.chunks_mut(48) {
                row[40] &= 0x0f;
                row[41..].fill(0);
            }
        },
    )
}

type Fixtures = Vec<(&'static str, Ckpt, Ckpt)>;

fn header_rules() -> Fixtures {
    vec![
        (
            "LK401",
            sound().tensor("mlp.up.input_quantizer._amax", "F32", &[], vec![0; 4]),
            sound().tensor("mlp.amax_pool", "F32", &[], vec![0; 4]),
        ),
        ("SC001", sound().without("mlp.up.weight_scale"), sound().without("mlp.up.input_scale")),
        ("SC002", sound().without("mlp.up.weight_scale_2"), sound().without("mlp.down.input_scale")),
        (
            "SH501",
            sound().change("mlp.down.weight_scale", |t| {
                (t.shape, t.bytes) = (vec![2, 3], vec![0x38; 6]);
            }),
            // Padded to 16 rows and 16 columns, as post-processing may leave it.
            sound().change("mlp.down.weight_scale", |t| {
                (t.shape, t.bytes) = (vec![16, 16], vec![0x38; 256]);
            }),
        ),
        (
            "SH502",
            sound().change("mlp.up.weight_scale_2", |t| {
                (t.dtype, t.bytes) = ("BF16".into(), vec![0x80, 0x3f]);
            }),
            sound().change("mlp.up.weight_scale_2", |t| t.shape = vec![1]),
        ),
        (
            "SH505",
            conv().change("decoder.conv1.weight", |t| t.bytes[47] = 0x30),
            // The last code of the kernel itself is none of the padding.
            conv().change("decoder.conv1.weight", |t| t.bytes[40] = 0x03),
        ),
        (
            "BK951",
            Ckpt::new().fp8_block("a", 130, 140).change("a.weight_scale_inv", |t| {
                (t.shape, t.bytes) = (vec![1, 2], vec![0; 8]);
            }),
            Ckpt::new().fp8_block("a", 100, 128).change("a.weight_scale_inv", |t| t.shape = vec![]),
        ),
        (
            "CF301",
            Ckpt::new().nvfp4("mlp.up", 4, 32, 1).declares("NVFP4", &["mlp.u*"]),
            Ckpt::new().nvfp4("mlp.up", 4, 32, 1).declares("NVFP4", &["mlp.u", "up*"]),
        ),
        (
            "CF302",
            Ckpt::new().nvfp4("mlp.up", 4, 32, 1).plain("mlp.down", &[4, 16], 1).declares("NVFP4", &[]),
            // A norm, an embedding and a router are not meant; a child of an excluded module is left alone.
            Ckpt::new()
                .nvfp4("mlp.up", 4, 32, 1)
                .plain("norm", &[16], 1)
                .plain("model.embed_tokens", &[4, 16], 2)
                .plain("mlp.gate", &[4, 16], 3)
                .plain("vision.qkv", &[4, 16], 4)
                .declares("NVFP4", &["vision"]),
        ),
        (
            "CF307",
            sound().json(
                "hf_quant_config.json",
                &json!({"quantization": {"quant_algo": "FP8", "exclude_modules": ["lm_head"]}}),
            ),
            sound().json(
                "hf_quant_config.json",
                &json!({"quantization": {"quant_algo": "NVFP4", "group_size": 16, "kv_cache_quant_algo": null,
                    "exclude_modules": ["lm_head"]}}),
            ),
        ),
        (
            "CF310",
            Ckpt::new().plain("a", &[2, 2], 1).text("config.json", "{\"a\":"),
            Ckpt::new().plain("a", &[2, 2], 1).text("config.json", "{}"),
        ),
    ]
}

fn index_rules() -> Fixtures {
    vec![
        (
            "IX801",
            two_shards().index(|i| i["weight_map"]["mlp.ghost.weight"] = json!("third.safetensors")),
            two_shards().index(|_| ()),
        ),
        (
            "IX802",
            two_shards().index(|i| i["weight_map"]["mlp.up.weight"] = json!("other.safetensors")),
            two_shards().index(|i| i["weight_map"]["mlp.up.weight"] = json!("model.safetensors")),
        ),
        (
            "IX803",
            two_shards().index(|i| {
                i["weight_map"].as_object_mut().unwrap().remove("mlp.down.input_scale");
            }),
            two_shards().index(|i| i["metadata"]["format"] = json!("pt")),
        ),
        (
            "IX804",
            sound().file(|mut bytes| {
                bytes.pop();
                bytes
            }),
            sound(),
        ),
        (
            "IX805",
            two_shards().index(|i| i["metadata"]["total_size"] = json!(1)),
            two_shards().index(|i| {
                i["metadata"].as_object_mut().unwrap().remove("total_size");
            }),
        ),
        (
            "IX806",
            two_shards().plain("same", &[2, 2], 1).shard("third.safetensors").plain("same", &[2, 2], 1),
            two_shards().plain("same.a", &[2, 2], 1).shard("third.safetensors").plain("same.b", &[2, 2], 2),
        ),
        (
            "IX808",
            two_shards().text("model.safetensors.index.json", "{\"weight_map\": []}"),
            two_shards().text("tokenizer.json", "not JSON at all"),
        ),
        (
            "IX809",
            two_shards().index(|i| i["weight_map"]["x"] = json!("../model.safetensors")),
            two_shards().index(|i| i["weight_map"]["mlp.up.weight"] = json!("model.safetensors")),
        ),
    ]
}

fn structure_rules() -> Fixtures {
    let one = || Ckpt::new().plain("a", &[2, 4], 1);
    let two = || one().plain("b", &[2, 4], 2);
    let edited = |edit: fn(String) -> String| two().header(edit);
    vec![
        (
            "ST001",
            edited(|h| h.replace("\"b.weight\"", "\"a.weight\"").replacen("[0,16]", "[16,32]", 1)),
            two(),
        ),
        (
            "ST002",
            edited(|h| h.replacen('{', "{\"__metadata__\":null,", 1)),
            edited(|h| h.replacen('{', "{\"__metadata__\":{\"format\":\"pt\"},", 1)),
        ),
        (
            "ST003",
            edited(|h| h.replace("b.weight", "../b.weight")),
            edited(|h| h.replace("b.weight", "b..weight")),
        ),
        ("ST101", edited(|h| h.replace(':', ";")), edited(|h| h.replace(':', " : "))),
        ("ST102", edited(|h| h.replace("[16,32]", "[8,24]")), edited(|h| h.replace("[16,32]", "[16, 32]"))),
        ("ST103", edited(|h| h.replace("BF16", "BF17")), edited(|h| h.replace("BF16", "F16"))),
        ("ST104", edited(|h| h.replace("[2,4]", "[2,5]")), edited(|h| h.replace("[2,4]", "[4,2]"))),
        (
            "ST105",
            two().file(|mut bytes| {
                bytes.push(0);
                bytes
            }),
            two(),
        ),
        ("ST106", two().limits(|l| l.tensors = 1), two().limits(|l| l.tensors = 2)),
    ]
}

fn byte_rules() -> Fixtures {
    let fp8 = || Ckpt::new().fp8("a", 4, 8, 1);
    vec![
        (
            "SV101",
            sound().change("mlp.up.weight_scale", |t| t.bytes[3] = 0x7f),
            sound().change("mlp.up.weight_scale", |t| t.bytes[3] = 0x7e),
        ),
        (
            "SV102",
            sound().change("mlp.up.weight_scale", |t| t.bytes[3] = 0x00),
            sound()
                .change("mlp.up.weight_scale", |t| t.bytes[3] = 0x00)
                .change("mlp.up.weight", |t| t.bytes[24..32].fill(0x80)),
        ),
        (
            "SV104",
            fp8().change("a.weight", |t| t.bytes[5] = 0xff),
            fp8().change("a.weight", |t| t.bytes[5] = 0xfe),
        ),
        (
            "TI702",
            sound().nvfp4("copy", 4, 32, 1),
            // One bit differs; and equal vectors are no tie.
            sound()
                .nvfp4("copy", 4, 32, 1)
                .change("copy.weight", |t| t.bytes[63] ^= 1)
                .plain("n.a", &[4], 1)
                .plain("n.b", &[4], 1),
        ),
    ]
}

fn all_fixtures() -> Fixtures {
    [header_rules(), index_rules(), structure_rules(), byte_rules(), fixture::targets::target_rules()]
        .into_iter()
        .flatten()
        .collect()
}

#[test]
fn each_rule_trips_on_its_fixture_and_not_on_its_neighbour() {
    let mut wrong = Vec::new();
    for (rule, trips, near) in all_fixtures() {
        let (found, clean) = (trips.rules(), near.rules());
        if !found.contains(rule) {
            wrong.push(format!("{rule} is silent; found {found:?}"));
        }
        if clean.contains(rule) {
            wrong.push(format!("{rule} trips on its neighbour: {:?}", near.findings()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Faults that stand alone are reported alone.
#[test]
fn a_single_fault_gives_a_single_rule() {
    const ALONE: &[&str] =
        &["LK401", "SC001", "SC002", "SH501", "SH502", "IX802", "IX804", "SV101", "SV102", "SV104", "TI702"];
    for (rule, trips, _) in all_fixtures().into_iter().filter(|(rule, _, _)| ALONE.contains(rule)) {
        assert_eq!(trips.rules(), BTreeSet::from([rule.to_string()]), "{:?}", trips.findings());
    }
}

#[test]
fn the_sound_model_has_no_findings() {
    assert_eq!(sound().findings(), []);
    assert_eq!(conv().findings(), []);
}

#[test]
fn every_rule_has_fixtures() {
    let mut have: BTreeMap<&str, u32> = BTreeMap::new();
    for (rule, _, _) in all_fixtures() {
        *have.entry(rule).or_default() += 1;
    }
    let ids: Vec<&str> = rules().iter().map(|r| r.id).collect();
    assert_eq!(have.keys().copied().collect::<Vec<_>>(), ids);
}

/// Findings of bytes do not depend on where tiles are cut.
#[test]
fn tile_sizes_change_no_finding() {
    for (rule, trips, near) in all_fixtures() {
        for fixture in [trips, near] {
            let whole = fixture.findings();
            for tile in [1, 8, 24] {
                let mut cut = fixture.clone();
                cut.limits.tile_bytes = tile;
                assert_eq!(cut.findings(), whole, "{rule} with tiles of {tile} bytes");
            }
        }
    }
}
