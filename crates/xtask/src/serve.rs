//! Serves the built page to this machine, and to no other.

use crate::packed::{Packed, is_packable};
use anyhow::{Context as _, Result, anyhow};
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};
use tiny_http::{Header, Method, Request, Response, Server};

/// More than the six connections that a browser opens to one host.
const ANSWERS_AT_ONCE: usize = 8;

/// Servers of this machine, where the page that opens addresses may ask them.
const LOCAL: &str = " http://127.0.0.1:* http://localhost:*";

/// Headers by which a browser keeps the page apart from all others, and takes its files for nothing but what they
/// are.
const ALONE: [(&str, &str); 6] = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Embedder-Policy", "require-corp"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];

/// The two pages' policies: that of every file but two, and that of the page that opens addresses and its worker.
struct Policies {
    closed: String,
    connecting: String,
    allow_local: bool,
}

impl Policies {
    fn read(folder: &Path, allow_local: bool) -> Result<Self> {
        let of = |name: &str| -> Result<String> {
            let page = fs::read_to_string(folder.join(name)).context("the page is not built")?;
            let policy =
                policy_of(&page).with_context(|| format!("{name} names no content security policy"))?;
            Ok(policy.to_owned())
        };
        let (closed, connecting) = (of("index.html")?, of("remote.html")?);
        let connecting = if allow_local { with_local(&connecting) } else { connecting };
        Ok(Self { closed, connecting, allow_local })
    }

    fn of(&self, path: &Path) -> &str {
        let name = path.file_name().and_then(|name| name.to_str());
        if matches!(name, Some("remote.html" | "remote_worker_start.js")) {
            &self.connecting
        } else {
            &self.closed
        }
    }
}

/// A policy, or a page with one, that lets servers of this machine be asked.
fn with_local(text: &str) -> String {
    text.replace("connect-src 'self' https:", &format!("connect-src 'self' https:{LOCAL}"))
}

/// Serves `folder` until the process is ended. Port 0 means any free one.
pub(crate) fn serve(folder: &Path, port: u16, allow_local: bool) -> Result<()> {
    let server = Server::http(("127.0.0.1", port))
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| format!("port {port} cannot be used; `--port 0` or no flag takes a free one"))?;
    let policies = Policies::read(folder, allow_local)?;
    let packed = Packed::default();
    let address = server.server_addr().to_ip().context("the server has no address")?;
    println!("\nQuantscope is at http://{address}/   (Ctrl-C ends it)");
    // A browser may leave one answer unread until another has come, so no answer waits for another.
    std::thread::scope(|scope| {
        for _ in 0..ANSWERS_AT_ONCE {
            scope.spawn(|| {
                for request in server.incoming_requests() {
                    if let Err(error) = answer(folder, &policies, &packed, request) {
                        // A browser that went away in the middle of a file is no reason to stop serving.
                        eprintln!("{error:#}");
                    }
                }
            });
        }
    });
    Ok(())
}

fn answer(folder: &Path, policies: &Policies, packed: &Packed, request: Request) -> Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return Ok(request.respond(Response::empty(405))?);
    }
    let Some(path) = local_path(folder, request.url()) else {
        return Ok(request.respond(Response::from_string("There is nothing here.").with_status_code(404))?);
    };
    let packs = is_packable(content_type(&path)) && takes_gzip(&request);
    let mut response = if policies.allow_local && path.ends_with("remote.html") {
        // The page's own policy has to allow what its header does: both are obeyed.
        let page = with_local(&fs::read_to_string(&path)?);
        Response::from_data(if packs { Packed::pack(page.as_bytes())? } else { page.into_bytes() }).boxed()
    } else if packs {
        Response::from_data(packed.of(&path)?.to_vec()).boxed()
    } else {
        Response::from_file(File::open(&path)?).boxed()
    };
    if packs {
        response.add_header(header("Content-Encoding", "gzip")?);
    }
    // What a page's own policy cannot say: who may show it within theirs.
    let policy = format!("{}; frame-ancestors 'none'", policies.of(&path));
    let headers = [
        ("Content-Type", content_type(&path)),
        ("Cache-Control", "no-store"),
        ("Vary", "Accept-Encoding"),
        ("Content-Security-Policy", policy.as_str()),
    ];
    for (name, value) in headers.into_iter().chain(ALONE) {
        response.add_header(header(name, value)?);
    }
    Ok(request.respond(response)?)
}

fn header(name: &str, value: &str) -> Result<Header> {
    Header::from_bytes(name, value).map_err(|()| anyhow!("{name}: {value} is no header"))
}

