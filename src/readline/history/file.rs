//! History files. Several processes may append to one file. A file is replaced as a whole, so that an error leaves the
//! old file unchanged.
//!
//! A process that changes a file holds a lock of flock(2) on it. A process that waited for the lock checks whether the
//! file still has its name, because another process may have replaced the file meanwhile.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ossature_sys::errno::Errno;
use ossature_sys::flock;

use super::History;
use super::form::{HistoryForm, LIBEDIT, stamp};
use crate::error::{Error, Result};

/// How long a process waits for the lock of another process.
const PATIENCE: Duration = Duration::from_secs(10);

/// The mode of a new file: only its owner can read the lines.
const MODE: u32 = 0o600;

/// Makes the error of a failed operation `what` on the file `path`.
fn failed<'a>(what: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |error| {
        let errno = Error::from(error).errno().unwrap_or(Errno::IO);
        Error::os(errno, format!("the history file {} cannot be {what}", path.display()))
    }
}

/// Returns the open flags with which the kernel does not make the process wait for another process.
fn without_waiting() -> i32 {
    ossature_sys::pipe::Flags::NONBLOCK.bits() as i32
}

fn not_a_file(path: &Path) -> Error {
    Error::os(Errno::INVAL, format!("{} cannot be read as a history: it is not a regular file", path.display()))
}

impl History {
    /// Returns `~/.history`, the default file of Python's functions; `None` without the environment variable HOME. See
    /// the example of [`History`].
    pub fn default_path() -> Option<PathBuf> {
        std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".history"))
    }

    /// Adds the lines of a file as the newest, and returns their number. Python's `read_history_file`.
    ///
    /// Empty lines are skipped. So is a last line without a newline, which may be incomplete. If the file begins with a
    /// comment like `#1700000000`, each such line is the time of the line after it. The first line identifies a file of
    /// libedit. The file is read, not mapped: a program that truncates it meanwhile does no harm. Beyond the limit
    /// of [`set_max_entries`](Self::set_max_entries) the last lines are kept. Other than Python's, this keeps NUL
    /// bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Os`](crate::ErrorKind::Os): `ENOENT` for a missing file, `EINVAL` for a folder or a device,
    /// `ENOMEM` for a file too large for the memory. The history is as it was then.
    ///
    /// # Examples
    /// See the example of [`History`].
    #[doc(alias = "read_history_file")]
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<usize> {
        let path = path.as_ref();
        // A pipe would keep the opening process waiting, so the kind is asked for first.
        if !fs::metadata(path).map_err(failed("read", path))?.is_file() {
            return Err(not_a_file(path));
        }
        let mut file =
            OpenOptions::new().read(true).custom_flags(without_waiting()).open(path).map_err(failed("read", path))?;
        let length = file.metadata().map_err(failed("read", path))?.len();
        let start = self.text.len();
        usize::try_from(length)
            .ok()
            .and_then(|length| self.text.try_reserve_exact(length).ok())
            .ok_or_else(|| failed("read", path)(io::Error::from_raw_os_error(Errno::NOMEM.raw_os_error())))?;
        if let Err(error) = file.read_to_end(&mut self.text) {
            self.text.truncate(start);
            return Err(failed("read", path)(error));
        }
        let before = self.entries.len();
        self.take(start);
        let used: usize = self.entries.range(before..).map(|entry| entry.length).sum();
        let count = self.entries.len() - before;
        self.wasted((self.text.len() - start) - used);
        self.keep_limit();
        Ok(count)
    }

    /// Writes all lines into a file, and replaces its content. Python's `write_history_file`.
    ///
    /// The new file has the mode 0600, and takes the name in one step when it is complete. If the name is a symbolic
    /// link, the target of the link is replaced. If there are more lines than
    /// [`set_max_file_lines`](Self::set_max_file_lines) allows, only the last ones are written.
    ///
    /// # Errors
    /// [`ErrorKind::Os`](crate::ErrorKind::Os) with the error of the file or its directory, `ETIMEDOUT` if another
    /// process keeps the file locked for ten seconds. The old file is unchanged then.
    ///
    /// # Examples
    /// See the example of [`History`].
    #[doc(alias = "write_history_file")]
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut text = if self.form == HistoryForm::Libedit { LIBEDIT.to_vec() } else { Vec::new() };
        self.write(self.len(), self.form, &mut text);
        let text = self.shortened(&text);
        match open_locked(path) {
            Ok(old) if old.is_plain => replace(path, &text, Some(&old.file)),
            // A device takes the lines as they are; `/dev/null` is usual.
            Ok(mut device) => device.file.write_all(&text).map_err(failed("written", path)),
            Err(error) if error.errno() == Some(Errno::NOENT) => replace(path, &text, None),
            Err(error) => Err(error),
        }
    }

    /// Appends the last `lines` lines to an existing file. Python's `append_history_file`.
    ///
    /// Other processes may append at the same time. The lines of each stay together. If the file ends within a line,
    /// that line gets a newline first. Of more lines in the file than [`set_max_file_lines`](Self::set_max_file_lines)
    /// allows the last stay.
    ///
    /// # Errors
    /// As for [`save`](Self::save); `ENOENT` for a missing file.
    ///
    /// # Examples
    /// See the example of [`History`].
    #[doc(alias = "append_history_file")]
    pub fn append(&self, lines: usize, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut to = open_locked(path)?;
        let mut start = [0; LIBEDIT.len()];
        let form = if to.is_plain {
            let length = read_start(&to.file, &mut start).map_err(failed("read", path))?;
            HistoryForm::of(&start[..length])
        } else {
            self.form
        };
        let mut text = Vec::new();
        if to.is_plain && ends_within_a_line(&to.file).map_err(failed("read", path))? {
            text.push(b'\n');
        }
        self.write(lines, form, &mut text);
        let length = to.file.metadata().map_err(failed("written", path))?.len();
        if let Err(error) = to.file.write_all(&text) {
            // A full disk may have taken the beginning of a line. The lock is held, so no other process has appended.
            if to.is_plain {
                let _ = to.file.set_len(length);
            }
            return Err(failed("written", path)(error));
        }
        match self.most_in_file {
            Some(_) if to.is_plain => self.shorten(path, &to.file),
            _ => Ok(()),
        }
    }

    /// Removes lines from the beginning of a locked file, if there are too many.
    fn shorten(&self, path: &Path, file: &File) -> Result<()> {
        let mut text = Vec::new();
        let mut reader = file;
        reader.seek(SeekFrom::Start(0)).and_then(|_| reader.read_to_end(&mut text)).map_err(failed("read", path))?;
        let kept = self.shortened(&text);
        if kept.len() == text.len() { Ok(()) } else { replace(path, &kept, Some(file)) }
    }

    /// Returns the text of a file without the oldest lines above the limit.
    fn shortened<'a>(&self, text: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        let Some(most) = self.most_in_file else { return text.into() };
        let header = if text.starts_with(LIBEDIT) { LIBEDIT.len() } else { 0 };
        let (header, lines) = text.split_at(header);
        let stamped = self.stamps && stamp(lines).is_some();
        // The newline at the end of the text ends the last line and begins none.
        let mut ends = memchr::memrchr_iter(b'\n', &lines[..lines.len().saturating_sub(1)]);
        let mut kept = 0;
        let start = if most == 0 {
            lines.len()
        } else if stamped {
            // A line of the history begins with its time, and may have several lines.
            let begins = ends.map(|end| end + 1).chain([0]).filter(|&at| stamp(&lines[at..]).is_some());
            begins.take(most).last().unwrap_or(0)
        } else {
            ends.find(|_| {
                kept += 1;
                kept == most
            })
            .map_or(0, |end| end + 1)
        };
        if start == 0 { text.into() } else { [header, &lines[start..]].concat().into() }
    }

    /// Removes lines from the beginning of a file until at most `lines` lines are left. GNU readline's
    /// `history_truncate_file`.
    ///
    /// # Errors
    /// As for [`save`](Self::save); `ENOENT` for a missing file.
    ///
    /// # Examples
    /// See the example of [`History`].
    #[doc(alias = "history_truncate_file")]
    pub fn truncate_file(path: impl AsRef<Path>, lines: usize) -> Result<()> {
        let path = path.as_ref();
        let file = open_locked(path)?;
        if !file.is_plain {
            return Err(not_a_file(path));
        }
        let mut history = Self::new();
        history.set_max_file_lines(Some(lines));
        history.shorten(path, &file.file)
    }
}

