//! What the build adds to what Trunk made: the hashes of the page's scripts, the page that may connect to other
//! places, and the list of files that the service worker keeps.

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256, Sha384};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The part of the policy that says where the page may connect to, as `index.html` has it.
const CLOSED: &str = "connect-src 'self'";
/// The same for the page that opens addresses.
const OPEN: &str = "connect-src 'self' https:";
/// Before it stands the mark by which the program knows the page that may connect.
const PLACE: &str = "<meta name=\"color-scheme\"";
const MARK: &str = "<meta name=\"quantscope-connects\" content=\"https:\">\n  ";
/// Files that are fetched when they are wanted, and those that are the list itself.
const NOT_KEPT: [&str; 3] = ["samples/", "sw.js", "precache.js"];

/// Finishes the page that stands in `folder`.
pub(crate) fn finish(folder: &Path) -> Result<()> {
    let page = fs::read_to_string(folder.join("index.html")).context("the page is not built")?;
    let page = with_hashes(folder, &page)?;
    fs::write(folder.join("index.html"), &page)?;
    fs::write(folder.join("remote.html"), connecting(&page)?)?;
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

/// Tags whose files the page names without their hashes; Trunk gives those of the styles.
const SCRIPTS: [(&str, &str); 2] =
    [("src=\"./start.js\"", "start.js"), ("rel=\"modulepreload\" href=\"./app.js\"", "app.js")];

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
            let tags: Vec<&str> = SCRIPTS.iter().map(|(tag, _)| *tag).collect();
            write("index.html", &format!("<meta content=\"{CLOSED}\">{PLACE}><{}>", tags.join("><")));
        };
        write("app.js", "1");
        write("start.js", "alert('Hello, world.');");
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
        let files = ["app.js", "icons/icon.svg", "index.html", "remote.html", "start.js"];
        assert_eq!(first["files"], serde_json::json!(files));
        assert_eq!(kept(), first);
        // The example of the specification of subresource integrity.
        let hash = "sha384-H8BRh8j48O9oYatfu5AZzq6A9RINhZO5H16dQZngK7T62em8MUt1FLm52t+eX6xO";
        for name in ["index.html", "remote.html"] {
            let page = fs::read_to_string(folder.join(name)).unwrap();
            assert!(page.contains(&format!("src=\"./start.js\" integrity=\"{hash}\"")), "{page}");
        }
        write("app.js", "5");
        assert_ne!(kept()["version"], first["version"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
