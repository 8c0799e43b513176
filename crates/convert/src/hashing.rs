//! SHA-256 of what passes by: by whoever hashes beside the work, else here.

use crate::digest::{Digest, Sha};
use futures_util::future::LocalBoxFuture;
use quantscope_format::{Buffer, Control, Hashing};
use std::sync::Arc;

/// A hash that grows.
pub(crate) enum Growing {
    /// Here, or in a thread of ours.
    Here(Digest),
    /// Elsewhere.
    There(Box<dyn Hashing>),
}

/// A hash to which nothing more comes.
pub(crate) enum Ending {
    /// Ours.
    Here(Digest),
    /// Someone else's.
    There(LocalBoxFuture<'static, Option<[u8; 32]>>),
}

impl Growing {
    /// A hash of so many bytes, which `control` may have someone for.
    pub(crate) fn new(control: &dyn Control, bytes: u64) -> Self {
        control.hashing(bytes).map_or_else(|| Self::Here(Digest::default()), Self::There)
    }

    /// Takes in the next bytes.
    pub(crate) async fn update(&mut self, bytes: &Arc<Buffer>) {
        match self {
            Self::Here(digest) => digest.update(bytes).await,
            Self::There(hashing) => hashing.update(bytes).await,
        }
    }

    /// All bytes have come.
    pub(crate) fn end(self) -> Ending {
        match self {
            Self::Here(digest) => Ending::Here(digest),
            Self::There(hashing) => Ending::There(hashing.finish()),
        }
    }
}

impl Ending {
    /// The hash; `None` if whoever took it is lost.
    pub(crate) async fn hash(self) -> Option<Sha> {
        match self {
            Self::Here(digest) => Some(digest.finish().await),
            Self::There(hash) => hash.await.map(Sha),
        }
    }
}
