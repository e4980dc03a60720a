//! Starting another program, by a plan that is made beforehand.

mod argument;
mod error;
mod start;
mod steps;

use core::cell::Cell;
use core::ffi::{CStr, c_char};
use core::result::Result as Outcome;

use super::{Identity, Pid, Resource, Rlimit, Signal};
use crate::errno::{Errno, Result};
use crate::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use crate::signal::SignalSet;

pub use argument::{Argument, MissingEnd};
pub use error::{Stage, StartError};

/// The properties of a new program: image, arguments, environment, descriptors, and the state of its process.
///
/// All of it is in the caller's memory. So a start allocates nothing, takes no lock and runs no code of the user's
/// between clone and exec. It works beside any number of threads. Everything that the plan does not set is inherited,
/// like the environment. Signal handlers become default, ignored signals stay ignored.
///
/// Differs from Python's `subprocess`: no shell and no search along `PATH`; name the file.
///
/// # Examples
/// A program that gets a pipe as its standard output and none of this process's environment:
/// ```
/// use ossature_sys::{fd, pipe, process::{Argument, ExitStatus, Inherit, Plan}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// let arguments = [Argument::new(c"echo"), Argument::new(c"bones"), Argument::END];
/// let descriptors = [Inherit::as_number(&writer, 1)?];
/// let environment = [Argument::END];
/// let mut child = Plan::new(c"/bin/echo", &arguments)?
///     .environment(&environment)?
///     .descriptors(&descriptors)
///     .start()?;
/// assert_eq!(child.wait()?, ExitStatus::Code(0));
/// let mut text = [0; 16];
/// assert_eq!(fd::read(&reader, &mut text)?, 6);
/// assert_eq!(&text[..6], b"bones\n");
/// # Ok(()) }
/// ```
///
/// A program whose surroundings this process sets:
/// ```
/// use std::fs::File;
/// use ossature_sys::process::{Argument, Group, Identity, Plan, Resource, Rlimit, Signal};
/// use ossature_sys::signal::SignalSet;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let script = c"test $(pwd) = / && test $(umask) = 0077 && test $(ulimit -c) = 0";
/// let arguments = [Argument::new(c"sh"), Argument::new(c"-c"), Argument::new(script), Argument::END];
/// let limits = [(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })];
/// let plan = Plan::new(c"/bin/sh", &arguments)?
///     .close_other_descriptors()
///     .directory(c"/")
///     .umask(0o077)
///     .group(Group::Session)
///     .parent_death_signal(Signal::KILL)
///     .limits(&limits)
///     .identity(Identity::default())
///     .blocked_signals(SignalSet::EMPTY)
///     .default_signals()
///     .subreaper()
///     .effective_ids_only();
/// assert!(plan.start()?.wait()?.success());
///
/// let root = File::open("/")?;
/// assert!(plan.directory_at(&root).start()?.wait()?.success());
/// assert!(plan.cgroup(&root).start().is_err(), "the root directory is not a cgroup");
/// # Ok(()) }
/// ```
#[doc(alias = "posix_spawn")]
#[doc(alias = "execve")]
#[derive(Clone, Copy, Debug)]
#[must_use = "a plan does nothing until it is started"]
pub struct Plan<'a> {
    program: Program<'a>,
    arguments: &'a [Argument<'a>],
    environment: Option<&'a [Argument<'a>]>,
    descriptors: &'a [Inherit<'a>],
    close_others: bool,
    directory: Directory<'a>,
    umask: Option<u32>,
    group: Group,
    parent_death: Option<Signal>,
    limits: &'a [(Resource, Rlimit)],
    identity: Identity<'a>,
    blocked: Option<SignalSet>,
    default_signals: bool,
    cgroup: Option<BorrowedFd<'a>>,
    subreaper: bool,
    effective_only: bool,
}

