//! The type [`Terminal`], which reads a line from the terminal for a machine that edits, and then restores the
//! terminal.
//!
//! | event | effect |
//! | --- | --- |
//! | bytes | the machine processes them; its output is written |
//! | the user's interrupt character | the line is abandoned; the program's handler of SIGINT runs, if there is one |
//! | the user's suspend or quit character | the terminal is restored, then the signal is sent as the kernel would send it |
//! | SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP | the terminal is restored, then the signal takes its effect |
//! | SIGWINCH, or another size at a keystroke | the line is redrawn |
//! | a text of a [`Printer`] | it is printed above the line |
//! | a panic, an error, the end of the line | a guard restores the terminal's settings |
//!
//! No signal handler is installed. The signals are blocked in the calling thread for the length of the call, and read
//! from a descriptor. The kernel gives a signal of the process to another thread that does not block the signal. So in
//! a program with several threads the characters of the terminal work, and the other signals act as before.

mod printer;

use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::fd::{self, AsFd, BorrowedFd, OwnedFd};
use ossature_sys::poll::{PollFd, PollFlags, poll};
use ossature_sys::process::{group_of, signal_group};
use ossature_sys::signal::{self, Disposition, Masked, Signal, SignalSet};
use ossature_sys::signalfd::SignalFd;
use ossature_sys::tty::{self, Restore, SpecialCharacters};

pub use self::printer::Printer;
use self::printer::Queue;
use super::machine::Step;
use super::secret::Secret;
use crate::error::{Error, Result};

/// Sends a signal to this process's group, as the terminal would; its default action has happened when this returns.
///
/// The kernel may give the group's signal to another thread, which acts on the signal later. Meanwhile this thread
/// would take the terminal again. So this thread holds the signal back and sends one to itself too. The first of the
/// two that is taken acts on the whole process, and the kernel forgets the other when the process is continued.
fn signal_own_group(signal: Signal) -> ossature_sys::errno::Result<()> {
    let _until_both_are_sent = signal::block(signal)?;
    if signal::disposition(signal)? == Disposition::Default {
        signal::raise(signal)?;
    }
    group_of(None)?.map_or(Ok(()), |group| signal_group(group, signal))
}

/// A machine that a terminal drives: it takes bytes, and returns the bytes to write.
pub(crate) trait Typing {
    /// Begins a line.
    fn begin(&mut self, prompt: &[u8], out: &mut Vec<u8>) -> Step;
    /// Processes typed bytes.
    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step;
    /// Returns how long to wait for the rest of a key sequence; `None` when none has begun.
    fn timeout(&self) -> Option<Duration>;
    /// Reports that this time has passed.
    fn expire(&mut self, out: &mut Vec<u8>) -> Step;
    /// Sets the size of the window; 0 means unknown.
    fn resized(&mut self, columns: usize, rows: usize, out: &mut Vec<u8>);
    /// Sets the special characters of the user's terminal settings.
    fn special_characters(&mut self, special: &SpecialCharacters);
    /// Erases the line from the screen.
    fn erase(&mut self, out: &mut Vec<u8>);
    /// Moves the cursor below the line.
    fn leave(&mut self, out: &mut Vec<u8>);
    /// Draws the line again at the cursor.
    fn redraw(&mut self, out: &mut Vec<u8>);
    /// Ends the line, and resets the modes that were set for it.
    fn quit(&mut self, out: &mut Vec<u8>);
    /// Discards the line because of this character, which is shown as `^C` if the settings say so.
    fn interrupted(&mut self, character: u8, out: &mut Vec<u8>);
}

/// The signals that would leave the terminal without echo.
const ENDING: [Signal; 5] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::TSTP];

/// The size of one read in bytes.
const CHUNK: usize = 1024;

/// The maximum number of waiting bytes that are read before the machine processes and draws them.
const MOST_WAITING: usize = 1 << 16;

