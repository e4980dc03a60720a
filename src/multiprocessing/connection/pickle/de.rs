//! Plain data as any type that serde can deserialize.

use std::vec;

use serde::de::value::SeqDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Unexpected, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::budget::Budget;
use super::fault::{Fault, Outcome};
use super::object::{GLOBAL, OBJECT};
use super::value::Value;
use crate::error::{Error, ErrorKind, Result};

/// Converts `value` to a `T`: the inverse of [`to_value`](super::to_value).
///
/// The reader accepts more forms than the writer makes: any sequence or set for any sequence of the right length, a
/// `bytes` for a `Vec<u8>`, an int for a float.
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{Value, from_value};
///
/// let value = Value::from(("spam", 42));
/// assert_eq!(from_value::<(String, i64)>(value).unwrap(), ("spam".to_owned(), 42));
/// ```
///
/// The result takes at most 16 MiB plus four times the memory of `value`. For example, a `None` takes 32 bytes in
/// `value`, and 264 bytes as an `Option<[u64; 32]>`. For another bound use [`from_value_within`].
///
/// # Errors
/// [`ErrorKind::Decode`]: `value` is not a `T`, or the result takes more memory; the message names the place of the
/// mismatch.
#[inline]
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    let most = value.memory().saturating_mul(4).saturating_add(16 << 20);
    from_value_within(value, most)
}

/// Does what [`from_value`] does, for a `T` of at most `max_memory` bytes. The bound counts the contents of sequences,
/// maps, texts and boxes, at the size of their types. A collection may reserve more than its items; the bound does not
/// count this reserve.
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{Value, from_value_within};
///
/// let value = Value::from(vec![None::<u64>; 1000]);
/// assert!(from_value_within::<Vec<Option<[u64; 32]>>>(value.clone(), 100_000).is_err());
/// assert!(from_value_within::<Vec<Option<[u64; 32]>>>(value, 300_000).is_ok());
/// ```
///
/// # Errors
/// As for [`from_value`].
#[inline]
pub fn from_value_within<T: DeserializeOwned>(value: Value, max_memory: usize) -> Result<T> {
    let budget = Budget::new(max_memory, size_of::<T>());
    T::deserialize(Plain(value, &budget))
        .map_err(|Fault(message)| Error::new(ErrorKind::Decode, format!("pickle: {message}")))
}

/// The deserializer of a [`Value`], with the remaining memory. It exists so that `Value` itself does not implement
/// serde's traits.
pub(super) struct Plain<'b>(pub(super) Value, pub(super) &'b Budget);

/// How the items of a container are visited: as the fields of a type, or as any number of items.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Fields,
    Items,
}