#[derive(Clone, Copy, Debug)]
enum Program<'a> {
    Path(&'a CStr),
    Image(BorrowedFd<'a>),
}

#[derive(Clone, Copy, Debug)]
enum Directory<'a> {
    Inherited,
    Path(&'a CStr),
    Open(BorrowedFd<'a>),
}

/// The process group of a new program.
///
/// # Examples
/// ```
/// use ossature_sys::process::{Argument, Group, Plan};
///
/// let arguments = [Argument::new(c"true"), Argument::END];
/// let mut leader = Plan::new(c"/bin/true", &arguments)?.group(Group::New).start()?;
/// let mut member = Plan::new(c"/bin/true", &arguments)?.group(Group::Join(leader.pid())).start()?;
/// assert!(member.wait()?.success() && leader.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Group {
    /// The parent's group.
    #[default]
    Inherited,
    /// A new group, led by the new process: `setpgid(0, 0)`.
    New,
    /// An existing group of the same session: `setpgid(0, group)`.
    Join(Pid),
    /// A new session and group, without a terminal: `setsid()`.
    Session,
}

/// A descriptor for the new program, and its number there.
///
/// # Examples
/// ```
/// use ossature_sys::{fd, pipe, process::{Argument, Inherit, Plan}};
///
/// let (reader, writer) = pipe::pipe(pipe::Flags::empty())?;
/// let arguments = [Argument::new(c"sh"), Argument::new(c"-c"), Argument::new(c"echo marrow >&5"), Argument::END];
/// let (error, five) = (fd::stderr(), Inherit::as_number(&writer, 5)?);
/// let descriptors = [Inherit::as_is(&error), five];
/// assert!(Plan::new(c"/bin/sh", &arguments)?.descriptors(&descriptors).start()?.wait()?.success());
/// assert_eq!(pipe::unread(&reader)?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Inherit<'a> {
    source: BorrowedFd<'a>,
    target: RawFd,
    /// The number of the child's temporary copy, while the descriptors are placed.
    moved: Cell<RawFd>,
}

impl<'a> Inherit<'a> {
    /// `dup2(fd, number)` in the child: `fd` becomes descriptor `number` there and stays open on exec. Any set of
    /// numbers is possible, swapped ones included.
    ///
    /// # Errors
    /// `EBADF` when `number` is negative.
    pub fn as_number<F: AsFd>(fd: &'a F, number: RawFd) -> Result<Self> {
        if number < 0 {
            return Err(Errno::BADF);
        }
        Ok(Self { source: fd.as_fd(), target: number, moved: Cell::new(-1) })
    }

    /// Keeps `fd` open on exec under its own number.
    pub fn as_is<F: AsFd>(fd: &'a F) -> Self {
        let source = fd.as_fd();
        Self { source, target: source.as_raw_fd(), moved: Cell::new(-1) }
    }
}

