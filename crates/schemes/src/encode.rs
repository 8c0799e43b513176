//! Encoding a floating-point matrix: what a scheme promises before data is seen, and the tiles it then makes.

use crate::about::Role;
use futures_util::future::LocalBoxFuture;
use quantscope_kernels::nvfp4_quantize::CodeCast;
use quantscope_kernels::{Engine, EngineError, FloatTile, FloatType};
use quantscope_numeric::Dtype;

/// How the quotient of per-tensor FP8 comes about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fp8Rounding {
    /// Divides by the F32 scale, then rounds to the weight's type, as the reference does on a CPU.
    #[default]
    Cpu,
    /// Casts the scale to the weight's type first, as on a GPU.
    Cuda,
}

/// What the user may choose of an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeSettings {
    /// Weights that share a scale, in the schemes that leave it open.
    pub group_size: u64,
    /// See [`Fp8Rounding`].
    pub fp8_rounding: Fp8Rounding,
}

impl Default for EncodeSettings {
    fn default() -> Self {
        Self { group_size: 128, fp8_rounding: Fp8Rounding::Cpu }
    }
}

/// How the activations of a layer are quantized when it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activations {
    /// Under the stored scale.
    Static,
    /// Under scales found as they come.
    #[default]
    Dynamic,
    /// Not at all.
    Kept,
}

/// The form in which a weight comes to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `[N, K]`.
    Linear,
    /// `[O, C, kt, kh, kw]`, flattened to `[O, K]`; K is padded with zeros.
    Conv3d,
    /// Experts `[E, in, out]`, encoded along `in`: the matrix is `[E * out, in]`, and outputs are transposed
    /// back to `[E, in, out]`.
    Stack {
        /// Number of experts.
        experts: u64,
    },
    /// Experts `[E, a, b]`, each one row of the matrix: packed as they stand.
    Experts {
        /// `a` and `b`.
        sides: [u64; 2],
    },
}

/// A matrix to encode: blocks lie along its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Rows (output features).
    pub rows: u64,
    /// Columns (K), without padding.
    pub cols: u64,
    /// Where it comes from.
    pub form: Form,
}

/// A tensor that an encoded layer stores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Leaf name.
    pub leaf: &'static str,
    /// What it is for.
    pub role: Role,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, of the matrix for a stack.
    pub shape: Vec<u64>,
}

/// Which members of a fused group take the largest weight maximum of all (`formats.md` h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shares {
    /// None: scales are finer than the tensor.
    Never,
    /// Gate and up of one expert only, activations included.
    Experts,
    /// All.
    Always,
}

/// What encoding a matrix will write, known before any data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// Tensors but the activation scale, the packed weight first. Role [`Role::WeightScale`] with a rank of 1
    /// or more is written tile by tile from [`Encoder::scales`]; any 0-d one comes from [`Encoder::scalars`].
    pub outputs: Vec<Output>,
    /// Whether [`EncodeInput::maximum`] is used, so that it must be measured.
    pub needs_maximum: bool,
    /// Whether the maximum is shared in fused groups. Activation maxima are shared except where this is
    /// [`Shares::Experts`] and the group is none of an expert.
    pub shares: Shares,
    /// Whether a tensor of zeros would get NaN.
    pub nan_if_zero: bool,
    /// Rows and columns that one scale governs; `u32::MAX` for the whole extent.
    pub block: [u32; 2],
    /// Rows that a tile must hold together, beside `block`.
    pub row_unit: u64,
    /// Columns at whose multiples a row may be cut.
    pub column_unit: u64,
}

/// What an encoder is made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncodeInput {
    /// The matrix.
    pub matrix: Matrix,
    /// Its element type.
    pub dtype: FloatType,
    /// What happens to values before codes are taken.
    pub cast: CodeCast,
    /// Element type that they have then: what a quotient is rounded to where the reference rounds it.
    pub export: FloatType,
    /// Largest magnitude of the tensor, or of its fused group; not used unless [`Encoding::needs_maximum`].
    pub maximum: f32,
    /// What the user chose.
    pub settings: EncodeSettings,
    /// Whether scales come from given block maxima (static calibration) in place of a rule of the scheme's own.
    pub given_blocks: bool,
}

/// What a tile became.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// Bytes of the packed weight.
    pub codes: Vec<u8>,
    /// Bytes of the block scales; empty where all scales are 0-d.
    pub scales: Vec<u8>,
}

/// A scheme made ready to encode one tensor, tile by tile.
pub trait Encoder {
    /// Values of the 0-d outputs by leaf name.
    fn scalars(&self) -> Vec<(&'static str, f32)>;

    /// Block scales as stored, for block maxima given as F32 patterns, row-major; empty where all scales are
    /// 0-d.
    fn scales(&self, maxima: &[u32]) -> Vec<u8>;

    /// Codes of a tile under given scales: whole rows, or a part of one row (of [`Encoding::row_unit`] rows)
    /// that begins at a multiple of [`Encoding::column_unit`]. `scales` are the stored bytes of the blocks
    /// that the tile touches, and `first_row` is the index of its first row within the first of them.
    ///
    /// # Errors
    /// If the engine fails.
    fn codes<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
        first_row: u32,
        scales: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<Vec<u8>, EngineError>>;

    /// Scales and codes of a tile that holds whole blocks.
    ///
    /// # Errors
    /// If the engine fails.
    fn encode<'a>(
        &'a self,
        engine: &'a dyn Engine,
        tile: FloatTile<'a>,
    ) -> LocalBoxFuture<'a, Result<Encoded, EngineError>>;
}
