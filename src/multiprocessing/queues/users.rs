//! The participants of the calling thread in the rings of queues. A thread joins the ring of a queue at its first use.
//! It leaves when it ends, or when it drops the last handle of the queue. Another thread's participant stays until that
//! thread ends or joins another ring.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use ossature_sys::fd::BorrowedFd;
use ossature_sys::futex::Limit;
use ossature_sys::sync::ring::{Packets, Parcel, Participant, Received, Ring, RingError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::error::of_queue;
use super::readiness::{Descriptor, Readiness};
use crate::error::Result;
use crate::multiprocessing::transfer::{self, Bounds, Came, Packed, Packet, Trust, memory};

type User = Participant<Arc<Ring>>;

thread_local! {
    /// The participants of this thread, the last used one first.
    static USERS: RefCell<Vec<(Weak<Handled>, User)>> = const { RefCell::new(Vec::new()) };
    /// The buffer for received messages.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The buffer for encoded items. It is empty during a put, so an item that puts another item allocates a second
    /// buffer.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The maximum size of a buffer that is kept.
const KEPT: usize = 1 << 20;

/// A pointer of a handle to the ring.
pub(super) struct Handle(Arc<Handled>);

/// A ring of which this process has a handle.
struct Handled {
    ring: Arc<Ring>,
    /// The channel for items with descriptors.
    packets: Packets,
    /// The descriptor that a get clears, if it exists.
    readiness: Mutex<Weak<Descriptor>>,
}

impl Handle {
    pub(super) fn new(ring: Ring, packets: Packets) -> Self {
        Self(Arc::new(Handled { ring: Arc::new(ring), packets, readiness: Mutex::new(Weak::new()) }))
    }

    pub(super) fn again(&self) -> Self {
        Self(self.0.clone())
    }

    pub(super) fn ring(&self) -> &Ring {
        &self.0.ring
    }

    /// The descriptor of this process, which a handle and its clones share.
    pub(super) fn readiness(&self, also: Option<BorrowedFd<'_>>) -> Result<Readiness> {
        let mut place = self.0.readiness.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(readiness) = place.upgrade().filter(|readiness| readiness.is_of_this_process()) {
            return Ok(Readiness::new(readiness));
        }
        let readiness = Arc::new(Descriptor::of(self.0.ring.clone(), also)?);
        *place = Arc::downgrade(&readiness);
        Ok(Readiness::new(readiness))
    }

    /// Clears the descriptor, if it exists; false if there is an item to get.
    fn is_cleared(&self) -> Result<bool> {
        let readiness = self.0.readiness.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        readiness.map_or(Ok(true), |readiness| readiness.clear())
    }

    fn packets(&self) -> &Packets {
        &self.0.packets
    }
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        memory::ring::serialize(self.ring(), self.packets(), serializer)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        memory::ring::deserialize(deserializer).map(|(ring, packets)| Self::new(ring, packets))
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        // A thread that ends drops its participants itself.
        let _ = USERS.try_with(|users| users.borrow_mut().retain(|(_, user)| !Arc::ptr_eq(user.keeper(), &self.ring)));
    }
}

/// The time for which a call that should not wait still waits for short actions of other threads, such as joining a
/// ring.
const GRACE: Duration = Duration::from_millis(10);

/// Returns the limit for short actions of other threads: `NOW` becomes a grace period.
pub(super) fn with_grace(limit: Limit<'_>) -> Limit<'_> {
    if limit.is_now() { Limit::from(GRACE) } else { limit }
}

/// Runs `body` with this thread's participant of the ring; `None` if the thread could not join within the limit.
fn with<R>(handle: &Handle, limit: Limit<'_>, body: impl FnOnce(&mut User) -> R) -> Result<Option<R>> {
    if USERS.try_with(|_| ()).is_err() {
        // A thread that ends has no place for participants any more: it joins for this one call.
        return Ok(join(handle, limit)?.map(|mut user| body(&mut user)));
    }
    USERS.with(|users| {
        let mut users = users.borrow_mut();
        let is_in_front = |users: &[(_, User)]| matches!(users, [(_, user), ..] if is_of(user, handle));
        if !is_in_front(&users) && !bring_to_front(&mut users, handle, limit)? {
            return Ok(None);
        }
        Ok(users.first_mut().map(|(_, user)| body(user)))
    })
}

fn is_of(user: &User, handle: &Handle) -> bool {
    Arc::ptr_eq(user.keeper(), &handle.0.ring)
}

/// Joins the ring for the calling thread; `None` if that took longer than the limit.
fn join(handle: &Handle, limit: Limit<'_>) -> Result<Option<User>> {
    Participant::new_timeout(handle.0.ring.clone(), with_grace(limit)).map_err(of_queue)
}

/// Moves the participant of this ring to the front; false if the thread could not join within the limit.
#[cold]
fn bring_to_front(users: &mut Vec<(Weak<Handled>, User)>, handle: &Handle, limit: Limit<'_>) -> Result<bool> {
    let at = match users.iter().position(|(_, user)| is_of(user, handle)) {
        Some(at) => at,
        None => {
            // If another thread dropped the last handle of a queue, only the participant is left here.
            users.retain(|(handled, _)| handled.strong_count() > 0);
            let Some(user) = join(handle, limit)? else { return Ok(false) };
            users.push((Arc::downgrade(&handle.0), user));
            users.len() - 1
        }
    };
    users.swap(0, at);
    Ok(true)
}

/// An encoded item for a queue.
pub(super) enum Item {
    /// Bytes that the ring carries.
    Short(Vec<u8>),
    /// An item with descriptors, or longer than the ring's longest message.
    Packet(Packet),
}

/// Encodes an item in the form that the queue of this handle carries.
pub(super) fn encode<T: Serialize>(handle: &Handle, item: &T) -> Result<Item> {
    let mut bytes = SPARE.try_with(Cell::take).unwrap_or_default();
    let descriptors = transfer::pack_behind(&mut bytes, item)?;
    if descriptors.is_none() && bytes.len() <= handle.ring().max_message() {
        return Ok(Item::Short(bytes));
    }
    let packed = Packed { bytes, descriptors: descriptors.unwrap_or_default() };
    Packet::new(packed, Packets::LONGEST, "a queue").map(Item::Packet)
}

impl Item {
    /// Keeps the item's buffer for the next item.
    pub(super) fn recycle(self) {
        if let Item::Short(mut bytes) = self {
            if bytes.capacity() <= KEPT {
                bytes.clear();
                // Nothing to keep it in at a thread's end.
                let _ = SPARE.try_with(|place| place.set(bytes));
            }
        }
    }
}

/// Sends an item within the limit; false if the time ran out.
pub(super) fn send(handle: &Handle, item: &Item, limit: Limit<'_>) -> Result<bool> {
    let send = |user: &mut User| -> std::result::Result<bool, RingError> {
        let packet = match item {
            Item::Short(bytes) => return user.send_timeout(bytes, limit),
            Item::Packet(packet) => packet,
        };
        let descriptors = packet.descriptors();
        let mut send = |limit| user.send_packet(handle.packets(), packet.bytes(), &descriptors, packet.len(), limit);
        // If a call without a wait fails, the reason may be another put in progress: try once more, for a moment.
        Ok(send(limit)? || limit.is_now() && send(with_grace(limit))?)
    };
    Ok(with(handle, limit, send)?.transpose().map_err(of_queue)?.unwrap_or(false))
}

/// Waits until there is room for an item, within the limit; false if the time ran out.
pub(super) fn wait_for_room(handle: &Handle, item: &Item, limit: Limit<'_>) -> Result<bool> {
    let wait = |user: &mut User| -> std::result::Result<bool, RingError> {
        let len = match item {
            Item::Short(bytes) => bytes.len(),
            Item::Packet(packet) => packet.len().min(handle.ring().max_message()),
        };
        let room = user.reserve_timeout(len, limit)?.is_some();
        Ok(room && (matches!(item, Item::Short(_)) || user.wait_for_packets(handle.packets(), limit)?))
    };
    Ok(with(handle, limit, wait)?.transpose().map_err(of_queue)?.unwrap_or(false))
}

/// Receives an item within the limit; `None` if the time ran out.
pub(super) fn receive<T: DeserializeOwned>(handle: &Handle, limit: Limit<'_>, as_task: bool) -> Result<Option<T>> {
    let mut buffer = BUFFER.try_with(RefCell::take).unwrap_or_default();
    if buffer.is_empty() {
        buffer.resize(Packets::BUFFER, 0);
    }
    let mut parcel = None;
    let mut take = |limit| {
        let receive = |user: &mut User| receive_into(user, handle.packets(), &mut buffer, &mut parcel, limit, as_task);
        with(handle, limit, receive)?.transpose().map_err(of_queue)
    };
    let mut received = take(limit)?.flatten();
    if received.is_none() && !handle.is_cleared()? {
        // The item arrived after the last look.
        received = take(Limit::NOW)?.flatten();
    }
    // A `Deserialize` that gets from a queue finds no buffer there, and makes another.
    let item = received.map(|Received { len, .. }| {
        let bytes = buffer.get(..len).unwrap_or_default();
        match parcel.is_none() {
            true => transfer::unpack_alone(bytes, Trust::SameProgram, Bounds::SAME_PROGRAM),
            false => unpack_parcel(bytes, &mut parcel),
        }
    });
    if buffer.len() <= KEPT {
        // Nothing to keep it in at a thread's end.
        let _ = BUFFER.try_with(|place| place.replace(buffer));
    }
    let Some(item) = item else { return Ok(None) };
    if item.is_err() && as_task {
        // The caller has no item that it could finish.
        task_done(handle)?;
    }
    item.map(Some)
}

/// Decodes an item with descriptors. The parcel is passed by reference, because it is a kilobyte long.
#[cold]
fn unpack_parcel<T: DeserializeOwned>(bytes: &[u8], parcel: &mut Option<Parcel>) -> Result<T> {
    let Some(Parcel { descriptors, descriptors_lost }) = parcel.take() else {
        return transfer::unpack_alone(bytes, Trust::SameProgram, Bounds::SAME_PROGRAM);
    };
    Came::open(bytes, descriptors, descriptors_lost)?.unpack(Bounds::SAME_PROGRAM)
}

fn receive_into(
    user: &mut User,
    packets: &Packets,
    buffer: &mut Vec<u8>,
    parcel: &mut Option<Parcel>,
    limit: Limit<'_>,
    as_task: bool,
) -> std::result::Result<Option<Received>, RingError> {
    loop {
        let received = match as_task {
            true => user.recv_packet_task(packets, buffer, parcel, limit),
            false => user.recv_packet(packets, buffer, parcel, limit),
        };
        match received {
            Err(RingError::TooSmall { needed }) => buffer.resize(needed.next_power_of_two(), 0),
            done => return done,
        }
    }
}

/// Reports that a task that this thread has received is finished; false if it has none.
pub(super) fn task_done(handle: &Handle) -> Result<bool> {
    let done = with(handle, Limit::NEVER, Participant::task_done)?;
    Ok(done.transpose().map_err(of_queue)?.unwrap_or(false))
}

/// Receives all items of a closed queue, drops them, and returns their number.
pub(super) fn discard(handle: &Handle) -> Result<usize> {
    let discard_all = |user: &mut User| {
        let (mut count, mut buffer, mut parcel) = (0, vec![0; Packets::BUFFER], None);
        loop {
            // With grace: while another process receives a packet, the next packet cannot be received.
            match receive_into(user, handle.packets(), &mut buffer, &mut parcel, with_grace(Limit::NOW), false) {
                Ok(Some(_)) => parcel = None,
                Ok(None) => return Ok(count),
                Err(RingError::Closed) => {
                    // A process that was killed in a put may have left a packet that no put will ever follow.
                    handle.packets().clear().map_err(RingError::Packets)?;
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
            count += 1;
        }
    };
    Ok(with(handle, Limit::NEVER, discard_all)?.transpose().map_err(of_queue)?.unwrap_or(0))
}
