//! Tables of a TOML file, asked for their fields: what is not of the kind that is wanted is told with its line.
//!
//! Knows TOML and lines, not recipes. The file is read as it is, without a type of its own for every table: that
//! takes a third of the code.

use crate::error::ConvertError;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text of a file, for the lines of its faults.
#[derive(Clone, Copy)]
pub(super) struct Text<'t>(pub(super) &'t str);

/// A text in quotes, and where it stands.
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

impl<'t> Text<'t> {
    /// The file's own table.
    ///
    /// # Errors
    /// If the file is no TOML.
    pub(super) fn parse(self) -> Result<Spanned<DeTable<'t>>, ConvertError> {
        DeTable::parse(self.0).map_err(|error| ConvertError::Recipe {
            line: error.span().map_or(1, |span| self.line(&span)),
            reason: error.message().to_string(),
        })
    }

    fn line(self, span: &Range<usize>) -> usize {
        let before = self.0.as_bytes().iter().take(span.start);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    /// A fault with its line.
    pub(super) fn at<T>(
        self,
        span: &Range<usize>,
        checked: Result<T, ConvertError>,
    ) -> Result<T, ConvertError> {
        checked.map_err(|error| ConvertError::Recipe { line: self.line(span), reason: error.to_string() })
    }

    fn fault<T>(self, span: &Range<usize>, reason: String) -> Result<T, ConvertError> {
        Err(ConvertError::Recipe { line: self.line(span), reason })
    }

    /// A value of another kind than is wanted.
    pub(super) fn expected<T>(
        self,
        span: Range<usize>,
        expected: &str,
        found: &DeValue<'_>,
    ) -> Result<T, ConvertError> {
        self.fault(&span, format!("expected {expected}, found {}", found.type_str()))
    }

    fn word(self, value: &Spanned<DeValue<'_>>) -> Result<Word, ConvertError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(Word { text: text.to_string(), span: value.span() }),
            other => self.expected(value.span(), "a text in quotes", other),
        }
    }
}

/// A table that has no fields but those that are known.
pub(super) struct Table<'t> {
    text: Text<'t>,
    span: Range<usize>,
    fields: &'t DeTable<'t>,
}

impl<'t> Table<'t> {
    /// # Errors
    /// If it has a field that is not known: the first one of the file.
    pub(super) fn new(
        text: Text<'t>,
        span: Range<usize>,
        fields: &'t DeTable<'t>,
        known: &[&str],
    ) -> Result<Self, ConvertError> {
        let strangers = fields.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        match strangers.min_by_key(|key| key.span().start) {
            None => Ok(Self { text, span, fields }),
            Some(key) => {
                let known = known.join("`, `");
                text.fault(
                    &key.span(),
                    format!("unknown field `{}`, expected one of `{known}`", key.get_ref()),
                )
            }
        }
    }

    /// A field, whatever it is.
    pub(super) fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.fields.get(key)
    }

    /// A text.
    pub(super) fn word(&self, key: &str) -> Result<Option<Word>, ConvertError> {
        self.value(key).map(|value| self.text.word(value)).transpose()
    }

    /// A text, once it was checked.
    pub(super) fn checked<T>(
        &self,
        key: &str,
        check: impl Fn(&str) -> Result<T, ConvertError>,
    ) -> Result<Option<String>, ConvertError> {
        let Some(word) = self.word(key)? else { return Ok(None) };
        self.text.at(&word.span, check(&word.text))?;
        Ok(Some(word.text))
    }

    /// A field that has to be there.
    pub(super) fn needed<T>(&self, key: &str, value: Option<T>) -> Result<T, ConvertError> {
        match value {
            Some(value) => Ok(value),
            None => self.text.fault(&self.span, format!("missing field `{key}`")),
        }
    }

    /// A text that has to be there.
    pub(super) fn needed_word(&self, key: &str) -> Result<Word, ConvertError> {
        self.needed(key, self.word(key)?)
    }

    /// A list of texts.
    pub(super) fn words(&self, key: &str) -> Result<Option<Vec<Word>>, ConvertError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().map(|item| self.text.word(item)).collect::<Result<_, _>>().map(Some)
            }
            other => self.text.expected(value.span(), "a list of texts", other),
        }
    }

    /// A whole number that is not negative, and where it stands.
    pub(super) fn count(&self, key: &str) -> Result<Option<(u64, Range<usize>)>, ConvertError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
                Ok(count) => Ok(Some((count, value.span()))),
                Err(_) => self.text.fault(&value.span(), format!("{number} is no count")),
            },
            other => self.text.expected(value.span(), "a whole number", other),
        }
    }

    /// Whether something is set; it is not where it is not spoken of.
    pub(super) fn flag(&self, key: &str) -> Result<bool, ConvertError> {
        let Some(value) = self.value(key) else { return Ok(false) };
        match value.get_ref() {
            DeValue::Boolean(set) => Ok(*set),
            other => self.text.expected(value.span(), "true or false", other),
        }
    }

    /// A table within.
    pub(super) fn table(&self, key: &str, known: &[&str]) -> Result<Option<Self>, ConvertError> {
        self.value(key).map(|value| self.inner(value, known)).transpose()
    }

    /// A list of tables within.
    pub(super) fn tables(&self, key: &str, known: &[&str]) -> Result<Vec<Self>, ConvertError> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        match value.get_ref() {
            DeValue::Array(items) => items.iter().map(|item| self.inner(item, known)).collect(),
            other => self.text.expected(value.span(), "a list of tables", other),
        }
    }

    fn inner(&self, value: &'t Spanned<DeValue<'t>>, known: &[&str]) -> Result<Self, ConvertError> {
        match value.get_ref() {
            DeValue::Table(fields) => Self::new(self.text, value.span(), fields, known),
            other => self.text.expected(value.span(), "a table", other),
        }
    }
}
