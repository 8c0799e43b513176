//! Numbers and names as the page writes them: binary sizes with one decimal, exact values beside them.

/// A size in binary units with one decimal: `508.4 MiB`. Below 1 KiB: `768 B`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        // 1023.95 would be written as 1024.0.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// An exact size for the tooltip: `533,090,304 bytes`.
pub(crate) fn exact_size(bytes: u64) -> String {
    format!("{} {}", count(bytes), if bytes == 1 { "byte" } else { "bytes" })
}

/// A count with thousands separated by commas.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 layer`, `3 layers`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A large count in decimal units with one decimal: `704.7 M`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(crate) fn short_count(number: u64) -> String {
    const UNITS: [&str; 4] = ["K", "M", "B", "T"];
    if number < 1000 {
        return number.to_string();
    }
    let mut value = number as f64 / 1000.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// Bits per weight: whole numbers as such, others with two decimals.
pub(crate) fn bits(value: f64) -> String {
    if (value - value.round()).abs() < 0.005 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// A shape as `[384, 384, 3, 3, 3]`.
pub(crate) fn shape(dims: &[u64]) -> String {
    let dims: Vec<String> = dims.iter().map(u64::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// Part of a whole in percent, without decimals; `<1 %` for what is there but rounds to nothing.
#[expect(clippy::cast_precision_loss, reason = "whole percents are shown")]
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return "0 %".into();
    }
    let value = part as f64 * 100.0 / whole as f64;
    if value < 0.5 { "<1 %".into() } else { format!("{value:.0} %") }
}

/// A number of a weight's range, short: `0.0053`, `-1.2e-5`.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 {
        "0".into()
    } else if value.abs() >= 0.001 && value.abs() < 100_000.0 {
        // Three significant digits, without trailing zeros.
        let whole_digits = value.abs().log10().floor();
        let decimals = if whole_digits >= 2.0 {
            0
        } else if whole_digits >= 1.0 {
            1
        } else if whole_digits >= 0.0 {
            2
        } else if whole_digits >= -1.0 {
            3
        } else if whole_digits >= -2.0 {
            4
        } else {
            5
        };
        let text = format!("{value:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
    } else {
        format!("{value:.2e}")
    }
}

/// Seconds left, in words: `3 s left`, `2 min left`.
pub(crate) fn time_left(seconds: f64) -> String {
    if seconds < 90.0 {
        format!("{:.0} s left", seconds.max(1.0))
    } else {
        format!("{:.0} min left", seconds / 60.0)
    }
}

/// Splits a name so that its middle can be cut where room is short: the tail, at most `tail_chars` long and
/// beginning after a dot if there is one, stays whole.
pub(crate) fn split_for_cut(name: &str, tail_chars: usize) -> (&str, &str) {
    let total = name.chars().count();
    if total <= tail_chars {
        return ("", name);
    }
    let at = name.char_indices().nth(total - tail_chars).map_or(0, |(at, _)| at);
    let (head, tail) = name.split_at(at);
    match tail.find('.') {
        Some(dot) if dot + 1 < tail.len() => name.split_at(head.len() + dot + 1),
        _ => (head, tail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_with_one_decimal() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (12_698, "12.4 KiB"),
            (1_048_575, "1.0 MiB"),
            (9_663_676_416, "9.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn counts_are_grouped_and_shortened() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(short_count(704_700_000), "704.7 M");
        assert_eq!(short_count(999_999), "1.0 M");
        assert_eq!(counted(1, "layer"), "1 layer");
        assert_eq!(exact_size(1), "1 byte");
    }

    #[test]
    fn numbers_are_short_and_keep_their_sign() {
        for (value, expected) in [
            (0.0, "0"),
            (0.0053, "0.0053"),
            (-1.5, "-1.5"),
            (6.0, "6"),
            (448.0, "448"),
            (-0.000_012, "-1.20e-5"),
            (0.5, "0.5"),
        ] {
            assert_eq!(number(value), expected);
        }
        assert_eq!(bits(16.0), "16");
        assert_eq!(bits(4.5), "4.50");
        assert_eq!(percent(1, 1000), "<1 %");
        assert_eq!(percent(0, 1000), "0 %");
        assert_eq!(percent(1, 3), "33 %");
    }

    #[test]
    fn long_names_keep_their_end_whole() {
        assert_eq!(split_for_cut("conv_in", 12), ("", "conv_in"));
        assert_eq!(
            split_for_cut("decoder.up_blocks.1.resnets.0.conv2", 14),
            ("decoder.up_blocks.1.resnets.", "0.conv2")
        );
        let (head, tail) = split_for_cut("ééééééééééééé", 4);
        assert_eq!(format!("{head}{tail}"), "ééééééééééééé");
        assert_eq!(tail, "éééé");
    }
}
