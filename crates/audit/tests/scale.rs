//! Many layers and many patterns: no rule may look at each of one for each of the other.

use crate::fixture::Ckpt;
use serde_json::{Value, json};
use std::time::Instant;

/// 40,000 layers under 40,000 exclude patterns that match nothing, all kept in the list of a mixed config. One look
/// for each pair would be billions, which takes minutes; reading the lot takes seconds, without optimisation.
#[test]
fn time_grows_with_the_number_of_layers_and_not_with_its_square() {
    const COUNT: u32 = 40_000;
    let names = || (0..COUNT).map(|i| format!("model.layers.{}.mlp.experts.{}.up_proj", i / 256, i % 256));
    let mut checkpoint = Ckpt::new();
    for name in names() {
        checkpoint = checkpoint.plain(&name, &[1, 2], 1).number(&format!("{name}.weight_scale_inv"), 1.0);
    }
    let patterns: Vec<String> = names()
        .enumerate()
        .map(|(i, name)| {
            let end = if i % 2 == 0 { "*" } else { "" };
            format!("language_{name}{end}")
        })
        .collect();
    let listed: serde_json::Map<String, Value> =
        names().map(|name| (format!("other.{name}"), json!({"quant_algo": "NVFP4"}))).collect();
    let section = json!({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "ignore": patterns,
        "quantized_layers": listed});
    let checkpoint = checkpoint.json("config.json", &json!({"quantization_config": section}));
    let begun = Instant::now();
    let findings = checkpoint.header_findings();
    let seconds = begun.elapsed().as_secs_f64();
    let of_rule = |rule: &str| findings.iter().filter(|f| f.rule == rule).count();
    assert_eq!([of_rule("CF303"), of_rule("LK402"), of_rule("CF306")], [40_000, 40_000, 1]);
    assert!(seconds < 60.0, "{seconds} seconds");
}
