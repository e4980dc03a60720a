//! Locks and semaphores that any program of the same user can open by name, including CPython.
//!
//! They are the C library's named semaphores, which CPython's `multiprocessing.Lock` and the classes like it are made
//! of. The [`Lock`](super::Lock) and [`Semaphore`](super::Semaphore) of this library do better between the processes of
//! one Rust program. They have owners, and survive the death of a holder.
//!
//! ```
//! use std::time::Duration;
//! use ossature::multiprocessing::sync::{NamedBoundedSemaphore, NamedLock, NamedSemaphore};
//!
//! let lock = NamedLock::create()?;
//! let same = NamedLock::open(lock.name())?; // in another program
//! lock.with(|| assert!(!same.try_acquire().unwrap()))?;
//! assert!(same.acquire_timeout(Duration::from_secs(1))?);
//! lock.release()?; // any thread may
//! assert!(lock.release().is_err() && !lock.locked()?, "it is free");
//!
//! let places = NamedSemaphore::create(3)?;
//! places.acquire()?;
//! assert_eq!(places.value()?, 2);
//! let bounded = NamedBoundedSemaphore::create(3)?;
//! assert!(bounded.release().is_err(), "no more than there were");
//! assert_eq!(NamedBoundedSemaphore::open(bounded.name(), 3)?.bound(), 3);
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! **The other side in Python.** A lock of CPython by its name, and one of ours in CPython:
//!
//! ```python
//! lock = multiprocessing.get_context("spawn").Lock()
//! print(lock._semlock.name)                          # NamedLock::open of this
//!
//! lock = multiprocessing.synchronize.Lock.__new__(multiprocessing.synchronize.Lock)
//! lock.__setstate__((0, 1, 1, name))                 # the kind (1), the highest value, "/" and the name
//! ```
//!
//! CPython makes the name of such a lock only where processes are not forked: with "fork" CPython removes it at once.
//!
//! **How long a name lasts.** Like the name of a [block of memory](crate::multiprocessing::shared_memory), it lasts
//! until the last process that uses it with this library has ended, however it ended. After
//! [`untrack`](NamedLock::untrack) only [`unlink`](NamedLock::unlink) removes it, as for a name that CPython made.
//!
//! **If a holder is killed**, the units that it had taken stay taken, as in CPython: a semaphore does not record its
//! holders. Any other behaviour would need a lock that CPython does not know.
//!
//! | Python | here |
//! | --- | --- |
//! | waits by the wall clock | waits by the monotonic clock (with musl by the wall clock) |
//! | `RLock` by name | does not exist: its owner is not stored in the semaphore |
//! | `release` compares with the highest value and then adds, in two steps | does the same two steps, because the value is the C library's |
//!
//! With musl, the semaphores are musl's: files of another name and layout, which a CPython with glibc does not see.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::{self, Errno};
use ossature_sys::fd;
use ossature_sys::posix_ipc::{self, MAX_VALUE, Name, Semaphore};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::shared_memory::{Naming, Object, ObjectKind, check_file_size, failed};
use crate::multiprocessing::transfer::Handle;

/// How often an open is tried again because the name was replaced by another file meanwhile.
const TRIES: usize = 100;

/// A semaphore with its name: the part that the three types share.
#[derive(Debug)]
struct Named {
    semaphore: Semaphore,
    /// The file, which holds the kernel's lock, so it is dropped before the object.
    file: OwnedFd,
    object: Object,
    bound: u32,
}

