//! LY601 and LY602: scales or codes in another order than their names and shapes say.

use crate::forensics::{Evidence, Order};
use crate::model::LayerInfo;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::{Finding, Severity};

pub(crate) const RULES: &[Rule] = &[LY601, LY602];

const LY601: Rule = Rule {
    id: "LY601",
    severity: Severity::Warning,
    needs: "B",
    title: "Scales in another order",
    why: "Block scales can lie row by row or in tiles of 128 x 4, in tensors of the same shape. Read in the wrong order, \
          every block gets another block's scale: shapes fit, nothing fails, accuracy drops by some percent.",
    fix: "Compare a layer with its source if there is one. If it is so, permute the bytes of the scales; values stay as \
          they are.",
    repairable: false,
    example: Example::of(
        "weight_scale  F8_E4M3 [128, 8], in tiles: 0 4 8 12 ... of column 0 after 16 bytes",
        "weight_scale  F8_E4M3 [128, 8], row by row",
    ),
};

const LY602: Rule = Rule {
    id: "LY602",
    severity: Severity::Warning,
    needs: "B",
    title: "Nibbles in another order",
    why: "Two codes share a byte; some writers put the first in the high half. Read the other way round, neighbouring \
          weights are exchanged: errors as large as the weights, with no message.",
    fix: "Compare a layer with its source if there is one. If it is so, exchange the nibbles of every byte; values \
          stay as they are.",
    repairable: false,
    example: Example::of("weight  U8: 0x12 is 1.0 then 0.5", "weight  U8: 0x21 is 1.0 then 0.5"),
};

/// A finding for scales that look otherwise than their scheme has them.
pub(crate) fn scale_order(layer: &LayerInfo, order: Order, evidence: &Evidence) -> Finding {
    let (looks, expected) = match order {
        Order::Tiled => ("in tiles of 128 x 4", "row by row"),
        Order::Linear => ("row by row", "in tiles of 128 x 4"),
    };
    let message = format!(
        "the scales of `{}` look {looks}, {} has them {expected} (likelihood {:.2}: {})",
        layer.name,
        layer.scheme.id(),
        evidence.likelihood,
        evidence.words
    );
    LY601.finding(&layer.name, message).expecting(expected, looks).touching(&layer.name)
}

/// A finding for codes that look exchanged.
pub(crate) fn nibbles(layer: &LayerInfo, evidence: &Evidence) -> Finding {
    let message = format!(
        "the nibbles of `{}` look exchanged (likelihood {:.2}: {})",
        layer.name, evidence.likelihood, evidence.words
    );
    let finding = LY602.finding(&layer.name, message);
    finding
        .expecting("the first code in the low half", "it seems to be in the high half")
        .touching(&layer.name)
}

/// A finding for a layer whose order differs from those that read the same input.
pub(crate) fn nibbles_apart(odd: &LayerInfo, other: &LayerInfo, sure: bool, evidence: &Evidence) -> Finding {
    let which =
        if sure { "is the odd one among those that read this input" } else { "or the other is exchanged" };
    let message = format!(
        "the nibbles of `{}` look exchanged against `{}`; it {which} (likelihood {:.2}: {})",
        odd.name, other.name, evidence.likelihood, evidence.words
    );
    let finding = LY602.finding(&odd.name, message).touching(&odd.name).touching(&other.name);
    finding.expecting("one order of nibbles", "two")
}
