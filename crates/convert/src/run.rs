//! Carrying a plan out: measure the source, stream tiles, write, read back, compare, commit. File by file, so that a
//! run that is stopped has finished files to go on from.

use crate::ahead::{Ahead, KEPT};
use crate::digest::Sha;
use crate::error::ConvertError;
use crate::journal::{self, Entries, Finished, Journal};
use crate::manifest;
use crate::noise::LayerError;
use crate::passage::{Passage, Promised, length, settle, taken};
use crate::plan::{Place, Plan, PlanFile, PlanTensor, Step};
use crate::recipe::Recipe;
use crate::survey::Survey;
use crate::write::TensorWriter;
use futures_util::future::{LocalBoxFuture, try_join};
use quantscope_audit::{Checkpoint, Engines, FallbackEngine, Model};
use quantscope_format::{Arrange as _, Gather as _};
use quantscope_format::{Control, Limits, Sink, natural_cmp};
use quantscope_kernels::Engine;
use std::collections::BTreeMap;

/// What a conversion did.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Files under their final names, with their lengths.
    pub files: Vec<(String, u64)>,
    /// Tensors copied unchanged.
    pub copied: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Engine at the end.
    pub engine: String,
    /// Why the engine changed on the way, if it did.
    pub engine_note: Option<String>,
    /// Errors of what was packed, decoded or cast, by layer or tensor in natural order.
    pub errors: Vec<LayerError>,
    /// What turned out on the way that the plan could not know.
    pub notes: Vec<String>,
}

/// Carries a plan out.
///
/// # Errors
/// If the plan refuses layers, a source, the sink or the engine fails, a tensor turns out not to be convertible, the user cancels,
/// or what is read back differs. Nothing is left under a final name then.
#[allow(clippy::too_many_arguments, reason = "all that a conversion touches, each of it owned elsewhere")]
pub async fn run(
    checkpoint: &Checkpoint,
    model: &Model,
    plan: &Plan,
    recipe: &Recipe,
    engines: Engines<'_>,
    limits: &Limits,
    sink: &mut dyn Sink,
    control: &dyn Control,
) -> Result<Outcome, ConvertError> {
    plan.check()?;
    let engine = FallbackEngine::new(engines);
    let ahead = Ahead::new(KEPT);
    let mut job = Job {
        checkpoint,
        model,
        plan,
        recipe,
        engine: &engine,
        ahead: &ahead,
        groups: plan
            .groups
            .iter()
            .enumerate()
            .flat_map(|(g, group)| group.iter().map(move |&i| (i, g)))
            .collect(),
        passage: Passage::new(checkpoint, limits, control),
        errors: BTreeMap::new(),
        notes: Vec::new(),
        copied: 0,
        has_journal: false,
    };
    let written = job.carry_out(sink).await;
    let files = settle(sink, written).await?;
    let mut errors: Vec<LayerError> = job.errors.into_values().collect();
    errors.arrange_by(|a, b| natural_cmp(&a.name, &b.name));
    Ok(Outcome {
        files,
        copied: job.copied,
        bytes_written: job.passage.bytes_written,
        engine: engine.description(),
        engine_note: engine.note(),
        errors,
        notes: job.notes,
    })
}

/// A conversion in progress.
pub(crate) struct Job<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) model: &'a Model,
    pub(crate) plan: &'a Plan,
    pub(crate) recipe: &'a Recipe,
    pub(crate) engine: &'a FallbackEngine<'a>,
    /// What is known of the source.
    pub(crate) ahead: &'a Ahead,
    /// The group of each packed layer that shares its maximum with others.
    pub(crate) groups: BTreeMap<usize, usize>,
    /// Bytes on their way.
    pub(crate) passage: Passage<'a>,
    /// Errors by the tensor that has them.
    pub(crate) errors: BTreeMap<String, LayerError>,
    /// What turned out on the way.
    pub(crate) notes: Vec<String>,
    copied: u64,
    has_journal: bool,
}

fn promised(file: &PlanFile) -> Promised<'_> {
    let tensors = file.tensors.iter().map(|t| (t.spec.name.as_str(), t.span.clone())).collect();
    Promised { name: &file.name, header: &file.header, len: file.len, tensors }
}

