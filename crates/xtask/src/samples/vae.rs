//! Names and shapes of a Wan-like video autoencoder, as diffusers' `AutoencoderKLWan` (0.42) has them.
//!
//! Only what a checkpoint shows: which tensors there are and how large. A test holds the list equal to a
//! real one's header.

/// Sizes that the structure follows from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// Channels of the first block.
    pub(crate) base_dim: u64,
    /// Channels of each stage, in multiples of `base_dim`.
    pub(crate) dim_mult: [u64; 4],
    /// Residual blocks per stage of the encoder; the decoder has one more.
    pub(crate) num_res_blocks: u64,
    /// Channels of the latent.
    pub(crate) z_dim: u64,
}

/// Stages of the encoder that halve time too; the decoder doubles it in the mirrored ones.
const TEMPORAL_DOWNSAMPLE: [bool; 3] = [false, true, true];
/// Channels of a picture.
const PICTURE: u64 = 3;

/// What a tensor is, as far as its values depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Kernel of a convolution `[O, C, …]`.
    Kernel,
    /// Its bias.
    Bias,
    /// Gain of a norm.
    Gain,
}

/// A tensor of the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) part: Part,
}

/// Every tensor, sorted by name, as diffusers saves them.
pub(crate) fn tensors(sizes: &Sizes) -> Vec<Tensor> {
    let mut list = List::default();
    encoder(&mut list, sizes);
    decoder(&mut list, sizes);
    list.conv("quant_conv", sizes.z_dim * 2, sizes.z_dim * 2, &[1, 1, 1]);
    list.conv("post_quant_conv", sizes.z_dim, sizes.z_dim, &[1, 1, 1]);
    list.0.sort_by(|a, b| a.name.cmp(&b.name));
    list.0
}

fn encoder(list: &mut List, sizes: &Sizes) {
    let stages = sizes.dim_mult.map(|factor| sizes.base_dim * factor);
    list.conv("encoder.conv_in", sizes.base_dim, PICTURE, &[3, 3, 3]);
    let mut channels = sizes.base_dim;
    let mut block = 0;
    for (stage, &out) in stages.iter().enumerate() {
        for _ in 0..sizes.num_res_blocks {
            list.residual(&format!("encoder.down_blocks.{block}"), channels, out);
            channels = out;
            block += 1;
        }
        if let Some(&temporal) = TEMPORAL_DOWNSAMPLE.get(stage) {
            let path = format!("encoder.down_blocks.{block}");
            list.conv(&format!("{path}.resample.1"), out, out, &[3, 3]);
            if temporal {
                list.conv(&format!("{path}.time_conv"), out, out, &[3, 1, 1]);
            }
            block += 1;
        }
    }
    list.middle("encoder.mid_block", channels);
    list.gain("encoder.norm_out", &[channels, 1, 1, 1]);
    list.conv("encoder.conv_out", sizes.z_dim * 2, channels, &[3, 3, 3]);
}

fn decoder(list: &mut List, sizes: &Sizes) {
    let mut stages = sizes.dim_mult.map(|factor| sizes.base_dim * factor);
    stages.reverse();
    let mut channels = stages[0];
    list.conv("decoder.conv_in", channels, sizes.z_dim, &[3, 3, 3]);
    list.middle("decoder.mid_block", channels);
    for (stage, &out) in stages.iter().enumerate() {
        let path = format!("decoder.up_blocks.{stage}");
        for block in 0..=sizes.num_res_blocks {
            list.residual(&format!("{path}.resnets.{block}"), channels, out);
            channels = out;
        }
        if let Some(&temporal) = TEMPORAL_DOWNSAMPLE.iter().rev().nth(stage) {
            let path = format!("{path}.upsamplers.0");
            list.conv(&format!("{path}.resample.1"), out / 2, out, &[3, 3]);
            if temporal {
                list.conv(&format!("{path}.time_conv"), out * 2, out, &[3, 1, 1]);
            }
            channels = out / 2;
        }
    }
    list.gain("decoder.norm_out", &[channels, 1, 1, 1]);
    list.conv("decoder.conv_out", PICTURE, channels, &[3, 3, 3]);
}

#[derive(Default)]
struct List(Vec<Tensor>);

impl List {
    fn conv(&mut self, path: &str, out: u64, channels: u64, kernel: &[u64]) {
        let shape = [&[out, channels], kernel].concat();
        self.0.push(Tensor { name: format!("{path}.weight"), shape, part: Part::Kernel });
        self.0.push(Tensor { name: format!("{path}.bias"), shape: vec![out], part: Part::Bias });
    }

    fn gain(&mut self, path: &str, shape: &[u64]) {
        self.0.push(Tensor { name: format!("{path}.gamma"), shape: shape.to_vec(), part: Part::Gain });
    }

    fn residual(&mut self, path: &str, channels: u64, out: u64) {
        self.gain(&format!("{path}.norm1"), &[channels, 1, 1, 1]);
        self.conv(&format!("{path}.conv1"), out, channels, &[3, 3, 3]);
        self.gain(&format!("{path}.norm2"), &[out, 1, 1, 1]);
        self.conv(&format!("{path}.conv2"), out, out, &[3, 3, 3]);
        if channels != out {
            self.conv(&format!("{path}.conv_shortcut"), out, channels, &[1, 1, 1]);
        }
    }

    fn middle(&mut self, path: &str, channels: u64) {
        self.residual(&format!("{path}.resnets.0"), channels, channels);
        self.gain(&format!("{path}.attentions.0.norm"), &[channels, 1, 1]);
        self.conv(&format!("{path}.attentions.0.to_qkv"), channels * 3, channels, &[1, 1]);
        self.conv(&format!("{path}.attentions.0.proj"), channels, channels, &[1, 1]);
        self.residual(&format!("{path}.resnets.1"), channels, channels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::path::Path;

    /// Names and shapes in the header of a checkpoint that diffusers wrote.
    fn real() -> BTreeMap<String, Vec<u64>> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/data/golden/_src/wan_vae/diffusion_pytorch_model.safetensors");
        let bytes = std::fs::read(file).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let header = &bytes[8..8 + usize::try_from(length).unwrap()];
        let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(header).unwrap();
        header
            .into_iter()
            .filter(|(name, _)| name != "__metadata__")
            .map(|(name, entry)| (name, serde_json::from_value(entry["shape"].clone()).unwrap()))
            .collect()
    }

    #[test]
    fn the_structure_is_that_of_a_real_checkpoint() {
        let sizes = Sizes { base_dim: 3, dim_mult: [1; 4], num_res_blocks: 1, z_dim: 16 };
        let ours: BTreeMap<String, Vec<u64>> =
            tensors(&sizes).into_iter().map(|t| (t.name, t.shape)).collect();
        assert_eq!(ours, real());
    }
}