/// A terminal to read lines from: two descriptors, which need not be terminals.
///
/// If one of them is not a terminal, lines are read as they are, without editing and without escape sequences.
///
/// SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGTSTP give the terminal back before they take their effect, if the thread
/// that reads the line gets them. No handler is installed, so another thread that does not block them may get them
/// first. The program blocks them with [`signal::block`] where it starts such threads: threads inherit what is blocked.
///
/// # Examples
/// ```
/// use ossature::readline::{Step, Terminal};
/// use ossature::sys::{fd, pipe};
///
/// let (input, typed) = pipe::pipe(pipe::Flags::empty())?;
/// let (shown, output) = pipe::pipe(pipe::Flags::empty())?;
/// let mut terminal = Terminal::new(input, output)?;
/// assert!(!terminal.is_interactive());
/// terminal.printer().print("who is there?")?;
/// fd::write(&typed, b"sesame\n")?;
/// assert_eq!(terminal.read_password(b"> ")?, Step::Line(b"sesame".to_vec()));
/// let mut text = [0; 32];
/// let len = fd::read(&shown, &mut text)?;
/// assert_eq!(&text[..len], b"who is there?\r\n> ");
/// # Ok::<(), ossature::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Terminal {
    input: OwnedFd,
    output: OwnedFd,
    printer: Printer,
    /// The bytes read beyond the end of a plain line or of a password.
    ahead: Secret,
}

/// The event that ended a wait.
enum Event {
    Bytes,
    Expired,
    Signal(Signal),
    Print,
    End,
}

impl Terminal {
    /// Makes a terminal of standard input and standard output.
    ///
    /// # Errors
    /// Of kind `Os` when a descriptor is not open or none is left.
    pub fn stdio() -> Result<Self> {
        let copy = |fd: BorrowedFd<'_>| {
            fd::duplicate(fd)
                .map_err(|errno| Error::os(errno, "the terminal: cannot duplicate standard input or output"))
        };
        Self::new(copy(std::io::stdin().as_fd())?, copy(std::io::stdout().as_fd())?)
    }

    /// Makes a terminal that is read from `input` and written to `output`.
    ///
    /// # Errors
    /// Of kind `Os` when no descriptor is left.
    pub fn new(input: OwnedFd, output: OwnedFd) -> Result<Self> {
        let copy =
            fd::duplicate(&output).map_err(|errno| Error::os(errno, "the terminal: cannot duplicate its output"))?;
        Ok(Self { input, output, printer: Printer::new(copy)?, ahead: Secret::default() })
    }

    /// Whether lines are edited, rather than only read.
    ///
    /// # Examples
    /// See the example of [`Terminal`].
    #[doc(alias = "isatty")]
    pub fn is_interactive(&self) -> bool {
        tty::is_terminal(&self.input) && tty::is_terminal(&self.output)
    }

    /// Returns a handle for other threads, whose texts do not tear the line that is being edited.
    ///
    /// # Examples
    /// See the example of [`Terminal`].
    pub fn printer(&self) -> Printer {
        self.printer.clone()
    }

    /// Reads a line with the editing of `machine`.
    ///
    /// # Errors
    /// Of kind `Os` when the terminal cannot be read, written or set.
    pub(crate) fn read_line(&mut self, machine: &mut impl Typing, prompt: &[u8]) -> Result<Step> {
        if !self.is_interactive() {
            return self.plain_line(prompt);
        }
        let queue = self.printer.begin();
        let modes = Modes { machine, output: &self.output };
        let done = Session::new(&self.input, &self.output, &queue)
            .and_then(|mut session| session.run(&mut *modes.machine, prompt, &mut self.ahead));
        drop(modes);
        let late = queue.end();
        // Text that came too late for the line is written below it.
        done.and_then(|step| unless_hung_up(self.write(&late)).map(|_| step))
    }

    /// Reads a line without showing it.
    ///
    /// Backspace and Ctrl-U work, as the user has set them. The password goes to no history, no kill ring and no undo
    /// list. Every copy of it that the terminal made is overwritten; the line that is returned is the caller's to
    /// overwrite.
    ///
    /// # Errors
    /// Of kind `Os` when the terminal cannot be read, written or set.
    ///
    /// # Examples
    /// See the example of [`Terminal`].
    #[doc(alias = "getpass")]
    #[doc(alias = "getpass.getpass")]
    pub fn read_password(&mut self, prompt: &[u8]) -> Result<Step> {
        let mut password = Password::default();
        let step = self.read_line(&mut password, prompt);
        self.ahead.extend(&password.ahead);
        step
    }

    /// Reads a line from an input that is not a terminal.
    fn plain_line(&mut self, prompt: &[u8]) -> Result<Step> {
        let mut text = Vec::new();
        for part in super::width::prompt_parts(prompt) {
            if let super::width::Part::Visible(visible) = part {
                text.extend_from_slice(visible);
            }
        }
        let _ = unless_hung_up(self.write(&text))?; // reading says that the input has ended
        let mut searched = 0;
        loop {
            if let Some(end) = self.ahead.iter().skip(searched).position(|&b| b == b'\n') {
                let mut line = self.ahead.take(searched + end + 1);
                line.pop();
                return Ok(Step::Line(line));
            }
            searched = self.ahead.len();
            let input = &self.input;
            let read = self.ahead.read(CHUNK, |room| wait_readable(input.as_fd()).and_then(|()| fd::read(input, room)));
            if read.map_err(|errno| Error::os(errno, "the input: cannot be read"))? == 0 {
                let rest = self.ahead.take(usize::MAX);
                return Ok(if rest.is_empty() { Step::Eof } else { Step::Line(rest) });
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        write(self.output.as_fd(), bytes)
    }
}

fn wait_readable(fd: BorrowedFd<'_>) -> ossature_sys::errno::Result<()> {
    poll(&mut [PollFd::from_borrowed(fd, PollFlags::IN)], Deadline::NEVER).map(drop)
}

fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<()> {
    fd::write_all(fd, bytes, Deadline::NEVER)
        .map(drop)
        .map_err(|errno| Error::os(errno, "the terminal: cannot be written"))
}

/// Returns whether the operation succeeded; false if the other side of the terminal has hung up.
fn unless_hung_up(done: Result<()>) -> Result<bool> {
    match done {
        Err(error) if error.errno() == Some(Errno::IO) => Ok(false),
        done => done.map(|()| true),
    }
}

/// Resets the modes of the terminal that the machine has set, when this is dropped.
struct Modes<'m, M: Typing> {
    machine: &'m mut M,
    output: &'m OwnedFd,
}

