//! Which part of the audit is wanted: for which runtimes, without which rules.

use crate::api::SessionError;
use quantscope_audit::targets::{Profile, profile, profiles};
use quantscope_audit::{Findings, rule};
use serde::{Deserialize, Serialize};

/// What an audit is for. Fields mirror the flags of `quantscope audit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditChoice {
    /// Runtimes that the checkpoint shall be loaded by, such as `vllm`; the rules of each run besides the others.
    pub targets: Vec<String>,
    /// Rules that are left out.
    pub disabled: Vec<String>,
}

impl AuditChoice {
    /// Whether its names are known, before anything is opened.
    ///
    /// # Errors
    /// If a runtime or a rule is not known, naming those that are.
    pub fn check(&self) -> Result<(), SessionError> {
        Scope::new(self).map(drop)
    }
}

/// A choice whose names are known.
#[derive(Clone, Default)]
pub(crate) struct Scope {
    pub(crate) targets: Vec<&'static Profile>,
    disabled: Vec<&'static str>,
}

impl Scope {
    pub(crate) fn new(choice: &AuditChoice) -> Result<Self, SessionError> {
        let usage = |message: String| SessionError { kind: "usage".into(), message };
        let mut scope = Self::default();
        for id in &choice.targets {
            let known = || profiles().iter().map(|p| p.id.as_str()).collect::<Vec<_>>().join(", ");
            let found = profile(id)
                .ok_or_else(|| usage(format!("no runtime is called {id:?}; known are {}", known())))?;
            if scope.targets.iter().all(|target| target.id != found.id) {
                scope.targets.push(found);
            }
        }
        for id in &choice.disabled {
            let unknown = || usage(format!("no rule is called {id:?}; `quantscope rules` lists them"));
            scope.disabled.push(rule(id).ok_or_else(unknown)?.id);
        }
        Ok(scope)
    }

    /// Leaves out what was switched off.
    pub(crate) fn cut(&self, findings: &mut Findings) {
        findings.leave_out(&self.disabled);
    }
}
