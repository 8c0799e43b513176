//! The parts that the usual form of a header is made of: what each method passes is taken to the byte, and of
//! anything else it gives nothing.

use crate::limits::Limits;
use crate::plain_text::{digits, has_pair, plain_len};
use quantscope_numeric::Dtype;

/// Metadata keys that are compared one by one.
const MOST_METADATA: usize = 64;
/// Bytes of the longest name of a type, and the quote behind it.
const LONGEST_TAG: usize = 12;

/// Type, how many dimensions, and place of a tensor.
pub(crate) type Value = (Dtype, usize, (u64, u64));

/// A place in the text.
pub(crate) struct Place<'de> {
    /// What is read.
    pub(crate) text: &'de [u8],
    /// Bytes of it that were read.
    pub(crate) at: usize,
}

impl<'de> Place<'de> {
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn rest(&self) -> Option<&'de [u8]> {
        self.text.get(self.at..)
    }

    /// The next byte that is no blank, which is passed over if it is this one.
    pub(crate) fn takes(&mut self, byte: u8) -> bool {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Option<()> {
        self.takes(byte).then_some(())
    }

    /// Passes exactly this text.
    fn passes(&mut self, text: &[u8]) -> Option<()> {
        self.rest()?.starts_with(text).then_some(())?;
        self.at += text.len();
        Some(())
    }

    /// Passes a comma, or the end of a list; whether it goes on.
    pub(crate) fn goes_on(&mut self, end: u8) -> Option<bool> {
        if self.takes(b',') { Some(true) } else { self.expect(end).map(|()| false) }
    }

    /// A string of printing ASCII without escapes.
    fn string(&mut self) -> Option<&'de str> {
        self.expect(b'"')?;
        let rest = self.rest()?;
        let len = plain_len(rest);
        if rest.get(len) != Some(&b'"') {
            return None;
        }
        self.at += len + 1;
        str::from_utf8(rest.get(..len)?).ok()
    }

    /// A name that nobody has to look at twice: not empty, no path.
    pub(crate) fn name(&mut self) -> Option<&'de str> {
        let name = self.string()?;
        let bytes = name.as_bytes();
        let is_path = matches!(bytes, [] | [b'/' | b'\\', ..] | [_, b':', ..]);
        (!is_path && !has_pair(bytes, b'.')).then_some(name)
    }

    fn number(&mut self) -> Option<u64> {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
        let rest = self.rest()?;
        let (number, count) = digits(rest)?;
        self.at += count;
        let has_leading_zero = count > 1 && rest.first() == Some(&b'0');
        (!has_leading_zero).then_some(number)
    }

    /// Few numbers, as a tensor has dimensions, behind the bracket that opens them; how many they are.
    fn list(&mut self, most: u64, into: &mut [u64]) -> Option<usize> {
        let mut count = 0;
        let mut is_open = !self.takes(b']');
        while is_open {
            if count as u64 >= most {
                return None;
            }
            *into.get_mut(count)? = self.number()?;
            count += 1;
            is_open = self.goes_on(b']')?;
        }
        Some(count)
    }

    /// Two numbers, behind the bracket that opens them.
    fn pair(&mut self) -> Option<(u64, u64)> {
        let begin = self.number()?;
        self.expect(b',')?;
        let end = self.number()?;
        self.expect(b']')?;
        Some((begin, end))
    }

    pub(crate) fn tensor(&mut self, limits: &Limits, dims: &mut [u64]) -> Option<Value> {
        let begin = self.at;
        let written = self.written_tensor(limits, dims);
        written.or_else(|| {
            self.at = begin;
            self.spaced_tensor(limits, dims)
        })
    }

    /// A tensor as the reference writes it, to the byte.
    fn written_tensor(&mut self, limits: &Limits, dims: &mut [u64]) -> Option<Value> {
        self.passes(b"{\"dtype\":\"")?;
        let rest = self.rest()?;
        let len = rest.iter().take(LONGEST_TAG).position(|byte| *byte == b'"')?;
        let dtype = Dtype::from_tag(str::from_utf8(rest.get(..len)?).ok()?)?;
        self.at += len;
        self.passes(b"\",\"shape\":[")?;
        let rank = self.list(limits.dims, dims)?;
        self.passes(b",\"data_offsets\":[")?;
        let span = self.pair()?;
        self.passes(b"}")?;
        Some((dtype, rank, span))
    }

    /// A tensor with its fields in any order, and with blanks between.
    fn spaced_tensor(&mut self, limits: &Limits, dims: &mut [u64]) -> Option<Value> {
        let (mut dtype, mut rank, mut span) = (None, None, None);
        self.expect(b'{')?;
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            let is_new = match key {
                "dtype" => dtype.replace(Dtype::from_tag(self.string()?)?).is_none(),
                "shape" => {
                    self.expect(b'[')?;
                    rank.replace(self.list(limits.dims, dims)?).is_none()
                }
                "data_offsets" => {
                    self.expect(b'[')?;
                    span.replace(self.pair()?).is_none()
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
            if !self.goes_on(b'}')? {
                return Some((dtype?, rank?, span?));
            }
        }
    }

    /// Keys and values; a value may hold escapes, which configs in JSON do.
    pub(crate) fn metadata(&mut self) -> Option<Vec<(String, String)>> {
        self.expect(b'{')?;
        let mut pairs: Vec<(String, String)> = Vec::new();
        let mut is_open = !self.takes(b'}');
        while is_open {
            let key = self.string()?;
            self.expect(b':')?;
            let value = self.escaped()?;
            if pairs.len() >= MOST_METADATA || pairs.iter().any(|(known, _)| known == key) {
                return None;
            }
            pairs.push((key.to_owned(), value));
            is_open = self.goes_on(b'}')?;
        }
        Some(pairs)
    }

    /// A string whose escapes are read as everywhere else.
    fn escaped(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let rest = self.rest()?;
        let mut len = 0;
        while *rest.get(len)? != b'"' {
            len += if rest.get(len) == Some(&b'\\') { 2 } else { 1 };
        }
        let whole = self.text.get(self.at - 1..self.at + len + 1)?;
        self.at += len + 1;
        serde_json::from_slice(whole).ok()
    }
}
