//! The element types a safetensors header may name.
//!
//! The list and the widths are those of the `safetensors` crate 0.8.0 (`Dtype`, `bitsize`).
//! What a type means inside a quantization scheme is not known here.

use std::fmt;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $tag:literal, $bits:literal;)*) => {
        /// An element type as a safetensors header names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(non_camel_case_types, reason = "the variants are spelled as the format spells its tags")]
        pub enum Dtype {
            $($(#[$doc])* $variant,)*
        }

        impl Dtype {
            /// Every type, in the order of the reference crate, which is also its order of alignment.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The tag that stands in a header, such as `BF16` or `F8_E4M3`.
            #[must_use]
            pub const fn tag(self) -> &'static str {
                match self { $(Self::$variant => $tag,)* }
            }

            /// Width of one element in bits. `F4` and the `F6` types are narrower than a byte.
            #[must_use]
            pub const fn bits(self) -> u64 {
                match self { $(Self::$variant => $bits,)* }
            }

            /// The type a header's tag names; `None` for a tag the reference does not know.
            #[must_use]
            pub fn from_tag(tag: &str) -> Option<Self> {
                match tag { $($tag => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

dtypes! {
    /// One byte, 0 or 1.
    BOOL = "BOOL", 8;
    /// OCP MX FP4 (E2M1), two to a byte.
    F4 = "F4", 4;
    /// OCP MX FP6, 2 exponent and 3 mantissa bits.
    F6_E2M3 = "F6_E2M3", 6;
    /// OCP MX FP6, 3 exponent and 2 mantissa bits.
    F6_E3M2 = "F6_E3M2", 6;
    /// Unsigned byte; also the carrier of packed codes.
    U8 = "U8", 8;
    /// Signed byte.
    I8 = "I8", 8;
    /// FP8 with 5 exponent bits.
    F8_E5M2 = "F8_E5M2", 8;
    /// FP8 with 4 exponent bits, no infinities (E4M3FN).
    F8_E4M3 = "F8_E4M3", 8;
    /// A power of two, the MX block scale.
    F8_E8M0 = "F8_E8M0", 8;
    /// FP8 E4M3 without negative zero.
    F8_E4M3FNUZ = "F8_E4M3FNUZ", 8;
    /// FP8 E5M2 without negative zero.
    F8_E5M2FNUZ = "F8_E5M2FNUZ", 8;
    /// Signed 16-bit integer.
    I16 = "I16", 16;
    /// Unsigned 16-bit integer.
    U16 = "U16", 16;
    /// IEEE binary16.
    F16 = "F16", 16;
    /// bfloat16.
    BF16 = "BF16", 16;
    /// Signed 32-bit integer.
    I32 = "I32", 32;
    /// Unsigned 32-bit integer.
    U32 = "U32", 32;
    /// IEEE binary32.
    F32 = "F32", 32;
    /// Two binary32 parts.
    C64 = "C64", 64;
    /// IEEE binary64.
    F64 = "F64", 64;
    /// Signed 64-bit integer.
    I64 = "I64", 64;
    /// Unsigned 64-bit integer.
    U64 = "U64", 64;
}

impl Dtype {
    /// Bytes that `elements` of this type take; `None` if the product overflows or ends inside a byte.
    ///
    /// ```
    /// use quantscope_numeric::Dtype;
    /// assert_eq!(Dtype::BF16.byte_len(3), Some(6));
    /// assert_eq!(Dtype::F4.byte_len(3), None, "three nibbles are not whole bytes");
    /// assert_eq!(Dtype::F32.byte_len(u64::MAX), None);
    /// ```
    #[must_use]
    pub fn byte_len(self, elements: u64) -> Option<u64> {
        let bits = elements.checked_mul(self.bits())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// Whether an element is a plain floating-point number of at least 16 bits.
    #[must_use]
    pub const fn is_plain_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}
