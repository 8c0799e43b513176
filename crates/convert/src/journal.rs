//! The journal of a run: what it was to make of what, and which weight files are finished, so that a run that was
//! stopped can be continued.
//!
//! Lines of JSON: the first says which conversion it is, each further one is a finished file with the hashes of its
//! tensors. Nothing in it is believed: a file counts as finished when it has the header that the plan promises and
//! all its tensors have the hashes that stand here. A torn last line is a file that was not finished.

use crate::error::ConvertError;
use crate::noise::LayerError;
use crate::plan::Plan;
use crate::recipe::Recipe;
use crate::survey::SourceFile;
use crate::write::hex;
use quantscope_format::Gather as _;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Raised when the form changes, so that journals of old versions are told apart.
const FORM: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    journal: u32,
    fingerprint: String,
    sources: Vec<SourceFile>,
}

/// A map whose entries are told while it is written.
pub(crate) struct Entries<F>(pub(crate) F);

impl<K: Serialize, V: Serialize, I: Iterator<Item = (K, V)>, F: Fn() -> I> Serialize for Entries<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map((self.0)())
    }
}

/// A finished file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finished<Hashes = BTreeMap<String, String>, Errors = BTreeMap<String, LayerError>> {
    /// Name of the file.
    pub(crate) file: String,
    /// SHA-256 of its tensors by name.
    pub(crate) hashes: Hashes,
    /// Errors by the tensor that has them.
    pub(crate) errors: Errors,
    /// What turned out while it was made.
    pub(crate) notes: Vec<String>,
    /// Tensors copied unchanged.
    pub(crate) copied: u64,
}

/// A line of a journal, with its end.
fn line(of: &impl Serialize) -> Vec<u8> {
    // Maps have texts as keys and numbers are finite: there is nothing in it that JSON cannot say.
    let mut line = serde_json::to_vec(of).unwrap_or_default();
    line.push(b'\n');
    line
}

impl<Hashes: Serialize, Errors: Serialize> Finished<Hashes, Errors> {
    /// The line that a journal grows by.
    pub(crate) fn line(&self) -> Vec<u8> {
        line(self)
    }
}

/// What a stopped run has left, if it was the same conversion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Journal {
    head: Head,
    /// Finished files by name.
    pub(crate) finished: BTreeMap<String, Finished>,
}

fn refuse<T>(what: &str) -> Result<T, ConvertError> {
    Err(ConvertError::Refused(format!(
        "the run that was stopped {what}; remove what it has left and convert without --resume"
    )))
}

impl Journal {
    /// The journal of a run that has nothing yet.
    pub(crate) fn new(fingerprint: &str) -> Self {
        let head = Head { journal: FORM, fingerprint: fingerprint.to_string(), sources: Vec::new() };
        Self { head, finished: BTreeMap::new() }
    }

    /// Reads a journal. One whose first line is torn has nothing to tell.
    ///
    /// # Errors
    /// If it is of another conversion.
    pub(crate) fn read(bytes: &[u8], fingerprint: &str) -> Result<Self, ConvertError> {
        let mut lines = bytes.split(|&b| b == b'\n');
        let head = lines.next().and_then(|l| serde_json::from_slice::<Head>(l).ok());
        let Some(head) = head else { return Ok(Self::new(fingerprint)) };
        if head.journal != FORM || head.fingerprint != fingerprint {
            return refuse("was another conversion, or that of another version");
        }
        let finished = lines.map_while(|l| serde_json::from_slice::<Finished>(l).ok());
        Ok(Self { head, finished: finished.map(|f| (f.file.clone(), f)).gather_map() })
    }

    /// Takes in what the source is now.
    ///
    /// # Errors
    /// If files were finished from another one.
    pub(crate) fn compare_sources(&mut self, sources: &[SourceFile]) -> Result<(), ConvertError> {
        if !self.finished.is_empty() && self.head.sources != sources {
            return refuse("read another source: its bytes have changed since");
        }
        self.head.sources = sources.to_vec();
        Ok(())
    }