impl Plain<'_> {
    fn visit_items<'de, V: Visitor<'de>>(self, items: Vec<Value>, wanted: Wanted, visitor: V) -> Outcome<V::Value> {
        let Self(_, budget) = self;
        budget.nested::<V::Value, _>(|| {
            let mut items = Items::new(items, budget, wanted == Wanted::Fields);
            let value = visitor.visit_seq(&mut items)?;
            items.end()?; // what the visitor left over is an error
            Ok(value)
        })
    }

    fn visit_pairs<'de, V: Visitor<'de>>(
        self,
        pairs: Vec<(Value, Value)>,
        wanted: Wanted,
        visitor: V,
    ) -> Outcome<V::Value> {
        let Self(_, budget) = self;
        budget.nested::<V::Value, _>(|| {
            let mut pairs = Pairs::new(pairs, budget, wanted == Wanted::Fields);
            let value = visitor.visit_map(&mut pairs)?;
            pairs.end()?;
            Ok(value)
        })
    }

    fn visit<'de, V: Visitor<'de>>(self, wanted: Wanted, visitor: V) -> Outcome<V::Value> {
        let Self(value, budget) = self;
        let rest = Plain(Value::None, budget);
        match value {
            Value::None => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Int(value) => visitor.visit_i64(value),
            Value::Float(value) => visitor.visit_f64(value),
            Value::Text(text) => {
                budget.charge(1, text.len())?;
                visitor.visit_string(text)
            }
            Value::Bytes(bytes) | Value::ByteArray(bytes) => {
                budget.charge(1, bytes.len())?;
                visitor.visit_byte_buf(bytes)
            }
            Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
                rest.visit_items(items, wanted, visitor)
            }
            Value::Dict(pairs) => rest.visit_pairs(pairs, wanted, visitor),
            rare => Plain(rare, budget).visit_rare(wanted, visitor),
        }
    }

    /// Visits a value for which Rust has no plain type.
    #[cold]
    #[inline(never)]
    fn visit_rare<'de, V: Visitor<'de>>(self, wanted: Wanted, visitor: V) -> Outcome<V::Value> {
        let Self(value, budget) = self;
        match value {
            Value::BigInt(big) => match (i128::try_from(&big), u64::try_from(&big), u128::try_from(&big)) {
                (_, Ok(value), _) => visitor.visit_u64(value),
                (Ok(value), ..) => visitor.visit_i128(value),
                (_, _, Ok(value)) => visitor.visit_u128(value),
                _ => Err(de::Error::invalid_type(Unexpected::Other("an integer of more than 128 bits"), &visitor)),
            },
            Value::Complex(re, im) => {
                Plain(Value::None, budget).visit_items(vec![re.into(), im.into()], wanted, visitor)
            }
            Value::Global(global) => {
                Err(de::Error::invalid_type(Unexpected::Other(&format!("the name {global}")), &visitor))
            }
            Value::Object(object) => {
                let what = format!("an object made by {}", object.made_by);
                Err(de::Error::invalid_type(Unexpected::Other(&what), &visitor))
            }
            frequent => Plain(frequent, budget).visit(wanted, visitor),
        }
    }
}

