//! What asks for a conversion: recipes and rules of renaming.

use crate::limits;
use quantscope_audit::{Checkpoint, InputFile, Model};
use quantscope_convert::{Calibration, Plan, Recipe, RecipeFields, Ties};
use quantscope_format::{MemorySource, ShardHeader, TensorSpec, Uncontrolled};
use quantscope_numeric::Dtype;
use std::collections::HashSet;
use std::rc::Rc;

/// A recipe: what was read is written so that it reads back the same.
pub fn recipe(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(fields) = RecipeFields::from_toml(text) else { return };
    let written = fields.to_toml().expect("a recipe that was read can be written");
    let again = RecipeFields::from_toml(&written);
    let again = again.unwrap_or_else(|error| panic!("what was written does not read: {error}\n{written}"));
    assert_eq!(again, fields, "a recipe reads back as another:\n{written}");
    let _ = Recipe::new(&fields, Calibration::default());
}

/// Rules of renaming: whatever they make of names, the plan has each once, and its files are sound.
pub fn rename_rules(bytes: &[u8]) {
    thread_local! {
        static MODEL: (Checkpoint, Model) = model();
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let fields = RecipeFields { rename_json: Some(text.to_owned()), ..RecipeFields::default() };
    let Ok(recipe) = Recipe::new(&fields, Calibration::default()) else { return };
    assert!(
        text.is_empty() || serde_json::from_str::<serde_json::Value>(text).is_ok(),
        "rules that are no JSON"
    );
    MODEL.with(|(checkpoint, model)| {
        let Ok(ties) = Ties::assumed(checkpoint, model, &recipe) else { return };
        let Ok(plan) = Plan::new(checkpoint, model, &recipe, &ties) else { return };
        if !plan.refused.is_empty() {
            return;
        }
        let mut names = HashSet::new();
        for file in &plan.files {
            let json = file.header.get(8..).expect("a header has a length");
            let header = ShardHeader::parse(json, file.len, &limits());
            let ours =
                header.defects.iter().all(|d| matches!(d, quantscope_format::Defect::OverLimit { .. }));
            assert!(ours, "a plan for a file that is damaged: {:?}", header.defects);
            for tensor in &file.tensors {
                assert!(names.insert(tensor.spec.name.clone()), "{:?} is written twice", tensor.spec.name);
            }
        }
    });
}

/// A checkpoint with names that the rules in use are about.
fn model() -> (Checkpoint, Model) {
    let names = [
        "model.visual.blocks.0.attn.q_proj.weight",
        "model.layers.0.mlp.gate_up_proj.weight",
        "model.layers.0.mlp.gate_up_proj.bias",
        "model.layers.0.mlp.experts.0.down_proj.weight",
        "model.layers.10.self_attn.k_proj.weight",
        "model.language_model.embed_tokens.weight",
        "lm_head.weight",
    ];
    let shape = |name: &str| if name.ends_with("bias") { vec![4] } else { vec![4, 2] };
    let specs: Vec<TensorSpec> =
        names.iter().map(|n| TensorSpec { name: (*n).into(), dtype: Dtype::BF16, shape: shape(n) }).collect();
    let layout = quantscope_format::HeaderLayout::new(&specs, &[]).expect("a header of seven tensors");
    let mut bytes = layout.bytes;
    bytes.resize(usize::try_from(layout.file_len).unwrap_or(0), 0);
    let source = Rc::new(MemorySource::new("model.safetensors", bytes));
    let files = vec![InputFile { path: "model.safetensors".into(), source }];
    let opened = futures_executor::block_on(Checkpoint::open("fuzzed", files, &limits(), &Uncontrolled));
    let checkpoint = opened.expect("a source in memory does not fail");
    let model = Model::of(&checkpoint);
    (checkpoint, model)
}
