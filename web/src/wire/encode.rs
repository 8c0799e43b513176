//! Values to bytes, in the order of their fields and without their names.
//!
//! Integers are written seven bits at a time, the low ones first, the eighth saying that more come; signed ones are
//! folded first, so that small ones stay short; those of 128 bits are two halves, the low one first. Numbers with a point are their eight or four bytes. Texts, lists and
//! maps begin with their count, options with 0 or 1, variants with their number. Before each field of a struct
//! stands [`FIELD`], or [`SKIPPED`] in place of one that is left out, and [`END`] after the last: whoever reads
//! another number of fields notices.

use super::OtherForm;
use serde::ser::{self, Serialize, Serializer};

/// Before the value of a field.
pub(super) const FIELD: u8 = 1;
/// Instead of a field that is left out where it says nothing.
pub(super) const SKIPPED: u8 = 0;
/// After the last field.
pub(super) const END: u8 = 2;

/// A value as bytes.
///
/// # Errors
/// If it has a list whose length is not known beforehand.
pub(super) fn to_bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, OtherForm> {
    let mut writer = Writer { bytes: Vec::new() };
    value.serialize(&mut writer)?;
    Ok(writer.bytes)
}

/// What has been written.
pub(super) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push((number & 0x7f) as u8);
    }

    fn count(&mut self, count: usize) {
        self.number(count as u64);
    }
}

impl Serializer for &mut Writer {
    type Ok = ();
    type Error = OtherForm;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn serialize_bool(self, value: bool) -> Result<(), OtherForm> {
        self.bytes.push(u8::from(value));
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), OtherForm> {
        self.serialize_i64(i64::from(value))
    }

    fn serialize_i16(self, value: i16) -> Result<(), OtherForm> {
        self.serialize_i64(i64::from(value))
    }

    fn serialize_i32(self, value: i32) -> Result<(), OtherForm> {
        self.serialize_i64(i64::from(value))
    }

    fn serialize_i64(self, value: i64) -> Result<(), OtherForm> {
        self.number((value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned());
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), OtherForm> {
        self.serialize_u64(u64::from(value))
    }

    fn serialize_u16(self, value: u16) -> Result<(), OtherForm> {
        self.serialize_u64(u64::from(value))
    }

    fn serialize_u32(self, value: u32) -> Result<(), OtherForm> {
        self.serialize_u64(u64::from(value))
    }

    fn serialize_u64(self, value: u64) -> Result<(), OtherForm> {
        self.number(value);
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, reason = "each half of it is 64 bits")]
    fn serialize_u128(self, value: u128) -> Result<(), OtherForm> {
        self.number((value & u128::from(u64::MAX)) as u64);
        self.number((value >> 64) as u64);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Result<(), OtherForm> {
        self.bytes.extend(value.to_bits().to_le_bytes());
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), OtherForm> {
        self.bytes.extend(value.to_bits().to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), OtherForm> {
        self.serialize_u32(u32::from(value))
    }

    fn serialize_str(self, value: &str) -> Result<(), OtherForm> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), OtherForm> {
        self.count(value.len());
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), OtherForm> {
        self.bytes.push(0);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), OtherForm> {
        self.bytes.push(1);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), OtherForm> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), OtherForm> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), OtherForm> {
        self.number(u64::from(index));
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), OtherForm> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), OtherForm> {
        self.number(u64::from(index));
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, OtherForm> {
        self.count(len.ok_or(OtherForm)?);
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, OtherForm> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, OtherForm> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, OtherForm> {
        self.number(u64::from(index));
        Ok(self)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self, OtherForm> {
        self.serialize_seq(len)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, OtherForm> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, OtherForm> {
        self.number(u64::from(index));
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Values one after the other, with nothing between them or behind the last.
macro_rules! in_a_row {
    ($($kind:ident $method:ident),*) => {$(
        impl ser::$kind for &mut Writer {
            type Ok = ();
            type Error = OtherForm;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), OtherForm> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), OtherForm> {
                Ok(())
            }
        }
    )*};
}

in_a_row!(
    SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

impl ser::SerializeMap for &mut Writer {
    type Ok = ();
    type Error = OtherForm;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), OtherForm> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), OtherForm> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), OtherForm> {
        Ok(())
    }
}

impl ser::SerializeStruct for &mut Writer {
    type Ok = ();
    type Error = OtherForm;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        _: &'static str,
        value: &T,
    ) -> Result<(), OtherForm> {
        self.bytes.push(FIELD);
        value.serialize(&mut **self)
    }

    fn skip_field(&mut self, _: &'static str) -> Result<(), OtherForm> {
        self.bytes.push(SKIPPED);
        Ok(())
    }

    fn end(self) -> Result<(), OtherForm> {
        self.bytes.push(END);
        Ok(())
    }
}

impl ser::SerializeStructVariant for &mut Writer {
    type Ok = ();
    type Error = OtherForm;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), OtherForm> {
        ser::SerializeStruct::serialize_field(self, name, value)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), OtherForm> {
        ser::SerializeStruct::skip_field(self, name)
    }

    fn end(self) -> Result<(), OtherForm> {
        ser::SerializeStruct::end(self)
    }
}
