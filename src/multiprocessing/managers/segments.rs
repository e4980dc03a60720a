//! A manager whose server keeps blocks of shared memory.

use std::fmt;

use super::wire::texts;
use super::{Limits, Manager};
use crate::error::{Error, Result};
use crate::multiprocessing::connection::{Address, AuthKey};
use crate::multiprocessing::context::Context;
use crate::multiprocessing::shared_memory::{Item, ShareableList, SharedMemory, remove_unused};

/// Makes blocks of shared memory that live as long as a server.
///
/// A block is made here, and registered with the server under its name. Other processes open it by the name, without
/// the server. The server removes the names at its end: the memory is freed with its last user.
///
/// | event | names that this library gave | names that CPython gave |
/// | --- | --- | --- |
/// | the maker drops the block, or is killed | stay | stay |
/// | [`shutdown`](Self::shutdown), or the end of the process that started the server | are removed | are removed |
/// | the server is killed | are removed with their last user, at the latest when a process of the same user next makes or opens a block | are left to CPython's tracker |
///
/// Clients and servers of CPython's `SharedMemoryManager` are understood. The manager of another address, key or limits
/// becomes one of these by `from`, see [`Limits::segments`].
///
/// # Examples
/// ```standalone_crate
/// use ossature::multiprocessing::managers::SharedMemoryManager;
/// use ossature::multiprocessing::shared_memory::SharedMemory;
/// use ossature::multiprocessing::{Context, freeze_support, tasks};
///
/// # fn main() -> ossature::Result<()> {
/// freeze_support(tasks![]);
/// let manager = SharedMemoryManager::start(Context::Spawn)?;
/// let block = manager.shared_memory(4096)?;
/// block.set(0, 7_u64)?;
/// let name = block.name().to_owned();
/// drop(block); // the server keeps it
/// assert_eq!(SharedMemory::open(&name)?.get::<u64>(0)?, 7);
///
/// let list = manager.shareable_list([1, 2, 3])?;
/// assert_eq!(manager.segments()?.len(), 2);
/// manager.release(list.memory().name())?;
/// assert_eq!(manager.segments()?, [name.as_str()]);
/// manager.shutdown()?;
/// assert!(SharedMemory::open(&name).is_err());
/// # Ok(()) }
/// ```
#[doc(alias = "SharedMemoryServer")]
pub struct SharedMemoryManager {
    manager: Manager,
    // Dropped after the manager, when its server has ended.
    _sweep: Option<Sweep>,
}

/// Removes the names that a killed server has left behind.
struct Sweep;

impl Drop for Sweep {
    fn drop(&mut self) {
        remove_unused();
    }
}

impl SharedMemoryManager {
    /// Starts a server that keeps blocks.
    ///
    /// # Errors
    /// As for [`ManagerBuilder::start`](super::ManagerBuilder::start).
    pub fn start(context: Context) -> Result<Self> {
        let limits = Limits { segments: 1 << 16, ..Limits::default() };
        Manager::builder().limits(limits).start(context).map(Into::into)
    }

    /// Connects to a server that keeps blocks, with its key.
    ///
    /// # Errors
    /// As for [`Manager::connect`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::connection::AuthKey;
    /// use ossature::multiprocessing::managers::{Limits, Manager, SharedMemoryManager};
    ///
    /// let key = AuthKey::from("abracadabra");
    /// let limits = Limits { segments: 100, ..Limits::default() };
    /// let server = Manager::builder().authkey(&key).limits(limits).bind()?;
    /// let (address, stop) = (server.address().clone(), server.stopper());
    /// let serving = std::thread::spawn(move || server.serve_forever());
    ///
    /// let manager = SharedMemoryManager::connect(address, &key)?;
    /// let block = manager.shared_memory(16)?;
    /// assert_eq!(manager.segments()?, [block.name()]);
    /// stop.stop();
    /// serving.join().unwrap()?;
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn connect<A: TryInto<Address>>(address: A, authkey: &AuthKey) -> Result<Self>
    where
        Error: From<A::Error>,
    {
        Manager::connect(address, authkey).map(Into::into)
    }

    /// The underlying manager, which makes other objects.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Makes a zeroed block, and registers it with the server.
    ///
    /// # Errors
    /// As for [`SharedMemory::create`] and [`Proxy::call`](super::Proxy::call); [`Remote`](crate::ErrorKind::Remote)
    /// for a server that keeps no blocks, or that has as many blocks as it may keep. After an error there is no block.
    #[doc(alias = "SharedMemory")]
    pub fn shared_memory(&self, size: usize) -> Result<SharedMemory> {
        let memory = SharedMemory::builder().track(self.keeps()?).create(size)?;
        self.track(&memory).map(|()| memory)
    }

    /// Makes a list, and registers its block with the server.
    ///
    /// # Errors
    /// As for [`ShareableList::new`] and [`shared_memory`](Self::shared_memory).
    #[doc(alias = "ShareableList")]
    pub fn shareable_list<I: Into<Item>>(&self, items: impl IntoIterator<Item = I>) -> Result<ShareableList> {
        let list = ShareableList::builder().track(self.keeps()?).create(items)?;
        self.track(list.memory()).map(|()| list)
    }

    /// The names of the blocks that the server keeps.
    ///
    /// # Errors
    /// As for [`Proxy::call`](super::Proxy::call).
    #[doc(alias = "list_segments")]
    pub fn segments(&self) -> Result<Vec<String>> {
        texts(&self.manager.client.ask("list_segments", Vec::new(), Vec::new())?)
    }

    /// Makes the server remove the name of a block now. Processes that use the block keep the memory.
    ///
    /// # Errors
    /// As for [`Proxy::call`](super::Proxy::call); [`Remote`](crate::ErrorKind::Remote) for a block that the server
    /// does not keep.
    #[doc(alias = "release_segment")]
    pub fn release(&self, name: &str) -> Result<()> {
        self.manager.client.ask("release_segment", vec![name.into()], Vec::new()).map(drop)
    }

    /// Ends the server, which removes the names.
    ///
    /// # Errors
    /// As for [`Manager::shutdown`].
    pub fn shutdown(self) -> Result<()> {
        self.manager.shutdown()
    }

    /// Whether the server becomes a user of a block. A server of CPython takes no lock, so there the last user must not
    /// remove the name.
    fn keeps(&self) -> Result<bool> {
        self.manager.client.is_rust()
    }

    fn track(&self, memory: &SharedMemory) -> Result<()> {
        let tracked = self.manager.client.ask("track_segment", vec![memory.name().into()], Vec::new());
        if tracked.is_err() && !memory.is_tracked() {
            let _ = memory.unlink(); // the error of the registration is the one to tell
        }
        tracked.map(drop)
    }
}

impl From<Manager> for SharedMemoryManager {
    fn from(manager: Manager) -> Self {
        let _sweep = manager.process().map(|_| Sweep);
        Self { manager, _sweep }
    }
}

impl fmt::Debug for SharedMemoryManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedMemoryManager").field(&self.manager).finish()
    }
}
