//! Starting a task: a function that the child finds by name, and its arguments.

use std::fmt::Debug;

use super::{Ends, Process, ProcessBuilder, ProcessValue, Termination};
use crate::error::Result;
use crate::multiprocessing::context::{Context, get_start_method};
use crate::multiprocessing::start;
use crate::multiprocessing::tasks::{
    Arguments, Form, Registered, Target, answer_result, answer_value, nameable, registered,
};
use crate::multiprocessing::transfer::{Packed, Transfer, pack};

impl Process {
    /// Starts a process with the default method. It runs `target` with `args` and ends with the exit code of the
    /// [return value](Termination): see [`ProcessBuilder::start`].
    ///
    /// The arguments are owned, since they go to another process: of a shared object give a clone,
    /// `value.try_clone()?`, and of a `&str` a `String`.
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

    /// Starts a process with the default method. It runs `target` with `args`, and a join returns the value of
    /// `target`: see [`ProcessBuilder::start_value`].
    ///
    /// # Errors
    /// As [`ProcessBuilder::start`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Process, Tasks, freeze_support, tasks};
    ///
    /// fn primes_below(limit: u32) -> Vec<u32> {
    ///     (2..limit).filter(|n| (2..*n).all(|d| n % d != 0)).collect()
    /// }
    ///
    /// static TASKS: Tasks = tasks![primes_below];
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     let primes = Process::spawn_value(primes_below, (20,))?;
    ///     assert_eq!(primes.join()?, [2, 3, 5, 7, 11, 13, 17, 19]);
    ///     Ok(())
    /// }
    /// ```
    pub fn spawn_value<F, Args>(target: F, args: Args) -> Result<ProcessValue<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments + Send + 'static,
    {
        Self::builder().start_value(target, args)
    }

    /// Does what [`spawn_value`](Self::spawn_value) does, for a function that returns a `Result`. The join returns the
    /// value, or an error with the text of the function's error. That error may have any type that is `Debug`.
    ///
    /// # Errors
    /// As [`ProcessBuilder::start`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::ErrorKind;
    /// use ossature::multiprocessing::{Process, Tasks, freeze_support, tasks};
    ///
    /// fn length(path: String) -> std::io::Result<u64> {
    ///     Ok(std::fs::metadata(path)?.len())
    /// }
    ///
    /// static TASKS: Tasks = tasks![length];
    ///
    /// fn main() -> ossature::Result<()> {
    ///     freeze_support(TASKS);
    ///     assert!(Process::spawn_result(length, ("/proc/self/exe".to_owned(),))?.join()? > 0);
    ///     let error = Process::spawn_result(length, ("/nonexistent".to_owned(),))?.join().unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::TaskFailed);
    ///     assert!(error.to_string().contains("NotFound"));
    ///     Ok(())
    /// }
    /// ```
    pub fn spawn_result<F, Args, T, E>(target: F, args: Args) -> Result<ProcessValue<T>>
    where
        F: Target<Args, Output = std::result::Result<T, E>>,
        T: Transfer,
        E: Debug,
        Args: Arguments + Send + 'static,
    {
        Self::builder().start_result(target, args)
    }

