//! The whole way: a valid checkpoint, corrupted, opened, audited, verified, repaired, converted.

use crate::limits;
use crate::sink::Memory;
use quantscope_session::api::ConvertRequest;
use quantscope_session::{CpuEngine, Engines, InputFile, MemorySource, Session, Uncontrolled};
use std::rc::Rc;

pub(crate) type Files = Vec<(String, Vec<u8>)>;

macro_rules! data {
    ($path:literal) => {
        include_bytes!(concat!("../../data/", $path))
    };
}

/// Small checkpoints to begin with: weights and, where there is one, their config.
const BASES: &[(&[u8], &[u8])] = &[
    (data!("golden/nvfp4_linear_bf16_7x32/source.safetensors"), b"{}"),
    (data!("golden/nvfp4_linear_bf16_7x32/expected.safetensors"), b"{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\",\"ignore\":[]}}"),
    (data!("golden/mxfp4/expected.safetensors"), b"{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"MXFP4\"}}"),
    (data!("golden/int4_block32/expected.safetensors"), b"{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"W4A16_AWQ\",\"group_size\":32}}"),
    (data!("golden/fp8_block_wo_3x260/expected.safetensors"), b"{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"fp8_pb_wo\"}}"),
    (data!("golden/fp8_tensor_bf16/expected.safetensors"), b"{\"quantization_config\":{\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8\"}}"),
    (data!("golden-foreign/gptq_4bit_sym/packed.safetensors"), b"{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32,\"desc_act\":false,\"sym\":true}}"),
];

/// What is asked of the corrupted checkpoint.
const TARGETS: &[&str] =
    &["nvfp4", "bf16", "fp8-block", "mxfp8", "int4", "nvfp4-mse", "w4a8-nvfp4-fp8", "f32"];

/// Bytes taken one after another; zeros once they are used up.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn below(&mut self, n: usize) -> usize {
        (usize::from(self.next()) << 16 | usize::from(self.next()) << 8 | usize::from(self.next())) % n.max(1)
    }
}

fn corrupt(bytes: &mut Vec<u8>, choice: &mut Bytes<'_>) {
    if bytes.is_empty() {
        return;
    }
    // Most of what can go wrong stands in the header, so half of the faults go there.
    let header = bytes.len().min(600);
    let span = if choice.next().is_multiple_of(2) { header } else { bytes.len() };
    let at = choice.below(span);
    match choice.next() % 6 {
        0 => bytes[at] ^= 1 << (choice.next() % 8),
        1 => bytes[at] = choice.next(),
        2 => bytes.truncate(at),
        3 => bytes.insert(at, choice.next()),
        4 => {
            bytes.remove(at);
        }
        _ => {
            let digits: Vec<usize> = (8..header).filter(|&i| bytes[i].is_ascii_digit()).collect();
            if let Some(&digit) = digits.get(choice.below(digits.len())) {
                bytes[digit] = b'0' + choice.next() % 10;
            }
        }
    }
}

pub(crate) fn open(files: &Files) -> Option<Session> {
    let inputs = files.iter().map(|(name, bytes)| InputFile {
        path: name.clone(),
        source: Rc::new(MemorySource::new(name.clone(), bytes.clone())),
    });
    futures_executor::block_on(Session::open("fuzzed", inputs.collect(), limits(), &Uncontrolled)).ok()
}

/// What was written must open without a defect of its form, and be what its manifest says.
fn is_sound(files: &Files, what: &str) {
    let session = open(files).expect("what was written opens");
    let proof = futures_executor::block_on(session.check_manifest(None, &Uncontrolled))
        .expect("a manifest is written");
    assert!(proof.verified, "{what} wrote a manifest that says otherwise: {:?}", proof.problems);
    let report = session.report().unwrap();
    let broken: Vec<_> =
        report.findings.iter().filter(|f| f.rule.starts_with("SH5") || f.rule == "ST001").collect();
    assert!(broken.is_empty(), "{what} wrote {broken:?}");
}

/// Builds a checkpoint from the bytes, corrupts it, and takes it all the way.
pub fn checkpoint(bytes: &[u8]) {
    let mut choice = Bytes(bytes);
    let (weights, config) = BASES[choice.below(BASES.len())];
    let target = TARGETS[choice.below(TARGETS.len())];
    let mut files: Files =
        vec![("model.safetensors".into(), weights.to_vec()), ("config.json".into(), config.to_vec())];
    for _ in 0..choice.next() % 6 {
        let which = usize::from(choice.next().is_multiple_of(4));
        corrupt(&mut files[which].1, &mut choice);
    }
    let Some(mut session) = open(&files) else { return };
    let cpu = CpuEngine::new();
    let engines = || Engines { gpu: None, cpu: &cpu };
    let untouched = files.clone();
    for row in session.report().unwrap().layers.iter().take(4) {
        let _ = session.layer(&row.name);
        let _ = futures_executor::block_on(session.layer_values(&row.name, &Uncontrolled));
    }
    let _ = futures_executor::block_on(session.verify(engines(), &Uncontrolled));
    assert!(session.report().unwrap().findings.iter().all(|f| !f.message.is_empty()));
    let mut sink = Memory::default();
    match futures_executor::block_on(session.repair(&[], &mut sink, &Uncontrolled)) {
        Ok(_) => is_sound(&sink.finished.into_iter().collect(), "repair"),
        Err(_) => assert!(sink.finished.is_empty(), "a failed repair left files"),
    }
    let request = ConvertRequest { to: target.into(), ..ConvertRequest::default() };
    let mut sink = Memory::default();
    match futures_executor::block_on(session.convert(&request, engines(), &mut sink, &Uncontrolled)) {
        Ok(_) => is_sound(&sink.finished.into_iter().collect(), "convert"),
        Err(_) => assert!(sink.finished.is_empty(), "a failed conversion left files"),
    }
    assert_eq!(files, untouched);
}
