//! The C library's named semaphores.

use core::mem::MaybeUninit;
use core::ptr::NonNull;

use libc::{c_int, c_uint, sem_t};

use super::{Name, Status};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, retry};
use crate::{pthread, raw};

/// The prefix of a semaphore's name in the name of its file. musl has no prefix, and its semaphores have another
/// layout.
const PREFIX: &[u8] = if cfg!(target_env = "gnu") { b"sem." } else { b"" };

/// The maximum value of a semaphore: C's `SEM_VALUE_MAX`.
///
/// # Examples
/// See the example of [`Semaphore`].
#[doc(alias = "SEM_VALUE_MAX")]
pub const MAX_VALUE: u32 = i32::MAX as u32;

/// A semaphore that every program of the same user and with the same C library can open by name.
///
/// The C library does all of it, so that its own programs can use the semaphore at the same time. What that means: it
/// does not survive the death of a holder, and a wait cannot be ended by a [`Cancel`](crate::sync::Cancel).
///
/// # Examples
/// ```
/// use core::time::Duration;
/// use ossature_sys::errno::Errno;
/// use ossature_sys::posix_ipc::{MAX_VALUE, Name, Semaphore};
///
/// let name = Name::new(format!("ossature-doc-sem-{}", std::process::id()).as_bytes())?;
/// let ours = Semaphore::create(&name, 0o600, 1)?;
/// let theirs = Semaphore::open(&name)?;
/// assert!(ours.try_acquire()? && !theirs.try_acquire()?);
/// assert!(!theirs.acquire_timeout(Duration::from_millis(1))?, "its time ran out");
/// ours.release()?;
/// theirs.acquire()?;
/// assert_eq!(ours.value()?, 0);
/// Semaphore::unlink(&name)?;
/// assert_eq!(Semaphore::open(&name).unwrap_err(), Errno::NOENT);
/// assert_eq!(Semaphore::create(&name, 0o600, MAX_VALUE + 1).unwrap_err(), Errno::INVAL);
/// # Ok::<(), Errno>(())
/// ```
#[derive(Debug)]
#[doc(alias = "sem_open")]
pub struct Semaphore {
    /// The pointer from `sem_open`, valid until `sem_close`.
    sem: NonNull<sem_t>,
}

// SAFETY: POSIX lets any thread of the process use and close a semaphore that `sem_open` returned.
unsafe impl Send for Semaphore {}
// SAFETY: the calls on a semaphore are made for several threads at once.
unsafe impl Sync for Semaphore {}

impl Semaphore {
    /// `sem_open(name, O_CREAT | O_EXCL, mode, value)`: creates a semaphore with a new name.
    ///
    /// # Errors
    /// `EEXIST` if something has the name, `EINVAL` for a value above [`MAX_VALUE`], `ENAMETOOLONG`, `ENOENT` if there
    /// is no `/dev/shm`, `EACCES`, `ENOSPC`, `EMFILE`, `ENOMEM`.
    pub fn create(name: &Name, mode: u32, value: u32) -> Result<Self> {
        let flags = libc::O_CREAT | libc::O_EXCL;
        // SAFETY: the name ends with a null; with O_CREAT the call takes these two further arguments.
        let open = || unsafe { libc::sem_open(name.as_c_str().as_ptr(), flags, mode as c_uint, value as c_uint) };
        Self::opened(open)
    }

    /// `sem_init(sem, 1, value)`: the content of the file of a semaphore with this value.
    ///
    /// A program that writes these bytes into a new file makes a semaphore like [`create`](Self::create), under a name
    /// and in steps of its own. A process that is killed inside glibc's `sem_open` leaves a file `sem.` and six letters
    /// behind.
    ///
    /// # Errors
    /// `EINVAL` for a value above [`MAX_VALUE`].
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::posix_ipc::{self, Name, Semaphore};
    ///
    /// let name = Name::new(format!("ossature-doc-image-{}", std::process::id()).as_bytes())?;
    /// let file = Semaphore::file(&name)?;
    /// ossature_sys::fd::write(posix_ipc::create(&file, 0o600)?, &Semaphore::image(3)?)?;
    /// assert_eq!(Semaphore::open(&name)?.value()?, 3);
    /// posix_ipc::unlink(&file)?;
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    #[doc(alias = "sem_init")]
    pub fn image(value: u32) -> Result<[u8; size_of::<sem_t>()]> {
        let mut place = MaybeUninit::<sem_t>::zeroed();
        let sem = place.as_mut_ptr();
        // SAFETY: `sem` is writable. The semaphore is not used here: only its bytes are copied.
        raw::call_c("sem_init", || unsafe { libc::sem_init(sem, 1, value as c_uint) })?;
        // SAFETY: `sem` points to that many bytes, all of which were zeroed at least.
        Ok(unsafe { sem.cast::<[u8; size_of::<sem_t>()]>().read() })
    }

