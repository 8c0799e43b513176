//! What fuzzing asks. Every function takes bytes as a file would hold them and panics if a promise is broken:
//! nothing else may panic, whatever the bytes are.
//!
//! The same functions run over stored seeds and found cases in a plain test, so that a case once found stays
//! found without the fuzzer.

mod checkpoint;
mod header;
mod sink;

pub use checkpoint::checkpoint;
pub use header::header;

use quantscope_convert::Calibration;
use quantscope_format::{Glob, Limits, ModelConfig, QuantDeclaration, ShardIndex};

/// Limits small enough that a fuzzer reaches them.
#[must_use]
pub fn limits() -> Limits {
    Limits { header_bytes: 1 << 20, tensors: 1000, name_bytes: 512, json_bytes: 1 << 20, ..Limits::default() }
}

/// An index: accepted only if it is JSON, and no entry leads out of the folder unsaid.
pub fn index(bytes: &[u8]) {
    let Ok(index) = ShardIndex::parse(bytes, &limits()) else { return };
    assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok(), "an index that is no JSON was taken");
    for file in index.files() {
        let climbs = file.split(['/', '\\']).any(|part| part == "..");
        let absolute = file.starts_with('/') || file.starts_with('\\');
        assert!(
            !(climbs || absolute) || quantscope_format::leaves_folder(file).is_some(),
            "{file:?} leaves the folder, and nobody says so"
        );
    }
}

/// `config.json`, and what it declares of quantization.
pub fn model_config(bytes: &[u8]) {
    let Ok(config) = ModelConfig::parse(bytes, &limits()) else { return };
    let other: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    assert!(other.is_ok_and(|value| value == config.value), "a config was read as something else");
    let _ = QuantDeclaration::from_model_config(&config);
}

/// `hf_quant_config.json`.
pub fn hf_quant_config(bytes: &[u8]) {
    if QuantDeclaration::parse_hf_quant_config(bytes, &limits()).is_ok() {
        assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok(), "no JSON, but taken");
    }
}

/// A glob and a path, divided by the first newline; compared with a matcher that tries every way.
pub fn glob(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (pattern, path) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(glob) = Glob::new(pattern) else { return };
    let matched = glob.is_match(path);
    assert_eq!(glob.pattern(), pattern);
    // Brackets have rules of their own, which the golden cases of the reference hold.
    if !pattern.contains('[') && pattern.chars().count() <= 24 && path.chars().count() <= 24 {
        let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
        assert_eq!(matched, tries_every_way(&pattern, &path), "{pattern:?} on {path:?}");
    }
}

fn tries_every_way(pattern: &[char], path: &[char]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some(('*', rest)) => (0..=path.len()).any(|taken| tries_every_way(rest, &path[taken..])),
        Some(('?', rest)) => path.split_first().is_some_and(|(_, path)| tries_every_way(rest, path)),
        Some((first, rest)) => {
            path.split_first().is_some_and(|(own, path)| own == first && tries_every_way(rest, path))
        }
    }
}

/// A calibration as JSON: what is taken is finite or absent.
pub fn calibration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if Calibration::from_json(text).is_ok() {
        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "a calibration that is no JSON was taken");
    }
}
