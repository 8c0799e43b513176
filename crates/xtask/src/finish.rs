//! What the build adds to what Trunk made: the worker's program in two parts, one sheet of all the page's styles, one
//! script that starts it, their hashes, the page that may connect to other places, and the list of files that the
//! service worker keeps.

use crate::{glue, split};
use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256, Sha384};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The part of the policy that says where the page may connect to, as `index.html` has it.
const CLOSED: &str = "connect-src 'self'";
/// The same for the page that opens addresses.
const OPEN: &str = "connect-src 'self' https:";
/// Before it stands the mark by which the program knows the page that may connect.
const PLACE: &str = "<meta name=\"color-scheme\"";
const MARK: &str = "<meta name=\"quantscope-connects\" content=\"https:\">\n  ";
/// Files that are fetched when they are wanted, and those that are the list itself.
const NOT_KEPT: [&str; 3] = ["samples/", "sw.js", "precache.js"];

/// What the page is made of, by the names of their files.
const PROGRAMS: [&str; 2] = ["app", "worker"];

/// Finishes the page that stands in `folder`.
pub(crate) fn finish(folder: &Path) -> Result<()> {
    let page = fs::read_to_string(folder.join("index.html")).context("the page is not built")?;
    divide(folder)?;
    for program in PROGRAMS.iter().filter(|name| folder.join(format!("{name}_bg.wasm")).is_file()) {
        glue::shorten(folder, program)?;
    }
    let page = with_one_script(folder, &with_one_sheet(folder, &page)?)?;
    let page = with_hashes(folder, &page)?;
    fs::write(folder.join("index.html"), drawn(&page, HERE, REMOTE)?)?;
    fs::write(folder.join("remote.html"), connecting(&drawn(&page, REMOTE, HERE)?)?)?;
    let mut files = Vec::new();
    list(folder, "", &mut files)?;
    files.retain(|file| !NOT_KEPT.iter().any(|start| file.starts_with(start)));
    files.sort();
    let mut digest = Sha256::new();
    for file in &files {
        let bytes = fs::read(folder.join(file))?;
        digest.update((file.len() as u64).to_le_bytes());
        digest.update(file);
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    }
    let mut version = String::new();
    for byte in digest.finalize().iter().take(8) {
        write!(version, "{byte:02x}")?;
    }
    let kept = serde_json::json!({ "version": version, "files": files });
    fs::write(folder.join("precache.js"), format!("self.precache = {kept};\n"))?;
    Ok(())
}

/// Which functions of the worker's program are fetched later.
const LATER: &str = include_str!("../../../web/later.txt");

/// Takes the worker's program apart, and optimizes both parts.
fn divide(folder: &Path) -> Result<()> {
    let [whole, later] = ["worker_bg.wasm", "worker_later.wasm"].map(|name| folder.join(name));
    if !whole.is_file() {
        return Ok(());
    }
    let parts = split::split(&fs::read(&whole)?, &split::Patterns::parse(LATER))?;
    fs::write(&whole, parts.first)?;
    fs::write(&later, parts.later)?;
    let mut optimizers = Vec::new();
    for part in [&whole, &later] {
        let optimizer = Command::new("wasm-opt").args(OPTIMIZER).arg("-o").args([part, part]).spawn();
        optimizers.push(optimizer.context("wasm-opt does not run; `cargo xtask serve --check` installs it")?);
    }
    for mut optimizer in optimizers {
        ensure!(optimizer.wait()?.success(), "wasm-opt failed");
    }
    Ok(())
}

/// What wasm-opt is told, as `index.html` has it for the other program; the passes differ by what makes each smaller.
const OPTIMIZER: [&str; 11] = [
    "-Oz",
    "--gufa",
    "-Oz",
    "--enable-simd",
    "--enable-bulk-memory",
    "--enable-nontrapping-float-to-int",
    "--enable-sign-ext",
    "--enable-mutable-globals",
    "--enable-reference-types",
    "--enable-multivalue",
    "--low-memory-unused",
];

/// Where the page names a sheet of styles.
const SHEET: &str = "<link rel=\"stylesheet\" href=\"./";
/// The sheet that all others become.
const ONE_SHEET: &str = "page.css";

