//! Bytes to values, within bounds.

use serde::de::{self, IntoDeserializer, Visitor};

use super::access::{Fields, Items, Pairs};
use super::{Bounds, Fault, Outcome};

/// The rest of a message, and the rest of its bounds.
pub(super) struct Reader<'de> {
    rest: &'de [u8],
    length: usize,
    bounds: Bounds,
    /// How many more levels there may be below the value at work.
    levels: usize,
    /// How many more bytes of memory the value may take.
    room: usize,
    /// How many more items may take no bytes.
    idle: usize,
    /// The size of the place for the current value, as far as it was paid for with the surrounding value. A value that
    /// is larger than its place is in a box, and is paid for separately.
    place: usize,
    /// How many values of a pointer's size, each within the one before, have stood in their places so far.
    run: usize,
}

/// How long such a run may be without paying. A value of a pointer's size fits into the place of a box, so its size
/// does not tell whether it stands there or in the box. A type that only wraps another makes a short run; a type that
/// contains itself in a box makes a run as long as the message says.
const RUN: usize = 2;

impl<'de> Reader<'de> {
    pub(super) fn new<T>(bytes: &'de [u8], bounds: Bounds) -> Self {
        let Bounds { depth, memory, idle, .. } = bounds;
        Self {
            rest: bytes,
            length: bytes.len(),
            bounds,
            levels: depth,
            room: memory,
            idle,
            place: size_of::<T>(),
            run: 0,
        }
    }

    /// Checks that the message has no more bytes.
    #[inline]
    pub(super) fn finish(&self) -> Outcome<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(left_over(left)),
        }
    }

    /// The fault with the place where it was found.
    #[cold]
    pub(super) fn place(&self, fault: Fault) -> Fault {
        Fault::new(format!("{fault} (at byte {})", self.length - self.rest.len()))
    }

    /// What was not read.
    pub(super) fn rest(&self) -> &'de [u8] {
        self.rest
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    fn byte(&mut self) -> Outcome<u8> {
        let Some((first, rest)) = self.rest.split_first() else { return Err(ends_early()) };
        self.rest = rest;
        Ok(*first)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Outcome<&'de [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else { return Err(ends_early()) };
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else { return Err(ends_early()) };
        self.rest = rest;
        Ok(*taken)
    }

    /// A number of at most `bits` bits, seven in a byte, the lowest first.
    #[inline]
    fn varint(&mut self, bits: u32) -> Outcome<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(first.into());
        }
        self.long_varint(first, bits)
    }

    #[inline]
    fn long_varint(&mut self, first: u8, bits: u32) -> Outcome<u64> {
        let mut number = u64::from(first & 0x7f);
        let mut shift = 7;
        let mut rest = self.rest.iter();
        while shift < bits {
            let Some(byte) = rest.next() else {
                self.rest = &[];
                return Err(ends_early());
            };
            let part = u64::from(byte & 0x7f);
            if bits - shift < 7 && part >> (bits - shift) != 0 {
                break;
            }
            number |= part << shift;
            if *byte < 0x80 {
                self.rest = rest.as_slice();
                return Ok(number);
            }
            shift += 7;
        }
        self.rest = rest.as_slice();
        Err(too_wide(bits))
    }

    fn wide_varint(&mut self) -> Outcome<u128> {
        let mut number = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            if shift == 126 && part > 3 {
                break;
            }
            number |= part << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Fault::new("a number of more than 128 bits"))
    }

    #[inline]
    fn zigzag(&mut self, bits: u32) -> Outcome<i64> {
        let number = self.varint(bits)?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// How many items follow. A number beyond the address space is beyond the message, too.
    #[inline]
    fn length(&mut self) -> Outcome<usize> {
        self.varint(64).map(|length| usize::try_from(length).unwrap_or(usize::MAX))
    }

    #[inline]
    fn counted(&mut self) -> Outcome<&'de [u8]> {
        let length = self.length()?;
        let taken = self.take(length)?;
        self.charge(1, length)?;
        Ok(taken)
    }

    #[inline]
    fn text(&mut self) -> Outcome<&'de str> {
        std::str::from_utf8(self.counted()?).map_err(|_| Fault::new("a text that is not UTF-8"))
    }

    /// Pays for `count` items of a size, before their memory is allocated.
    #[inline]
    pub(super) fn charge(&mut self, count: usize, size: usize) -> Outcome<()> {
        match count.checked_mul(size).and_then(|bytes| self.room.checked_sub(bytes)) {
            Some(room) => {
                self.room = room;
                Ok(())
            }
            None => Err(self.too_large(count, size)),
        }
    }

    #[cold]
    fn too_large(&self, count: usize, size: usize) -> Fault {
        let Bounds { memory, .. } = self.bounds;
        Fault::new(format!(
            "{count} more items of {size} bytes would make its value larger than the {memory} bytes that one may take here; \
             set_max_decoded allows more"
        ))
    }

    /// Counts one more item that takes no bytes of the message.
    #[inline]
    pub(super) fn idled(&mut self) -> Outcome<()> {
        self.idle = self.idle.checked_sub(1).ok_or_else(|| too_idle(self.bounds.idle))?;
        Ok(())
    }

    /// Reads a value into a place of that size, which is paid for.
    #[inline]
    pub(super) fn within<R>(&mut self, place: usize, body: impl FnOnce(&mut Self) -> Outcome<R>) -> Outcome<R> {
        let around = std::mem::replace(&mut self.place, place);
        let result = body(self);
        self.place = around;
        result
    }

    /// Reads a value that contains values, one level deeper.
    #[inline]
    fn nested<V, R>(&mut self, body: impl FnOnce(&mut Self) -> Outcome<R>) -> Outcome<R> {
        let size = size_of::<V>();
        let run = self.run;
        if size > self.place {
            self.run = 0;
            self.charge(1, size)?;
        } else if size == size_of::<usize>() {
            self.run += 1;
            if self.run > RUN {
                self.charge(1, size)?;
            }
        }
        let levels = self.levels;
        self.levels = levels.checked_sub(1).ok_or_else(|| self.too_deep())?;
        let result = body(self);
        self.levels = levels;
        self.run = run;
        result
    }

    #[cold]
    fn too_deep(&self) -> Fault {
        let Bounds { depth, deeper, .. } = self.bounds;
        Fault::new(format!("its value is nested more than {depth} deep; {deeper} allows more"))
    }
}

#[cold]
fn left_over(left: usize) -> Fault {
    Fault::new(format!("{left} bytes are left over"))
}

#[cold]
fn too_wide(bits: u32) -> Fault {
    Fault::new(format!("a number of more than {bits} bits"))
}

#[cold]
fn ends_early() -> Fault {
    Fault::new("it ends too early")
}

#[cold]
fn too_idle(most: usize) -> Fault {
    Fault::new(format!("more than {most} of its items take no bytes; send their number instead"))
}

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
            visitor.$visit(number as $type) // of so many bits
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
            other => Err(Fault::new(format!("{other} is neither true nor false"))),
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
            _ => Err(Fault::new("a text that is not one character")),
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
            other => Err(Fault::new(format!("{other} is neither None nor Some"))),
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
        let index = self.varint(32)? as u32; // of so many bits
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
