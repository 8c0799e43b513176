//! A message to the user.

/// A message at the top of the view, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What did not work, or what is done.
    pub(crate) title: String,
    /// What happened, to what, and the next step.
    pub(crate) text: String,
    /// Whether something went wrong.
    pub(crate) is_error: bool,
}
