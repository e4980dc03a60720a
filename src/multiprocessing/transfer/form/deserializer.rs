//! A serde deserializer over the bytes of a [`Reader`].

use serde::de::{self, IntoDeserializer, Visitor};

use super::access::{Fields, Items, Pairs};
use super::fault::{Fault, Outcome};
use super::reader::Reader;

#[cold]
fn names_nothing<T>() -> Outcome<T> {
    Err(Fault::new(
        "its form needs a self-describing format, and a message holds no names of fields and no types: serde's `untagged`, \
         `tag`, `flatten` and `skip_serializing_if`, and what is read by `deserialize_any` (serde_json::Value), do not work \
         here; use plain enums and Option, or send it as text of such a format",
    ))
}

macro_rules! numbers {
    ($($name:ident => $visit:ident($type:ty), $how:ident($bits:literal);)*) => {
        $(#[inline]
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
            let number = self.$how($bits)?;
            visitor.$visit(number as $type) // the number has no more bits
        })*
    };
}

macro_rules! unnamed {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, _visitor: V) -> Outcome<V::Value> {
            names_nothing()
        })*
    };
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    numbers! {
        deserialize_i16 => visit_i16(i16), zigzag(16);
        deserialize_i32 => visit_i32(i32), zigzag(32);
        deserialize_i64 => visit_i64(i64), zigzag(64);
        deserialize_u16 => visit_u16(u16), varint(16);
        deserialize_u32 => visit_u32(u32), varint(32);
        deserialize_u64 => visit_u64(u64), varint(64);
    }

    unnamed! { deserialize_any deserialize_identifier deserialize_ignored_any }

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_u8(self.byte()?)
    }

    #[inline]
    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_i8(self.byte()? as i8) // its bits
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            other => Err(Fault::new(format!("the byte {other} is neither true nor false"))),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        let number = self.wide_varint()?;
        visitor.visit_i128((number >> 1) as i128 ^ -((number & 1) as i128))
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_u128(self.wide_varint()?)
    }

    #[inline]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_f32(f32::from_le_bytes(self.array()?))
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_f64(f64::from_le_bytes(self.array()?))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        let mut characters = self.text()?.chars();
        match (characters.next(), characters.next()) {
            (Some(one), None) => visitor.visit_char(one),
            _ => Err(Fault::new("the text is not one character")),
        }
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_borrowed_str(self.text()?)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_borrowed_bytes(self.counted()?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_borrowed_bytes(self.counted()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => self.nested::<V::Value, _>(|reader| visitor.visit_some(reader)),
            other => Err(Fault::new(format!("the byte {other} is neither None nor Some"))),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Outcome<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Outcome<V::Value> {
        self.nested::<V::Value, _>(|reader| visitor.visit_newtype_struct(reader))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        let length = self.length()?;
        self.nested::<V::Value, _>(|reader| visitor.visit_seq(Items::new(reader, length)))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Outcome<V::Value> {
        self.nested::<V::Value, _>(|reader| visitor.visit_seq(Fields::new(reader, length)))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Outcome<V::Value> {
        self.deserialize_tuple(length, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        let length = self.length()?;
        self.nested::<V::Value, _>(|reader| visitor.visit_map(Pairs::new(reader, length)))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Outcome<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Outcome<V::Value> {
        self.nested::<V::Value, _>(|reader| visitor.visit_enum(reader))
    }
}

impl<'de> de::EnumAccess<'de> for &mut Reader<'de> {
    type Error = Fault;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Outcome<(S::Value, Self)> {
        let index = self.varint(32)? as u32; // the number has no more bits
        let variant: de::value::U32Deserializer<Fault> = index.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Reader<'de> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Outcome<()> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: de::DeserializeSeed<'de>>(self, seed: S) -> Outcome<S::Value> {
        self.within(size_of::<S::Value>(), |reader| seed.deserialize(reader))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Outcome<V::Value> {
        visitor.visit_seq(Fields::new(self, length))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Outcome<V::Value> {
        visitor.visit_seq(Fields::new(self, fields.len()))
    }
}