/// Whether the browser takes what is packed with gzip.
fn takes_gzip(request: &Request) -> bool {
    let mut taken = request.headers().iter().filter(|header| header.field.equiv("Accept-Encoding"));
    taken.any(|header| names_gzip(header.value.as_str()))
}

/// Whether a list of encodings, each with a weight or without, names gzip and does not forbid it.
fn names_gzip(list: &str) -> bool {
    list.split(',').map(|entry| entry.split(';').map(str::trim).collect::<Vec<_>>()).any(|entry| {
        let forbidden = entry.iter().skip(1).any(|weight| {
            weight.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok()) == Some(0.0)
        });
        entry.first() == Some(&"gzip") && !forbidden
    })
}

/// The content security policy that the page gives itself. A worker obeys the header of its own script, not
/// the page's meta element, so every answer carries it.
fn policy_of(page: &str) -> Option<&str> {
    let (_, after) = page.split_once("http-equiv=\"Content-Security-Policy\"")?;
    let (_, value) = after.split_once("content=\"")?;
    value.split_once('"').map(|(policy, _)| policy)
}

/// The file that a request means; `None` if it points out of the folder or at nothing.
fn local_path(folder: &Path, url: &str) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next()?.trim_start_matches('/');
    let relative = Path::new(if path.is_empty() { "index.html" } else { path });
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let file = folder.join(relative);
    file.is_file().then_some(file)
}

/// Browsers compile wasm while it arrives only under its own type, and refuse scripts under a wrong one.
fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn the_page_has_a_policy_that_lets_nothing_out() {
        let page =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../index.html")).unwrap();
        let policy = policy_of(&page).unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("connect-src 'self';"), "{policy}");
        assert!(policy.ends_with("; require-trusted-types-for 'script'; trusted-types default"), "{policy}");
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
    }

    #[test]
    fn servers_of_this_machine_are_asked_only_where_that_is_wanted() {
        let policies = |allow_local| {
            let folder =
                std::env::temp_dir().join(format!("quantscope-serve-{}-{allow_local}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            for (name, connect) in [("index.html", "'self'"), ("remote.html", "'self' https:")] {
                let page = format!(
                    "<meta http-equiv=\"Content-Security-Policy\" content=\"connect-src {connect}\">"
                );
                fs::write(folder.join(name), page).unwrap();
            }
            let policies = Policies::read(&folder, allow_local).unwrap();
            fs::remove_dir_all(folder).unwrap();
            policies
        };
        for allow_local in [false, true] {
            let policies = policies(allow_local);
            for name in ["index.html", "worker_start.js", "worker.js", "sw.js"] {
                assert_eq!(policies.of(Path::new(name)), "connect-src 'self'", "{name}");
            }
            for name in ["remote.html", "remote_worker_start.js"] {
                let policy = policies.of(Path::new(name));
                assert!(policy.starts_with("connect-src 'self' https:"), "{policy}");
                assert_eq!(policy.contains("127.0.0.1"), allow_local, "{policy}");
            }
        }
    }

    #[test]
    fn every_answer_keeps_the_page_apart() {
        let folder = std::env::temp_dir().join(format!("quantscope-apart-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("sw.js"), "1").unwrap();
        let policies =
            Policies { closed: "connect-src 'self'".into(), connecting: String::new(), allow_local: false };
        let server = Server::http(("127.0.0.1", 0)).unwrap();
        let mut asked = std::net::TcpStream::connect(server.server_addr().to_ip().unwrap()).unwrap();
        std::io::Write::write_all(&mut asked, b"GET /sw.js HTTP/1.0\r\n\r\n").unwrap();
        answer(&folder, &policies, &Packed::default(), server.recv().unwrap()).unwrap();
        let mut text = String::new();
        asked.read_to_string(&mut text).unwrap();
        assert!(
            text.contains("Content-Security-Policy: connect-src 'self'; frame-ancestors 'none'\r\n"),
            "{text}"
        );
        for (name, value) in ALONE {
            assert!(text.contains(&format!("{name}: {value}\r\n")), "{text}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for list in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8, *;q=0.1"] {
            assert!(names_gzip(list), "{list}");
        }
        for list in ["", "identity", "br", "gzip;q=0", "x-gzip", "br, gzip; q=0.0"] {
            assert!(!names_gzip(list), "{list}");
        }
    }

    #[test]
    fn only_files_inside_the_folder_are_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(local_path(folder, "/Cargo.toml?x=1"), Some(folder.join("Cargo.toml")));
        assert_eq!(local_path(folder, "/src/main.rs"), Some(folder.join("src/main.rs")));
        for url in ["/../../Cargo.toml", "/src/../Cargo.toml", "/src", "/nothing", "/", "//etc/passwd"] {
            assert_eq!(local_path(folder, url), None, "{url}");
        }
    }
}
