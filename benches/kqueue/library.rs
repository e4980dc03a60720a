//! kqueue(2) and kevent(2) of a shared library: of `sys/kqueue-c`, or of libkqueue.

use std::ffi::{CStr, CString, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null;

use ossature_sys::kqueue::Kevent;

type Make = unsafe extern "C" fn() -> c_int;
type Control =
    unsafe extern "C" fn(c_int, *const Kevent, c_int, *mut MaybeUninit<Kevent>, c_int, *const libc::timespec) -> c_int;

/// A library with these two functions, which stays loaded.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    make: Make,
    control: Control,
}

impl Library {
    /// The C library of this project, built first; `None`, with a message, if the build fails.
    pub fn ours() -> Option<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sys/kqueue-c/Cargo.toml");
        let target: PathBuf = std::env::current_exe().ok()?.parent()?.join("kqueue-c");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--release", "--manifest-path"]).arg(manifest).arg("--target-dir").arg(&target);
        let built = cargo.status().is_ok_and(|status| status.success());
        let library = built.then(|| Self::load(&target.join("release/libkqueue.so"))).flatten();
        if library.is_none() {
            eprintln!("kqueue: the C library does not build here, so its rows are left out");
        }
        library
    }

    /// libkqueue, from the path in the environment variable LIBKQUEUE.
    pub fn libkqueue() -> Option<Self> {
        Self::load(Path::new(&std::env::var_os("LIBKQUEUE")?))
    }

    fn load(path: &Path) -> Option<Self> {
        let path = CString::new(path.to_str()?).ok()?;
        // SAFETY: the path is a C string; what the library does as it is loaded is vouched for by whoever names it.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if library.is_null() {
            return None;
        }
        let (make, control) = (symbol(library, c"kqueue")?, symbol(library, c"kevent")?);
        // SAFETY: kqueue(2) has this type in every library that has it.
        let make = unsafe { std::mem::transmute::<*mut c_void, Make>(make) };
        // SAFETY: so has kevent(2), and `Kevent` has the layout of `struct kevent`.
        let control = unsafe { std::mem::transmute::<*mut c_void, Control>(control) };
        Some(Self { make, control })
    }

    /// A queue.
    pub fn queue(self) -> Queue {
        // SAFETY: kqueue(2) takes nothing.
        let fd = unsafe { (self.make)() };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the answer is a new descriptor that nobody else owns.
        Queue { library: self, fd: unsafe { OwnedFd::from_raw_fd(fd) } }
    }
}

fn symbol(library: *mut c_void, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the handle is dlopen's, and the name is a C string.
    Some(unsafe { libc::dlsym(library, name.as_ptr()) }).filter(|symbol| !symbol.is_null())
}

/// A queue of a library.
#[derive(Debug)]
pub struct Queue {
    library: Library,
    fd: OwnedFd,
}

impl Queue {
    pub fn change(&self, change: &Kevent) {
        let nothing = std::ptr::null_mut();
        // SAFETY: kevent(2) reads one record.
        assert_eq!(unsafe { (self.library.control)(self.fd.as_raw_fd(), change, 1, nothing, 0, null()) }, 0);
    }

    pub fn wait<'r>(&self, room: &'r mut [MaybeUninit<Kevent>]) -> &'r [Kevent] {
        let (place, len) = (room.as_mut_ptr(), room.len() as c_int); // a thousand at most
        // SAFETY: kevent(2) writes at most `len` records, for which there is room.
        let filled = unsafe { (self.library.control)(self.fd.as_raw_fd(), null(), 0, place, len, null()) };
        assert!(filled >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: the first `filled` records were written.
        unsafe { std::slice::from_raw_parts(room.as_ptr().cast(), filled as usize) } // not negative
    }
}