impl<'a> Job<'a> {
    async fn carry_out(&mut self, sink: &mut dyn Sink) -> Result<Vec<(String, u64)>, ConvertError> {
        let fingerprint = journal::fingerprint(self.plan, self.recipe).await?;
        let journal = match sink.stopped_run().await? {
            Some(bytes) => {
                let journal = Journal::read(&bytes, &fingerprint)?;
                let finished: Vec<String> = journal.finished.keys().cloned().collect();
                sink.keep_only(&finished).await?;
                journal
            }
            None => Journal::new(&fingerprint),
        };
        let lengths = |files: &[PlanFile]| files.iter().map(|f| f.len).fold(0, u64::saturating_add);
        let done = |file: &&PlanFile| journal.finished.contains_key(&file.name);
        let there = self.plan.files.iter().filter(done).map(|f| f.len).fold(0, u64::saturating_add);
        self.check_equal().await?;
        sink.reserve(self.plan.bytes_to_write(self.checkpoint).saturating_sub(there)).await?;
        self.weigh_recasts().await?;
        // Each byte is written once and read back once.
        let total = lengths(&self.plan.files).saturating_mul(2);
        self.passage.begin("Converting", total.saturating_add(self.checkpoint.byte_len()));
        let survey: LocalBoxFuture<'_, _> = Box::pin(Survey::new(self, sink).run());
        let continues = !journal.finished.is_empty();
        // Boxed, or the program would hold all of it once for each of the two ways.
        let write: LocalBoxFuture<'_, _> = Box::pin(self.write(sink, journal));
        if continues {
            // What is finished is only taken over from the same source.
            survey.await?;
            return write.await;
        }
        // What is measured is written at once, where reading leaves time for it.
        Ok(try_join(survey, write).await?.1)
    }

    /// Writes everything.
    async fn write(
        &mut self,
        sink: &mut dyn Sink,
        mut journal: Journal,
    ) -> Result<Vec<(String, u64)>, ConvertError> {
        if self.ahead.is_done() {
            self.check_maxima().await?;
            self.begin_journal(sink, &mut journal).await?;
        }
        let mut files = Vec::new();
        for file in &self.plan.files {
            let finished = journal.finished.remove(&file.name);
            if !self.take_up(sink, file, finished).await? {
                self.make_file(sink, file, &mut journal).await?;
            }
            self.passage.bytes_written = self.passage.bytes_written.saturating_add(file.len);
            files.push((file.name.clone(), file.len));
        }
        for (name, bytes) in &self.plan.texts {
            files.push(self.passage.write_text(sink, name, bytes).await?);
        }
        for name in &self.plan.copies {
            files.extend(self.passage.copy_file(sink, name).await?);
        }
        let sources = self.ahead.sources().await;
        let manifest = || {
            let of = (self.checkpoint, self.model);
            manifest::of_conversion(of, self.plan, self.recipe, &sources, &self.passage, &self.errors)
        };
        let manifest = self.passage.write_pieces(sink, manifest::NAME, &manifest).await?;
        files.push(self.passage.keep_other(manifest));
        self.passage.check_sources().await?;
        Ok(files)
    }

