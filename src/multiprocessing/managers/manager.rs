//! A manager: a server of objects, started here or reached by its address.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ossature_sys::signal;
use ossature_sys::signal::Signal;
use ossature_sys::sync::lock::Lock;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::limits::Limits;
use super::outgoing::{Outgoing, arguments};
use super::registry::{Registry, Types};
use super::served::Managed;
use super::server::Server;
use super::wire::texts;
use super::{Proxy, Serializer, known};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::pickle::Value;
use crate::multiprocessing::connection::{Address, AuthKey, Connection, Family, pipe};
use crate::multiprocessing::context::{Context, get_start_method};
use crate::multiprocessing::process::{Process, current_process};
use crate::multiprocessing::tasks::{Form, library_task, registered};
use crate::multiprocessing::transfer::pack;
use crate::multiprocessing::util::Finalize;

/// The maximum time from the start of the server's task to its first message.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server of shared objects, and a factory of objects on it: Python's `Manager()` and `SyncManager`.
///
/// [`start`](Self::start) starts a process in which the objects live. [`connect`](Self::connect) reaches a server that
/// is there, of this program, of another one or of CPython. A started server ends with its manager. It also ends with
/// this process if the manager is not dropped, as in a `static`.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::{Context, Manager, Process, Tasks, freeze_support, tasks};
/// use ossature::multiprocessing::managers::DictProxy;
///
/// fn count(words: DictProxy<String, u64>) -> ossature::Result<()> {
///     words.insert(&"seven".to_owned(), &7)?;
///     Ok(())
/// }
///
/// static TASKS: Tasks = tasks![count];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let manager = Manager::start(Context::Spawn)?;
///     let words = manager.dict::<String, u64>()?;
///     let process = Process::spawn(count, (words.clone(),))?;
///     process.join()?;
///     assert_eq!(words.get(&"seven".to_owned())?, Some(7));
///     manager.shutdown()
/// }
/// ```
#[doc(alias = "SyncManager")]
#[doc(alias = "BaseManager")]
#[doc(alias = "RemoteManager")]
pub struct Manager {
    pub(super) client: Arc<Client>,
    started: Option<Started>,
}

/// The server that this process has started, and the finalizer that ends it.
struct Started {
    server: Arc<StartedServer>,
    /// Ends the server with the manager, and before this process waits for its children at its end. A manager may live
    /// until then: in a `static`, or when the program calls `std::process::exit`.
    end: Finalize,
}

/// A server that this process has started.
struct StartedServer {
    process: Process,
    /// The connection that keeps the server running: the server ends when this end is closed.
    parent_death: Lock<Option<Connection>>,
    patience: Duration,
}

/// The settings of a [`Manager`], made by [`Manager::builder`].
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
/// use ossature::multiprocessing::connection::AuthKey;
/// use ossature::multiprocessing::managers::{Limits, ManagerBuilder};
/// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
///
/// # fn main() -> ossature::Result<()> {
/// freeze_support(tasks![]);
/// let key = AuthKey::random()?;
/// let builder: ManagerBuilder = Manager::builder();
/// let manager = builder
///     .types::<()>() // the built-in ones
///     .address(("127.0.0.1", 0))
///     .authkey(&key)
///     .limits(Limits { connections: 100, ..Limits::default() })
///     .shutdown_timeout(Duration::from_secs(5))
///     .start(Context::Spawn)?;
/// assert_eq!(Manager::connect(manager.address(), &key)?.number_of_objects()?, 0);
/// # Ok(()) }
/// ```
#[must_use = "nothing is started yet"]
pub struct ManagerBuilder<T = ()> {
    address: Option<Result<Address>>,
    authkey: Option<AuthKey>,
    limits: Limits,
    patience: Duration,
    types: std::marker::PhantomData<fn() -> T>,
}