    /// All of it as a file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let lines = self.finished.values().map(Finished::line);
        std::iter::once(line(&self.head)).chain(lines).flatten().collect()
    }
}

/// What decides of the output's bytes, beside the source: this version, the recipe, the plan, calibrated maxima.
///
/// # Errors
/// If calibrated block maxima cannot be read.
pub(crate) async fn fingerprint(plan: &Plan, recipe: &Recipe) -> Result<String, ConvertError> {
    let mut hash = Sha256::new();
    // Every part is led by its length, so that no two plans run into the same bytes.
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    add(env!("CARGO_PKG_VERSION").as_bytes());
    add(recipe.as_json.to_string().as_bytes());
    for file in &plan.files {
        add(file.name.as_bytes());
        add(&file.header);
        for tensor in &file.tensors {
            add(format!("{:?}", tensor.step).as_bytes());
        }
    }
    for (name, bytes) in &plan.texts {
        add(name.as_bytes());
        add(bytes);
    }
    for name in &plan.copies {
        add(name.as_bytes());
    }
    for packed in &plan.packed {
        add(packed.scheme.id().as_bytes());
        add(format!("{:?} {:?} {:?}", packed.place, packed.joined, packed.cast).as_bytes());
        for maximum in [packed.weight_amax, packed.input_amax] {
            add(&maximum.map_or(u32::MAX, f32::to_bits).to_le_bytes());
        }
        let Some(given) = &packed.given else { continue };
        /// Maxima that are held at once.
        const STEP: u64 = 1 << 16;
        let (mut first, count) = (0, given.blocks.count());
        while first < count {
            let mut patterns = Vec::new();
            given.blocks.read(&given.key, first, STEP.min(count - first), &mut patterns).await?;
            patterns.iter().for_each(|p| add(&p.to_le_bytes()));
            first += STEP.min(count - first);
        }
        add(&given.first.to_le_bytes());
    }
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(sha256: &str) -> Vec<SourceFile> {
        vec![SourceFile { file: "a".into(), bytes: 1, sha256: sha256.into() }]
    }

    fn journal() -> Journal {
        let mut journal = Journal::new("f");
        journal.compare_sources(&source("s")).unwrap();
        for name in ["x", "y"] {
            let error = LayerError { name: "l".into(), sqnr_db: Some(20.1), max_abs: 0.1 };
            let finished = Finished {
                file: name.into(),
                errors: [("l.weight".into(), error)].into(),
                copied: 2,
                ..Finished::default()
            };
            journal.finished.insert(name.into(), finished);
        }
        journal
    }

    #[test]
    fn what_is_written_is_read() {
        let written = journal();
        assert_eq!(Journal::read(&written.bytes(), "f").unwrap(), written);
    }

    /// Cut at any byte, it tells of the files whose lines are whole, and of no other.
    #[test]
    fn a_torn_journal_tells_of_whole_lines() {
        let bytes = journal().bytes();
        let whole: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i] == b'\n').collect();
        for cut in 0..=bytes.len() {
            let read = Journal::read(&bytes[..cut], "f").unwrap();
            let lines = whole.iter().filter(|&&end| end <= cut).count();
            assert_eq!(read.finished.len(), lines.saturating_sub(1), "cut at {cut}");
        }
    }

    #[test]
    fn another_conversion_is_refused() {
        assert!(Journal::read(&journal().bytes(), "g").is_err());
        let mut read = Journal::read(&journal().bytes(), "f").unwrap();
        assert!(read.clone().compare_sources(&source("t")).is_err());
        read.finished.clear();
        assert!(read.compare_sources(&source("t")).is_ok(), "with nothing finished nothing is mixed");
        assert_eq!(Journal::read(b"\xff\xfe{", "f").unwrap(), Journal::new("f"));
    }
}
