//! `--json`: one document on standard output.

use crate::exit::Failure;
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write as _};

/// Name and version, as every document but the report itself carries them.
pub(crate) fn tool() -> Value {
    json!({"name": "quantscope", "version": env!("CARGO_PKG_VERSION")})
}

/// Prints one document, as it is written: a plan of 100,000 layers has 160 MB.
pub(crate) fn print(document: &impl Serialize) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from);
    crate::text::printed(written.and_then(|()| writeln!(out)).and_then(|()| out.flush()))
}

/// Prints why nothing was done, so that a reader of JSON always gets a document.
pub(crate) fn print_failure(failure: &Failure) {
    let document =
        json!({"schema": 1, "tool": tool(), "error": {"kind": failure.kind, "message": failure.message}});
    // The message stands on standard error already; if this pipe is closed, that must do.
    let _ = writeln!(io::stdout(), "{document:#}");
}
