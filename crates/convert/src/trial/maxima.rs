//! Maxima that were measured, so that the layers of a fused group are measured once.

use std::collections::HashMap;

/// Largest magnitudes by module, as bits of F32.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maxima {
    by_name: HashMap<String, u32>,
}

impl Maxima {
    /// What is known of a module.
    pub(crate) fn of(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// Keeps what was measured.
    pub(crate) fn keep(&mut self, name: &str, bits: u32) {
        self.by_name.insert(name.to_string(), bits);
    }
}
