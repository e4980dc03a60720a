//! The limits on what clients may use of a server.

use std::time::Duration;

/// The limits of a server for its clients, whether they know the key or not.
///
/// A client beyond a bound of its own gets an error; the others notice nothing. Over a Unix socket one client is one
/// process, by the kernel's word. Over TCP one client is one host. The number of connections and sessions of a client
/// does not matter. [`Access`](super::Access) sets what clients may do with which types.
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
    /// The number of clients that may be in their handshake at a time: 128.
    pub handshakes: usize,
    /// The maximum time of a handshake: ten seconds. A client that has proved that it knows the key has the same time
    /// for its first request.
    pub handshake_timeout: Duration,
    /// The maximum number of connections: 16,384. Further connections are closed at once.
    pub connections: usize,
    /// The maximum number of connections of one client: 8,192. Further connections are closed at once.
    pub client_connections: usize,
    /// The maximum number of connections whose calls go through shared memory, of 8 KiB each: 256. Further connections
    /// use their sockets.
    pub exchanges: usize,
    /// The maximum size of a request: 64 MiB.
    pub message: usize,
    /// The maximum number of objects: 1,048,576.
    pub objects: usize,
    /// The maximum number of references of one client: 262,144. Proxies that are being sent count.
    pub references: usize,
    /// The approximate maximum memory of the values that one client has put into objects of the built-in types: 1 GiB.
    /// A value counts until any client takes it out.
    pub client_memory: usize,
    /// The maximum size of one client's unfinished requests and unread replies: 256 MiB. A connection with a request
    /// beyond that is closed, and a long reply beyond that is replaced by an error.
    pub client_buffers: usize,
    /// The maximum number of methods that run at the same time, each on a thread of its own: 256. Further calls wait
    /// for their turn. Calls of built-in types that wait (`get`, `acquire`) take no thread.
    pub helpers: usize,
    /// The maximum number of blocks of shared memory that the server keeps for clients of a
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
