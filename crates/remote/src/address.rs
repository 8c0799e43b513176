//! What an address means: a file, an index, a folder, or a repository of the hub.

use crate::error::RemoteError;

/// Where `hf://` leads.
pub const HUB: &str = "https://huggingface.co";

/// Longest address that is taken.
const LONGEST: usize = 8192;

/// An address, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// One weight file.
    File {
        /// Its address.
        url: String,
    },
    /// The index of a checkpoint; the files that it names lie beside it.
    Index {
        /// Its address.
        url: String,
    },
    /// A folder whose files have the usual names.
    Folder {
        /// Its address, with a `/` at the end of the path.
        url: String,
    },
    /// A repository of the hub, or a part of it.
    Hub {
        /// `https://huggingface.co`, or what stands for it.
        endpoint: String,
        /// `org/repo`.
        repo: String,
        /// Branch, tag or commit.
        revision: String,
        /// File or folder in it; empty for the whole.
        path: String,
    },
}

impl Address {
    /// Whether text is meant as an address, not as a path of this machine.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        ["https://", "http://", "hf://"].iter().any(|scheme| starts_with(text, scheme))
    }

    /// Reads an address. `hub` is where `hf://` leads; pages of it are understood as repositories too.
    ///
    /// # Errors
    /// If it has no form that is known, names a user, or would send bytes over a network unencrypted.
    ///
    /// ```
    /// use quantscope_remote::{Address, HUB};
    /// let given = Address::parse("hf://Qwen/Qwen3-8B@main", HUB)?;
    /// assert_eq!(given, Address::parse("https://huggingface.co/Qwen/Qwen3-8B", HUB)?);
    /// # Ok::<(), quantscope_remote::RemoteError>(())
    /// ```
    pub fn parse(text: &str, hub: &str) -> Result<Self, RemoteError> {
        let text = text.trim();
        let refuse = |reason: &str| {
            let address = text.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect();
            RemoteError::Address { address, reason: reason.into() }
        };
        if text.len() > LONGEST || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(refuse("it is too long, or has spaces in it"));
        }
        let hub = hub.trim_end_matches('/');
        if starts_with(text, "hf://") {
            return hub_path(text.get(5..).unwrap_or_default(), hub).ok_or_else(|| {
                refuse("write hf://organization/repository, hf://organization/repository@revision")
            });
        }
        if !starts_with(text, "https://") && !starts_with(text, "http://") {
            return Err(refuse("write https://… or hf://organization/repository"));
        }
        let text = text.split('#').next().unwrap_or_default();
        let host = host_of(text).filter(|host| !host.is_empty()).ok_or_else(|| refuse("it names no host"))?;
        if host.contains('@') {
            return Err(refuse("a name and password do not belong into it; give a token instead"));
        }
        if starts_with(text, "http://") && !is_this_machine(host) {
            return Err(refuse("bytes would come unencrypted; write https://"));
        }
        let page = text.strip_prefix(hub).and_then(|rest| rest.strip_prefix('/'));
        if let Some(address) = page.and_then(|page| hub_page(page, hub)) {
            return Ok(address);
        }
        let url = text.to_owned();
        let path = text.split('?').next().unwrap_or_default();
        if path.ends_with(".safetensors.index.json") {
            Ok(Self::Index { url })
        } else if path.ends_with(".safetensors") {
            Ok(Self::File { url })
        } else if path.ends_with('/') {
            Ok(Self::Folder { url })
        } else {
            Err(refuse(
                "it has to end with .safetensors, .safetensors.index.json, or / for a folder with the usual names",
            ))
        }
    }
}

fn starts_with(text: &str, scheme: &str) -> bool {
    text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// Host and port of an address.
pub(crate) fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', '?', '#', '\\']).next()
}

fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
    });
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !text.is_empty() && !text.starts_with('.') && text.chars().all(fits)
}

fn is_revision(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.%".contains(c);
    !text.is_empty() && !text.starts_with('.') && text.chars().all(fits)
}

/// `org/repo[@revision][/path]`.
fn hub_path(text: &str, hub: &str) -> Option<Address> {
    let mut parts = text.trim_end_matches('/').splitn(3, '/');
    let (organization, named) = (parts.next()?, parts.next()?);
    let path = parts.next().unwrap_or_default();
    let (name, revision) = named.split_once('@').unwrap_or((named, "main"));
    hub_address(hub, organization, name, revision, path)
}

/// `org/repo`, `org/repo/tree/revision/path`, `org/repo/blob/revision/file` or `resolve`: addresses of pages.
fn hub_page(text: &str, hub: &str) -> Option<Address> {
    let mut parts = text.split('?').next()?.trim_end_matches('/').splitn(5, '/');
    let (organization, name) = (parts.next()?, parts.next()?);
    match parts.next() {
        None => hub_address(hub, organization, name, "main", ""),
        Some("tree" | "blob" | "resolve") => {
            let revision = parts.next()?;
            hub_address(hub, organization, name, revision, parts.next().unwrap_or_default())
        }
        Some(_) => None,
    }
}

fn hub_address(hub: &str, organization: &str, name: &str, revision: &str, path: &str) -> Option<Address> {
    let sound = is_name(organization) && is_name(name) && is_revision(revision);
    let path_is_plain = path.split('/').all(|part| part != ".." && part != ".");
    (sound && path_is_plain).then(|| Address::Hub {
        endpoint: hub.to_owned(),
        repo: format!("{organization}/{name}"),
        revision: revision.to_owned(),
        path: path.to_owned(),
    })
}