/// The settings that the server's process receives from the process that starts it.
#[derive(Serialize, Deserialize)]
#[doc(hidden)]
pub struct Setup {
    address: Address,
    limits: Limits,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// The task of a server's process, to be listed in [`tasks!`](crate::tasks!) with the types that are served:
/// `tasks![managers::serve::<(Counter,)>]`. Do not call it.
///
/// # Errors
/// As for [`ManagerBuilder::bind`]; the process that starts the server gets the error.
///
/// # Examples
/// See the example of [`managed!`](crate::managed).
pub fn serve<T: Types>(parent_death: Connection, setup: Setup) -> Result<()> {
    let _ignored = signal::ignore(Signal::INT); // an interrupt of the terminal is for the program, which then shuts down
    let bound = current_process().authkey().and_then(|key| bind::<T>(&setup.address, &key, setup.limits));
    match bound {
        Ok(server) => {
            parent_death.send(&Ok::<_, String>(server.address().clone()))?;
            server.parent_death(parent_death).serve_forever()
        }
        Err(error) => {
            parent_death.send(&Err::<Address, _>(error.to_string()))?;
            Err(error)
        }
    }
}

fn bind<T: Types>(address: &Address, key: &AuthKey, limits: Limits) -> Result<Server> {
    let mut registry = Registry::new();
    T::register(&mut registry);
    Server::bind(address, key, registry, limits)
}

impl Manager {
    /// Starts a process that serves the built-in types.
    ///
    /// # Errors
    /// As for [`ManagerBuilder::start`].
    #[doc(alias = "multiprocessing.Manager")]
    pub fn start(context: Context) -> Result<Self> {
        Self::builder().start(context)
    }