impl<'a> Plan<'a> {
    /// A plan to run the file `program` with `arguments`, the first of which is the program's own name.
    ///
    /// # Errors
    /// [`MissingEnd`] when the last of `arguments` is not [`Argument::END`].
    pub fn new(program: &'a CStr, arguments: &'a [Argument<'a>]) -> Outcome<Self, MissingEnd> {
        Self::of(Program::Path(program), arguments)
    }

    /// A plan to run an open image (a file or a memfd), by `execveat(image, "", ..., AT_EMPTY_PATH)`.
    ///
    /// A script cannot be run in this way: its interpreter would find the descriptor closed.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    ///
    /// # Examples
    /// ```
    /// use ossature_sys::process::{Argument, Plan};
    ///
    /// let image = std::fs::File::open("/bin/sh")?;
    /// let arguments = [Argument::new(c"sh"), Argument::new(c"-c"), Argument::new(c"exit 3"), Argument::END];
    /// assert_eq!(Plan::of_image(&image, &arguments)?.start()?.wait()?.code(), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "fexecve")]
    #[doc(alias = "execveat")]
    pub fn of_image<F: AsFd>(image: &'a F, arguments: &'a [Argument<'a>]) -> Outcome<Self, MissingEnd> {
        Self::of(Program::Image(image.as_fd()), arguments)
    }

    fn of(program: Program<'a>, arguments: &'a [Argument<'a>]) -> Outcome<Self, MissingEnd> {
        Ok(Self {
            program,
            arguments: argument::ended(arguments)?,
            environment: None,
            descriptors: &[],
            close_others: false,
            directory: Directory::Inherited,
            umask: None,
            group: Group::Inherited,
            parent_death: None,
            limits: &[],
            identity: Identity::default(),
            blocked: None,
            default_signals: false,
            cgroup: None,
            subreaper: false,
            effective_only: false,
        })
    }

    /// The environment, as `NAME=value`; the default is the environment of this process.
    ///
    /// # Errors
    /// [`MissingEnd`] when the last of `environment` is not [`Argument::END`].
    pub fn environment(self, environment: &'a [Argument<'a>]) -> Outcome<Self, MissingEnd> {
        Ok(Self { environment: Some(argument::ended(environment)?), ..self })
    }

    /// The descriptors for the new program. Others stay open if they are not closed on exec.
    pub fn descriptors(self, descriptors: &'a [Inherit<'a>]) -> Self {
        Self { descriptors, ..self }
    }

    /// Closes every descriptor from 3 up that is not among [`descriptors`](Self::descriptors).
    #[doc(alias = "close_fds")]
    #[doc(alias = "close_range")]
    pub fn close_other_descriptors(self) -> Self {
        Self { close_others: true, ..self }
    }

    /// `chdir(path)`. A relative path of the program is then looked up there.
    #[doc(alias = "chdir")]
    pub fn directory(self, path: &'a CStr) -> Self {
        Self { directory: Directory::Path(path), ..self }
    }

    /// `fchdir(directory)`.
    #[doc(alias = "fchdir")]
    pub fn directory_at<F: AsFd>(self, directory: &'a F) -> Self {
        Self { directory: Directory::Open(directory.as_fd()), ..self }
    }

    /// `umask(mask)`: the permission bits that new files do not get.
    pub fn umask(self, mask: u32) -> Self {
        Self { umask: Some(mask), ..self }
    }

    /// The process group or session.
    pub fn group(self, group: Group) -> Self {
        Self { group, ..self }
    }

    /// `prctl(PR_SET_PDEATHSIG, signal)`: the signal that the program gets when the *thread* that starts it ends. If
    /// that thread ends before the call takes effect, the program is not started.
    #[doc(alias = "PR_SET_PDEATHSIG")]
    pub fn parent_death_signal(self, signal: Signal) -> Self {
        Self { parent_death: Some(signal), ..self }
    }

    /// `setrlimit(resource, limit)` for each element of the list.
    #[doc(alias = "setrlimit")]
    pub fn limits(self, limits: &'a [(Resource, Rlimit)]) -> Self {
        Self { limits, ..self }
    }

    /// `setgroups(...)`, `setgid(...)`, `setuid(...)`: the user and the groups. The child enters the directory and sets
    /// the limits and the process group with its previous rights.
    #[doc(alias = "setuid")]
    #[doc(alias = "setgid")]
    #[doc(alias = "setgroups")]
    pub fn identity(self, identity: Identity<'a>) -> Self {
        Self { identity, ..self }
    }

    /// Blocks exactly these signals in the program; the default is the mask of the calling thread.
    #[doc(alias = "sigprocmask")]
    pub fn blocked_signals(self, signals: impl Into<SignalSet>) -> Self {
        Self { blocked: Some(signals.into()), ..self }
    }

    /// Gives ignored signals their default action too. Rust programs ignore `SIGPIPE`, which most other programs do not
    /// expect to inherit.
    #[doc(alias = "restore_signals")]
    pub fn default_signals(self) -> Self {
        Self { default_signals: true, ..self }
    }

    /// `clone3(CLONE_INTO_CGROUP)`: starts the program in this cgroup (version 2), given as its open directory.
    #[doc(alias = "CLONE_INTO_CGROUP")]
    pub fn cgroup<F: AsFd>(self, directory: &'a F) -> Self {
        Self { cgroup: Some(directory.as_fd()), ..self }
    }

    /// `prctl(PR_SET_CHILD_SUBREAPER, 1)`: orphans among the program's descendants become its children.
    #[doc(alias = "PR_SET_CHILD_SUBREAPER")]
    pub fn subreaper(self) -> Self {
        Self { subreaper: true, ..self }
    }

    /// `setresgid(g, g, g)`, `setresuid(u, u, u)` with the effective group and user. The program cannot return to the
    /// real and saved ones, and its exec does not count as an exec that gives rights.
    #[doc(alias = "setresuid")]
    pub fn effective_ids_only(self) -> Self {
        Self { effective_only: true, ..self }
    }

    fn argv(&self) -> *const *const c_char {
        self.arguments.as_ptr().cast()
    }

    fn envp(&self) -> *const *const c_char {
        match self.environment {
            Some(environment) => environment.as_ptr().cast(),
            None => crate::raw::process::environment(),
        }
    }
}
