//! Makes the JavaScript that wasm-bindgen writes around a program shorter, and the names by which the two find each
//! other: every one of some hundred ends in sixteen digits of a hash, which no packing makes smaller, in both files.

use anyhow::{Context as _, ensure};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use wasm_encoder::reencode::{Error as Recoding, Reencode};
use wasm_encoder::{ImportSection, Module};
use wasmparser::{ImportSectionReader, Parser};

type Result<T, E = anyhow::Error> = std::result::Result<T, E>;

/// Shortens one program and its glue, in place.
pub(crate) fn shorten(folder: &Path, name: &str) -> Result<()> {
    let (program, glue) = (folder.join(format!("{name}_bg.wasm")), folder.join(format!("{name}.js")));
    let named = || program.display().to_string();
    let text = compact(&fs::read_to_string(&glue).with_context(named)?).with_context(named)?;
    let (short, text) = renamed(&fs::read(&program).with_context(named)?, &text).with_context(named)?;
    fs::write(&program, short)?;
    fs::write(&glue, text)?;
    Ok(())
}

/// Without comments and indentation.
fn compact(glue: &str) -> Result<String> {
    let mut text = String::with_capacity(glue.len());
    let mut in_comment = false;
    for line in glue.lines() {
        // Spaces at the start of a line mean something only within a text that goes over several lines.
        ensure!(line.matches('`').count() % 2 == 0, "a text of the glue goes over several lines: {line}");
        let line = line.trim_start();
        in_comment |= line.starts_with("/*");
        if in_comment {
            in_comment = !line.ends_with("*/");
        } else if !line.is_empty() && !line.starts_with("//") {
            text += line;
            text += "\n";
        }
    }
    ensure!(!in_comment, "a comment of the glue has no end");
    Ok(text)
}

/// The program and its glue, which has no indentation, with short names between them.
fn renamed(program: &[u8], glue: &str) -> Result<(Vec<u8>, String)> {
    let (mut short, mut renamer) = (Module::new(), Renamer::default());
    let read = renamer.parse_core_module(&mut short, Parser::new(0), program);
    read.map_err(|error| anyhow::anyhow!("{error}")).context("the program cannot be read")?;
    let mut glue = glue.to_owned();
    for (name, new) in renamer.names {
        let key = format!("\n{name}: ");
        ensure!(glue.matches(&key).count() == 1, "the glue should say {key:?} once");
        glue = glue.replace(&key, &format!("\n{new}: "));
    }
    Ok((short.finish(), glue))
}

/// Writes a program again, its imports under short names.
#[derive(Default)]
struct Renamer {
    /// The new names beside the old ones.
    names: BTreeMap<String, String>,
}

impl Reencode for Renamer {
    type Error = Infallible;

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Recoding> {
        for import in section.into_imports() {
            let import = import?;
            let next = format!("i{}", self.names.len());
            let name = self.names.entry(import.name.to_owned()).or_insert(next).clone();
            imports.import(import.module, &name, self.entity_type(import.ty)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that imports two functions, one of them twice.
    fn program(first: &str, second: &str) -> Vec<u8> {
        let import = |name: &str, of| format!(r#"(import "./app.js" "{name}" (func (param {of})))"#);
        let all = [import(first, "i32"), import(second, "i64"), import(first, "i32")].concat();
        wat::parse_str(format!(r#"(module {all} (memory 1) (func (export "run") (call 1 (i64.const 5))))"#))
            .unwrap()
    }

    #[test]
    fn program_and_glue_get_the_same_short_names() {
        let (log, now) = ("__wbg_log_2805651c516cb7aa", "__wbg_now_f249a2a76caa9a55");
        let glue = format!("return {{\n{now}: function() {{}},\n{log}: function(a) {{}},\n}};\n");
        let (short, text) = renamed(&program(log, now), &glue).unwrap();
        assert_eq!(short, program("i0", "i1"));
        assert_eq!(text, "return {\ni1: function() {},\ni0: function(a) {},\n};\n");
        assert_eq!(renamed(&short, &text).unwrap(), (short, text), "short names stay");
    }

    #[test]
    fn what_is_not_understood_is_left_alone_and_told() {
        let (bytes, glue) = (program("a", "b"), "\na: 1,\nb: 2");
        renamed(&bytes, glue).unwrap();
        // Only sections that are whole are a program.
        let whole = (0..bytes.len()).filter(|&len| renamed(&bytes[..len], glue).is_ok()).count();
        assert!(whole < 8, "{whole} of {}", bytes.len());
        assert!(renamed(&bytes, "\na: 1").is_err());
        assert!(renamed(&bytes, "\na: 1,\nb: 2,\na: 3").is_err());
    }

    #[test]
    fn comments_and_indentation_go() {
        let glue = "/* eslint-disable */\nlet a = 1; // kept\n    // gone\n\n    /**\n     * gone\n     */\n    if (a) {\n        b(`x ${a}`);\n    }\n";
        assert_eq!(compact(glue).unwrap(), "let a = 1; // kept\nif (a) {\nb(`x ${a}`);\n}\n");
        assert!(compact("a = `one\n  two`;\n").is_err());
        assert!(compact("/*\n").is_err());
    }
}