/// The page with one sheet in place of those that it names, in their order: nothing is drawn before all of them are
/// here, and each takes its turn at a server.
fn with_one_sheet(folder: &Path, page: &str) -> Result<String> {
    let (before, rest) = page.split_once(SHEET).context("index.html names no styles")?;
    let mut styles = String::new();
    let mut after = String::new();
    for tag in rest.split(SHEET) {
        let (tag, more) = tag.split_once('>').context("a tag of index.html has no end")?;
        let (file, _) = tag.split_once('"').context("a sheet of index.html has no name")?;
        styles += &fs::read_to_string(folder.join(file)).with_context(|| format!("reading {file}"))?;
        after += more.trim_start();
        fs::remove_file(folder.join(file))?;
    }
    fs::write(folder.join(ONE_SHEET), &styles)?;
    let hash = base64(&Sha384::digest(styles));
    Ok(format!("{before}{SHEET}{ONE_SHEET}\" integrity=\"sha384-{hash}\">\n  {after}"))
}

/// What stands in only one of the two pages until the program draws: in the source, [`REMOTE`] parts are comments.
const HERE: (&str, &str) = ("<!--[here]-->", "<!--[/here]-->");
const REMOTE: (&str, &str) = ("<!--[remote]", "[/remote]-->");

/// The page with the parts of `kept`, and without those of `other`.
fn drawn(page: &str, kept: (&str, &str), other: (&str, &str)) -> Result<String> {
    let mut parts = page.split(other.0);
    let mut drawn = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, after) = part.split_once(other.1).context("a part of index.html has no end")?;
        drawn += after;
    }
    ensure!(
        drawn.matches(kept.0).count() == drawn.matches(kept.1).count(),
        "a part of index.html has no end"
    );
    Ok(drawn.replace(kept.0, "").replace(kept.1, ""))
}

/// Tags whose files the page names without their hashes.
const SCRIPTS: [(&str, &str); 2] = [("src=\"./early.js\"", "early.js"), ("src=\"./start.js\"", "start.js")];

/// The page with the hashes of its scripts, so that a browser runs no others under their names.
fn with_hashes(folder: &Path, page: &str) -> Result<String> {
    let mut page = page.to_owned();
    for (tag, file) in SCRIPTS {
        ensure!(page.matches(tag).count() == 1, "index.html should say {tag:?} once");
        let bytes = fs::read(folder.join(file)).with_context(|| format!("reading {file}"))?;
        let hash = base64(&Sha384::digest(bytes));
        page = page.replace(tag, &format!("{tag} integrity=\"sha384-{hash}\""));
    }
    Ok(page)
}

/// What the script that starts the page imports, as it says so.
const TRUSTED: &str = "import \"./trusted.js\";\n";
const GLUE: &str = "import init from \"./app.js\";\n";
/// How the program's glue ends.
const EXPORTS: &str = "export { initSync, __wbg_init as default };\n";
/// How the tag begins by which Trunk has the glue loaded beforehand.
const PRELOAD: &str = "<link rel=\"modulepreload\"";

/// Puts what the starting script imports into it, and gives the page without the tag that loads it beforehand: an
/// import names no hash, and a browser that was refused a script under one asks for it again without.
fn with_one_script(folder: &Path, page: &str) -> Result<String> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).with_context(|| format!("reading {file}"));
    let (start, glue) = (read("start.js")?, read("app.js")?);
    for (text, part) in [(&start, TRUSTED), (&start, GLUE), (&glue, EXPORTS)] {
        ensure!(text.matches(part).count() == 1, "a script should say {part:?} once");
    }
    let trusted = format!("{{\n{}}}\n", read("trusted.js")?);
    let glue = glue.replace(EXPORTS, "const init = __wbg_init;\n");
    fs::write(folder.join("start.js"), start.replace(TRUSTED, &trusted).replace(GLUE, &glue))?;
    fs::remove_file(folder.join("app.js"))?;
    let (before, rest) = page.split_once(PRELOAD).context("index.html preloads nothing")?;
    let (_, after) = rest.split_once('>').context("a tag of index.html has no end")?;
    Ok(format!("{before}{after}"))
}

