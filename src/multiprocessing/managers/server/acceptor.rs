//! The thread that accepts clients. It runs many handshakes at a time, within the limits of a [`Listener`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ossature_sys::eventfd::EventFd;
use ossature_sys::sync::lock::Lock;

use super::super::Exception;
use super::super::access::Rule;
use super::super::served::Outcome;
use super::super::served::Served;
use super::local::Owner;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::connection::{CancelFd, Connection, Listener};
use crate::multiprocessing::logging::debug;
use crate::multiprocessing::shared_memory::SharedMemory;

/// A message from another thread to the loop.
pub(super) enum Notification {
    /// A client that knows the key.
    Connected(Box<Connection>),
    /// A method has returned on a helper thread. The access list is that of its object.
    Returned(Owner, Outcome, Option<Arc<Rule>>),
    /// A helper thread has made an object, or failed to.
    Made(Owner, std::result::Result<Arc<dyn Served>, Exception>, Option<Arc<Rule>>),
    /// A helper thread has opened a block of shared memory for a client, or failed to.
    Opened(Owner, std::result::Result<SharedMemory, Exception>),
    /// A request to end the loop.
    Stop,
}

/// The inbox of the loop.
pub(super) struct Inbox {
    notifications: Lock<VecDeque<Notification>>,
    pub(super) wake: EventFd,
}

impl Inbox {
    pub(super) fn new() -> Result<Self> {
        let wake = EventFd::counter(0).map_err(|errno| Error::os(errno, "cannot make the manager's server"))?;
        Ok(Self { notifications: Lock::default(), wake })
    }

    pub(super) fn push(&self, notification: Notification) {
        self.notifications.lock().push_back(notification);
        let _ = self.wake.try_add(1); // a full counter is readable
    }

    pub(super) fn take(&self) -> VecDeque<Notification> {
        let _ = self.wake.try_take();
        std::mem::take(&mut *self.notifications.lock())
    }
}

/// Accepts clients until a request to stop.
pub(super) fn accept_clients(listener: &Listener, inbox: &Inbox, stop: &CancelFd) {
    while !stop.is_cancelled().unwrap_or(true) {
        match listener.accept_timeout(stop) {
            Ok(Some(connection)) => inbox.push(Notification::Connected(Box::new(connection))),
            Ok(None) => {}
            // A client without the key, or a lack of system resources, for which `accept` has already waited.
            Err(error) if matches!(error.kind(), ErrorKind::Auth | ErrorKind::Closed) => {
                debug!("the manager's server refused a client: {error}");
            }
            Err(error) => {
                debug!("the manager's server cannot accept: {error}");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
