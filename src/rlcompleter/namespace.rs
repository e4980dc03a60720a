//! Namespaces: objects with names inside.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The kind of object that a name refers to, for completion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An object that is not called.
    #[default]
    Value,
    /// An object that is called with arguments: `(` follows.
    Callable,
    /// An object that is called without arguments: `()` follows.
    CallableWithoutArguments,
}

/// A name in a namespace, and its kind.
///
/// ```
/// use ossature::rlcompleter::{Callable, Kind, Namespace, Opaque, Symbol};
///
/// let symbol = Symbol::new("run", Callable::without_arguments().kind());
/// assert_eq!((symbol.name(), symbol.kind()), ("run", Kind::CallableWithoutArguments));
/// assert_eq!(Callable::new().kind(), Kind::Callable);
/// assert_eq!(Opaque(1).kind(), Kind::Value);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Symbol {
    name: String,
    kind: Kind,
}

impl Symbol {
    /// Makes a symbol with this name and kind.
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kind of the name.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the name with the text that completion appends.
    pub(super) fn spelled(&self) -> String {
        let suffix = match self.kind {
            Kind::Value => "",
            Kind::Callable => "(",
            Kind::CallableWithoutArguments => "()",
        };
        format!("{}{suffix}", self.name)
    }
}

/// An object with names inside, each of which may have names inside again.
///
/// An implementation never returns an error. A name whose value cannot be inspected contains no names. A name whose
/// value cannot be read is still a [`symbol`](Self::symbols).
///
/// ```
/// use ossature::rlcompleter::{Completer, Kind, Namespace, Symbol};
///
/// /// Has every room of a house in it, and in each room a lamp.
/// struct House;
/// struct Room;
///
/// impl Namespace for House {
///     fn symbols(&self) -> Vec<Symbol> {
///         ["kitchen", "hall"].map(|room| Symbol::new(room, Kind::Value)).into()
///     }
///     fn inside(&self, name: &str) -> Option<Box<dyn Namespace + '_>> {
///         matches!(name, "kitchen" | "hall").then(|| Box::new(Room) as _)
///     }
/// }
/// impl Namespace for Room {
///     fn symbols(&self) -> Vec<Symbol> {
///         vec![Symbol::new("lamp", Kind::CallableWithoutArguments)]
///     }
/// }
/// assert_eq!(Completer::new(House).attr_matches("hall.l"), ["hall.lamp()"]);
/// ```
pub trait Namespace {
    /// Every name, in the order in which completion offers names.
    fn symbols(&self) -> Vec<Symbol>;

    /// Returns the object with this name; `None` if there is no such name, or if the object has no names inside.
    fn inside(&self, name: &str) -> Option<Box<dyn Namespace + '_>> {
        let _ = name;
        None
    }

    /// The kind of the object itself, for maps of such objects.
    fn kind(&self) -> Kind {
        Kind::Value
    }
}

/// A function in a map: it has no names inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Callable {
    no_arguments: bool,
}

impl Callable {
    /// Makes a function with arguments.
    pub const fn new() -> Self {
        Self { no_arguments: false }
    }

    /// Makes a function without arguments.
    pub const fn without_arguments() -> Self {
        Self { no_arguments: true }
    }
}

impl Namespace for Callable {
    fn symbols(&self) -> Vec<Symbol> {
        Vec::new()
    }

    fn kind(&self) -> Kind {
        if self.no_arguments { Kind::CallableWithoutArguments } else { Kind::Callable }
    }
}

/// A value in a map that completion does not look into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Opaque<T>(pub T);

impl<T> Namespace for Opaque<T> {
    fn symbols(&self) -> Vec<Symbol> {
        Vec::new()
    }
}

macro_rules! maps {
    ($($map:ty),+) => {
        $(impl<N: Namespace> Namespace for $map {
            fn symbols(&self) -> Vec<Symbol> {
                self.iter().map(|(name, object)| Symbol::new(name, object.kind())).collect()
            }

            fn inside(&self, name: &str) -> Option<Box<dyn Namespace + '_>> {
                self.get(name).map(|object| Box::new(object) as _)
            }
        })+
    };
}

maps!(BTreeMap<String, N>, HashMap<String, N>);

macro_rules! pointers {
    ($($pointer:ty),+) => {
        $(impl<N: Namespace + ?Sized> Namespace for $pointer {
            fn symbols(&self) -> Vec<Symbol> {
                (**self).symbols()
            }

            fn inside(&self, name: &str) -> Option<Box<dyn Namespace + '_>> {
                (**self).inside(name)
            }

            fn kind(&self) -> Kind {
                (**self).kind()
            }
        })+
    };
}

pointers!(&N, Box<N>, Arc<N>);
