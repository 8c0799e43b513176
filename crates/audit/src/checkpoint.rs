//! A checkpoint as opened: shards with their headers, the index, the configs. Facts only.

use futures_util::future::{self, LocalBoxFuture};
use futures_util::stream::{self, StreamExt as _};
use quantscope_format::Arrange as _;
use quantscope_format::{
    ConfigError, Control, Defect, IndexError, Limits, ModelConfig, Progress, QuantDeclaration, ShardHeader,
    ShardIndex, Source, SourceError, TensorInfo, read_header, read_small,
};
use quantscope_schemes::{Settings, descriptor_type, may_describe, split_name};
use std::cell::Cell;
use std::rc::Rc;

/// A file of the checkpoint: its path within the folder that was opened, and its bytes.
#[derive(Clone)]
pub struct InputFile {
    /// Path relative to the folder, with `/`; a plain name for a single file.
    pub path: String,
    /// Its bytes.
    pub source: Rc<dyn Source>,
}

/// A weight file.
pub struct Shard {
    /// Path within the checkpoint.
    pub file: String,
    /// What its header says.
    pub header: ShardHeader,
    /// Its bytes.
    pub source: Rc<dyn Source>,
}

/// A JSON file that was read, or why it could not be.
pub struct ConfigFile<T> {
    /// Path within the checkpoint.
    pub file: String,
    /// What it says.
    pub content: Result<T, ConfigError>,
}

/// Everything that headers and JSON files say.
pub struct Checkpoint {
    /// Name of the file or folder, as given.
    pub name: String,
    /// Weight files in natural order.
    pub shards: Vec<Shard>,
    /// The index, if there is one, with its path.
    pub index: Option<(String, Result<ShardIndex, IndexError>)>,
    /// `config.json`.
    pub config: Option<ConfigFile<ModelConfig>>,
    /// `quantization_config` of `config.json`, if it has one.
    pub config_quant: Option<ConfigFile<QuantDeclaration>>,
    /// `hf_quant_config.json`.
    pub hf_quant: Option<ConfigFile<QuantDeclaration>>,
    /// The same file as it stands, if it can be read.
    pub hf_quant_value: Option<serde_json::Value>,
    /// What configs and headers say of single layers.
    pub settings: Settings,
    /// Every other file, with its bytes.
    pub other_files: Vec<InputFile>,
    /// Bytes read to learn this.
    pub bytes_read: u64,
}

/// Longest text that describes a layer; real ones have a few hundred bytes.
const DESCRIPTOR_BYTES: u64 = 1 << 16;

/// Short texts that lie no further apart than this are read together.
const DESCRIPTOR_GAP: u64 = 512;
/// Headers that are read at the same time.
const HEADERS_AT_ONCE: usize = 24;

/// Cuts tensors, in the order of their places, into runs that one read takes: close together, and short.
fn runs_of<'t>(texts: &'t [TensorInfo<'t>], longest: u64) -> impl Iterator<Item = &'t [TensorInfo<'t>]> {
    let end = |t: TensorInfo<'_>| t.begin.saturating_add(t.byte_len());
    let mut rest = texts;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut reached = end(*first);
        let mut count = 1;
        for next in rest.iter().skip(1) {
            let near = next.begin <= reached.saturating_add(DESCRIPTOR_GAP);
            if !near || end(*next).saturating_sub(first.begin) > longest {
                break;
            }
            reached = reached.max(end(*next));
            count += 1;
        }
        let (run, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(run)
    })
}

/// Reads the short texts of a shard that describe layers; how many bytes were read. Those beyond what settings take
/// are counted only.
async fn read_descriptors(shard: &Shard, longest: u64, settings: &mut Settings) -> Result<u64, SourceError> {
    let describes = |t: &TensorInfo<'_>| {
        // Names are looked at last: most tensors are of another type.
        may_describe(t.dtype)
            && t.byte_len() <= longest
            && shard.header.is_readable(*t)
            && descriptor_type(split_name(t.name).1) == Some(t.dtype)
    };
    let mut texts: Vec<TensorInfo<'_>> = shard.header.tensors.iter().filter(describes).collect();
    // Writers lay tensors of a type side by side, so thousands of them take a few reads.
    texts.arrange_by_key(|t| t.begin);
    let mut bytes_read = 0_u64;
    for run in runs_of(&texts, longest) {
        if settings.beyond_bound().is_some() {
            run.iter().for_each(|text| settings.pass_over(text.byte_len()));
            continue;
        }
        let begin = run.first().map_or(0, |t| t.begin);
        let end = run.iter().map(|t| t.begin.saturating_add(t.byte_len())).max().unwrap_or(begin);
        let mut bytes = vec![0; usize::try_from(end.saturating_sub(begin)).unwrap_or(0)];
        shard.source.read(begin, &mut bytes).await?;
        bytes_read = bytes_read.saturating_add(end.saturating_sub(begin));
        for tensor in run {
            let from = usize::try_from(tensor.begin.saturating_sub(begin)).unwrap_or(usize::MAX);
            let len = usize::try_from(tensor.byte_len()).unwrap_or(usize::MAX);
            let text = from.checked_add(len).and_then(|to| bytes.get(from..to)).unwrap_or_default();
            let (module, leaf) = split_name(tensor.name);
            settings.add_descriptor(module, leaf, text);
        }
    }
    Ok(bytes_read)
}

