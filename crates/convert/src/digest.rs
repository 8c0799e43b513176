//! SHA-256 beside the work: natively a thread of its own hashes one tile while others are read and computed.

use crate::write::hex;
use quantscope_format::Buffer;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::Arc;

/// SHA-256 of something; shown as lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sha(pub(crate) [u8; 32]);

impl fmt::Display for Sha {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl Serialize for Sha {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A hash that grows.
#[derive(Default)]
pub(crate) struct Digest {
    side: Side,
}

impl Digest {
    /// Takes in bytes that someone else reads at the same time; waits while too many of them wait to be hashed.
    pub(crate) async fn update(&mut self, bytes: &Arc<Buffer>) {
        self.side.update(bytes).await;
    }

    /// The hash of all of it.
    pub(crate) async fn finish(self) -> Sha {
        Sha(self.side.finish().await.finalize().into())
    }
}

/// The hash of bytes that are at hand, as lower-case hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[cfg(target_arch = "wasm32")]
use inline::Side;
#[cfg(not(target_arch = "wasm32"))]
use threaded::Side;

#[cfg(target_arch = "wasm32")]
mod inline {
    use super::{Arc, Buffer};
    use sha2::{Digest as _, Sha256};

    /// Where there are no threads, everything is hashed at once.
    #[derive(Default)]
    pub(super) struct Side(Sha256);

    impl Side {
        pub(super) async fn update(&mut self, bytes: &Arc<Buffer>) {
            self.0.update(&***bytes);
        }

        pub(super) async fn finish(self) -> Sha256 {
            self.0
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod threaded {
    use super::{Arc, Buffer};
    use futures_channel::mpsc::{UnboundedReceiver, unbounded};
    use futures_channel::oneshot;
    use futures_util::StreamExt as _;
    use sha2::{Digest as _, Sha256};
    use std::sync::mpsc::{Sender, channel};
    use std::thread::Builder;

    /// Bytes from which on another thread is worth its start.
    const LARGE: usize = 1 << 18;

    /// Tiles that wait to be hashed, at most: enough that the thread has work while whoever hands them over packs a
    /// tile or two.
    const WAITING: usize = 4;

    /// Where the hashing is done.
    pub(super) enum Side {
        /// Here, as long as little comes.
        Here(Sha256),
        /// In a thread.
        There(Thread),
    }

    /// A thread that hashes until nobody has more for it.
    pub(super) struct Thread {
        tiles: Sender<Arc<Buffer>>,
        /// Tiles that are not known to be hashed.
        waiting: usize,
        /// Tells of every tile that is hashed.
        hashed: UnboundedReceiver<()>,
        /// The hash, once nothing more can come.
        hash: oneshot::Receiver<Sha256>,
    }

    impl Default for Side {
        fn default() -> Self {
            Self::Here(Sha256::new())
        }
    }

    impl Side {
        /// Starts the thread; stays here if the system has none to give.
        fn begin(&mut self) {
            let Self::Here(hash) = self else { return };
            let mut moved = hash.clone();
            let (tiles, coming) = channel::<Arc<Buffer>>();
            let (tell, hashed) = unbounded();
            let (answer, hash) = oneshot::channel();
            let hashing = move || {
                for bytes in coming {
                    moved.update(&**bytes);
                    // The memory of the tile is free before anyone goes on.
                    drop(bytes);
                    // Whoever has given up does not want to know.
                    let _ = tell.unbounded_send(());
                }
                let _ = answer.send(moved);
            };
            if Builder::new().name("hash".into()).spawn(hashing).is_ok() {
                *self = Self::There(Thread { tiles, waiting: 0, hashed, hash });
            }
        }

        pub(super) async fn update(&mut self, bytes: &Arc<Buffer>) {
            if bytes.len() >= LARGE {
                self.begin();
            }
            match self {
                Self::Here(hash) => hash.update(&***bytes),
                Self::There(thread) => {
                    while thread.waiting > WAITING && thread.hashed.next().await.is_some() {
                        thread.waiting -= 1;
                    }
                    // The thread takes until the sender is gone.
                    thread.tiles.send(Arc::clone(bytes)).unwrap_or_default();
                    thread.waiting += 1;
                }
            }
        }

        pub(super) async fn finish(self) -> Sha256 {
            match self {
                Self::Here(hash) => hash,
                Self::There(Thread { tiles, hash, .. }) => {
                    drop(tiles);
                    // It cannot panic; an empty hash would be found out when it is compared.
                    hash.await.unwrap_or_default()
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Digest, sha256};

    /// FIPS 180-4's examples for "abc" and a million times "a", whole and in pieces, small and large.
    #[test]
    fn the_hash_is_that_of_the_standard() {
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        const MILLION: &str = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        let of = |pieces: &[&[u8]]| {
            futures_executor::block_on(async {
                let mut digest = Digest::default();
                for piece in pieces {
                    digest.update(&Arc::new(piece.to_vec().into())).await;
                }
                digest.finish().await.to_string()
            })
        };
        assert_eq!(of(&[b"a", b"bc"]), ABC);
        assert_eq!(sha256(b"abc"), ABC);
        let bytes = vec![b'a'; 1_000_000];
        for piece in [1000, 100_000, 300_000, 999_999, 1_000_000] {
            let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
            assert_eq!(of(&pieces), MILLION, "pieces of {piece}");
        }
        assert_eq!(of(&[&bytes[..600_000], b"a", &bytes[600_001..]]), MILLION);
    }
}