impl<M: Typing> Drop for Modes<'_, M> {
    fn drop(&mut self) {
        let mut out = Vec::new();
        self.machine.quit(&mut out);
        if !out.is_empty() {
            // After an error or a panic the terminal may be closed; another error cannot be reported.
            let _ = write(self.output.as_fd(), &out);
        }
    }
}

/// The settings of one line, which are all undone when this is dropped.
struct Session<'t> {
    input: &'t OwnedFd,
    output: &'t OwnedFd,
    queue: &'t Queue<'t>,
    signals: SignalFd,
    /// The settings; `None` while the terminal is restored. Dropped in this order.
    settings: Option<(Restore<'t>, Masked)>,
    special: SpecialCharacters,
    out: Vec<u8>,
    size: (usize, usize),
}

impl<'t> Session<'t> {
    fn new(input: &'t OwnedFd, output: &'t OwnedFd, queue: &'t Queue<'t>) -> Result<Self> {
        let signals = SignalFd::new(Self::watched())
            .map_err(|errno| Error::os(errno, "the terminal: cannot create a descriptor for the signals"))?;
        let special = SpecialCharacters::default();
        let mut this = Self { input, output, queue, signals, settings: None, special, out: Vec::new(), size: (0, 0) };
        this.take()?;
        Ok(this)
    }

    fn watched() -> SignalSet {
        ENDING.into_iter().chain([Signal::WINCH]).collect()
    }

    /// Takes the terminal over: blocks the signals and applies the settings of a line editor.
    fn take(&mut self) -> Result<()> {
        let failed = |errno| Error::os(errno, "the terminal: its settings cannot be changed");
        self.special = tty::special_characters(self.input).map_err(failed)?;
        let masked = signal::block(Self::watched()).map_err(failed)?;
        let settings = tty::line_editing(self.input).map_err(failed)?;
        self.settings = Some((settings, masked));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let done = write(self.output.as_fd(), &self.out);
        self.out.clear();
        done
    }

    /// Reports the size of the window to the machine, if it has changed.
    fn measure(&mut self, machine: &mut impl Typing) {
        let size = tty::window_size(self.output).unwrap_or_default();
        let size = (size.columns.into(), size.rows.into());
        if size != self.size {
            self.size = size;
            machine.resized(size.0, size.1, &mut self.out);
        }
    }