impl Named {
    fn create(naming: Naming<'_>, value: u32, bound: u32) -> Result<Self> {
        if value > MAX_VALUE || bound > MAX_VALUE {
            let message = format!("a semaphore has at most {MAX_VALUE} units, not {}", value.max(bound));
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        // The C library's own function leaves a file behind when the process is killed during the call.
        let make = |private: &Name| {
            let file = posix_ipc::create(&Semaphore::file(private)?, 0o600)?;
            Ok((file, *private))
        };
        let fill = |file: &OwnedFd, private: Name| {
            let failed =
                |errno| failed(errno, ObjectKind::Semaphore, if let Naming::Given(name) = naming { name } else { "" });
            let image = Semaphore::image(value).map_err(failed)?;
            check_file_size(image.len()).map_err(failed)?;
            match fd::write(file, &image).map_err(failed)? {
                written if written == image.len() => Semaphore::open(&private).map_err(failed),
                _ => Err(failed(Errno::NOSPC)),
            }
        };
        let (object, file, semaphore) = Object::create(ObjectKind::Semaphore, naming, true, make, fill)?;
        Ok(Self { semaphore, file, object, bound })
    }

    fn open(name: &str, bound: u32) -> Result<Self> {
        Self::open_by(Semaphore::open, name, bound)
    }

    fn open_by(open: impl Fn(&Name) -> errno::Result<Semaphore>, name: &str, bound: u32) -> Result<Self> {
        let failed = |errno| {
            Error::os(
                errno,
                format!("the semaphore {name} cannot be opened: it may be of another C library or word size"),
            )
        };
        for _ in 0..TRIES {
            let (object, file, _) = Object::open(ObjectKind::Semaphore, name)?;
            let c_name = Name::new(object.name().as_bytes());
            let opened = c_name.and_then(|name| open(&name));
            // The C library opens the file by its name once more, and another file may have taken the name meanwhile.
            if object.has_its_name().map_err(failed)? {
                let semaphore = opened.map_err(failed)?;
                return Ok(Self { semaphore, file, object, bound });
            }
        }
        Err(failed(Errno::BUSY))
    }

    fn release(&self) -> Result<()> {
        // Two steps, between which another may release it, as in CPython.
        if self.bound < MAX_VALUE && self.semaphore.value()? >= self.bound {
            let message = format!("{} was released more often than it was acquired", self.object.name());
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.semaphore.release().map_err(|errno| {
            Error::with_errno(
                ErrorKind::InvalidInput,
                errno,
                format!("{} has its maximum value already", self.object.name()),
            )
        })
    }
}

/// A unit, which is given back on drop, on unwinding too.
struct Held<'n>(&'n Named);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Another thread or process has released it already.
        let _ = self.0.release();
    }
}

/// Serialises the name, and a descriptor that keeps the semaphore in use during the transfer.
impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let keeper = self.object.keeper().map_err(ser::Error::custom)?;
        (self.object.name(), self.bound, Handle(keeper)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let (name, bound, Handle(keeper)) = <(String, u32, Handle<OwnedFd>)>::deserialize(deserializer)?;
        let named = Self::open(&name, bound).map_err(de::Error::custom)?;
        match named.object.is_kept_by(&keeper) {
            true => Ok(named),
            false => Err(de::Error::custom(format!("{name} is not the semaphore that was sent"))),
        }
    }
}

