//! Carrying a repair out: splice, write, read back, compare, commit.
//!
//! Every tensor is hashed as it lies in the source and again as it lies in the output. Nothing gets its final
//! name unless all of them are what the plan says.

use super::{Origin, RepairFile, RepairPlan, RepairTensor};
use crate::configs::producer;
use crate::error::ConvertError;
use crate::manifest;
use crate::passage::{Passage, Pieces, Promised, length, settle, sized};
use crate::survey::SourceFile;
use crate::write::TensorWriter;
use quantscope_audit::Checkpoint;
use quantscope_format::{Control, Limits, Sink};
use quantscope_numeric::{Dtype, widen};
use quantscope_schemes::kv;
use serde_json::{Value, json};
use std::sync::Arc;

/// One as an E4M3 byte.
const E4M3_ONE: u8 = 0x38;

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairOutcome {
    /// Files under their final names, with their lengths.
    pub files: Vec<(String, u64)>,
    /// Tensors whose bytes are those of the source, proven by hash.
    pub unchanged: u64,
    /// Tensors that were made anew.
    pub made: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

/// Carries a repair out.
///
/// # Errors
/// If a source or the sink fails, copies that should be equal differ, the user cancels, or what is read back
/// differs. Nothing is left under a final name then.
pub async fn run(
    checkpoint: &Checkpoint,
    plan: &RepairPlan,
    limits: &Limits,
    sink: &mut dyn Sink,
    control: &dyn Control,
) -> Result<RepairOutcome, ConvertError> {
    let mut job = Job { checkpoint, plan, passage: Passage::new(checkpoint, limits, control), unchanged: 0 };
    let written = job.carry_out(sink).await;
    let files = settle(sink, written).await?;
    Ok(RepairOutcome {
        files,
        unchanged: job.unchanged,
        made: u64::try_from(job.passage.hashes.len()).unwrap_or(u64::MAX).saturating_sub(job.unchanged),
        bytes_written: job.passage.bytes_written,
    })
}

struct Job<'a> {
    checkpoint: &'a Checkpoint,
    plan: &'a RepairPlan,
    passage: Passage<'a>,
    unchanged: u64,
}

/// Turns zeros of a float tensor into ones.
fn lift_floats(dtype: Dtype, bytes: &mut [u8]) {
    let one: &[u8] = match dtype {
        Dtype::F32 => &[0, 0, 0x80, 0x3f],
        Dtype::BF16 => &[0x80, 0x3f],
        Dtype::F16 => &[0, 0x3c],
        _ => return,
    };
    for number in bytes.chunks_exact_mut(one.len()).filter(|number| number.iter().all(|byte| *byte == 0)) {
        number.copy_from_slice(one);
    }
}

fn promised(file: &RepairFile) -> Promised<'_> {
    let tensors = file.tensors.iter().map(|t| (t.spec.name.as_str(), t.span.clone())).collect();
    Promised { name: &file.name, header: &file.header, len: file.len, tensors }
}

impl<'a> Job<'a> {
    async fn carry_out(&mut self, sink: &mut dyn Sink) -> Result<Vec<(String, u64)>, ConvertError> {
        self.compare_copies().await?;
        let sources = self.passage.hash_sources().await?;
        let total = self.plan.files.iter().map(|f| f.len).fold(0, u64::saturating_add);
        sink.reserve(total).await?;
        // Each byte is written once and read back once.
        self.passage.begin("Repairing", total.saturating_mul(2));
        let mut files = Vec::new();
        for file in &self.plan.files {
            sink.create(&file.name, file.len).await?;
            sink.write_at(&file.name, 0, &file.header).await?;
            self.passage.bytes_written = self.passage.bytes_written.saturating_add(file.len);
            for tensor in &file.tensors {
                self.write_tensor(sink, file, tensor).await?;
            }
            self.passage.read_back(sink, &promised(file)).await?;
            files.push((file.name.clone(), file.len));
        }
        for (name, bytes) in &self.plan.texts {
            files.push(self.passage.write_text(sink, name, bytes).await?);
        }
        for name in &self.plan.copies {
            files.extend(self.passage.copy_file(sink, name).await?);
        }
        let manifest = self.passage.write_pieces(sink, manifest::NAME, &|| self.manifest(&sources)).await?;
        files.push(self.passage.keep_other(manifest));
        self.passage.check_sources().await?;
        Ok(files)
    }

    /// Bytes of a tile: whole floats.
    fn tile(&self) -> u64 {
        self.passage.tile_bytes().next_multiple_of(4)
    }

    /// Of two tensors of one name, one is left out: only if they are the same.
    async fn compare_copies(&mut self) -> Result<(), ConvertError> {
        let checkpoint = self.checkpoint;
        let bytes = |p: (u32, u32)| checkpoint.tensor(p.0, p.1).map_or(0, |(_, t)| t.byte_len());
        let total = self.plan.equal.iter().map(|(a, b)| bytes(*a).saturating_add(bytes(*b)));
        self.passage.begin("Comparing copies", total.fold(0, u64::saturating_add));
        for (kept, dropped) in &self.plan.equal {
            let (Some((shard, a)), Some((other, b))) =
                (checkpoint.tensor(kept.0, kept.1), checkpoint.tensor(dropped.0, dropped.1))
            else {
                continue;
            };
            let first = self.passage.hash_range(shard.source.as_ref(), a.name, a.begin..a.end).await?;
            let second = self.passage.hash_range(other.source.as_ref(), b.name, b.begin..b.end).await?;
            if first != second {
                return Err(ConvertError::Tensor {
                    tensor: a.name.to_owned(),
                    reason: format!("has other bytes in {} than in {}", shard.file, other.file),
                    remedy: "remove the wrong copy by hand, or leave IX806 out of the repair".into(),
                });
            }
        }
        Ok(())
    }

