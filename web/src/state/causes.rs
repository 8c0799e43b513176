//! What the causes of differences mean, in words.

/// Ids of causes with the sentence that explains each.
const CAUSES: [(&str, &str); 18] = [
    ("quantized", "Floats of the first are codes in the second, and as close as codes of so many bits are."),
    ("dequantized", "Codes of the first are floats in the second."),
    ("requantized", "Both are codes, of two schemes."),
    ("cast", "Floats of another type: every value is the other, rounded once."),
    ("padded", "Rows or columns of zeros were added or taken away."),
    ("split", "A fused matrix or a stack of experts came apart, or was joined."),
    ("renamed", "The same layer under another name."),
    ("tied", "The same as another tensor, which stays."),
    ("expanded", "A copy of another tensor, written again."),
    ("calibrated", "Scales of activations or caches, which a calibration gives."),
    ("state", "State of a quantizer, which exports leave out."),
    ("config", "What the configs say."),
    ("metadata", "What the headers of weight files say of themselves."),
    ("file", "A file beside the weights."),
    ("values", "Values differ, and nothing that was done explains by how much."),
    ("shape", "Shapes that do not go with each other."),
    ("missing", "In the first alone."),
    ("extra", "In the second alone."),
];

/// What a cause means.
pub(crate) fn words(id: &str) -> &'static str {
    CAUSES.iter().find(|(known, _)| *known == id).map_or("", |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use super::{CAUSES, words};

    #[test]
    fn each_cause_has_one_sentence() {
        for (at, (id, sentence)) in CAUSES.iter().enumerate() {
            assert!(sentence.ends_with('.'), "{id}");
            assert!(CAUSES.iter().skip(at + 1).all(|(other, _)| other != id), "{id}");
        }
        assert_eq!(words("nothing of the kind"), "");
    }
}