/// Base64 of as many bytes as fill whole groups of three, which those of SHA-384 do.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (groups, _) = bytes.as_chunks::<3>();
    let digits =
        groups.iter().flat_map(|&[a, b, c]| [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63]);
    digits.filter_map(|digit| DIGITS.get(usize::from(digit))).map(|&digit| char::from(digit)).collect()
}

/// The page with the policy that lets it connect, and the mark that says so.
fn connecting(page: &str) -> Result<String> {
    ensure!(page.matches(CLOSED).count() == 1, "index.html should say {CLOSED:?} once");
    ensure!(page.matches(PLACE).count() == 1, "index.html should say {PLACE:?} once");
    Ok(page.replace(CLOSED, OPEN).replace(PLACE, &format!("{MARK}{PLACE}")))
}

/// Paths of all files below a folder, with `/`.
fn list(folder: &Path, below: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a file name is no text")?;
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            list(folder, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_second_page_may_connect() {
        let page =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../index.html")).unwrap();
        let other = connecting(&page).unwrap();
        assert!(other.contains("connect-src 'self' https:;") && other.contains("quantscope-connects"));
        assert!(!page.contains("https:;") && !page.contains("quantscope-connects"));
        assert_eq!(other.replace(" https:;", ";").replace(MARK, ""), page);
        assert!(connecting(&page.replace(CLOSED, "connect-src *")).is_err());
    }

    #[test]
    fn the_list_names_what_is_kept_and_changes_with_it() {
        let folder = std::env::temp_dir().join(format!("quantscope-finish-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let page = || {
            let [early, start] = SCRIPTS.map(|(tag, _)| tag);
            let tags =
                format!("<script {early}><script type=\"module\" {start}>{PRELOAD} href=\"./app.js\">");
            write("app.js", &format!("glue();\n{EXPORTS}"));
            write("start.js", &format!("{TRUSTED}{GLUE}init();\n"));
            let sheets = ["base", "frame"].map(|name| format!("{SHEET}{name}.css\" integrity=\"x\"/>\n  "));
            write("base.css", "b {}\n");
            write("frame.css", "i {}\n");
            let parts = "<p>a<!--[here]-->b<!--[/here]-->c<!--[remote]d[/remote]-->e";
            write(
                "index.html",
                &format!("<meta content=\"{CLOSED}\">{PLACE}>{}{tags}{parts}", sheets.concat()),
            );
        };
        write("early.js", "alert('Hello, world.');");
        write("trusted.js", "trust();\n");
        write("icons/icon.svg", "2");
        write("samples/sound/files.json", "3");
        write("sw.js", "4");
        let kept = || {
            page();
            finish(&folder).unwrap();
            let text = fs::read_to_string(folder.join("precache.js")).unwrap();
            let json = text.strip_prefix("self.precache = ").and_then(|t| t.strip_suffix(";\n")).unwrap();
            serde_json::from_str::<serde_json::Value>(json).unwrap()
        };
        let first = kept();
        let files =
            ["early.js", "icons/icon.svg", "index.html", "page.css", "remote.html", "start.js", "trusted.js"];
        assert_eq!(first["files"], serde_json::json!(files));
        assert_eq!(kept(), first);
        // The example of the specification of subresource integrity.
        let hash = "sha384-H8BRh8j48O9oYatfu5AZzq6A9RINhZO5H16dQZngK7T62em8MUt1FLm52t+eX6xO";
        assert_eq!(fs::read_to_string(folder.join("page.css")).unwrap(), "b {}\ni {}\n");
        for (name, text) in [("index.html", "<p>abce"), ("remote.html", "<p>acde")] {
            let page = fs::read_to_string(folder.join(name)).unwrap();
            assert!(page.contains(&format!("src=\"./early.js\" integrity=\"{hash}\"")), "{page}");
            assert!(page.matches("stylesheet").count() == 1 && page.ends_with(text), "{page}");
            assert!(!page.contains("preload"), "{page}");
        }
        let start = fs::read_to_string(folder.join("start.js")).unwrap();
        assert_eq!(start, "{\ntrust();\n}\nglue();\nconst init = __wbg_init;\ninit();\n");
        write("early.js", "5");
        assert_ne!(kept()["version"], first["version"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
