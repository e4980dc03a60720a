//! The transfer of workers' log records to the logger of the parent. They go through a pipe, so that the records of a
//! killed worker are not lost.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use ossature_sys::fd;

/// The maximum length of a record. The kernel writes this many bytes to a pipe in one piece (`PIPE_BUF`).
const WHOLE: usize = 4096;
/// The maximum length of each of target, module and file.
const NAME: usize = 255;
/// The length of the header: the length of the record, the level and the line.
const HEADER: usize = 2 + 1 + 4;

/// The logger of a worker.
struct Forward(OwnedFd);

/// Sends the records of this process to the parent from now on, unless a logger is installed.
pub(super) fn forward(pipe: OwnedFd, level: LevelFilter) {
    static FORWARD: OnceLock<Forward> = OnceLock::new();
    let forward = FORWARD.get_or_init(|| Forward(pipe));
    if log::set_logger(forward).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let _ = fd::write(&self.0, &to_bytes(record)); // fails only when the parent is gone
        }
    }

    fn flush(&self) {}
}

fn to_bytes(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    let text = record.args().to_string();
    for name in [record.target(), record.module_path().unwrap_or(""), record.file().unwrap_or("")] {
        let name = cut(name, NAME);
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name.as_bytes());
    }
    let room = WHOLE - bytes.len();
    if text.len() <= room {
        bytes.extend_from_slice(text.as_bytes());
    } else {
        let kept = cut(&text, room - 40);
        bytes.extend_from_slice(format!("{kept}... [{} bytes more]", text.len() - kept.len()).as_bytes());
    }
    let header = (bytes.len() as u16).to_ne_bytes().into_iter().chain([record.level() as u8]);
    let header = header.chain(record.line().unwrap_or(0).to_ne_bytes());
    bytes.iter_mut().zip(header).for_each(|(to, from)| *to = from);
    bytes
}

/// Returns the beginning of a text, at most `most` bytes long.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

/// A received record.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct LogRecord {
    level: Level,
    line: u32,
    names: [String; 3],
    text: String,
}

impl LogRecord {
    /// Passes the record to the logger of this process.
    pub(super) fn log(&self) {
        let [target, module, file] = &self.names;
        let known = |name: &'_ String| Some(name.as_str().to_owned()).filter(|name| !name.is_empty());
        let (module, file) = (known(module), known(file));
        if self.level <= log::max_level() {
            log::logger().log(
                &Record::builder()
                    .level(self.level)
                    .target(target)
                    .module_path(module.as_deref())
                    .file(file.as_deref())
                    .line(Some(self.line).filter(|line| *line > 0))
                    .args(format_args!("{}", self.text))
                    .build(),
            );
        }
    }

    /// Splits the first record off some bytes; `None` while a record is incomplete.
    fn first(bytes: &[u8]) -> Option<(Option<Self>, &[u8])> {
        let length = u16::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let (record, rest) = bytes.split_at_checked(length.max(HEADER))?;
        Some((Self::parse(record), rest))
    }

    fn parse(record: &[u8]) -> Option<Self> {
        let (header, mut rest) = record.split_at_checked(HEADER)?;
        let level = *header.get(2)?;
        let line = u32::from_ne_bytes(header.get(3..7)?.try_into().ok()?);
        let mut name = || {
            let (length, after) = rest.split_first()?;
            let (name, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            Some(String::from_utf8_lossy(name).into_owned())
        };
        let names = [name()?, name()?, name()?];
        let level = Level::iter().find(|known| *known as u8 == level)?;
        Some(Self { level, line, names, text: String::from_utf8_lossy(rest).into_owned() })
    }
}

/// The parent's end of the pipe.
pub(super) struct Logs {
    pub(super) pipe: OwnedFd,
    /// The received part of a record.
    begun: Mutex<Vec<u8>>,
}

impl Logs {
    /// Makes the parent's end from a pipe end that must not block.
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self { pipe, begun: Mutex::default() }
    }

    /// Takes the records that have come.
    pub(super) fn take(&self) -> Vec<LogRecord> {
        let mut bytes = self.begun.lock().unwrap_or_else(PoisonError::into_inner); // no change leaves it half made
        let (mut told, mut piece) = (Vec::new(), [0; 16 << 10]);
        while let Ok(length @ 1..) = fd::read(&self.pipe, &mut piece) {
            bytes.extend_from_slice(piece.get(..length).unwrap_or_default());
            let mut rest = &bytes[..];
            while let Some((record, after)) = LogRecord::first(rest) {
                told.extend(record);
                rest = after;
            }
            *bytes = rest.to_vec();
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_out_as_it_went_in_and_long_ones_are_cut() {
        let (reader, writer) = ossature_sys::pipe::pipe(ossature_sys::pipe::Flags::NONBLOCK).unwrap();
        let (forward, logs) = (Forward(writer), Logs::new(reader));
        let long = "ä".repeat(5000);
        for text in ["", "two\nlines", &long] {
            assert_eq!(logs.take(), []);
            let mut record = Record::builder();
            record.level(Level::Warn).target("a::b").line(Some(7)).file(Some("b.rs"));
            let bytes = to_bytes(&record.args(format_args!("{text}")).build());
            assert!(bytes.len() <= WHOLE);
            fd::write(&forward.0, &bytes[..3]).unwrap(); // the reader may look at any time
            assert_eq!(logs.take(), []);
            fd::write(&forward.0, &bytes[3..]).unwrap();
            let [told] = &logs.take()[..] else { panic!("one record") };
            assert_eq!((told.level, told.line), (Level::Warn, 7));
            assert_eq!(told.names, ["a::b", "", "b.rs"]);
            match text.len() {
                0..100 => assert_eq!(told.text, text),
                _ => assert!(told.text.starts_with("ää") && told.text.ends_with(" bytes more]"), "{}", told.text),
            }
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_skipped() {
        let (reader, writer) = ossature_sys::pipe::pipe(ossature_sys::pipe::Flags::NONBLOCK).unwrap();
        let logs = Logs::new(reader);
        fd::write(&writer, &[8, 0, 99, 0, 0, 0, 0, 200, 0, 0, 1, 2, 3, 4, 5]).unwrap();
        fd::write(&writer, &[0xff; 300]).unwrap();
        assert_eq!(logs.take(), []);
    }
}