/// A source that counts what is read of it.
struct Counted<'s> {
    source: &'s dyn Source,
    bytes: Cell<u64>,
}

impl Source for Counted<'_> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read<'a>(&'a self, offset: u64, buf: &'a mut [u8]) -> LocalBoxFuture<'a, Result<(), SourceError>> {
        let length = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        self.bytes.set(self.bytes.get().saturating_add(length));
        self.source.read(offset, buf)
    }
}

/// Whether a path names a weight file.
fn is_shard(path: &str) -> bool {
    path.ends_with(".safetensors")
}

/// Reads the headers of weight files, and counts the bytes that takes.
async fn read_headers(
    files: Vec<InputFile>,
    limits: &Limits,
    control: &dyn Control,
) -> Result<(Vec<Shard>, u64), SourceError> {
    let total = u64::try_from(files.len()).unwrap_or(u64::MAX);
    let read = |InputFile { path, source }| async move {
        let counted = Counted { source: source.as_ref(), bytes: Cell::new(0) };
        let header = read_header(&counted, limits).await?;
        let bytes = counted.bytes.get();
        Ok::<_, SourceError>((Shard { file: path, header, source }, bytes))
    };
    let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
    // A browser answers a read in some milliseconds and hundreds of shards have two each: some are under way at any
    // time.
    let mut headers = stream::iter(files).map(read).buffered(HEADERS_AT_ONCE);
    let mut shards = Vec::with_capacity(paths.len());
    let mut bytes = 0_u64;
    for (item, done) in paths.into_iter().zip(0..) {
        let phase = "Reading headers".into();
        control.progress(&Progress { phase, item, done_bytes: done, total_bytes: total });
        let Some(read) = headers.next().await else { break };
        let (shard, count) = read?;
        bytes = bytes.saturating_add(count);
        shards.push(shard);
    }
    Ok((shards, bytes))
}

impl Checkpoint {
    /// Reads headers, indexes and configs.
    ///
    /// # Errors
    /// If a source fails. What a file contains is never an error.
    pub async fn open(
        name: &str,
        mut files: Vec<InputFile>,
        limits: &Limits,
        control: &dyn Control,
    ) -> Result<Self, SourceError> {
        files.arrange_by(|a, b| quantscope_format::natural_cmp(&a.path, &b.path));
        let mut checkpoint = Self {
            name: name.to_string(),
            shards: Vec::new(),
            index: None,
            config: None,
            config_quant: None,
            hf_quant: None,
            hf_quant_value: None,
            settings: Settings::default(),
            other_files: Vec::new(),
            bytes_read: 0,
        };
        let (shards, others): (Vec<InputFile>, Vec<InputFile>) =
            files.into_iter().partition(|file| is_shard(&file.path));
        // The index of a large model is as long as its headers: it is read while the browser fetches those.
        let reading_others = async {
            for file in others {
                checkpoint.open_other(file, limits).await?;
            }
            Ok(())
        };
        let ((shards, bytes), ()) =
            future::try_join(read_headers(shards, limits, control), reading_others).await?;
        checkpoint.shards = shards;
        checkpoint.bytes_read = checkpoint.bytes_read.saturating_add(bytes);
        checkpoint.read_settings(limits).await?;
        Ok(checkpoint)
    }

