//! Writes the arguments of a call directly in the compact form, without a [`Value`] for each.
//!
//! The bytes are those that [`to_value`](crate::multiprocessing::connection::pickle::to_value) and
//! [`write_request`](compact::write_request) make of the same arguments. Arguments without a compact form are
//! [`Unfit`]. Nothing was sent then, and the caller converts the arguments to values instead.

use std::fmt::Display;

use serde::ser::{
    Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::compact::{self, BYTES, DICT, Fits, INT, LIST, Room, TUPLE, Unfit, Writer};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::connection::pickle::object::{GLOBAL, OBJECT};

impl Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the arguments of the call have no compact form")
    }
}

impl std::error::Error for Unfit {}

impl Error for Unfit {
    /// Drops the message: the conversion to values reports the fault.
    #[cold]
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

/// Writes a request with the arguments of a tuple.
#[inline]
pub(super) fn write<'r, T: Serialize + ?Sized>(
    ident: &str,
    method: &str,
    args: &T,
    room: &'r mut Room,
) -> Fits<&'r [u8]> {
    let mut writer = Writer::begin(room);
    writer.head(ident, method)?;
    args.serialize(All(&mut writer))?;
    writer.count(0)?; // none has a name
    Ok(writer.done())
}

/// The serializer of all arguments: a tuple, or nothing.
struct All<'w, 'r>(&'w mut Writer<'r>);

/// The serializer of one value.
struct Place<'w, 'r> {
    writer: &'w mut Writer<'r>,
    depth: usize,
    /// Whether the value is a key: fewer kinds of values can be keys.
    is_key: bool,
}

/// The items or pairs of a container, whose count is written last.
struct Many<'w, 'r> {
    writer: &'w mut Writer<'r>,
    /// The position of the count.
    at: usize,
    count: usize,
    /// The nesting of the items.
    depth: usize,
}

impl<'w, 'r> Many<'w, 'r> {
    #[inline]
    fn begin(writer: &'w mut Writer<'r>, depth: usize) -> Result<Self, Unfit> {
        let at = writer.at();
        writer.count(0)?;
        Ok(Self { writer, at, count: 0, depth })
    }

    #[inline]
    fn add<T: Serialize + ?Sized>(&mut self, item: &T) -> Fits {
        self.count += 1;
        item.serialize(Place { writer: self.writer, depth: self.depth, is_key: false })
    }

    #[inline]
    fn add_under<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Fits {
        self.writer.text(name)?;
        self.add(value)
    }

    #[inline]
    fn done(self) -> Fits {
        self.writer.set_count(self.at, self.count)
    }
}

impl<'w, 'r> Place<'w, 'r> {
    #[inline]
    fn scalar(self, write: impl FnOnce(&mut Writer<'r>) -> Fits) -> Fits {
        Writer::may_stand(self.depth)?;
        write(self.writer)
    }

    #[inline]
    fn int(self, number: i64) -> Fits {
        self.scalar(|writer| writer.number(INT, number.to_le_bytes()))
    }

    /// Writes a scalar by way of a [`Value`].
    fn plain(self, value: Value) -> Fits {
        self.scalar(|writer| writer.value(&value, 1))
    }

    /// Begins a container.
    #[inline]
    fn many(self, tag: u8) -> Result<Many<'w, 'r>, Unfit> {
        if self.is_key {
            return Err(Unfit);
        }
        Writer::may_stand(self.depth)?;
        self.writer.tag(tag)?;
        Many::begin(self.writer, self.depth + 1)
    }

    /// Begins a variant with a content, as a dict of one pair. Returns the serializer of the content.
    fn variant(self, name: &str) -> Result<Self, Unfit> {
        let Many { writer, at, depth, .. } = self.many(DICT)?;
        writer.set_count(at, 1)?;
        writer.text(name)?;
        Ok(Self { writer, depth, is_key: false })
    }
}

macro_rules! numbers {
    ($($how:ident $name:ident: $type:ty,)*) => {
        $(#[inline]
        fn $name(self, value: $type) -> Fits {
            self.$how(value.into())
        })*
    };
}

impl<'w, 'r> Serializer for Place<'w, 'r> {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Many<'w, 'r>;
    type SerializeTuple = Many<'w, 'r>;
    type SerializeTupleStruct = Many<'w, 'r>;
    type SerializeTupleVariant = Many<'w, 'r>;
    type SerializeMap = Many<'w, 'r>;
    type SerializeStruct = Many<'w, 'r>;
    type SerializeStructVariant = Many<'w, 'r>;

