//! One small layer in each scheme, with every byte known: what pages about formats show, and what a test of
//! a new scheme begins with.

use crate::data;
use crate::sink::MemorySink;
use quantscope_format::{HeaderLayout, Limits, TensorSpec, Uncontrolled};
use quantscope_numeric::Dtype;
use quantscope_session::api::ConvertRequest;
use quantscope_session::{CpuEngine, Engines, InputFile, MemorySource, Session};
use serde_json::Value;
use std::path::Path;
use std::rc::Rc;

/// Files that hold one quantized layer.
pub struct Specimen {
    /// The files, as a session opens them.
    pub files: Vec<InputFile>,
    /// Who made it, in words.
    pub maker: String,
}

/// A file in memory.
#[must_use]
pub fn file(name: &str, bytes: Vec<u8>) -> InputFile {
    InputFile { path: name.to_string(), source: Rc::new(MemorySource::new(name, bytes)) }
}

/// A safetensors file of some tensors, with metadata.
///
/// # Panics
/// If the tensors cannot be laid out.
#[must_use]
#[allow(clippy::expect_used, reason = "a test helper; its callers give tensors that fit")]
pub fn shard(tensors: &[(TensorSpec, Vec<u8>)], metadata: &[(String, String)]) -> Vec<u8> {
    let specs: Vec<TensorSpec> = tensors.iter().map(|(spec, _)| spec.clone()).collect();
    let layout = HeaderLayout::new(&specs, metadata).expect("tensors that can be laid out");
    let mut bytes = layout.bytes;
    bytes.resize(usize::try_from(layout.file_len).expect("a small file"), 0);
    for ((_, data), span) in tensors.iter().zip(layout.spans) {
        let start = usize::try_from(span.start).expect("a small file");
        bytes[start..start + data.len()].copy_from_slice(data);
    }
    bytes
}

/// Rows and columns of the weight that is encoded.
pub const SIDES: [u64; 2] = [4, 256];

/// The weight: multiples of 1/64 between -0.75 and 0.75, which BF16 holds exactly.
#[must_use]
pub fn weight() -> Vec<f32> {
    let [rows, cols] = SIDES;
    let value = |row: u64, col: u64| {
        let step = u16::try_from((row * 31 + col * 17) % 97).unwrap_or(0);
        (f32::from(step) - 48.0) / 64.0
    };
    (0..rows).flat_map(|row| (0..cols).map(move |col| value(row, col))).collect()
}

fn source() -> Vec<InputFile> {
    let bf16 = weight().into_iter().flat_map(|v| v.to_bits().to_le_bytes().into_iter().skip(2));
    let spec = TensorSpec { name: "layer.weight".into(), dtype: Dtype::BF16, shape: SIDES.to_vec() };
    let bytes = shard(&[(spec, bf16.collect())], &[("format".into(), "pt".into())]);
    let config = br#"{"model_type": "llama", "dtype": "bfloat16"}"#.to_vec();
    vec![file("config.json", config), file("model.safetensors", bytes)]
}

impl Specimen {
    /// The weight as the converter writes it.
    ///
    /// # Errors
    /// If the scheme cannot be written, or not for this weight.
    pub fn converted(id: &str) -> Result<Self, String> {
        let request = ConvertRequest { to: id.into(), ..ConvertRequest::default() };
        let mut sink = MemorySink::default();
        let written = futures_executor::block_on(async {
            let session = Session::open("specimen", source(), Limits::default(), &Uncontrolled).await?;
            let engine = CpuEngine::new();
            let engines = Engines { gpu: None, cpu: &engine };
            session.convert(&request, engines, &mut sink, &Uncontrolled).await.map(|_| ())
        });
        written.map_err(|error| error.message)?;
        let files = sink.finished.into_iter().map(|(name, bytes)| file(&name, bytes)).collect();
        let [rows, cols] = SIDES;
        let maker = format!(
            "`quantscope convert --to {id}` from a BF16 weight [{rows}, {cols}] whose element (r, c) is \
             ((31 r + 17 c) mod 97 - 48) / 64"
        );
        Ok(Self { files, maker })
    }

    /// A packed case of the data: a folder of `golden-foreign`, or the beginning of the file names of a case of
    /// `made`.
    ///
    /// # Panics
    /// If the case cannot be read.
    #[must_use]
    #[allow(clippy::expect_used, reason = "a test helper; without its data a test cannot run")]
    pub fn packed(case: &str) -> Self {
        let path = data(case);
        let (about, packed) = if path.is_dir() {
            (path.join("case.json"), path.join("packed.safetensors"))
        } else {
            (data(&format!("{case}.json")), data(&format!("{case}.packed.safetensors")))
        };
        let read = |path: &Path| std::fs::read(path).expect("a file of the data");
        let about: Value = serde_json::from_slice(&read(&about)).expect("a case is JSON");
        let mut files = vec![file("model.safetensors", read(&packed))];
        if about["config"].is_object() {
            files.insert(0, file("config.json", about["config"].to_string().into_bytes()));
        }
        let maker = about["made_with"].as_str().unwrap_or("hand, after its formula");
        Self { files, maker: maker.to_string() }
    }
}
