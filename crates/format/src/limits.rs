//! What a file may make us spend: one type, passed in by the caller, never read from a global.
//!
//! Each limit has a name, by which the command line raises or lowers it (`--limit NAME=VALUE`) and errors speak of it.
//! `docs/limits.md` is made of [`Limits::NAMED`].

/// Bounds on every dimension that a file controls, and the memory budget of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest header, in bytes. The reference refuses more than 100,000,000.
    pub header_bytes: u64,
    /// Most tensors in one shard.
    pub tensors: u64,
    /// Longest tensor name, in bytes.
    pub name_bytes: u64,
    /// Most dimensions of one tensor.
    pub dims: u64,
    /// Deepest nesting of JSON.
    pub json_depth: u64,
    /// Longest config or index file, in bytes.
    pub json_bytes: u64,
    /// Bytes of one tile: what a job holds of a tensor at a time.
    pub tile_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 100_000_000,
            tensors: 2_000_000,
            name_bytes: 4096,
            dims: 32,
            json_depth: 128,
            json_bytes: 200_000_000,
            tile_bytes: 4 << 20,
        }
    }
}

/// A limit as people name it.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Its name, as `--limit` takes it.
    pub name: &'static str,
    /// What it bounds, with its unit.
    pub bounds: &'static str,
    /// What becomes of a file that exceeds it.
    pub beyond: &'static str,
    slot: fn(&mut Limits) -> &mut u64,
}

impl Limit {
    /// Its value there.
    #[must_use]
    pub fn of(&self, limits: &Limits) -> u64 {
        let mut limits = *limits;
        *(self.slot)(&mut limits)
    }
}

impl Limits {
    /// A tree takes up to 16 times the bytes of its text, so what becomes one gets this part of the limit for JSON.
    pub const CONFIG_SHARE: u64 = 8;

    /// Longest config, in bytes, and most JSON that metadata and tensors may say of single layers.
    #[must_use]
    pub fn config_bytes(&self) -> u64 {
        (self.json_bytes / Self::CONFIG_SHARE).max(1)
    }

    /// Every limit.
    pub const NAMED: [Limit; 7] = [
        Limit {
            name: "header",
            bounds: "bytes of one shard's header",
            beyond: "the header is not read: ST101",
            slot: |limits| &mut limits.header_bytes,
        },
        Limit {
            name: "tensors",
            bounds: "tensors of one shard, and entries of its metadata",
            beyond: "the rest is counted, not read: ST106",
            slot: |limits| &mut limits.tensors,
        },
        Limit {
            name: "name",
            bounds: "bytes of one tensor's name",
            beyond: "the tensor is left out: ST106",
            slot: |limits| &mut limits.name_bytes,
        },
        Limit {
            name: "dims",
            bounds: "dimensions of one tensor",
            beyond: "the tensor is left out: ST106",
            slot: |limits| &mut limits.dims,
        },
        Limit {
            name: "depth",
            bounds: "levels of nesting in JSON; more than 127 are refused in any case",
            beyond: "the file is not read: ST101, CF310 or IX808",
            slot: |limits| &mut limits.json_depth,
        },
        Limit {
            name: "json",
            bounds: "bytes of an index or a manifest; an eighth of it, of a config, and of all that metadata and tensors say of single layers",
            beyond: "the file is not read: CF310 or IX808; what is said of layers is not read further: ST106",
            slot: |limits| &mut limits.json_bytes,
        },
        Limit {
            name: "tile",
            bounds: "bytes of a tensor that are held at a time",
            beyond: "larger tensors are read tile by tile",
            slot: |limits| &mut limits.tile_bytes,
        },
    ];

    /// Sets one limit by its name.
    ///
    /// # Errors
    /// The names there are, if `name` is not one of them or the value is zero.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), String> {
        let Some(limit) = Self::NAMED.iter().find(|limit| limit.name == name) else {
            let names = Self::NAMED.map(|limit| limit.name);
            let (last, others) = names.split_last().unwrap_or((&"", &[]));
            return Err(format!("no limit is called {name:?}; there are {} and {last}", others.join(", ")));
        };
        if value == 0 {
            return Err(format!("the limit {name} must be at least 1"));
        }
        *(limit.slot)(self) = value;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    #[test]
    fn every_name_sets_its_own_limit() {
        let fields = |l: &Limits| {
            [l.header_bytes, l.tensors, l.name_bytes, l.dims, l.json_depth, l.json_bytes, l.tile_bytes]
        };
        for (i, name) in ["header", "tensors", "name", "dims", "depth", "json", "tile"].iter().enumerate() {
            let mut limits = Limits::default();
            limits.set(name, 77).unwrap();
            let mut expected = fields(&Limits::default());
            expected[i] = 77;
            assert_eq!(fields(&limits), expected, "{name}");
            assert_eq!(Limits::NAMED[i].of(&limits), 77);
            assert_eq!(limits.set(name, 0).unwrap_err(), format!("the limit {name} must be at least 1"));
        }
        let error = Limits::default().set("size", 1).unwrap_err();
        assert!(
            error.contains("\"size\"") && error.contains("header, tensors, name, dims, depth, json and tile"),
            "{error}"
        );
    }
}
