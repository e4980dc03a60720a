//! The participants of the calling thread: a thread joins the ring of a queue at its first use, and stays until it
//! ends, or until it drops the last handle of the queue. Another thread's participant stays until that thread ends or
//! joins another.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ossature_sys::fd::BorrowedFd;
use ossature_sys::futex::Limit;
use ossature_sys::sync::ring::{Participant, Received, Ring, RingError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::readiness::{Descriptor, Readiness};
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
struct Handled {
    ring: Arc<Ring>,
    /// The descriptor that a get clears, if there is one.
    readiness: Mutex<Weak<Descriptor>>,
}

impl Handle {
    pub(super) fn new(ring: Ring) -> Self {
        Self(Arc::new(Handled { ring: Arc::new(ring), readiness: Mutex::new(Weak::new()) }))
    }

    pub(super) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.0.ring
    }

    /// The descriptor of this process, which all handles of one origin share.
    pub(super) fn readiness(&self, also: Option<BorrowedFd<'_>>) -> Result<Readiness> {
        let mut place = self.0.readiness.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(readiness) = place.upgrade().filter(|readiness| readiness.is_of_this_process()) {
            return Ok(Readiness::new(readiness));
        }
        let readiness = Arc::new(Descriptor::of(self.0.ring.clone(), also)?);
        *place = Arc::downgrade(&readiness);
        Ok(Readiness::new(readiness))
    }

    /// Clears the descriptor, if there is one; false if there is something to get.
    fn is_cleared(&self) -> Result<bool> {
        let readiness = self.0.readiness.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        readiness.map_or(Ok(true), |readiness| readiness.clear())
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
        let _ = USERS.try_with(|users| users.borrow_mut().retain(|(_, user)| !Arc::ptr_eq(user.keeper(), &self.ring)));
    }
}

/// How long a call that does not wait waits for others in what takes no time, such as the joining of a thread.
const GRACE: Duration = Duration::from_millis(10);

/// The limit for what takes no time, unless somebody is stopped in it.
pub(super) fn with_grace(limit: Limit<'_>) -> Limit<'_> {
    if limit.is_now() { Limit::from(GRACE) } else { limit }
}

/// Runs `body` with this thread's participant of the ring; `None` if the thread could not join within the limit.
fn with<R>(handle: &Handle, limit: Limit<'_>, body: impl FnOnce(&mut User) -> R) -> Result<Option<R>> {
    let ring = &handle.0.ring;
    let mut body = Some(body);
    let run = |users: &RefCell<Vec<(Weak<Handled>, User)>>| -> Result<Option<R>> {
        let mut users = users.borrow_mut();
        let at = match users.iter().position(|(_, user)| Arc::ptr_eq(user.keeper(), ring)) {
            Some(at) => at,
            None => {
                // Of queues whose last handle another thread dropped, only the participant is left.
                users.retain(|(handled, _)| handled.strong_count() > 0);
                let Some(user) = Participant::new_timeout(ring.clone(), with_grace(limit))? else { return Ok(None) };
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
            let Some(mut user) = Participant::new_timeout(ring.clone(), with_grace(limit))? else { return Ok(None) };
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

/// Waits until there was room for so many bytes, within the limit; false if the time ran out.
pub(super) fn wait_for_room(handle: &Handle, len: usize, limit: Limit<'_>) -> Result<bool> {
    let room = with(handle, limit, |user| user.reserve_timeout(len, limit).map(|record| record.is_some()))?;
    Ok(room.transpose()?.unwrap_or(false))
}

/// Receives an item within the limit; `None` if the time ran out.
pub(super) fn receive<T: DeserializeOwned>(handle: &Handle, limit: Limit<'_>, as_task: bool) -> Result<Option<T>> {
    let mut buffer = BUFFER.try_with(RefCell::take).unwrap_or_default();
    if buffer.is_empty() {
        buffer.resize(4096, 0);
    }
    let mut take = |limit| {
        Ok::<_, Error>(with(handle, limit, |user| receive_into(user, &mut buffer, limit, as_task))?.transpose()?)
    };
    let mut received = take(limit)?.flatten();
    if received.is_none() && !handle.is_cleared()? {
        // It came behind the last look.
        received = take(Limit::NOW)?.flatten();
    }
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
