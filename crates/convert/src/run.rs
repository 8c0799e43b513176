//! Carrying a plan out: measure maxima, stream tiles, write, read back, compare, commit.

use crate::error::ConvertError;
use crate::manifest;
use crate::plan::{PackedLayer, Plan, PlanFile, Step};
use crate::recipe::{Recipe, ZeroTensors};
use crate::write::{TensorWriter, hex};
use quantscope_audit::tiles::{Grid, tiles};
use quantscope_audit::{Checkpoint, Engines, FallbackEngine};
use quantscope_format::{Control, Limits, Progress, Sink, Source, TensorInfo};
use quantscope_kernels::nvfp4_quantize::Nvfp4Table;
use quantscope_kernels::{AbsMax, Engine, FloatTile, FloatType, Nvfp4Out};
use quantscope_numeric::{f32_bits_from_bf16, f32_bits_from_f16};
use quantscope_schemes::DecodeTile;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Weights that share a block scale.
const BLOCK: u64 = 16;
/// Largest NVFP4 magnitude: 6 * 448.
const NVFP4_MAX: f32 = 2688.0;

/// Round-trip error of a packed layer against its source.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerError {
    /// Module path.
    pub name: String,
    /// Signal to quantization noise ratio in dB; `None` where there was no noise or no signal.
    pub sqnr_db: Option<f64>,
    /// Largest absolute difference.
    pub max_abs: f64,
}

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
}

/// Carries a plan out.
///
/// # Errors
/// If a source, the sink or the engine fails, a tensor turns out not to be convertible, the user cancels,
/// or what is read back differs. Nothing is left under a final name then.
pub async fn run(
    checkpoint: &Checkpoint,
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
        }),
        Err(error) => {
            sink.abandon().await;
            Err(error)
        }
    }
}

struct Job<'a> {
    checkpoint: &'a Checkpoint,
    plan: &'a Plan,
    recipe: &'a Recipe,
    engine: &'a FallbackEngine<'a>,
    limits: &'a Limits,
    control: &'a dyn Control,
    phase: &'static str,
    done: u64,
    total: u64,
    /// SHA-256 of every output tensor by name.
    hashes: BTreeMap<String, String>,
    /// Errors by packed layer, in the plan's order.
    errors: Vec<LayerError>,
    copied: u64,
    bytes_written: u64,
}

/// Running sums of a layer's round-trip error.
#[derive(Default)]
struct Noise {
    signal: f64,
    noise: f64,
    max_abs: f64,
}

impl Noise {
    fn add(&mut self, source: f32, decoded: f32) {
        let (source, decoded) = (f64::from(source), f64::from(decoded));
        let error = source - decoded;
        self.signal += source * source;
        self.noise += error * error;
        self.max_abs = self.max_abs.max(error.abs());
    }