    /// Makes a builder for a process, with a name and other settings.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::new()
    }

    /// Starts a copy of this process that has only the given ends of pipes and connections: see
    /// [`ProcessBuilder::fork_with`].
    ///
    /// # Errors
    /// As [`ProcessBuilder::fork`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::{Process, pipe};
    ///
    /// let (near, far) = pipe()?;
    /// let child = Process::fork_with(far, |far| while far.recv::<u32>().is_ok() {})?;
    /// near.send(&7_u32)?;
    /// drop(near); // this ends the pipe, because the child has no copy
    /// assert!(child.join()?.success());
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn fork_with<E: Ends, R: Termination>(ends: E, body: impl FnOnce(E) -> R) -> Result<Self> {
        Self::builder().fork_with(ends, body)
    }

    /// Starts a copy of this process with *all* its pipe ends, connections and listeners. For a child that uses a pipe,
    /// call [`fork_with`](Self::fork_with) with its end: a child that also holds the other end never sees the pipe end.
    ///
    /// The copy runs `body` and ends with the exit code of its [answer](Termination): see [`ProcessBuilder::fork`].
    ///
    /// # Errors
    /// As [`ProcessBuilder::fork`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::Process;
    ///
    /// let name = String::from("bob");
    /// let process = Process::fork(|| println!("hello {name}"))?;
    /// process.join()?;
    /// assert_eq!(process.exit_code(), Some(0));
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn fork<R: Termination>(body: impl FnOnce() -> R) -> Result<Self> {
        Self::builder().fork(body)
    }

    /// Starts a copy of this process that runs `body`. A join returns the value of `body`: see
    /// [`ProcessBuilder::fork`].
    ///
    /// # Errors
    /// As [`ProcessBuilder::fork`].
    ///
    /// # Examples
    /// ```standalone_crate
    /// use ossature::multiprocessing::Process;
    ///
    /// let words = ["one", "two"];
    /// let long = Process::fork_value(|| words.join(" and "))?;
    /// assert_eq!(long.join()?, "one and two");
    /// # Ok::<(), ossature::Error>(())
    /// ```
    pub fn fork_value<T: Transfer>(body: impl FnOnce() -> T) -> Result<ProcessValue<T>> {
        Self::builder().fork_value(body)
    }

    /// Does what [`fork_value`](Self::fork_value) does, for a closure that returns a `Result`: see
    /// [`spawn_result`](Self::spawn_result).
    ///
    /// # Errors
    /// As [`ProcessBuilder::fork`].
    ///
    /// # Examples
    /// See the example of [`ProcessValue`].
    pub fn fork_result<T: Transfer, E: Debug>(
        body: impl FnOnce() -> std::result::Result<T, E>,
    ) -> Result<ProcessValue<T>> {
        Self::builder().fork_result(body)
    }
}

