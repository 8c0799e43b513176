//! The example of the documentation, field by field; faults with their lines; what is written reads back the same.

use super::super::Recipe;
use super::{RecipeFields, Value, ZeroTensors, number};
use crate::calibration::Calibration;
use crate::error::ConvertError;

const EXAMPLE: &str = r#"
name = "wan-vae-nvfp4"
dtype = "bf16"
default = "nvfp4"
[[layer]]
match = "*.attentions.*"
scheme = "keep"
[[layer]]
match = "*.mlp.*"
scheme = "nvfp4-mse"
[[fuse]]
members = ["q_proj", "k_proj", "v_proj"]
[ties]
policy = "by-name"
canonical = "decoder"
declared = { "encoder.*" = "decoder.*" }
[output]
pad = "row"
swizzle = false
shard_size = "5GB"
configs = ["config.json", "hf_quant_config.json"]
"#;

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn the_example_says_what_it_says() {
    let expected = RecipeFields {
        name: Some("wan-vae-nvfp4".into()),
        to: "nvfp4".into(),
        dtype: Some("bf16".into()),
        layers: strings(&["*.attentions.*=keep", "*.mlp.*=nvfp4-mse"]),
        fuse_groups: vec![strings(&["q_proj", "k_proj", "v_proj"])],
        ties: Some("by-name".into()),
        canonical: Some("decoder".into()),
        declared_ties: strings(&["encoder.*=decoder.*"]),
        pad: Some("row".into()),
        shard_size: Some("5GB".into()),
        configs: Some(strings(&["config.json", "hf_quant_config.json"])),
        ..RecipeFields::default()
    };
    let read = RecipeFields::from_toml(EXAMPLE).unwrap();
    assert_eq!(read, expected);
    let recipe = Recipe::new(&read, Calibration::default()).unwrap();
    assert_eq!(recipe.shard_bytes, Some(5_000_000_000));
}