    /// Makes a builder for a manager with other types, an address or a key.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder {
            address: None,
            authkey: None,
            limits: Limits::default(),
            patience: Duration::from_secs(1),
            types: std::marker::PhantomData,
        }
    }

    /// Connects to a running server, with its key.
    ///
    /// Proxies of this server that come from other processes are reached by the same key from now on.
    ///
    /// # Errors
    /// As for [`ConnectBuilder::connect`](crate::multiprocessing::connection::ConnectBuilder::connect);
    /// [`Os`](ErrorKind::Os) with `ETIMEDOUT` for a server that does not answer within the
    /// [`reply_timeout`](super::reply_timeout).
    ///
    /// # Examples
    /// See the example of [`Server`].
    pub fn connect<A: TryInto<Address>>(address: A, authkey: &AuthKey) -> Result<Self>
    where
        Error: From<A::Error>,
    {
        Self::connect_with(address, authkey, Serializer::Pickle)
    }

    /// Connects as [`connect`](Self::connect) does, to a server that uses another serializer.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    ///
    /// # Examples
    /// See the example of [`Serializer`].
    #[doc(alias = "serializer")]
    pub fn connect_with<A: TryInto<Address>>(address: A, authkey: &AuthKey, serializer: Serializer) -> Result<Self>
    where
        Error: From<A::Error>,
    {
        let address = address.try_into()?;
        let client = known::client_with(&address, authkey, serializer);
        client.ask("dummy", Vec::new(), Vec::new())?;
        known::remember_client(&client);
        Ok(Self { client, started: None })
    }

    /// The address of the server.
    pub fn address(&self) -> &Address {
        self.client.address()
    }

    /// Whether the calls of this thread to the server go through shared memory instead of the socket.
    ///
    /// That is decided when a thread connects for its first call. It requires a Unix socket, and the kernel must report
    /// that the server runs the same build of the same program as the same user in the same pid namespace. The server
    /// gives memory to at most [`Limits::exchanges`] threads. A call then costs no system call while both sides
    /// are awake. Long messages, and values beyond plain data, are always sent over the socket. The results of
    /// calls are the same in both cases.
    ///
    /// # Errors
    /// As for the first [`call`](Proxy::call) of a thread.
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let local = Manager::start(Context::Spawn)?;
    /// assert!(local.shares_memory()? && local.list([1])?.as_ref().shares_memory()?);
    /// let remote = Manager::builder().address(("127.0.0.1", 0)).start(Context::Spawn)?;
    /// assert!(!remote.shares_memory()?, "over TCP");
    /// # Ok(()) }
    /// ```
    pub fn shares_memory(&self) -> Result<bool> {
        self.client.shares_memory()
    }

    /// The server's process, if this manager has started one.
    pub fn process(&self) -> Option<&Process> {
        self.started.as_ref().map(|started| &started.server.process)
    }

    /// Makes an object on the server, with the name of its type and a tuple of arguments.
    ///
    /// # Errors
    /// As for [`Proxy::call`]; [`Remote`](ErrorKind::Remote) for a type that is not registered there;
    /// [`Os`](ErrorKind::Os) with `ETIMEDOUT` when the making takes longer than the
    /// [`reply_timeout`](super::reply_timeout).
    ///
    /// # Examples
    /// See the example of [`Proxy`].
    #[doc(alias = "_create")]
    pub fn create(&self, typeid: &str, args: impl Serialize) -> Result<Proxy> {
        let Outgoing { values, proxies: _kept } = arguments(args)?;
        self.create_with(typeid, values, Vec::new())
    }

    /// Makes an object as [`create`](Self::create) does, with positional and named arguments.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let point = manager.create_with("Namespace", Vec::new(), vec![("x".to_owned(), 3.into())])?;
    /// assert_eq!(point.call::<i64>("__getattribute__", ("x",))?, 3);
    /// # Ok(()) }
    /// ```
    pub fn create_with(&self, typeid: &str, args: Vec<Value>, kwds: Vec<(String, Value)>) -> Result<Proxy> {
        let mut all = vec![Value::from(typeid)];
        all.extend(args);
        let made = self.client.ask("create", all, kwds)?;
        match made.as_items() {
            // The reference of its making becomes the proxy's.
            Some([Value::Text(ident), exposed]) => {
                Ok(Proxy::counted(self.client.clone(), typeid.to_owned(), ident.clone(), texts(exposed)?))
            }
            _ => Err(Error::new(ErrorKind::Decode, "the server's reply does not name the new object")),
        }
    }

    /// Makes an object of a managed type with its function `new` and a tuple of arguments.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    ///
    /// # Examples
    /// See the example of [`managed!`](crate::managed), whose proxies have a function `new` for this.
    pub fn make<T: Managed>(&self, args: impl Serialize) -> Result<T::Proxy> {
        self.create(T::TYPEID, args).map(Into::into)
    }

    /// The number of objects on the server.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    ///
    /// # Examples
    /// See the example of [`Server`].
    #[doc(alias = "_number_of_objects")]
    pub fn number_of_objects(&self) -> Result<u64> {
        let count = self.client.ask_after_all("number_of_objects")?;
        count
            .as_int()
            .and_then(|count| u64::try_from(count).ok())
            .ok_or_else(|| Error::new(ErrorKind::Decode, "the server's number of objects is not a number"))
    }

    /// Describes the objects of the server and their references, as text.
    ///
    /// # Errors
    /// As for [`Proxy::call`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// let list = manager.create("list", (vec![1, 2],))?;
    /// let info = manager.debug_info()?;
    /// assert_eq!(info, format!("  {}:       refcount=1\n    [1, 2]", list.ident()));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "_debug_info")]
    pub fn debug_info(&self) -> Result<String> {
        match self.client.ask_after_all("debug_info")? {
            Value::Text(text) => Ok(text),
            other => Err(Error::new(
                ErrorKind::Decode,
                format!("the server's debug_info is a {}, not a text", other.type_name()),
            )),
        }
    }

    /// Ends the server. From then on its proxies return [`Closed`](ErrorKind::Closed), also those that wait.
    ///
    /// A process that this manager started receives a request, then `SIGTERM`, then `SIGKILL`; each step has the time
    /// of [`shutdown_timeout`](ManagerBuilder::shutdown_timeout). Dropping the manager does the same, for a server that
    /// it has started.
    ///
    /// # Errors
    /// [`Closed`](ErrorKind::Closed) and others for a connected server that does not accept the request.
    pub fn shutdown(mut self) -> Result<()> {
        match self.started.take() {
            Some(started) => {
                started.end.cancel();
                started.server.end(&self.client)
            }
            None if self.client.shut_down(PATIENCE) => Ok(()),
            None => {
                let message = format!("cannot ask the manager at {} to end", self.client.address());
                Err(Error::new(ErrorKind::Closed, message))
            }
        }
    }

    /// Waits for the end of a started server, for at most `timeout`; `false` if the server still runs.
    ///
    /// # Errors
    /// [`NotAllowed`](ErrorKind::NotAllowed) for a connected server, and those of
    /// [`Process::join_timeout`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use std::time::Duration;
    /// use ossature::multiprocessing::{Context, Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::start(Context::Spawn)?;
    /// assert!(!manager.join(Duration::ZERO)?, "it serves");
    /// # Ok(()) }
    /// ```
    pub fn join(&self, timeout: Duration) -> Result<bool> {
        match &self.started {
            Some(started) => Ok(started.server.process.join_timeout(timeout)?.is_some()),
            None => Err(Error::new(
                ErrorKind::NotAllowed,
                "cannot join the server: another process started it, and only that process can join it",
            )),
        }
    }
}

