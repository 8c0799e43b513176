//! Who speaks HTTP: the door that the command line and the page implement.

use futures_util::future::LocalBoxFuture;
use std::fmt;
use std::ops::Range;

/// What opens a repository that is not open to everybody. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token; `None` for text that is empty, or that no header can carry.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.len() <= 4096 && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// The value of the `Authorization` header.
    #[must_use]
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A range of a file at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeRequest {
    /// `https://…`, or `http://…` of this machine.
    pub url: String,
    /// First byte, and one past the last; never empty.
    pub range: Range<u64>,
    /// Sent to the host of the address, and to none that it leads to.
    pub token: Option<Token>,
}

impl RangeRequest {
    /// The value of the `Range` header.
    #[must_use]
    pub fn header(&self) -> String {
        format!("bytes={}-{}", self.range.start, self.range.end.saturating_sub(1))
    }

    /// Most bytes of a body worth reading: one more than asked for, by which a body too long is told.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start).saturating_add(1)
    }
}

/// What a server answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Status, after redirects were followed.
    pub status: u16,
    /// `Content-Range`.
    pub content_range: Option<String>,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// `ETag`.
    pub etag: Option<String>,
    /// The first [`RangeRequest::most_bytes`] of the body; empty unless the status is 200 or 206.
    pub body: Vec<u8>,
    /// Why the body ends early, if it does.
    pub cut: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportError {
    /// The system's own words.
    pub reason: String,
}

/// Asks servers.
pub trait Transport {
    /// Asks for a range, follows redirects (never from `https` to `http`), and reads the body of an answer of
    /// status 200 or 206, unless it is a 200 that is announced to be longer than [`RangeRequest::most_bytes`].
    /// Gives up when nothing comes for half a minute. Dropping the future ends the request.
    fn get(&self, request: RangeRequest) -> LocalBoxFuture<'_, Result<Answer, TransportError>>;

    /// Waits.
    fn pause(&self, milliseconds: u32) -> LocalBoxFuture<'_, ()>;
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::new(" hf_secret\n").unwrap();
        assert_eq!(token.header(), "Bearer hf_secret");
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn what_no_header_carries_is_no_token() {
        for text in ["", "  ", "a b", "a\r\nX-Evil: 1", "é", &"a".repeat(5000)] {
            assert_eq!(Token::new(text), None, "{text:?}");
        }
    }
}
