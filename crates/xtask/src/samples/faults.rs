//! The sample with faults: one of each kind that exporters and converters were seen to make.

use super::checkpoint::{Entry, Weights};
use anyhow::{Context as _, Result, bail};
use quantscope_numeric::Dtype;
use serde_json::Value;

/// Quantizer state that was left in the weights (LK401).
const LEAKING: &str = "decoder.mid_block.resnets.0.conv2";
/// A layer without its global scale (SC002).
const WITHOUT_GLOBAL_SCALE: &str = "encoder.mid_block.resnets.0.conv2";
/// A layer whose block scales were counted from the packed width (SH501).
const HALF_SCALES: &str = "decoder.up_blocks.1.resnets.1.conv1";
/// A plain layer that the config promises as NVFP4 (CF302).
const PROMISED: &str = "encoder.conv_in";
/// A layer with a NaN among its block scales (SV101).
const NAN_SCALE: &str = "decoder.up_blocks.2.resnets.1.conv2";
/// A layer with a block scale of zero over codes that are not (SV102).
const ZERO_SCALE: &str = "encoder.down_blocks.6.conv2";
/// Two layers with the same weights (TI702).
const TWINS: [&str; 2] = ["decoder.mid_block.resnets.0.conv1", "decoder.mid_block.resnets.1.conv1"];

/// Plants the faults in the weights of the sound sample.
pub(super) fn plant(weights: &mut Weights) -> Result<()> {
    weights.entries.push(Entry {
        name: format!("{LEAKING}.weight_quantizer._amax"),
        dtype: Dtype::F32,
        shape: Vec::new(),
        bytes: 0.125_f32.to_le_bytes().to_vec(),
    });
    weights.remove(&format!("{WITHOUT_GLOBAL_SCALE}.weight_scale_2"))?;
    halve_scales(weights.get(&format!("{HALF_SCALES}.weight_scale"))?)?;
    // E4M3 has one NaN per sign: all ones.
    *first_byte(weights.get(&format!("{NAN_SCALE}.weight_scale"))?)? = 0x7f;
    // Two codes of +1 in the first byte, so the block is not empty whatever it was.
    *first_byte(weights.get(&format!("{ZERO_SCALE}.weight"))?)? = 0x22;
    *first_byte(weights.get(&format!("{ZERO_SCALE}.weight_scale"))?)? = 0;
    for leaf in ["weight", "weight_scale", "weight_scale_2"] {
        let original = weights.get(&format!("{}.{leaf}", TWINS[0]))?.bytes.clone();
        weights.get(&format!("{}.{leaf}", TWINS[1]))?.bytes = original;
    }
    weights.entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

/// Takes the exclusion of one plain layer out of the config.
pub(super) fn promise(config: &mut Value) -> Result<()> {
    let ignore = config
        .pointer_mut("/quantization_config/ignore")
        .and_then(Value::as_array_mut)
        .context("the sample's config has no list of exclusions")?;
    let before = ignore.len();
    ignore.retain(|pattern| pattern.as_str() != Some(PROMISED));
    if ignore.len() + 1 != before {
        bail!("the sample's config does not exclude {PROMISED} by name: {ignore:?}");
    }
    Ok(())
}

fn halve_scales(scales: &mut Entry) -> Result<()> {
    let [rows, cols] = scales.shape[..] else {
        bail!("{}: a scale of {:?} is no matrix", scales.name, scales.shape)
    };
    if cols % 2 != 0 {
        bail!("{}: {cols} columns have no half", scales.name);
    }
    scales.bytes.truncate(usize::try_from(rows * cols / 2)?);
    scales.shape = vec![rows, cols / 2];
    Ok(())
}

fn first_byte(entry: &mut Entry) -> Result<&mut u8> {
    entry.bytes.first_mut().with_context(|| format!("{} is empty", entry.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_planted_once() {
        let mut config =
            serde_json::json!({"quantization_config": {"ignore": ["encoder.conv_in", "decoder.conv_in"]}});
        promise(&mut config).unwrap();
        assert_eq!(config["quantization_config"]["ignore"], serde_json::json!(["decoder.conv_in"]));
        assert!(promise(&mut config).is_err());
    }
}