impl StartedServer {
    fn end(&self, client: &Client) -> Result<()> {
        client.shut_down(self.patience);
        drop(self.parent_death.lock().take());
        if self.process.join_timeout(self.patience)?.is_none() {
            self.process.terminate()?;
            if self.process.join_timeout(self.patience)?.is_none() {
                self.process.kill()?;
                self.process.join_timeout(PATIENCE)?;
            }
        }
        Ok(())
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // Called before the drop of the server and the client, to which the callback has weak references. In a forked
        // child the server is the parent's, and stays.
        if let Some(started) = &self.started {
            started.end.call();
        }
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("address", self.address()).field("process", &self.process()).finish()
    }
}

impl<T: Types> ManagerBuilder<T> {
    /// Sets the address at which the server listens; the default is a path of its own. Port 0 lets the system choose.
    pub fn address<A: TryInto<Address>>(mut self, address: A) -> Self
    where
        Error: From<A::Error>,
    {
        self.address = Some(address.try_into().map_err(Error::from));
        self
    }

    /// Sets the key that clients must know; the default is the key of this process, which its children know.
    ///
    /// A process that receives a proxy must know the key, too. For another key than that of this process, call
    /// `current_process().set_authkey(key)` before the start of such a process.
    pub fn authkey(mut self, key: &AuthKey) -> Self {
        self.authkey = Some(key.clone());
        self
    }

