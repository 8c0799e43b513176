//! What a file may make us spend. Passed in by the caller, never read from a global.

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
            tile_bytes: 16 << 20,
        }
    }
}

impl Limits {
    /// Sets one limit by the name the command line uses (`header`, `tensors`, `name`, `dims`, `depth`,
    /// `json`, `tile`).
    ///
    /// # Errors
    /// The names there are, if `name` is not one of them or the value is zero.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), String> {
        let slot = match name {
            "header" => &mut self.header_bytes,
            "tensors" => &mut self.tensors,
            "name" => &mut self.name_bytes,
            "dims" => &mut self.dims,
            "depth" => &mut self.json_depth,
            "json" => &mut self.json_bytes,
            "tile" => &mut self.tile_bytes,
            _ => {
                return Err(format!(
                    "no limit is called {name:?}; there are header, tensors, name, dims, depth, json and tile"
                ));
            }
        };
        if value == 0 {
            return Err(format!("the limit {name} must be at least 1"));
        }
        *slot = value;
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
            assert_eq!(limits.set(name, 0).unwrap_err(), format!("the limit {name} must be at least 1"));
        }
        let error = Limits::default().set("size", 1).unwrap_err();
        assert!(
            error.contains("\"size\"") && error.contains("header, tensors, name, dims, depth, json and tile"),
            "{error}"
        );
    }
}
