//! The sockets with which a service manager starts this process.

use std::env;
use std::ffi::CStr;

use ossature_sys::process::{ListenFds, ListenFdsError, remove_variable_if_alone};

use super::{Listener, ListenerBuilder};
use crate::error::{Error, ErrorKind, Result};

const PID: &str = "LISTEN_PID";
const COUNT: &str = "LISTEN_FDS";
const NAMES: &str = "LISTEN_FDNAMES";

/// What they are called in C, and the number of the pidfd that newer managers add.
const VARIABLES: [&CStr; 4] = [c"LISTEN_PID", c"LISTEN_FDS", c"LISTEN_FDNAMES", c"LISTEN_PIDFDID"];

/// What systemd calls a socket that its unit does not name.
const UNNAMED: &str = "unknown";

impl Listener {
    /// Takes the sockets that a service manager opened for this process, without a key:
    /// [`ListenerBuilder::from_environment`].
    ///
    /// # Errors
    /// As for [`ListenerBuilder::from_environment`].
    pub fn from_environment() -> Result<Vec<(String, Self)>> {
        Self::builder().from_environment()
    }
}

impl ListenerBuilder {
    /// Takes the sockets that a service manager opened for this process, with their names: systemd's `FileDescriptorName=`, and
    /// `"unknown"` where none was given. Empty when there are none, or when they were meant for another process.
    ///
    /// A manager of services (systemd, s6, `systemd-socket-activate`) binds the sockets and says by the environment which
    /// descriptors they are: `LISTEN_FDS` is their number, from descriptor 3 on, `LISTEN_PID` the process that they are for, and
    /// `LISTEN_FDNAMES` their names. Each becomes a listener as [`adopt`](Self::adopt) makes one, closed on exec.
    ///
    /// What counts is the environment and the descriptors of the moment at which this program was loaded, so no socket that the
    /// program itself opened is ever taken: [`ListenFds`] says why this is sound. They are taken once: a second call answers with
    /// nothing. The variables are removed if this process has one thread only. Beside other threads that would be a data race, so
    /// they stay; a child that inherits them has another number than `LISTEN_PID`, and takes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for numbers that are none, for more or fewer names than
    /// descriptors, and for a descriptor that is not open, does not listen, or was opened by this program. Nothing is taken then.
    /// The same for a socket that [`adopt`](Self::adopt) refuses; all are closed then. [`ErrorKind::Os`](crate::ErrorKind::Os) with
    /// `ENOBUFS`.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::Listener;
    ///
    /// let mut sockets = Listener::from_environment()?;
    /// let listener = match sockets.pop() {
    ///     Some((name, listener)) => {
    ///         eprintln!("started for {name}");
    ///         listener
    ///     }
    ///     None => Listener::bind(("localhost", 0))?, // started by hand
    /// };
    /// # drop(listener);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    #[doc(alias = "sd_listen_fds")]
    #[doc(alias = "sd_listen_fds_with_names")]
    #[doc(alias = "LISTEN_FDS")]
    pub fn from_environment(self) -> Result<Vec<(String, Listener)>> {
        if number::<u32>(PID)? != Some(std::process::id()) {
            return Ok(Vec::new());
        }
        let Some(count) = number::<usize>(COUNT)?.filter(|count| *count > 0) else { return Ok(Vec::new()) };
        let names = names(count)?;
        let sockets = ListenFds::take().map_err(unfit)?;
        for variable in VARIABLES {
            let _ = remove_variable_if_alone(variable); // they stay then, and harm nobody
        }
        let mut names = names.into_iter();
        let mut next_name = || names.next().unwrap_or_else(|| UNNAMED.into());
        sockets.map(|socket| Ok((next_name(), self.clone().adopt(socket)?))).collect()
    }
}

fn number<N: std::str::FromStr>(variable: &str) -> Result<Option<N>> {
    let Some(text) = env::var_os(variable) else { return Ok(None) };
    let number = text.to_str().and_then(|text| text.parse().ok());
    let wrong = || Error::new(ErrorKind::InvalidInput, format!("{variable} is {text:?}, which is not a number"));
    number.ok_or_else(wrong).map(Some)
}

/// As many names as descriptors, or none.
fn names(count: usize) -> Result<Vec<String>> {
    let Some(text) = env::var_os(NAMES) else { return Ok(Vec::new()) };
    let text = text.to_string_lossy();
    let names: Vec<String> = text.split(':').map(Into::into).collect();
    if names.len() != count {
        let message = format!("{COUNT} announces {count} sockets, and {NAMES} has {} names: {text:?}", names.len());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(names)
}

fn unfit(error: ListenFdsError) -> Error {
    let (fd, why) = match error {
        ListenFdsError::NotOpen(fd) => (fd, "is not open"),
        ListenFdsError::NotListening(fd) => (fd, "is not a socket that listens"),
        ListenFdsError::OpenedHere(fd) => (fd, "this program opened, and no service manager"),
        ListenFdsError::Os(errno) => return Error::os(errno, "the sockets of the service manager"),
        _ => return Error::new(ErrorKind::InvalidInput, "the sockets of the service manager do not fit"),
    };
    Error::new(ErrorKind::InvalidInput, format!("{COUNT} in the environment counts descriptor {fd}, which {why}"))
}
