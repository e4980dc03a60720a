//! Any value that serde can serialize, as plain data.

use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant,
};

use super::fault::{Fault, Outcome};
use super::global::Global;
use super::object::{GLOBAL, OBJECT};
use super::value::Object;
use super::value::Value;
use crate::error::{Error, ErrorKind, Result};

/// Converts `value` to plain data.
///
/// Tuples and tuple structs become tuples, other sequences lists, maps and structs dicts (the fields' names are the
/// keys). `None` and `()` become `None`. A variant without content becomes its name, one with content a dict of its
/// name and the content. What serde sees as bytes becomes bytes, but a `Vec<u8>` is a list of numbers to it.
///
/// ```
/// use ossature::multiprocessing::connection::pickle::{Value, to_value};
///
/// #[derive(serde::Serialize)]
/// struct Point { x: i32, y: i32 }
///
/// assert_eq!(to_value(&Point { x: 3, y: 4 }).unwrap(), Value::dict([("x", 3), ("y", 4)]));
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidInput`]: the `Serialize` of a type returns an error.
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value> {
    let refused = |Fault(message)| Error::new(ErrorKind::InvalidInput, format!("pickle: {message}"));
    value.serialize(Serializer).map_err(refused)
}

struct Serializer;

/// The items of a list or tuple, and the name of the variant whose content they are.
struct Items {
    variant: Option<&'static str>,
    is_list: bool,
    items: Vec<Value>,
}

/// Keys and values, the key that waits for its value, and the name of the variant.
struct Pairs {
    variant: Option<&'static str>,
    key: Value,
    pairs: Vec<(Value, Value)>,
}

/// Converts a pair to the name or object that the pair stands for.
fn record(pair: Value) -> Value {
    let Value::Tuple(parts) = pair else { return pair };
    match <[Value; 2]>::try_from(parts) {
        Ok([Value::Text(module), Value::Text(name)]) => Global::new(module, name).into(),
        Ok([Value::Global(made_by), Value::Tuple(args)]) => Object::new(*made_by, args).into(),
        Ok(pair) => Value::Tuple(pair.into()),
        Err(parts) => Value::Tuple(parts),
    }
}

fn tagged(variant: Option<&'static str>, content: Value) -> Value {
    match variant {
        Some(name) => Value::Dict(vec![(name.into(), content)]),
        None => content,
    }
}

impl Items {
    fn new(variant: Option<&'static str>, is_list: bool) -> Self {
        Self { variant, is_list, items: Vec::new() } // no room beforehand: a length may be a wrong guess
    }

    /// Makes the items of a tuple, whose length is reliable. Room for more than eight is made later.
    fn of_tuple(length: usize) -> Self {
        Self { variant: None, is_list: false, items: Vec::with_capacity(length.min(8)) }
    }

    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Outcome<()> {
        self.items.push(item.serialize(Serializer)?);
        Ok(())
    }

    fn done(self) -> Value {
        tagged(self.variant, if self.is_list { Value::List(self.items) } else { Value::Tuple(self.items) })
    }
}

impl Pairs {
    fn new(variant: Option<&'static str>) -> Self {
        Self { variant, key: Value::None, pairs: Vec::new() }
    }

    fn add<T: Serialize + ?Sized>(&mut self, key: Value, value: &T) -> Outcome<()> {
        self.pairs.push((key, value.serialize(Serializer)?));
        Ok(())
    }

    fn done(self) -> Value {
        tagged(self.variant, Value::Dict(self.pairs))
    }
}

macro_rules! plain {
    ($($name:ident: $type:ty,)*) => {
        $(fn $name(self, value: $type) -> Outcome<Value> {
            Ok(value.into())
        })*
    };
}

impl ser::Serializer for Serializer {
    type Ok = Value;
    type Error = Fault;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Pairs;
    type SerializeStruct = Pairs;
    type SerializeStructVariant = Pairs;

    plain! {
        serialize_bool: bool,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64, serialize_str: &str,
    }

    fn serialize_char(self, value: char) -> Outcome<Value> {
        Ok(Value::Text(value.into()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Outcome<Value> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn serialize_none(self) -> Outcome<Value> {
        Ok(Value::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome<Value> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Outcome<Value> {
        Ok(Value::None)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Outcome<Value> {
        Ok(Value::None)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Outcome<Value> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Outcome<Value> {
        let inner = value.serialize(self)?;
        Ok(if matches!(name, GLOBAL | OBJECT) { record(inner) } else { inner })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Outcome<Value> {
        Ok(tagged(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, _length: Option<usize>) -> Outcome<Items> {
        Ok(Items::new(None, true))
    }

    fn serialize_tuple(self, length: usize) -> Outcome<Items> {
        Ok(Items::of_tuple(length))
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Outcome<Items> {
        Ok(Items::new(None, false))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Outcome<Items> {
        Ok(Items::new(Some(variant), false))
    }

    fn serialize_map(self, _length: Option<usize>) -> Outcome<Pairs> {
        Ok(Pairs::new(None))
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Outcome<Pairs> {
        Ok(Pairs::new(None))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Outcome<Pairs> {
        Ok(Pairs::new(Some(variant)))
    }
}

/// Implements one of serde's traits for each kind of container, always with the same content.
macro_rules! compound {
    ($($trait:ident for $type:ident: $(item $add:ident)? $(field $field:ident)?;)*) => {$(
        impl $trait for $type {
            type Ok = Value;
            type Error = Fault;

            $(fn $add<T: Serialize + ?Sized>(&mut self, item: &T) -> Outcome<()> {
                self.add(item)
            })?

            $(fn $field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Outcome<()> {
                self.add(name.into(), value)
            })?

            fn end(self) -> Outcome<Value> {
                Ok(self.done())
            }
        }
    )*};
}

compound! {
    SerializeSeq for Items: item serialize_element;
    SerializeTuple for Items: item serialize_element;
    SerializeTupleStruct for Items: item serialize_field;
    SerializeTupleVariant for Items: item serialize_field;
    SerializeStruct for Pairs: field serialize_field;
    SerializeStructVariant for Pairs: field serialize_field;
}

impl SerializeMap for Pairs {
    type Ok = Value;
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Outcome<()> {
        self.key = key.serialize(Serializer)?;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome<()> {
        let key = std::mem::take(&mut self.key);
        self.add(key, value)
    }

    fn end(self) -> Outcome<Value> {
        Ok(self.done())
    }
}
