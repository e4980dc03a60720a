//! Lines to the bytes of a file, and back.

use super::{Entry, History, NO_TIME};

/// The first line of libedit's files.
pub(super) const LIBEDIT: &[u8] = b"_HiStOrY_V2_\n";

/// How a file keeps the lines. See the example of [`History`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HistoryForm {
    /// GNU readline's: a line of the history is a line of the file.
    #[default]
    Readline,
    /// libedit's: a header, and blanks, newlines and backslashes of a line in octal.
    Libedit,
}

impl HistoryForm {
    /// The form of a file that begins with these bytes.
    pub(super) fn of(start: &[u8]) -> Self {
        if start.starts_with(LIBEDIT) { Self::Libedit } else { Self::Readline }
    }
}

/// The seconds of a line like `#1700000000`; `None` for another line. What follows the digits does not count.
pub(super) fn stamp(line: &[u8]) -> Option<i64> {
    let digits = line.strip_prefix(b"#")?;
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let seconds = |sum: i64, digit: &u8| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    (length > 0).then(|| digits[..length].iter().fold(0, seconds))
}

impl History {
    /// Takes the lines of a file that stands in `text` from `start` on. What does not belong to a line is waste.
    pub(super) fn take(&mut self, start: usize) {
        match HistoryForm::of(&self.text[start..]) {
            HistoryForm::Readline => self.take_readline(start),
            HistoryForm::Libedit => self.take_libedit(start),
        }
    }

    /// Blank lines are left out, and a carriage return at the end of a line. If the first line is the comment of a
    /// time, so is each such line. The last line counts only with its newline.
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

    /// Decodes in place: a line never grows.
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

    /// Writes the last lines, so many as said, as a file of the form has them, without a header.
    pub(super) fn write(&self, lines: usize, form: HistoryForm, out: &mut Vec<u8>) {
        for entry in self.entries.range(self.len().saturating_sub(lines)..) {
            if self.stamps && form == HistoryForm::Readline {
                // Of a line without a time nobody knows the time, and without a time it would join the line before.
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

/// The first byte that libedit's text means, or `None` for what means no byte, and how many bytes say so. What is no
/// escape is taken as it is.
fn decoded(text: &[u8]) -> (Option<u8>, usize) {
    let octal = |byte: &&u8| matches!(byte, b'0'..=b'7');
    match text {
        [b'\\', rest @ ..] if rest.first().filter(octal).is_some() => {
            let digits = rest.iter().take(3).take_while(octal).count();
            let value = rest[..digits].iter().fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
            (Some(value as u8), digits + 1)
        }
        [b'\\', b'^', byte, ..] => (Some(control(*byte)), 3),
        [b'\\', b'M', b'-', byte, ..] => (Some(byte | 0x80), 4),
        [b'\\', b'M', b'^', byte, ..] => (Some(control(*byte) | 0x80), 4),
        [b'\\', b'\\', ..] => (Some(b'\\'), 2),
        [b'\\', b'$', ..] => (None, 2),
        [b'\\', letter, ..] => match b"abfnrstvE".iter().position(|known| known == letter) {
            Some(n) => (Some(b"\x07\x08\x0c\n\r \t\x0b\x1b"[n]), 2),
            None => (Some(b'\\'), 1),
        },
        [byte, ..] => (Some(*byte), 1),
        [] => (None, 0),
    }
}

fn control(byte: u8) -> u8 {
    if byte == b'?' { 0x7f } else { byte & 0x1f }
}

fn encode(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b' ' | b'\t' | b'\n' | b'\\' => out.extend(format!("\\{byte:03o}").into_bytes()),
        0x7f => out.extend(b"\\^?"),
        0..0x20 => out.extend([b'\\', b'^', byte | 0x40]),
        byte => out.push(byte),
    }
}
