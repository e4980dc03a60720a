//! The connection to the server: its addresses, which of them accepts writes, and how long an outage may last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ossature::multiprocessing::pool::engine::error;
use ossature::{Error, ErrorKind, Result};
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::engine::{Fault, Outcome};
use crate::scripts::Scripts;
use crate::streams::{Streams, fault};

/// The time limit of one step of a connection attempt.
const ATTEMPT: Duration = Duration::from_secs(3);
/// The time limit of such a step when the time is almost over.
const SHORTEST: Duration = Duration::from_millis(100);
/// The time limit of a reply to a request that does not wait.
const ANSWER: Duration = Duration::from_secs(10);
/// The first and the longest pause between attempts.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// The addresses of a pool's server.
#[derive(Clone)]
pub(crate) struct Link {
    places: Places,
    name: String,
    scripts: Arc<Scripts>,
}

#[derive(Clone)]
enum Places {
    /// Servers, of which one accepts writes.
    Servers(Vec<ConnectionInfo>),
    /// Sentinels that know the server of the given name.
    Sentinels(Vec<ConnectionInfo>, String),
}

/// Formats an address without its password.
fn shown(info: &ConnectionInfo) -> String {
    match info.addr() {
        ConnectionAddr::Unix(path) => format!("unix:{}", path.display()),
        ConnectionAddr::TcpTls { host, port, .. } => format!("rediss://{host}:{port}"),
        other => format!("redis://{other}"),
    }
}

