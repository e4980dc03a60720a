//! Plain data as whatever serde can put together.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Unexpected, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::value::Value;
use crate::error::{Error, ErrorKind, Result};

/// `value` as a `T`, the way back of [`to_value`](super::to_value).
///
/// More is taken than is given: any sequence or set for any sequence of the right length, a `bytes` for a `Vec<u8>`, an int
/// for a float.
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{Value, from_value};
///
/// let value = Value::from(("spam", 42));
/// assert_eq!(from_value::<(String, i64)>(value).unwrap(), ("spam".to_owned(), 42));
/// ```
///
/// # Errors
/// [`ErrorKind::Decode`]: `value` is no `T`; the message says where they part.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T> {
    T::deserialize(Plain(value)).map_err(|Fault(message)| Error::new(ErrorKind::Decode, format!("pickle: {message}")))
}

/// What serde's traits complain of.
#[derive(Debug)]
pub(super) struct Fault(pub(super) String);

pub(super) type Outcome<T> = std::result::Result<T, Fault>;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl serde::ser::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// What serde asks, so that its traits are no part of [`Value`].
struct Plain(Value);

impl<'de> IntoDeserializer<'de, Fault> for Plain {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

fn visit_items<'de, V: Visitor<'de>>(items: Vec<Value>, visitor: V) -> Outcome<V::Value> {
    let mut items = SeqDeserializer::new(items.into_iter().map(Plain));
    let value = visitor.visit_seq(&mut items)?;
    items.end()?; // what the visitor left over is an error
    Ok(value)
}

impl<'de> de::Deserializer<'de> for Plain {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        match self.0 {
            Value::None => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Int(value) => visitor.visit_i64(value),
            Value::BigInt(big) => match (i128::try_from(&big), u64::try_from(&big), u128::try_from(&big)) {
                (_, Ok(value), _) => visitor.visit_u64(value),
                (Ok(value), ..) => visitor.visit_i128(value),
                (_, _, Ok(value)) => visitor.visit_u128(value),
                _ => Err(de::Error::invalid_type(Unexpected::Other("an integer of more than 128 bits"), &visitor)),
            },
            Value::Float(value) => visitor.visit_f64(value),
            Value::Complex(re, im) => visit_items(vec![re.into(), im.into()], visitor),
            Value::Text(text) => visitor.visit_string(text),
            Value::Bytes(bytes) | Value::ByteArray(bytes) => visitor.visit_byte_buf(bytes),
            Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
                visit_items(items, visitor)
            }
            Value::Dict(pairs) => {
                let mut pairs = MapDeserializer::new(pairs.into_iter().map(|(key, value)| (Plain(key), Plain(value))));
                let value = visitor.visit_map(&mut pairs)?;
                pairs.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        match self.0 {
            Value::None => visitor.visit_none(),
            some => visitor.visit_some(Plain(some)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Outcome<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    /// A `Vec<u8>` asks for a sequence.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        match self.0 {
            Value::Bytes(bytes) | Value::ByteArray(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.into_iter())),
            other => Plain(other).deserialize_any(visitor),
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
        visitor.visit_enum(Enum { variant, content: Content(content) })
    }

    /// Nothing is looked at: what is not wanted may be nested deeply.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Outcome<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map struct identifier
    }
}

struct Enum {
    variant: Value,
    content: Content,
}

/// What a variant holds, if it was written with something.
struct Content(Option<Value>);

impl<'de> de::EnumAccess<'de> for Enum {
    type Error = Fault;
    type Variant = Content;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Outcome<(S::Value, Content)> {
        Ok((seed.deserialize(Plain(self.variant))?, self.content))
    }
}

impl Content {
    fn some(self, wanted: &'static str) -> Outcome<Plain> {
        self.0.map(Plain).ok_or_else(|| de::Error::invalid_type(Unexpected::UnitVariant, &wanted))
    }
}

impl<'de> VariantAccess<'de> for Content {
    type Error = Fault;

    fn unit_variant(self) -> Outcome<()> {
        match self.0 {
            None | Some(Value::None) => Ok(()),
            Some(_) => Err(de::Error::invalid_type(Unexpected::NewtypeVariant, &"a variant without content")),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Outcome<S::Value> {
        seed.deserialize(self.some("a variant with a content")?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Outcome<V::Value> {
        de::Deserializer::deserialize_any(self.some("a variant with several fields")?, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _fields: &'static [&'static str], visitor: V) -> Outcome<V::Value> {
        de::Deserializer::deserialize_any(self.some("a variant with named fields")?, visitor)
    }
}
