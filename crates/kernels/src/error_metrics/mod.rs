//! Kernel `error_metrics`: how far decoded values are from the source they were made of.
//!
//! Exact, so that both engines tell the same bits: the difference of two F32 numbers is taken with integers
//! (`shared/softfloat.wgsl`), and sums of squares are integers, whose order does not matter. A magnitude is
//! cut to the leading 16 bits of its significand, `m * 2^(k - 15)`, and the sum of its squares is one whole number,
//! wide enough for every exponent `k` that F32 has, subnormals included ([`Squares`]). So there is no scale to
//! choose, and nothing is too small or too large to be counted. The shader adds the squares `m * m` up by exponent,
//! the CPU twin in F64, exactly.
//!
//! Resolution: cutting makes a magnitude smaller by less than 2^-15 of itself, so each sum of squares is too
//! small by less than 2^-14 of itself, and the ratio of two of them is off by less than 0.0003 dB. The
//! largest error is exact.

pub(crate) mod cpu;
pub(crate) mod packed;
mod squares;

pub use squares::Squares;

use crate::engine::{EngineError, FloatTile};
use crate::spec::{Binding, Exactness, KernelSpec, params};
use serde::{Deserialize, Serialize};

/// Exponents of F32 magnitudes, from 2^-149 to 2^127.
pub const EXPONENTS: usize = EXPONENT_COUNT as usize;
const EXPONENT_COUNT: u32 = 277;

/// The exponent of the first.
const LEAST_EXPONENT: i32 = -149;

/// Elements an invocation of the shader reads. A workgroup adds up halves of squares in 32 bits, which this
/// keeps from overflowing: 64 * 64 * 65535 is below 2^28.
pub const ELEMENTS_PER_INVOCATION: u32 = 64;

/// Words of the shader's result.
pub const METRICS_WORDS: u32 = 4 * EXPONENT_COUNT + 2;

params! {
    /// What the shader is told of a tile.
    pub struct Params {
        /// Elements of the tile.
        element_count,
        /// The type of the source elements, as `shared/source.wgsl` numbers them.
        dtype,
    }
}

/// The shader's description. `metrics` holds [`METRICS_WORDS`] words, zero before the first dispatch: for
/// each exponent the sum of the signal's squares, low word and high word; then those of the error; the
/// largest error; the count of elements that are not finite.
pub static SPEC: KernelSpec = KernelSpec {
    name: "error_metrics",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "softfloat", "source"],
    constants: &[
        ("ELEMENTS_PER_INVOCATION", ELEMENTS_PER_INVOCATION),
        ("EXPONENTS", EXPONENT_COUNT),
        ("ERRORS_AT", 2 * EXPONENT_COUNT),
        ("MAX_ABS_AT", 4 * EXPONENT_COUNT),
        ("NOT_FINITE_AT", 4 * EXPONENT_COUNT + 1),
    ],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[Binding::read("source"), Binding::read("decoded"), Binding::write("metrics")],
};

/// How far the decoded values of a tensor are from their source. Metrics of tiles add up.
///
/// Elements that are not finite, decoded or in the source, or whose difference is not, are counted and
/// otherwise left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ErrorMetrics {
    /// Elements that are left out.
    pub not_finite: u64,
    /// The largest magnitude of an error, the difference rounded to F32; as bits.
    pub max_abs_bits: u32,
    /// Squares of the source.
    pub signal: Squares,
    /// Squares of the errors.
    pub error: Squares,
}

impl ErrorMetrics {
    /// Reads the shader's result; `None` if it does not have [`METRICS_WORDS`] words.
    #[must_use]
    pub fn from_words(words: &[u32]) -> Option<Self> {
        let (signal, rest) = words.split_at_checked(2 * EXPONENTS)?;
        let (error, rest) = rest.split_at_checked(2 * EXPONENTS)?;
        let &[max_abs_bits, not_finite] = rest else { return None };
        let squares = |words: &[u32]| {
            let pairs = words.as_chunks::<2>().0.iter();
            Squares::new(pairs.map(|&[low, high]| u64::from(low) | (u64::from(high) << 32)))
        };
        let (signal, error) = (squares(signal), squares(error));
        Some(Self { not_finite: u64::from(not_finite), max_abs_bits, signal, error })
    }

    /// Adds the metrics of another tile.
    pub fn add(&mut self, other: &Self) {
        self.not_finite += other.not_finite;
        self.max_abs_bits = self.max_abs_bits.max(other.max_abs_bits);
        self.signal.add(&other.signal);
        self.error.add(&other.error);
    }

    /// The largest error.
    #[must_use]
    pub fn max_abs(&self) -> f32 {
        f32::from_bits(self.max_abs_bits)
    }

    /// Ten times the decimal logarithm of signal to error, within 0.0003 dB; infinite if nothing differs.
    #[must_use]
    pub fn sqnr_db(&self) -> f64 {
        match self.error.total() {
            0.0 => f64::INFINITY,
            error => 10.0 * (self.signal.total() / error).log10(),
        }
    }
}

/// Checks a tile and its decoded values.
///
/// # Errors
/// [`EngineError::TileSize`] if the tile has not the bytes of its shape, or `decoded` not as many words as the
/// tile has elements.
pub fn check(tile: &FloatTile<'_>, decoded: &[u32]) -> Result<(), EngineError> {
    tile.check()?;
    let expected = u64::from(tile.rows) * u64::from(tile.cols);
    let found = u64::try_from(decoded.len()).unwrap_or(u64::MAX);
    if expected == found { Ok(()) } else { Err(EngineError::TileSize { expected, found }) }
}
