//! One pair of layers: its weight, what stands beside it, and what that says together.

use crate::diff::claim::{self, Cause};
use crate::diff::pairs::{Pair, Pairs};
use crate::diff::tensors::{Likeness, Stored};
use crate::diff::values::{Distance, Rows};
use crate::diff::{Difference, Job, Side};
use crate::error::ConvertError;
use crate::plan::Place;
use crate::trial::ErrorMap;
use crate::trial::errors::ErrorCells;
use crate::views::View;
use quantscope_audit::{LayerInfo, Leaf, Member};
use quantscope_format::Arrange as _;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Role, leak, role_of};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// The errors of one layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Module path in the first checkpoint.
    pub a: String,
    /// Module path in the second.
    pub b: String,
    /// Rows and columns that were compared.
    pub size: [u64; 2],
    /// Signal to noise in dB.
    pub sqnr_db: Option<f64>,
    /// Largest difference.
    pub max_abs: f64,
    /// Where the differences are.
    pub map: ErrorMap,
}

/// Bytes by which most tensors are told apart.
const PROBE_BYTES: u64 = 4096;

/// The tensor of a leaf: whole, or the part that a pair is of.
fn stored<'a>(
    side: Side<'a>,
    layer: &LayerInfo,
    parts: &HashMap<String, View>,
    leaf: &str,
) -> Option<Stored<'a>> {
    let member = layer.member(leaf)?;
    let (_, tensor) = side.checkpoint.tensor(member.shard, member.tensor)?;
    if let Some(view) = parts.get(leaf) {
        return Some(Stored {
            side,
            place: view.place.clone(),
            dtype: view.dtype,
            shape: view.shape.clone(),
        });
    }
    let place = Place { shard: member.shard, tensor: member.tensor, bytes: 0..tensor.byte_len() };
    Some(Stored { side, place, dtype: tensor.dtype, shape: tensor.shape.to_vec() })
}

/// What is gathered of a pair.
#[derive(Default)]
struct Gathered {
    causes: BTreeSet<Cause>,
    unexplained: Vec<String>,
    notes: Vec<String>,
    distance: Option<Distance>,
}

/// Whether a tensor is a part of how a weight is stored.
fn is_of_weight(role: Role) -> bool {
    matches!(
        role,
        Role::Weight
            | Role::WeightScale
            | Role::GlobalScale
            | Role::ZeroPoint
            | Role::Correction
            | Role::Layout
    )
}

impl<'a> Job<'a> {
    fn layers(&self, pair: &Pair) -> Option<(&'a LayerInfo, &'a LayerInfo)> {
        Some((self.a.model.layers.get(pair.a)?, self.b.model.layers.get(pair.b)?))
    }

    /// Compares a pair; `None` if nothing differs.
    pub(crate) async fn layer(
        &mut self,
        pair: &Pair,
        pairs: &Pairs,
    ) -> Result<Option<Difference>, ConvertError> {
        let Some((a, b)) = self.layers(pair) else { return Ok(None) };
        self.item.clone_from(&b.name);
        let mut found = Gathered::default();
        if a.name != b.name {
            found.causes.insert(Cause::Renamed);
        }
        if pair.is_split() {
            found.causes.insert(Cause::Split);
        }
        let same_weight = self.weight(pair, a, b, &mut found).await?;
        self.others(pair, pairs, (a, b), same_weight, &mut found).await?;
        self.step(b.bytes)?;
        if found.causes.is_empty() && found.unexplained.is_empty() {
            return Ok(None);
        }
        let explained = found.unexplained.is_empty();
        let mut notes = found.unexplained;
        notes.extend(found.notes);
        let distance = found.distance.filter(|d| !d.is_equal());
        Ok(Some(Difference {
            a: Some(a.name.clone()),
            b: Some(b.name.clone()),
            causes: found.causes.into_iter().map(|c| c.id().to_string()).collect(),
            explained,
            from: a.scheme.id().into(),
            to: b.scheme.id().into(),
            shape: a.shape.clone(),
            sqnr_db: distance.as_ref().and_then(Distance::sqnr_db),
            max_abs: distance.as_ref().map(|d| d.max_abs),
            mean_abs: distance.as_ref().map(Distance::mean_abs),
            note: notes.into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>().join("; "),
        }))
    }

