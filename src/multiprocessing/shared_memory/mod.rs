//! Memory and lists that any program of the same user can open by name: Python's `multiprocessing.shared_memory`.
//!
//! [`SharedMemory`] is a block of bytes, [`ShareableList`] a list of numbers and texts in such a block. Both have
//! CPython's layout and names, so that a Python program opens what a Rust program made, and the other way round. For
//! memory between the processes of one Rust program, a [`Value`](super::Value), an [`Array`](super::Array) or a
//! [`Shm`](crate::sys::shm::Shm) is the better choice. These have types and locks, and no name that could be left
//! behind.
//!
//! ```
//! use ossature::multiprocessing::shared_memory::{ShareableList, SharedMemory};
//!
//! let memory = SharedMemory::create(4096)?; // Python: SharedMemory(create=True, size=4096)
//! memory.write(8, &[0.5, 1.5])?; //                 memory.buf[8:24] = struct.pack('2d', 0.5, 1.5)
//! let same = SharedMemory::open(memory.name())?; // SharedMemory(name=memory.name), in another process
//! assert_eq!((same.len(), same.get::<f64>(16)?), (4096, 1.5));
//!
//! let list = ShareableList::new([1, 2, 3])?;
//! list.set(-1, 4)?;
//! assert_eq!(list.get(2)?.as_int(), Some(4));
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! # How long a name lasts
//!
//! A process that uses a tracked object holds a shared lock of the kernel on the object (`flock`, `LOCK_SH`). The lock
//! lasts as long as the mapping, so the kernel releases it however the process ends. Only a process with the exclusive
//! lock removes a name:
//!
//! | the object | its name lasts |
//! | --- | --- |
//! | made here | until its last user drops it |
//! | made here, and its last user was killed or leaked it | until another program of the same user makes or opens an object with this library |
//! | made here with [`track(false)`](SharedMemoryBuilder::track) | until [`unlink`](SharedMemory::unlink) |
//! | made here, used only by CPython | as for an object without users, unless the Python program takes the lock, see below |
//! | made by CPython | until a program calls [`unlink`](SharedMemory::unlink), or CPython removes it |
//!
//! After its name is removed, processes that have the memory can continue to use it. A forked child uses the objects
//! that its parent used at the fork. An object that is sent to another process is in use while it is in transit.
//!
//! A tracked object has the sticky bit in its mode (01600), by which this library recognises it. The bit means nothing
//! to the kernel or to CPython. The steps in the life of an object, and the effect of a kill after each step:
//!
//! | step | the name is | lock | if the process is killed here, the next process |
//! | --- | --- | --- | --- |
//! | `open(O_CREAT \| O_EXCL)` | private: `.ossature-` and 16 digits | none | removes it |
//! | `flock(LOCK_SH)` | private | shared | removes it |
//! | `fallocate`, `mmap`, the first contents | private | shared | removes it |
//! | `fchmod(01600)`, if tracked | private | shared | removes it |
//! | `renameat2(RENAME_NOREPLACE)` | the object's | shared | removes it, if it is tracked |
//! | `munmap`, by the last user | the object's | none | removes it |
//! | `flock(LOCK_EX \| LOCK_NB)`, through another descriptor | the object's | exclusive | removes it |
//! | `renameat2` | private | exclusive | removes it |
//! | `fstat` and `lstat` show one file; `unlink` | none | exclusive | finds nothing |
//!
//! A name appears in one step, with all its memory and with its first contents. A process that opens an object takes
//! the shared lock, and then checks that the object still has its name. So the exclusive lock excludes every user of
//! this library. If several processes drop an object at once, the last one gets the exclusive lock. If another object
//! took the name before the second `renameat2`, that object gets its name back.
//!
//! # With CPython
//!
//! A CPython before 3.13 registers a block with its resource tracker when it *attaches*. At its end the tracker removes
//! the name, even if other processes use the block. From then on no other process can open the block; processes that
//! have it can continue. The remedy is in the Python program, after it has attached:
//!
//! ```python
//! shm = SharedMemory(name=name, track=False)                      # 3.13 and newer
//!
//! shm = SharedMemory(name=name)                                   # 3.8 to 3.12
//! resource_tracker.unregister("/" + shm.name, "shared_memory")
//!
//! items = ShareableList(name=name)                                # 3.8 and newer: it has no such argument
//! resource_tracker.unregister("/" + items.shm.name, "shared_memory")
//! ```
//!
//! CPython 3.8 has another layout of a `ShareableList`, which [`Layout::Python38`] writes.
//!
//! CPython takes no lock. So an object of this library that only CPython still uses counts as unused, and its name is
//! removed. The Python program keeps the memory, but no other process can open it. One remedy is `track(false)`, and
//! `unlink` by one of the programs. The other is a line in the Python program, which makes that program a user like any
//! other until it closes its block:
//!
//! ```python
//! fcntl.flock(shm._fd, fcntl.LOCK_SH)
//! ```
//!
//! # What differs from Python
//!
//! | Python | here |
//! | --- | --- |
//! | `shm.buf[2:4]` is a writable view | bytes that strangers may write are copied: [`read`](SharedMemory::read), [`write`](SharedMemory::write), [`slice`](SharedMemory::slice); or single [`cells`](SharedMemory::cells) |
//! | `shm.close()`, `BufferError` while a view exists | a drop; it does not compile while a borrow exists |
//! | a full `/dev/shm` causes SIGBUS at the first access | the call that makes the object returns an error |
//! | a process that opens a block too early finds it empty or half filled | a name appears with its contents: [`create_with`](SharedMemoryBuilder::create_with) |
//! | a killed program leaves names if its tracker is killed too | the next program removes them, because their lock is free |
//! | a text in a `ShareableList` is measured in characters, and cut | a text is measured in bytes |
//! | nulls at the end of a text or of bytes are lost | such values are refused |

mod item;
mod layout;
mod list;
mod memory;
mod object;
mod sweep;

#[doc(inline)]
pub use item::Item;
#[doc(inline)]
pub use layout::Layout;
#[doc(inline)]
pub use list::{Iter, ShareableList, ShareableListBuilder};
#[doc(inline)]
pub use memory::{SharedMemory, SharedMemoryBuilder, unlink};

pub(crate) use object::{Naming, Object, ObjectKind, check_file_size, failed};
pub(crate) use sweep::remove_unused;
