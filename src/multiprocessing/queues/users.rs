//! The participants of the calling thread: a thread joins the ring of a queue at its first use, and stays until it
//! ends, or until it drops the last handle of the queue. Another thread's participant stays until that thread ends or
//! joins another.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use ossature_sys::futex::Limit;
use ossature_sys::sync::ring::{Participant, Received, Ring, RingError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::{self, Bounds, Descriptors, Packed, Trust, memory};

type User = Participant<Arc<Ring>>;

thread_local! {
    /// The participants of this thread, the last used in front.
    static USERS: RefCell<Vec<(Weak<Handled>, User)>> = const { RefCell::new(Vec::new()) };
    /// Where messages are received.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that grew beyond this is not kept.
const KEPT: usize = 1 << 20;

/// A handle's pointer to the ring.
pub(super) struct Handle(Arc<Handled>);

/// A ring while this process has a handle of it.
struct Handled(Arc<Ring>);

impl Handle {
    pub(super) fn new(ring: Ring) -> Self {
        Self(Arc::new(Handled(Arc::new(ring))))
    }

    pub(super) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.0.0
    }
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        memory::ring::serialize(self.ring(), serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        memory::ring::deserialize(deserializer).map(Self::new)
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        // A thread that ends drops its participants itself.
        let _ = USERS.try_with(|users| users.borrow_mut().retain(|(_, user)| !Arc::ptr_eq(user.keeper(), &self.0)));
    }
}

/// Runs `body` with this thread's participant of the ring; `None` if the thread could not join within the limit.
fn with<R>(handle: &Handle, limit: Limit<'_>, body: impl FnOnce(&mut User) -> R) -> Result<Option<R>> {
    let ring = &handle.0.0;
    let mut body = Some(body);
    let run = |users: &RefCell<Vec<(Weak<Handled>, User)>>| -> Result<Option<R>> {
        let mut users = users.borrow_mut();
        let at = match users.iter().position(|(_, user)| Arc::ptr_eq(user.keeper(), ring)) {
            Some(at) => at,
            None => {
                // Of queues whose last handle another thread dropped, only the participant is left.
                users.retain(|(handled, _)| handled.strong_count() > 0);
                let Some(user) = Participant::new_timeout(ring.clone(), limit)? else { return Ok(None) };
                users.push((Arc::downgrade(&handle.0), user));
                users.len() - 1
            }
        };
        users.swap(0, at);
        Ok(users.first_mut().zip(body.take()).map(|((_, user), body)| body(user)))
    };
    match USERS.try_with(run) {
        Ok(done) => done,
        // A thread that ends has no place for participants any more: it joins for this one call.
        Err(_) => {
            let Some(mut user) = Participant::new_timeout(ring.clone(), limit)? else { return Ok(None) };
            Ok(body.take().map(|body| body(&mut user)))
        }
    }
}

/// The item as bytes.
pub(super) fn encode<T: Serialize>(item: &T) -> Result<Vec<u8>> {
    let packed = transfer::pack(item)?;
    if !packed.descriptors.is_empty() {
        let message = format!(
            "{} has an open file or shared memory in it, which a queue cannot carry: send it over a connection, or give it \
             to the process as an argument",
            std::any::type_name::<T>()
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(packed.bytes)
}

/// Sends bytes within the limit; false if the time ran out.
pub(super) fn send(handle: &Handle, bytes: &[u8], limit: Limit<'_>) -> Result<bool> {
    let sent = with(handle, limit, |user| user.send_timeout(bytes, limit))?;
    Ok(sent.transpose()?.unwrap_or(false))
}

/// Receives an item within the limit; `None` if the time ran out.
pub(super) fn receive<T: DeserializeOwned>(handle: &Handle, limit: Limit<'_>, as_task: bool) -> Result<Option<T>> {
    let mut buffer = BUFFER.try_with(RefCell::take).unwrap_or_default();
    if buffer.is_empty() {
        buffer.resize(4096, 0);
    }
    let received = with(handle, limit, |user| receive_into(user, &mut buffer, limit, as_task))?;
    let received = received.transpose()?.flatten();
    let bytes = received.map(|Received { len, .. }| buffer.get(..len).unwrap_or_default().to_vec());
    if buffer.len() <= KEPT {
        // Nothing to keep it in at a thread's end.
        let _ = BUFFER.try_with(|place| place.replace(buffer));
    }
    let Some(bytes) = bytes else { return Ok(None) };
    let packed = Packed { bytes, descriptors: Descriptors::new() };
    let item = transfer::unpack(packed, Trust::SameProgram, Bounds::OF_KIN);
    if item.is_err() && as_task {
        // The caller has no item that it could finish.
        task_done(handle)?;
    }
    item.map(Some)
}

fn receive_into(
    user: &mut User,
    buffer: &mut Vec<u8>,
    limit: Limit<'_>,
    as_task: bool,
) -> std::result::Result<Option<Received>, RingError> {
    loop {
        let received = match as_task {
            true => user.recv_task_timeout(buffer, limit),
            false => user.recv_timeout(buffer, limit),
        };
        match received {
            Err(RingError::TooSmall { needed }) => buffer.resize(needed.next_power_of_two(), 0),
            done => return done,
        }
    }
}

/// Says that a task that this thread has received is done; false if it has none.
pub(super) fn task_done(handle: &Handle) -> Result<bool> {
    let done = with(handle, Limit::NEVER, Participant::task_done)?;
    Ok(done.transpose()?.unwrap_or(false))
}

/// Receives all messages and drops them, and says how many there were.
pub(super) fn discard(handle: &Handle) -> Result<usize> {
    let discard_all = |user: &mut User| {
        let mut count = 0;
        loop {
            match user.read_timeout(Limit::NOW) {
                Ok(Some(message)) => drop(message),
                Ok(None) | Err(RingError::Closed) => return Ok(count),
                Err(error) => return Err(error),
            }
            count += 1;
        }
    };
    Ok(with(handle, Limit::NEVER, discard_all)?.transpose()?.unwrap_or(0))
}
