//! The types of which a server can make objects, by name.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, RwLock};

use super::access::{Access, COMMON, Clients, Rule};
use super::builtin;
use super::served::{Guarded, Managed, Served};
use super::server::local::{Body, CallContext, Made};
use super::server::pool::{PoolResults, ServedPool};
use super::{Arguments, Exception};
use crate::error::{ErrorKind, Result};

/// The function that makes objects of one type.
#[derive(Clone, Copy)]
pub(super) enum Maker {
    /// The function runs in the loop of the server: built-in types.
    Here(fn(Arguments, &mut CallContext) -> std::result::Result<Made, Exception>),
    /// The function runs on a helper thread, because it may take long.
    Apart(fn(Arguments) -> std::result::Result<Arc<dyn Served>, Exception>),
}

/// The types of a server: the built-in types and the added ones.
///
/// # Examples
/// ```
/// use ossature::managed;
/// use ossature::multiprocessing::managers::Registry;
///
/// pub struct Counter(u64);
///
/// managed! {
///     impl Counter as CounterProxy {
///         pub fn new(start: u64) -> Self {
///             Self(start)
///         }
///
///         pub fn next(&mut self) -> u64 {
///             self.0 += 1;
///             self.0
///         }
///     }
/// }
///
/// let mut registry = Registry::empty();
/// registry.add::<Counter>().add_as::<Counter>("Tally");
/// assert_eq!(registry.names().collect::<Vec<_>>(), ["Counter", "Tally"]);
/// ```
pub struct Registry {
    /// The makers of objects, and the methods of the objects.
    makers: BTreeMap<String, (Maker, &'static [&'static str])>,
    access: BTreeMap<String, Listed>,
    control: Clients,
}

/// An access list, and the methods of its type if the registry cannot make the type.
struct Listed {
    access: Access,
    methods: Option<&'static [&'static str]>,
}