/// A file that no other process changes while it is open here, or a device.
struct Locked {
    file: File,
    is_plain: bool,
}

/// Opens an existing file, to read and append. The file is locked, and its name still refers to it.
fn open_locked(path: &Path) -> Result<Locked> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let named = fs::metadata(path).map_err(failed("opened", path))?;
        if !named.is_file() {
            // The open fails for a directory, and a device needs no lock. A pipe without a reader is an error, ENXIO,
            // and this function does not wait for a reader.
            let mut options = OpenOptions::new();
            let file =
                options.append(true).custom_flags(without_waiting()).open(path).map_err(failed("opened", path))?;
            return Ok(Locked { file, is_plain: false });
        }
        let file = OpenOptions::new().read(true).append(true).open(path).map_err(failed("opened", path))?;
        let locked = match flock::try_lock_exclusive(&file) {
            // Where the file system has no locks, a write at the end is still one write.
            Err(Errno::OPNOTSUPP | Errno::NOLCK | Errno::NOSYS | Errno::INVAL) => true,
            other => other
                .map_err(|errno| Error::os(errno, format!("the history file {} cannot be locked", path.display())))?,
        };
        let same =
            |other: fs::Metadata| file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (other.dev(), other.ino()));
        if locked && fs::metadata(path).is_ok_and(same) {
            return Ok(Locked { file, is_plain: true });
        }
        if Instant::now() >= deadline {
            let message = format!(
                "the history file {} is not available: another process has kept it locked for {} seconds",
                path.display(),
                PATIENCE.as_secs()
            );
            return Err(Error::os(Errno::TIMEDOUT, message));
        }
        if !locked {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Reads the first bytes of the file, until the buffer is full or the file ends.
fn read_start(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(0))?;
    let mut length = 0;
    loop {
        match file.read(&mut buffer[length..])? {
            0 => return Ok(length),
            more => length += more,
        }
    }
}

fn ends_within_a_line(mut file: &File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Replaces a file by a new file with this text. The caller holds the lock of the old file, if there is one.
fn replace(path: &Path, text: &[u8], old: Option<&File>) -> Result<()> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    // The target of a symbolic link is replaced, not the link. A link without a target is itself replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = format!(".history-{}-{}.tmp", std::process::id(), NUMBER.fetch_add(1, Relaxed));
    let temporary = target.with_file_name(name);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
        if let Some(old) = old.map(File::metadata).transpose()? {
            // If root saves the file of another user, that user stays the owner.
            let own = file.metadata()?;
            if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
                let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
            }
        }
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, &target)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed("written", path)(error)
    })
}