    /// Runs the line; feeds the bytes that were read ahead to the machine once the line has begun.
    fn run(&mut self, machine: &mut impl Typing, prompt: &[u8], ahead: &mut Secret) -> Result<Step> {
        machine.special_characters(&self.special);
        let size = tty::window_size(self.output).unwrap_or_default();
        self.size = (size.columns.into(), size.rows.into());
        machine.resized(self.size.0, self.size.1, &mut self.out);
        let mut step = machine.begin(prompt, &mut self.out);
        let mut typed = std::mem::take(ahead);
        if !typed.is_empty() {
            step = match step {
                Step::More => self.typed(machine, &typed)?,
                // The line was there already: this belongs to the next one.
                ended => {
                    let _ = machine.feed(&typed, &mut self.out);
                    ended
                }
            };
        }
        while step == Step::More {
            let _ = unless_hung_up(self.flush())?; // waiting says that the input has ended
            typed.clear();
            step = match self.wait(&mut typed, machine.timeout())? {
                Event::Bytes => {
                    self.measure(machine);
                    self.typed(machine, &typed)?
                }
                Event::Expired => machine.expire(&mut self.out),
                Event::Signal(Signal::WINCH) => {
                    self.pass_on(Signal::WINCH)?;
                    self.measure(machine);
                    Step::More
                }
                Event::Signal(signal) => self.give_back(machine, |_| signal::raise(signal))?,
                Event::Print => {
                    self.print(machine);
                    Step::More
                }
                Event::End => {
                    machine.leave(&mut self.out);
                    Step::Eof
                }
            };
        }
        self.print(machine);
        unless_hung_up(self.flush()).map(|_| step)
    }