    /// Compares weights; answers whether their bytes, scales included, are the same.
    async fn weight(
        &mut self,
        pair: &Pair,
        a: &'a LayerInfo,
        b: &'a LayerInfo,
        found: &mut Gathered,
    ) -> Result<bool, ConvertError> {
        let weight = |side: Side<'a>, layer: &LayerInfo, parts: &HashMap<String, View>| {
            stored(side, layer, parts, layer.weight_leaf()).or_else(|| {
                let view = layer.view(side.checkpoint);
                stored(side, layer, parts, view.principal()?.leaf)
            })
        };
        let (Some(own), Some(other)) = (weight(self.a, a, &pair.parts), weight(self.b, b, &pair.parts_b))
        else {
            return Ok(false);
        };
        if a.scheme.id() == b.scheme.id() && self.all_same(pair, a, b).await? {
            return Ok(true);
        }
        let part = |parts: &'_ HashMap<String, View>, layer: &LayerInfo| {
            parts.get(layer.weight_leaf()).map(|v| (v.place.clone(), v.shape.clone()))
        };
        let (part_a, part_b) = (part(&pair.parts, a), part(&pair.parts_b, b));
        let open = |side, layer, part: &Option<(Place, Vec<u64>)>| {
            Rows::open(side, layer, part.as_ref().map(|(place, shape)| (place, shape.as_slice())))
        };
        let rows = open(self.a, a, &part_a).zip(open(self.b, b, &part_b));
        let Some((rows_a, rows_b)) = rows else {
            // What holds no numbers can only be the same or not.
            found.causes.insert(Cause::Values);
            found.unexplained.push("bytes differ, and their meaning is not known".into());
            return Ok(false);
        };
        let sizes = [rows_a.rows, rows_a.cols, rows_b.rows, rows_b.cols];
        let Some(distance) = self.distance(rows_a, rows_b, other.dtype, None).await? else {
            found.causes.insert(Cause::Shape);
            let [rows, cols, other_rows, other_cols] = sizes;
            found.unexplained.push(format!(
                "{rows} x {cols} values in the first, {other_rows} x {other_cols} in the second"
            ));
            return Ok(false);
        };
        if distance.is_padded() {
            found.causes.insert(Cause::Padded);
            let [rows, cols] = distance.padding;
            found.notes.push(format!("{rows} rows and {cols} columns of padding"));
            if distance.padding_not_zero > 0 {
                found
                    .unexplained
                    .push(format!("{} values of the padding are not zero", distance.padding_not_zero));
            }
        }
        if let Some(claim) = claim::of_values((a, own.dtype), (b, other.dtype), &distance) {
            found.causes.insert(claim.cause);
            if claim.explained { &mut found.notes } else { &mut found.unexplained }.push(match claim.note {
                note if note.is_empty() && !claim.explained => "values differ".into(),
                note => note,
            });
        }
        found.distance = Some(distance);
        Ok(false)
    }

    /// Whether all tensors that store the weight have the same bytes.
    async fn all_same(&mut self, pair: &Pair, a: &LayerInfo, b: &LayerInfo) -> Result<bool, ConvertError> {
        let of_weight = |layer: &LayerInfo| -> Vec<Leaf> {
            let leaves = layer.members.iter().map(|m| m.leaf.clone());
            let principal = layer.weight_leaf();
            leaves.filter(|l| l == principal || is_of_weight(role_of(layer.scheme, l).0)).collect()
        };
        let (mut own, mut other) = (of_weight(a), of_weight(b));
        own.arrange();
        other.arrange();
        if own != other || own.is_empty() {
            return Ok(false);
        }
        for leaf in own {
            let (Some(a), Some(b)) =
                (stored(self.a, a, &pair.parts, &leaf), stored(self.b, b, &pair.parts_b, &leaf))
            else {
                return Ok(false);
            };
            if !self.are_same(&a, &b).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Compares what stands beside the weights.
    async fn others(
        &mut self,
        pair: &Pair,
        pairs: &Pairs,
        (a, b): (&'a LayerInfo, &'a LayerInfo),
        same_weight: bool,
        found: &mut Gathered,
    ) -> Result<(), ConvertError> {
        let changed = a.scheme.id() != b.scheme.id();
        for Member { leaf, .. } in &a.members {
            let role = role_of(a.scheme, leaf).0;
            if leaf == a.weight_leaf()
                || (is_of_weight(role) && (changed || same_weight || b.member(leaf).is_some()))
            {
                continue;
            }
            let (Some(own), other) =
                (stored(self.a, a, &pair.parts, leaf), stored(self.b, b, &pair.parts_b, leaf))
            else {
                continue;
            };
            match other {
                None if leak::is_state_leaf(leaf) => {
                    found.causes.insert(Cause::State);
                }
                None if is_of_weight(role) => {
                    // In the same scheme a companion that is gone changes what the weight means, which its values
                    // have shown.
                    found.notes.push(format!("`{leaf}` is in the first alone"));
                }
                None if changed && matches!(role, Role::InputScale | Role::KvScale) => {
                    found.notes.push(format!("`{leaf}` is gone with its scheme"));
                }
                None if pair.is_split()
                    && pairs.pairs.iter().any(|p| p.a == pair.a && p.parts.contains_key(leaf.as_str())) => {}
                None => {
                    found.causes.insert(Cause::Missing);
                    found.unexplained.push(format!("`{leaf}` is missing"));
                }
                Some(other) => match self.likeness(&own, &other).await? {
                    Likeness::Same => {}
                    Likeness::Cast => {
                        found.causes.insert(Cause::Cast);
                        found.notes.push(format!("`{leaf}`: {} -> {}", own.dtype, other.dtype));
                    }
                    Likeness::Different if changed && role == Role::InputScale => {
                        found.causes.insert(Cause::Calibrated);
                    }
                    Likeness::Different => {
                        found.causes.insert(Cause::Values);
                        found.unexplained.push(format!("`{leaf}` differs"));
                    }
                },
            }
        }
        for Member { leaf, .. } in &b.members {
            let role = role_of(b.scheme, leaf).0;
            if a.member(leaf).is_some() || leaf == b.weight_leaf() || (is_of_weight(role) && changed) {
                continue;
            }
            match role {
                Role::InputScale | Role::KvScale if b.is_quantized() => {
                    found.causes.insert(Cause::Calibrated);
                }
                _ if is_of_weight(role) => found.notes.push(format!("`{leaf}` is in the second alone")),
                _ => {
                    found.causes.insert(Cause::Extra);
                    found.unexplained.push(format!("`{leaf}` is in the second alone"));
                }
            }
        }
        Ok(())
    }

    /// The errors of a pair as a picture.
    pub(crate) async fn picture(&mut self, pair: &Pair) -> Result<Option<Picture>, ConvertError> {
        let Some((a, b)) = self.layers(pair) else { return Ok(None) };
        let part = |parts: &'_ HashMap<String, View>, layer: &LayerInfo| {
            parts.get(layer.weight_leaf()).map(|v| (v.place.clone(), v.shape.clone()))
        };
        let (part_a, part_b) = (part(&pair.parts, a), part(&pair.parts_b, b));
        let open = |side, layer, part: &Option<(Place, Vec<u64>)>| {
            Rows::open(side, layer, part.as_ref().map(|(place, shape)| (place, shape.as_slice())))
        };
        let (Some(rows_a), Some(rows_b)) = (open(self.a, a, &part_a), open(self.b, b, &part_b)) else {
            return Ok(None);
        };
        let size = [rows_a.rows.min(rows_b.rows), rows_a.cols.min(rows_b.cols)];
        let mut cells = ErrorCells::new(size[0], size[1]);
        let distance = self.distance(rows_a, rows_b, Dtype::F32, Some(&mut cells)).await?;
        Ok(distance.map(|distance| Picture {
            a: a.name.clone(),
            b: b.name.clone(),
            size,
            sqnr_db: distance.sqnr_db(),
            max_abs: distance.max_abs,
            map: cells.map(),
        }))
    }

    fn whole(&self, side: Side<'a>, layer: &LayerInfo) -> Option<Stored<'a>> {
        stored(side, layer, &HashMap::new(), layer.weight_leaf())
    }

    /// A layer of the first that the second lacks: tied, state, or missing.
    pub(crate) async fn missing(&mut self, index: usize, pairs: &Pairs) -> Result<Difference, ConvertError> {
        let Some(layer) = self.a.model.layers.get(index) else { return Ok(Difference::default()) };
        let mut difference = Difference {
            a: Some(layer.name.clone()),
            from: layer.scheme.id().into(),
            shape: layer.shape.clone(),
            ..Difference::default()
        };
        let is_state = |m: &Member| leak::is_state_leaf(&m.leaf);
        if !layer.members.is_empty() && layer.members.iter().all(is_state) {
            difference.causes = vec![Cause::State.id().into()];
            difference.explained = true;
            return Ok(difference);
        }
        let partners = pairs.pairs.iter().map(|p| p.a);
        match self.twin(self.a, layer, partners).await? {
            Some(twin) => {
                difference.causes = vec![Cause::Tied.id().into()];
                difference.explained = true;
                difference.note = format!("the same values as {twin}, which stays");
            }
            None => difference.causes = vec![Cause::Missing.id().into()],
        }
        Ok(difference)
    }

    /// A layer that only the second has: a copy of another, or new.
    pub(crate) async fn extra(&mut self, index: usize) -> Result<Difference, ConvertError> {
        let Some(layer) = self.b.model.layers.get(index) else { return Ok(Difference::default()) };
        let others = (0..self.b.model.layers.len()).filter(|i| *i != index);
        let twin = self.twin(self.b, layer, others).await?;
        Ok(Difference {
            b: Some(layer.name.clone()),
            to: layer.scheme.id().into(),
            shape: layer.shape.clone(),
            explained: twin.is_some(),
            causes: vec![if twin.is_some() { Cause::Expanded } else { Cause::Extra }.id().into()],
            note: twin.map(|twin| format!("the same values as {twin}")).unwrap_or_default(),
            ..Difference::default()
        })
    }

    /// Another layer with the same weight, byte by byte.
    async fn twin(
        &mut self,
        side: Side<'a>,
        layer: &LayerInfo,
        others: impl Iterator<Item = usize>,
    ) -> Result<Option<String>, ConvertError> {
        let Some(own) = self.whole(side, layer).filter(|own| !own.place.is_empty()) else { return Ok(None) };
        let alike = |other: &&LayerInfo| other.scheme.id() == layer.scheme.id() && other.shape == layer.shape;
        for other in others.filter_map(|i| side.model.layers.get(i)).filter(alike) {
            // What is looked for is rare, and found among few; a search of all for all would never end.
            if self.probes == 0 {
                break;
            }
            self.probes -= 1;
            let Some(weight) = self.whole(side, other) else { continue };
            let begins_alike = {
                let len = own.place.len().min(PROBE_BYTES).min(weight.place.len());
                own.read(0, len).await? == weight.read(0, len).await?
            };
            if begins_alike && self.are_same(&own, &weight).await? {
                return Ok(Some(other.name.clone()));
            }
        }
        Ok(None)
    }
}
