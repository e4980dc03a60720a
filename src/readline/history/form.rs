//! The two forms of a history file, and the texts of its lines.

/// The first line of libedit's history files.
pub(super) const LIBEDIT: &[u8] = b"_HiStOrY_V2_\n";

/// The form in which a file keeps the lines. See the example of [`History`](super::History).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HistoryForm {
    /// GNU readline's form: a line of the history is a line of the file.
    #[default]
    Readline,
    /// The form of libedit: a header, and blanks, newlines and backslashes of a line in octal.
    Libedit,
}

impl HistoryForm {
    /// Returns the form of a file that begins with these bytes.
    pub(super) fn of(start: &[u8]) -> Self {
        if start.starts_with(LIBEDIT) { Self::Libedit } else { Self::Readline }
    }
}

/// Parses the seconds in a line like `#1700000000`; `None` for another line. Ignores text after the digits.
pub(super) fn stamp(line: &[u8]) -> Option<i64> {
    let digits = line.strip_prefix(b"#")?;
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let seconds = |sum: i64, digit: &u8| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    (length > 0).then(|| digits[..length].iter().fold(0, seconds))
}

/// Decodes the first byte of a text in libedit's form, or `None` for a sequence that means no byte, and the length of
/// the sequence. Text that is not an escape is returned as it is.
pub(super) fn decoded(text: &[u8]) -> (Option<u8>, usize) {
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

pub(super) fn encode(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b' ' | b'\t' | b'\n' | b'\\' => out.extend(format!("\\{byte:03o}").into_bytes()),
        0x7f => out.extend(b"\\^?"),
        0..0x20 => out.extend([b'\\', b'^', byte | 0x40]),
        byte => out.push(byte),
    }
}
