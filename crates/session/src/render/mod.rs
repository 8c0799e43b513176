//! The report in the forms it can be saved in: JSON, SARIF, Markdown, HTML.
//!
//! One file a form; each is a function of the same views, so that the page and the terminal save the same
//! bytes. Names come from files that nobody vouches for: each form says how it keeps them from becoming markup.

mod html;
mod markdown;
mod sarif;
mod words;

use crate::api::SessionError;
use crate::report::{AuditView, Each};
use serde::Serialize;
use std::error::Error;
use std::io::{self, BufWriter, Write};

/// Bytes that are handed on together.
const PIECE_BYTES: usize = 256 << 10;

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The JSON report, version 1.
    Json,
    /// SARIF 2.1.0, for tools that show findings of any analyser.
    Sarif,
    /// Markdown, for the comment of a pull request.
    Markdown,
    /// A page that stands alone: no script, no connection, light and dark.
    Html,
}

impl Form {
    /// Ending of the name of a file of this form.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Sarif => "sarif",
            Self::Markdown => "md",
            Self::Html => "html",
        }
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Sarif => "application/sarif+json",
            Self::Markdown => "text/markdown;charset=utf-8",
            Self::Html => "text/html;charset=utf-8",
        }
    }
}

/// Writes reports in a form. Several reports are one document: an array, several runs, several sections.
///
/// # Errors
/// If `out` takes no more, or a number of a report cannot be written as JSON.
pub fn write(form: Form, views: &[AuditView<'_>], out: &mut dyn Write) -> io::Result<()> {
    // JSON comes in small pieces, of which hundreds of megabytes are never held at once.
    let mut out = BufWriter::with_capacity(PIECE_BYTES, out);
    match form {
        Form::Json => match views {
            [view] => pretty(&view.contract(), &mut out)?,
            views => pretty(&Each(|| views.iter().map(AuditView::contract)), &mut out)?,
        },
        Form::Sarif => pretty(&sarif::log(views), &mut out)?,
        Form::Markdown => out.write_all(markdown::document(views).as_bytes())?,
        Form::Html => out.write_all(html::document(views).as_bytes())?,
    }
    out.flush()
}

/// The same as a text.
///
/// # Errors
/// If a number of a report cannot be written as JSON.
pub fn render(form: Form, views: &[AuditView<'_>]) -> Result<String, SessionError> {
    let mut bytes = Vec::new();
    write(form, views, &mut bytes).map_err(|error| unwritable(&error))?;
    String::from_utf8(bytes).map_err(|error| unwritable(&error))
}

pub(crate) fn unwritable(error: &dyn Error) -> SessionError {
    SessionError { kind: "refused".into(), message: format!("the report cannot be written: {error}") }
}

fn pretty<T: Serialize + ?Sized>(value: &T, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    out.write_all(b"\n")
}
