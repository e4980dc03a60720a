//! The conversion of lines to the bytes of a file, and back.

use super::form::{HistoryForm, LIBEDIT, decoded, encode, stamp};
use super::{Entry, History, NO_TIME};

impl History {
    /// Takes the lines of a file that is in `text` from `start` on. Bytes that do not belong to a line count as waste.
    pub(super) fn take(&mut self, start: usize) {
        match HistoryForm::of(&self.text[start..]) {
            HistoryForm::Readline => self.take_readline(start),
            HistoryForm::Libedit => self.take_libedit(start),
        }
    }

    /// Skips blank lines, and a carriage return at the end of a line. If the first line is a time comment, each such
    /// line is a time comment. The last line counts only with its newline.
    fn take_readline(&mut self, start: usize) {
        let stamped = stamp(&self.text[start..]).is_some();
        // Lines between two times are one line of the history, if times were asked for.
        let joins = stamped && self.stamps;
        let (mut at, mut time, mut goes_on) = (start, NO_TIME, false);
        while let Some(length) = memchr::memchr(b'\n', &self.text[at..]) {
            let line = &self.text[at..at + length];
            let length = line.strip_suffix(b"\r").unwrap_or(line).len();
            let next = at + line.len() + 1;
            match stamp(line).filter(|_| stamped) {
                Some(seconds) => (time, goes_on) = (seconds, false),
                None if goes_on && joins => {
                    let last = self.entries.back_mut().expect("a line goes on");
                    last.length = at + length - last.start;
                }
                None if length == 0 => {}
                None => {
                    self.entries.push_back(Entry { start: at, length, time });
                    (time, goes_on) = (NO_TIME, true);
                }
            }
            at = next;
        }
    }

    /// Decodes the lines in place: a line never grows.
    fn take_libedit(&mut self, start: usize) {
        let (mut at, mut to) = (start + LIBEDIT.len(), start);
        while let Some(length) = memchr::memchr(b'\n', &self.text[at..]) {
            let (begin, end) = (to, at + length);
            while at < end {
                let (byte, taken) = decoded(&self.text[at..end]);
                at += taken;
                if let Some(byte) = byte {
                    self.text[to] = byte;
                    to += 1;
                }
            }
            at = end + 1;
            if to > begin {
                self.entries.push_back(Entry { start: begin, length: to - begin, time: NO_TIME });
            }
        }
        self.text.truncate(to);
    }

    /// Writes the last `lines` lines in this form of a file, without a header.
    pub(super) fn write(&self, lines: usize, form: HistoryForm, out: &mut Vec<u8>) {
        for entry in self.entries.range(self.len().saturating_sub(lines)..) {
            if self.stamps && form == HistoryForm::Readline {
                // A line without a time gets time 0: with no time at all it would be read as part of the line before.
                let time = if entry.time == NO_TIME { 0 } else { entry.time.max(0) };
                out.extend(format!("#{time}\n").into_bytes());
            }
            match form {
                HistoryForm::Readline => out.extend(self.text_of(entry)),
                HistoryForm::Libedit => self.text_of(entry).iter().for_each(|&byte| encode(byte, out)),
            }
            out.push(b'\n');
        }
    }
}