    /// Waits for an event. Reads all bytes that are typed already, up to a bound.
    fn wait(&mut self, typed: &mut Secret, timeout: Option<Duration>) -> Result<Event> {
        let failed = |errno| Error::os(errno, "the terminal: cannot be read");
        let deadline = timeout.map_or(Deadline::NEVER, Deadline::after);
        loop {
            let mut fds = [
                PollFd::new(self.input, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(self.queue.ready(), PollFlags::IN),
            ];
            let until = if typed.is_empty() { deadline } else { Deadline::NOW };
            if poll(&mut fds, until).map_err(failed)? == 0 {
                return Ok(if typed.is_empty() { Event::Expired } else { Event::Bytes });
            }
            let [input, signals, printer] = fds.map(|fd| !fd.revents().is_empty());
            if !typed.is_empty() && (!input || typed.len() >= MOST_WAITING) {
                return Ok(Event::Bytes);
            }
            if signals && typed.is_empty() {
                if let Some(signal) =
                    self.signals.read_one(Deadline::NOW).map_err(failed)?.and_then(|info| info.signal())
                {
                    return Ok(Event::Signal(signal));
                }
            }
            if printer && typed.is_empty() {
                return Ok(Event::Print);
            }
            if input {
                match typed.read(CHUNK, |room| fd::read(self.input, room)) {
                    // The other side has hung up; what was typed before counts.
                    Ok(0) | Err(Errno::IO) if typed.is_empty() => return Ok(Event::End),
                    Ok(0) | Err(Errno::IO) => return Ok(Event::Bytes),
                    Ok(_) => {}
                    Err(Errno::AGAIN) if !typed.is_empty() => return Ok(Event::Bytes),
                    Err(Errno::AGAIN) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
    }

    /// Processes bytes of the terminal, some of which mean signals.
    fn typed(&mut self, machine: &mut impl Typing, bytes: &[u8]) -> Result<Step> {
        let SpecialCharacters { interrupt, quit, suspend, .. } = self.special;
        let mut rest = bytes;
        while !rest.is_empty() {
            let special = rest.iter().position(|b| [interrupt, quit, suspend].contains(&Some(*b)));
            let (text, after) = rest.split_at_checked(special.unwrap_or(rest.len())).unwrap_or((rest, &[]));
            rest = after;
            if !text.is_empty() {
                let step = machine.feed(text, &mut self.out);
                if step != Step::More {
                    // Bytes after the end of the line belong to the next line, including signal characters.
                    if !rest.is_empty() {
                        let _ = machine.feed(rest, &mut self.out);
                    }
                    return Ok(step);
                }
            }
            let Some((&character, after)) = rest.split_first() else { break };
            rest = after;
            if Some(character) == interrupt {
                machine.interrupted(character, &mut self.out);
                self.flush()?;
                self.settings = None;
                if signal::disposition(Signal::INT) == Ok(Disposition::Handled) {
                    let _ = signal::raise(Signal::INT);
                }
                return Ok(Step::Interrupted);
            }
            let signal = if Some(character) == suspend { Signal::TSTP } else { Signal::QUIT };
            let step = self.give_back(machine, |_| signal_own_group(signal))?;
            if step != Step::More {
                return Ok(step);
            }
        }
        Ok(Step::More)
    }

    /// Restores the terminal, lets a signal take its effect, and takes the terminal over again.
    fn give_back(
        &mut self,
        machine: &mut impl Typing,
        send: impl FnOnce(&mut Self) -> ossature_sys::errno::Result<()>,
    ) -> Result<Step> {
        machine.leave(&mut self.out);
        let shown = unless_hung_up(self.flush());
        self.settings = None;
        // The signal takes its effect also where nothing can be shown any more.
        send(self).map_err(|errno| Error::os(errno, "the terminal: the signal cannot be sent"))?;
        // The process runs again: it was continued, or its handler returned, or it ignores the signal.
        if !unless_hung_up(self.take())? || !shown? {
            return Ok(Step::Eof);
        }
        machine.special_characters(&self.special);
        self.measure(machine);
        machine.redraw(&mut self.out);
        Ok(Step::More)
    }

    /// Passes a signal to the program's own handler.
    fn pass_on(&mut self, signal: Signal) -> Result<()> {
        if signal::disposition(signal) == Ok(Disposition::Handled) {
            let _open = signal::unblock(signal).and_then(|open| signal::raise(signal).map(|()| open));
        }
        Ok(())
    }

    fn print(&mut self, machine: &mut impl Typing) {
        let text = self.queue.take();
        if !text.is_empty() {
            machine.erase(&mut self.out);
            self.out.extend_from_slice(&text);
            machine.redraw(&mut self.out);
        }
    }
}

/// A line that is not shown.
#[derive(Default)]
struct Password {
    line: Secret,
    /// The bytes typed after the end of the line.
    ahead: Secret,
    ended: bool,
    prompt: Vec<u8>,
    special: SpecialCharacters,
}

impl Typing for Password {
    fn begin(&mut self, prompt: &[u8], out: &mut Vec<u8>) -> Step {
        self.prompt = prompt.iter().copied().filter(|b| !matches!(b, 1 | 2)).collect();
        self.redraw(out);
        Step::More
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.ended {
                self.ahead.extend(bytes.get(at..).unwrap_or_default());
                break;
            }
            match byte {
                b'\r' | b'\n' => {
                    self.leave(out);
                    self.ended = true;
                    self.ahead.extend(bytes.get(at + 1..).unwrap_or_default());
                    return Step::Line(self.line.take(usize::MAX));
                }
                _ if Some(byte) == self.special.end_of_file && self.line.is_empty() => {
                    self.leave(out);
                    return Step::Eof;
                }
                _ if Some(byte) == self.special.erase || byte == 8 => {
                    // The whole character.
                    while self.line.pop().is_some_and(|b| b & 0xc0 == 0x80) {}
                }
                _ if Some(byte) == self.special.kill => self.line.clear(),
                _ => self.line.push(byte),
            }
        }
        Step::More
    }

    fn timeout(&self) -> Option<Duration> {
        None
    }

    fn expire(&mut self, _: &mut Vec<u8>) -> Step {
        Step::More
    }

    fn resized(&mut self, _: usize, _: usize, _: &mut Vec<u8>) {}

    fn special_characters(&mut self, special: &SpecialCharacters) {
        self.special = *special;
    }

    fn erase(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\x1b[K");
    }

    fn leave(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\r\n");
    }

    fn redraw(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prompt);
    }

    fn quit(&mut self, _: &mut Vec<u8>) {}

    fn interrupted(&mut self, _: u8, out: &mut Vec<u8>) {
        self.leave(out);
    }
}