    /// Begins the journal, unless it is begun, once it is known what the source is: before anything counts as finished.
    fn begin_journal<'s>(
        &'s mut self,
        sink: &'s mut dyn Sink,
        journal: &'s mut Journal,
    ) -> LocalBoxFuture<'s, Result<(), ConvertError>> {
        Box::pin(async move {
            if self.has_journal {
                return Ok(());
            }
            journal.compare_sources(&self.ahead.sources().await)?;
            sink.begin_journal(&journal.bytes()).await?;
            self.has_journal = true;
            Ok(())
        })
    }

    /// Takes over a file that a stopped run has finished, if it is what that run says and this plan promises.
    async fn take_up(
        &mut self,
        sink: &mut dyn Sink,
        file: &'a PlanFile,
        finished: Option<Finished>,
    ) -> Result<bool, ConvertError> {
        let Some(finished) = finished else { return Ok(false) };
        let Some(source) = sink.take_up(&file.name).await? else { return Ok(false) };
        let is_right = |name: &str, _, hash: Sha| {
            finished.hashes.get(name).is_some_and(|known| *known == hash.to_string())
        };
        let hashes = match self.passage.compare(source.as_ref(), &promised(file), is_right).await {
            Ok(hashes) => hashes.into_iter().gather_map(),
            // It is not what it was: it is made again.
            Err(ConvertError::ReadBack { .. } | ConvertError::Source(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.passage.step(&file.name, file.len)?;
        // What the journal says of tensors that are not in this file is not its to say.
        self.errors
            .extend(finished.errors.into_iter().filter(|(name, _)| hashes.contains_key(name.as_str())));
        self.passage.hashes.extend(hashes);
        self.notes.extend(finished.notes);
        self.copied = self.copied.saturating_add(finished.copied);
        Ok(true)
    }

    /// Writes a file of weights, reads it back and keeps in the journal that it is finished.
    async fn make_file(
        &mut self,
        sink: &mut dyn Sink,
        file: &'a PlanFile,
        journal: &mut Journal,
    ) -> Result<(), ConvertError> {
        let (copied, notes) = (self.copied, self.notes.len());
        sink.create(&file.name, file.len).await?;
        self.write_file(sink, file).await?;
        self.passage.read_back(sink, &promised(file)).await?;
        self.begin_journal(sink, journal).await?;
        // Nothing that was made of another source may count as finished.
        self.passage.check_sources().await?;
        let names = || file.tensors.iter().map(|t| t.spec.name.as_str());
        let finished = Finished {
            file: file.name.clone(),
            hashes: Entries(|| names().filter_map(|name| Some((name, self.passage.hashes.get(name)?)))),
            errors: Entries(|| names().filter_map(|name| Some((name, self.errors.get(name)?)))),
            notes: self.notes.get(notes..).unwrap_or_default().to_vec(),
            copied: self.copied.saturating_sub(copied),
        };
        sink.finish(&file.name, &finished.line()).await?;
        Ok(())
    }

    async fn write_file(&mut self, sink: &mut dyn Sink, file: &'a PlanFile) -> Result<(), ConvertError> {
        sink.write_at(&file.name, 0, &file.header).await?;
        // Where the block scales of each packed layer go: looked up once a layer, in files of many thousands.
        let block_scales: BTreeMap<usize, &PlanTensor> = file
            .tensors
            .iter()
            .filter_map(|t| if let Step::BlockScales(i) = t.step { Some((i, t)) } else { None })
            .gather_map();
        // While the source is being measured, layers are packed and tensors copied as they come.
        let (waits, end) = (!self.ahead.is_done(), (u32::MAX, u64::MAX));
        let due = |tensor| self.due(tensor).filter(|_| waits).unwrap_or(end);
        let mut order: Vec<((u32, u64), &PlanTensor)> = file.tensors.iter().map(|t| (due(t), t)).collect();
        order.arrange_by_key(|(due, _)| *due);
        for (_, tensor) in order {
            let name = tensor.spec.name.as_str();
            let number = match &tensor.step {
                Step::Scalar(i, leaf) => self.scalar(*i, leaf).await?,
                Step::Constant(value) => Some(*value),
                Step::Largest(places) => Some(self.largest(places).await?),
                _ => None,
            };
            if let Some(number) = number {
                let mut writer = TensorWriter::new(&file.name, tensor.span.start);
                writer.write(sink, &number.to_le_bytes()).await?;
                self.passage.written.insert(name, writer.finish());
                continue;
            }
            match &tensor.step {
                Step::Copy(place) => self.copy_tensor(sink, file, tensor, place).await?,
                Step::Rows(rows) => self.copy_rows(sink, file, tensor, rows).await?,
                Step::Join(places, None) => self.join_tensors(sink, file, tensor, places).await?,
                Step::Join(places, Some(from)) => {
                    self.cast_tensor(sink, file, tensor, (places, *from)).await?;
                }
                Step::Same(places) => {
                    self.join_tensors(sink, file, tensor, places.get(..1).unwrap_or_default()).await?;
                }
                Step::Cast(place, from) => {
                    self.cast_tensor(sink, file, tensor, (std::slice::from_ref(place), *from)).await?;
                }
                Step::Decoded(i) => self.decode_layer(sink, file, tensor, *i).await?,
                Step::Recast(i, output) => self.recast_layer(sink, file, tensor, (*i, *output)).await?,
                Step::Codes(i) => {
                    self.pack(sink, file, *i, (tensor, block_scales.get(i).copied())).await?;
                }
                // Written together with the codes; numbers are written above.
                Step::BlockScales(_) | Step::Scalar(..) | Step::Constant(_) | Step::Largest(_) => {}
            }
        }
        Ok(())
    }

    async fn copy_tensor(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        tensor: &'a PlanTensor,
        place: &Place,
    ) -> Result<(), ConvertError> {
        let (name, offset) = (tensor.spec.name.as_str(), tensor.span.start);
        let Some((shard, source)) = self.checkpoint.tensor(place.shard, place.tensor) else { return Ok(()) };
        let range =
            source.begin.saturating_add(place.bytes.start)..source.begin.saturating_add(place.bytes.end);
        let spliced = sink.splice(&file.name, offset, &shard.file, range.clone()).await?;
        if spliced {
            self.ahead.until(place.shard, range.end).await;
        }
        if let Some(mark) = self.ahead.mark(place.shard, &range).filter(|_| spliced) {
            self.passage.written.insert(name, mark);
            self.copied += 1;
            return self.passage.step(name, range.end.saturating_sub(range.start));
        }
        let mut writer = TensorWriter::new(&file.name, offset);
        let mut at = range.start;
        while at < range.end {
            let bytes = taken(shard.source.as_ref(), at, self.tile_bytes().min(range.end - at)).await?;
            if spliced {
                writer.skip(&bytes);
            } else {
                writer.write_shared(sink, &bytes).await?;
            }
            at += length(&bytes);
            self.ahead.give_way().await;
            self.passage.step(name, length(&bytes))?;
        }
        self.passage.written.insert(name, writer.finish());
        self.copied += 1;
        Ok(())
    }
}
