//! Reads the profiles of runtimes, `targets/*.toml`, so that the tool carries them as data and a profile that
//! is not of the form does not build.

#![allow(clippy::disallowed_methods, reason = "runs where the project is built, never in a browser")]

#[path = "src/targets/profile.rs"]
#[allow(dead_code, unreachable_pub, reason = "only the form is needed here")]
mod profile;

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("targets");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=src/targets/profile.rs");
    let mut profiles: Vec<profile::Profile> = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        println!("cargo::rerun-if-changed={}", path.display());
        let read: profile::Profile =
            toml::from_str(&fs::read_to_string(&path)?).map_err(|e| format!("{}: {e}", path.display()))?;
        if path.file_stem().and_then(|stem| stem.to_str()) != Some(read.id.as_str()) {
            return Err(format!("{}: its id is {}", path.display(), read.id).into());
        }
        profiles.push(read);
    }
    profiles.sort_by(|a, b| a.id.cmp(&b.id));
    let out = PathBuf::from(env::var("OUT_DIR")?).join("targets.json");
    fs::write(out, serde_json::to_string(&profiles)?)?;
    Ok(())
}
