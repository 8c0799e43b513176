//! The plan: every output tensor with its dtype, shape, place and step, before anything is read.

use crate::builder::Builder;
use crate::error::ConvertError;
use crate::recipe::Recipe;
use crate::select::refuse_quantized;
use quantscope_audit::{Checkpoint, Model};
use quantscope_format::TensorSpec;
use quantscope_kernels::FloatType;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_schemes::{Encoding, Kind, Matrix, Scheme};
use std::ops::Range;

/// What makes one output tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Bytes of a source tensor as they are.
    Copy {
        /// Shard.
        shard: u32,
        /// Tensor within the shard.
        tensor: u32,
    },
    /// Codes of a packed layer, by its index in [`Plan::packed`].
    Codes(usize),
    /// Block scales of a packed layer; made together with its codes.
    BlockScales(usize),
    /// A 0-d scale of a packed layer, known once its maximum is, by its leaf name.
    Scalar(usize, &'static str),
    /// A number known from calibration.
    Constant(f32),
}

/// One output tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanTensor {
    /// Name, dtype, shape.
    pub spec: TensorSpec,
    /// Bytes within its file.
    pub span: Range<u64>,
    /// What makes it.
    pub step: Step,
}

/// One output file of weights.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanFile {
    /// Final name.
    pub name: String,
    /// The 8-byte length and the JSON header.
    pub header: Vec<u8>,
    /// Length of the whole file.
    pub len: u64,
    /// Its tensors in file order.
    pub tensors: Vec<PlanTensor>,
}

/// A layer that is packed.
#[derive(Clone)]
pub struct PackedLayer {
    /// Module path.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Scheme of the output.
    pub scheme: &'static dyn Scheme,
    /// Scheme of the source.
    pub from: &'static str,
    /// Logical shape.
    pub shape: Vec<u64>,
    /// Shard of the source weight.
    pub shard: u32,
    /// Tensor of the source weight.
    pub tensor: u32,
    /// Its element type.
    pub dtype: FloatType,
    /// What happens to values before codes are taken.
    pub cast: CodeCast,
    /// The matrix that is encoded.
    pub matrix: Matrix,
    /// What encoding it writes.
    pub encoding: Encoding,
    /// Maximum from calibration, in place of the data's own.
    pub weight_amax: Option<f32>,
    /// Bytes of the source weight.
    pub bytes_before: u64,
    /// Bytes of everything that replaces it.
    pub bytes_after: u64,
}

/// A layer that is kept although a scheme was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLayer {
    /// Module path.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Scheme it has and keeps.
    pub scheme: &'static str,
    /// Logical shape.
    pub shape: Vec<u64>,
    /// Bytes.
    pub bytes: u64,
    /// Why.
    pub reason: String,
}

/// The whole promise.
pub struct Plan {
    /// Files of weights.
    pub files: Vec<PlanFile>,
    /// JSON files that are written anew, with their bytes.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Files that are copied as they are.
    pub copies: Vec<String>,
    /// Packed layers in natural order.
    pub packed: Vec<PackedLayer>,
    /// Groups of packed layers that share their scales.
    pub groups: Vec<Vec<usize>>,
    /// Kept layers in natural order.
    pub kept: Vec<KeptLayer>,
    /// Bytes of the source's tensors.
    pub bytes_before: u64,
    /// Bytes of the output's tensors.
    pub bytes_after: u64,
    /// Bits per weight of the source.
    pub bits_before: f64,
    /// Bits per weight of the output.
    pub bits_after: f64,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Lays out a conversion. Reads no tensor bytes.
    ///
    /// # Errors
    /// If a tensor cannot be converted, naming it and what to do, or nothing would be packed.
    pub fn new(checkpoint: &Checkpoint, model: &Model, recipe: &Recipe) -> Result<Self, ConvertError> {
        refuse_quantized(model)?;
        if let Some(shard) = checkpoint.shards.iter().find(|s| !s.header.is_sound()) {
            let why = shard.header.defects.first().map(ToString::to_string).unwrap_or_default();
            return Err(ConvertError::Refused(format!(
                "{} is damaged: {why}; mend or fetch it first",
                shard.file
            )));
        }
        if let Some((name, _)) = model.repeated.first_key_value() {
            return Err(ConvertError::Tensor {
                tensor: name.clone(),
                reason: "stands in more than one shard".into(),
                remedy: "drop one of the copies first".into(),
            });
        }
        Builder::new(checkpoint, model, recipe, Self::empty()).build()
    }

    fn empty() -> Self {
        Self {
            files: Vec::new(),
            texts: Vec::new(),
            copies: Vec::new(),
            packed: Vec::new(),
            groups: Vec::new(),
            kept: Vec::new(),
            bytes_before: 0,
            bytes_after: 0,
            bits_before: 0.0,
            bits_after: 0.0,
            warnings: Vec::new(),
        }
    }
}
