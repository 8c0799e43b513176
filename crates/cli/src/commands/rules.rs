//! `rules`: what the auditor looks for, from the registry that it uses itself.

use crate::args::Rules;
use crate::exit::{Failure, Status};
use crate::json::{print, tool};
use crate::text;
use quantscope_session::{Rule, rule, rules};
use serde_json::{Value, json};

pub(crate) fn run(command: &Rules) -> Result<Status, Failure> {
    let chosen = match &command.id {
        None => rules(),
        Some(id) => vec![rule(id).ok_or_else(|| {
            Failure::new("usage", format!("no rule is called {id:?}; `quantscope rules` lists them"))
        })?],
    };
    if command.json {
        let rules: Vec<Value> = chosen.iter().map(|rule| document(rule)).collect();
        print(&json!({"schema": 1, "tool": tool(), "rules": rules}))?;
    } else if command.id.is_some() {
        for rule in chosen {
            text::out(&text::findings::explain(rule))?;
        }
    } else {
        text::out(&text::findings::list(&chosen))?;
    }
    Ok(Status::Fine)
}

fn document(rule: &Rule) -> Value {
    json!({"id": rule.id, "severity": rule.severity, "needs": rule.needs, "title": rule.title, "why": rule.why,
        "fix": rule.fix, "repairable": rule.repairable,
        "example": {"before": rule.example.before, "after": rule.example.after}})
}