macro_rules! named {
    ($Name:ident) => {
        /// Serialises the name, and a descriptor that keeps the semaphore in use during the transfer.
        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                Named::serialize(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                Named::deserialize(deserializer).map(Self::of)
            }
        }

        impl $Name {
            fn of(named: Named) -> Self {
                Self(Arc::new(named))
            }

            /// Returns the name, without the slash that C puts before it.
            #[doc(alias = "_semlock.name")]
            pub fn name(&self) -> &str {
                self.0.object.name()
            }

            /// Makes a second handle of the same semaphore, for another owner in this process.
            ///
            /// # Errors
            /// None today: the handles share one mapping. The result is that of [`TryClone`](crate::TryClone).
            ///
            /// # Examples
            /// ```
            /// use ossature::multiprocessing::sync::NamedLock;
            ///
            /// let lock = NamedLock::create()?;
            /// let same = lock.try_clone()?;
            /// assert!(lock.with(|| same.locked())??);
            /// # Ok::<(), ossature::Error>(())
            /// ```
            pub fn try_clone(&self) -> Result<Self> {
                Ok(Self(self.0.clone()))
            }

            /// Takes a unit. Waits without a time limit.
            ///
            /// # Errors
            /// [`Os`](ErrorKind::Os) if the memory is not a semaphore any more.
            pub fn acquire(&self) -> Result<()> {
                Ok(self.0.semaphore.acquire()?)
            }

            /// Takes a unit without waiting; returns whether there was one: `acquire(False)`.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire).
            pub fn try_acquire(&self) -> Result<bool> {
                Ok(self.0.semaphore.try_acquire()?)
            }

            /// Takes a unit within the time. Returns false when the time is over: `acquire(timeout=...)`.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire).
            pub fn acquire_timeout(&self, timeout: impl Into<Deadline>) -> Result<bool> {
                Ok(self.0.semaphore.acquire_timeout(timeout)?)
            }

            /// Gives a unit back, whichever process took it.
            ///
            /// # Errors
            /// [`InvalidInput`](ErrorKind::InvalidInput) at the highest value (Python's `ValueError`).
            pub fn release(&self) -> Result<()> {
                self.0.release()
            }

            /// Runs `body` with a unit, which is given back on unwinding too: Python's `with`.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire); `body` has not run then.
            pub fn with<R>(&self, body: impl FnOnce() -> R) -> Result<R> {
                self.acquire()?;
                let _held = Held(&self.0);
                Ok(body())
            }

            /// Returns whether the count was 0 a moment ago.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire).
            pub fn locked(&self) -> Result<bool> {
                Ok(self.0.semaphore.value()? == 0)
            }

            /// Keeps the name until [`unlink`](Self::unlink): the name outlives the last user.
            ///
            /// # Errors
            /// [`Os`](ErrorKind::Os) with `EPERM` if it belongs to another user.
            ///
            /// # Examples
            /// ```
            /// use ossature::multiprocessing::sync::NamedLock;
            ///
            /// let lock = NamedLock::create()?;
            /// lock.untrack()?;
            /// let name = lock.name().to_owned();
            /// drop(lock);
            /// NamedLock::open(&name)?.unlink()?;
            /// assert!(NamedLock::open(&name).is_err());
            /// # Ok::<(), ossature::Error>(())
            /// ```
            pub fn untrack(&self) -> Result<()> {
                self.0.object.untrack(&self.0.file)
            }

            /// Removes the name. A process that has the semaphore open can go on using it.
            ///
            /// # Errors
            /// [`Os`](ErrorKind::Os) with `ENOENT` if it has no name any more, `EACCES` or `EPERM` if it belongs to
            /// another user.
            #[doc(alias = "sem_unlink")]
            pub fn unlink(&self) -> Result<()> {
                self.0.object.unlink()
            }
        }
    };
}

/// A lock by name that any process may release: CPython's `multiprocessing.Lock`. See the [module](self).
///
/// # Examples
/// See the example of the [module](self).
#[derive(Debug)]
pub struct NamedLock(Arc<Named>);

impl NamedLock {
    /// Makes a free lock under a name of CPython's form: `mp-` and eight letters.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `EMFILE` or `ENFILE` without a descriptor, `ENOSPC` or `ENOMEM` without memory,
    /// `EFBIG` beyond `RLIMIT_FSIZE`, `ENOENT` and `EACCES` if there is no usable `/dev/shm`.
    pub fn create() -> Result<Self> {
        Named::create(Naming::Random, 1, 1).map(Self::of)
    }

    /// Makes a free lock under this name.
    ///
    /// # Errors
    /// As for [`create`](Self::create), `EEXIST` if something has the name; [`InvalidInput`](ErrorKind::InvalidInput)
    /// for an invalid name.
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::sync::NamedLock;
    ///
    /// let name = format!("ossature-doc-lock-{}", std::process::id());
    /// let lock = NamedLock::create_named(&name)?;
    /// assert!(NamedLock::create_named(&name).is_err());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn create_named(name: &str) -> Result<Self> {
        Named::create(Naming::Given(name), 1, 1).map(Self::of)
    }

    /// Opens an existing lock.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) with `ENOENT` if there is none of that name, `EINVAL` if it is not a semaphore of this C
    /// library, and `EMFILE`. `EACCES` if it belongs to a user other than the effective one and root, `EBUSY` if others
    /// keep replacing its file. [`InvalidInput`](ErrorKind::InvalidInput) for an invalid name.
    pub fn open(name: &str) -> Result<Self> {
        Named::open(name, 1).map(Self::of)
    }
}

named!(NamedLock);

/// A semaphore by name: CPython's `multiprocessing.Semaphore`. See the [module](self).
///
/// # Examples
/// See the example of the [module](self).
#[derive(Debug)]
pub struct NamedSemaphore(Arc<Named>);

impl NamedSemaphore {
    /// Makes a semaphore of this value under a name of CPython's form.
    ///
    /// # Errors
    /// As for [`NamedLock::create`]; [`InvalidInput`](ErrorKind::InvalidInput) for a value above 2,147,483,647.
    pub fn create(value: u32) -> Result<Self> {
        Named::create(Naming::Random, value, MAX_VALUE).map(Self::of)
    }