    /// Sets the limits of the server for its clients.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the maximum time of each step of a [`shutdown`](Manager::shutdown). The default is one second.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.patience = timeout;
        self
    }

    /// Serves these types besides the built-in ones: a tuple of managed types, or a choice of [`Types`].
    #[doc(alias = "register")]
    pub fn types<U: Types>(self) -> ManagerBuilder<U> {
        let Self { address, authkey, limits, patience, .. } = self;
        ManagerBuilder { address, authkey, limits, patience, types: std::marker::PhantomData }
    }

    fn settings(&mut self) -> Result<(Address, AuthKey)> {
        let address = match self.address.take() {
            Some(address) => address?,
            None => Address::arbitrary(Family::default())?,
        };
        let key = match self.authkey.take() {
            Some(key) => key,
            None => current_process().authkey()?,
        };
        Ok((address, key))
    }

    /// Makes a server for this process, which serves once [`serve_forever`](Server::serve_forever) is called.
    ///
    /// # Errors
    /// As for [`ListenerBuilder::bind`](crate::multiprocessing::connection::ListenerBuilder::bind).
    ///
    /// # Examples
    /// See the example of [`Server`].
    #[doc(alias = "get_server")]
    pub fn bind(mut self) -> Result<Server> {
        let (address, key) = self.settings()?;
        bind::<T>(&address, &key, self.limits)
    }

    /// Starts the server in a process of its own, or with [`Thread`](Context::Thread) in a thread of this process.
    ///
    /// For types of the program's own, the table of tasks must contain [`serve`] with these types.
    ///
    /// # Errors
    /// As for [`ProcessBuilder::start`](crate::multiprocessing::process::ProcessBuilder::start), and
    /// [`StartFailed`](ErrorKind::StartFailed) with the reason when the server cannot listen.
    pub fn start(mut self, context: Context) -> Result<Manager> {
        let (address, key) = self.settings()?;
        let builder = Process::builder().named_as("SyncManager").context(context);
        let (parent_death, theirs) = pipe()?;
        if context == Context::Thread {
            let server = bind::<T>(&address, &key, self.limits)?.parent_death(theirs);
            let address = server.address().clone();
            // A daemon: the end of the process must not wait for a thread that only the end of the manager ends.
            let process = builder.daemon(true).thread(move || server.serve_forever())?;
            return started(process, parent_death, address, &key, self.patience);
        }
        let setup = Setup { address, limits: self.limits };
        let builder = builder.authkey(key.clone());
        let process = match context {
            Context::Fork => builder.fork_with(theirs, |theirs| serve::<T>(theirs, setup))?,
            _ => {
                let task = match std::any::TypeId::of::<T>() == std::any::TypeId::of::<()>() {
                    true => library_task(serve::<()>)?,
                    false => registered(serve::<T>, Form::Code)?,
                };
                let arguments = pack(&(&theirs, &setup))?;
                drop(theirs);
                builder.order(context, &task, &arguments)?
            }
        };
        let bound = parent_death.recv_timeout::<std::result::Result<Address, String>>(PATIENCE);
        let why = match bound {
            Ok(Some(Ok(address))) => return started(process, parent_death, address, &key, self.patience),
            Ok(Some(Err(why))) => why,
            Ok(None) => "it did not report its address".to_owned(),
            Err(error) => error.to_string(),
        };
        let _ = process.kill(); // it may have ended by itself
        let exit = process.join_timeout(PATIENCE).ok().flatten();
        Err(Error::new(ErrorKind::StartFailed, format!("the manager's server did not start: {why}")).with_exit(exit))
    }

    /// Starts the server by the default method.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Manager, freeze_support, tasks};
    ///
    /// # fn main() -> ossature::Result<()> {
    /// freeze_support(tasks![]);
    /// let manager = Manager::builder().start_default()?;
    /// assert_eq!(manager.process().expect("started here").name(), "SyncManager-1");
    /// # Ok(()) }
    /// ```
    pub fn start_default(self) -> Result<Manager> {
        self.start(get_start_method())
    }
}

fn started(
    process: Process,
    parent_death: Connection,
    address: Address,
    key: &AuthKey,
    patience: Duration,
) -> Result<Manager> {
    let client = known::client_with(&address, key, Serializer::Pickle);
    known::remember_client(&client);
    let server = Arc::new(StartedServer { process, parent_death: Lock::new(Some(parent_death)), patience });
    // The callback owns nothing: a forked child that drops its copy of the manager closes what that copy held.
    let (weak_server, weak_client) = (Arc::downgrade(&server), Arc::downgrade(&client));
    let end = Finalize::at_exit(0, move || {
        if let (Some(server), Some(client)) = (weak_server.upgrade(), weak_client.upgrade()) {
            let _ = server.end(&client); // nobody is left to get the error
        }
    });
    Ok(Manager { client, started: Some(Started { server, end }) })
}

impl<T> fmt::Debug for ManagerBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder")
            .field("address", &self.address)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
