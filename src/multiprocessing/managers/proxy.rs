//! A proxy of an object of any type on a server.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use ossature_sys::process::generation;

use super::client::Client;
use super::token::{Token, each_proxy};
use crate::error::Result;
use crate::multiprocessing::connection::Address;
use crate::multiprocessing::connection::pickle::Value;

/// A proxy of an object on a server, which calls methods by name.
///
/// The typed proxies of [`managed!`](crate::managed) and of the built-in types wrap one. Arguments and results are
/// copies.
///
/// A clone is cheap and refers to the same object. A proxy may be sent to another process, as an argument, in a message
/// or in another served object. The object lives until the last proxy is dropped, also while a proxy is under way. A
/// process that is killed gives its references back.
///
/// A forked child takes references of its own when it first uses a proxy. Until then the parent has to keep the object.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::{Context, Manager, Tasks, freeze_support, tasks};
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(tasks![]);
///     let manager = Manager::start(Context::Spawn)?;
///     let list = manager.create("list", (vec![3, 1, 2],))?;
///     list.call::<()>("sort", ())?;
///     assert_eq!(list.call::<i64>("__getitem__", (0,))?, 1);
///     assert_eq!(list.get_value::<Vec<i64>>()?, [1, 2, 3]);
///     assert_eq!(list.display()?, "[1, 2, 3]");
///
///     assert_eq!((list.typeid(), list.address()), ("list", manager.address()));
///     assert!(list.exposed().contains(&"sort".to_owned()) && !list.ident().is_empty());
///     Ok(())
/// }
/// ```
#[derive(Clone)]
#[doc(alias = "BaseProxy")]
#[doc(alias = "AutoProxy")]
pub struct Proxy(pub(super) Arc<Referent>);

pub(super) struct Referent {
    pub(super) client: Arc<Client>,
    pub(super) typeid: String,
    pub(super) ident: String,
    pub(super) exposed: Vec<String>,
    /// The generation of the process for which the server counts this reference.
    pub(super) counted_in: AtomicU32,
}

impl Drop for Referent {
    fn drop(&mut self) {
        if self.counted_in.load(Relaxed) == generation() {
            self.client.give_back(&self.ident);
        }
    }
}

/// The references in a reply that no proxy has taken over yet.
struct Arriving {
    client: Arc<Client>,
    idents: Vec<String>,
}

thread_local! {
    static ARRIVING: RefCell<Vec<Arriving>> = const { RefCell::new(Vec::new()) };
}

/// Converts a value that came from a server. References that nothing takes over are given back.
pub(super) fn arrive<T>(client: &Arc<Client>, value: Value, body: impl FnOnce(Value) -> Result<T>) -> Result<T> {
    let mut idents = Vec::new();
    each_proxy(&value, &mut |token| {
        if token.address == *client.address() {
            idents.push(token.ident);
        }
    });
    if idents.is_empty() || !client.is_rust()? {
        return body(value);
    }
    ARRIVING.with_borrow_mut(|arriving| arriving.push(Arriving { client: client.clone(), idents }));
    let made = body(value);
    let left = ARRIVING.with_borrow_mut(Vec::pop);
    for ident in left.into_iter().flat_map(|left| left.idents) {
        client.give_back(&ident);
    }
    made
}

fn arrived(client: &Arc<Client>, ident: &str) -> bool {
    ARRIVING.with_borrow_mut(|arriving| {
        let Some(arriving) = arriving.last_mut() else { return false };
        let place = arriving.idents.iter().position(|known| known == ident);
        let place = place.filter(|_| arriving.client.address() == client.address());
        place.map(|place| arriving.idents.swap_remove(place)).is_some()
    })
}

impl Proxy {
    /// Makes a proxy of an object whose reference is already counted for this process.
    pub(super) fn counted(client: Arc<Client>, typeid: String, ident: String, exposed: Vec<String>) -> Self {
        Self(Arc::new(Referent { client, typeid, ident, exposed, counted_in: AtomicU32::new(generation()) }))
    }

    /// Makes a proxy of an object, and counts its reference now.
    pub(super) fn count(
        client: Arc<Client>,
        token: Token,
        exposed: Vec<String>,
        ticket: Option<String>,
    ) -> Result<Self> {
        if !arrived(&client, &token.ident) {
            match ticket {
                Some(ticket) => client.ask("claim", vec![ticket.into(), token.ident.as_str().into()], Vec::new())?,
                None => client.ask("incref", vec![token.ident.as_str().into()], Vec::new())?,
            };
        }
        Ok(Self::counted(client, token.typeid, token.ident, exposed))
    }

    /// Makes a proxy of an object from its name. The server reports the methods of the object.
    pub(super) fn attached(client: Arc<Client>, ident: &str) -> Result<Self> {
        let token = Token { typeid: "object".to_owned(), address: client.address().clone(), ident: ident.to_owned() };
        let methods = client.ask("get_methods", vec![token.to_value()?], Vec::new())?;
        Self::count(client, token, super::wire::texts(&methods)?, None)
    }

    /// The name of the type on the server.
    pub fn typeid(&self) -> &str {
        &self.0.typeid
    }

    /// The name of the object on its server.
    #[doc(alias = "_id")]
    pub fn ident(&self) -> &str {
        &self.0.ident
    }

    /// The address of the server.
    pub fn address(&self) -> &Address {
        self.0.client.address()
    }

    /// Whether the calls of this thread to the server go through shared memory: see
    /// [`Manager::shares_memory`](super::Manager::shares_memory).
    ///
    /// # Errors
    /// As for the first [`call`](Self::call) of a thread.
    ///
    /// # Examples
    /// See the example of [`Manager::shares_memory`](super::Manager::shares_memory).
    pub fn shares_memory(&self) -> Result<bool> {
        self.0.client.shares_memory()
    }

    /// The callable methods.
    #[doc(alias = "get_methods")]
    pub fn exposed(&self) -> &[String] {
        &self.0.exposed
    }

    pub(super) fn token(&self) -> Token {
        let Referent { client, typeid, ident, .. } = &*self.0;
        Token { typeid: typeid.clone(), address: client.address().clone(), ident: ident.clone() }
    }

    pub(super) fn to_value(&self) -> Result<Value> {
        self.token().to_proxy(&self.0.exposed)
    }
}

impl AsRef<Self> for Proxy {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Shows the proxy, without a call: see [`display`](Proxy::display) for the object.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Proxy object, typeid '{}' at 0x{}>", self.typeid(), self.ident())
    }
}