    /// `sem_open(name, 0)`: opens an existing semaphore.
    ///
    /// Differs from the C call: a file that is too short for a semaphore is refused. The C library would map it, and
    /// the first use would end in SIGBUS.
    ///
    /// # Errors
    /// `ENOENT` if no object has the name, `EINVAL` if the object is not a semaphore of this C library and word size.
    /// `EACCES` if it belongs to another user, `EMFILE`, `ENOMEM`.
    pub fn open(name: &Name) -> Result<Self> {
        let status = Status::of_name(&Self::file(name)?)?;
        if !status.is_file || status.len != size_of::<sem_t>() as u64 {
            return Err(Errno::INVAL);
        }
        // SAFETY: the name ends with a null; without O_CREAT the call takes no further argument.
        Self::opened(|| unsafe { libc::sem_open(name.as_c_str().as_ptr(), 0) })
    }

    fn opened(mut open: impl FnMut() -> *mut sem_t) -> Result<Self> {
        retry(|| {
            raw::call("sem_open", || match open() {
                failed if failed == libc::SEM_FAILED => Err(raw::last_errno()),
                opened => NonNull::new(opened).map(|sem| Self { sem }).ok_or(Errno::NOMEM),
            })
        })
    }

    /// `sem_unlink(name)`: removes the name. Processes that have the semaphore open can continue to use it.
    ///
    /// # Errors
    /// `ENOENT` if nothing has the name, `EACCES` or `EPERM` if it belongs to another user.
    #[doc(alias = "sem_unlink")]
    pub fn unlink(name: &Name) -> Result<()> {
        let name = name.as_c_str().as_ptr();
        // SAFETY: the name ends with a null.
        raw::call_c("sem_unlink", || unsafe { libc::sem_unlink(name) }).map(drop)
    }

    /// The name of the file in `/dev/shm`: `sem.` and the name with glibc, only the name with musl.
    ///
    /// # Errors
    /// `ENAMETOOLONG` for a name that is too long for a semaphore: 251 bytes with glibc.
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::posix_ipc::{Name, Semaphore};
    ///
    /// let file = Semaphore::file(&Name::new(b"mp-abcdefgh")?)?;
    /// assert!(file.as_bytes().ends_with(b"mp-abcdefgh"));
    /// # Ok::<(), ossature_sys::errno::Errno>(())
    /// ```
    pub fn file(name: &Name) -> Result<Name> {
        let bytes = name.as_bytes();
        let mut file = [0; super::NAME_MAX];
        let len = PREFIX.len() + bytes.len();
        let place = file.get_mut(..len).ok_or(Errno::NAMETOOLONG)?;
        place.iter_mut().zip(PREFIX.iter().chain(bytes)).for_each(|(place, byte)| *place = *byte);
        Name::new(place)
    }

    /// `sem_wait(sem)`: decrements the semaphore, waiting without a timeout.
    ///
    /// # Errors
    /// `EINVAL` if the memory is not a semaphore any more.
    #[doc(alias = "sem_wait")]
    pub fn acquire(&self) -> Result<()> {
        // SAFETY: open until the drop of `self`.
        retry(|| raw::call_c("sem_wait", || unsafe { libc::sem_wait(self.sem.as_ptr()) })).map(drop)
    }

