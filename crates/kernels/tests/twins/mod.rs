//! What every engine must pass: agreement with another engine on seeded tiles, and with ModelOpt's bytes.
//! The tests of the WebGPU engine use this folder too.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test that includes this folder uses a part of it")]

pub(crate) mod compare;
pub(crate) mod faulty;
pub(crate) mod golden;
pub(crate) mod golden_codes;
pub(crate) mod golden_static;
pub(crate) mod random;
pub(crate) mod reference;
pub(crate) mod reference_codes;

#[path = "../../src/absmax/tests.rs"]
pub(crate) mod absmax;
#[path = "../../src/block_absmax/tests.rs"]
pub(crate) mod block_absmax;
#[path = "../../src/byte_census/tests.rs"]
pub(crate) mod byte_census;
#[path = "../../src/error_metrics/tests.rs"]
pub(crate) mod error_metrics;
#[path = "../../src/fp4_decode/tests.rs"]
pub(crate) mod fp4_decode;
#[path = "../../src/fp8_decode/tests.rs"]
pub(crate) mod fp8_decode;
#[path = "../../src/fp8_encode/tests.rs"]
pub(crate) mod fp8_encode;
#[path = "../../src/fp8_verify/tests.rs"]
pub(crate) mod fp8_verify;
#[path = "../../src/mx_encode/tests.rs"]
pub(crate) mod mx_encode;
#[path = "../../src/nvfp4_encode/tests.rs"]
pub(crate) mod nvfp4_encode;
#[path = "../../src/nvfp4_quantize/tests.rs"]
pub(crate) mod nvfp4_quantize;
#[path = "../../src/nvfp4_search/tests.rs"]
pub(crate) mod nvfp4_search;
#[path = "../../src/nvfp4_verify/tests.rs"]
pub(crate) mod nvfp4_verify;
#[path = "../../src/scale_verify/tests.rs"]
pub(crate) mod scale_verify;

use quantscope_kernels::{Engine, Kernel};

/// How many tiles agreed, or what the first difference was.
pub(crate) type Outcome = Result<usize, String>;

/// Runs one kernel on both engines over its seeded tiles.
pub(crate) async fn agree(kernel: Kernel, expected: &dyn Engine, found: &dyn Engine) -> Outcome {
    match kernel {
        Kernel::AbsMax => absmax::agree(expected, found).await,
        Kernel::BlockAbsMax => block_absmax::agree(expected, found).await,
        Kernel::ByteCensus => byte_census::agree(expected, found).await,
        Kernel::ErrorMetrics => error_metrics::agree(expected, found).await,
        Kernel::Fp4Decode => fp4_decode::agree(expected, found).await,
        Kernel::Fp8Decode => fp8_decode::agree(expected, found).await,
        Kernel::Fp8Encode => fp8_encode::agree(expected, found).await,
        Kernel::MxEncode => mx_encode::agree(expected, found).await,
        Kernel::Fp8Verify => fp8_verify::agree(expected, found).await,
        Kernel::Nvfp4Encode => nvfp4_encode::agree(expected, found).await,
        Kernel::Nvfp4Quantize => nvfp4_quantize::agree(expected, found).await,
        Kernel::Nvfp4Search => nvfp4_search::agree(expected, found).await,
        Kernel::Nvfp4Verify => nvfp4_verify::agree(expected, found).await,
        Kernel::ScaleVerify => scale_verify::agree(expected, found).await,
    }
}

/// Holds an engine to another one on every kernel, and each comparison to its duty of seeing a fault: one
/// output bit flipped, or other inputs, must be reported.
pub(crate) async fn assert_agreement(expected: &dyn Engine, found: &dyn Engine) {
    for &kernel in Kernel::ALL {
        let name = kernel.spec().name;
        let tiles = agree(kernel, expected, found).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(tiles > 0, "{name}: nothing was compared");
        let flipped = agree(kernel, expected, &faulty::Flipped(found)).await;
        assert!(flipped.is_err(), "{name}: a flipped output bit was not seen");
        let other_input = agree(kernel, expected, &faulty::Inverted(found)).await;
        assert!(other_input.is_err(), "{name}: other inputs were not seen");
    }
}

/// Holds an engine to ModelOpt's bytes, and the comparison to seeing a flipped bit.
pub(crate) async fn assert_golden(engine: &dyn Engine) {
    let tensors = golden::agree(engine).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(tensors, 58, "golden tensors compared");
    let tensors = golden_static::agree(engine).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(tensors, 19, "golden tensors with static scales compared");
    let flipped = faulty::Flipped(engine);
    assert!(golden::agree(&flipped).await.is_err(), "a flipped output bit was not seen");
    assert!(golden_static::agree(&flipped).await.is_err(), "a flipped output bit was not seen");
    for (part, count) in golden_codes::Part::ALL {
        let tensors = golden_codes::agree(part, engine).await.unwrap_or_else(|e| panic!("{part:?}: {e}"));
        assert_eq!(tensors, count, "golden tensors compared: {part:?}");
        assert!(golden_codes::agree(part, &flipped).await.is_err(), "{part:?}: a flipped bit was not seen");
    }
}
