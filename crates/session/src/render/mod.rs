//! The report in the forms it can be saved in: JSON, SARIF, Markdown, HTML.
//!
//! One file a form; each is a function of the same views, so that the page and the terminal save the same
//! bytes. Names come from files that nobody vouches for: each form says how it keeps them from becoming markup.

mod html;
mod markdown;
mod sarif;
mod words;

use crate::api::{Overview, Report, SessionError};
use serde::Serialize;

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

/// What a rendering is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditView {
    /// The checkpoint at a glance, with the verdict.
    pub overview: Overview,
    /// The report; its findings still name the layers they touch.
    pub report: Report,
}

impl AuditView {
    /// The report as the JSON contract has it: layers that a finding touches are for jumping within a session.
    #[must_use]
    pub fn into_contract(self) -> Report {
        let mut report = self.report;
        for finding in &mut report.findings {
            finding.layers = Vec::new();
        }
        report
    }
}

/// Writes reports in a form. Several reports are one document: an array, several runs, several sections.
///
/// # Errors
/// If a number of a report cannot be written as JSON.
pub fn render(form: Form, views: Vec<AuditView>) -> Result<String, SessionError> {
    match form {
        Form::Json => {
            let reports: Vec<Report> = views.into_iter().map(AuditView::into_contract).collect();
            match reports.as_slice() {
                [report] => pretty(report),
                reports => pretty(reports),
            }
        }
        Form::Sarif => pretty(&sarif::log(&views)),
        Form::Markdown => Ok(markdown::document(&views)),
        Form::Html => Ok(html::document(&views)),
    }
}

fn pretty<T: Serialize + ?Sized>(value: &T) -> Result<String, SessionError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| unwritable(&error))?;
    text.push('\n');
    Ok(text)
}

fn unwritable(error: &serde_json::Error) -> SessionError {
    SessionError { kind: "refused".into(), message: format!("the report cannot be written: {error}") }
}
