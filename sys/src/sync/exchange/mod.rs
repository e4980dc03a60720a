//! Calls between two processes through shared memory: one request at a time, and its reply.
//!
//! While both sides are awake a call makes no system call. A side that polls in vain for a bounded time sleeps. The
//! server sleeps in `epoll_wait(2)` on its *wake-up*, an eventfd. The client sleeps on a word of the memory, for a
//! bounded time too.
//!
//! **Neither side trusts the other.** The memory contains no pointers, no locks and no references: words are atomics,
//! and bytes are copied out before they are decoded. A length is read once, together with the number of its call, and
//! is checked against the room. So a peer that writes arbitrary bytes causes an error on this exchange and nothing
//! else. The memory cannot shrink. The server neither reads nor writes a descriptor of the client, because the peer
//! could make a write to an eventfd block.
//!
//! **Deaths.** A side that dies, at any instruction, leaves words that the other side understands, and no lock. The
//! exchange does not report the death: a client waits in slices, and between them checks a socket that both sides have.
//! [`Client::was_taken`] returns whether a dead server has started the last request.
//!
//! **Sleeping longer.** After its slices a client waits for a *notification*, usually a message on that socket.
//! [`Client::wait_for_notification`] announces that, and [`Server::answer`] returns whether to send it. A notification
//! may come although the client has seen the reply meanwhile.
//!
//! ```
//! use ossature_sys::sync::exchange::{Client, ROOM, Server, Wake};
//!
//! let (mut server, memory, wakeup) = Server::new()?;
//! let mut client = Client::new(memory, wakeup)?; // usually in another process
//! let mut room = [0; ROOM];
//! client.ask(b"two and two")?;
//! assert_eq!(server.take(&mut room)?, Some(&b"two and two"[..]));
//! assert_eq!(server.answer(b"four")?, Wake::Nobody);
//! assert!(client.wait(ossature_sys::deadline::Deadline::NOW)?);
//! assert_eq!(client.reply(&mut room)?, Some(&b"four"[..]));
//! # Ok::<(), ossature_sys::errno::Errno>(())
//! ```

// For maintainers: `words` has the words, the order of the steps, and why no wake is lost.

pub(crate) mod words;

#[cfg(not(loom))]
pub use self::memory::{Client, ROOM, Server};
pub use self::words::Wake;
use crate::sync::spin::Spin;

/// How long a server polls its words before it sleeps: about as long as polling has paid so far. Most spans are at most
/// ten microseconds; a few are up to four times as long.
///
/// # Examples
/// ```
/// use ossature_sys::sync::exchange::Patience;
///
/// let (patience, mut looks) = (Patience::default(), 0);
/// assert!(patience.until(|| {
///     looks += 1;
///     looks == 3
/// }));
/// assert!(!patience.until(|| false), "not forever");
/// ```
#[derive(Debug, Default)]
pub struct Patience(Spin);

impl Patience {
    /// Polls until `found` returns true, or until further polling is unlikely to pay; returns whether `found` did.
    #[inline]
    pub fn until(&self, found: impl FnMut() -> bool) -> bool {
        self.0.until(found)
    }
}

#[cfg(not(loom))]
mod memory;
