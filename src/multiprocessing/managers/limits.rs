//! What clients may take of a server.

use std::time::Duration;

/// The bounds that a server sets to its clients, whether they know the key or not.
///
/// A client beyond a bound gets an error; the others notice nothing.
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
    /// How many bytes a request may have: 64 MiB.
    pub message: usize,
    /// How many objects there may be: 1,048,576.
    pub objects: usize,
    /// How many references one client in Rust may hold: 262,144. Clients in Python count as one together.
    pub references: usize,
    /// How many methods may run side by side, each on a thread of its own: 256. The next ones wait for their turn. Calls of
    /// built-in types that wait (`get`, `acquire`) take no thread.
    pub helpers: usize,
    /// How many blocks of shared memory the server keeps for clients of a
    /// [`SharedMemoryManager`](super::SharedMemoryManager): none. [`SharedMemoryManager::start`](super::SharedMemoryManager::start)
    /// sets 65,536.
    pub segments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshakes: 128,
            handshake_timeout: Duration::from_secs(10),
            connections: 16_384,
            message: 64 << 20,
            objects: 1 << 20,
            references: 1 << 18,
            helpers: 256,
            segments: 0,
        }
    }
}
