//! Comparing results, and saying where they differ: index, both patterns, both values.

use quantscope_kernels::EngineError;
use quantscope_numeric::{e2m1, e4m3};
use std::fmt::Debug;

/// Compares packed E2M1 codes.
pub(crate) fn codes(what: &str, expected: &[u8], found: &[u8]) -> Result<(), String> {
    bytes(what, expected, found, |byte| {
        let (even, odd) = e2m1::unpack(byte);
        format!("({}, {})", e2m1::decode(even), e2m1::decode(odd))
    })
}

/// Compares E4M3 scales; NaN equals NaN of either sign, which depends on the processor.
pub(crate) fn scales(what: &str, expected: &[u8], found: &[u8]) -> Result<(), String> {
    let unsigned_nan = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().map(|&b| if e4m3::is_nan(b) { e4m3::NAN_BYTE } else { b }).collect()
    };
    bytes(what, &unsigned_nan(expected), &unsigned_nan(found), |byte| e4m3::decode(byte).to_string())
}

/// Compares codes and scale bytes of any kind.
pub(crate) fn exact(what: &str, expected: &[u8], found: &[u8]) -> Result<(), String> {
    bytes(what, expected, found, |byte| format!("{byte}, as E4M3 {}", e4m3::decode(byte)))
}

/// Compares F32 values by their bits.
pub(crate) fn values(what: &str, expected: &[u32], found: &[u32]) -> Result<(), String> {
    if expected.len() != found.len() {
        return Err(format!("{what}: {} values expected, {} found", expected.len(), found.len()));
    }
    match expected.iter().zip(found).position(|(e, f)| e != f) {
        None => Ok(()),
        Some(i) => {
            let (e, f) = (expected[i], found[i]);
            Err(format!(
                "{what}: value {i}: expected {e:#010x} = {:e}, found {f:#010x} = {:e}",
                f32::from_bits(e),
                f32::from_bits(f)
            ))
        }
    }
}

fn bytes(what: &str, expected: &[u8], found: &[u8], value: impl Fn(u8) -> String) -> Result<(), String> {
    if expected.len() != found.len() {
        return Err(format!("{what}: {} bytes expected, {} found", expected.len(), found.len()));
    }
    match expected.iter().zip(found).position(|(e, f)| e != f) {
        None => Ok(()),
        Some(i) => {
            let count = expected.iter().zip(found).filter(|(e, f)| e != f).count();
            let (e, f) = (expected[i], found[i]);
            Err(format!(
                "{what}: {count} of {} bytes differ; the first at {i}: expected {e:#04x} = {}, found {f:#04x} = {}",
                expected.len(),
                value(e),
                value(f)
            ))
        }
    }
}

/// Compares lists of F32 patterns.
pub(crate) fn words(what: &str, expected: &[u32], found: &[u32]) -> Result<(), String> {
    if expected.len() != found.len() {
        return Err(format!("{what}: {} words expected, {} found", expected.len(), found.len()));
    }
    match expected.iter().zip(found).position(|(e, f)| e != f) {
        None => Ok(()),
        Some(i) => {
            let (e, f) = (expected[i], found[i]);
            let (e_value, f_value) = (f32::from_bits(e), f32::from_bits(f));
            Err(format!("{what}: word {i}: expected {e:#010x} = {e_value:e}, found {f:#010x} = {f_value:e}"))
        }
    }
}

/// Compares whole results, refusals included.
pub(crate) fn results<T: PartialEq + Debug>(
    what: &str,
    expected: &Result<T, EngineError>,
    found: &Result<T, EngineError>,
) -> Result<(), String> {
    if expected == found {
        Ok(())
    } else {
        Err(format!("{what}:\nexpected {expected:?}\n   found {found:?}"))
    }
}
