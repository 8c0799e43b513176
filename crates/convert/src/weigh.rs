//! What taking layers over into another scheme's form changes, counted before anything is written: headers do not
//! tell it.

use crate::change::named;
use crate::error::ConvertError;
use crate::run::Job;
use quantscope_audit::LayerInfo;
use quantscope_audit::decoded::read_slab;
use quantscope_schemes::{Lossless, Recast};
use std::collections::BTreeMap;

/// Layers that lose something in the same way.
#[derive(Default)]
struct Loss {
    layers: u64,
    /// Name of the first.
    first: String,
    /// Blocks whose values change, of all blocks; both 0 where single blocks are not what changes.
    blocks: [u64; 2],
}

impl Job<'_> {
    /// Counts what will not be exactly the same, and notes it.
    pub(crate) async fn weigh_recasts(&mut self) -> Result<(), ConvertError> {
        let mut losses: BTreeMap<String, Loss> = BTreeMap::new();
        self.passage.begin("Counting what changes", 0);
        for i in 0..self.plan.changed.len() {
            let Some((layer, to)) = self.changed_layer(i) else { continue };
            let Some(recast) = self.recast(layer, to).await? else { continue };
            let Some(words) = recast.loss() else { continue };
            let blocks = match recast.lossless() {
                Lossless::Yes => continue,
                // The plan says so already.
                Lossless::No if self.plan.changed.get(i).is_some_and(|c| c.note == words) => continue,
                Lossless::No => [0, 0],
                Lossless::DataDecides => [self.inexact(layer, recast.as_ref()).await?, recast.blocks()],
            };
            if blocks == [0, recast.blocks()] && recast.blocks() > 0 {
                continue;
            }
            let loss =
                losses.entry(words).or_insert_with(|| Loss { first: layer.name.clone(), ..Loss::default() });
            loss.layers += 1;
            for (sum, count) in loss.blocks.iter_mut().zip(blocks) {
                *sum = sum.saturating_add(count);
            }
        }
        self.notes.extend(losses.into_iter().map(|(words, loss)| {
            let Loss { layers, first, blocks: [changed, all] } = loss;
            let more = layers.saturating_sub(1);
            let others = if more > 0 { format!(" and {more} other layers") } else { String::new() };
            let count = if all > 0 { format!("{changed} of {all} ") } else { String::new() };
            format!("{first}{others}: {count}{words}")
        }));
        Ok(())
    }

    /// Blocks of a layer whose values change.
    async fn inexact(&mut self, layer: &LayerInfo, recast: &dyn Recast) -> Result<u64, ConvertError> {
        let len = recast.outputs().first().map_or(0, crate::change::stored_len);
        let unit = recast.unit(0).max(1);
        let step = (self.tile_bytes() / unit).max(1).saturating_mul(unit);
        let (mut at, mut count) = (0_u64, 0_u64);
        while at < len {
            let span = at..at.saturating_add(step).min(len);
            let mut parts = Vec::new();
            for slab in recast.needs(0, span.clone()) {
                parts.push(read_slab(self.checkpoint, layer, &slab).await.map_err(|e| named(layer, e))?);
            }
            count = count.saturating_add(recast.inexact(span.clone(), &parts));
            self.passage.step(&layer.name, 0)?;
            at = span.end;
        }
        Ok(count)
    }
}