/// A path as an address takes it: everything but letters, digits and `-._~/` escaped.
pub(crate) fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The address of a file that lies beside another, or below it. The query stays: it may be what opens the folder.
pub(crate) fn beside(url: &str, path: &str) -> String {
    let (place, query) = url.split_once('?').map_or((url, None), |(place, query)| (place, Some(query)));
    let folder = place.rsplit_once('/').map_or(place, |(folder, _)| folder);
    let joined = format!("{folder}/{}", escaped(path));
    query.map_or(joined.clone(), |query| format!("{joined}?{query}"))
}

/// The last part of an address's path, with its escapes undone where they are text.
pub(crate) fn file_name(url: &str) -> String {
    let place = url.split(['?', '#']).next().unwrap_or_default();
    let name = place.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        let escape = (byte == b'%').then(|| {
            let mut ahead = rest.clone();
            let digits = [ahead.next()?, ahead.next()?].map(|digit| char::from(digit).to_digit(16));
            let value = u8::try_from(digits[0]? * 16 + digits[1]?).ok()?;
            rest = ahead;
            Some(value)
        });
        bytes.push(escape.flatten().unwrap_or(byte));
    }
    let text = String::from_utf8(bytes).unwrap_or_else(|_| name.to_owned());
    if text.contains(['/', '\\']) || text.chars().any(char::is_control) { name.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(revision: &str, path: &str) -> Address {
        Address::Hub {
            endpoint: HUB.into(),
            repo: "org/a.b-C".into(),
            revision: revision.into(),
            path: path.into(),
        }
    }

    #[test]
    fn repositories_have_many_addresses() {
        for (text, expected) in [
            ("hf://org/a.b-C", repo("main", "")),
            (" hf://org/a.b-C@v1.0/ ", repo("v1.0", "")),
            ("hf://org/a.b-C@refs%2Fpr%2F1/vae", repo("refs%2Fpr%2F1", "vae")),
            ("https://huggingface.co/org/a.b-C?library=x#files", repo("main", "")),
            ("https://huggingface.co/org/a.b-C/tree/dev/vae/", repo("dev", "vae")),
            ("https://huggingface.co/org/a.b-C/blob/main/x/m.safetensors", repo("main", "x/m.safetensors")),
        ] {
            assert_eq!(Address::parse(text, HUB), Ok(expected), "{text}");
        }
    }

    #[test]
    fn files_indices_and_folders_are_told_by_their_ends() {
        let parse = |text: &str| Address::parse(text, HUB).unwrap();
        let file = "https://h.test/a/m.safetensors?sig=x";
        assert_eq!(parse(file), Address::File { url: file.into() });
        let index = "HTTPS://h.test/m.safetensors.index.json";
        assert_eq!(parse(&format!("{index}#x")), Address::Index { url: index.into() });
        assert_eq!(
            parse("http://127.0.0.1:8000/a/"),
            Address::Folder { url: "http://127.0.0.1:8000/a/".into() }
        );
    }

    #[test]
    fn what_cannot_be_opened_is_refused() {
        for text in [
            "",
            "model.safetensors",
            "ftp://h/m.safetensors",
            "https:///m.safetensors",
            "https://h/page.html",
            "http://h.test/m.safetensors",
            "http://127.0.0.1.evil.test/m.safetensors",
            "http://localhost:x@h/",
            "https://user:pass@h/m.safetensors",
            "https://h/m .safetensors",
            "https://h/m\n.safetensors",
            "hf://org",
            "hf://org/",
            "hf:///x",
            "hf://org/..",
            "hf://org/repo@",
            "hf://org/repo/../../x",
            "hf://o rg/r",
            "hf://org/repo@a?b",
        ] {
            let said = Address::parse(text, HUB);
            assert!(matches!(said, Err(RemoteError::Address { .. })), "{text:?}: {said:?}");
        }
    }

    #[test]
    fn a_signature_is_not_repeated_in_an_error() {
        let said = Address::parse("https://h/page?X-Signature=abc", HUB).unwrap_err().to_string();
        assert!(!said.contains("abc"), "{said}");
    }

    #[test]
    fn neighbours_keep_the_query() {
        assert_eq!(beside("https://h/a/i.json?k=1", "sub/m 1#.x"), "https://h/a/sub/m%201%23.x?k=1");
        assert_eq!(beside("https://h/a/", "c.json"), "https://h/a/c.json");
    }

    #[test]
    fn names_are_unescaped_but_stay_names() {
        assert_eq!(file_name("https://h/a/m%20%C3%A9.safetensors?x"), "m é.safetensors");
        for kept in ["a%2Fb.safetensors", "a%00b", "a%zz", "a%F", "%ff"] {
            assert_eq!(file_name(&format!("https://h/{kept}")), kept);
        }
    }

    #[test]
    fn paths_are_told_from_addresses() {
        assert!(["https://a", "HF://a/b", "http://x"].into_iter().all(Address::is_meant));
        assert!(!["models/x", "C:\\x", "hf:/x", "", "https"].into_iter().any(Address::is_meant));
    }
}
