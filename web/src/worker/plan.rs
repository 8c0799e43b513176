//! What a conversion would write: its plan, a window of it at a time, and the calibration that it uses.

use super::convert::summary_of;
use super::desk::Desk;
use super::js;
use crate::protocol::Reply;
use quantscope_session::api::{ConvertRequest, PlanLayer, SessionError};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

impl Desk {
    pub(super) async fn plan(
        &self,
        convert: ConvertRequest,
        calibrated: bool,
    ) -> Result<Reply, SessionError> {
        let plan = self.session()?.plan_with_refusals(&self.calibrated(convert, calibrated))?;
        // They listen by the time that the plan is carried out.
        self.engines().pool().start();
        let summary = summary_of(&plan).await;
        *self.plan.borrow_mut() = plan;
        Ok(Reply::Planned(summary))
    }

    pub(super) async fn plan_rows(
        &self,
        packed: bool,
        start: u64,
        count: u64,
    ) -> Result<Reply, SessionError> {
        let plan = self.plan.borrow();
        let rows: &[PlanLayer] = if packed { &plan.packed } else { &plan.kept };
        Ok(Reply::PlanRows(window(rows, start, count)))
    }

    pub(super) async fn result_rows(&self, start: u64, count: u64) -> Result<Reply, SessionError> {
        Ok(Reply::ResultRows(window(&self.errors.borrow(), start, count)))
    }

    pub(super) fn calibrated(&self, convert: ConvertRequest, calibrated: bool) -> ConvertRequest {
        let calibration_json = calibrated.then(|| self.calibration.borrow().clone()).flatten();
        ConvertRequest { calibration_json, ..convert }
    }

    pub(super) async fn take_calibration(&self, attached: &[JsValue]) -> Result<Reply, SessionError> {
        let file = attached.first().and_then(|file| file.dyn_ref::<Blob>());
        let file = file.ok_or_else(|| js::error("refused", "No calibration file was given."))?;
        let text = JsFuture::from(file.text())
            .await
            .map_err(|error| {
                js::error("source", format!("The calibration file could not be read: {}", js::reason(&error)))
            })?
            .as_string()
            .unwrap_or_default();
        let entries =
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).map_err(|error| {
                js::error(
                    "refused",
                    format!(
                        "The calibration file is no JSON object ({error}). It has to look like \
                     {{\"decoder.conv_out.input_quantizer\": {{\"amax\": 0.1}}}}."
                    ),
                )
            })?;
        let entries = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        *self.calibration.borrow_mut() = Some(text);
        Ok(Reply::Calibrated { entries })
    }
}

fn window<T: Clone>(rows: &[T], start: u64, count: u64) -> Vec<T> {
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    rows.iter().skip(start).take(usize::try_from(count).unwrap_or(usize::MAX)).cloned().collect()
}