    /// Makes a semaphore of this value under this name.
    ///
    /// # Errors
    /// As for [`create`](Self::create) and [`NamedLock::create_named`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::sync::NamedSemaphore;
    ///
    /// let places = NamedSemaphore::create_named(&format!("ossature-doc-places-{}", std::process::id()), 0)?;
    /// places.release()?;
    /// assert_eq!(places.value()?, 1);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn create_named(name: &str, value: u32) -> Result<Self> {
        Named::create(Naming::Given(name), value, MAX_VALUE).map(Self::of)
    }

    /// Opens an existing semaphore.
    ///
    /// # Errors
    /// As for [`NamedLock::open`].
    pub fn open(name: &str) -> Result<Self> {
        Named::open(name, MAX_VALUE).map(Self::of)
    }

    /// Returns the count of a moment ago: the number of free units.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) if the memory is not a semaphore any more.
    #[doc(alias = "get_value")]
    pub fn value(&self) -> Result<u32> {
        Ok(self.0.semaphore.value()?)
    }
}

named!(NamedSemaphore);

/// A semaphore by name whose count never exceeds its bound: CPython's `multiprocessing.BoundedSemaphore`. See the
/// [module](self).
///
/// # Examples
/// See the example of the [module](self).
#[derive(Debug)]
pub struct NamedBoundedSemaphore(Arc<Named>);

impl NamedBoundedSemaphore {
    /// Makes a semaphore of this value and bound under a name of CPython's form.
    ///
    /// # Errors
    /// As for [`NamedSemaphore::create`].
    pub fn create(bound: u32) -> Result<Self> {
        Named::create(Naming::Random, bound, bound).map(Self::of)
    }

    /// Makes a semaphore of this value and bound under this name.
    ///
    /// # Errors
    /// As for [`NamedSemaphore::create_named`].
    ///
    /// # Examples
    /// ```
    /// use ossature::multiprocessing::sync::NamedBoundedSemaphore;
    ///
    /// let name = format!("ossature-doc-bounded-{}", std::process::id());
    /// let places = NamedBoundedSemaphore::create_named(&name, 2)?;
    /// assert!(places.release().is_err());
    /// assert_eq!(places.value()?, 2);
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn create_named(name: &str, bound: u32) -> Result<Self> {
        Named::create(Naming::Given(name), bound, bound).map(Self::of)
    }

    /// Opens an existing semaphore. The bound is not in the memory: each process passes it.
    ///
    /// # Errors
    /// As for [`NamedLock::open`].
    pub fn open(name: &str, bound: u32) -> Result<Self> {
        Named::open(name, bound).map(Self::of)
    }

    /// Returns the count of a moment ago: the number of free units.
    ///
    /// # Errors
    /// [`Os`](ErrorKind::Os) if the memory is not a semaphore any more.
    #[doc(alias = "get_value")]
    pub fn value(&self) -> Result<u32> {
        Ok(self.0.semaphore.value()?)
    }

    /// The bound that this process gave.
    #[doc(alias = "maxvalue")]
    pub fn bound(&self) -> u32 {
        self.0.bound
    }
}

named!(NamedBoundedSemaphore);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[test]
    fn a_semaphore_whose_file_is_replaced_meanwhile_is_opened_again() {
        let name = format!("ossature-unit-{}", std::process::id());
        let old = NamedSemaphore::create_named(&name, 1).unwrap();
        let (calls, new) = (Cell::new(0), RefCell::new(None));
        let open = |file: &Name| {
            if calls.replace(calls.get() + 1) == 0 {
                old.unlink().unwrap();
                *new.borrow_mut() = Some(NamedSemaphore::create_named(&name, 2).unwrap());
            }
            Semaphore::open(file)
        };
        let named = Named::open_by(open, &name, 2).unwrap();
        assert_eq!((calls.get(), named.semaphore.value()), (2, Ok(2)));
        assert_eq!(named.object.has_its_name(), Ok(true), "the locked file is the file in use");

        let gone = |_: &Name| {
            let _ = named.object.unlink();
            Err(Errno::NOENT)
        };
        let error = Named::open_by(gone, &name, 2).unwrap_err();
        assert!(error.errno() == Some(Errno::NOENT) && error.to_string().contains("does not exist"), "{error}");
    }
}