#[test]
fn every_field_is_written_and_read_back() {
    let full = RecipeFields {
        name: Some("a \"quoted\" name\nof two lines".into()),
        by_kind: vec![("expert".into(), "mxfp4".into()), ("linear".into(), "fp8-block".into())],
        exclude: strings(&["lm_head", "*.\\[0-9]"]),
        layers: strings(&["a=b.*=nvfp4", "*.x=f16", "*=keep"]),
        dtype: Some("f16".into()),
        zero_tensors: ZeroTensors::Reference,
        group_size: Some(64),
        fp8_rounding: Some("cuda".into()),
        conv3d: Some("strict".into()),
        fuse_groups: vec![strings(&["w1", "w3"]), strings(&["a", "b"])],
        fuse: true,
        rename_json: Some(r#"{"renames":[{"pattern":"^a\\.(.*)","repl":"\\g<1>b"}],"splits":[]}"#.into()),
        ties: Some("keep-input-scale".into()),
        canonical: Some("model.decoder".into()),
        declared_ties: strings(&["z.*=y.*", "b.*.fc=c.*.fc"]),
        expand_ties: true,
        pad: Some("row_col".into()),
        swizzle: true,
        shard_size: Some("1GiB".into()),
        configs: Some(strings(&["config.json"])),
        ..RecipeFields::default()
    };
    for fields in
        [full, RecipeFields::default(), RecipeFields { to: "bf16".into(), ..RecipeFields::default() }]
    {
        let text = fields.to_toml().unwrap();
        assert_eq!(RecipeFields::from_toml(&text), Ok(fields), "{text}");
    }
    let nulls = RecipeFields {
        rename_json: Some(r#"{"renames":[{"pattern":"a","repl":"b","scope_prefixes":null}]}"#.into()),
        ..RecipeFields::default()
    };
    let read = RecipeFields::from_toml(&nulls.to_toml().unwrap()).unwrap();
    assert_eq!(read.rename_json.unwrap(), r#"{"renames":[{"pattern":"a","repl":"b"}]}"#);
}

#[test]
fn ties_are_declared_by_tables_and_by_lists() {
    for (text, ties) in [
        (r#"{ "z.*" = "y.*", "b" = "a" }"#, ["z.*=y.*", "b=a"].as_slice()),
        (
            r#"["lm_head.weight", 'e\.(?:[^.]+\.)*weight', "enc"]"#,
            &["lm_head.weight", r"e\.(?:[^.]+\.)*weight", "enc"],
        ),
        (r#"["lm_head", { "b" = "a" }, "x.*"]"#, &["lm_head", "b=a", "x.*"]),
        (r#"[{ "b" = "a" }, { "b" = "c" }]"#, &["b=a", "b=c"]),
        ("[]", &[]),
    ] {
        let read = RecipeFields::from_toml(&format!("[ties]\ndeclared = {text}")).unwrap();
        assert_eq!(read.declared_ties, strings(ties), "{text}");
        assert_eq!(RecipeFields::from_toml(&read.to_toml().unwrap()).as_ref(), Ok(&read), "{text}");
        Recipe::new(&read, Calibration::default()).unwrap();
    }
}

#[test]
fn faults_are_told_with_their_line() {
    for (text, line, words) in [
        ("default = \"nvfp4\"\nschema = 1\n", 2, "unknown field `schema`"),
        ("[output]\n\npadd = \"row\"", 3, "unknown field `padd`"),
        ("default = \"nvpf4\"", 1, "no scheme is called \"nvpf4\""),
        ("name = \"x\"\ndefault = 4", 2, "expected the id of a scheme in quotes"),
        ("default = { linear = \"nvfp4\", lineal = \"fp8\" }", 1, "no kind of layer is called \"lineal\""),
        ("default = {}", 1, "names no kind"),
        ("\n[[layer]]\nmatch = \"*.mlp.*\"\nscheme = \"int3\"", 4, "no scheme is called \"int3\""),
        ("[[layer]]\nmatch = \"*\"", 1, "missing field `scheme`"),
        ("dtype = \"fp16\"", 1, "\"fp16\" is no dtype"),
        ("group_size = 0", 1, "must not be 0"),
        ("group_size = -1", 1, "-1"),
        ("[ties]\npolicy = \"by_name\"", 2, "no policy of ties"),
        ("[ties]\ndeclared = { \"a.*\" = \"b\" }", 2, "is no tie"),
        ("[ties]\ndeclared = [\n\"a\",\n\"\"]", 4, "is no entry of a list of ties"),
        ("[ties]\ndeclared = [\"a\",\n{ \"b.*\" = \"c\" }]", 3, "is no tie"),
        ("[ties]\ndeclared = [3]", 2, "expected the name of a tied weight"),
        ("[ties]\ndeclared = \"a\"", 2, "expected a table or a list of ties"),
        ("[output]\nshard_size = \"5 gigs\"", 2, "is no size"),
        ("[output]\nconfigs = [\"tokenizer.json\"]", 2, "is no config that is written"),
        ("[output]\npad = \"col\"", 2, "no padding"),
        ("zero_tensors = \"skip\"", 1, "no treatment of zeros"),
        ("name = \"a\"\nname = \"b\"", 2, "duplicate key"),
        ("dtype = \"bf16\"\nrename = { renames = [{ pattern = \"(\", repl = \"\" }] }", 2, "without closing"),
        ("name = ", 1, ""),
    ] {
        match RecipeFields::from_toml(text) {
            Err(ConvertError::Recipe { line: found, reason }) => {
                assert_eq!(found, line, "{text:?}: {reason}");
                assert!(reason.contains(words), "{text:?}: {reason}");
            }
            other => panic!("{text:?} is read as {other:?}"),
        }
    }
}

#[test]
fn flags_count_before_the_recipe() {
    let recipe = RecipeFields::from_toml(EXAMPLE).unwrap();
    let flags = RecipeFields {
        to: "fp8".into(),
        layers: strings(&["*.mlp.*=keep"]),
        exclude: strings(&["lm_head"]),
        swizzle: true,
        ties: Some("off".into()),
        ..RecipeFields::default()
    };
    let both = recipe.clone().overridden_by(flags);
    assert_eq!((both.to.as_str(), both.ties.as_deref()), ("fp8", Some("off")));
    assert_eq!(both.layers, ["*.mlp.*=keep", "*.attentions.*=keep", "*.mlp.*=nvfp4-mse"]);
    assert_eq!((both.exclude, both.swizzle, both.dtype), (strings(&["lm_head"]), true, Some("bf16".into())));
    assert_eq!(recipe.clone().overridden_by(RecipeFields::default()), recipe);
}

#[test]
fn floats_of_rules_are_read_as_the_library_reads_them() {
    let texts =
        ["1.5", "+1.0e5", "-0.0", "6.02e+23", "5e-324", "0.1", "1e400", "-1e400", "inf", "+inf", "nan"];
    for text in texts {
        assert_eq!(number(text), Value::from(text.parse::<f64>().unwrap()), "{text}");
    }
}
