//! `Content-Range` (RFC 9110, section 14.4), and what an answer has to be to be taken.

use crate::error::{RemoteError, shown};
use crate::transport::{Answer, RangeRequest};

/// What an answer gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Bytes from the start of the range on, as far as they came.
    pub(crate) bytes: Vec<u8>,
    /// Length of the whole file.
    pub(crate) len: u64,
    /// The file's tag, if it is one that names its bytes exactly.
    pub(crate) etag: Option<String>,
    /// Why bytes are missing, if some are.
    pub(crate) cut: Option<String>,
}

/// What a failed answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may pass: the same again later.
    Passing(RemoteError),
    /// It will not.
    Final(RemoteError),
}

/// `bytes 0-9/100`: first byte, last byte, length; `bytes */100`: the length alone.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    bounds: Option<(u64, u64)>,
    len: u64,
}

fn parse(header: &str) -> Option<ContentRange> {
    // `u64::from_str` alone would take a sign.
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
    let (unit, rest) = header.trim().split_once(' ')?;
    let (bounds, len) = rest.trim().split_once('/')?;
    let len = number(len)?;
    let bounds = match bounds {
        "*" => None,
        bounds => {
            let (first, last) = bounds.split_once('-')?;
            let (first, last) = (number(first)?, number(last)?);
            (first <= last && last < len).then_some(())?;
            Some((first, last))
        }
    };
    unit.eq_ignore_ascii_case("bytes").then_some(ContentRange { bounds, len })
}

/// Takes an answer apart.
///
/// # Errors
/// If it is not the range that was asked for.
pub(crate) fn take(request: &RangeRequest, answer: Answer) -> Result<Part, Failure> {
    let url = shown(&request.url);
    let etag = answer.etag.clone().filter(|tag| tag.starts_with('"') && tag.len() <= 256);
    let wrong = |found: String| {
        let expected = format!("bytes {}-{}", request.range.start, request.range.end.saturating_sub(1));
        Failure::Final(RemoteError::WrongRange { url: url.clone(), expected, found })
    };
    let got = answer.body.len() as u64;
    match answer.status {
        206 => {
            let Some(header) = &answer.content_range else {
                return Err(wrong("a part that does not say where it belongs (no Content-Range, or the server hides it from pages)".into()));
            };
            let said = parse(header).and_then(|said| Some((said.bounds?, said.len)));
            let Some(((first, last), len)) = said else { return Err(wrong(quoted(header))) };
            if first != request.range.start || last >= request.range.end {
                return Err(wrong(quoted(header)));
            }
            let announced = last - first + 1;
            if got > announced {
                return Err(wrong(format!("more bytes than the {announced} that it announced")));
            }
            let cut = answer.cut.or_else(|| (got < announced).then(|| "the answer was too short".into()));
            Ok(Part { bytes: answer.body, len, etag, cut })
        }
        // The whole file: fine, if the whole was asked for.
        200 => {
            let len = answer.content_length.unwrap_or(got);
            if request.range.start != 0 || len > request.range.end || got > len {
                return Err(Failure::Final(RemoteError::NoRanges { url }));
            }
            if answer.cut.is_some() || got < len {
                let reason = answer.cut.unwrap_or_else(|| "the answer was too short".into());
                return Err(Failure::Passing(RemoteError::BrokeOff { url, got, wanted: len, reason }));
            }
            Ok(Part { bytes: answer.body, len, etag, cut: None })
        }
        // A file that ends before the range.
        416 => match answer.content_range.as_deref().and_then(parse) {
            Some(ContentRange { bounds: None, len }) if len <= request.range.start => {
                Ok(Part { bytes: Vec::new(), len, etag, cut: None })
            }
            _ => Err(wrong("no range at all (status 416)".into())),
        },
        status @ (404 | 410) => Err(Failure::Final(RemoteError::Missing { url, status })),
        status @ (401 | 403) => Err(Failure::Final(RemoteError::Denied { url, status })),
        status @ (408 | 429 | 500 | 502 | 503 | 504) => {
            Err(Failure::Passing(RemoteError::Status { url, status }))
        }
        status => Err(Failure::Final(RemoteError::Status { url, status })),
    }
}

