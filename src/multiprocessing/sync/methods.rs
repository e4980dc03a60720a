//! The methods that several types share, written once.

use ossature_sys::scope::Refused;

use crate::error::Error;

/// The methods of a type that owns a `Placed` in its only field. The type may have room for `N` participants.
macro_rules! owner {
    ($Face:ident, $Inner:ty $(, $N:ident)?) => {
        impl$(<const $N: usize>)? $Face$(<$N>)? {
            /// Returns another handle of the same object, for another owner. The handle has a mapping of its own,
            /// unless the object is one of many that were made together.
            ///
            /// # Errors
            /// [`Os`](crate::ErrorKind::Os) with `EMFILE` without descriptors, with `ENOMEM` without room for the
            /// mapping.
            pub fn try_clone(&self) -> Result<Self> {
                self.0.try_clone(concat!("this ", stringify!($Face))).map(Self)
            }

            /// The primitive in shared memory, for methods that only the lower crate's type has.
            pub fn as_raw(&self) -> &$Inner {
                &self.0
            }
        }

        impl$(<const $N: usize>)? From<Shm<$Inner>> for $Face$(<$N>)? {
            fn from(shm: Shm<$Inner>) -> Self {
                Self(shm.into())
            }
        }
    };
}

/// The methods of a lock without data that one thread at a time holds; `self.as_raw()` is the lock.
macro_rules! held_by_one {
    ($Face:ty, $Guard:ident) => {
        impl $Face {
            /// Takes the lock; waits without a time limit. Dropping the guard releases the lock.
            ///
            /// # Errors
            /// [`Unrecoverable`](crate::ErrorKind::Unrecoverable), [`WouldDeadlock`](crate::ErrorKind::WouldDeadlock)
            /// when this thread holds a [`Lock`](crate::multiprocessing::Lock) already; [`Os`](crate::ErrorKind::Os)
            /// with `EAGAIN` when it holds 1,900 others.
            #[inline]
            pub fn lock(&self) -> Result<$Guard<'_>> {
                Ok(self.as_raw().lock()?)
            }

            /// Takes the lock like [`lock`](Self::lock), without waiting; `None` if the lock is not free.
            ///
            /// # Errors
            /// As for [`lock`](Self::lock), but never `WouldDeadlock`.
            #[inline]
            pub fn try_lock(&self) -> Result<Option<$Guard<'_>>> {
                Ok(self.as_raw().try_lock()?)
            }

            /// Takes the lock like [`lock`](Self::lock), within the limit; `None` when the limit has passed.
            ///
            /// # Errors
            /// As for [`lock`](Self::lock), but `WouldDeadlock` only for a limit that never ends.
            #[inline]
            pub fn lock_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<Option<$Guard<'_>>> {
                Ok(self.as_raw().lock_timeout(limit)?)
            }

            /// Takes the lock, to be released by [`release`](Self::release); waits without a time limit.
            ///
            /// # Errors
            /// As for [`lock`](Self::lock), and [`Abandoned`](crate::ErrorKind::Abandoned).
            pub fn acquire(&self) -> Result<()> {
                self.acquire_timeout(Limit::NEVER).map(drop)
            }

            /// Takes the lock without waiting; returns whether it succeeded: Python's `acquire(False)`. The holder of a
            /// [`Lock`](crate::multiprocessing::Lock) gets false.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire), but never `WouldDeadlock`.
            pub fn try_acquire(&self) -> Result<bool> {
                self.acquire_timeout(Limit::NOW)
            }

            /// Takes the lock within the limit; false when the limit has passed. Python's `acquire(timeout=...)`. The
            /// holder of a [`Lock`](crate::multiprocessing::Lock) gets false after the limit.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire), but `WouldDeadlock` only for a limit that never ends.
            pub fn acquire_timeout<'c>(&self, limit: impl Into<Limit<'c>>) -> Result<bool> {
                let guard = self.lock_timeout(limit)?;
                if guard.as_ref().is_some_and(|guard| guard.abandoned()) {
                    return Err(abandoned());
                }
                Ok(guard.map(std::mem::forget).is_some())
            }

            /// Releases the lock that this thread holds.
            ///
            /// # Errors
            /// [`NotOwner`](crate::ErrorKind::NotOwner) when this thread does not hold it (Python's `ValueError` or
            /// `AssertionError`): only the thread that took it can release it.
            pub fn release(&self) -> Result<()> {
                Ok(self.as_raw().release()?)
            }

            /// Runs `body` with the lock held; the lock is released on unwinding too: Python's `with`.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire); `body` has not run then.
            pub fn with<R>(&self, body: impl FnOnce() -> R) -> Result<R> {
                let guard = self.lock()?;
                if guard.abandoned() { Err(abandoned()) } else { Ok(body()) }
            }

            /// Whether a thread held the lock a moment ago.
            #[doc(alias = "is_locked")]
            pub fn locked(&self) -> bool {
                self.as_raw().is_locked()
            }

            /// Whether the calling thread holds the lock.
            #[doc(alias = "_is_mine")]
            pub fn is_mine(&self) -> bool {
                self.as_raw().is_mine()
            }
        }

        /// Lets the type be the lock of a [`Synchronized`](crate::multiprocessing::sharedctypes::Synchronized).
        impl Acquire for $Face {
            fn holding<O>(&self, body: impl FnOnce() -> O) -> Result<O> {
                self.with(body)
            }
        }
    };
}

/// Converts the error of a call that found no room in `object` for one more of `whom`. The text then names the object
/// and its room. `larger` says how to make an object with more room, unless there is none with more. `or` names another
/// remedy.
pub(super) fn unless_full(
    object: &'static str,
    room: usize,
    whom: &'static str,
    larger: &'static str,
    or: &'static str,
) -> impl Fn(Refused) -> Error {
    let larger = if room < MOST { larger } else { "" };
    move |refused| {
        let error = Error::from(refused);
        if refused != Refused::TableFull {
            return error;
        }
        error.with_message(format!(
            "{object} has no room for more than {room} {whom}: wait until one of them has finished{larger}{or}"
        ))
    }
}

/// The maximum capacity of a shared object.
const MOST: usize = 65_536;

pub(super) use {held_by_one, owner};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_object_of_the_maximum_capacity_has_no_larger_one_as_its_remedy() {
        let full =
            |room| unless_full("this lock", room, "readers", ", or make one with more room", "")(Refused::TableFull);
        let remedies = [MOST - 1, MOST].map(|room| full(room).to_string().contains("make one with more room"));
        assert_eq!(remedies, [true, false]);
    }
}