    /// Collects what is said of single layers: in the config, in headers, in tensors that are short texts.
    async fn read_settings(&mut self, limits: &Limits) -> Result<(), SourceError> {
        let most = limits.config_bytes();
        let mut settings = Settings::new(self.model_config().map(|c| &c.value)).within(most);
        let longest = DESCRIPTOR_BYTES.min(limits.tile_bytes);
        let mut met_in = None;
        for (place, shard) in self.shards.iter().enumerate() {
            settings.add_metadata(&shard.header.metadata);
            let read = read_descriptors(shard, longest, &mut settings).await?;
            self.bytes_read = self.bytes_read.saturating_add(read);
            if settings.beyond_bound().is_some() {
                met_in.get_or_insert(place);
            }
        }
        let shard = met_in.and_then(|place| self.shards.get_mut(place));
        if let (Some(shard), Some(found)) = (shard, settings.beyond_bound()) {
            // Counted as the limit is, so that its value can be taken from here.
            let what = format!("bytes of JSON about single layers, times {},", Limits::CONFIG_SHARE);
            let (limit, found) = (limits.json_bytes, found.saturating_mul(Limits::CONFIG_SHARE));
            shard.header.defects.push(Defect::OverLimit { what, name: "json", limit, found });
        }
        self.settings = settings;
        Ok(())
    }

    async fn open_other(&mut self, file: InputFile, limits: &Limits) -> Result<(), SourceError> {
        let is_config = file.path == "config.json";
        let is_hf_quant = file.path == "hf_quant_config.json";
        // Another index is a stray file of another checkpoint; the first in natural order counts.
        let is_index = file.path.ends_with(".safetensors.index.json") && self.index.is_none();
        if !(is_config || is_hf_quant || is_index) {
            self.other_files.push(file);
            return Ok(());
        }
        let read = read_small(file.source.as_ref(), limits).await?;
        let length = read.as_ref().map_or(0, Vec::len);
        self.bytes_read = self.bytes_read.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        // A file over the limit is not read; the parsers say so when they are given its length.
        let too_long = || ConfigError::TooLong { len: file.source.len(), limit: limits.json_bytes };
        let name = file.path.clone();
        if is_index {
            let content = match &read {
                Some(bytes) => ShardIndex::parse(bytes, limits),
                None => Err(IndexError::TooLong { len: file.source.len(), limit: limits.json_bytes }),
            };
            self.index = Some((name, content));
        } else if is_hf_quant {
            let parse = |bytes: Vec<u8>| QuantDeclaration::parse_hf_quant_config(&bytes, limits);
            let content = read.clone().ok_or_else(too_long).and_then(parse);
            // What the reader of declarations takes is JSON of a bounded depth.
            self.hf_quant_value =
                read.filter(|_| content.is_ok()).and_then(|bytes| serde_json::from_slice(&bytes).ok());
            self.hf_quant = Some(ConfigFile { file: name, content });
        } else {
            let parse = |bytes: Vec<u8>| ModelConfig::parse(&bytes, limits);
            let content = read.ok_or_else(too_long).and_then(parse);
            let declared = content.as_ref().ok().and_then(QuantDeclaration::from_model_config);
            self.config_quant = declared.map(|d| ConfigFile { file: name.clone(), content: Ok(d) });
            self.config = Some(ConfigFile { file: name, content });
        }
        self.other_files.push(file);
        Ok(())
    }

    /// `config.json`, if it could be read.
    #[must_use]
    pub fn model_config(&self) -> Option<&ModelConfig> {
        self.config.as_ref().and_then(|c| c.content.as_ref().ok())
    }

    /// The declaration that counts: `config.json`'s own, which loaders read first, else the other file's.
    #[must_use]
    pub fn declaration(&self) -> Option<&QuantDeclaration> {
        let readable =
            |c: &Option<ConfigFile<QuantDeclaration>>| c.as_ref().is_some_and(|c| c.content.is_ok());
        let chosen = if readable(&self.config_quant) { &self.config_quant } else { &self.hf_quant };
        chosen.as_ref().and_then(|c| c.content.as_ref().ok())
    }

    /// A tensor by its place.
    #[must_use]
    pub fn tensor(&self, shard: u32, tensor: u32) -> Option<(&Shard, TensorInfo<'_>)> {
        let shard = self.shards.get(usize::try_from(shard).ok()?)?;
        Some((shard, shard.header.tensors.get(usize::try_from(tensor).ok()?)?))
    }

    /// The index, if there is one that can be read.
    #[must_use]
    pub fn readable_index(&self) -> Option<&ShardIndex> {
        self.index.as_ref().and_then(|(_, index)| index.as_ref().ok())
    }

    /// Number of tensors over all shards.
    #[must_use]
    pub fn tensor_count(&self) -> u64 {
        self.shards.iter().map(|s| u64::try_from(s.header.tensors.len()).unwrap_or(u64::MAX)).sum()
    }

    /// Bytes of all weight files.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.shards.iter().fold(0, |n, s| n.saturating_add(s.header.file_len))
    }
}
