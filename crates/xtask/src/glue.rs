//! Makes the JavaScript that wasm-bindgen writes around a program shorter, and the names by which the two find each
//! other: every one of some hundred ends in sixteen digits of a hash, which no packing makes smaller, in both files.

use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The section of a program that lists what it imports.
const IMPORTS: u8 = 2;

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
    let mut reader = Reader { bytes: program, at: 0 };
    let mut short = reader.take(8)?.to_vec();
    let mut names = BTreeMap::new();
    let mut glue = glue.to_owned();
    while reader.at < program.len() {
        let kind = reader.byte()?;
        let len = reader.number()?;
        let section = reader.take(usize::try_from(len)?)?;
        let section = if kind == IMPORTS { imports(section, &mut names)? } else { section.to_vec() };
        short.push(kind);
        number(&mut short, section.len() as u64);
        short.extend(section);
    }
    for (name, new) in names {
        let key = format!("\n{name}: ");
        ensure!(glue.matches(&key).count() == 1, "the glue should say {key:?} once");
        glue = glue.replace(&key, &format!("\n{new}: "));
    }
    Ok((short, glue))
}

/// The list of imports with new names, which are put beside the old ones.
fn imports(section: &[u8], names: &mut BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut reader = Reader { bytes: section, at: 0 };
    let count = reader.number()?;
    let mut short = Vec::with_capacity(section.len());
    number(&mut short, count);
    for _ in 0..count {
        let module = reader.name()?;
        let name = String::from_utf8(reader.name()?.to_vec()).context("a name that is no text")?;
        ensure!(reader.byte()? == 0, "{name} is no function; wasm-bindgen imports nothing else");
        let of_type = reader.number()?;
        let next = format!("i{}", names.len());
        let name = names.entry(name).or_insert(next);
        for text in [module, name.as_bytes()] {
            number(&mut short, text.len() as u64);
            short.extend(text);
        }
        short.push(0);
        number(&mut short, of_type);
    }
    ensure!(reader.at == section.len(), "the list of imports goes on behind its end");
    Ok(short)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len).context("too long")?;
        let taken = self.bytes.get(self.at..end).context("the program ends in the middle")?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// A number, seven bits at a time, the low ones first.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        bail!("a number of more than 32 bits")
    }

    fn name(&mut self) -> Result<&'a [u8]> {
        let len = self.number()?;
        self.take(usize::try_from(len)?)
    }
}

fn number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a program, a section of its own, the imports of two functions, and a section that follows.
    fn program(first: &str, second: &str) -> Vec<u8> {
        let mut imports = vec![3];
        for name in [first, second, first] {
            imports.extend([8]);
            imports.extend(b"./app.js");
            imports.push(u8::try_from(name.len()).unwrap());
            imports.extend(name.as_bytes());
            imports.extend([0, 0xc8, 0x01]);
        }
        let mut bytes = b"\0asm\x01\0\0\0\x01\x02ab\x02".to_vec();
        number(&mut bytes, imports.len() as u64);
        bytes.extend(imports);
        bytes.extend(b"\x03\x01c");
        bytes
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
        for len in 0..bytes.len() {
            // Sections that are whole are a program.
            assert!(
                renamed(&bytes[..len], glue).is_err() || [8, 12, bytes.len() - 3].contains(&len),
                "{len} bytes"
            );
        }
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
