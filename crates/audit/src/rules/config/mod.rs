//! CF: what the configs promise and what the tensors are. Here: configs that cannot be read.

mod blocks;
mod counts;
mod mixed;
mod pair;
mod patterns;
mod promises;

use super::HeaderContext;
use crate::checkpoint::ConfigFile;
use crate::findings::Findings;
use crate::registry::{Example, FindingExt, Rule};
use crate::report::Severity;
use quantscope_format::ConfigError;

/// The rules of each file of the family.
pub(crate) const FAMILY: &[&[Rule]] =
    &[RULES, promises::RULES, patterns::RULES, mixed::RULES, pair::RULES, counts::RULES, blocks::RULES];

const RULES: &[Rule] = &[CF310];

const CF310: Rule = Rule {
    id: "CF310",
    severity: Severity::Error,
    needs: "C",
    title: "Config unreadable",
    why: "A config that is not valid JSON, or has a field of the wrong type, stops every loader.",
    fix: "Restore the file from its source.",
    repairable: false,
    example: Example::of("{\"hidden_size\": \"4096\"}", "{\"hidden_size\": 4096}"),
};

pub(crate) fn check(context: HeaderContext<'_>, findings: &mut Findings) {
    let checkpoint = context.checkpoint;
    unreadable(checkpoint.config.as_ref(), |c| &c.faults, findings);
    unreadable(checkpoint.config_quant.as_ref(), |c| &c.faults, findings);
    unreadable(checkpoint.hf_quant.as_ref(), |c| &c.faults, findings);
    pair::check(context, findings);
    promises::check(context, findings);
    patterns::check(context, findings);
    mixed::check(context, findings);
    counts::check(context, findings);
    blocks::check(context, findings);
}

fn unreadable<T>(
    config: Option<&ConfigFile<T>>,
    faults: impl Fn(&T) -> &Vec<ConfigError>,
    findings: &mut Findings,
) {
    let Some(ConfigFile { file, content }) = config else { return };
    let errors: Vec<&ConfigError> = match content {
        Ok(config) => faults(config).iter().collect(),
        Err(error) => vec![error],
    };
    for error in errors {
        let subject = if let ConfigError::WrongType { field, .. } = error { field } else { file };
        findings.push(CF310.finding(subject, format!("{file}: {error}")).in_file(file.as_str()));
    }
}