    numbers! {
        int serialize_i8: i8, int serialize_i16: i16, int serialize_i32: i32, int serialize_i64: i64,
        int serialize_u8: u8, int serialize_u16: u16, int serialize_u32: u32,
        plain serialize_u64: u64, plain serialize_i128: i128, plain serialize_u128: u128,
        plain serialize_f32: f32, plain serialize_f64: f64, plain serialize_bool: bool,
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Fits {
        self.scalar(|writer| writer.text(text))
    }

    fn serialize_char(self, value: char) -> Fits {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Fits {
        self.scalar(|writer| writer.tagged(BYTES, bytes))
    }

    fn serialize_none(self) -> Fits {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Fits {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Fits {
        self.plain(Value::None)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Fits {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Fits {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Fits {
        if matches!(name, GLOBAL | OBJECT) { Err(Unfit) } else { value.serialize(self) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Fits {
        value.serialize(self.variant(variant)?)
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Many<'w, 'r>, Unfit> {
        self.many(LIST)
    }

    fn serialize_tuple(self, _length: usize) -> Result<Many<'w, 'r>, Unfit> {
        self.many(TUPLE)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Many<'w, 'r>, Unfit> {
        self.many(TUPLE)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Many<'w, 'r>, Unfit> {
        self.variant(variant)?.many(TUPLE)
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Many<'w, 'r>, Unfit> {
        self.many(DICT)
    }

    fn serialize_struct(self, _name: &'static str, _length: usize) -> Result<Many<'w, 'r>, Unfit> {
        self.many(DICT)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Many<'w, 'r>, Unfit> {
        self.variant(variant)?.many(DICT)
    }
}

/// Implements one trait of serde for each shape, with the same body for each.
macro_rules! compound {
    ($($trait:ident: $(item $add:ident)? $(field $field:ident)?;)*) => {$(
        impl $trait for Many<'_, '_> {
            type Ok = ();
            type Error = Unfit;

            $(#[inline]
            fn $add<T: Serialize + ?Sized>(&mut self, item: &T) -> Fits {
                self.add(item)
            })?

            $(fn $field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Fits {
                self.add_under(name, value)
            })?

            #[inline]
            fn end(self) -> Fits {
                self.done()
            }
        }
    )*};
}

compound! {
    SerializeSeq: item serialize_element;
    SerializeTuple: item serialize_element;
    SerializeTupleStruct: item serialize_field;
    SerializeTupleVariant: item serialize_field;
    SerializeStruct: field serialize_field;
    SerializeStructVariant: field serialize_field;
}

impl SerializeMap for Many<'_, '_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Fits {
        key.serialize(Place { writer: self.writer, depth: compact::DEPTH, is_key: true })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Fits {
        self.add(value)
    }

    fn end(self) -> Fits {
        self.done()
    }
}

/// Refuses values that are not lists of arguments.
macro_rules! unfit {
    ($($name:ident($($type:ty),*) -> $done:ty;)*) => {
        $(#[cold]
        fn $name(self, $(_: $type),*) -> Result<$done, Unfit> {
            Err(Unfit)
        })*
    };
}

type No = Impossible<(), Unfit>;

impl<'w, 'r> Serializer for All<'w, 'r> {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = No;
    type SerializeTuple = Many<'w, 'r>;
    type SerializeTupleStruct = No;
    type SerializeTupleVariant = No;
    type SerializeMap = No;
    type SerializeStruct = No;
    type SerializeStructVariant = No;

    #[inline]
    fn serialize_tuple(self, _length: usize) -> Result<Many<'w, 'r>, Unfit> {
        Many::begin(self.0, 1)
    }

    #[inline]
    fn serialize_unit(self) -> Fits {
        self.0.count(0)
    }

    unfit! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> No;
        serialize_tuple_struct(&'static str, usize) -> No;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> No;
        serialize_map(Option<usize>) -> No;
        serialize_struct(&'static str, usize) -> No;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> No;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Fits {
        Err(Unfit)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Fits {
        Err(Unfit)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &'static str, _: u32, _: &'static str, _: &T) -> Fits {
        Err(Unfit)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::outgoing::arguments;
    use super::super::wire::Request;
    use super::*;
    use crate::multiprocessing::connection::pickle::{Global, Object};

    #[derive(serde::Serialize)]
    enum Kind {
        Unit,
        Of(u8),
        Both(i64, &'static str),
        Named { at: f32, what: Option<char> },
    }

    #[derive(serde::Serialize)]
    struct Record {
        kinds: Vec<Kind>,
        wrapped: Wrapped,
        pair: Pair,
        nothing: Nothing,
        names: BTreeMap<String, (u64, i128)>,
    }

    #[derive(serde::Serialize)]
    struct Wrapped(Option<bool>);
    #[derive(serde::Serialize)]
    struct Pair(i8, u16);
    #[derive(serde::Serialize)]
    struct Nothing;
    #[derive(serde::Serialize)]
    #[serde(rename = "\0ossature::Global")]
    struct Name((&'static str, &'static str));

    struct Bytes;
    impl Serialize for Bytes {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&[0, 255])
        }
    }

    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("never"))
        }
    }

    /// Writes the request by converting the arguments to values.
    fn by_values(args: &impl Serialize) -> Option<Vec<u8>> {
        let args = arguments(args).ok()?.values;
        let request = Request { ident: Some("a1".into()), method: "get".into(), args, kwds: Vec::new() };
        compact::write_request(&request, &mut [0; compact::MOST]).ok().map(<[u8]>::to_vec)
    }

    fn straight(args: &impl Serialize) -> Option<Vec<u8>> {
        write("a1", "get", args, &mut [0; compact::MOST]).ok().map(<[u8]>::to_vec)
    }

    #[track_caller]
    fn same(args: impl Serialize) {
        let bytes = straight(&args);
        assert!(bytes.is_some());
        assert_eq!(bytes, by_values(&args));
    }

    #[track_caller]
    fn neither(args: impl Serialize) {
        assert_eq!((straight(&args), by_values(&args)), (None, None));
    }

    fn record() -> Record {
        let kinds = vec![
            Kind::Unit,
            Kind::Of(7),
            Kind::Both(i64::MIN, "b"),
            Kind::Named { at: 0.5, what: Some('\u{1f600}') },
            Kind::Named { at: -1.0, what: None },
        ];
        let names = BTreeMap::from([("one".to_owned(), (i64::MAX as u64, -1)), (String::new(), (0, 1))]);
        Record { kinds, wrapped: Wrapped(Some(true)), pair: Pair(-1, 9), nothing: Nothing, names }
    }

    #[test]
    fn arguments_have_the_bytes_that_they_have_by_way_of_values() {
        same(());
        same(("k",));
        same(("k", 7_i64));
        same((1_u8, -2_i16, 3_u32, -4_i32, 5_u64, 6_u128, 0.5_f32, 0.25_f64, false));
        same(("\u{1f600}", 'c', (), None::<u8>, Some("x"), Bytes, [1, 2], Vec::<()>::new()));
        same((record(),));
        same((BTreeMap::from([(1, "a"), (2, "b")]), BTreeMap::from([(Some('k'), [0.5; 3])])));
        same([1, 2, 3]);
    }

    #[test]
    fn what_has_no_compact_form_has_none_here() {
        neither((u64::MAX,));
        neither((u128::MAX, i128::MIN));
        neither((Name(("a", "b")),));
        neither((BTreeMap::from([((1, 2), 3)]),));
        neither((BTreeMap::from([(vec![1], 3)]),));
        neither((Refuses,));
        neither((vec![0_u8; compact::MOST],));
        neither(("x".repeat(compact::MOST),));
        neither(("x".repeat(1 << 16), "y"));
        let object = Object::new(Global::new("a", "b"), Vec::new());
        assert_eq!(straight(&(Value::from(object).type_name(), Refuses)), None);
        // Arguments that are not a tuple go the way over values.
        assert!(straight(&"k").is_none() && straight(&vec![1]).is_none() && straight(&record()).is_none());
    }

    #[test]
    fn depth_and_length_have_the_bounds_that_values_have() {
        #[derive(serde::Serialize)]
        struct Nested(Vec<Nested>);
        let nested = |depth| (1..depth).fold(Nested(Vec::new()), |inner, _| Nested(vec![inner]));
        for depth in compact::DEPTH - 1..compact::DEPTH + 2 {
            let args = (nested(depth),);
            assert_eq!(straight(&args), by_values(&args), "{depth}");
            assert_eq!(straight(&args).is_some(), depth <= compact::DEPTH);
            let args = ((1, nested(depth - 1)), BTreeMap::from([("k", nested(depth - 1))]));
            assert_eq!(straight(&args), by_values(&args), "{depth}");
        }
        // Around the bound: marks, names and counts are 17 bytes.
        for length in compact::MOST - 24..compact::MOST {
            let args = ("x".repeat(length),);
            assert_eq!(straight(&args), by_values(&args), "{length}");
        }
    }
}
