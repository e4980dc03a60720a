//! Starting a task: a function that the child knows by name, and its arguments.

use super::{Process, ProcessBuilder, Termination};
use crate::error::Result;
use crate::multiprocessing::context::{Context, get_start_method};
use crate::multiprocessing::start;
use crate::multiprocessing::tasks::{Arguments, Target, nameable, registered};
use crate::multiprocessing::transfer::pack;

impl Process {
    /// Starts a process by the default method, which runs `target` with `args` and ends with the exit code of its
    /// [answer](Termination): see [`ProcessBuilder::start`].
    ///
    /// # Errors
    /// As [`ProcessBuilder::start`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Process, Tasks, freeze_support, tasks};
    ///
    /// fn greet(name: String) {
    ///     println!("hello, {name}");
    /// }
    ///
    /// static TASKS: Tasks = tasks![greet];
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     let process = Process::spawn(greet, ("bob".to_owned(),))?;
    ///     process.join()?;
    ///     assert_eq!(process.exit_code(), Some(0));
    ///     Ok(())
    /// }
    /// ```
    #[doc(alias = "Process.start")]
    pub fn spawn<F, Args>(target: F, args: Args) -> Result<Self>
    where
        F: Target<Args>,
        F::Output: Termination,
        Args: Arguments + Send + 'static,
    {
        Self::builder().start(target, args)
    }
}

impl ProcessBuilder {
    /// Starts it by the method of its [context](Self::context), otherwise by the default one: it runs `target` with `args`
    /// and ends with the exit code of the answer.
    ///
    /// A process that is not a copy of this one gets the arguments as serde values, which may hold connections, locks,
    /// shared memory and open files. Otherwise the process has only this process's environment, directory, standard
    /// output and standard error. With [`Forkserver`](Context::Forkserver) only the directory is this process's; that
    /// context lists what comes from the server. The process must know the function by name, from the table that was
    /// given to [`freeze_support`](crate::multiprocessing::freeze_support). When this returns, the process has all its
    /// arguments and its task has begun.
    ///
    /// With [`Fork`](Context::Fork) the process is a copy, and has copies of all pipe ends of this process besides its
    /// arguments. So a task that ends with its pipe does not end there: use [`fork_with`](Self::fork_with). This call
    /// closes nothing in the copy, as Python's fork does not: a function may use a queue or pipe of a `static` that is
    /// not among its arguments.
    ///
    /// # Errors
    /// * [`UnknownTask`](crate::ErrorKind::UnknownTask) when `target` stands in no table, or none was given yet.
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput) when `args` cannot be serialised.
    /// * [`StartFailed`](crate::ErrorKind::StartFailed) when the new process ended, refused the task or was not heard of within
    ///   [`set_start_timeout`](crate::multiprocessing::set_start_timeout) or [`start_timeout`](Self::start_timeout): the
    ///   message says why, and [`Error::exit_status`](crate::Error::exit_status) how the process ended.
    /// * [`Os`](crate::ErrorKind::Os) when it could not be made: `EAGAIN`, `ENOMEM`, `EMFILE`; `ENOENT`, `EACCES` and
    ///   others of `execve` for the program of [`set_executable`](crate::multiprocessing::set_executable).
    /// * [`Unsupported`](crate::ErrorKind::Unsupported) for an option that the method cannot give, such as
    ///   [`env`](Self::env) without [`Spawn`](Context::Spawn).
    /// * [`Os`](crate::ErrorKind::Os) with the kernel's errno for [`current_dir`](Self::current_dir), [`uid`](Self::uid) and
    ///   similar options, the same with every method. The message names the value, and
    ///   [`Error::exit_status`](crate::Error::exit_status) is `None`.
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput) for an option that cannot be: a directory with a zero byte, a
    ///   [`umask`](Self::umask) above `0o777`, a process group below 0.
    /// * Those of [`fork`](Self::fork) and [`thread`](Self::thread) by these methods.
    ///
    /// No process and no descriptor is left then.
    pub fn start<F, Args>(self, target: F, args: Args) -> Result<Process>
    where
        F: Target<Args>,
        F::Output: Termination,
        Args: Arguments + Send + 'static,
    {
        nameable::<F>();
        match self.wanted().unwrap_or_else(get_start_method) {
            Context::Fork => self.fork(|| target.call(args)),
            Context::Thread => self.thread(move || target.call(args)),
            method @ (Context::Spawn | Context::Forkserver) => {
                let task = registered(target)?;
                let arguments = pack(&args)?;
                drop(args);
                self.begin(method, |passport, patience| match method {
                    Context::Forkserver => start::forkserver::forkserver(passport, &task, &arguments, patience),
                    _ => start::spawn::spawn(passport, &task, &arguments, patience),
                })
            }
        }
    }
}
