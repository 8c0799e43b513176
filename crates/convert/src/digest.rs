//! SHA-256 beside the work: natively a thread of its own hashes one tile while the next is read and computed.

use quantscope_format::Buffer;
use std::sync::Arc;

/// A hash that grows.
#[derive(Default)]
pub(crate) struct Digest {
    side: Side,
}

impl Digest {
    /// Takes in bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.side.update(bytes);
    }

    /// Takes in bytes that someone else reads at the same time.
    pub(crate) fn update_shared(&mut self, bytes: &Arc<Buffer>) {
        self.side.update_shared(bytes);
    }

    /// The hash as lower-case hex.
    pub(crate) fn finish(self) -> String {
        self.side.finish()
    }
}

#[cfg(target_arch = "wasm32")]
use inline::Side;
#[cfg(not(target_arch = "wasm32"))]
use threaded::Side;

#[cfg(target_arch = "wasm32")]
mod inline {
    use super::{Arc, Buffer};
    use crate::write::hex;
    use sha2::{Digest as _, Sha256};

    /// Where there are no threads, everything is hashed at once.
    #[derive(Default)]
    pub(super) struct Side(Sha256);

    impl Side {
        pub(super) fn update(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        pub(super) fn update_shared(&mut self, bytes: &Arc<Buffer>) {
            self.0.update(&***bytes);
        }

        pub(super) fn finish(self) -> String {
            hex(&self.0.finalize())
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod threaded {
    use super::{Arc, Buffer};
    use crate::write::hex;
    use sha2::{Digest as _, Sha256};
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::thread::{Builder, JoinHandle};

    /// Bytes from which on another thread is worth its start.
    const LARGE: usize = 1 << 18;

    /// Tiles that wait to be hashed, at most: together with the one being hashed, what the memory budget has for it.
    const WAITING: usize = 1;

    /// Where the hashing is done.
    pub(super) enum Side {
        /// Here, as long as little comes.
        Here(Sha256),
        /// In a thread, which answers the hash once the sender is gone.
        There(SyncSender<Arc<Buffer>>, JoinHandle<Sha256>),
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
            let (sender, receiver) = sync_channel::<Arc<Buffer>>(WAITING);
            let mut moved = hash.clone();
            let hashing = move || {
                for bytes in receiver {
                    moved.update(&**bytes);
                }
                moved
            };
            if let Ok(thread) = Builder::new().name("hash".into()).spawn(hashing) {
                *self = Self::There(sender, thread);
            }
        }

        pub(super) fn update(&mut self, bytes: &[u8]) {
            if bytes.len() >= LARGE {
                self.begin();
            }
            match self {
                Self::Here(hash) => hash.update(bytes),
                Self::There(..) => self.update_shared(&Arc::new(bytes.to_vec().into())),
            }
        }

        pub(super) fn update_shared(&mut self, bytes: &Arc<Buffer>) {
            if bytes.len() >= LARGE {
                self.begin();
            }
            match self {
                Self::Here(hash) => hash.update(&***bytes),
                // The thread takes until the sender is gone.
                Self::There(sender, _) => sender.send(Arc::clone(bytes)).unwrap_or_default(),
            }
        }

        pub(super) fn finish(self) -> String {
            let hash = match self {
                Self::Here(hash) => hash,
                Self::There(sender, thread) => {
                    drop(sender);
                    // It cannot panic; an empty hash would be found out when it is compared.
                    thread.join().unwrap_or_default()
                }
            };
            hex(&hash.finalize())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Digest};

    /// FIPS 180-4's examples for "abc" and a million times "a", whole and in pieces, small and large.
    #[test]
    fn the_hash_is_that_of_the_standard() {
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        const MILLION: &str = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";
        let mut digest = Digest::default();
        digest.update(b"a");
        digest.update(b"bc");
        assert_eq!(digest.finish(), ABC);
        let bytes = vec![b'a'; 1_000_000];
        for piece in [1000, 300_000, 999_999, 1_000_000] {
            let mut digest = Digest::default();
            for part in bytes.chunks(piece) {
                digest.update(part);
            }
            assert_eq!(digest.finish(), MILLION, "pieces of {piece}");
        }
        let mut digest = Digest::default();
        digest.update_shared(&Arc::new(bytes[..600_000].to_vec().into()));
        digest.update(&bytes[600_000..600_001]);
        digest.update_shared(&Arc::new(bytes[600_001..].to_vec().into()));
        assert_eq!(digest.finish(), MILLION);
    }
}
