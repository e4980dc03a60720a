//! Access lists: which clients may do what with the objects of each type of a server.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use super::Exception;
use super::server::usage::Who;

/// A set of clients that know the key of a server.
///
/// # Examples
/// See the example of [`Access`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Clients {
    /// Every client.
    #[default]
    All,
    /// No client.
    Nobody,
    /// Clients over a Unix socket that had one of these user ids when they connected. The kernel reports the user id. A
    /// client over TCP has no user id, and is refused.
    Users(Vec<u32>),
    /// Clients over TCP that connect from one of these addresses. A client over a Unix socket is refused.
    Hosts(Vec<IpAddr>),
}

impl Clients {
    pub(super) fn has(&self, who: Who) -> bool {
        match (self, who) {
            (Self::All, _) => true,
            (Self::Users(users), Who::Process { user, .. }) => users.contains(&user),
            (Self::Hosts(hosts), Who::Host(host)) => hosts.iter().any(|known| known.to_canonical() == host),
            (Self::Nobody | Self::Users(_) | Self::Hosts(_), _) => false,
        }
    }
}

/// The access list of a type: which clients may make objects, which clients may call which methods, and how many
/// objects there may be. [`Registry::allow`](super::Registry::allow) sets it.
///
/// A client that may not do something gets an error of the kind [`Remote`](crate::ErrorKind::Remote) that names the
/// rule; in Python a `RemoteError`. Such a client may not take a reference to an object either. A call that is refused
/// does not reach the object.
///
/// Differs from Python, where `register(exposed=...)` lists methods and every client may call them.
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::managers::{self, Access, Clients, Registry, Types};
/// use ossature::multiprocessing::{Context, Manager, Tasks, freeze_support, tasks};
///
/// /// Objects of the built-in types, but dicts can only be read, and there are ten lists at most.
/// struct Careful;
///
/// impl Types for Careful {
///     fn register(registry: &mut Registry) {
///         let own = Clients::Users(vec![ossature::sys::process::effective_user()]);
///         registry
///             .allow("dict", Access::new().methods(["__getitem__", "get", "keys"]))
///             .allow("list", Access::new().objects(10).create(own.clone()).call(Clients::All))
///             .control(own);
///     }
/// }
///
/// static TASKS: Tasks = tasks![managers::serve::<Careful>];
///
/// fn main() -> ossature::Result<()> {
///     freeze_support(TASKS);
///     let manager = Manager::builder().types::<Careful>().start(Context::Spawn)?;
///     let ages = manager.create("dict", ([("Ann", 41)],))?;
///     assert_eq!(ages.call::<i64>("get", ("Ann",))?, 41);
///     let error = ages.call::<()>("clear", ()).unwrap_err();
///     assert!(error.to_string().contains("method 'clear'"), "{error}");
///     assert_eq!(manager.list([1])?.len()?, 1);
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[doc(alias = "exposed")]
pub struct Access {
    pub(super) methods: Option<Vec<String>>,
    create: Clients,
    call: Clients,
    objects: usize,
}

impl Default for Access {
    fn default() -> Self {
        Self::new()
    }
}

impl Access {
    /// Allows everything.
    pub fn new() -> Self {
        Self { methods: None, create: Clients::All, call: Clients::All, objects: usize::MAX }
    }

    /// Allows these methods only. `#GETVALUE` (the copy that [`Proxy::get_value`](super::Proxy::get_value) returns),
    /// `__repr__` and `__str__` count as methods too.
    pub fn methods<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.methods = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Allows these clients to make objects. The default is [`Clients::All`].
    pub fn create(mut self, clients: Clients) -> Self {
        self.create = clients;
        self
    }

    /// Allows these clients to call methods and to refer to objects. The default is [`Clients::All`]. Objects that a
    /// method hands out may be used by the same clients, if their own type has no access list.
    pub fn call(mut self, clients: Clients) -> Self {
        self.call = clients;
        self
    }

    /// Allows at most `most` objects of the type at a time. Without this call the limit is
    /// [`Limits::objects`](super::Limits::objects).
    pub fn objects(mut self, most: usize) -> Self {
        self.objects = most;
        self
    }
}

/// The methods that every object has, whatever it exposes.
pub(super) const COMMON: [&str; 3] = ["#GETVALUE", "__repr__", "__str__"];

/// An access list in use.
#[derive(Debug)]
pub(super) struct Rule {
    name: String,
    access: Access,
    /// The number of objects under this rule.
    count: AtomicUsize,
}

impl Rule {
    pub(super) fn new(name: &str, access: Access) -> Arc<Self> {
        Arc::new(Self { name: name.to_owned(), access, count: AtomicUsize::new(0) })
    }

    /// Returns the rule for an object that an object under this rule hands out, if its type has no access list.
    pub(super) fn of_handed(&self) -> Option<Arc<Self>> {
        let call = self.access.call.clone();
        (call != Clients::All).then(|| Self::new(&self.name, Access::new().call(call)))
    }

    /// Checks that a client may make an object.
    pub(super) fn check_create(&self, who: Who) -> Result<(), Exception> {
        if self.access.create.has(who) { Ok(()) } else { Err(self.refused(who, "make an object")) }
    }

    /// Checks that a client may refer to an object and call its methods.
    pub(super) fn check_call(&self, who: Who) -> Result<(), Exception> {
        if self.access.call.has(who) { Ok(()) } else { Err(self.refused(who, "use an object")) }
    }

    /// Whether the access list allows a method.
    pub(super) fn has(&self, method: &str) -> bool {
        self.access.methods.as_ref().is_none_or(|methods| methods.iter().any(|known| known == method))
    }

    fn refused(&self, who: Who, what: &str) -> Exception {
        let Self { name, .. } = self;
        Exception::new("PermissionError", format!("the access list of {name} does not let {who} {what}"))
    }

    /// Counts an object until the returned value is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Entered, Exception> {
        let (Self { name, .. }, most) = (&**self, self.access.objects);
        // Only the loop of the server counts.
        if self.count.load(Relaxed) >= most {
            let message = format!("cannot make an object of type {name}: its access list allows at most {most}");
            return Err(Exception::new("MemoryError", message));
        }
        self.count.fetch_add(1, Relaxed);
        Ok(Entered(self.clone()))
    }
}

/// An object under a rule.
#[derive(Debug)]
pub(super) struct Entered(Arc<Rule>);

impl Entered {
    pub(super) fn rule(&self) -> &Arc<Rule> {
        &self.0
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_apart_by_what_the_kernel_says() {
        let ann = Who::Process { process: 7, user: 1000 };
        let far = Who::Host("192.0.2.1".parse().unwrap());
        let users = Clients::Users(vec![0, 1000]);
        let hosts = Clients::Hosts(vec!["::ffff:192.0.2.1".parse().unwrap()]);
        let table = [ann, far, Who::Unknown]
            .map(|who| [&Clients::All, &Clients::Nobody, &users, &hosts].map(|clients| clients.has(who)));
        assert_eq!(table[0], [true, false, true, false]);
        assert_eq!(table[1], [true, false, false, true]);
        assert_eq!(table[2], [true, false, false, false]);
    }
}
