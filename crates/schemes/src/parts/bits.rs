//! Small unsigned numbers in a dense little-endian stream of bits, as GPTQ, MLX and compressed-tensors pack
//! them: value `i` lies at bit `i * bits`, across words where they end inside a value.

use crate::parts::bytes::index;

/// The value at a place of a stream of values of 1 to 8 bits; `None` beyond its end.
pub(crate) fn at(stream: &[u8], place: u64, bits: u32) -> Option<u8> {
    let bit = place.checked_mul(u64::from(bits))?;
    let byte = index(bit / 8);
    let low = u16::from(*stream.get(byte)?);
    let shift = bit % 8;
    let crosses = shift + u64::from(bits) > 8;
    let high = if crosses { u16::from(*stream.get(byte.checked_add(1)?)?) } else { 0 };
    let value = (low | (high << 8)) >> shift;
    u8::try_from(value & ((1 << bits) - 1)).ok()
}

/// Codes of a run that begins with a byte, as many as asked for; fewer where the bytes end.
pub(crate) fn unpack(bytes: &[u8], bits: u32, count: usize, codes: &mut Vec<u8>) {
    codes.clear();
    match bits {
        8 => codes.extend_from_slice(bytes.get(..count).unwrap_or(bytes)),
        4 => codes.extend(bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(count)),
        _ => codes.extend((0..).map_while(|place| at(bytes, place, bits)).take(count)),
    }
}

/// Words that `values` values take; `None` on overflow.
pub(crate) fn words(values: u64, bits: u64) -> Option<u64> {
    values.checked_mul(bits).map(|n| n.div_ceil(32))
}

#[cfg(test)]
mod tests {
    use super::{at, unpack};

    /// 3-bit values 1, 6, 5, 2 are 0b010_101_110_001, so the third crosses a byte.
    #[test]
    fn values_cross_bytes() {
        let stream = 0b0101_0111_0001_u16.to_le_bytes();
        let values: Vec<_> = (0..5).map(|i| at(&stream, i, 3)).collect();
        assert_eq!(values, [Some(1), Some(6), Some(5), Some(2), Some(0)]);
        assert_eq!(at(&stream, 5, 3), None, "its last bits are beyond the end");
        assert_eq!(at(&stream, u64::MAX, 3), None);
        assert_eq!(at(&[0xa5], 0, 8), Some(0xa5));
        for bits in 1..=8 {
            let bytes: Vec<u8> = (0..13_u8).map(|i| i.wrapping_mul(59) ^ 7).collect();
            let mut codes = Vec::new();
            unpack(&bytes, bits, 9, &mut codes);
            let expected: Vec<_> = (0..9).map(|i| at(&bytes, i, bits).unwrap()).collect();
            assert_eq!(codes, expected, "{bits} bits");
            unpack(&bytes[..1], bits, 9, &mut codes);
            assert_eq!(codes.len(), 8 / bits as usize, "what the bytes hold");
        }
    }
}
