//! Checkpoints by address: which files an address means, which ranges are asked of a server, and what its
//! answers have to be.
//!
//! Knows: addresses, ranges, the hub's list of files. Does not know: sockets, `fetch`, TLS (a [`Transport`] does).
#![forbid(unsafe_code)]

mod address;
mod connection;
mod error;
mod hub;
mod open;
mod range;
mod source;
#[cfg(test)]
mod testing;
mod transport;

pub use address::{Address, HUB};
pub use connection::{Connection, Traffic};
pub use error::RemoteError;
pub use open::{RemoteFile, open};
pub use source::RemoteSource;
pub use transport::{Answer, RangeRequest, Token, Transport, TransportError};