impl<'de> de::Deserializer<'de> for Plain<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        self.visit(Wanted::Items, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Outcome<V::Value> {
        self.visit(Wanted::Fields, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Outcome<V::Value> {
        self.visit(Wanted::Fields, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Outcome<V::Value> {
        self.visit(Wanted::Fields, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        match self.0 {
            Value::None => visitor.visit_none(),
            some => self.1.wrapped::<V::Value, _>(|| visitor.visit_some(Plain(some, self.1))),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Outcome<V::Value> {
        let Self(value, budget) = self;
        let inner = match (name, value) {
            (GLOBAL, Value::Global(global)) => Value::from((global.module(), global.name())),
            (OBJECT, Value::Object(object)) => Value::Tuple(vec![object.made_by.into(), Value::Tuple(object.args)]),
            (_, value) => value,
        };
        budget.wrapped::<V::Value, _>(|| visitor.visit_newtype_struct(Plain(inner, budget)))
    }

    /// Serves `Vec<u8>`, which requests a sequence.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        match self.0 {
            Value::Bytes(bytes) | Value::ByteArray(bytes) => {
                self.1.charge(1, bytes.len())?;
                visitor.visit_seq(SeqDeserializer::new(bytes.into_iter()))
            }
            other => Plain(other, self.1).deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Outcome<V::Value> {
        let (variant, content) = match self.0 {
            Value::Dict(pairs) => match <[_; 1]>::try_from(pairs) {
                Ok([(variant, content)]) => (variant, Some(content)),
                Err(pairs) => return Err(de::Error::invalid_length(pairs.len(), &"a dict of one variant")),
            },
            name => (name, None),
        };
        let budget = self.1;
        budget.nested::<V::Value, _>(|| visitor.visit_enum(Enum { variant, content: Content(content, budget) }))
    }

    /// Skips the value without a look at it: an unwanted value may be nested deeply.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct map identifier
    }
}

struct Enum<'b> {
    variant: Value,
    content: Content<'b>,
}

/// The content of a variant, if the variant has one.
struct Content<'b>(Option<Value>, &'b Budget);

impl<'de, 'b> de::EnumAccess<'de> for Enum<'b> {
    type Error = Fault;
    type Variant = Content<'b>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Outcome<(S::Value, Content<'b>)> {
        Ok((seed.deserialize(Plain(self.variant, self.content.1))?, self.content))
    }
}

impl<'b> Content<'b> {
    fn some(self, wanted: &'static str) -> Outcome<Plain<'b>> {
        let Self(content, budget) = self;
        let content = content.map(|content| Plain(content, budget));
        content.ok_or_else(|| de::Error::invalid_type(Unexpected::UnitVariant, &wanted))
    }
}

impl<'de> VariantAccess<'de> for Content<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Outcome<()> {
        match self.0 {
            None | Some(Value::None) => Ok(()),
            Some(_) => Err(de::Error::invalid_type(Unexpected::NewtypeVariant, &"a variant without content")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Outcome<S::Value> {
        let budget = self.1;
        let content = self.some("a variant with a content")?;
        budget.within(size_of::<S::Value>(), || seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Outcome<V::Value> {
        self.some("a variant with several fields")?.visit(Wanted::Fields, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], visitor: V) -> Outcome<V::Value> {
        self.some("a variant with named fields")?.visit(Wanted::Fields, visitor)
    }
}

/// The items of a list, tuple or set.
struct Items<'b> {
    items: vec::IntoIter<Value>,
    count: usize,
    budget: &'b Budget,
    paid: usize,
}

impl<'b> Items<'b> {
    /// Makes a walk over `items`. Fields were charged with their struct.
    fn new(items: Vec<Value>, budget: &'b Budget, are_fields: bool) -> Self {
        let paid = if are_fields { usize::MAX } else { 0 };
        Self { count: items.len(), items: items.into_iter(), budget, paid }
    }

    /// Checks that no item is left.
    fn end(self) -> Outcome<()> {
        left_over(self.count, self.items.len())
    }
}

fn left_over(count: usize, left: usize) -> Outcome<()> {
    match left {
        0 => Ok(()),
        left => Err(Fault(format!("invalid length {count}, expected {} items", count - left))),
    }
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<Option<S::Value>> {
        let (left, size) = (self.items.len(), size_of::<S::Value>());
        let Some(item) = self.items.next() else { return Ok(None) };
        self.budget.pay(left, size, &mut self.paid)?;
        self.budget.within(size, || seed.deserialize(Plain(item, self.budget))).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The pairs of a dict.
struct Pairs<'b> {
    pairs: vec::IntoIter<(Value, Value)>,
    count: usize,
    value: Option<Value>,
    budget: &'b Budget,
    paid_key: usize,
    paid_value: usize,
}

impl<'b> Pairs<'b> {
    fn new(pairs: Vec<(Value, Value)>, budget: &'b Budget, are_fields: bool) -> Self {
        let paid = if are_fields { usize::MAX } else { 0 };
        let count = pairs.len();
        Self { pairs: pairs.into_iter(), count, value: None, budget, paid_key: paid, paid_value: paid }
    }

    fn end(self) -> Outcome<()> {
        left_over(self.count, self.pairs.len())
    }
}

impl<'de> de::MapAccess<'de> for Pairs<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<Option<S::Value>> {
        let (left, size) = (self.pairs.len(), size_of::<S::Value>());
        let Some((key, value)) = self.pairs.next() else { return Ok(None) };
        self.value = Some(value);
        self.budget.pay(left, size, &mut self.paid_key)?;
        self.budget.within(size, || seed.deserialize(Plain(key, self.budget))).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Outcome<S::Value> {
        let (left, size) = (self.pairs.len() + 1, size_of::<S::Value>());
        self.budget.pay(left, size, &mut self.paid_value)?;
        let value = self.value.take().unwrap_or_default(); // some: a key came before
        self.budget.within(size, || seed.deserialize(Plain(value, self.budget)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.pairs.len())
    }
}
