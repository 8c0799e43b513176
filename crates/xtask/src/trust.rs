//! What the code stands on: the licences, sources and advisories of its dependencies, and the absence of undefined
//! behaviour in what its tests run.

use crate::project::Project;
use anyhow::Result;
use xshell::cmd;

/// Tests that Miri can run in minutes: codes and headers. Exhaustive tables and generated headers take it hours, and
/// golden files need a file system.
const UNDER_MIRI: [(&str, &[&str]); 2] =
    [("quantscope-numeric", &["--lib"]), ("quantscope-format", &["--lib"])];

/// Checks `deny.toml`. Advisories come from a database that is fetched; the rest is checked where it cannot be.
pub(crate) fn deny(project: &Project) -> Result<()> {
    let tools = project.tools();
    let deny = tools.join("bin/cargo-deny");
    if !deny.exists() {
        let build = tools.join("build/deny");
        cmd!(project.sh, "cargo install --locked cargo-deny --root {tools} --target-dir {build}").run()?;
    }
    cmd!(project.sh, "{deny} --locked check licenses bans sources").run()?;
    if cmd!(project.sh, "{deny} fetch db").quiet().ignore_stderr().run().is_err() {
        println!("NOT CHECKED: the database of advisories cannot be reached");
        return Ok(());
    }
    Ok(cmd!(project.sh, "{deny} --locked check advisories").run()?)
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