    fn finish(&self, name: &str) -> LayerError {
        let known = self.noise > 0.0 && self.signal > 0.0;
        let sqnr_db = known.then(|| 10.0 * (self.signal / self.noise).log10());
        LayerError { name: name.to_string(), sqnr_db, max_abs: self.max_abs }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn sized(len: u64) -> Vec<u8> {
    vec![0; usize::try_from(len).unwrap_or(0)]
}

/// A tile's values in F32, whatever float type they are stored in.
fn values(dtype: FloatType, bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(dtype.bytes()).map(move |b| {
        let bits = match (dtype, b) {
            (FloatType::Bf16, &[lo, hi]) => f32_bits_from_bf16(u16::from_le_bytes([lo, hi])),
            (FloatType::F16, &[lo, hi]) => f32_bits_from_f16(u16::from_le_bytes([lo, hi])),
            (FloatType::F32, &[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => f32::NAN.to_bits(),
        };
        f32::from_bits(bits)
    })
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
        let manifest =
            manifest::write(self.checkpoint, self.plan, self.recipe, &sources, &self.hashes, &self.errors);
        files.push(self.write_text(sink, manifest::NAME, &manifest).await?);
        self.read_back(sink).await?;
        Ok(files)
    }

    fn begin(&mut self, phase: &'static str, total: u64) {
        (self.phase, self.done, self.total) = (phase, 0, total);
    }

    /// Tells of progress, and stops if the user wants it.
    fn step(&mut self, item: &str, bytes: u64) -> Result<(), ConvertError> {
        self.done = self.done.saturating_add(bytes);
        self.control.progress(&Progress {
            phase: self.phase.into(),
            item: item.into(),
            done_bytes: self.done.min(self.total),
            total_bytes: self.total,
        });
        if self.control.is_cancelled() { Err(ConvertError::Cancelled) } else { Ok(()) }
    }

    fn weight(&self, packed: &PackedLayer) -> Result<(&'a dyn Source, &'a TensorInfo), ConvertError> {
        let (shard, tensor) = self.checkpoint.tensor(packed.shard, packed.tensor).ok_or_else(|| {
            ConvertError::Refused(format!("`{}` has lost its weight since the plan was made", packed.name))
        })?;
        Ok((shard.source.as_ref(), tensor))
    }

    /// The maximum that each packed layer's global scale comes from, shared over fused groups.
    async fn measure(&mut self) -> Result<Vec<f32>, ConvertError> {
        self.begin("Measuring maxima", self.plan.packed.iter().map(|p| p.bytes_before).sum());
        let mut maxima = Vec::with_capacity(self.plan.packed.len());
        for packed in &self.plan.packed {
            let found = self.absmax(packed).await?;
            if !found.is_finite() {
                return Err(ConvertError::Tensor {
                    tensor: packed.name.clone(),
                    reason: "has NaN or infinite weights".into(),
                    remedy: format!("mend the source, or leave it out with --exclude '{}'", packed.name),
                });
            }
            maxima.push(packed.weight_amax.unwrap_or_else(|| found.value()));
        }
        for group in &self.plan.groups {
            let members = || group.iter().filter_map(|&i| maxima.get(i).copied());
            let Some(largest) = members().reduce(f32::max) else { continue };
            for &i in group {
                if let Some(slot) = maxima.get_mut(i) {
                    *slot = largest;
                }
            }
        }
        let zero = maxima.iter().position(|&m| m == 0.0).and_then(|i| self.plan.packed.get(i));
        if let Some(packed) = zero.filter(|_| self.recipe.zero_tensors == ZeroTensors::Refuse) {
            return Err(ConvertError::Tensor {
                tensor: packed.name.clone(),
                reason: "is zero everywhere, so that its scale would be NaN".into(),
                remedy: format!(
                    "leave it out with --exclude '{}', or write NaN as the reference does with --zero-tensors reference",
                    packed.name
                ),
            });
        }
        Ok(maxima)
    }

    fn grid(packed: &PackedLayer) -> Grid {
        Grid { rows: packed.rows, row_bytes: packed.cols.saturating_mul(packed.dtype.bytes() as u64) }
    }

    async fn absmax(&mut self, packed: &PackedLayer) -> Result<AbsMax, ConvertError> {
        let (source, tensor) = self.weight(packed)?;
        let grid = Self::grid(packed);
        let mut found = AbsMax::default();
        for tile in tiles(grid, self.limits.tile_bytes, packed.dtype.bytes() as u64) {
            let mut bytes = sized(tile.byte_len());
            source.read(tensor.begin.saturating_add(tile.offset(grid)), &mut bytes).await?;
            let cols = (tile.bytes.end - tile.bytes.start) / packed.dtype.bytes() as u64;
            let cols = u32::try_from(cols).unwrap_or(u32::MAX);
            let part = FloatTile { dtype: packed.dtype, bytes: &bytes, rows: tile.row_count(), cols };
            found = found.max(self.engine.absmax(part).await?);
            self.step(&packed.name, tile.byte_len())?;
        }
        Ok(found)
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
        file: &PlanFile,
        maxima: &[f32],
    ) -> Result<(), ConvertError> {
        sink.write_at(&file.name, 0, &file.header).await?;
        self.bytes_written = self.bytes_written.saturating_add(file.len);
        for tensor in &file.tensors {
            let name = tensor.spec.name.as_str();
            let number = match tensor.step {
                Step::GlobalScale(i) => Some(maxima.get(i).copied().unwrap_or(0.0) / NVFP4_MAX),
                Step::Constant(value) => Some(value),
                _ => None,
            };
            if let Some(number) = number {
                let mut writer = TensorWriter::new(&file.name, tensor.span.start);
                writer.write(sink, &number.to_le_bytes()).await?;
                self.hashes.insert(name.to_string(), writer.finish());
                continue;
            }
            match tensor.step {
                Step::Copy { shard, tensor: t } => {
                    self.copy_tensor(sink, file, name, tensor.span.start, (shard, t)).await?;
                }
                Step::Codes(i) => self.pack(sink, file, i, maxima.get(i).copied().unwrap_or(0.0)).await?,
                // Written together with the codes; numbers are written above.
                Step::BlockScales(_) | Step::GlobalScale(_) | Step::Constant(_) => {}
            }
        }
        Ok(())
    }

    async fn copy_tensor(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        name: &str,
        offset: u64,
        (shard, tensor): (u32, u32),
    ) -> Result<(), ConvertError> {
        let Some((shard, source)) = self.checkpoint.tensor(shard, tensor) else { return Ok(()) };
        let spliced = sink.splice(&file.name, offset, &shard.file, source.begin..source.end).await?;
        let mut writer = TensorWriter::new(&file.name, offset);
        let mut at = source.begin;
        while at < source.end {
            let mut bytes = sized(self.limits.tile_bytes.min(source.end - at));
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

    /// Packs one layer: codes and block scales of each tile go to their two places at once.
    async fn pack(
        &mut self,
        sink: &mut dyn Sink,
        file: &PlanFile,
        i: usize,
        amax: f32,
    ) -> Result<(), ConvertError> {
        let Some(packed) = self.plan.packed.get(i) else { return Ok(()) };
        let place = |step: &Step| file.tensors.iter().find(|t| t.step == *step);
        let (Some(codes), Some(scales)) = (place(&Step::Codes(i)), place(&Step::BlockScales(i))) else {
            return Ok(());
        };
        let (source, tensor) = self.weight(packed)?;
        let global_scale = amax / NVFP4_MAX;
        let table = Nvfp4Table::new(global_scale, packed.cast);
        let mut code_writer = TensorWriter::new(&file.name, codes.span.start);
        let mut scale_writer = TensorWriter::new(&file.name, scales.span.start);
        let mut noise = Noise::default();
        let width = packed.dtype.bytes() as u64;
        let grid = Self::grid(packed);
        let mut decoded: Vec<f32> = Vec::new();
        for tile in tiles(grid, self.limits.tile_bytes, BLOCK * width) {
            let mut bytes = sized(tile.byte_len());
            source.read(tensor.begin.saturating_add(tile.offset(grid)), &mut bytes).await?;
            let cols = (tile.bytes.end - tile.bytes.start) / width;
            let rows = tile.rows.end - tile.rows.start;
            let blocks = rows.saturating_mul(cols.div_ceil(BLOCK));
            let (mut code_bytes, mut scale_bytes) = (sized(blocks.saturating_mul(8)), sized(blocks));
            let part = FloatTile {
                dtype: packed.dtype,
                bytes: &bytes,
                rows: tile.row_count(),
                cols: u32::try_from(cols).unwrap_or(u32::MAX),
            };
            let out = Nvfp4Out { codes: &mut code_bytes, scales: &mut scale_bytes };
            self.engine.nvfp4_quantize(part, &table, out).await?;
            code_writer.write(sink, &code_bytes).await?;
            scale_writer.write(sink, &scale_bytes).await?;
            let scale_cols = cols.div_ceil(BLOCK);
            decoded.clear();
            packed.scheme.decode(
                &DecodeTile {
                    weight: &code_bytes,
                    dtype: codes.spec.dtype,
                    scales: &scale_bytes,
                    scale_cols,
                    global_scale,
                    first_row: tile.rows.start,
                    cols: scale_cols * BLOCK,
                },
                &mut decoded,
            );
            add_noise(&mut noise, packed.dtype, &bytes, &decoded, cols, scale_cols * BLOCK);
            self.step(&packed.name, length(&code_bytes) + length(&scale_bytes))?;
        }
        self.hashes.insert(codes.spec.name.clone(), code_writer.finish());
        self.hashes.insert(scales.spec.name.clone(), scale_writer.finish());
        if let Some(slot) = self.errors.get_mut(i) {
            *slot = noise.finish(&packed.name);
        }
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

/// Adds a tile's error, leaving out the padding of each row.
fn add_noise(
    noise: &mut Noise,
    dtype: FloatType,
    source: &[u8],
    decoded: &[f32],
    cols: u64,
    stored_cols: u64,
) {
    let (Ok(cols), Ok(stored)) = (usize::try_from(cols), usize::try_from(stored_cols)) else { return };
    let rows = source.chunks(cols.max(1) * dtype.bytes()).zip(decoded.chunks(stored.max(1)));
    for (row, decoded) in rows {
        for (value, &decoded) in values(dtype, row).zip(decoded) {
            noise.add(value, decoded);
        }
    }
}