impl Link {
    /// Parses the addresses in `url`, separated by commas, for the pool or queue `name`.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(crate) fn new(url: &str, name: &str) -> Result<Self> {
        let invalid = |text: String| error(ErrorKind::InvalidInput, text);
        if name.is_empty() || name.len() > 200 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
        {
            let text =
                format!("{name:?} cannot name a pool: use up to 200 letters, digits, dots, dashes and underscores");
            return Err(invalid(text));
        }
        let (url, sentinels) = match url.split_once("://") {
            Some((scheme @ ("sentinel" | "sentinels"), rest)) => {
                let (hosts, master) =
                    rest.rsplit_once('/').filter(|(_, master)| !master.is_empty()).ok_or_else(|| {
                        invalid(
                            "a Sentinel address must end in the name of the server: sentinel://host:26379/NAME".into(),
                        )
                    })?;
                let each = if scheme == "sentinel" { "redis" } else { "rediss" };
                let hosts: Vec<_> = hosts.split(',').map(|host| format!("{each}://{host}")).collect();
                (hosts.join(","), Some(master.to_owned()))
            }
            _ => (url.to_owned(), None),
        };
        let places = url.split(',').map(|one| {
            if one.starts_with("rediss://") && !cfg!(feature = "tls") {
                return Err(error(
                    ErrorKind::Unsupported,
                    "this program has no TLS: build ossature-redis with the feature `tls`".into(),
                ));
            }
            one.into_connection_info().map_err(|why| {
                // The text may have a password.
                let host = one.rsplit('@').next().unwrap_or_default();
                invalid(format!("{host:?} is not an address like redis://host:6379/ or unix:///path: {why}"))
            })
        });
        let places = places.collect::<Result<Vec<_>>>()?;
        #[cfg(feature = "tls")]
        let _ = rustls::crypto::ring::default_provider().install_default(); // another one is as good
        let places = match sentinels {
            None => Places::Servers(places),
            Some(master) => Places::Sentinels(places, master),
        };
        Ok(Self { places, name: name.to_owned(), scripts: Arc::new(Scripts::new()) })
    }

    /// Formats the addresses for errors.
    pub(crate) fn shown(&self) -> String {
        let (places, of) = match &self.places {
            Places::Servers(places) => (places, String::new()),
            Places::Sentinels(places, master) => (places, format!(" ({master} of Sentinels)")),
        };
        places.iter().map(shown).collect::<Vec<_>>().join(",") + &of
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Makes one attempt at each address.
    pub(crate) fn open(&self) -> Outcome<Streams> {
        self.attempt(ATTEMPT)
    }

    /// Makes one attempt at each address, with `limit` for each step.
    fn attempt(&self, limit: Duration) -> Outcome<Streams> {
        let mut last = Fault::Gone("the URL has no address".into());
        let found;
        let places = match &self.places {
            Places::Servers(places) => places,
            Places::Sentinels(places, master) => {
                found = self.ask_sentinels(places, master, limit)?;
                &found
            }
        };
        for place in places {
            match self.open_one(place, limit) {
                Ok(streams) => return Ok(streams),
                Err(fault) => last = worse(last, fault),
            }
        }
        Err(last)
    }

    fn open_one(&self, place: &ConnectionInfo, limit: Duration) -> Outcome<Streams> {
        let named = |error| match fault(&error) {
            Fault::Gone(text) => Fault::Gone(format!("{}: {text}", shown(place))),
            Fault::Auth(text) => Fault::Auth(format!("{}: {text}", shown(place))),
            Fault::Full(text) => Fault::Full(text),
            Fault::Refused(text) => Fault::Refused(format!("{}: {text}", shown(place))),
        };
        let client = redis::Client::open(place.clone()).map_err(named)?;
        let connection = client.get_connection_with_timeout(limit).map_err(named)?;
        connection.set_read_timeout(Some(ANSWER)).map_err(named)?;
        connection.set_write_timeout(Some(ANSWER)).map_err(named)?;
        let mut streams = Streams::new(connection, self.scripts.clone(), &self.name);
        if !streams.is_primary()? {
            return Err(Fault::Gone(format!("{} is a replica, which accepts no writes", shown(place))));
        }
        if let Some(node) = streams.other_node()? {
            let text = format!(
                "{} is a cluster node without these keys: give the address of the node that has the keys, {node}, and those \
                 of its replicas",
                shown(place)
            );
            // If there are several addresses, another one may be that of the node, which is unavailable for now.
            let alone = matches!(&self.places, Places::Servers(places) if places.len() == 1);
            return Err(if alone { Fault::Refused(text) } else { Fault::Gone(text) });
        }
        Ok(streams)
    }

    /// Returns the address that the first Sentinel to answer gives, with the user and the database in the Sentinel's
    /// URL.
    fn ask_sentinels(&self, places: &[ConnectionInfo], master: &str, limit: Duration) -> Outcome<Vec<ConnectionInfo>> {
        let mut last = Fault::Gone("the URL has no Sentinel".into());
        for place in places {
            let asked = redis::Client::open(place.clone())
                .and_then(|client| client.get_connection_with_timeout(limit))
                .and_then(|mut connection| {
                    connection.set_read_timeout(Some(limit))?;
                    let mut ask = redis::cmd("SENTINEL");
                    ask.arg("GET-MASTER-ADDR-BY-NAME").arg(master).query::<Option<(String, u16)>>(&mut connection)
                });
            match asked {
                Ok(Some((host, port))) => {
                    let addr = match place.addr() {
                        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
                        }
                        _ => ConnectionAddr::Tcp(host, port),
                    };
                    return Ok(vec![place.clone().set_addr(addr)]);
                }
                Ok(None) => last = Fault::Refused(format!("{} knows no server {master}", shown(place))),
                Err(error) => last = worse(last, Fault::Gone(format!("{}: {error}", shown(place)))),
            }
        }
        Err(last)
    }

    /// Attempts until one succeeds, the time is over, or `is_over`.
    pub(crate) fn open_within(&self, limit: Duration, is_over: impl Fn() -> bool) -> Outcome<Streams> {
        let until = Instant::now() + limit;
        let mut pause = PAUSES.0;
        loop {
            let left = until.saturating_duration_since(Instant::now()).clamp(SHORTEST, ATTEMPT);
            let fault = match self.attempt(left) {
                Ok(streams) => return Ok(streams),
                Err(fault) => fault,
            };
            // A server that loads its data may ask for a password that it does not know yet; one that is there does
            // not.
            if !matches!(fault, Fault::Gone(_)) || is_over() || Instant::now() + pause >= until {
                return Err(fault);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// The error for a caller that stops waiting.
    pub(crate) fn error(&self, fault: &Fault) -> Error {
        let (name, place) = (&self.name, self.shown());
        match fault {
            Fault::Gone(why) => error(
                ErrorKind::Closed,
                format!("{name} at {place} cannot be reached: {why}; check that the server runs, and the address"),
            ),
            Fault::Auth(why) => error(
                ErrorKind::Auth,
                format!(
                    "cannot log in to {name} at {place}: {why}; check the user and the password in the address, \
                     and the name of the host in the server's certificate"
                ),
            ),
            Fault::Full(why) => error(
                ErrorKind::Full,
                format!("the server at {place} is out of memory for {name}: {why}; raise maxmemory"),
            ),
            Fault::Refused(why) => error(
                ErrorKind::Unsupported,
                format!("the server at {place} refuses what {name} needs (Redis 7 or Valkey, with scripts): {why}"),
            ),
        }
    }
}

/// Returns the more informative fault.
fn worse(one: Fault, other: Fault) -> Fault {
    match (&one, &other) {
        (Fault::Auth(_) | Fault::Refused(_), Fault::Gone(_)) => one,
        _ => other,
    }
}
