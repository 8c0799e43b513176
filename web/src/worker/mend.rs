//! The worker's part of the Findings view: repairs, and the report as a file.

use super::desk::{Answer, Checkpoint, Desk, HEADERS};
use super::js;
use super::output::Written;
use super::sink::OpfsSink;
use crate::protocol::{RepairDigest, Reply, RequestId, ResultSummary};
use quantscope_session::Sink as _;
use quantscope_session::api::SessionError;
use quantscope_session::render::{Form, render};
use web_sys::{Blob, BlobPropertyBag};

/// Changes and findings of a plan that travel.
const TRAVEL: usize = 300;

impl Desk {
    pub(super) async fn repair_plan(&self, rules: Vec<String>) -> Result<Reply, SessionError> {
        let mut plan = self.session()?.repair_plan(&rules).await?;
        let (change_count, unmended_count) = (plan.changes.len() as u64, plan.unmended.len() as u64);
        plan.changes.truncate(TRAVEL);
        plan.unmended.truncate(TRAVEL);
        Ok(Reply::RepairPlanned(RepairDigest {
            rules,
            changes: plan.changes,
            change_count,
            unmended: plan.unmended,
            unmended_count,
            mended: plan.mended,
            bytes_before: plan.bytes_before,
            bytes_after: plan.bytes_after,
        }))
    }

    /// Tensors stay in the user's files and come in as slices: only headers and configs take room.
    pub(super) async fn repair(&self, id: RequestId, rules: Vec<String>) -> Answer {
        let control = self.jobs.begin(id);
        let Checkpoint { session, sources } = self.checkpoint()?;
        self.drop_output().await;
        let folder = self.output.begin(HEADERS).await?;
        let mut sink = OpfsSink::new(folder.clone(), sources);
        let summary = match session.repair(&rules, &mut sink, &control).await {
            Ok(summary) => summary,
            Err(error) => {
                sink.abandon().await;
                return Err(error);
            }
        };
        let files = sink.into_files();
        *self.result.borrow_mut() = Some(Written { folder: Some(folder), files: files.clone() });
        let named = |(name, blob): &(String, Blob)| (name.clone(), js::to_u64(blob.size()).unwrap_or(0));
        let result = ResultSummary {
            files: files.iter().map(named).collect(),
            copied: summary.unchanged,
            packed: summary.made,
            bytes_written: summary.bytes_written,
            read_back_equal: true,
            ..ResultSummary::default()
        };
        let blobs = files.into_iter().map(|(_, blob)| blob.into()).collect();
        Ok((Reply::Repaired(result), blobs))
    }

    pub(super) async fn report(&self, form: Form) -> Answer {
        let session = self.session()?;
        let view = session.audit_view();
        let name = view.overview.name.rsplit('/').next().unwrap_or_default().to_owned();
        let text = render(form, &[view])?;
        let options = BlobPropertyBag::new();
        options.set_type(form.media_type());
        let blob = Blob::new_with_str_sequence_and_options(&js_sys::Array::of1(&text.into()), &options)
            .map_err(|error| js::error("refused", js::reason(&error)))?;
        Ok((Reply::Report { file: format!("{name}.quantscope.{}", form.extension()) }, vec![blob.into()]))
    }
}
