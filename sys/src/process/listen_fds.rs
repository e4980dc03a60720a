//! The sockets that a service manager passes to a process, and the environment that describes them.
//!
//! Here bare numbers become owned descriptors. So this module checks the sockets when the program is loaded, before any
//! code of the program has run. A descriptor that is open at that time has no owner in the process. That does not hold
//! for a library that dlopen(3) loads; see [`ListenFds::take`].

use core::ffi::{CStr, c_int};
use core::hint::black_box;
use core::str::{self, FromStr};
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed, Ordering::SeqCst};

use crate::errno::{Errno, Result};
use crate::fd::{FromRawFd, OwnedFd, RawFd};
use crate::raw;
use crate::raw::process as raw_process;

/// The first descriptor that a service manager hands over: `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

/// The number of the process that was started with such sockets; 0 for none.
static PROCESS: AtomicI32 = AtomicI32::new(0);
/// The number after the last announced descriptor.
static ANNOUNCED: AtomicI32 = AtomicI32::new(FIRST);
/// The number after the last descriptor that was a listening socket at that time; all descriptors before it were such
/// sockets, too.
static FIT: AtomicI32 = AtomicI32::new(FIRST);
/// Whether the sockets were taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The function that the loader calls before `main`, in the program's only thread.
// SAFETY: the section is an array of pointers to functions, which the loader calls as C functions, also in a library at
// its dlopen. The function takes no arguments, so which arguments a loader passes (glibc: argc, argv and the
// environment; musl: none) does not matter.
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = find;

extern "C" fn find() {
    let process = super::id().as_raw_nonzero().get();
    if variable(c"LISTEN_PID") != Some(process) {
        return;
    }
    let Some(count) = variable::<u64>(c"LISTEN_FDS") else { return };
    // More than there can be: the first that is not open is the error.
    let announced = RawFd::try_from(count).ok().and_then(|count| FIRST.checked_add(count)).unwrap_or(RawFd::MAX);
    let fit = (FIRST..announced).take_while(|fd| check(*fd).is_ok()).count();
    ANNOUNCED.store(announced, Relaxed);
    FIT.store(FIRST + fit as RawFd, Relaxed);
    PROCESS.store(process, SeqCst);
}

/// Reads a number from the environment.
fn variable<N: FromStr>(name: &CStr) -> Option<N> {
    // SAFETY: the name ends with a zero. Code that changes the environment promises that nothing reads it meanwhile,
    // except through the lock of its own language. Before `main` nothing changes it, and for a dlopen `take` demands
    // the same.
    let text = unsafe { libc::getenv(name.as_ptr()) };
    if text.is_null() {
        return None;
    }
    // SAFETY: getenv(3) returned a text that ends with a zero, which stays until the environment is changed.
    let text = unsafe { CStr::from_ptr(text) };
    str::from_utf8(text.to_bytes()).ok()?.parse().ok()
}

/// The listening sockets of a service manager, closed on exec. Dropping this closes the sockets that were not taken
/// out.
///
/// # Examples
/// ```
/// use ossature_sys::process::{ListenFds, ListenFdsError};
///
/// let sockets = ListenFds::take()?;
/// assert_eq!(sockets.len(), 0, "no service manager started this test");
/// # Ok::<(), ListenFdsError>(())
/// ```
#[derive(Debug)]
#[doc(alias = "sd_listen_fds")]
pub struct ListenFds {
    next: RawFd,
    end: RawFd,
}

/// The reason why the descriptors cannot be taken. None was taken, and the call may be repeated.
///
/// # Examples
/// ```
/// use ossature_sys::process::{ListenFds, ListenFdsError};
///
/// match ListenFds::take() {
///     Ok(sockets) => println!("{} sockets", sockets.len()),
///     Err(ListenFdsError::NotOpen(number)) => panic!("descriptor {number} is missing"),
///     Err(other) => panic!("{other:?}"),
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ListenFdsError {
    /// This descriptor is not open.
    NotOpen(RawFd),
    /// This descriptor is not a listening socket.
    NotListening(RawFd),
    /// This program opened the descriptor: it is closed on exec, or was not open when the program was loaded.
    OpenedHere(RawFd),
    /// The kernel refused a call.
    Os(Errno),
}