    /// `sem_trywait(sem)`: decrements the semaphore if its value is not 0, and returns whether it did.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    #[doc(alias = "sem_trywait")]
    pub fn try_acquire(&self) -> Result<bool> {
        // SAFETY: open until the drop of `self`.
        match retry(|| raw::call_c("sem_trywait", || unsafe { libc::sem_trywait(self.sem.as_ptr()) })) {
            Err(Errno::AGAIN) => Ok(false),
            done => done.map(|_| true),
        }
    }

    /// `sem_clockwait(sem, CLOCK_MONOTONIC, deadline)`: decrements the semaphore within the deadline; false when the
    /// deadline has passed.
    ///
    /// musl knows only the wall clock (`sem_timedwait`). The call then waits by that clock, and once more if the clock
    /// was set forward. A clock that is set back makes the wait longer by as much.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    #[doc(alias = "sem_clockwait")]
    #[doc(alias = "sem_timedwait")]
    pub fn acquire_timeout(&self, timeout: impl Into<Deadline>) -> Result<bool> {
        // As CPython does: what is there is taken without a look at the clock.
        let deadline = timeout.into();
        if self.try_acquire()? {
            return Ok(true);
        }
        match deadline {
            Deadline::NOW => Ok(false),
            Deadline::NEVER => self.acquire().map(|()| true),
            deadline => self.acquire_until(deadline),
        }
    }

    fn acquire_until(&self, deadline: Deadline) -> Result<bool> {
        loop {
            match retry(|| self.wait_until(deadline)) {
                // The wall clock was put forward, or the instant was beyond what C's time can say.
                Err(Errno::TIMEDOUT) if !deadline.has_passed() => {}
                Err(Errno::TIMEDOUT) => return Ok(false),
                done => return done.map(|_| true),
            }
        }
    }

    #[cfg(target_env = "gnu")]
    fn wait_until(&self, deadline: Deadline) -> Result<c_int> {
        let at = pthread::on_the_steady_clock(deadline);
        let (sem, clock) = (self.sem.as_ptr(), libc::CLOCK_MONOTONIC);
        // SAFETY: open until the drop of `self`; `at` lives across the call.
        raw::call_c("sem_clockwait", || unsafe { raw::pthread::sem_clockwait(sem, clock, &at) })
    }

    #[cfg(not(target_env = "gnu"))]
    fn wait_until(&self, deadline: Deadline) -> Result<c_int> {
        let at = pthread::in_c(pthread::on_the_wall(deadline));
        let sem = self.sem.as_ptr();
        // SAFETY: open until the drop of `self`; `at` lives across the call.
        raw::call_c("sem_timedwait", || unsafe { libc::sem_timedwait(sem, &at) })
    }

    /// `sem_post(sem)`: increments the semaphore; any thread of any process may do so.
    ///
    /// # Errors
    /// `EOVERFLOW` at [`MAX_VALUE`].
    #[doc(alias = "sem_post")]
    pub fn release(&self) -> Result<()> {
        // SAFETY: open until the drop of `self`.
        raw::call_c("sem_post", || unsafe { libc::sem_post(self.sem.as_ptr()) }).map(drop)
    }

    /// `sem_getvalue(sem)`: the value of the semaphore, which may be outdated.
    ///
    /// # Errors
    /// `EINVAL` if the memory is not a semaphore any more.
    #[doc(alias = "sem_getvalue")]
    pub fn value(&self) -> Result<u32> {
        let mut value: c_int = 0;
        let (sem, place) = (self.sem.as_ptr(), &raw mut value);
        // SAFETY: open until the drop of `self`; the place lives across the call.
        raw::call_c("sem_getvalue", || unsafe { libc::sem_getvalue(sem, place) })?;
        // Linux never answers with the negative number of waiters.
        Ok(value.max(0) as u32)
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        // SAFETY: for the `sem_open` that made this value, which nobody can use any more. It is called again only if
        // the first call failed. sem_close(3) looks the address up first, and answers EINVAL if its record is gone.
        let close = || raw::call_c("sem_close", || unsafe { libc::sem_close(self.sem.as_ptr()) });
        // The second call matters only if the first did not reach the C library: then the record and the mapping are
        // still there. glibc removes the record even if munmap(2) fails; the mapping stays then.
        let _ = close().or_else(|_| close());
    }
}
