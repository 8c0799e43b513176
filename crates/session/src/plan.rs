//! Plans as plain data: what would be written, kept and refused, layer by layer; for scripts also tensor by tensor.

use crate::Session;
use crate::api::{ConvertRequest, PlanLayer, PlanRefusal, PlanView, SessionError};
use quantscope_convert::{Plan, Recipe, Step, Ties};
use quantscope_schemes::Lossless;
use serde::{Serialize, Serializer};

/// `None` where only the data tell.
fn known(lossless: Lossless) -> Option<bool> {
    match lossless {
        Lossless::Yes => Some(true),
        Lossless::No => Some(false),
        Lossless::DataDecides => None,
    }
}

/// A plan in full, for scripts.
#[derive(Serialize)]
pub struct PlanDocument<'s> {
    /// Layers, files, sizes.
    #[serde(flatten)]
    pub view: PlanView,
    tensors: PlanTensors<'s>,
}

/// One output tensor of a plan.
#[derive(Serialize)]
struct PlanTensor<'a> {
    /// Name.
    name: &'a str,
    /// Element type, as safetensors calls it.
    dtype: &'static str,
    /// Dimensions.
    shape: &'a [u64],
    /// File.
    file: &'a str,
    /// First byte within the file.
    begin: u64,
    /// Byte after the last.
    end: u64,
    /// Source tensors whose values these are.
    inputs: Vec<&'a str>,
    /// `copy`, `cast`, `encode`, `scale`, `calibration`, `decode` or `recast`.
    step: &'static str,
    /// Scheme that it belongs to, where the step makes one.
    scheme: Option<&'static str>,
    /// Whether every value stays the same; `None` if only the data tell.
    lossless: Option<bool>,
}

/// Every output tensor, file by file in the order of their bytes. There may be hundreds of thousands: each is told
/// while it is written, and none is kept.
struct PlanTensors<'s> {
    session: &'s Session,
    plan: Plan,
}

impl Serialize for PlanTensors<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { session, plan } = self;
        let tensors =
            plan.files.iter().flat_map(|file| file.tensors.iter().map(move |tensor| (file, tensor)));
        serializer.collect_seq(tensors.map(|(file, tensor)| PlanTensor {
            name: &tensor.spec.name,
            dtype: tensor.spec.dtype.tag(),
            shape: &tensor.spec.shape,
            file: &file.name,
            begin: tensor.span.start,
            end: tensor.span.end,
            inputs: plan.inputs(&session.checkpoint, &session.model, &tensor.step),
            step: tensor.step.word(),
            scheme: plan.scheme(&tensor.step),
            lossless: known(plan.lossless(&tensor.step, tensor.spec.dtype)),
        }))
    }
}

impl Session {
    /// What a conversion would write. Reads no tensor bytes.
    ///
    /// # Errors
    /// If the conversion is refused, naming each layer and its remedy.
    pub fn plan(&self, request: &ConvertRequest) -> Result<PlanView, SessionError> {
        let plan = self.planned(request)?;
        plan.check()?;
        Ok(self.view(&plan))
    }

    /// The same; refused layers are listed instead of failing.
    ///
    /// # Errors
    /// If the request as a whole makes no sense for this checkpoint.
    pub fn plan_with_refusals(&self, request: &ConvertRequest) -> Result<PlanView, SessionError> {
        Ok(self.view(&self.planned(request)?))
    }

    /// The same with every output tensor; refused layers are listed instead of failing. Reads no tensor bytes.
    ///
    /// # Errors
    /// If the request as a whole makes no sense for this checkpoint.
    pub fn plan_document(&self, request: &ConvertRequest) -> Result<PlanDocument<'_>, SessionError> {
        let plan = self.planned(request)?;
        Ok(PlanDocument { view: self.view(&plan), tensors: PlanTensors { session: self, plan } })
    }

    fn planned(&self, request: &ConvertRequest) -> Result<Plan, SessionError> {
        let recipe: Recipe = self.recipe(request)?;
        let ties = Ties::assumed(&self.checkpoint, &self.model, &recipe)?;
        Ok(Plan::new(&self.checkpoint, &self.model, &recipe, &ties)?)
    }

    fn view(&self, plan: &Plan) -> PlanView {
        let changed = plan.changed.iter().map(|c| PlanLayer {
            name: c.name.clone(),
            kind: c.kind.id().into(),
            from: c.from.into(),
            to: c.to.id().into(),
            shape: c.shape.clone(),
            bytes_before: c.bytes_before,
            bytes_after: c.bytes_after,
            lossless: known(c.lossless),
            reason: c.note.clone(),
        });
        let packed = plan.packed.iter().map(|p| PlanLayer {
            name: p.name.clone(),
            kind: p.kind.id().into(),
            from: p.from.into(),
            to: p.scheme.id().into(),
            shape: p.shape.clone(),
            bytes_before: p.source_bytes(),
            bytes_after: p.bytes_after,
            lossless: Some(false),
            reason: String::new(),
        });
        let kept = plan.kept.iter().map(|k| PlanLayer {
            name: k.name.clone(),
            kind: k.kind.id().into(),
            from: k.scheme.into(),
            to: k.scheme.into(),
            shape: k.shape.clone(),
            bytes_before: k.bytes,
            bytes_after: k.bytes,
            lossless: Some(true),
            reason: k.reason.clone(),
        });
        let refused = plan.refused.iter().map(|r| PlanRefusal {
            name: r.name.clone(),
            reason: r.reason.clone(),
            remedy: r.remedy.clone(),
        });
        let steps = plan.files.iter().flat_map(|f| &f.tensors).map(|t| &t.step);
        let tensors_cast = crate::count(steps.filter(|step| matches!(step, Step::Cast(..))).count());
        let texts = plan.texts.iter().map(|(name, _)| name.clone());
        PlanView {
            packed: packed.chain(changed).collect(),
            kept: kept.collect(),
            tensors_cast,
            refused: refused.collect(),
            files: plan.files.iter().map(|f| (f.name.clone(), f.len)).collect(),
            other_files: texts.chain(plan.copies.iter().cloned()).collect(),
            bytes_before: plan.bytes_before,
            bytes_after: plan.bytes_after,
            bytes_tied: plan.bytes_tied,
            bytes_to_write: plan.bytes_to_write(&self.checkpoint),
            bits_before: plan.bits_before,
            bits_after: plan.bits_after,
            warnings: plan.warnings.clone(),
        }
    }
}
