//! Texts that users bring: globs, calibrations.

use quantscope_convert::Calibration;
use quantscope_format::Glob;

/// A glob and a path, divided by the first newline; compared with a matcher that fills the whole table of
/// beginnings.
pub fn glob(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (pattern, path) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(glob) = Glob::new(pattern) else { return };
    let matched = glob.is_match(path);
    assert_eq!(glob.pattern(), pattern);
    // Brackets have rules of their own, which the golden cases of the reference hold.
    if !pattern.contains('[') && pattern.chars().count() <= 24 && path.chars().count() <= 24 {
        let (pattern, path): (Vec<char>, Vec<char>) = (pattern.chars().collect(), path.chars().collect());
        assert_eq!(matched, reaches_the_end(&pattern, &path), "{pattern:?} on {path:?}");
    }
}

/// Whether the pattern matches the path: beginning by beginning of the pattern, those of the path that it matches.
fn reaches_the_end(pattern: &[char], path: &[char]) -> bool {
    let mut ends = vec![false; path.len() + 1];
    ends[0] = true;
    for wanted in pattern {
        let mut next = vec![false; path.len() + 1];
        for at in 0..=path.len() {
            next[at] = match wanted {
                '*' => ends[..=at].contains(&true),
                '?' => at > 0 && ends[at - 1],
                own => at > 0 && ends[at - 1] && path[at - 1] == *own,
            };
        }
        ends = next;
    }
    ends[path.len()]
}

/// A calibration as JSON: taken only if another parser takes it.
pub fn calibration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if Calibration::from_json(text).is_ok() {
        assert!(
            serde_json::from_str::<serde_json::Value>(text).is_ok(),
            "a calibration that is no JSON was taken"
        );
    }
}