/// A header as an error shows it.
fn quoted(header: &str) -> String {
    let short: String = header.chars().filter(|c| !c.is_control()).take(80).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        assert_eq!(parse("bytes 2-9/10"), Some(ContentRange { bounds: Some((2, 9)), len: 10 }));
        assert_eq!(parse("Bytes */0"), Some(ContentRange { bounds: None, len: 0 }));
        let most = u64::MAX;
        assert_eq!(
            parse(&format!("bytes 0-0/{most}")),
            Some(ContentRange { bounds: Some((0, 0)), len: most })
        );
        for wrong in [
            "bytes 2-9/*",
            "bytes 9-2/10",
            "bytes 2-10/10",
            "bytes -1-2/10",
            "bytes +2-9/10",
            "items 0-1/2",
            "bytes 0-1/99999999999999999999",
            "bytes=0-1/2",
            "bytes 0-1",
            "",
            "bytes 0/1",
            "bytes */",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    fn asked(range: std::ops::Range<u64>) -> RangeRequest {
        RangeRequest { url: "https://h/f?secret=1".into(), range, token: None }
    }

    fn part(content_range: &str, bytes: usize) -> Answer {
        let content_range = Some(content_range.to_owned());
        Answer { status: 206, content_range, body: vec![7; bytes], ..Answer::default() }
    }

    #[test]
    fn only_the_range_that_was_asked_for_is_taken() {
        assert_eq!(take(&asked(4..8), part("bytes 4-7/10", 4)).unwrap().len, 10);
        // A server may give less than was asked for, from the same start.
        assert_eq!(take(&asked(4..8), part("bytes 4-5/10", 2)).unwrap().cut, None);
        assert!(take(&asked(4..8), part("bytes 4-7/10", 3)).unwrap().cut.is_some());
        for wrong in
            [part("bytes 3-7/10", 5), part("bytes 4-8/10", 5), part("bytes 4-7/10", 5), part("bytes 4-7", 4)]
        {
            let said = take(&asked(4..8), wrong.clone());
            assert!(
                matches!(said, Err(Failure::Final(RemoteError::WrongRange { .. }))),
                "{wrong:?}: {said:?}"
            );
        }
        let unlabelled = Answer { status: 206, body: vec![0; 4], ..Answer::default() };
        assert!(take(&asked(4..8), unlabelled).is_err());
    }

    #[test]
    fn a_whole_file_is_taken_where_the_whole_was_asked_for() {
        let whole = |len, bytes| Answer {
            status: 200,
            content_length: len,
            body: vec![7; bytes],
            ..Answer::default()
        };
        assert_eq!(take(&asked(0..100), whole(Some(30), 30)).unwrap().len, 30);
        assert_eq!(take(&asked(0..100), whole(None, 30)).unwrap().len, 30);
        let no_ranges = RemoteError::NoRanges { url: "https://h/f".into() };
        for (range, answer) in [
            (0..8, whole(Some(1 << 40), 0)),
            (0..8, whole(None, 9)),
            (8..16, whole(Some(30), 30)),
            (0..8, whole(Some(4), 9)),
        ] {
            assert_eq!(take(&asked(range), answer), Err(Failure::Final(no_ranges.clone())));
        }
        assert!(matches!(take(&asked(0..100), whole(Some(30), 20)), Err(Failure::Passing(_))));
    }

    #[test]
    fn statuses_are_told_apart() {
        let status = |status| take(&asked(0..8), Answer { status, ..Answer::default() }).unwrap_err();
        for (number, passing) in
            [(404, false), (401, false), (429, true), (503, true), (400, false), (302, false)]
        {
            assert_eq!(matches!(status(number), Failure::Passing(_)), passing, "{number}");
        }
        let empty = Answer { status: 416, content_range: Some("bytes */0".into()), ..Answer::default() };
        assert_eq!(take(&asked(0..8), empty.clone()).unwrap().len, 0);
        let lying = Answer { content_range: Some("bytes */50".into()), ..empty };
        assert!(take(&asked(0..8), lying).is_err());
    }
}