impl ProcessBuilder {
    /// Starts the process with the method of its [context](Self::context), otherwise with the default method. The
    /// process runs `target` with `args` and ends with the exit code of the return value.
    ///
    /// A process that is not a copy of this process receives the arguments as serde values. These may contain
    /// connections, locks, shared memory and open files. Otherwise the process has only this process's environment,
    /// directory, standard output and standard error. With [`Forkserver`](Context::Forkserver) only the directory is
    /// this process's; that context lists what comes from the server. The process must know the function by name, from
    /// the table that was given to [`freeze_support`](crate::multiprocessing::freeze_support). When this returns, the
    /// process has all its arguments and its task has begun.
    ///
    /// With [`Fork`](Context::Fork) the process is a copy, and has copies of all pipe ends of this process besides its
    /// arguments. So a task that ends with its pipe does not end there: use [`fork_with`](Self::fork_with). This call
    /// closes nothing in the copy, as Python's fork does not. A function may use a queue or pipe of a `static` that is
    /// not among its arguments.
    ///
    /// # Errors
    /// * [`UnknownTask`](crate::ErrorKind::UnknownTask) when no table contains `target`, or no table was registered
    ///   yet.
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput) when `args` cannot be serialised.
    /// * [`StartFailed`](crate::ErrorKind::StartFailed) when the new process ended, refused the task or did not answer
    ///   within [`set_start_timeout`](crate::multiprocessing::set_start_timeout) or
    ///   [`start_timeout`](Self::start_timeout). The message says why, and
    ///   [`Error::exit_status`](crate::Error::exit_status) how the process ended.
    /// * [`Os`](crate::ErrorKind::Os) when it could not be made: `EAGAIN`, `ENOMEM`, `EMFILE`; `ENOENT`, `EACCES` and
    ///   others of `execve` for the program of [`set_executable`](crate::multiprocessing::set_executable).
    /// * [`Unsupported`](crate::ErrorKind::Unsupported) for an option that the method cannot give, such as
    ///   [`env`](Self::env) without [`Spawn`](Context::Spawn).
    /// * [`Os`](crate::ErrorKind::Os) with the kernel's errno for [`current_dir`](Self::current_dir),
    ///   [`uid`](Self::uid) and similar options, the same with every method. The message names the value, and
    ///   [`Error::exit_status`](crate::Error::exit_status) is `None`.
    /// * [`InvalidInput`](crate::ErrorKind::InvalidInput) for an option that cannot be: a directory with a zero byte, a
    ///   [`umask`](Self::umask) above `0o777`, a process group below 0.
    /// * Those of [`fork`](Self::fork) and [`thread`](Self::thread) by these methods.
    ///
    /// Then no process and no descriptor remains.
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
                let task = registered(target, Form::Code)?;
                let arguments = pack(&args)?;
                drop(args);
                self.order(method, &task, &arguments)
            }
        }
    }

    /// Does what [`start`](Self::start) does, and a [join](ProcessValue::join) returns the value of `target`. A `u8` or
    /// `i32` is a value here, not an exit code: the process ends with exit code 0.
    ///
    /// The value is sent over a pipe of its own, with the open files and shared memory in it, as over a
    /// [`pipe()`](crate::multiprocessing::pipe()).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Examples
    /// See the example of [`ProcessValue`].
    pub fn start_value<F, Args>(self, target: F, args: Args) -> Result<ProcessValue<F::Output>>
    where
        F: Target<Args>,
        F::Output: Transfer,
        Args: Arguments + Send + 'static,
    {
        nameable::<F>();
        match self.wanted().unwrap_or_else(get_start_method) {
            Context::Fork => self.fork_value(|| target.call(args)),
            Context::Thread => {
                ProcessValue::begin(|_, end| self.thread(move || answer_value(&end, &target.call(args))))
            }
            method => self.order_answer(method, &registered(target, Form::Value)?, args),
        }
    }

    /// Does what [`start_value`](Self::start_value) does, for a function that returns a `Result`: see
    /// [`Process::spawn_result`]. After an error the process prints the error to standard error and ends with exit code
    /// 1, as after [`start`](Self::start).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Examples
    /// See the example of [`ProcessValue`].
    pub fn start_result<F, Args, T, E>(self, target: F, args: Args) -> Result<ProcessValue<T>>
    where
        F: Target<Args, Output = std::result::Result<T, E>>,
        T: Transfer,
        E: Debug,
        Args: Arguments + Send + 'static,
    {
        nameable::<F>();
        match self.wanted().unwrap_or_else(get_start_method) {
            Context::Fork => self.fork_result(|| target.call(args)),
            Context::Thread => {
                ProcessValue::begin(|_, end| self.thread(move || answer_result(&end, target.call(args))))
            }
            method => self.order_answer(method, &registered(target, Form::Result)?, args),
        }
    }

    /// Does what [`fork`](Self::fork) does, and a [join](ProcessValue::join) returns the value of `body`.
    ///
    /// # Errors
    /// As [`fork`](Self::fork).
    ///
    /// # Examples
    /// See the example of [`Process::fork_value`].
    pub fn fork_value<T: Transfer>(self, body: impl FnOnce() -> T) -> Result<ProcessValue<T>> {
        ProcessValue::begin(|parent, end| {
            self.fork(|| {
                drop(parent.take()); // the copy of the parent's end
                answer_value(&end, &body())
            })
        })
    }

    /// Does what [`fork_value`](Self::fork_value) does, for a closure that returns a `Result`: see
    /// [`Process::spawn_result`].
    ///
    /// # Errors
    /// As [`fork`](Self::fork).
    ///
    /// # Examples
    /// See the example of [`ProcessValue`].
    pub fn fork_result<T: Transfer, E: Debug>(
        self,
        body: impl FnOnce() -> std::result::Result<T, E>,
    ) -> Result<ProcessValue<T>> {
        ProcessValue::begin(|parent, end| {
            self.fork(|| {
                drop(parent.take()); // the copy of the parent's end
                answer_result(&end, body())
            })
        })
    }

    /// Starts a process that is not a copy, with a task, and passes the task a connection for its answer.
    fn order_answer<T: Transfer, Args: Arguments>(
        self,
        method: Context,
        task: &Registered,
        args: Args,
    ) -> Result<ProcessValue<T>> {
        ProcessValue::begin(|_, end| {
            let arguments = pack(&(&end, &args))?;
            drop((end, args));
            self.order(method, task, &arguments)
        })
    }

    /// Starts a process that is not a copy, with a task.
    pub(crate) fn order(self, method: Context, task: &Registered, arguments: &Packed) -> Result<Process> {
        self.begin(method, |config, patience| match method {
            Context::Forkserver => start::forkserver::forkserver(config, task, arguments, patience),
            _ => start::spawn::spawn(config, task, arguments, patience),
        })
    }
}
