//! The history: lines that were accepted or loaded, oldest first, and the files that keep them.
//!
//! ```
//! use ossature::readline::History;
//!
//! let mut history = History::new();
//! history.push("ls");
//! history.push("cd src");
//! assert_eq!(history.get(0), Some(&b"ls"[..]));
//! assert_eq!(history.find_prefix("ls", ..), Some(0));
//!
//! let path = std::env::temp_dir().join(format!("history-{}", std::process::id()));
//! history.save(&path)?;
//! assert_eq!(History::new().load(&path)?, 2);
//! # std::fs::remove_file(path)?;
//! # Ok::<(), ossature::Error>(())
//! ```
//!
//! | file | contents |
//! | --- | --- |
//! | `history` | the list, its limit, the search |
//! | `form` | conversion of lines to the bytes of a file and back: the form of GNU readline, with and without times, and that of libedit |
//! | `file` | reading, appending while other processes append, rewriting |

use std::collections::VecDeque;
use std::ops::{Bound, Range, RangeBounds};
use std::time::{Duration, SystemTime};

use crate::error::{Error, ErrorKind, Result};

mod file;
mod form;
mod lines;

pub use form::HistoryForm;

/// The position of a line in the text of all lines, and when the line was accepted.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: usize,
    length: usize,
    /// Seconds since 1970, or [`NO_TIME`].
    time: i64,
}

const NO_TIME: i64 = i64::MIN;

/// A list of lines, oldest first. The text of all lines is one block of memory, so a million lines load quickly.
///
/// Lines are bytes and may have any byte in them. Indexes count from 0, other than those of Python's
/// `get_history_item`.
///
/// ```
/// use ossature::readline::{History, HistoryForm};
///
/// let mut history = History::new();
/// assert!(history.is_empty() && history.form() == HistoryForm::Readline);
/// history.extend(["one", "two", "three"]);
/// assert_eq!(history.get_1based(1), history.get(0));
/// assert_eq!(history.replace(0, "uno")?, b"one");
/// assert_eq!(history.remove(1)?, b"two");
/// assert_eq!(history.iter().collect::<Vec<_>>(), [&b"uno"[..], b"three"]);
/// history.set_max_entries(Some(1));
/// assert_eq!((history.len(), history.dropped(), history.max_entries()), (1, 1, Some(1)));
/// assert_eq!(history.find("re", ..), Some((0, 2)));
/// assert_eq!(history.find_forward("e", ..), Some((0, 3)));
/// assert_eq!(history.find_prefix_forward("th", ..), Some(0));
///
/// history.set_timestamps(true);
/// history.set_form(HistoryForm::Readline);
/// history.push("now");
/// assert!(history.time(0).is_some());
/// history.set_max_file_lines(Some(100));
/// assert_eq!(history.max_file_lines(), Some(100));
/// let path = std::env::temp_dir().join(format!("history-limits-{}", std::process::id()));
/// history.save(&path)?;
/// history.append(1, &path)?;
/// History::truncate_file(&path, 1)?;
/// assert!(History::default_path().is_none_or(|path| path.ends_with(".history")));
/// # std::fs::remove_file(path)?;
/// history.clear();
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct History {
    text: Vec<u8>,
    entries: VecDeque<Entry>,
    /// The number of bytes of `text` that belong to removed lines.
    waste: usize,
    /// The number of old lines that the limit has removed.
    dropped: usize,
    most: Option<usize>,
    most_in_file: Option<usize>,
    stamps: bool,
    form: HistoryForm,
}

