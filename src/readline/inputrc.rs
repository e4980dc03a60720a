//! Init files: bindings, variables, conditions and included files, which are read line by line into [`Settings`].
//!
//! A bad line is reported and changes nothing; the lines after it count. What a line means was observed of GNU readline
//! 8.2.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::command::Command;
use super::keymap::{Binding, Keymaps};
use super::keys;
use super::variables::{SetError, Variables};
use crate::error::{Error, ErrorKind, Result};

mod conditions;
#[cfg(test)]
mod tests;

use conditions::{Conditions, Facts, show, word};

/// The system's init file, for users without their own.
const SYSTEM_FILE: &str = "/etc/inputrc";

/// The maximum depth of `$include`.
const DEEPEST: usize = 16;

/// The maximum number of files for one [`Settings::read_init_file`], so that files that include themselves twice come
/// to an end.
const MOST_FILES: usize = 256;

/// The maximum length of an init file.
const LONGEST_FILE: u64 = 4 << 20;

/// The maximum length of a key sequence in bytes.
const LONGEST_SEQUENCE: usize = 256;

/// The maximum number of bad lines that are reported separately.
const MOST_ERRORS: usize = 1000;

/// An error in a line of an init file.
///
/// ```
/// use ossature::readline::{Editor, InitError};
///
/// let error: InitError = Editor::new().parse_and_bind("set bell-style loud").unwrap_err();
/// assert_eq!((error.file(), error.line()), (None, 1));
/// assert_eq!(error.to_string(), "set bell-style: the variable cannot have the value `loud`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitError {
    file: Option<PathBuf>,
    line: usize,
    what: String,
}

impl InitError {
    /// The file, or `None` for a line that the program passed.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The number of the line in its file, from 1.
    pub fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: line {}: {}", file.display(), self.line, self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for InitError {}

/// An init error becomes an [`ErrorKind::InvalidInput`].
impl From<InitError> for Error {
    fn from(error: InitError) -> Self {
        Self::caused(ErrorKind::InvalidInput, None, error)
    }
}

/// The settings that init files change, and the data that their conditions test.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) variables: Variables,
    pub(crate) keymaps: Keymaps,
    /// The name of the application, which `$if` compares.
    pub(crate) application: String,
    /// The value of TERM.
    pub(crate) terminal: String,
    conditions: Conditions,
    last_file: Option<PathBuf>,
}

impl Default for Settings {
    /// The defaults of GNU readline for a program without a name on a terminal without a name.
    fn default() -> Self {
        Self {
            variables: Variables::default(),
            keymaps: Keymaps::default(),
            application: String::from("other"),
            terminal: String::from("dumb"),
            conditions: Conditions::default(),
            last_file: None,
        }
    }
}

/// The state while files are read.
#[derive(Debug, Default)]
struct Reading {
    depth: usize,
    files: usize,
    errors: Vec<InitError>,
    /// The number of errors beyond [`MOST_ERRORS`].
    unlisted: usize,
}

impl Reading {
    fn report(&mut self, file: Option<&Path>, line: usize, what: String) {
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(InitError { file: file.map(Path::to_owned), line, what });
        } else {
            self.unlisted += 1;
        }
    }
}

