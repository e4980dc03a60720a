//! What clients may take of a server.

use std::time::Duration;

/// The bounds that a server sets to its clients, whether they know the key or not.
///
/// A client beyond a bound of its own gets an error; the others notice nothing. Over a Unix socket one client is one
/// process, by the kernel's word. Over TCP one client is one host. The number of connections and sessions of a client
/// does not matter. [`Access`](super::Access) says what clients may do with which types.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::managers::Limits;
///
/// let limits = Limits { objects: 1000, ..Limits::default() };
/// assert_eq!(limits.handshakes, 128);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// How many clients may be at their handshake at a time: 128.
    pub handshakes: usize,
    /// How long a handshake may take: ten seconds. A client that has proved to know the key gets as long for its first
    /// request.
    pub handshake_timeout: Duration,
    /// How many connections there may be: 16,384. The next one is closed at once.
    pub connections: usize,
    /// How many of these one client may have: 8,192. The next one is closed at once.
    pub client_connections: usize,
    /// How many connections may have their calls through shared memory: 256, of 8 KiB each. The next ones use their
    /// sockets.
    pub exchanges: usize,
    /// How many bytes a request may have: 64 MiB.
    pub message: usize,
    /// How many objects there may be: 1,048,576.
    pub objects: usize,
    /// How many references one client may hold: 262,144. Proxies under way count.
    pub references: usize,
    /// How many bytes the values may take that one client has put into objects of the built-in types, about: 1 GiB. A
    /// value counts until it is taken out, whoever takes it out.
    pub client_memory: usize,
    /// How many bytes of one client's requests may be unfinished, and of the replies to it unread: 256 MiB. A
    /// connection with a request beyond that is closed, and a long reply beyond that is replaced by an error.
    pub client_buffers: usize,
    /// How many methods may run side by side, each on a thread of its own: 256. The next ones wait for their turn.
    /// Calls of built-in types that wait (`get`, `acquire`) take no thread.
    pub helpers: usize,
    /// How many blocks of shared memory the server keeps for clients of a
    /// [`SharedMemoryManager`](super::SharedMemoryManager): none.
    /// [`SharedMemoryManager::start`](super::SharedMemoryManager::start) sets 65,536.
    pub segments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 128,
            handshake_timeout: Duration::from_secs(10),
            connections: 16_384,
            client_connections: 8_192,
            exchanges: 256,
            message: 64 << 20,
            objects: 1 << 20,
            references: 1 << 18,
            client_memory: 1 << 30,
            client_buffers: 256 << 20,
            helpers: 256,
            segments: 0,
        }
    }
}
