//! The plan: every output tensor with its dtype, shape, place and step, before anything is read.

use crate::arrange::Lie;
use crate::builder;
use crate::calibration::Blocks;
use crate::error::ConvertError;
use crate::recipe::Recipe;
use crate::refused::Refused;
use quantscope_audit::{Checkpoint, Model};
use quantscope_format::TensorSpec;
use quantscope_kernels::FloatType;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_numeric::Dtype;
use quantscope_schemes::{Arrangement, Encoding, Kind, Lossless, Matrix, Naming, Scheme};
use std::ops::Range;

/// Bytes of a source tensor: all of it, or the part that one expert has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Shard.
    pub shard: u32,
    /// Tensor within the shard.
    pub tensor: u32,
    /// Bytes within the tensor.
    pub bytes: Range<u64>,
}

impl Place {
    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes.end.saturating_sub(self.bytes.start)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Rows of a source tensor that lies otherwise than they are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// All of the tensor.
    pub place: Place,
    /// How it lies.
    pub from: Arrangement,
    /// Rows, and bytes of a row, that are no padding.
    pub kept: [u64; 2],
}

/// What makes one output tensor.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Bytes of a source tensor as they are.
    Copy(Place),
    /// Rows of a source tensor that lies otherwise, padding left out. Few tensors are, of very many.
    Rows(Box<Rows>),
    /// The largest of single F32 numbers: activation scales of layers that share a weight.
    Largest(Vec<Place>),
    /// Bytes of several source tensors one after another; numbers of the type given, rounded to the output's type.
    Join(Vec<Place>, Option<Dtype>),
    /// Bytes of the first of several source tensors, which must all be equal.
    Same(Vec<Place>),
    /// Numbers of a source tensor, rounded to the output's type.
    Cast(Place, Dtype),
    /// Codes of a packed layer, by its index in [`Plan::packed`].
    Codes(usize),
    /// Block scales of a packed layer; made together with its codes.
    BlockScales(usize),
    /// A 0-d scale of a packed layer, known once its maximum is, by its leaf name.
    Scalar(usize, &'static str),
    /// A number known from calibration.
    Constant(f32),
    /// Decoded values of a layer, by its index in [`Plan::changed`].
    Decoded(usize),
    /// An output of a layer taken over from another scheme's form, by its index in [`Plan::changed`] and
    /// that of the output.
    Recast(usize, usize),
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
    /// How it lies, where its bytes are not stored as they come.
    pub lie: Option<Box<Lie>>,
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

/// Block maxima that a calibration gives for a layer.
#[derive(Debug, Clone)]
pub struct GivenBlocks {
    /// Key under which they were given.
    pub key: String,
    /// The maxima.
    pub blocks: Blocks,
    /// The first of this layer; not 0 where gate and up share a list.
    pub first: u64,
}

/// A layer that is packed.
#[derive(Clone)]
pub struct PackedLayer {
    /// Module path in the output.
    pub name: String,
    /// How its tensors are named.
    pub naming: Naming,
    /// Kind.
    pub kind: Kind,
    /// Scheme of the output.
    pub scheme: &'static dyn Scheme,
    /// Scheme of the source.
    pub from: &'static str,
    /// Logical shape.
    pub shape: Vec<u64>,
    /// The source weight.
    pub place: Place,
    /// Weights whose rows follow, where several layers are joined.
    pub joined: Vec<Place>,
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
    /// Block maxima from calibration.
    pub given: Option<GivenBlocks>,
    /// Largest activation from calibration, merged over ties and fused groups.
    pub input_amax: Option<f32>,
    /// Bytes of everything that replaces it.
    pub bytes_after: u64,
}

impl PackedLayer {
    /// Where the bytes of its weight are, one after another.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.place).chain(&self.joined)
    }

    /// Bytes of its weight in the source.
    #[must_use]
    pub fn source_bytes(&self) -> u64 {
        self.places().map(Place::len).fold(0, u64::saturating_add)
    }
}

/// A quantized layer that changes its form without being quantized anew: decoded, or recast.
#[derive(Clone)]
pub struct ChangedLayer {
    /// Index in the model's layers.
    pub layer: usize,
    /// Module path.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Scheme of the output.
    pub to: &'static dyn Scheme,
    /// Scheme of the source.
    pub from: &'static str,
    /// Logical shape.
    pub shape: Vec<u64>,
    /// Bytes of the source's tensors.
    pub bytes_before: u64,
    /// Bytes of what replaces them.
    pub bytes_after: u64,
    /// Whether every value is the same afterwards.
    pub lossless: Lossless,
    /// What is noteworthy: what is not exactly the same afterwards.
    pub note: String,
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
#[derive(Default)]
pub struct Plan {
    /// Files of weights.
    pub files: Vec<PlanFile>,
    /// JSON files that are written anew, with their bytes.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Files that are copied as they are.
    pub copies: Vec<String>,
    /// Packed layers in natural order.
    pub packed: Vec<PackedLayer>,
    /// Groups of packed layers that share the maximum of their weights.
    pub groups: Vec<Vec<usize>>,
    /// Layers that change their form.
    pub changed: Vec<ChangedLayer>,
    /// Kept layers in natural order.
    pub kept: Vec<KeptLayer>,
    /// Layers that cannot be converted as asked. While there are any, the plan is only to be looked at.
    pub refused: Vec<Refused>,
    /// Bytes of the source's tensors.
    pub bytes_before: u64,
    /// Bytes of the output's tensors.
    pub bytes_after: u64,
    /// Bytes of the source's tensors that ties leave out.
    pub bytes_tied: u64,
    /// Bits per weight of the source.
    pub bits_before: f64,
    /// Bits per weight of the output.
    pub bits_after: f64,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Lays out a conversion. Reads no tensor bytes: `ties` are pairs of tensors that [`crate::Ties`] has
    /// compared or takes for equal.
    ///
    /// Layers that cannot be converted are listed in [`Plan::refused`]; [`Plan::check`] makes an error of them.
    ///
    /// # Errors
    /// If the request as a whole makes no sense for this checkpoint, or nothing would be packed.
    pub fn new(
        checkpoint: &Checkpoint,
        model: &Model,
        recipe: &Recipe,
        ties: &crate::Ties,
    ) -> Result<Self, ConvertError> {
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
        builder::plan(checkpoint, model, recipe, ties)
    }
}
