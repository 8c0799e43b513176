//! What the code stands on: the licences, sources and advisories of its dependencies and of the tests' tools, and the
//! absence of undefined behaviour in what its tests run.

use crate::project::Project;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use xshell::cmd;

/// Tests that Miri can run in minutes: codes and headers. Exhaustive tables and generated headers take it hours, and
/// golden files need a file system.
const UNDER_MIRI: [(&str, &[&str]); 2] =
    [("quantscope-numeric", &["--lib"]), ("quantscope-format", &["--lib"])];

/// Checks `deny.toml` and the tools of the browser tests. Advisories come from a database that is fetched; the rest is checked where it cannot be.
pub(crate) fn deny(project: &Project) -> Result<()> {
    let tools = project.tools();
    let deny = tools.join("bin/cargo-deny");
    if !deny.exists() {
        let build = tools.join("build/deny");
        cmd!(project.sh, "cargo install --locked cargo-deny --root {tools} --target-dir {build}").run()?;
    }
    cmd!(project.sh, "{deny} --locked check licenses bans sources").run()?;
    if cmd!(project.sh, "{deny} fetch db").quiet().ignore_stderr().run().is_err() {
        println!("NOT CHECKED: the database of advisories about crates cannot be reached");
    } else {
        cmd!(project.sh, "{deny} --locked check advisories").run()?;
    }
    npm(project)
}

/// Advisories about the tools of the browser tests, which npm asks its registry for.
fn npm(project: &Project) -> Result<()> {
    let audit =
        cmd!(project.sh, "npm audit --json --prefix tests/e2e").ignore_status().ignore_stderr().read()?;
    match advisories(&audit)? {
        Some(0) => println!("npm knows of no advisory about the tools of the browser tests"),
        Some(found) => {
            anyhow::bail!("npm knows of {found} advisories about the tools of the browser tests: {audit}")
        }
        None => println!("NOT CHECKED: the advisories about packages of npm cannot be reached"),
    }
    Ok(())
}

/// How many advisories `npm audit --json` tells of; `None` if it could not ask.
fn advisories(audit: &str) -> Result<Option<u64>> {
    let audit: Value = serde_json::from_str(audit).context("npm audit tells no JSON")?;
    if audit.get("auditReportVersion").is_some() {
        let total = audit.pointer("/metadata/vulnerabilities/total").and_then(Value::as_u64);
        return Ok(Some(total.context("npm audit tells no number")?));
    }
    ensure!(
        audit.get("message").or(audit.get("error")).is_some(),
        "npm audit tells neither advisories nor an error"
    );
    Ok(None)
}

/// Runs tests of the pure rooms under Miri, with the nightly toolchain.
pub(crate) fn miri(project: &Project) -> Result<()> {
    for (package, targets) in UNDER_MIRI {
        cmd!(project.sh, "cargo miri test --locked -p {package} {targets...}")
            .env("RUSTUP_TOOLCHAIN", "nightly")
            .env("MIRIFLAGS", "-Zmiri-disable-isolation")
            .run()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advisories_are_told_from_a_registry_that_does_not_answer() {
        let report = |total| {
            format!(r#"{{"auditReportVersion": 2, "metadata": {{"vulnerabilities": {{"total": {total}}}}}}}"#)
        };
        assert_eq!(advisories(&report(0)).unwrap(), Some(0));
        assert_eq!(advisories(&report(3)).unwrap(), Some(3));
        assert_eq!(advisories(r#"{"message": "405 Method Not Allowed", "statusCode": 405}"#).unwrap(), None);
        for unknown in ["", "{}", r#"{"auditReportVersion": 2}"#] {
            assert!(advisories(unknown).is_err(), "{unknown}");
        }
    }
}
