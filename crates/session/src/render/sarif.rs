//! SARIF 2.1.0: one run a checkpoint, one result a finding, every rule with its help.
//!
//! Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0. Places are files of the
//! checkpoint (physical) and modules or tensors (logical). JSON escapes every name; addresses are
//! percent-encoded besides.

use super::words;
use crate::Session;
use crate::api::{Finding, Severity};
use crate::report::{AuditView, Each};
use quantscope_audit::{Rule, rules};
use serde::Serialize;
use serde_json::{Map, Value, json};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
const HOME: &str = "https://github.com/quantscope/quantscope";

/// Modules that a result lists beside its subject; the JSON report and the page have the rest.
const LISTED: usize = 100;

/// The whole log.
pub(super) fn log(views: &[AuditView<'_>]) -> impl Serialize {
    Log { schema: SCHEMA, version: "2.1.0", runs: Each(|| views.iter().map(run)) }
}

#[derive(Serialize)]
struct Log<R> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: R,
}

/// A run; its results are made while they are written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run<R> {
    tool: Value,
    original_uri_base_ids: Value,
    artifacts: Vec<Value>,
    results: R,
    column_kind: &'static str,
    properties: Value,
}

fn run(view: &AuditView<'_>) -> impl Serialize {
    let known = rules();
    let tool = AuditView::tool();
    let checkpoint = view.checkpoint();
    let first = checkpoint.shards.first().map(|shard| shard.file.clone());
    let artifacts: Vec<Value> = checkpoint
        .shards
        .iter()
        .map(|shard| json!({"location": artifact(&shard.file), "length": length(shard.bytes)}))
        .collect();
    Run {
        tool: json!({"driver": {
            "name": tool.name,
            "semanticVersion": tool.version,
            "informationUri": HOME,
            "rules": known.iter().map(|rule| descriptor(rule)).collect::<Vec<_>>(),
        }}),
        original_uri_base_ids: json!({"CHECKPOINT": {"description": {"text": text(&checkpoint.path)}}}),
        artifacts,
        results: Each(move || {
            let place = Place { session: view.session, first: first.clone() };
            let known = rules();
            view.findings().iter().map(move |finding| result(&place, &known, &finding.to_finding()))
        }),
        column_kind: "utf16CodeUnits",
        properties: json!({"verdict": view.overview.verdict.title, "verifiedBy": view.overview.verified_by}),
    }
}

/// What places in a checkpoint are told by.
struct Place<'v> {
    session: &'v Session,
    /// The first weight file.
    first: Option<String>,
}

/// SARIF counts bytes in a signed number; -1 says that it is not known.
fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(-1)
}

fn level(severity: Severity) -> &'static str {
    words::severity(severity)
}

fn descriptor(rule: &Rule) -> Value {
    let page = format!("{HOME}/blob/main/docs/rules/{}.md", rule.id);
    json!({
        "id": rule.id,
        "name": pascal(rule.title),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {
            "text": format!("{} {}", rule.why, rule.fix),
            "markdown": format!("{}\n\n**What to do.** {}", rule.why, rule.fix),
        },
        "helpUri": page,
        "defaultConfiguration": {"level": level(rule.severity)},
        "properties": {"needs": rule.needs, "repairable": rule.repairable},
    })
}

/// SARIF wants a readable identifier beside the stable id.
fn pascal(title: &str) -> String {
    let parts = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let mut chars = part.chars();
            chars.next().map_or_else(String::new, |c| c.to_ascii_uppercase().to_string() + chars.as_str())
        })
        .collect()
}

fn result(place: &Place<'_>, known: &[&Rule], finding: &Finding) -> Value {
    let mut result = Map::new();
    result.insert("ruleId".into(), finding.rule.clone().into());
    if let Some(index) = known.iter().position(|rule| rule.id == finding.rule) {
        result.insert("ruleIndex".into(), index.into());
    }
    result.insert("level".into(), level(finding.severity).into());
    result.insert("message".into(), json!({"text": message(finding)}));
    result.insert("locations".into(), json!([location(place, finding)]));
    let key =
        format!("{}:{}:{}", finding.rule, finding.subject, finding.target.as_deref().unwrap_or_default());
    result.insert("partialFingerprints".into(), json!({"ruleSubjectTarget/v1": key}));
    let mut properties = Map::new();
    for (name, value) in [
        ("subject", Some(finding.subject.as_str())),
        ("expected", finding.expected.as_deref()),
        ("found", finding.found.as_deref()),
        ("fix", Some(finding.fix.as_ref())),
        ("target", finding.target.as_deref()),
    ] {
        if let Some(value) = value {
            properties.insert(name.into(), value.into());
        }
    }
    properties.insert("repairable".into(), finding.repairable.into());
    result.insert("properties".into(), Value::Object(properties));
    Value::Object(result)
}

/// Braces stand for arguments in a SARIF message, so that those of a name are doubled; `](` would be a link.
fn text(plain: &str) -> String {
    plain.replace('{', "{{").replace('}', "}}").replace("](", "] (")
}

fn message(finding: &Finding) -> String {
    text(&format!("{} {}", finding.message.trim_end_matches('.').to_owned() + ".", finding.fix))
}

/// The file a finding is about, else the first weight file, since code hosts show nothing without one.
fn location(place: &Place<'_>, finding: &Finding) -> Value {
    let file = finding.file.as_deref().filter(|file| !file.is_empty()).or(place.first.as_deref());
    let mut location = Map::new();
    if let Some(file) = file {
        location.insert("physicalLocation".into(), json!({"artifactLocation": artifact(file)}));
    }
    let mut names: Vec<&str> = vec![&finding.subject];
    names.extend(
        finding.layers.iter().map(String::as_str).filter(|name| *name != finding.subject).take(LISTED),
    );
    let places: Vec<Value> = names.iter().map(|name| logical(place, name)).collect();
    location.insert("logicalLocations".into(), places.into());
    Value::Object(location)
}

fn logical(place: &Place<'_>, name: &str) -> Value {
    let is_layer = place.session.model.layer(name).is_some();
    json!({"fullyQualifiedName": name, "kind": if is_layer { "module" } else { "member" }})
}

fn artifact(file: &str) -> Value {
    json!({"uri": percent_encoded(file), "uriBaseId": "CHECKPOINT"})
}

/// A relative address in which nothing but letters, digits, `-._~` and `/` stands unencoded (RFC 3986).
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{pascal, percent_encoded, text};

    #[test]
    fn names_stay_names() {
        assert_eq!(percent_encoded("a b/ü%\n.safetensors"), "a%20b/%C3%BC%25%0A.safetensors");
        assert_eq!(percent_encoded("http://x"), "http%3A//x");
        assert_eq!(text("`{0}` and } [a](b)"), "`{{0}}` and }} [a] (b)");
        assert_eq!(pascal("Scale is NaN, infinite"), "ScaleIsNaNInfinite");
    }
}
