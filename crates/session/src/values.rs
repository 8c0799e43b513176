//! What a layer's bytes show: a histogram of decoded values, codes counted, the largest values, the first
//! block by hand. A large layer is sampled under a fixed budget, in few reads, and the reply says so.

use crate::Session;
use crate::api::{LayerValues, SessionError};
use crate::heat::has_scales;
use crate::sampler::Sampler;
use quantscope_audit::{LayerInfo, Shard};
use quantscope_format::{Control, TensorInfo};
use quantscope_numeric::{Dtype, e8m0, widen};
use quantscope_schemes::{ScaleLayout, WEIGHT_LEAF};

/// Bytes of a tensor that are read for a picture.
pub(crate) const SAMPLE_BYTES: u64 = 4 << 20;

/// A tensor of a layer that can be read.
pub(crate) struct Part<'a> {
    shard: &'a Shard,
    pub(crate) tensor: TensorInfo<'a>,
}

impl Part<'_> {
    /// File that it stands in.
    pub(crate) fn file(&self) -> &str {
        &self.shard.file
    }

    /// Reads bytes of the tensor.
    pub(crate) async fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>, SessionError> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.shard.source.read(self.tensor.begin.saturating_add(offset), &mut bytes).await?;
        Ok(bytes)
    }
}

/// The tensor of that leaf name, if its bytes can be read.
pub(crate) fn part<'a>(session: &'a Session, layer: &LayerInfo, leaf: &str) -> Option<Part<'a>> {
    let (shard, tensor) = layer.tensor(&session.checkpoint, leaf)?;
    let usable = shard.header.is_readable(tensor) && tensor.byte_len() > 0;
    usable.then_some(Part { shard, tensor })
}

/// The tensor that holds the weight, or the one that comes nearest.
pub(crate) fn principal<'a>(session: &'a Session, layer: &LayerInfo) -> Option<Part<'a>> {
    let view = layer.view(&session.checkpoint);
    part(session, layer, layer.weight_leaf()).or_else(|| part(session, layer, view.principal()?.leaf))
}

/// Scales of a layout in F32; empty where their bytes are no numbers by themselves.
pub(crate) fn scale_values(layout: ScaleLayout, dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    match (layout, dtype) {
        (_, Dtype::F8_E8M0) | (ScaleLayout::MxBlocks { .. }, Dtype::U8) => {
            bytes.iter().map(|&byte| e8m0::decode(byte)).collect()
        }
        _ => floats(dtype, bytes),
    }
}

/// Numbers of a float type in F32; empty for other types.
pub(crate) fn floats(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let mut values = Vec::new();
    widen(dtype, bytes, &mut values);
    values
}

pub(crate) async fn read(
    session: &Session,
    name: &str,
    control: &dyn Control,
) -> Result<LayerValues, SessionError> {
    let Some(layer) = session.model.layer(name) else {
        let message = format!("there is no layer called {name:?} in this checkpoint");
        return Err(SessionError { kind: "refused".into(), message });
    };
    let mut reply = LayerValues { name: name.to_string(), ..LayerValues::default() };
    for member in &layer.members {
        let Some(scalar) = part(session, layer, &member.leaf) else { continue };
        if scalar.tensor.elements() == Some(1) && member.leaf != WEIGHT_LEAF {
            let bytes = scalar.read(0, scalar.tensor.byte_len()).await?;
            let value = floats(scalar.tensor.dtype, &bytes).first().map(|v| format!("{v:e}"));
            reply.scalars.extend(value.map(|v| (member.leaf.to_string(), v)));
        }
    }
    let Some(weight) = principal(session, layer) else { return Ok(reply) };
    let Some(sampler) = Sampler::new(session, layer, weight.tensor) else { return Ok(reply) };
    sampler.fill(&mut reply, control).await?;
    reply.has_scales = has_scales(session, layer);
    reply.block = session.block(name, 0, 0).await?;
    Ok(reply)
}
