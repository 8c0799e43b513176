//! Collects the schemes: every file of `src/formats` is a module with a list `SCHEMES`, so that adding a
//! scheme is adding a file. With the feature `made-up`, the file of the test that proves it comes in too.

#![allow(clippy::disallowed_methods, reason = "runs where the project is built, never in a browser")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn formats(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let mut files = formats(&root.join("src/formats"))?;
    if env::var_os("CARGO_FEATURE_MADE_UP").is_some() {
        files.extend(formats(&root.join("../../tests/made-up"))?);
    }
    files.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    let mut modules = String::new();
    let mut lists = String::new();
    for path in &files {
        let name = path.file_stem().and_then(|stem| stem.to_str()).ok_or("a file without a name")?;
        let place = path.canonicalize()?;
        writeln!(modules, "#[path = {:?}]\nmod {name};", place.display().to_string())?;
        writeln!(lists, "    {name}::SCHEMES,")?;
    }
    let text = format!(
        "{modules}\n/// The schemes of every file.\nstatic FILES: &[&[&dyn Scheme]] = &[\n{lists}];\n"
    );
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("formats.rs"), text)?;
    Ok(())
}
