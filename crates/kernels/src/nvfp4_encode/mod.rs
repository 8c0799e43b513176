//! Kernel `nvfp4_encode`: plain floats to E2M1 codes under block scales that are given: from calibrated
//! maxima of blocks, or found by a search (kernel `nvfp4_search`).
//!
//! The second half of kernel `nvfp4_quantize`, and exact for the same reason: the thresholds of
//! [`Nvfp4Table`](crate::nvfp4_quantize::Nvfp4Table) are compared with patterns, nothing is rounded here.
//! The table's rule for scales is not asked, its second scale, block size and cast are. The sign bit of a
//! scale byte is ignored; under NaN (0x7f) every code is 7, as the division by NaN gives it.

#[cfg(all(target_arch = "x86_64", not(quantscope_narrow)))]
pub(crate) mod buckets;
pub(crate) mod cpu;

use crate::spec::{Binding, Exactness, KernelSpec, params};

params! {
    /// What the shader is told of a tile.
    pub struct Params {
        /// Elements in a row.
        cols,
        /// Blocks in a row.
        row_blocks,
        /// Blocks in the tile.
        block_count,
        /// Elements in a block: 16 or 32.
        block,
        /// 1 if two elements share a word, 0 if each has its own.
        narrow,
    }
}

/// The shader's description. An invocation writes one word of codes: eight elements.
pub static SPEC: KernelSpec = KernelSpec {
    name: "nvfp4_encode",
    exactness: Exactness::Exact,
    shader: include_str!("shader.wgsl"),
    shared: &["invocation", "element", "nvfp4_code"],
    constants: &[],
    workgroup_size: 64,
    params: Params::FIELDS,
    bindings: &[
        Binding::read("source"),
        Binding::read("scales"),
        Binding::read("code_last"),
        Binding::write("codes"),
    ],
};
