//! The list of differences that are meant, read for tests of two languages.

use serde::Deserialize;

/// A class of differences.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Its id, one of its own for each reader.
    pub id: String,
    /// The other reader.
    pub reader: String,
    /// What that reader does with such a file.
    pub does: String,
    /// Why both do as they do.
    pub why: String,
    /// Text of the example's header.
    header: String,
    /// What is put in place of `@`, and how many times.
    repeat: Option<(String, usize)>,
    /// What closes each repetition, put after a 1 in place of `#`.
    close: Option<String>,
    /// Bytes of data after the header.
    data: usize,
}

#[derive(Deserialize)]
struct List {
    difference: Vec<Class>,
}

impl Class {
    /// The example as a file.
    #[must_use]
    pub fn example(&self) -> Vec<u8> {
        let mut header = self.header.clone();
        if let Some((piece, times)) = &self.repeat {
            header = header.replace('@', &piece.repeat(*times));
            if let Some(close) = &self.close {
                header = header.replace('#', &format!("1{}", close.repeat(*times)));
            }
        }
        let mut file = u64::try_from(header.len()).unwrap_or(0).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        file.resize(file.len() + self.data, 0);
        file
    }
}

/// Every class.
///
/// # Panics
/// If the list cannot be read: it is compiled in.
#[must_use]
pub fn classes() -> Vec<Class> {
    let list: List = toml::from_str(include_str!("../differences.toml")).expect("the list of differences");
    list.difference
}
