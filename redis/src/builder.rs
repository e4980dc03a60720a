//! The settings of a pool before it connects.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ossature::multiprocessing::pool::engine::{self, Wants};
use ossature::{ErrorKind, Result};

use crate::engine::{Client, Engine, Fault};
use crate::hub::{Hub, Settings};
use crate::job::Manner;
use crate::link::Link;
use crate::pool::Pool;

/// The silence after which a host counts as lost; a tenth of it is the time between two heartbeats.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// The number of leases for which the records of a client stay after its last request: a minute, by default.
pub(crate) const LEASES: u32 = 6;

/// The settings of a pool before it connects: its reaction to failures, and the options of its calls.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use ossature_redis::Pool;
///
/// # fn main() -> ossature::Result<()> {
/// let pool = Pool::builder()
///     .connect_timeout(Duration::from_secs(2))
///     .outage(Duration::from_secs(300)) // the server may be moved meanwhile
///     .task_timeout(Duration::from_secs(3600))
///     .retries(2)
///     .accept("render-3")? // workers say the same
///     .connect("redis://broker/", "render")?;
/// # drop(pool);
/// # Ok(()) }
/// ```
#[must_use = "the settings do nothing until `connect`"]
#[derive(Clone, Debug)]
pub struct PoolBuilder {
    connect: Duration,
    outage: Duration,
    lease: Duration,
    start: Duration,
    limit: Option<Duration>,
    retries: u32,
    label: Option<String>,
}

impl Pool {
    /// Connects to the pool `name` at `url`: `redis://host/`, `rediss://user:password@host:6380/` with TLS or
    /// `unix:///path`. These may be several, separated by commas, one of which accepts writes. For Sentinels the URL is
    /// `sentinel://host:26379,host2:26379/server`.
    ///
    /// Returns once the server has answered. Workers may come later.
    ///
    /// # Errors
    /// As [`PoolBuilder::connect`].
    pub fn connect(url: &str, name: &str) -> Result<Self> {
        Self::builder().connect(url, name)
    }

    /// Returns the settings of a pool, to change before the connection.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }
}

impl PoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            connect: Duration::from_secs(5),
            outage: Duration::from_secs(60),
            lease: LEASE,
            start: Duration::from_secs(10),
            limit: None,
            retries: 0,
            label: None,
        }
    }

    /// Sets how long [`connect`](Self::connect) attempts to reach the server. The default is five seconds.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect = limit;
        self
    }

    /// Sets how long calls wait while the server is unavailable; after that they end as [`Closed`](ErrorKind::Closed).
    /// The default is a minute. A shorter outage delays calls and ends none.
    pub fn outage(mut self, limit: Duration) -> Self {
        self.outage = limit;
        self
    }

    /// Sets the silence after which a host counts as lost. The default is ten seconds. All pools and workers of one
    /// name must use the same value.
    ///
    /// A worker sends a heartbeat ten times as often.
    pub fn lease(mut self, limit: Duration) -> Self {
        self.lease = limit;
        self
    }

    /// Sets how long calls wait while all workers are other builds of the program; after that they end as
    /// [`Incompatible`](ErrorKind::Incompatible). The default is ten seconds. Without any worker calls wait.
    pub fn start_timeout(mut self, limit: Duration) -> Self {
        self.start = limit;
        self
    }

    /// Sets the time limit of a call, after which its process is killed. The call then ends as
    /// [`WorkerDied`](ErrorKind::WorkerDied).
    ///
    /// Each call is then its own chunk.
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the maximum number of times that a call runs again, after its process died while it ran or its host was
    /// lost. The default is 0.
    pub fn retries(mut self, count: u32) -> Self {
        self.retries = count;
        self
    }

    /// Accepts workers of any build that accept the same version.
    ///
    /// The caller guarantees that the tasks of this program and of theirs have the same names, arguments and values.
    /// Otherwise a worker runs only the calls of its own build: those of the same file.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for other texts than up to 100 letters, digits, dots, dashes and
    /// underscores.
    pub fn accept(mut self, version: &str) -> Result<Self> {
        self.label = Some(version_label(version)?);
        Ok(self)
    }

    /// Connects to the pool `name` at `url`: see [`Pool::connect`].
    ///
    /// # Errors
    /// * [`Closed`](ErrorKind::Closed) when no server answers within [`connect_timeout`](Self::connect_timeout).
    /// * [`Auth`](ErrorKind::Auth) for a wrong user or password.
    /// * [`Unsupported`](ErrorKind::Unsupported) for a server that is not Redis 7 or Valkey, or that forbids commands
    ///   that the pool uses. Also for `rediss:` in a program without the feature `tls`, and for a program without a
    ///   build id that accepts no version.
    /// * [`InvalidInput`](ErrorKind::InvalidInput) for a text that is not an address or not a name.
    ///
    /// Each names the address.
    pub fn connect(self, url: &str, name: &str) -> Result<Pool> {
        let link = Link::new(url, name)?;
        let label = match self.label {
            Some(label) => label,
            None => build_label()?,
        };
        let until = Instant::now() + self.connect;
        let failed = |fault: Fault| link.error(&fault);
        let mut engine = link.open_within(self.connect, || false).map_err(failed)?;
        let left = || until.saturating_duration_since(Instant::now());
        let sender = link.open_within(left(), || false).map_err(failed)?;
        let me = Client { id: unique(), label, ttl: self.lease * LEASES };
        // Tells at once whether this user may do what a pool does.
        let hosts = loop {
            match engine.tick(&me, self.lease) {
                Ok(hosts) => break hosts,
                Err(Fault::Gone(_)) if !left().is_zero() => {
                    engine = link.open_within(left(), || false).map_err(failed)?
                }
                Err(fault) => return Err(failed(fault)),
            }
        };
        let settings = Settings { outage: self.outage, lease: self.lease, start: self.start };
        let hub = Arc::new(Hub::new(link, me, settings, sender, engine));
        hub.state().hosts = hosts;
        let manner = Manner { wants: Wants::Value, limit: self.limit, retries: self.retries, chunksize: None };
        Pool::start(hub, manner)
    }
}

/// The label of programs that accept a version.
pub(crate) fn version_label(version: &str) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if version.is_empty() || version.len() > 100 || !version.chars().all(is_plain) {
        let text = format!("{version:?} is not a version: use up to 100 letters, digits, dots, dashes and underscores");
        return Err(engine::error(ErrorKind::InvalidInput, text));
    }
    Ok(format!("v:{version}"))
}

/// The label of this build.
///
/// # Errors
/// `Unsupported` when the linker has written no build id.
pub(crate) fn build_label() -> Result<String> {
    let id = engine::build_id()?.ok_or_else(|| {
        let text = "this program has no build id, so workers cannot tell it from another build: link with \
                    `-C link-arg=-Wl,--build-id`, or have both sides `accept` a version";
        engine::error(ErrorKind::Unsupported, text.into())
    })?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A unique name, of the host, the process and the time.
pub(crate) fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let count = COUNT.fetch_add(1, Relaxed); // a number, which orders nothing else
    format!("{}-{}-{now:x}-{count}", host(), std::process::id())
}

/// The name of this machine.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| c.is_ascii_graphic() && !":/~{}".contains(*c)).take(64).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_could_be_mistaken_are_refused() {
        assert_eq!(version_label("render-3.1").unwrap(), "v:render-3.1");
        for wrong in ["", "a b", "a,b", "a:b", &"x".repeat(101)] {
            assert_eq!(version_label(wrong).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong:?}");
        }
        assert_ne!(unique(), unique());
    }
}
