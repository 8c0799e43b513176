//! The worker's part of the lab: trials, the sweep that goes on where it stopped, proposals.

use super::desk::Desk;
use super::js;
use crate::protocol::{LabReply, LabRequest, ProposalDigest, Reply, RequestId, SweepDigest};
use quantscope_session::Arrange as _;
use quantscope_session::api::{Budget, PreviewRequest, SessionError, SweepOption, SweepRow};
use quantscope_session::{Session, Sweep};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Layers that a search answers.
const FOUND: usize = 12;
/// Points of the curve of mixed recipes.
const POINTS: u64 = 32;

/// A sweep, the session it is of, and its rows in the order in which they are shown.
pub(super) struct SweepHeld {
    session: Rc<Session>,
    schemes: Vec<String>,
    sweep: Sweep,
    order: Vec<usize>,
}

impl Desk {
    pub(super) async fn lab(&self, id: RequestId, request: LabRequest) -> Result<Reply, SessionError> {
        let reply = match request {
            LabRequest::Find { text } => LabReply::Found(self.session()?.layers_to_try(&text, FOUND)),
            LabRequest::Try { layer, schemes } => {
                let control = self.jobs.begin(id);
                let session = self.session()?;
                let engines = self.ready().await;
                let request = PreviewRequest { layer, schemes, ..PreviewRequest::default() };
                LabReply::Tried(session.preview(&request, engines.engines(), &control).await?)
            }
            LabRequest::Sweep { schemes } => LabReply::Swept(self.sweep(id, schemes).await?),
            LabRequest::Rows { start, count } => {
                let held = self.sweep.borrow();
                let held = held.as_ref().ok_or_else(nothing_swept)?;
                let (start, count) = (as_index(start), as_index(count));
                let rows = held.order.iter().skip(start).take(count);
                LabReply::Rows(rows.filter_map(|&at| held.sweep.rows().get(at)).cloned().collect())
            }
            LabRequest::Propose { total_bytes } => {
                let held = self.sweep.borrow();
                let held = held.as_ref().ok_or_else(nothing_swept)?;
                LabReply::Proposed(Box::new(propose(held, total_bytes)?))
            }
        };
        Ok(Reply::Lab(reply))
    }

    async fn sweep(&self, id: RequestId, schemes: Vec<String>) -> Result<SweepDigest, SessionError> {
        let control = self.jobs.begin(id);
        let session = self.session()?;
        let held = self.sweep.borrow_mut().take();
        let held = held.filter(|held| held.schemes == schemes && Rc::ptr_eq(&held.session, &session));
        let mut sweep = match held {
            Some(held) => held.sweep,
            None => session.sweep(&schemes, None, None)?,
        };
        let engines = self.ready().await;
        let stopped = loop {
            match session.sweep_step(&mut sweep, engines.engines(), &control).await {
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) => break Some(error),
            }
        };
        self.tell_engine().await;
        // What is done stays, whatever stopped the rest; a stop by the user is no failure.
        let nothing_done = sweep.rows().is_empty();
        let mut order: Vec<usize> = (0..sweep.rows().len()).collect();
        let rows = sweep.rows();
        order.arrange_by(|&a, &b| match (rows.get(a), rows.get(b)) {
            (Some(a), Some(b)) => loss(b).total_cmp(&loss(a)).then_with(|| a.name.cmp(&b.name)),
            _ => Ordering::Equal,
        });
        let held = SweepHeld { session, schemes, sweep, order };
        let digest = if nothing_done { None } else { Some(digest(&held)?) };
        *self.sweep.borrow_mut() = Some(held);
        match (stopped, digest) {
            (Some(error), _) if error.kind != "cancelled" => Err(error),
            (Some(error), None) => Err(error),
            (_, Some(digest)) => Ok(digest),
            (None, None) => Err(nothing_swept()),
        }
    }
}

fn nothing_swept() -> SessionError {
    js::error("refused", "No layer was tried yet. Try all layers first.")
}

fn as_index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// What the layer loses under the scheme that loses most.
fn loss(row: &SweepRow) -> f64 {
    row.options.iter().map(|option: &SweepOption| option.squared_error).fold(0.0, f64::max)
}

fn digest(held: &SweepHeld) -> Result<SweepDigest, SessionError> {
    let all = held.session.propose(&held.sweep, Budget::Bytes(u64::MAX))?;
    let (least, most) = (all.mix.least_bytes, all.mix.most_bytes);
    let step = most.saturating_sub(least) / POINTS;
    let mut curve = Vec::new();
    for point in 0..=POINTS {
        let total = all.other_bytes.saturating_add(least).saturating_add(step.saturating_mul(point));
        let mix = held.session.propose(&held.sweep, Budget::Bytes(total))?.mix;
        curve.push((mix.bytes, mix.squared_error));
    }
    curve.dedup();
    Ok(SweepDigest {
        schemes: held.schemes.clone(),
        done: held.sweep.rows().len() as u64,
        layers: held.sweep.layer_count() as u64,
        other_bytes: all.other_bytes,
        least_bytes: least,
        most_bytes: most,
        uniform: all.mix.uniform,
        curve,
    })
}

fn propose(held: &SweepHeld, total_bytes: u64) -> Result<ProposalDigest, SessionError> {
    let proposal = held.session.propose(&held.sweep, Budget::Bytes(total_bytes))?;
    let mut schemes: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for choice in &proposal.mix.choices {
        let (layers, bytes) = schemes.entry(choice.scheme.as_str()).or_default();
        *layers += choice.layers.len() as u64;
        *bytes = bytes.saturating_add(choice.bytes);
    }
    let mut schemes: Vec<(String, String, u64, u64)> = schemes
        .into_iter()
        .map(|(scheme, (layers, bytes))| {
            (scheme.to_string(), Session::family_of(scheme).to_string(), layers, bytes)
        })
        .collect();
    schemes.arrange_by_key(|scheme| std::cmp::Reverse(scheme.3));
    Ok(ProposalDigest {
        total_bytes: proposal.total_bytes,
        bytes: proposal.mix.bytes,
        bits_per_weight: proposal.bits_per_weight,
        squared_error: proposal.mix.squared_error,
        fits: proposal.mix.fits,
        schemes,
        request: proposal.request,
    })
}
