//! How a shader is described to whoever runs it: its text, its bindings, its parameters, its exactness.

use crate::engine::NONE;

/// Whether a kernel's results may be written to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exactness {
    /// The same bytes as the CPU twin on every adapter: integers only, from load to store.
    Exact,
    /// Works with floats, within a bound that its folder states; so it only says which answers the CPU twin
    /// has to choose from. The twin's choice may be written.
    Narrows,
}

/// How a shader uses a storage buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reads it.
    Read,
    /// Reads and writes it.
    ReadWrite,
}

/// A storage buffer of a shader. Its number is its place in [`KernelSpec::bindings`] plus 1: number 0 is
/// the uniform buffer of the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The variable's name in the shader.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
}

impl Binding {
    /// A buffer that is read only.
    #[must_use]
    pub const fn read(name: &'static str) -> Self {
        Self { name, access: Access::Read }
    }

    /// A buffer that is written.
    #[must_use]
    pub const fn write(name: &'static str) -> Self {
        Self { name, access: Access::ReadWrite }
    }
}

/// A kernel's shader, described.
#[derive(Debug)]
pub struct KernelSpec {
    /// Name of the kernel and of its folder.
    pub name: &'static str,
    /// Whether its results may be written to a file.
    pub exactness: Exactness,
    /// The shader's own text.
    pub shader: &'static str,
    /// The function libraries it uses, in order; files of `src/shared`.
    pub shared: &'static [&'static str],
    /// Constants of the Rust side that the shader uses.
    pub constants: &'static [(&'static str, u32)],
    /// Invocations in a workgroup.
    pub workgroup_size: u32,
    /// The fields of the parameters, each one `u32`.
    pub params: &'static [&'static str],
    /// The storage buffers, from binding 1 on.
    pub bindings: &'static [Binding],
}

impl KernelSpec {
    /// The entry point of every shader.
    pub const ENTRY_POINT: &'static str = "main";

    /// The whole shader: constants, the libraries it uses, its own text.
    #[must_use]
    pub fn source(&self) -> String {
        let mut text = format!("const WORKGROUP_SIZE: u32 = {}u;\n", self.workgroup_size);
        for (name, value) in self.constants {
            text.push_str(&format!("const {name}: u32 = {value}u;\n"));
        }
        for wanted in self.shared {
            for (_, library) in SHARED.iter().filter(|(name, _)| name == wanted) {
                text.push_str(library);
            }
        }
        text.push_str(self.shader);
        text
    }

    /// Workgroups in x and y that make at least `invocations`, given the most the device allows in one
    /// dimension; `None` if even the square of that is not enough.
    #[must_use]
    pub fn workgroups(&self, invocations: u64, most_per_dimension: u32) -> Option<[u32; 2]> {
        let groups = invocations.div_ceil(u64::from(self.workgroup_size)).max(1);
        let x = groups.min(u64::from(most_per_dimension));
        let y = groups.div_ceil(x.max(1));
        let (x, y) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
        (x > 0 && y <= most_per_dimension).then_some([x, y])
    }
}

/// The function libraries of `src/shared`, by the name of their file.
pub(crate) static SHARED: &[(&str, &str)] = &[
    ("census", include_str!("shared/census.wgsl")),
    ("element", include_str!("shared/element.wgsl")),
    ("nvfp4_code", include_str!("shared/nvfp4_code.wgsl")),
    ("invocation", include_str!("shared/invocation.wgsl")),
    ("scale_grid", include_str!("shared/scale_grid.wgsl")),
    ("softfloat", include_str!("shared/softfloat.wgsl")),
    ("source", include_str!("shared/source.wgsl")),
];

/// The index behind a "first" of a census as a shader stores it: complemented, so that 0 says none.
pub(crate) fn first_of_rank(rank: u32) -> u64 {
    if rank == 0 { NONE } else { u64::from(!rank) }
}

/// Defines a kernel's parameters: `u32` fields only, in the order of the shader's struct `Params`.
macro_rules! params {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u32,)*
        }

        impl $name {
            /// The names of the fields; field `i` lies at byte `4 * i`.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];

            /// The fields as the words of the uniform buffer.
            #[must_use]
            pub fn words(&self) -> Vec<u32> {
                vec![$(self.$field),*]
            }
        }
    };
}
pub(crate) use params;
