//! What a pickle builds before it is known to be a tree: nodes that name one another by number.
//!
//! A pickle may use one object many times, and may put a container into itself. As a graph this costs no more than the
//! bytes that say so; [`tree`](super::tree) makes values of it, within bounds.

use std::borrow::Cow;
use std::fmt;

use super::value::Value;

/// Names a node: its place in the list of all.
pub(super) type Id = usize;

pub(super) struct Node<'a> {
    /// Where the opcode stands that made it.
    pub(super) at: usize,
    pub(super) kind: Kind<'a>,
}

pub(super) enum Kind<'a> {
    /// None, a number or a bool.
    Plain(Value),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    ByteArray(Cow<'a, [u8]>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    /// Keys and values by turns.
    Dict(Vec<Id>),
    Set(Vec<Id>),
    FrozenSet(Vec<Id>),
    Class(Class),
    /// What calling a class would have made of the first so many items of another node, or of its bytes. That node is not
    /// copied: one argument could be used by many. It may still get more items, which are none of this.
    Made(Made, Id, usize),
}

/// The classes and the function that old protocols write plain data with. Nothing is called: each stands for itself.
#[derive(Clone, Copy)]
pub(super) enum Class {
    Set,
    FrozenSet,
    Bytes,
    ByteArray,
    Complex,
    OrderedDict,
    /// `_codecs.encode`: protocols 0 to 2 have no bytes.
    Encode,
}

impl Class {
    /// The class of this module and name, under the names of Python 2 or 3.
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
    /// The characters of a text as Latin-1.
    Bytes,
    /// The same, or bytes.
    ByteArray,
    /// The items of a list.
    Set,
    FrozenSet,
    /// The pairs of a list.
    Dict,
}