impl Settings {
    /// Executes one or more lines of an init file. A `$if` without its `$endif` applies to the lines of later calls,
    /// too.
    ///
    /// # Errors
    /// The first invalid line. The lines after it have taken effect.
    #[doc(alias = "rl_parse_and_bind")]
    pub(crate) fn parse_and_bind(&mut self, text: impl AsRef<[u8]>) -> std::result::Result<(), InitError> {
        let mut reading = Reading::default();
        self.lines(text.as_ref(), None, 0, &mut reading);
        reading.errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// Reads an init file: the given file, or else the file that was read last. Otherwise the file in the environment
    /// variable INPUTRC, or else `~/.inputrc`, or else `/etc/inputrc`. Returns the bad lines; the others take effect.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] if the file cannot be read, `ENOENT` if it is missing; [`ErrorKind::TooLong`] above 4 MiB.
    #[doc(alias = "rl_read_init_file")]
    pub(crate) fn read_init_file(&mut self, path: Option<&Path>) -> Result<Vec<InitError>> {
        let (path, text) = match path.map(Path::to_owned).or_else(|| self.last_file.clone()).or_else(from_environment) {
            Some(path) => contents(&path).map(|text| (path, text))?,
            None => {
                let system = || contents(Path::new(SYSTEM_FILE)).map(|text| (PathBuf::from(SYSTEM_FILE), text));
                match home().map(|home| home.join(".inputrc")) {
                    Some(own) => contents(&own).map(|text| (own, text)).or_else(|_| system())?,
                    None => system()?,
                }
            }
        };
        let mut reading = Reading { files: 1, ..Reading::default() };
        self.file(&text, &path, &mut reading);
        self.last_file = Some(path);
        if reading.unlisted > 0 {
            let what = format!("{} more lines have errors", reading.unlisted);
            reading.errors.push(InitError { file: self.last_file.clone(), line: 0, what });
        }
        Ok(reading.errors)
    }

    /// Reads the lines of a file. Conditions that the file leaves open end with it.
    fn file(&mut self, text: &[u8], path: &Path, reading: &mut Reading) {
        let base = self.conditions.depth();
        let last = self.lines(text, Some(path), base, reading);
        let open = self.conditions.close_down_to(base);
        if open > 0 {
            reading.report(Some(path), last, format!("the file ends with {open} $if without $endif"));
        }
    }

    /// Reads every line; returns the number of the last line.
    fn lines(&mut self, text: &[u8], path: Option<&Path>, base: usize, reading: &mut Reading) -> usize {
        let mut last = 0;
        for (n, line) in text.split(|&byte| byte == b'\n').enumerate() {
            if let Err(what) = self.line(line, base, reading) {
                reading.report(path, n + 1, what);
            }
            last = n + 1;
        }
        last
    }

    fn line(&mut self, line: &[u8], base: usize, reading: &mut Reading) -> std::result::Result<(), String> {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        match line {
            [] | [b'#', ..] => Ok(()),
            [b'$', directive @ ..] => self.directive(directive.trim_ascii(), base, reading),
            _ if self.conditions.skips() => Ok(()),
            _ => {
                let (word, rest) = word(line);
                if word.eq_ignore_ascii_case(b"set") { self.set(rest) } else { self.bind(line) }
            }
        }
    }

    fn directive(&mut self, text: &[u8], base: usize, reading: &mut Reading) -> std::result::Result<(), String> {
        let (name, rest) = word(text);
        match &name.to_ascii_lowercase()[..] {
            b"if" if self.conditions.skips() => {
                self.conditions.open(false);
                Ok(())
            }
            b"if" => {
                let facts =
                    Facts { variables: &self.variables, application: &self.application, terminal: &self.terminal };
                let holds = conditions::holds(rest, &facts);
                self.conditions.open(*holds.as_ref().unwrap_or(&false));
                holds.map(drop)
            }
            b"else" => self.conditions.otherwise(base),
            b"endif" => self.conditions.close(base),
            b"include" if self.conditions.skips() => Ok(()),
            b"include" => self.include(rest, reading),
            _ => Err(format!("${}: unknown directive: use $if, $else, $endif or $include", show(name))),
        }
    }

    fn include(&mut self, name: &[u8], reading: &mut Reading) -> std::result::Result<(), String> {
        let path = match name {
            [] => return Err(String::from("$include needs the name of a file")),
            [b'~', b'/', rest @ ..] => match home() {
                Some(home) => home.join(OsStr::from_bytes(rest)),
                None => return Err(format!("$include {}: the environment variable HOME is not set", show(name))),
            },
            name => PathBuf::from(OsStr::from_bytes(name)),
        };
        if reading.depth >= DEEPEST || reading.files >= MOST_FILES {
            return Err(format!(
                "$include {}: more than {DEEPEST} files deep, or more than {MOST_FILES} files: \
                 does a file include itself?",
                show(name)
            ));
        }
        let text = contents(&path).map_err(|error| format!("$include: {error}"))?;
        reading.depth += 1;
        reading.files += 1;
        self.file(&text, &path, reading);
        reading.depth -= 1;
        Ok(())
    }

    fn set(&mut self, rest: &[u8]) -> std::result::Result<(), String> {
        let (name, value) = word(rest);
        self.variables.set(name, value).map_err(|error| match error {
            SetError::UnknownName if name.is_empty() => String::from("set needs the name of a variable"),
            SetError::UnknownName => format!("set {}: unknown variable", show(name)),
            SetError::BadValue => format!("set {}: the variable cannot have the value `{}`", show(name), show(value)),
        })
    }

    /// Executes `KEYS: COMMAND` or `KEYS: "MACRO"`; blanks may replace the colon.
    fn bind(&mut self, line: &[u8]) -> std::result::Result<(), String> {
        let quoted = line[0] == b'"';
        let keys_end = match quoted {
            true => closing(line).ok_or_else(|| format!("{}: the key sequence lacks its closing quote", show(line)))?,
            false => 0,
        };
        let separator = line[keys_end..].iter().position(|&byte| matches!(byte, b':' | b' ' | b'\t'));
        let separator =
            separator.ok_or_else(|| format!("{}: a colon and a command must follow the keys", show(line)))?;
        let separator = separator + keys_end;
        if separator == 0 {
            return Err(format!("{}: the keys are missing before the colon", show(line)));
        }
        let convert_meta = self.variables.convert_meta;
        let keys = if quoted {
            keys::bytes(&line[1..keys_end], convert_meta)
        } else {
            let name = &line[..separator];
            keys::named_key(name, convert_meta)
                .ok_or_else(|| format!("{}: unknown modifier: use Control- or Meta-", show(name)))?
        };
        if keys.len() > LONGEST_SEQUENCE {
            return Err(format!("the key sequence has {} bytes: use at most {LONGEST_SEQUENCE}", keys.len()));
        }
        let (to, wrong) = match line[separator + 1..].trim_ascii_start() {
            value @ [b'"' | b'\'', ..] => {
                let end =
                    closing(value).ok_or_else(|| format!("{}: the macro lacks its closing quote", show(value)))?;
                (Some(Binding::Macro(keys::bytes(&value[1..end], convert_meta).into())), None)
            }
            value => {
                let name = word(value).0;
                let command = std::str::from_utf8(name).ok().and_then(Command::from_name);
                // As GNU readline does: a name that no command has unbinds the keys, as no name at all does.
                let wrong = (command.is_none() && !name.is_empty())
                    .then(|| format!("{}: unknown command, so the keys are unbound", show(name)));
                (command.map(Binding::Command), wrong)
            }
        };
        self.keymaps.bind(self.variables.keymap, &keys, to);
        wrong.map_or(Ok(()), Err)
    }
}

/// Returns the position of the quote that closes the quote at the start of the text, ignoring quotes after a backslash.
fn closing(text: &[u8]) -> Option<usize> {
    let mut hidden = false;
    let closes = |&byte: &u8| {
        let closes = byte == text[0] && !hidden;
        hidden = byte == b'\\' && !hidden;
        closes
    };
    text[1..].iter().position(closes).map(|n| n + 1)
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

fn from_environment() -> Option<PathBuf> {
    std::env::var_os("INPUTRC").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Reads an init file.
fn contents(path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| {
        let errno = Error::from(error).errno().unwrap_or(ossature_sys::errno::Errno::IO);
        Error::os(errno, format!("the init file {} cannot be read", path.display()))
    };
    // A pipe, at whose open the process would wait for a writer, is not opened. INPUTRC=/dev/null is usual.
    let kind = std::fs::metadata(path).map_err(failed)?.file_type();
    if std::os::unix::fs::FileTypeExt::is_fifo(&kind) {
        return Err(Error::new(ErrorKind::InvalidInput, format!("the init file {} is a pipe", path.display())));
    }
    let mut text = Vec::new();
    // A terminal answers EAGAIN at once, and a pipe that took the place of the file meanwhile has ended.
    let file = File::options().read(true).custom_flags(ossature_sys::pipe::Flags::NONBLOCK.bits() as i32).open(path);
    file.and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut text)).map_err(failed)?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(Error::new(
            ErrorKind::TooLong,
            format!("the init file {} is longer than {LONGEST_FILE} bytes", path.display()),
        ));
    }
    Ok(text)
}
