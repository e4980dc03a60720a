//! The graph that a pickle builds: items, and nodes that refer to each other by number.
//!
//! A pickle may use one object many times, and may put a container into itself. The graph's cost stays in proportion to
//! the pickle's bytes; [`tree`](super::tree) makes values of the graph, within bounds. One byte makes as little memory
//! as possible: an item is 16 bytes, a node 32.

use std::fmt;

use super::bigint::BigInt;
use super::global::Global;

/// The number of a node: its index in the list of all nodes.
pub(super) type Id = u32;

/// An entry of the stack or of a container: the value itself if it is small and immutable, otherwise a node.
#[derive(Clone, Copy)]
pub(super) enum Item {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// An empty container, and the position of the opcode that made it. The container becomes a node when it receives
    /// items or is used a second time.
    Empty(Shape, u32),
    Node(Id),
}

/// The kind of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    List,
    Tuple,
    /// Keys and values alternately.
    Dict,
    Set,
    FrozenSet,
    /// The class or function that makes the object, the arguments, and optionally the state.
    Object,
}

pub(super) struct Node<'a> {
    pub(super) kind: Kind<'a>,
    /// The offset of the opcode that made the node, at most 4 GiB.
    pub(super) at: u32,
    /// The kind of container, if the node has items.
    pub(super) shape: Shape,
}

/// The content of a node.
pub(super) enum Kind<'a> {
    /// A value that normally needs no node, but is used a second time.
    Plain(Item),
    BigInt(BigInt),
    Complex(f64, f64),
    Text(&'a str),
    OwnText(Box<str>),
    Bytes(&'a [u8]),
    OwnBytes(Box<[u8]>),
    ByteArray(&'a [u8]),
    Items(Vec<Item>),
    /// A container of exactly one item, which never grows.
    One(Item),
    Class(Class),
    /// Another class or function, of which only the name is kept.
    Global(Box<Global>),
    /// The result that a call of a class would have, made from the first items of another node or from that node's
    /// bytes. The number counts those items. The node is not copied, because many calls could use one argument. It may
    /// still receive more items.
    Made(Made, Id, usize),
}

impl Kind<'_> {
    /// The items of a container.
    pub(super) fn items(&self) -> Option<&[Item]> {
        match self {
            Kind::Items(items) => Some(items),
            Kind::One(item) => Some(std::slice::from_ref(item)),
            _ => None,
        }
    }
}

/// The classes and the function with which old protocols write plain data. Nothing is called: each variant represents
/// its call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Set,
    FrozenSet,
    Bytes,
    ByteArray,
    Complex,
    OrderedDict,
    /// `_codecs.encode`, used because protocols 0 to 2 have no bytes.
    Encode,
}

impl Class {
    /// Returns the class with this module and name, in the spelling of Python 2 or 3.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("builtins" | "__builtin__", "set") => Self::Set,
            ("builtins" | "__builtin__", "frozenset") => Self::FrozenSet,
            ("builtins" | "__builtin__", "bytes") => Self::Bytes,
            ("builtins" | "__builtin__", "bytearray") => Self::ByteArray,
            ("builtins" | "__builtin__", "complex") => Self::Complex,
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("_codecs", "encode") => Self::Encode,
            _ => return None,
        })
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "set",
            Self::FrozenSet => "frozenset",
            Self::Bytes => "bytes",
            Self::ByteArray => "bytearray",
            Self::Complex => "complex",
            Self::OrderedDict => "OrderedDict",
            Self::Encode => "_codecs.encode",
        })
    }
}

#[derive(Clone, Copy)]
pub(super) enum Made {
    /// The characters of a text, encoded as Latin-1.
    Bytes,
    /// The characters of a text, encoded as Latin-1, or bytes.
    ByteArray,
    /// The items of a list.
    Set,
    FrozenSet,
    /// The pairs of a list.
    Dict,
}
