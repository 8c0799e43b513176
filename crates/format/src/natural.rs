//! Natural order of module paths: numbers count as numbers, so `layers.2` comes before `layers.10`.

use std::cmp::Ordering;

/// Compares two module paths in natural order.
///
/// Runs of ASCII digits compare by value, everything else by code point. Paths that differ only in
/// leading zeros fall back to plain order, so that the order is total.
///
/// ```
/// use quantscope_format::natural_cmp;
/// let mut names = ["layers.10.w", "layers.2.w", "layers.2.a"];
/// names.sort_by(|a, b| natural_cmp(a, b));
/// assert_eq!(names, ["layers.2.a", "layers.2.w", "layers.10.w"]);
/// ```
#[must_use]
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    let same = common_start(a, b);
    let (mut left, mut right) = (a.get(same..).unwrap_or(a), b.get(same..).unwrap_or(b));
    loop {
        let (Some(l), Some(r)) = (left.chars().next(), right.chars().next()) else {
            // One is at its end: the shorter comes first; equal in value means plain order decides.
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        if l.is_ascii_digit() && r.is_ascii_digit() {
            let (left_number, left_rest) = split_number(left);
            let (right_number, right_rest) = split_number(right);
            // Without leading zeros the longer run of digits is the larger number.
            let order =
                left_number.len().cmp(&right_number.len()).then_with(|| left_number.cmp(right_number));
            if order != Ordering::Equal {
                return order;
            }
            (left, right) = (left_rest, right_rest);
        } else if l == r {
            left = left.get(l.len_utf8()..).unwrap_or_default();
            right = right.get(r.len_utf8()..).unwrap_or_default();
        } else {
            return l.cmp(&r);
        }
    }
}

/// Bytes at the start that are the same in both and decide nothing: whole characters, and no part of a run of
/// digits. Neighbours in a checkpoint have most of their names in common.
fn common_start(a: &str, b: &str) -> usize {
    const STEP: usize = 8;
    let (a_bytes, b_bytes) = (a.as_bytes(), b.as_bytes());
    let steps =
        a_bytes.chunks_exact(STEP).zip(b_bytes.chunks_exact(STEP)).take_while(|(l, r)| l == r).count();
    let whole = steps * STEP;
    let rest = a_bytes.iter().zip(b_bytes).skip(whole).take_while(|(l, r)| l == r).count();
    let mut same = whole + rest;
    // The start of a character is no digit, so neither walk goes past it.
    while !a.is_char_boundary(same) {
        same -= 1;
    }
    let before = a_bytes.get(..same).unwrap_or_default();
    same - before.iter().rev().take_while(|b| b.is_ascii_digit()).count()
}

/// The digits at the start without leading zeros, and what follows.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (digits.trim_start_matches('0'), rest)
}

#[cfg(test)]
mod tests {
    use super::natural_cmp;
    use std::cmp::Ordering;

    #[test]
    fn numbers_count_as_numbers() {
        let sorted = [
            "",
            "a",
            "a.0",
            "a.1.b",
            "a.2",
            "a.2.b",
            "a.9",
            "a.10",
            "a.99999999999999999999999998",
            "a.99999999999999999999999999",
            "a.100000000000000000000000000",
            "a.x",
            "b",
            "ä",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(natural_cmp(a, b), i.cmp(&j), "{a:?} against {b:?}");
            }
        }
    }

    #[test]
    fn what_names_have_in_common_decides_nothing() {
        // Prefixes of every length around the steps in which they are compared.
        for length in 0..20 {
            for filler in ["x", "7", "ä", "0"] {
                let start = filler.repeat(length);
                for (less, more) in
                    [("2", "10"), ("a", "b"), ("", "a"), ("ä", "ö"), (".9.z", ".10.a"), ("é", "ä1")]
                {
                    let (less, more) = (format!("{start}{less}"), format!("{start}{more}"));
                    let expected = if less.ends_with('é') { Ordering::Greater } else { Ordering::Less };
                    assert_eq!(natural_cmp(&less, &more), expected, "{less} {more}");
                    assert_eq!(natural_cmp(&more, &less), expected.reverse(), "{more} {less}");
                }
            }
        }
    }

    #[test]
    fn leading_zeros_keep_the_order_total() {
        assert_eq!(natural_cmp("a.01", "a.1"), Ordering::Less);
        assert_eq!(natural_cmp("a.1", "a.01"), Ordering::Greater);
        assert_eq!(natural_cmp("a.01.z", "a.1.b"), Ordering::Greater, "the rest counts before the zeros");
        assert_eq!(natural_cmp("a.000", "a.0"), Ordering::Greater);
    }
}