impl ListenFds {
    /// Takes the listening sockets that a service manager opened before this process executed its program, from
    /// descriptor 3 on. `LISTEN_FDS` is their number, if `LISTEN_PID` is this process. The result is empty if there are
    /// no sockets, in a forked child, and after the first call that succeeded.
    ///
    /// A bare number becomes an owned descriptor here. This is sound because the descriptor has no other owner in this
    /// process:
    ///
    /// * The descriptor was open when the program was loaded, before any code of the program ran. Only the environment
    ///   of that time counts.
    /// * The protocol of sd_listen_fds(3) gives the descriptor to the process whose number is in `LISTEN_PID`, and this
    ///   call takes the descriptor once.
    /// * The descriptor was a listening socket at that time and is one now, and does not have the close-on-exec flag.
    ///   The files that std and this crate open have the flag. So this is still the descriptor that came through exec,
    ///   and not another with the same number.
    ///
    /// **In a library that is loaded by dlopen(3)** the first point does not hold. This code then runs at the call of
    /// dlopen, when the program has run for long, may have other threads, and may have changed its environment. A
    /// listening socket of the program that is not closed on exec can have a number from 3 on by then. So a program
    /// that gets its sockets from a service manager and loads such a library takes the sockets itself first, and
    /// removes `LISTEN_PID` and `LISTEN_FDS` before the dlopen. Without these variables this call returns an empty
    /// result. Another thread must not change the environment during the dlopen, as for every getenv(3).
    ///
    /// # Errors
    /// [`ListenFdsError`] for the first descriptor that does not fit.
    pub fn take() -> core::result::Result<Self, ListenFdsError> {
        black_box(&AT_LOAD); // the linker keeps what is used
        let none = Self { next: FIRST, end: FIRST };
        let is_meant = PROCESS.load(SeqCst) == super::id().as_raw_nonzero().get();
        if !is_meant || TAKEN.swap(true, SeqCst) {
            return Ok(none);
        }
        match check_all(ANNOUNCED.load(Relaxed), FIT.load(Relaxed)) {
            Ok(end) => Ok(Self { next: FIRST, end }),
            Err(error) => {
                TAKEN.store(false, SeqCst);
                Err(error)
            }
        }
    }
}

/// Checks all descriptors before it changes any, and returns the number after the last one.
fn check_all(announced: RawFd, fit: RawFd) -> core::result::Result<RawFd, ListenFdsError> {
    for fd in FIRST..fit {
        check(fd)?;
    }
    if fit < announced {
        // The descriptor was not a listening socket when the program was loaded. If it is one now, the program opened
        // it.
        return Err(check(fit).err().unwrap_or(ListenFdsError::OpenedHere(fit)));
    }
    for fd in FIRST..fit {
        let closed = raw::call_c("fcntl", || {
            // SAFETY: F_SETFD takes a number and an int; for a number that is not open it returns EBADF.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }
        });
        closed.map_err(ListenFdsError::Os)?;
    }
    Ok(fit)
}

fn check(fd: RawFd) -> core::result::Result<(), ListenFdsError> {
    let flags = raw::call_c("fcntl", || {
        // SAFETY: F_GETFD takes a number; for one that is not open it returns EBADF.
        unsafe { libc::fcntl(fd, libc::F_GETFD) }
    });
    match flags {
        Err(Errno::BADF) => return Err(ListenFdsError::NotOpen(fd)),
        Err(error) => return Err(ListenFdsError::Os(error)),
        Ok(flags) if flags & libc::FD_CLOEXEC != 0 => return Err(ListenFdsError::OpenedHere(fd)),
        Ok(_) => {}
    }
    let (mut listens, mut size): (c_int, _) = (0, size_of::<c_int>() as libc::socklen_t);
    let asked = raw::call_c("getsockopt", || {
        let place = (&raw mut listens).cast();
        // SAFETY: the kernel writes at most `size` bytes to `listens`, which is an int of its own, and the new size to
        // `size`.
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, place, &raw mut size) }
    });
    match asked {
        Ok(_) if listens != 0 => Ok(()),
        Ok(_) | Err(Errno::NOTSOCK) => Err(ListenFdsError::NotListening(fd)),
        Err(error) => Err(ListenFdsError::Os(error)),
    }
}

impl Iterator for ListenFds {
    type Item = OwnedFd;

    fn next(&mut self) -> Option<OwnedFd> {
        if self.next == self.end {
            return None;
        }
        let fd = self.next;
        self.next += 1;
        // SAFETY: `take` found this number open, and each number is given out once. `take` argues that it has no other
        // owner.
        Some(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.end - self.next) as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for ListenFds {}

impl Drop for ListenFds {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

/// `unsetenv(name)`, if this process has one thread only; returns whether the variable is unset.
///
/// Beside a second thread the call would be a data race with `getenv(3)` in that thread, which no lock of Rust
/// prevents.
///
/// # Errors
/// `EINVAL` for a name that is empty or has a `=` in it, `ENOMEM`.
///
/// # Examples
/// ```standalone_crate
/// use ossature_sys::process::remove_variable_if_alone;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// if remove_variable_if_alone(c"LISTEN_PID")? {
///     assert!(std::env::var_os("LISTEN_PID").is_none());
/// }
/// # Ok(()) }
/// ```
#[doc(alias = "unsetenv")]
pub fn remove_variable_if_alone(name: &CStr) -> Result<bool> {
    // The kernel knows whether the address space is shared. If a sandbox forbids the call, the variable stays.
    if raw_process::unshare_vm().is_err() {
        return Ok(false);
    }
    raw::call_c("unsetenv", || {
        // SAFETY: the name ends with a zero. This is the only thread, so nothing reads or writes the environment
        // meanwhile.
        unsafe { libc::unsetenv(name.as_ptr()) }
    })
    .map(|_| true)
}