impl History {
    /// Makes an empty history without limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of lines. Python's `get_current_history_length`.
    #[doc(alias = "get_current_history_length")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn text_of(&self, entry: &Entry) -> &[u8] {
        &self.text[entry.start..entry.start + entry.length]
    }

    /// Returns the line at an index that counts from 0.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.entries.get(index).map(|entry| self.text_of(entry))
    }

    /// Returns the line at an index that counts from 1, as in Python's `get_history_item`. `None` for 0, or a negative
    /// or too large index. After a limit removed lines, 1 is the oldest line that is left; in Python the other lines
    /// keep their numbers.
    #[doc(alias = "get_history_item")]
    pub fn get_1based(&self, index: isize) -> Option<&[u8]> {
        usize::try_from(index).ok()?.checked_sub(1).and_then(|index| self.get(index))
    }

    /// Returns when the line was accepted; `None` for a line that does not exist, or has no time.
    pub fn time(&self, index: usize) -> Option<SystemTime> {
        let time = self.entries.get(index).map(|entry| entry.time).filter(|&time| time != NO_TIME)?;
        let distance = Duration::from_secs(time.unsigned_abs());
        if time < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(distance)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(distance)
        }
    }

    /// The number of old lines that the [limit](Self::set_max_entries) has removed since the last
    /// [`clear`](Self::clear).
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// The lines, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.entries.iter().map(|entry| self.text_of(entry))
    }

    /// Adds a line as the newest, even if it is empty or equal to the previous line. Python's `add_history`.
    ///
    /// Of more lines than [`set_max_entries`](Self::set_max_entries) allows the oldest go.
    #[doc(alias = "add_history")]
    pub fn push(&mut self, line: impl AsRef<[u8]>) {
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let time = if self.stamps { i64::try_from(now()).unwrap_or(NO_TIME) } else { NO_TIME };
        let entry = self.store(line.as_ref(), time);
        self.entries.push_back(entry);
        self.keep_limit();
    }

    fn store(&mut self, line: &[u8], time: i64) -> Entry {
        let start = self.text.len();
        self.text.extend_from_slice(line);
        Entry { start, length: line.len(), time }
    }

    /// Removes a line and returns it. The index counts from 0. Python's `remove_history_item`.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] if there is no such line.
    #[doc(alias = "remove_history_item")]
    pub fn remove(&mut self, index: usize) -> Result<Vec<u8>> {
        let line = self.get(index).ok_or_else(|| self.missing(index))?.to_vec();
        self.entries.remove(index);
        self.wasted(line.len());
        Ok(line)
    }

    /// Replaces a line, and returns the old line. The time stays. The index counts from 0. Python's
    /// `replace_history_item`.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] if there is no such line.
    #[doc(alias = "replace_history_item")]
    pub fn replace(&mut self, index: usize, line: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let old = self.get(index).ok_or_else(|| self.missing(index))?.to_vec();
        let time = self.entries[index].time;
        self.entries[index] = self.store(line.as_ref(), time);
        self.wasted(old.len());
        Ok(old)
    }

    fn missing(&self, index: usize) -> Error {
        Error::new(ErrorKind::OutOfRange, format!("the history has no line {index}: it has {} lines", self.len()))
    }

    /// Removes every line. Python's `clear_history`.
    #[doc(alias = "clear_history")]
    pub fn clear(&mut self) {
        (self.text, self.entries, self.waste, self.dropped) = (Vec::new(), VecDeque::new(), 0, 0);
    }

    /// The maximum number of lines in memory; `None` without a limit.
    pub fn max_entries(&self) -> Option<usize> {
        self.most
    }

    /// Limits the number of lines in memory. The oldest lines above the limit are removed, now and whenever a line is
    /// added. The variable `history-size` of an init file sets this limit.
    #[doc(alias = "stifle_history")]
    pub fn set_max_entries(&mut self, most: Option<usize>) {
        self.most = most;
        self.keep_limit();
    }

    fn keep_limit(&mut self) {
        let excess = self.most.map_or(0, |most| self.entries.len().saturating_sub(most));
        if excess > 0 {
            let gone: usize = self.entries.drain(..excess).map(|entry| entry.length).sum();
            self.dropped += excess;
            self.wasted(gone);
        }
    }

    /// Frees the memory of removed lines, once they take more than half of it.
    fn wasted(&mut self, bytes: usize) {
        self.waste += bytes;
        if self.waste > 4096 && self.waste > self.text.len() / 2 {
            let mut text = Vec::with_capacity(self.text.len() - self.waste);
            for entry in &mut self.entries {
                let start = text.len();
                text.extend_from_slice(&self.text[entry.start..entry.start + entry.length]);
                entry.start = start;
            }
            (self.text, self.waste) = (text, 0);
        }
    }

    /// The maximum number of lines in a file after [`save`](Self::save) or [`append`](Self::append); `None` without a
    /// limit. Python's `get_history_length`.
    #[doc(alias = "get_history_length")]
    pub fn max_file_lines(&self) -> Option<usize> {
        self.most_in_file
    }

    /// Limits the number of lines in a file after [`save`](Self::save) or [`append`](Self::append). The lines in memory
    /// stay. Python's `set_history_length`, with `None` for a negative number.
    ///
    /// A line of the history that has newlines counts as several, unless the file has [times](Self::set_timestamps) or
    /// libedit's form.
    #[doc(alias = "set_history_length")]
    pub fn set_max_file_lines(&mut self, most: Option<usize>) {
        self.most_in_file = most;
    }

    /// Sets whether new lines have a time, and files keep the times; off by default.
    ///
    /// Before each line a file then has a comment with the seconds since 1970, as bash writes with HISTTIMEFORMAT. Only
    /// so a line of several lines stays one line in GNU readline's form.
    pub fn set_timestamps(&mut self, on: bool) {
        self.stamps = on;
    }

    /// The form in which [`save`](Self::save) writes a file.
    pub fn form(&self) -> HistoryForm {
        self.form
    }

    /// Sets the form in which [`save`](Self::save) writes a file. Reading and appending detect the form.
    pub fn set_form(&mut self, form: HistoryForm) {
        self.form = form;
    }

    fn range(&self, range: impl RangeBounds<usize>) -> Range<usize> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len(),
        };
        let end = end.min(self.len());
        start.min(end)..end
    }

    /// Finds the newest line of the range that begins with the text.
    ///
    /// ```
    /// # let mut history = ossature::readline::History::new();
    /// # for line in ["make", "ls", "make test"] { history.push(line); }
    /// assert_eq!(history.find_prefix("make", ..), Some(2));
    /// assert_eq!(history.find_prefix("make", ..2), Some(0), "the one before");
    /// ```
    #[doc(alias = "history_search_prefix")]
    pub fn find_prefix(&self, text: impl AsRef<[u8]>, range: impl RangeBounds<usize>) -> Option<usize> {
        let text = text.as_ref();
        self.range(range).rev().find(|&n| self.text_of(&self.entries[n]).starts_with(text))
    }

    /// Finds the oldest line of the range that begins with the text.
    pub fn find_prefix_forward(&self, text: impl AsRef<[u8]>, range: impl RangeBounds<usize>) -> Option<usize> {
        let text = text.as_ref();
        self.range(range).find(|&n| self.text_of(&self.entries[n]).starts_with(text))
    }

    /// Finds the newest line of the range that contains the text; returns it with the offset of the text's last
    /// occurrence.
    #[doc(alias = "history_search")]
    pub fn find(&self, text: impl AsRef<[u8]>, range: impl RangeBounds<usize>) -> Option<(usize, usize)> {
        let finder = memchr::memmem::FinderRev::new(text.as_ref());
        self.range(range).rev().find_map(|n| Some((n, finder.rfind(self.text_of(&self.entries[n]))?)))
    }

    /// Finds the oldest line of the range that contains the text; returns it with the offset of the text's first
    /// occurrence.
    pub fn find_forward(&self, text: impl AsRef<[u8]>, range: impl RangeBounds<usize>) -> Option<(usize, usize)> {
        let finder = memchr::memmem::Finder::new(text.as_ref());
        self.range(range).find_map(|n| Some((n, finder.find(self.text_of(&self.entries[n]))?)))
    }
}

impl<T: AsRef<[u8]>> Extend<T> for History {
    fn extend<I: IntoIterator<Item = T>>(&mut self, lines: I) {
        for line in lines {
            self.push(line);
        }
    }
}
