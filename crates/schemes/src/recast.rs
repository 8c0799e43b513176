//! Taking a quantized layer over into another scheme's form, value for value, without quantizing anew.

use crate::decode::Slab;
use crate::encode::Output;

/// Whether every value is the same afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lossless {
    /// Yes, whatever the data.
    Yes,
    /// Some may change.
    No,
    /// Only the data tell.
    DataDecides,
}

/// A change of form, span by span.
pub trait Recast {
    /// The tensors that stand for the layer afterwards, the weight first.
    fn outputs(&self) -> Vec<Output>;

    /// A tensor that must be seen from beginning to end first, by leaf name.
    fn surveys(&self) -> Option<&'static str> {
        None
    }

    /// Takes in the next bytes of that tensor.
    fn survey(&mut self, _bytes: &[u8]) {}

    /// Bytes at whose multiples an output may be cut.
    fn unit(&self, output: usize) -> u64;

    /// The bytes of the source that a span of an output needs.
    fn needs(&self, output: usize, span: std::ops::Range<u64>) -> Vec<Slab>;

    /// The bytes of that span.
    fn produce(&self, output: usize, span: std::ops::Range<u64>, parts: &[Vec<u8>]) -> Vec<u8>;

    /// Whether every value is the same afterwards: before the survey, or after it.
    fn lossless(&self) -> Lossless;

    /// Blocks of values that [`Self::inexact`] counts among.
    fn blocks(&self) -> u64 {
        0
    }

    /// How many blocks of a span of the first output have other values afterwards, where only the data tell, out
    /// of the bytes that [`Self::needs`] asks for. Only after the survey.
    fn inexact(&self, _span: std::ops::Range<u64>, _parts: &[Vec<u8>]) -> u64 {
        0
    }

    /// What is not exactly the same afterwards, in words; `None` if every value is.
    fn loss(&self) -> Option<String> {
        None
    }
}
