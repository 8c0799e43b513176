//! Random checkpoints through one process, over and over: opened, audited, tried, converted, verified. No error, and
//! no growth of memory. `QUANTSCOPE_SOAK_MINUTES` says for how long; without it a few rounds are run.

#![allow(clippy::panic, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use quantscope_format::{Limits, Uncontrolled};
use quantscope_session::api::{ConvertRequest, PreviewRequest};
use quantscope_session::{CpuEngine, Engines, InputFile, Session};
use quantscope_tests::jobs::{Files, converted};
use quantscope_tests::specimen::file;
use quantscope_tests::tensors::{Stored, Tensors, file_of};
use quantscope_tests::trend::Trend;
use std::time::{Duration, Instant};

/// Rounds of a short run.
const ROUNDS: u64 = 4;
/// The part of a run in which memory may grow: caches, and what the allocator keeps.
const WARM_UP: f64 = 0.2;
/// What memory may grow by after that, in MiB: what the allocator's noise comes to, far below what losing one layer a
/// round would.
const GROWTH_MIB: f64 = 8.0;
const SCHEMES: [&str; 8] = ["nvfp4", "nvfp4-mse", "fp8", "fp8-block", "mxfp8", "mxfp4", "int4", "int8"];

/// Numbers by chance (SplitMix64): the same seed gives the same run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// A weight of ordinary values in BF16 or F32, sides in multiples of 128.
fn weight(chance: &mut Chance) -> Stored {
    let shape = vec![128 * (1 + chance.below(4)), 128 * (1 + chance.below(4))];
    let wide = chance.below(3) == 0;
    let mut bytes = Vec::new();
    for _ in 0..shape.iter().product::<u64>() {
        let random = chance.next();
        // Between 2^-12 and 2^-2, of either sign.
        let high = u16::try_from((random & 0x807f) | ((115 + (random >> 16) % 10) << 7)).unwrap_or(0);
        if wide {
            bytes.extend(u16::try_from((random >> 32) & 0xffff).unwrap_or(0).to_le_bytes());
        }
        bytes.extend(high.to_le_bytes());
    }
    Stored { dtype: if wide { "F32" } else { "BF16" }.into(), shape, bytes }
}

fn checkpoint(chance: &mut Chance) -> Files {
    let mut tensors = Tensors::new();
    for layer in 0..1 + chance.below(4) {
        for leaf in ["self_attn.q_proj", "mlp.up_proj"] {
            tensors.insert(format!("model.layers.{layer}.{leaf}.weight"), weight(chance));
        }
        let norm = Stored { dtype: "BF16".into(), shape: vec![64], bytes: vec![0x3f; 128] };
        tensors.insert(format!("model.layers.{layer}.input_layernorm.weight"), norm);
    }
    let config = br#"{"model_type": "llama", "torch_dtype": "bfloat16"}"#.to_vec();
    let metadata = [("format".to_string(), "pt".to_string())];
    Files::from([("config.json".into(), config), ("model.safetensors".into(), file_of(&tensors, &metadata))])
}

fn inputs(files: &Files) -> Vec<InputFile> {
    files.iter().map(|(name, bytes)| file(name, bytes.clone())).collect()
}

/// One round; answers what it did, in words.
async fn round(chance: &mut Chance) -> String {
    let files = checkpoint(chance);
    let cpu = CpuEngine::new();
    let engines = Engines { gpu: None, cpu: &cpu };
    let limits = Limits { tile_bytes: 1 << (10 + chance.below(12)), ..Limits::default() };
    let scheme = SCHEMES[usize::try_from(chance.below(8)).unwrap_or(0)];
    let told = |what: &str, error: &dyn std::fmt::Display| -> String { format!("{scheme}, {what}: {error}") };
    let mut source = Session::open("random", inputs(&files), limits, &Uncontrolled)
        .await
        .unwrap_or_else(|e| panic!("{}", told("opening", &e)));
    source.verify(engines, &Uncontrolled).await.unwrap_or_else(|e| panic!("{}", told("auditing", &e)));
    let layer = source.layers_to_try("", 1).first().map(|c| c.name.clone()).expect("a layer to try");
    let wanted = PreviewRequest { layer, schemes: vec![scheme.into()], ..PreviewRequest::default() };
    let tried = source.preview(&wanted, engines, &Uncontrolled).await;
    tried.unwrap_or_else(|e| panic!("{}", told("trying", &e)));
    let request = ConvertRequest { to: scheme.into(), ..ConvertRequest::default() };
    let output = converted(&files, &request, None, &limits)
        .await
        .unwrap_or_else(|e| panic!("{}", told("converting", &e)));
    let other = Limits { tile_bytes: 1 << (10 + chance.below(12)), ..limits };
    let again =
        converted(&files, &request, None, &other).await.unwrap_or_else(|e| panic!("{}", told("again", &e)));
    assert!(output == again, "{scheme}: tiles of {} and {} bytes", limits.tile_bytes, other.tile_bytes);
    let mut made = Session::open("made", inputs(&output), limits, &Uncontrolled)
        .await
        .unwrap_or_else(|e| panic!("{}", told("opening the result", &e)));
    made.verify(engines, &Uncontrolled).await.unwrap_or_else(|e| panic!("{}", told("verifying", &e)));
    assert_eq!(made.overview().errors, 0, "{scheme}: {:?}", made.findings());
    let proof = made.check_manifest(Some(&source), &Uncontrolled).await;
    let proof = proof.unwrap_or_else(|e| panic!("{}", told("checking the manifest", &e)));
    assert!(proof.verified, "{scheme}: {proof:?}");
    format!("{scheme}, {} bytes", output.values().map(Vec::len).sum::<usize>())
}

/// Memory of this process that is in use, in MiB; `None` where the system does not say.
fn resident_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

#[test]
fn random_checkpoints_go_through_and_nothing_is_kept() {
    let minutes: Option<f64> =
        std::env::var("QUANTSCOPE_SOAK_MINUTES").ok().and_then(|text| text.parse().ok());
    let length = Duration::from_secs_f64(minutes.unwrap_or(0.0) * 60.0);
    let seed = std::env::var("QUANTSCOPE_SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let (mut chance, mut trend, began) = (Chance(seed), Trend::default(), Instant::now());
    let mut rounds = 0_u64;
    let mut told = Instant::now();
    while rounds < ROUNDS || began.elapsed() < length {
        let what = futures_executor::block_on(round(&mut chance));
        rounds += 1;
        let Some(memory) = resident_mib() else { continue };
        trend.add(began.elapsed().as_secs_f64(), memory);
        if minutes.is_some() && told.elapsed() > Duration::from_secs(60) {
            told = Instant::now();
            println!(
                "{:.0} s, {rounds} rounds, {memory:.1} MiB, last: {what}",
                began.elapsed().as_secs_f64()
            );
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let Some(line) = trend.line(WARM_UP) else {
        println!("{rounds} rounds in {seconds:.0} s; too few samples of memory for a line");
        return;
    };
    println!(
        "{rounds} rounds in {seconds:.0} s: {:.1} MiB on average, growing by {:.2} MiB",
        line.mean, line.growth
    );
    // A short run is warming up all the time.
    if minutes.is_some() {
        assert!(line.growth < GROWTH_MIB, "memory grew by {:.1} MiB", line.growth);
    }
}
