//! A proxy of an object on a server, whatever its type.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::process::generation;
use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::client::{Client, PendingCall, reply_timeout};
use super::outgoing::{self, Outgoing, arguments};
use super::registry::{Arrived, Returned};
use super::wire::{Reply, Request, Token, class_of, each_proxy};
use super::{Exception, known};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::Address;
use crate::multiprocessing::connection::pickle::{Value, from_value};

/// A proxy of an object on a server: calls methods by name.
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
pub struct Proxy(Arc<Referent>);

struct Referent {
    client: Arc<Client>,
    typeid: String,
    ident: String,
    exposed: Vec<String>,
    /// The process that has counted it.
    counted_in: AtomicU32,
}

impl Drop for Referent {
    fn drop(&mut self) {
        if self.counted_in.load(Relaxed) == generation() {
            self.client.give_back(&self.ident);
        }
    }
}

/// The references that came with a reply and that no proxy has taken over yet.
struct Arriving {
    client: Arc<Client>,
    idents: Vec<String>,
}

thread_local! {
    static ARRIVING: RefCell<Vec<Arriving>> = const { RefCell::new(Vec::new()) };
}

/// Makes something of a value that came from a server. References that nothing takes over are given back.
fn arrive<T>(client: &Arc<Client>, value: Value, body: impl FnOnce(Value) -> Result<T>) -> Result<T> {
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
    /// For an object that was counted for this process.
    pub(super) fn counted(client: Arc<Client>, typeid: String, ident: String, exposed: Vec<String>) -> Self {
        Self(Arc::new(Referent { client, typeid, ident, exposed, counted_in: AtomicU32::new(generation()) }))
    }

    /// For an object that is counted now.
    fn count(client: Arc<Client>, token: Token, exposed: Vec<String>, ticket: Option<String>) -> Result<Self> {
        if !arrived(&client, &token.ident) {
            match ticket {
                Some(ticket) => client.ask("claim", vec![ticket.into(), token.ident.as_str().into()], Vec::new())?,
                None => client.ask("incref", vec![token.ident.as_str().into()], Vec::new())?,
            };
        }
        Ok(Self::counted(client, token.typeid, token.ident, exposed))
    }

    /// For an object that this process has heard of by its name only. The server says which methods it has.
    pub(super) fn attached(client: Arc<Client>, ident: &str) -> Result<Self> {
        let token = Token { typeid: "object".to_owned(), address: client.address().clone(), ident: ident.to_owned() };
        let methods = client.ask("get_methods", vec![token.to_value()?], Vec::new())?;
        Self::count(client, token, super::wire::texts(&methods)?, None)
    }

    /// The name of the type on the server.
    pub fn typeid(&self) -> &str {
        &self.0.typeid
    }

    /// What names the object on its server.
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

    /// The methods that may be called.
    #[doc(alias = "get_methods")]
    pub fn exposed(&self) -> &[String] {
        &self.0.exposed
    }

    fn token(&self) -> Token {
        let Referent { client, typeid, ident, .. } = &*self.0;
        Token { typeid: typeid.clone(), address: client.address().clone(), ident: ident.clone() }
    }

    pub(super) fn to_value(&self) -> Result<Value> {
        self.token().to_proxy(&self.0.exposed)
    }

    /// Calls a method with a tuple of arguments, and waits for what the method returns.
    ///
    /// The wait has no limit, because a method may wait for other clients: see [`call_timeout`](Self::call_timeout).
    ///
    /// # Errors
    /// * [`Remote`](ErrorKind::Remote) when the method failed, or could not be called; the source is the [`Exception`].
    /// * [`Closed`](ErrorKind::Closed) at once when the server ends.
    /// * [`InvalidInput`](ErrorKind::InvalidInput) for an argument that cannot be sent.
    /// * [`Decode`](ErrorKind::Decode) when the method returns a value of another type.
    /// * Those of a [connect](crate::multiprocessing::connection::ConnectBuilder::connect) for the first call of a
    ///   thread;
    ///   [`Os`](ErrorKind::Os) with `ETIMEDOUT` for a server that does not answer within the
    ///   [`reply_timeout`](super::reply_timeout).
    #[doc(alias = "_callmethod")]
    pub fn call<R: Returned>(&self, method: &str, args: impl Serialize) -> Result<R::There> {
        let Outgoing { values, proxies: _kept } = arguments(args)?;
        self.call_with::<R>(method, values, Vec::new())
    }

    /// Calls a method with arguments by place and by name.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let list = manager.create("list", (vec![3, 1, 2],))?;
    /// list.call_with::<()>("sort", Vec::new(), vec![("reverse".to_owned(), true.into())])?;
    /// assert_eq!(list.get_value::<Vec<i64>>()?, [3, 2, 1]);
    /// # Ok(()) }
    /// ```
    pub fn call_with<R: Returned>(
        &self,
        method: &str,
        args: Vec<Value>,
        kwds: Vec<(String, Value)>,
    ) -> Result<R::There> {
        let reply = self.call_until::<R>(method, args, kwds, Deadline::NEVER)?;
        reply.ok_or_else(|| Error::new(ErrorKind::Closed, "the wait for a reply ended without one"))
    }

    /// Calls a method as [`call`](Self::call) does, and waits at most that long; `None` when the time is over.
    ///
    /// Then the thread's connection to the server is closed. The server forgets a call that waits, and releases the
    /// locks that this thread has acquired there. A method of the program's own type runs on, and its result is
    /// dropped.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let queue = manager.create("Queue", ())?;
    /// assert_eq!(queue.call_timeout::<String>("get", (), Duration::from_millis(20))?, None);
    /// queue.call::<()>("put", ("here",))?;
    /// assert_eq!(queue.call_timeout::<String>("get", (), Duration::from_secs(20))?.as_deref(), Some("here"));
    /// # Ok(()) }
    /// ```
    pub fn call_timeout<R: Returned>(
        &self,
        method: &str,
        args: impl Serialize,
        limit: Duration,
    ) -> Result<Option<R::There>> {
        let until = Deadline::after(limit);
        let Outgoing { values, proxies: _kept } = arguments(args)?;
        match self.call_until::<R>(method, values, Vec::new(), until) {
            // The connection could not be made in time.
            Err(error) if error.errno() == Some(Errno::TIMEDOUT) && until.has_passed() => Ok(None),
            done => done,
        }
    }

    /// Calls a method that waits no longer than `limit` at the server.
    pub(super) fn call_within<R: Returned>(
        &self,
        method: &str,
        args: impl Serialize,
        limit: Duration,
    ) -> Result<R::There> {
        let until = Deadline::after(limit.saturating_add(reply_timeout()));
        let Outgoing { values, proxies: _kept } = arguments(args)?;
        let reply = self.call_until::<R>(method, values, Vec::new(), until)?;
        reply.ok_or_else(|| self.0.client.timeout_error())
    }

    fn call_until<R: Returned>(
        &self,
        method: &str,
        args: Vec<Value>,
        kwds: Vec<(String, Value)>,
        until: Deadline,
    ) -> Result<Option<R::There>> {
        let request = self.request(method, args, kwds)?;
        let reply = self.0.client.call(request, until)?;
        reply.map(|reply| self.result_of::<R>(reply)).transpose()
    }

    /// Sends a call that is waited for later.
    pub(super) fn send_async(&self, method: &str, args: Vec<Value>) -> Result<PendingCall> {
        let request = self.request(method, args, Vec::new())?;
        self.0.client.send_async(request)
    }

    /// A call of this process, which counts the object before its first one.
    fn request<'n>(&'n self, method: &'n str, args: Vec<Value>, kwds: Vec<(String, Value)>) -> Result<Request<'n>> {
        let referent = &self.0;
        let here = generation();
        if referent.counted_in.load(Relaxed) != here {
            referent.client.ask("incref", vec![referent.ident.as_str().into()], Vec::new())?;
            referent.counted_in.store(here, Relaxed);
        }
        Ok(Request { ident: Some(referent.ident.as_str().into()), method: method.into(), args, kwds })
    }

    /// What a reply holds for the caller.
    pub(super) fn result_of<R: Returned>(&self, reply: Reply) -> Result<R::There> {
        let client = &self.0.client;
        match reply {
            Reply::Return(value) => arrive(client, value, |value| R::arrive(Arrived::Value(value))),
            Reply::Proxy(exposed, token) => {
                R::arrive(Arrived::Proxy(Self::counted(client.clone(), token.typeid, token.ident, exposed)))
            }
            Reply::Error(exception) => Err(exception.into()),
            Reply::Traceback(text) => Err(Exception::remote(text).into()),
            Reply::Unserializable(text) => Err(Exception::remote(format!("Unserializable message: {text}")).into()),
        }
    }

    /// A copy of the object.
    ///
    /// # Errors
    /// As for [`call`](Self::call); [`Remote`](ErrorKind::Remote) for an object that cannot be sent.
    #[doc(alias = "_getvalue")]
    #[doc(alias = "deepcopy")]
    pub fn get_value<T: Serialize + DeserializeOwned>(&self) -> Result<T> {
        self.call_within::<T>("#GETVALUE", (), Duration::ZERO)
    }

    /// The object as its server shows it.
    ///
    /// # Errors
    /// As for [`call`](Self::call).
    #[doc(alias = "__str__")]
    pub fn display(&self) -> Result<String> {
        self.call_within::<String>("__repr__", (), Duration::ZERO)
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

// ---- on the way ---------------------------------------------------------------------------------------------------

#[derive(Serialize, Deserialize)]
#[serde(rename = "\0ossature::Global")]
struct Name((String, String));

#[derive(Serialize, Deserialize)]
#[serde(rename = "\0ossature::Object")]
struct Record<A>((Name, A));

/// An address as Python writes it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum AddressForm {
    Text(String),
    Pair(String, u16),
}

#[derive(Serialize, Deserialize)]
struct Kwds {
    #[serde(default)]
    exposed: Vec<String>,
}

/// A proxy in a pickle.
type Pickled = Record<(Name, Record<(String, AddressForm, String)>, String, Kwds)>;

/// A proxy between processes of one program.
#[derive(Serialize, Deserialize)]
struct Transit {
    typeid: String,
    address: Address,
    ident: String,
    exposed: Vec<String>,
    ticket: Option<String>,
    serializer: super::Serializer,
}

fn class(name: &str) -> Name {
    Name(("multiprocessing.managers".to_owned(), name.to_owned()))
}

impl Proxy {
    fn pickled(&self) -> Result<Pickled> {
        let Referent { client, typeid, ident, exposed, .. } = &*self.0;
        let address = match Value::try_from(client.address())? {
            Value::Text(text) => AddressForm::Text(text),
            pair => from_value::<(String, u16)>(pair).map(|(host, port)| AddressForm::Pair(host, port))?,
        };
        let token = Record((class("Token"), (typeid.clone(), address, ident.clone())));
        let kwds = Kwds { exposed: exposed.clone() };
        Ok(Record((class("RebuildProxy"), (class(class_of(typeid)), token, "pickle".to_owned(), kwds))))
    }

    fn unpickled(Record((_, (_, Record((_, (typeid, address, ident))), _, kwds))): Pickled) -> Result<Self> {
        let address = match address {
            AddressForm::Text(text) => Address::try_from(text.as_str())?,
            AddressForm::Pair(host, port) => Address::Inet(host, port),
        };
        let client = known::client_of(&address)?;
        let mut exposed = kwds.exposed;
        let token = Token { typeid, address, ident };
        if exposed.is_empty() {
            let methods = client.ask("get_methods", vec![token.to_value()?], Vec::new())?;
            exposed = super::wire::texts(&methods)?;
        }
        Self::count(client, token, exposed, None)
    }

    /// With a reference that lasts until the other side has its own.
    fn lent(&self) -> Result<Transit> {
        let Referent { client, typeid, ident, exposed, .. } = &*self.0;
        let ticket = match client.is_rust()? {
            true => Some(from_value(client.ask("lend", vec![ident.as_str().into()], Vec::new())?)?),
            false => None,
        };
        let (typeid, ident, exposed) = (typeid.clone(), ident.clone(), exposed.clone());
        let (address, serializer) = (client.address().clone(), client.serializer());
        Ok(Transit { typeid, address, ident, exposed, ticket, serializer })
    }

    fn taken(transit: Transit) -> Result<Self> {
        let Transit { typeid, address, ident, exposed, ticket, serializer } = transit;
        let client = known::client_by(&address, serializer)?;
        Self::count(client, Token { typeid, address, ident }, exposed, ticket)
    }
}

/// In a message to a server as CPython pickles a proxy; between processes of this program with a reference that is
/// under way too, for which the server is asked.
impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            outgoing::note(self);
            self.pickled().map_err(S::Error::custom)?.serialize(serializer)
        } else {
            self.lent().map_err(S::Error::custom)?.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Self::unpickled(Pickled::deserialize(deserializer)?).map_err(D::Error::custom)
        } else {
            Self::taken(Transit::deserialize(deserializer)?).map_err(D::Error::custom)
        }
    }
}
