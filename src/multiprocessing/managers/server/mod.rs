//! The process, or thread, that contains the shared objects.
//!
//! A thread at the [`acceptor`] does handshakes. The [`event_loop`] serves all clients. The [`object_table`] has the
//! objects and the references. The [`helpers`] run the methods of the program's own types.
//!
//! **One loop, one thread.** All built-in objects belong to the loop, so none of them has a lock, and the calls of
//! all clients have one order. The client that waited first is served first. The locks of a dead client are released
//! in one step. Loops on several cores would share the objects and the references, with a lock around each. Methods of
//! the program's own types run on the threads of the helpers, on all cores.

mod acceptor;
pub(super) mod event_loop;
mod helpers;
mod holder;
pub(super) mod item;
pub(super) mod local;
mod object_table;
mod peer;
pub(super) mod pool;
mod segments;
pub(super) mod usage;

use std::fmt;
use std::sync::Arc;

use self::acceptor::{Inbox, Notification};
use self::event_loop::EventLoop;
use super::Serializer;
use super::known;
use super::limits::Limits;
use super::registry::Registry;
use crate::error::{Error, Result};
use crate::multiprocessing::connection::{Address, AuthKey, CancelFd, Connection, Listener};

/// A server that serves in this process: Python's `get_server()`.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::managers::Manager;
/// use ossature::multiprocessing::connection::AuthKey;
///
/// let key = AuthKey::from("abracadabra");
/// let server = Manager::builder().address(("127.0.0.1", 0)).authkey(&key).bind()?;
/// let (address, stop) = (server.address().clone(), server.stopper());
/// let serving = std::thread::spawn(move || server.serve_forever());
///
/// let manager = Manager::connect(address, &key)?;
/// assert_eq!(manager.number_of_objects()?, 0);
/// stop.stop();
/// serving.join().unwrap()?;
/// # Ok::<(), ossature::Error>(())
/// ```
#[doc(alias = "get_server")]
pub struct Server {
    listener: Listener,
    registry: Registry,
    limits: Limits,
    key: AuthKey,
    inbox: Arc<Inbox>,
    parent_death: Option<Connection>,
}

/// A handle that ends a [`Server`] from another thread of its process.
///
/// # Examples
/// See the example of [`Server`].
#[derive(Clone)]
pub struct Stopper(Arc<Inbox>);

impl Server {
    pub(super) fn bind(address: &Address, key: &AuthKey, registry: Registry, limits: Limits) -> Result<Self> {
        registry.rules()?; // a wrong access list is an error here
        let listener = Listener::builder()
            .authkey(key)
            .handshakes(limits.handshakes)
            .handshake_timeout(limits.handshake_timeout)
            .bind(address)?;
        Ok(Self { listener, registry, limits, key: key.clone(), inbox: Arc::new(Inbox::new()?), parent_death: None })
    }

    /// Sets a connection whose closure ends the server.
    pub(super) fn parent_death(mut self, parent_death: Connection) -> Self {
        self.parent_death = Some(parent_death);
        self
    }

    /// The address to which clients connect.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Makes a handle that ends the server from another thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.inbox.clone())
    }

    /// Serves until a client or a [`Stopper`] ends the server. Then it closes the connections.
    ///
    /// Differs from Python, which ends the process then.
    ///
    /// # Errors
    /// [`Os`](crate::ErrorKind::Os) when the system has no room for the server.
    pub fn serve_forever(self) -> Result<()> {
        let Self { listener, registry, limits, key, inbox, parent_death } = self;
        known::remember(listener.address(), &key, Serializer::Pickle); // for proxies that come back to their own server
        let stop = CancelFd::new().map_err(|errno| Error::os(errno, "cannot make the manager's server"))?;
        let event_loop = EventLoop::new(inbox.clone(), parent_death, listener.address().clone(), registry, limits)?;
        std::thread::scope(|scope| {
            let acceptor = std::thread::Builder::new().name("manager-accept".to_owned());
            let acceptor = acceptor.spawn_scoped(scope, || acceptor::accept_clients(&listener, &inbox, &stop));
            acceptor
                .map_err(|error| Error::from(error).with_message("cannot start a thread of the manager's server"))?;
            let served = event_loop.run();
            let _ = stop.cancel(); // fails for no reason that could be mended here
            served
        })
    }
}

impl Stopper {
    /// Ends the server. Pending replies are still sent, for at most a second.
    pub fn stop(&self) {
        self.0.push(Notification::Stop);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", self.address()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopper(..)")
    }
}
