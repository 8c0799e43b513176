//! Bytes to values, in the form that [`super::encode`] describes.

use super::OtherForm;
use super::encode::{END, FIELD, SKIPPED};
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// A value from bytes.
///
/// # Errors
/// If they are not those of a value of this type, to the last.
pub(super) fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, OtherForm> {
    let mut reader = Reader { rest: bytes };
    let value = T::deserialize(&mut reader)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(OtherForm) }
}

/// What is still to be read.
struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    fn byte(&mut self) -> Result<u8, OtherForm> {
        let (byte, rest) = self.rest.split_first().ok_or(OtherForm)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u64, OtherForm> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(OtherForm);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(OtherForm)
    }

    fn count(&mut self) -> Result<usize, OtherForm> {
        usize::try_from(self.number()?).map_err(|_| OtherForm)
    }

    fn bytes(&mut self) -> Result<&'b [u8], OtherForm> {
        let count = self.count()?;
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(OtherForm)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], OtherForm> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(OtherForm)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn fields<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, OtherForm> {
        let value = visitor.visit_seq(Fields(self))?;
        if self.byte()? == END { Ok(value) } else { Err(OtherForm) }
    }
}

/// The fields of a struct.
struct Fields<'r, 'b>(&'r mut Reader<'b>);

impl<'de> SeqAccess<'de> for Fields<'_, '_> {
    type Error = OtherForm;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, OtherForm> {
        match self.0.byte()? {
            FIELD => seed.deserialize(&mut *self.0).map(Some),
            // Derived readers take the default here, and go on with the next field.
            SKIPPED => Ok(None),
            _ => Err(OtherForm),
        }
    }
}

/// So many values, or pairs.
struct Values<'r, 'b> {
    reader: &'r mut Reader<'b>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Values<'_, '_> {
    type Error = OtherForm;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, OtherForm> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                seed.deserialize(&mut *self.reader).map(Some)
            }
            None => Ok(None),
        }
    }
}

impl<'de> MapAccess<'de> for Values<'_, '_> {
    type Error = OtherForm;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, OtherForm> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, OtherForm> {
        seed.deserialize(&mut *self.reader)
    }
}

impl<'de> EnumAccess<'de> for &mut Reader<'_> {
    type Error = OtherForm;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), OtherForm> {
        let index = u32::try_from(self.number()?).map_err(|_| OtherForm)?;
        let index: U32Deserializer<OtherForm> = index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'_> {
    type Error = OtherForm;

    fn unit_variant(self) -> Result<(), OtherForm> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, OtherForm> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, OtherForm> {
        visitor.visit_seq(Values { reader: self, left: len })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, OtherForm> {
        self.fields(visitor)
    }
}

/// Reads a number and hands it on as the type that is asked for.
macro_rules! numbers {
    ($($method:ident $visit:ident $kind:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
            visitor.$visit(<$kind>::try_from(self.number()?).map_err(|_| OtherForm)?)
        }
    )*};
}

/// Reads a folded number and hands it on as the type that is asked for.
macro_rules! signed {
    ($($method:ident $visit:ident $kind:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
            let folded = self.number()?;
            let number = (folded >> 1).cast_signed() ^ -(folded & 1).cast_signed();
            visitor.$visit(<$kind>::try_from(number).map_err(|_| OtherForm)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Reader<'_> {
    type Error = OtherForm;

    numbers!(
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64
    );
    signed!(
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64
    );

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        let (low, high) = (self.number()?, self.number()?);
        visitor.visit_u128(u128::from(low) | (u128::from(high) << 64))
    }

    /// What a value is has to be known beforehand.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, OtherForm> {
        Err(OtherForm)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, OtherForm> {
        Err(OtherForm)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, OtherForm> {
        Err(OtherForm)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => Err(OtherForm),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        visitor.visit_f32(f32::from_le_bytes(self.array()?))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        visitor.visit_f64(f64::from_le_bytes(self.array()?))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        let code = u32::try_from(self.number()?).map_err(|_| OtherForm)?;
        visitor.visit_char(char::from_u32(code).ok_or(OtherForm)?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        visitor.visit_str(std::str::from_utf8(self.bytes()?).map_err(|_| OtherForm)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        visitor.visit_bytes(self.bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => Err(OtherForm),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, OtherForm> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, OtherForm> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        let left = self.count()?;
        visitor.visit_seq(Values { reader: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, OtherForm> {
        visitor.visit_seq(Values { reader: self, left: len })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, OtherForm> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OtherForm> {
        let left = self.count()?;
        visitor.visit_map(Values { reader: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, OtherForm> {
        self.fields(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, OtherForm> {
        visitor.visit_enum(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}
