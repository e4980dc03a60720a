//! The sockets that a service manager passes to this process.

use std::env;
use std::ffi::CStr;

use ossature_sys::process::{ListenFds, ListenFdsError, remove_variable_if_alone};

use super::{Listener, ListenerBuilder};
use crate::error::{Error, ErrorKind, Result};

const PID: &str = "LISTEN_PID";
const COUNT: &str = "LISTEN_FDS";
const NAMES: &str = "LISTEN_FDNAMES";

/// The names of the variables, as C strings. Newer managers add the number of a pidfd.
const VARIABLES: [&CStr; 4] = [c"LISTEN_PID", c"LISTEN_FDS", c"LISTEN_FDNAMES", c"LISTEN_PIDFDID"];

/// systemd's name for a socket that the unit does not name.
const UNNAMED: &str = "unknown";

impl Listener {
    /// Takes the sockets that a service manager opened for this process, without a key:
    /// [`ListenerBuilder::from_environment`].
    ///
    /// # Errors
    /// As for [`ListenerBuilder::from_environment`].
    ///
    /// # Examples
    /// See the example of [`ListenerBuilder::from_environment`].
    pub fn from_environment() -> Result<Vec<(String, Self)>> {
        Self::builder().from_environment()
    }
}

impl ListenerBuilder {
    /// Takes the sockets that a service manager opened for this process, with their names. A name is systemd's
    /// `FileDescriptorName=`, or `"unknown"` if the socket has no name. The list is empty if there are no sockets, or
    /// if they are for another process.
    ///
    /// A service manager (systemd, s6, `systemd-socket-activate`) binds the sockets and describes them in the
    /// environment. `LISTEN_FDS` is the number of sockets, from descriptor 3 on. `LISTEN_PID` is the id of the process
    /// that may take them, and `LISTEN_FDNAMES` has their names. Each becomes a listener as with
    /// [`adopt`](Self::adopt), closed on exec.
    ///
    /// This call uses the environment and the descriptors as they were when the program was loaded. So the call never
    /// takes a socket that the program itself opened; [`ListenFds`] says why this is sound. The sockets are taken once:
    /// a second call returns an empty list. The call removes the variables if this process has only one thread. Beside
    /// other threads the removal would be a data race, so the variables stay. A child that inherits the variables has
    /// another process id than `LISTEN_PID`, and takes nothing. The same holds after
    /// [`reap_orphans`](crate::multiprocessing::process::reap_orphans), which changes the program's process id: call
    /// this first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a variable that is not a number, and for more or
    /// fewer names than descriptors. Also for a descriptor that is not open, does not listen, or was opened by this
    /// program. Nothing is taken then. The same for a socket that [`adopt`](Self::adopt) refuses; all sockets are
    /// closed then. [`ErrorKind::Os`](crate::ErrorKind::Os) with `ENOBUFS`.
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

/// Returns the names: one per descriptor, or none.
fn names(count: usize) -> Result<Vec<String>> {
    let Some(text) = env::var_os(NAMES) else { return Ok(Vec::new()) };
    let text = text.to_string_lossy();
    let names: Vec<String> = text.split(':').map(Into::into).collect();
    if names.len() != count {
        let message = format!("{COUNT} counts {count} sockets, but {NAMES} has {} names: {text:?}", names.len());
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(names)
}

fn unfit(error: ListenFdsError) -> Error {
    let (fd, why) = match error {
        ListenFdsError::NotOpen(fd) => (fd, "is not open"),
        ListenFdsError::NotListening(fd) => (fd, "is not a listening socket"),
        ListenFdsError::OpenedHere(fd) => (fd, "this program opened itself, so the service manager has not passed it"),
        ListenFdsError::Os(errno) => return Error::os(errno, "cannot take the sockets of the service manager"),
        _ => {
            return Error::new(
                ErrorKind::InvalidInput,
                "the sockets of the service manager do not match the environment",
            );
        }
    };
    Error::new(ErrorKind::InvalidInput, format!("{COUNT} in the environment counts descriptor {fd}, which {why}"))
}
