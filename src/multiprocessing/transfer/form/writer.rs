//! A serde serializer that writes values as bytes.

use serde::ser::{self, Serialize};

use super::fault::{Fault, Outcome};

/// Appends to the bytes that are there.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    #[inline]
    pub(super) fn behind(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Writes seven bits a byte, the lowest first; the top bit says that more bytes follow.
    #[inline]
    fn varint(&mut self, number: u64) -> Outcome<()> {
        match number < 0x80 {
            true => self.out.push(number as u8),
            false => self.long_varint(number),
        }
        Ok(())
    }

    /// Spreads the number over eight bytes, seven bits in each, and stores them at once. Writing each byte separately
    /// takes twice as long.
    #[inline]
    fn long_varint(&mut self, number: u64) {
        let bits = u64::BITS - number.leading_zeros();
        if bits > 56 {
            return self.longest_varint(number);
        }
        let halves = number & 0x0fff_ffff | (number & 0x00ff_ffff_f000_0000) << 4;
        let quarters = halves & 0x0000_3fff_0000_3fff | (halves & 0x0fff_c000_0fff_c000) << 2;
        let bytes = quarters & 0x007f_007f_007f_007f | (quarters & 0x3f80_3f80_3f80_3f80) << 1;
        let length = bits.div_ceil(7); // 2 to 8
        let more = 0x8080_8080_8080_8080 & ((1 << (8 * (length - 1))) - 1);
        let end = self.out.len() + length as usize;
        self.out.extend_from_slice(&(bytes | more).to_le_bytes());
        self.out.truncate(end);
    }

    #[cold]
    fn longest_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80); // the low seven bits
            number >>= 7;
        }
        self.out.push(number as u8);
    }

    fn wide_varint(&mut self, mut number: u128) -> Outcome<()> {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
        Ok(())
    }

    /// Writes a number with its sign in the lowest bit, so that small numbers of either sign are short.
    fn zigzag(&mut self, number: i64) -> Outcome<()> {
        self.varint(((number << 1) ^ (number >> 63)) as u64)
    }

    /// Writes the length of the bytes, then the bytes.
    pub(super) fn counted(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.varint(bytes.len() as u64)?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn length(&mut self, length: Option<usize>) -> Outcome<()> {
        let Some(length) = length else {
            return Err(Fault::new(
                "it has a sequence or a map of a length that is not known beforehand, as serde's `flatten` makes one: a message \
                 begins each with its length; use plain fields, or collect it first",
            ));
        };
        self.varint(length as u64)
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty => $how:ident,)*) => {
        $(#[inline]
        fn $name(self, value: $type) -> Outcome<()> {
            self.$how(value.into())
        })*
    };
}

impl ser::Serializer for &mut Writer<'_> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    numbers! {
        serialize_i16: i16 => zigzag,
        serialize_i32: i32 => zigzag,
        serialize_i64: i64 => zigzag,
        serialize_u16: u16 => varint,
        serialize_u32: u32 => varint,
        serialize_u64: u64 => varint,
        serialize_u128: u128 => wide_varint,
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Outcome<()> {
        self.out.push(value);
        Ok(())
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Outcome<()> {
        self.serialize_u8(value as u8) // its bits
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Outcome<()> {
        self.serialize_u8(value.into())
    }

    fn serialize_i128(self, value: i128) -> Outcome<()> {
        self.wide_varint(((value << 1) ^ (value >> 127)) as u128)
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Outcome<()> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Outcome<()> {
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Outcome<()> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Outcome<()> {
        self.counted(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Outcome<()> {
        self.counted(value)
    }

    #[inline]
    fn serialize_none(self) -> Outcome<()> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome<()> {
        self.out.push(1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Outcome<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Outcome<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, index: u32, _variant: &'static str) -> Outcome<()> {
        self.varint(index.into())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Outcome<()> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Outcome<()> {
        self.varint(index.into())?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Outcome<Self> {
        self.length(length)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _length: usize) -> Outcome<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Outcome<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Outcome<Self> {
        self.varint(index.into())?;
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Outcome<Self> {
        self.length(length)?;
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _length: usize) -> Outcome<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _length: usize,
    ) -> Outcome<Self> {
        self.varint(index.into())?;
        Ok(self)
    }
}

/// Implements serde's trait of each shape. The bytes are the same for every shape: one part after the other.
macro_rules! parts {
    ($($trait:ident: $($part:ident)+;)*) => {$(
        impl ser::$trait for &mut Writer<'_> {
            type Ok = ();
            type Error = Fault;

            $(#[inline]
            fn $part<T: Serialize + ?Sized>(&mut self, part: &T) -> Outcome<()> {
                part.serialize(&mut **self)
            })+

            #[inline]
            fn end(self) -> Outcome<()> {
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
    SerializeMap: serialize_key serialize_value;
}

macro_rules! named_parts {
    ($($trait:ident)*) => {$(
        impl ser::$trait for &mut Writer<'_> {
            type Ok = ();
            type Error = Fault;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _name: &'static str, part: &T) -> Outcome<()> {
                part.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Outcome<()> {
                Ok(())
            }
        }
    )*};
}

named_parts! { SerializeStruct SerializeStructVariant }
