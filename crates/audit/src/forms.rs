//! What recognition says of a layer, asked once for layers that look alike: of 46,000 layers of a large model all but
//! some dozens do.

use crate::checkpoint::Checkpoint;
use crate::model::{LayerInfo, Member};
use quantscope_schemes::{Facts, LayerView, Recognised, recognise};
use std::collections::VecDeque;

/// What recognition says of layers that differ in nothing but their names.
#[derive(Clone)]
pub(crate) struct Form<'a> {
    /// Index of the first of them.
    layer: usize,
    facts: Facts<'a>,
    pub(crate) recognised: Recognised,
    /// Leaf name of the tensor that holds the weight.
    pub(crate) weight_leaf: &'static str,
    /// Logical shape, as far as the tensors tell.
    pub(crate) shape: Vec<u64>,
}

/// The forms that were seen last: the layers of a model repeat a few.
#[derive(Default)]
pub(crate) struct Forms<'a>(VecDeque<Form<'a>>);

impl<'a> Forms<'a> {
    /// How many are kept: a layer of a new form is compared with each.
    const MOST: usize = 8;

    /// What recognition says of a layer. It is shown the layer without its name, so that it says the same of all that
    /// look alike. `before` are the layers that were described before it.
    pub(crate) fn of(
        &mut self,
        checkpoint: &'a Checkpoint,
        layer: &LayerInfo,
        before: &[LayerInfo],
    ) -> Form<'a> {
        let facts = checkpoint.settings.facts(&layer.name, layer.declared);
        let is_alike = |form: &Form<'a>| {
            form.facts.are_those_of(&facts)
                && before.get(form.layer).is_some_and(|other| have_same_tensors(checkpoint, layer, other))
        };
        if let Some(form) = self.0.iter().find(|form| is_alike(form)) {
            return form.clone();
        }
        let nameless = LayerView { module: "", ..layer.view(checkpoint) };
        let recognised = recognise(&nameless);
        let form = Form {
            layer: before.len(),
            facts,
            recognised,
            weight_leaf: recognised.scheme.weight_leaf(&nameless),
            shape: recognised.scheme.logical_shape(&nameless),
        };
        self.0.truncate(Self::MOST - 1);
        self.0.push_front(form.clone());
        form
    }
}

/// Whether two layers have tensors of the same leaves, types and shapes, in the same order.
fn have_same_tensors(checkpoint: &Checkpoint, one: &LayerInfo, other: &LayerInfo) -> bool {
    let is_same = |(one, other): (&Member, &Member)| {
        let tensor =
            |member: &Member| checkpoint.tensor(member.shard, member.tensor).map(|(_, tensor)| tensor);
        one.leaf == other.leaf
            && match (tensor(one), tensor(other)) {
                (Some(one), Some(other)) => one.dtype == other.dtype && one.shape == other.shape,
                (one, other) => one.is_none() && other.is_none(),
            }
    };
    one.members.len() == other.members.len() && one.members.iter().zip(&other.members).all(is_same)
}
