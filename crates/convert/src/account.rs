//! What a plan tells of each output tensor beside its place: what it is made of, by which step, and whether anything
//! is lost on the way.

use crate::plan::{Place, Plan, Step};
use quantscope_audit::{Checkpoint, Model};
use quantscope_numeric::Dtype;
use quantscope_schemes::Lossless;

impl Step {
    /// What is done, in a word that scripts may rely on.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Copy(_) => "copy",
            Self::Rows(_) => "arrange",
            Self::Cast(..) | Self::Join(_, Some(_)) => "cast",
            Self::Join(_, None) => "join",
            Self::Same(_) | Self::Largest(_) => "merge",
            Self::Codes(_) => "encode",
            Self::BlockScales(_) | Self::Scalar(..) => "scale",
            Self::Constant(_) => "calibration",
            Self::Decoded(_) => "decode",
            Self::Recast(..) => "recast",
        }
    }
}

impl Plan {
    /// Names of the source tensors that an output is made of. The maxima of a fused group are not told: only whose
    /// values become these.
    #[must_use]
    pub fn inputs<'c>(&self, checkpoint: &'c Checkpoint, model: &Model, step: &Step) -> Vec<&'c str> {
        let name = |place: &Place| checkpoint.tensor(place.shard, place.tensor).map(|(_, t)| t.name);
        let layer = match step {
            Step::Copy(place) | Step::Cast(place, _) => return name(place).into_iter().collect(),
            Step::Rows(rows) => return name(&rows.place).into_iter().collect(),
            Step::Join(places, _) | Step::Same(places) | Step::Largest(places) => {
                return places.iter().filter_map(name).collect();
            }
            Step::Codes(i) | Step::BlockScales(i) | Step::Scalar(i, _) => {
                let packed = self.packed.get(*i);
                return packed.map(|p| p.places().filter_map(name).collect()).unwrap_or_default();
            }
            Step::Constant(_) => return Vec::new(),
            Step::Decoded(i) | Step::Recast(i, _) => self.changed.get(*i).map(|changed| changed.layer),
        };
        let members = layer.and_then(|layer| model.layers.get(layer)).map(|l| l.members.as_slice());
        let tensors = members.unwrap_or_default().iter().filter_map(|m| checkpoint.tensor(m.shard, m.tensor));
        tensors.map(|(_, tensor)| tensor.name).collect()
    }

    /// The scheme that an output belongs to, unless it is one that nothing is done to.
    #[must_use]
    pub fn scheme(&self, step: &Step) -> Option<&'static str> {
        match step {
            Step::Codes(i) | Step::BlockScales(i) | Step::Scalar(i, _) => {
                self.packed.get(*i).map(|p| p.scheme.id())
            }
            Step::Decoded(i) | Step::Recast(i, _) => self.changed.get(*i).map(|c| c.to.id()),
            Step::Copy(_)
            | Step::Rows(_)
            | Step::Cast(..)
            | Step::Join(..)
            | Step::Same(_)
            | Step::Largest(_)
            | Step::Constant(_) => None,
        }
    }

    /// Whether the values of an output of type `to` are exactly those of the source.
    #[must_use]
    pub fn lossless(&self, step: &Step, to: Dtype) -> Lossless {
        match step {
            // Padding is no value of a weight.
            Step::Copy(_) | Step::Rows(_) | Step::Join(_, None) | Step::Same(_) | Step::Constant(_) => {
                Lossless::Yes
            }
            // Both narrower types fit into F32; neither fits into the other, but the values at hand may.
            Step::Cast(_, from) | Step::Join(_, Some(from)) if to == Dtype::F32 || *from == to => {
                Lossless::Yes
            }
            // Equal scales stay what they are.
            Step::Cast(..) | Step::Join(..) | Step::Largest(_) => Lossless::DataDecides,
            Step::Codes(_) | Step::BlockScales(_) | Step::Scalar(..) => Lossless::No,
            Step::Decoded(i) | Step::Recast(i, _) => {
                self.changed.get(*i).map_or(Lossless::No, |c| c.lossless)
            }
        }
    }

    /// Bytes of all files that are written, the manifest left out: its length is known when it is.
    #[must_use]
    pub fn bytes_to_write(&self, checkpoint: &Checkpoint) -> u64 {
        let weights = self.files.iter().map(|f| f.len);
        let texts = self.texts.iter().map(|(_, bytes)| crate::passage::length(bytes));
        let copied = checkpoint.other_files.iter().filter(|f| self.copies.contains(&f.path));
        weights.chain(texts).chain(copied.map(|f| f.source.len())).fold(0, u64::saturating_add)
    }
}
