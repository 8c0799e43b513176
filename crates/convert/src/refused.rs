//! Layers that cannot be converted as asked: all of them are gathered before a plan is given up, so that one look
//! tells everything that must be mended or kept.

use crate::error::ConvertError;
use crate::plan::Plan;
use std::fmt;

/// Refusals that a message tells in full; the others are counted.
const TOLD: usize = 40;

/// A layer that cannot be converted as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Tensor or module.
    pub name: String,
    /// What stands against it.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}; {}", self.name, self.reason, self.remedy)
    }
}

/// Refusals, a line each.
pub(crate) fn lines(refused: &[Refused]) -> String {
    let mut text = format!("{} layers cannot be converted as asked:", refused.len());
    for one in refused.iter().take(TOLD) {
        text.push_str(&format!("\n  {one}"));
    }
    match refused.len().checked_sub(TOLD) {
        None | Some(0) => {}
        Some(more) => text.push_str(&format!("\n  and {more} more")),
    }
    text
}

/// What was made, if it was; a refusal of a layer is put on the list, other errors are passed on.
pub(crate) fn gather<T>(
    refused: &mut Vec<Refused>,
    made: Result<T, ConvertError>,
) -> Result<Option<T>, ConvertError> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(ConvertError::Tensor { tensor, reason, remedy }) => {
            refused.push(Refused { name: tensor, reason, remedy });
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Plan {
    /// Whether the plan can be carried out.
    ///
    /// # Errors
    /// If layers are refused, naming each.
    pub fn check(&self) -> Result<(), ConvertError> {
        match self.refused.as_slice() {
            [] => Ok(()),
            [Refused { name, reason, remedy }] => Err(ConvertError::Tensor {
                tensor: name.clone(),
                reason: reason.clone(),
                remedy: remedy.clone(),
            }),
            several => Err(ConvertError::Layers(several.to_vec())),
        }
    }
}
