//! Quantization schemes, each described in one file: how it is recognised, which companions it stores
//! with which shapes, how many bits a weight costs, how it is decoded, how a config declares it.
//!
//! Knows: layers as tensors with dtypes and shapes. Does not know: screens, files on disk.
#![forbid(unsafe_code)]

mod about;
mod arrangement;
mod conv;
pub mod declare;
mod decode;
mod encode;
pub mod exclude;
mod kind;
pub mod kv;
mod layer;
mod layout_note;
pub mod leak;
mod parts;
mod recast;
mod registry;
mod scheme;
mod settings;

pub use about::{
    About, Companion, Family, INPUT_SCALE_LEAF, Match, Presence, Role, ScaleLayout, TIED_LEAVES, WEIGHT_LEAF,
};
pub use arrangement::{Arrangement, Arranger, PackedForm, Padding, tiled_offset};
pub use conv::ConvKernels;
pub use declare::{Declared, effective_algo};
pub use decode::{Decoder, Refusal, Region, Slab};
pub use encode::{
    Activations, EncodeInput, EncodeSettings, Encoded, Encoder, Encoding, Form, Fp8Rounding, Matrix, Output,
    Shares,
};
pub use kind::{Kind, is_transposed_conv};
pub use layer::{Facts, LayerView, Naming, Section, Stored, descriptor_type, may_describe, split_name};
pub use layout_note::{LayoutNote, layout_notes, layout_notes_key};
pub use recast::{Lossless, Recast};
pub use registry::{Recognised, algo_scheme, by_id, is_marker, recognise, role_of, schemes, unrecognised};
pub use scheme::Scheme;
pub use settings::{Settings, describes_layers};
