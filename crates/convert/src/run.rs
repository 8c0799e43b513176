//! Carrying a plan out: measure maxima, stream tiles, write, read back, compare, commit.

use crate::error::ConvertError;
use crate::manifest;
use crate::noise::{LayerError, Noise};
use crate::plan::{Place, Plan, PlanFile, PlanTensor, Step};
use crate::recipe::Recipe;
use crate::write::{TensorWriter, hex};
use quantscope_audit::{Checkpoint, Engines, FallbackEngine, Model};
use quantscope_format::{Control, Limits, Progress, Sink, Source};
use quantscope_kernels::Engine;
use sha2::{Digest, Sha256};
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
    /// Errors by packed layer.
    pub errors: Vec<LayerError>,
    /// What turned out on the way that the plan could not know.
    pub notes: Vec<String>,
}

/// Carries a plan out.
///
/// # Errors
/// If a source, the sink or the engine fails, a tensor turns out not to be convertible, the user cancels,
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
    let engine = FallbackEngine::new(engines);
    let mut job = Job {
        checkpoint,
        model,
        plan,
        recipe,
        engine: &engine,
        limits,
        control,
        phase: "",
        done: 0,
        total: 0,
        hashes: BTreeMap::new(),
        errors: Vec::new(),
        notes: Vec::new(),
        copied: 0,
        bytes_written: 0,
    };
    let done = match job.carry_out(sink).await {
        Ok(files) => sink.commit().await.map(|()| files).map_err(ConvertError::from),
        Err(error) => Err(error),
    };
    match done {
        Ok(files) => Ok(Outcome {
            files,
            copied: job.copied,
            bytes_written: job.bytes_written,
            engine: engine.description(),
            engine_note: engine.note(),
            errors: job.errors,
            notes: job.notes,
        }),
        Err(error) => {
            sink.abandon().await;
            Err(error)
        }
    }
}

/// A conversion in progress.
pub(crate) struct Job<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) model: &'a Model,
    pub(crate) plan: &'a Plan,
    pub(crate) recipe: &'a Recipe,
    pub(crate) engine: &'a FallbackEngine<'a>,
    pub(crate) limits: &'a Limits,
    control: &'a dyn Control,
    phase: &'static str,
    done: u64,
    total: u64,
    /// SHA-256 of every output tensor by name.
    pub(crate) hashes: BTreeMap<String, String>,
    /// Errors by packed layer, in the plan's order.
    pub(crate) errors: Vec<LayerError>,
    /// What turned out on the way.
    pub(crate) notes: Vec<String>,
    copied: u64,
    bytes_written: u64,
}

pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

pub(crate) fn sized(len: u64) -> Vec<u8> {
    vec![0; usize::try_from(len).unwrap_or(0)]
}

impl<'a> Job<'a> {
    async fn carry_out(&mut self, sink: &mut dyn Sink) -> Result<Vec<(String, u64)>, ConvertError> {
        let maxima = self.measure().await?;
        let sources = self.hash_sources().await?;
        let total = self.plan.files.iter().map(|f| f.len).fold(0, u64::saturating_add);
        self.begin("Converting", total);
        self.errors = self.plan.packed.iter().map(|p| Noise::default().finish(&p.name)).collect();
        let mut files = Vec::new();
        for file in &self.plan.files {
            sink.create(&file.name, file.len).await?;
            self.write_file(sink, file, &maxima).await?;
            files.push((file.name.clone(), file.len));
        }
        for (name, bytes) in &self.plan.texts {
            files.push(self.write_text(sink, name, bytes).await?);
        }
        for name in &self.plan.copies {
            files.extend(self.copy_file(sink, name).await?);
        }
        let manifest = manifest::write(
            (self.checkpoint, self.model),
            self.plan,
            self.recipe,
            &sources,
            &self.hashes,
            &self.errors,
        );
        files.push(self.write_text(sink, manifest::NAME, &manifest).await?);
        self.read_back(sink).await?;
        Ok(files)
    }

    pub(crate) fn begin(&mut self, phase: &'static str, total: u64) {
        (self.phase, self.done, self.total) = (phase, 0, total);
    }

    /// Tells of progress, and stops if the user wants it.
    pub(crate) fn step(&mut self, item: &str, bytes: u64) -> Result<(), ConvertError> {
        self.done = self.done.saturating_add(bytes);
        self.control.progress(&Progress {
            phase: self.phase.into(),
            item: item.into(),
            done_bytes: self.done.min(self.total),
            total_bytes: self.total,
        });
        if self.control.is_cancelled() { Err(ConvertError::Cancelled) } else { Ok(()) }
    }

    /// Length and SHA-256 of every source shard.
    async fn hash_sources(&mut self) -> Result<Vec<(String, u64, String)>, ConvertError> {
        self.begin("Hashing the source", self.checkpoint.byte_len());
        let mut sources = Vec::new();
        for shard in &self.checkpoint.shards {
            let hash = self.hash_range(shard.source.as_ref(), &shard.file, 0, shard.header.file_len).await?;
            sources.push((shard.file.clone(), shard.header.file_len, hash));
        }
        Ok(sources)
    }

    async fn hash_range(
        &mut self,
        source: &dyn Source,
        item: &str,
        begin: u64,
        end: u64,
    ) -> Result<String, ConvertError> {
        let mut hash = Sha256::new();
        let mut offset = begin;
        while offset < end {
            let mut bytes = sized(self.limits.tile_bytes.min(end - offset));
            source.read(offset, &mut bytes).await?;
            hash.update(&bytes);
            offset += length(&bytes);
            self.step(item, length(&bytes))?;
        }
        Ok(hex(&hash.finalize()))
    }

