//! Why something at an address could not be had: what, where, and the next step.

/// Why an address gave no checkpoint, or no bytes.
///
/// Addresses are shown without their query, which may be a signature that opens the file to anybody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// No address of a form that is known.
    #[error("{address} is no address that can be opened: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The server could not be asked.
    #[error("{url} could not be reached: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// The system's own words.
        reason: String,
    },
    /// There is nothing at this address.
    #[error("there is nothing at {url} (status {status}); compare the address with the server's")]
    Missing {
        /// What was asked.
        url: String,
        /// 404 or 410.
        status: u16,
    },
    /// The server wants to know who asks.
    #[error(
        "{url} is not open to everybody (status {status}); give a token that may read it, \
         and accept the terms of the repository if it has any"
    )]
    Denied {
        /// What was asked.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// The server answered something else.
    #[error(
        "{url} answered with status {status}; try again later, or download the files and open them from disk"
    )]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server sends whole files only.
    #[error(
        "the server of {url} does not answer ranges, so only whole files could be had; \
         download the files and open them from disk"
    )]
    NoRanges {
        /// What was asked.
        url: String,
    },
    /// The answer is another range than the one asked.
    #[error("{url} answered with {found}, {expected} was asked for; the server cannot be relied on")]
    WrongRange {
        /// What was asked.
        url: String,
        /// The range asked.
        expected: String,
        /// What the answer says it is.
        found: String,
    },
    /// The file is not what it was when it was opened.
    #[error("{url} changed while it was open ({expected} before, {found} now); open it again")]
    Changed {
        /// What was asked.
        url: String,
        /// Length or tag before.
        expected: String,
        /// Length or tag now.
        found: String,
    },
    /// The connection broke off, several times.
    #[error(
        "{url} broke off after {got} of {wanted} bytes ({reason}); try again when the connection is better"
    )]
    BrokeOff {
        /// What was asked.
        url: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that were asked for.
        wanted: u64,
        /// The system's own words.
        reason: String,
    },
    /// A list of files or an index that cannot be used.
    #[error("{url} cannot be used: {reason}")]
    Unusable {
        /// What was read.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no weight file.
    #[error("{url} holds no .safetensors file{hint}")]
    Nothing {
        /// What was looked at.
        url: String,
        /// Where there are some.
        hint: String,
    },
    /// The user stopped it.
    #[error("stopped")]
    Cancelled,
}

impl RemoteError {
    /// The word under which the command line and the page file it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Address { .. } => "usage",
            Self::Missing { .. } | Self::Nothing { .. } => "nothing",
            Self::Cancelled => "cancelled",
            _ => "source",
        }
    }
}

/// An address without its query.
pub(crate) fn shown(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}
