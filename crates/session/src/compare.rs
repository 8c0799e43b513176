//! Comparing this checkpoint with another: what differs, and which cause explains it.

use crate::Session;
use crate::api::{Comparison, Picture, SessionError};
use quantscope_audit::Engines;
use quantscope_convert::diff::{self, Side};
use quantscope_format::Control;

impl Session {
    fn side(&self) -> Side<'_> {
        Side { checkpoint: &self.checkpoint, model: &self.model }
    }

    /// Compares another checkpoint with this one, tensor by tensor; differences of values are measured on what both
    /// decode to. `rename_json` holds rules of renaming from the names here to those there; without them the names
    /// that a conversion gives are known.
    ///
    /// # Errors
    /// If the rules cannot be read, a source fails or the job is cancelled. What the files contain is no error.
    pub async fn compare(
        &self,
        other: &Self,
        rename_json: Option<&str>,
        engines: Engines<'_>,
        control: &dyn Control,
    ) -> Result<Comparison, SessionError> {
        let recipe = diff::naming(rename_json)?;
        let sides = [self.side(), other.side()];
        Ok(diff::compare(sides, &recipe, engines, &self.limits, control).await?)
    }

    /// Where the values of one layer differ, by its name here or there.
    ///
    /// # Errors
    /// As [`Self::compare`], and if the layer is not in both or has no values that can be compared.
    pub async fn compare_layer(
        &self,
        other: &Self,
        name: &str,
        rename_json: Option<&str>,
        engines: Engines<'_>,
        control: &dyn Control,
    ) -> Result<Picture, SessionError> {
        let recipe = diff::naming(rename_json)?;
        let sides = [self.side(), other.side()];
        Ok(diff::picture(sides, name, &recipe, engines, &self.limits, control).await?)
    }
}
