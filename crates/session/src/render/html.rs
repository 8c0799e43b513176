//! A page that stands alone: the verdict, the findings by rule, the layers; no script, no connection.
//!
//! Every text that is not ours passes `text`, which leaves no character that HTML reads as markup; nothing from
//! a file is ever put into an attribute, a style or an address. A content policy in the page forbids the rest.

use super::words;
use crate::api::FindingGroup;
use crate::overview::finding_groups;
use crate::report::AuditView;
use std::fmt::Write as _;

/// Findings of one rule that are listed; the JSON report has all.
const LISTED: usize = 500;
/// Layers that are listed.
const LISTED_LAYERS: usize = 5000;

const STYLE: &str = include_str!("page.css");

/// The whole document.
pub(super) fn document(views: &[AuditView<'_>]) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Quantscope report</title>\n<style>\n",
    );
    page.push_str(STYLE);
    page.push_str("</style>\n</head>\n<body>\n<main>\n");
    for view in views {
        section(&mut page, view);
    }
    if !views.is_empty() {
        let tool = AuditView::tool();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(page, "<footer>{} {}</footer>", text(&tool.name), text(&tool.version));
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn section(page: &mut String, view: &AuditView<'_>) {
    let overview = &view.overview;
    let summary = view.summary();
    let tone = match overview.verdict.state.as_str() {
        "broken" => "bad",
        "warnings" => "doubtful",
        _ => "good",
    };
    let _ = writeln!(page, "<section>\n<h1 class=\"{tone}\">{}</h1>", text(&overview.verdict.title));
    let declared = if overview.declared.is_empty() { "nothing" } else { &overview.declared };
    let _ = writeln!(
        page,
        "<p class=\"facts\"><code>{}</code>: {}, {}, {:.3} bits per weight, declares {}; {}.</p>",
        text(&overview.name),
        words::plural(overview.tensor_count, "tensor"),
        words::bytes(overview.bytes),
        overview.bits_per_weight,
        text(declared),
        overview.verified_by.as_ref().map_or_else(
            || "headers and configs were checked, bytes were not".to_owned(),
            |engine| format!("headers, configs and bytes were checked ({})", text(engine))
        ),
    );
    let counts = words::counts(summary.errors, summary.warnings, summary.infos);
    let _ = writeln!(page, "<p>{}.</p>", if counts.is_empty() { "Nothing found".to_owned() } else { counts });
    for group in finding_groups(view.findings().iter(), LISTED) {
        findings(page, &group);
    }
    layers(page, view);
    page.push_str("</section>\n");
}

fn findings(page: &mut String, group: &FindingGroup) {
    let word = words::severity(group.severity);
    let target = group.target.as_ref().map(|target| format!(" for {}", text(target))).unwrap_or_default();
    let _ = writeln!(
        page,
        "<details{}>\n<summary><span class=\"{word}\">{word}</span> {} {}{target} <span class=\"count\">{}</span></summary>\n\
         <p>{}</p>\n<ul>",
        if word == "error" { " open" } else { "" },
        text(&group.rule),
        text(&group.title),
        group.count,
        text(&group.why),
    );
    for finding in &group.findings {
        let file = finding.file.as_deref().filter(|file| *file != finding.subject);
        let file = file.map(|file| format!(" <small>{}</small>", text(file))).unwrap_or_default();
        let _ =
            write!(page, "<li><code>{}</code>{file}<br>{}", text(&finding.subject), text(&finding.message));
        if let (Some(expected), Some(found)) = (&finding.expected, &finding.found) {
            let _ = write!(
                page,
                "<br>expected <code>{}</code>, found <code>{}</code>",
                text(expected),
                text(found)
            );
        }
        page.push_str("</li>\n");
    }
    let more = group.count.saturating_sub(crate::count(group.findings.len()));
    if more > 0 {
        let _ = writeln!(page, "<li>and {more} more, which the JSON report lists</li>");
    }
    let fix = group.findings.first().map_or("", |first| first.fix.as_ref());
    let _ = writeln!(page, "</ul>\n<p><strong>What to do.</strong> {}</p>\n</details>", text(fix));
}

fn layers(page: &mut String, view: &AuditView<'_>) {
    let all = view.layers();
    let count = all.len();
    let _ = writeln!(
        page,
        "<details>\n<summary>Layers <span class=\"count\">{}</span></summary>\n<div class=\"wide\"><table>\n\
         <thead><tr><th>name</th><th>kind</th><th>scheme</th><th>shape</th><th>bits per weight</th></tr></thead>\n<tbody>",
        count
    );
    for layer in all.take(LISTED_LAYERS) {
        let _ = writeln!(
            page,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{:?}</td><td>{:.3}</td></tr>",
            text(layer.name),
            text(layer.kind),
            text(layer.scheme),
            layer.shape,
            layer.bits_per_weight
        );
    }
    page.push_str("</tbody>\n</table></div>\n");
    if count > LISTED_LAYERS {
        let _ = writeln!(page, "<p>and {} more, which the JSON report lists</p>", count - LISTED_LAYERS);
    }
    page.push_str("</details>\n");
}

/// Text as text: no character of it is markup, none is invisible.
fn text(raw: &str) -> String {
    let raw = words::visible(raw);
    let mut escaped = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
