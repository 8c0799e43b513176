//! Messages about checkpoints at an address.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What opens a place that is not open to everybody. It lives in memory, and is never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What the page can ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RemoteRequest {
    /// Open the checkpoint at an address. The reply is `Opened`.
    Open {
        /// `https://…` or `hf://organization/repository`.
        address: String,
        /// For the hub alone.
        token: Secret,
    },
    /// How many bytes the scales of what is open have.
    ScaleBytes,
    /// Check the scales alone. The reply is `Verified`.
    Scales,
}

/// What went over the network for the open checkpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Requests sent.
    pub(crate) requests: u64,
    /// Bytes that came.
    pub(crate) bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret("hf_x".into())), "Secret(…)");
    }
}