    async fn write_tensor(
        &mut self,
        sink: &mut dyn Sink,
        file: &RepairFile,
        tensor: &'a RepairTensor,
    ) -> Result<(), ConvertError> {
        let checkpoint = self.checkpoint;
        let Some((shard, source)) = checkpoint.tensor(tensor.source.0, tensor.source.1) else {
            return Ok(());
        };
        let name = tensor.spec.name.as_str();
        let mut writer = TensorWriter::new(&file.name, tensor.span.start);
        if let Some(number) = self.number(tensor).await? {
            writer.write(sink, &number.to_le_bytes()).await?;
            self.passage.written.insert(name, writer.finish());
            return self.passage.step(name, 4);
        }
        let whole = source.begin..source.end;
        let spliced = tensor.origin == Origin::Splice
            && sink.splice(&file.name, tensor.span.start, &shard.file, whole).await?;
        let mut at = source.begin;
        while at < source.end {
            let mut bytes = sized(self.tile().min(source.end - at));
            shard.source.read(at, &mut bytes).await?;
            match &tensor.origin {
                Origin::BlockScales { codes, block_bytes } => {
                    self.lift_blocks(&mut bytes, *codes, at - source.begin, *block_bytes).await?;
                }
                Origin::FloatScales => lift_floats(source.dtype, &mut bytes),
                _ => {}
            }
            let bytes = Arc::new(bytes);
            if spliced {
                writer.skip(&bytes);
            } else {
                writer.write_shared(sink, &bytes).await?;
            }
            at += length(&bytes);
            self.passage.step(name, length(&bytes))?;
        }
        self.unchanged += u64::from(tensor.origin == Origin::Splice);
        self.passage.written.insert(name, writer.finish());
        Ok(())
    }

    /// A tensor that is one number made of others; `None` if it is not.
    async fn number(&self, tensor: &RepairTensor) -> Result<Option<f32>, ConvertError> {
        let number = match &tensor.origin {
            Origin::KvScale => kv::scale(self.read_number(tensor.source).await?),
            Origin::Reciprocal => 1.0 / self.read_number(tensor.source).await?,
            Origin::Largest(places) => {
                let mut largest = f32::NEG_INFINITY;
                for place in places {
                    largest = largest.max(self.read_number(*place).await?);
                }
                largest
            }
            _ => return Ok(None),
        };
        if number.is_finite() {
            return Ok(Some(number));
        }
        Err(ConvertError::Tensor {
            tensor: tensor.spec.name.clone(),
            reason: format!("would become {number}"),
            remedy: "leave the rule that asks for it out of the repair".into(),
        })
    }

    /// The first number of a float tensor.
    async fn read_number(&self, place: (u32, u32)) -> Result<f32, ConvertError> {
        let Some((shard, tensor)) = self.checkpoint.tensor(place.0, place.1) else { return Ok(f32::NAN) };
        let mut bytes = sized(tensor.byte_len().min(4));
        shard.source.read(tensor.begin, &mut bytes).await?;
        let mut numbers = Vec::new();
        widen(tensor.dtype, &bytes, &mut numbers);
        Ok(numbers.first().copied().unwrap_or(f32::NAN))
    }

    /// Gives scales that are zero over blocks of zero codes the value that the reference gives them. A zero code
    /// has no bits but its sign, and times any positive scale it stays that zero: decoded values stay to the bit.
    async fn lift_blocks(
        &self,
        scales: &mut [u8],
        codes: (u32, u32),
        first: u64,
        block_bytes: u64,
    ) -> Result<(), ConvertError> {
        const SIGNS: u8 = 0x88;
        let Some((shard, tensor)) = self.checkpoint.tensor(codes.0, codes.1) else { return Ok(()) };
        for (i, scale) in (first..).zip(scales.iter_mut()).filter(|(_, scale)| **scale == 0) {
            let begin = tensor.begin.saturating_add(i.saturating_mul(block_bytes));
            if begin.saturating_add(block_bytes) > tensor.end {
                return Ok(());
            }
            let mut block = sized(block_bytes);
            shard.source.read(begin, &mut block).await?;
            if block.iter().all(|byte| byte & !SIGNS == 0) {
                *scale = E4M3_ONE;
            }
        }
        Ok(())
    }

    /// The manifest of a repair: the same fields as a conversion's, and the changes in place of a recipe.
    fn manifest<'s>(&'s self, sources: &[SourceFile]) -> Pieces<'s> {
        let file = |f: &RepairFile| manifest::weight_file(&f.name, f.len, &f.header);
        let files: Vec<Value> = self.plan.files.iter().map(file).collect();
        let about = json!({
            "schema": 1,
            "tool": producer(),
            "repair": {"changes": self.plan.changes, "unmended": self.plan.unmended},
            "sources": sources,
            "files": files,
            "other_files": self.passage.others,
        });
        let written = self.plan.files.iter().flat_map(|f| f.tensors.iter().map(move |tensor| (f, tensor)));
        let tensor = |(file, tensor): (&'s RepairFile, &'s RepairTensor)| {
            let source = self.checkpoint.tensor(tensor.source.0, tensor.source.1).map(|(_, t)| t.name);
            manifest::Tensor {
                name: &tensor.spec.name,
                file: &file.name,
                dtype: tensor.spec.dtype.tag(),
                shape: &tensor.spec.shape,
                sha256: self.passage.hashes.get(tensor.spec.name.as_str()),
                source: source.into_iter().collect(),
                made: None,
            }
        };
        manifest::pieces(&about, Box::new(written.map(tensor)))
    }
}