    async fn write_file(
        &mut self,
        sink: &mut dyn Sink,
        file: &'a PlanFile,
        maxima: &[f32],
    ) -> Result<(), ConvertError> {
        sink.write_at(&file.name, 0, &file.header).await?;
        self.bytes_written = self.bytes_written.saturating_add(file.len);
        // Where the block scales of each packed layer go: looked up once a layer, in files of many thousands.
        let block_scales: BTreeMap<usize, &PlanTensor> = file
            .tensors
            .iter()
            .filter_map(|t| if let Step::BlockScales(i) = t.step { Some((i, t)) } else { None })
            .collect();
        for tensor in &file.tensors {
            let name = tensor.spec.name.as_str();
            let number = match &tensor.step {
                Step::Scalar(i, leaf) => self.scalar(*i, leaf, maxima)?,
                Step::Constant(value) => Some(*value),
                _ => None,
            };
            if let Some(number) = number {
                let mut writer = TensorWriter::new(&file.name, tensor.span.start);
                writer.write(sink, &number.to_le_bytes()).await?;
                self.hashes.insert(name.to_string(), writer.finish());
                continue;
            }
            match &tensor.step {
                Step::Copy(place) => self.copy_tensor(sink, file, tensor, place).await?,
                Step::Cast(place, from) => self.cast_tensor(sink, file, tensor, (place, *from)).await?,
                Step::Decoded(i) => self.decode_layer(sink, file, tensor, *i).await?,
                Step::Recast(i, output) => self.recast_layer(sink, file, tensor, (*i, *output)).await?,
                Step::Codes(i) => {
                    self.pack(sink, file, *i, (tensor, block_scales.get(i).copied()), maxima).await?;
                }
                // Written together with the codes; numbers are written above.
                Step::BlockScales(_) | Step::Scalar(..) | Step::Constant(_) => {}
            }
        }
        Ok(())
    }

    async fn copy_tensor(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        tensor: &PlanTensor,
        place: &Place,
    ) -> Result<(), ConvertError> {
        let (name, offset) = (tensor.spec.name.as_str(), tensor.span.start);
        let Some((shard, source)) = self.checkpoint.tensor(place.shard, place.tensor) else { return Ok(()) };
        let range =
            source.begin.saturating_add(place.bytes.start)..source.begin.saturating_add(place.bytes.end);
        let spliced = sink.splice(&file.name, offset, &shard.file, range.clone()).await?;
        let mut writer = TensorWriter::new(&file.name, offset);
        let mut at = range.start;
        while at < range.end {
            let mut bytes = sized(self.limits.tile_bytes.min(range.end - at));
            shard.source.read(at, &mut bytes).await?;
            if spliced {
                writer.skip(&bytes);
            } else {
                writer.write(sink, &bytes).await?;
            }
            at += length(&bytes);
            self.step(name, length(&bytes))?;
        }
        self.hashes.insert(name.to_string(), writer.finish());
        self.copied += 1;
        Ok(())
    }

    async fn write_text(
        &mut self,
        sink: &mut dyn Sink,
        name: &str,
        bytes: &[u8],
    ) -> Result<(String, u64), ConvertError> {
        sink.create(name, length(bytes)).await?;
        sink.write_at(name, 0, bytes).await?;
        self.bytes_written = self.bytes_written.saturating_add(length(bytes));
        Ok((name.to_string(), length(bytes)))
    }

    async fn copy_file(
        &mut self,
        sink: &mut dyn Sink,
        name: &str,
    ) -> Result<Option<(String, u64)>, ConvertError> {
        let Some(file) = self.checkpoint.other_files.iter().find(|f| f.path == name) else { return Ok(None) };
        let len = file.source.len();
        sink.create(name, len).await?;
        let mut offset = 0;
        while offset < len {
            let mut bytes = sized(self.limits.tile_bytes.min(len - offset));
            file.source.read(offset, &mut bytes).await?;
            sink.write_at(name, offset, &bytes).await?;
            offset += length(&bytes);
            self.step(name, 0)?;
        }
        self.bytes_written = self.bytes_written.saturating_add(len);
        Ok(Some((name.to_string(), len)))
    }

    /// Reads every weight file back and compares header and tensors with what was promised.
    async fn read_back(&mut self, sink: &mut dyn Sink) -> Result<(), ConvertError> {
        self.begin("Reading back", self.plan.files.iter().map(|f| f.len).fold(0, u64::saturating_add));
        for file in &self.plan.files {
            let differs =
                |what: &str| ConvertError::ReadBack { file: file.name.clone(), what: what.to_string() };
            let source = sink.read_back(&file.name).await?;
            let mut header = sized(length(&file.header));
            if source.len() != file.len {
                return Err(differs("its length"));
            }
            source.read(0, &mut header).await?;
            if header != file.header {
                return Err(differs("its header"));
            }
            for tensor in &file.tensors {
                let name = tensor.spec.name.as_str();
                let hash = self.hash_range(source.as_ref(), name, tensor.span.start, tensor.span.end).await?;
                if self.hashes.get(name) != Some(&hash) {
                    return Err(differs(name));
                }
            }
        }
        Ok(())
    }
}
