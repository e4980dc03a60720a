//! Objects in one process that many processes use, of this program, another program or Python: Python's
//! `multiprocessing.managers`.
//!
//! A [`Manager`] starts a *server*, a process that contains the shared objects, or connects to one. It makes objects
//! there, and returns [proxies](Proxy). The server runs the calls of proxies, one after the other for each object.
//! [`managed!`](crate::managed) lets it serve types of the program's own.
//!
//! Shared memory ([`Value`](crate::multiprocessing::Value), [`Queue`](crate::multiprocessing::Queue)) is much faster,
//! but only for processes of one program. A manager serves any type, other programs and other machines.
//!
//! | Python | here |
//! | --- | --- |
//! | `multiprocessing.Manager()` | [`Manager::start`] |
//! | `BaseManager(address, authkey)`, `get_server().serve_forever()` | [`Manager::builder`], [`bind`](ManagerBuilder::bind), [`Server::serve_forever`] |
//! | `register(typeid, callable)` | [`managed!`](crate::managed), [`ManagerBuilder::types`], [`Types`] |
//! | `register(typeid)`, `connect()`, `manager.typeid(..)` | [`Manager::connect`], [`Manager::create`] |
//! | `manager.list()`, `dict()`, `Queue()`, `Lock()`, ... | the same, in small letters |
//! | `proxy._callmethod(name, args, kwds)` | [`Proxy::call`], [`Proxy::call_with`] |
//! | `manager._debug_info()` | [`Manager::debug_info`], [`Manager::objects`], [`Manager::attach`] |
//! | `proxy._getvalue()`, `str(proxy)` | [`Proxy::get_value`], [`Proxy::display`] |
//! | `manager.Pool(processes)` | [`Manager::pool`](crate::multiprocessing::Manager::pool) |
//! | `SharedMemoryManager().SharedMemory(size)` | [`SharedMemoryManager::shared_memory`] |
//! | an exception of a method | [`Exception`], as the source of an [`Error`](crate::Error) of the kind [`Remote`](crate::ErrorKind::Remote) |
//!
//! **CPython on either side.** Client and server speak CPython's protocol. A CPython program uses the objects of a
//! server here by `BaseManager.register`, and [`Manager::connect`] connects to a server of CPython. Values are sent as
//! [plain data](crate::multiprocessing::connection::pickle); classes and functions are read as names only, and nothing
//! is called.
//!
//! **References.** An object lives as long as a proxy of it, and as long as another served object holds a proxy of it.
//!
//! | event | the object |
//! | --- | --- |
//! | a proxy is made, cloned, dropped | has one reference for each process that has a proxy |
//! | a proxy is sent, and the sender drops its own before the receiver has taken a reference | stays: a reference travels with the message |
//! | such a message is lost | stays until ten minutes after the end of the sender |
//! | a client in Rust ends, or is killed | loses the client's references; the client's locks are released, its waits are cancelled |
//! | a client in Python is killed | stays until the end of the server, as with a server of CPython |
//! | a client abandons a call | loses the references in the reply, whether the server ran the call or not |
//! | two objects hold proxies of each other | both objects stay |
//! | the server ends | is lost: a waiting call gets [`Closed`](crate::ErrorKind::Closed) at once, a later call gets `Closed` or the error of the connect |
//! | another server starts at the address | is lost: calls of old proxies fail with an error that names the cause |
//! | a proxy of another server's object is put into an object | the other server does not count that proxy: its object lives only as long as other proxies |
//!
//! **Waiting.** A built-in object never blocks its server: a `get` or an `acquire` is parked until it can be answered.
//! A method of the program's own type runs on a helper thread.
//!
//! **Shared memory.** Calls between processes of one program use shared memory beside the socket if the kernel confirms
//! that both run the same program: [`Manager::shares_memory`]. While both sides are awake, such a call makes no system
//! call. An awake side looks for a message for some microseconds, and then sleeps.
//!
//! **Hostile clients.** [`Limits`] bounds the resources that clients use; [`Access`] defines which client may call
//! which methods. If a reply does not depend on other clients, a client waits for it for at most the
//! [`reply_timeout`]. A client detects within two minutes that the other machine of a TCP connection has failed.

mod access;
mod arguments;
mod arguments_form;
mod builtin;
mod call_connection;
mod client;
mod compact;
mod exception;
mod in_flight;
mod known;
mod limits;
mod macros;
mod manager;
#[cfg(feature = "readline")]
mod namespace;
mod objects;
mod outgoing;
mod proof;
mod proxy;
mod proxy_calls;
mod proxy_transit;
mod registry;
mod room;
mod segments;
mod serializer;
mod served;
mod server;
mod timing;
mod token;
mod wire;

// For the macro, so that a program needs no dependency of its own.
#[doc(hidden)]
pub use serde;

#[doc(inline)]
pub use access::{Access, Clients};
#[doc(inline)]
pub use arguments::Arguments;
#[doc(inline)]
pub use builtin::*;
#[doc(inline)]
pub use exception::Exception;
#[doc(inline)]
pub use in_flight::CallResult;
#[doc(inline)]
pub use limits::Limits;
#[doc(inline)]
pub use manager::{Manager, ManagerBuilder, Setup, serve};
#[doc(inline)]
pub use objects::{ObjectInfo, Reply};
#[doc(inline)]
pub use proxy::Proxy;
#[doc(inline)]
pub use registry::{Registry, Types};
#[doc(inline)]
pub use segments::SharedMemoryManager;
#[doc(inline)]
pub use serializer::Serializer;
#[doc(hidden)]
pub use served::{Answer, Arrived, Outcome, Served, answer_result, reading, writing};
#[doc(inline)]
pub use served::{Handed, Managed, Returned};
#[doc(inline)]
pub use server::{Server, Stopper};
#[doc(inline)]
pub use timing::{reply_timeout, set_reply_timeout};
