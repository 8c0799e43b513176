//! Where things are: the root, the tools, the versions that the lock file and `Trunk.toml` fix.

use anyhow::{Context as _, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use xshell::Shell;

/// The checkout this xtask was built from, and a shell that stands in its root.
pub(crate) struct Project {
    /// Runs children in the root, with the project's own tools first on the path.
    pub(crate) sh: Shell,
    /// The root of the checkout.
    pub(crate) root: PathBuf,
}

impl Project {
    pub(crate) fn open() -> Result<Self> {
        // Cargo says at run time which checkout it runs from; two may share a target folder.
        let manifest =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest)
            .ancestors()
            .nth(2)
            .context("xtask was built outside its workspace")?
            .to_path_buf();
        let sh = Shell::new()?;
        sh.change_dir(&root);
        let project = Self { sh, root };
        project.sh.set_var("PATH", project.search_path()?);
        Ok(project)
    }

    /// The ignored folder that holds what was installed for this checkout alone.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }

    /// Where Trunk puts the page.
    pub(crate) fn dist(&self) -> PathBuf {
        self.root.join("dist")
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |dir| self.root.join(dir))
    }

    fn search_path(&self) -> Result<OsString> {
        let own = [self.tools().join("bin"), self.tools().join("npm/node_modules/.bin")];
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        Ok(std::env::join_paths(own.into_iter().chain(std::env::split_paths(&inherited)))?)
    }

    /// The version of `package` that `Cargo.lock` fixes.
    pub(crate) fn locked_version(&self, package: &str) -> Result<String> {
        let text = std::fs::read_to_string(self.root.join("Cargo.lock")).context("reading Cargo.lock")?;
        version_in_lock(&text, package)
    }

    /// The number in `Trunk.toml`'s `wasm_opt = "version_N"`.
    pub(crate) fn wanted_wasm_opt(&self) -> Result<u32> {
        let text = std::fs::read_to_string(self.root.join("Trunk.toml")).context("reading Trunk.toml")?;
        let table: toml::Table = text.parse().context("reading Trunk.toml")?;
        table
            .get("tools")
            .and_then(|tools| tools.get("wasm_opt"))
            .and_then(toml::Value::as_str)
            .and_then(|version| version.strip_prefix("version_"))
            .and_then(|number| number.parse().ok())
            .context("Trunk.toml should say [tools] wasm_opt = \"version_N\"")
    }
}

fn version_in_lock(lock: &str, package: &str) -> Result<String> {
    let table: toml::Table = lock.parse().context("reading Cargo.lock")?;
    table
        .get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .find(|entry| entry.get("name").and_then(toml::Value::as_str) == Some(package))
        .and_then(|entry| entry.get("version"))
        .and_then(toml::Value::as_str)
        .map(str::to_owned)
        .with_context(|| format!("Cargo.lock does not list {package}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_gives_versions() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n[[package]]\nname = \"b\"\nversion = \"4.5.6\"\n";
        assert_eq!(version_in_lock(lock, "b").unwrap(), "4.5.6");
        assert!(version_in_lock(lock, "c").is_err());
    }
}