/// The types whose objects only methods return.
const HANDED: [(&str, &[&str]); 2] = [("AsyncResult", PoolResults::METHODS), ("Iterator", builtin::ITERATOR_METHODS)];

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// Makes a registry of the built-in types.
    pub fn new() -> Self {
        let makers = builtin::TYPES.iter().map(|(name, methods, maker)| {
            let maker = Maker::Here(*maker);
            ((*name).to_owned(), (maker, *methods))
        });
        let mut registry = Self { makers: makers.collect(), ..Self::empty() };
        registry.add::<ServedPool>();
        registry
    }

    /// Makes a registry without types.
    pub fn empty() -> Self {
        Self { makers: BTreeMap::new(), access: BTreeMap::new(), control: Clients::All }
    }

    /// Adds a type under its own name.
    pub fn add<T: Managed>(&mut self) -> &mut Self {
        self.add_as::<T>(T::TYPEID)
    }

    /// Adds a type under this name, in place of an earlier type of this name.
    #[doc(alias = "register")]
    pub fn add_as<T: Managed>(&mut self, name: impl Into<String>) -> &mut Self {
        self.makers.insert(name.into(), (Maker::Apart(make::<T>), T::METHODS));
        self
    }

    /// Sets the access list of the type that clients know by this name, in place of an earlier list. Without a list
    /// every client may do everything.
    ///
    /// `AsyncResult` and `Iterator` are the types that built-in methods hand out. A server does not start with a list
    /// for a type that is not registered, nor with a list that names a method which the type does not have.
    ///
    /// # Examples
    /// See the example of [`Access`].
    #[doc(alias = "exposed")]
    pub fn allow(&mut self, name: impl Into<String>, access: Access) -> &mut Self {
        self.access.insert(name.into(), Listed { access, methods: None });
        self
    }

    /// Sets the access list of a type that methods [hand out](super::Handed), and that clients cannot make.
    ///
    /// # Examples
    /// ```
    /// use ossature::managed;
    /// use ossature::multiprocessing::managers::{Access, Registry};
    ///
    /// pub struct Key(u64);
    ///
    /// managed! {
    ///     impl Key as KeyProxy {
    ///         pub fn opens(&self, lock: u64) -> bool {
    ///             self.0 == lock
    ///         }
    ///
    ///         pub fn number(&self) -> u64 {
    ///             self.0
    ///         }
    ///     }
    /// }
    ///
    /// let mut registry = Registry::new();
    /// registry.allow_handed::<Key>(Access::new().methods(["opens"]).objects(100));
    /// assert!(registry.names().all(|name| name != "Key"), "no client makes a key");
    /// ```
    pub fn allow_handed<T: Managed>(&mut self, access: Access) -> &mut Self {
        self.access.insert(T::TYPEID.to_owned(), Listed { access, methods: Some(T::METHODS) });
        self
    }

    /// Sets which clients may end the server and look at all its objects: call `shutdown`, `debug_info` and
    /// `number_of_objects`. Without this call every client may do so.
    ///
    /// The process that started the server ends it in any case.
    ///
    /// # Examples
    /// See the example of [`Access`].
    pub fn control(&mut self, clients: Clients) -> &mut Self {
        self.control = clients;
        self
    }

    /// Removes a type, so that clients cannot make objects of it.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.makers.remove(name);
        self
    }

    /// The names of the types.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.makers.keys().map(String::as_str)
    }

    pub(super) fn maker(&self, name: &str) -> Option<Maker> {
        self.makers.get(name).map(|(maker, _)| *maker)
    }

    pub(super) fn controllers(&self) -> Clients {
        self.control.clone()
    }

    /// The access lists in use.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a list that no object would ever be under, or that names no
    /// method.
    pub(super) fn rules(&self) -> Result<HashMap<String, Arc<Rule>>> {
        let rule = |(name, listed): (&String, &Listed)| {
            let made = self.makers.get(name).map(|(_, methods)| *methods);
            let handed = || HANDED.iter().find(|(known, _)| known == name).map(|(_, methods)| *methods);
            let invalid = |why: String| crate::error::Error::new(ErrorKind::InvalidInput, why);
            let Some(methods) = made.or(listed.methods).or_else(handed) else {
                let known = self.names().collect::<Vec<_>>().join(", ");
                return Err(invalid(format!(
                    "the access list of {name} has no type: {name} is not registered; registered are {known}"
                )));
            };
            let mut named = listed.access.methods.iter().flatten();
            match named.find(|it| !methods.contains(&it.as_str()) && !COMMON.contains(&it.as_str())) {
                Some(wrong) => {
                    let methods = methods.join(", ");
                    Err(invalid(format!(
                        "the access list of {name} names {wrong}, which is not a method; the methods are {methods}"
                    )))
                }
                None => Ok((name.clone(), Rule::new(name, listed.access.clone()))),
            }
        };
        self.access.iter().map(rule).collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

fn make<T: Managed>(arguments: Arguments) -> std::result::Result<Arc<dyn Served>, Exception> {
    Ok(Arc::new(Guarded(RwLock::new(T::make(arguments)?))))
}

impl From<Arc<dyn Served>> for Made {
    fn from(object: Arc<dyn Served>) -> Self {
        Self { typeid: object.typeid(), exposed: object.exposed(), body: Body::Apart(object) }
    }
}

/// A choice of types for a server. `()` is the built-in types; a tuple of managed types adds these.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::managers::{Registry, Types};
///
/// /// Clients can make dicts and locks, and nothing else.
/// struct Few;
///
/// impl Types for Few {
///     fn register(registry: &mut Registry) {
///         let names: Vec<String> = registry.names().map(str::to_owned).collect();
///         for name in names.iter().filter(|name| !["dict", "Lock"].contains(&name.as_str())) {
///             registry.remove(name);
///         }
///     }
/// }
///
/// let mut registry = Registry::new();
/// Few::register(&mut registry);
/// assert_eq!(registry.names().collect::<Vec<_>>(), ["Lock", "dict"]);
/// ```
#[doc(alias = "SyncManager")]
#[doc(alias = "BaseManager.register")]
pub trait Types: 'static {
    /// Adds types to the built-in ones, or removes some. Runs first in the process of the server.
    fn register(registry: &mut Registry);
}

macro_rules! tuples {
    ($(($($Type:ident)*))*) => {$(
        impl<$($Type: Managed),*> Types for ($($Type,)*) {
            #[allow(unused_variables, reason = "the empty tuple adds none")]
            fn register(registry: &mut Registry) {
                $(registry.add::<$Type>();)*
            }
        }
    )*};
}

tuples! {
    ()
    (A)
    (A B)
    (A B C)
    (A B C D)
    (A B C D E)
    (A B C D E F)
    (A B C D E F G)
    (A B C D E F G H)
}
