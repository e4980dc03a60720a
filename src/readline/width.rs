//! The number of columns that text takes on a terminal, and the bytes that belong together.
//!
//! The unit is a *piece*: a grapheme cluster, a control character, or a byte that belongs to no character. Widths are
//! Unicode's. GNU readline asks `wcwidth` for each code point, so emoji that are joined differ in width.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// The appearance of a piece of text on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Text printed as it is, in this many columns.
    Text(u16),
    /// A control character, shown as `^` and this character.
    Control(u8),
    /// A tab, shown as spaces up to the next multiple of eight columns.
    Tab,
    /// The end of a row; `^J` where a row cannot end.
    Newline,
    /// An invalid byte, or a control character beyond ASCII: shown as U+FFFD in one column.
    Invalid,
}

/// A piece of text: its start, its length in bytes, its appearance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) shape: Shape,
}

/// The pieces of a text in order. They cover each byte once.
#[derive(Debug, Clone)]
pub(crate) struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The characters that are known to be valid from `valid_start` on.
    valid: &'a str,
    valid_start: usize,
}

/// Cuts a text into pieces.
pub(crate) fn pieces(bytes: &[u8]) -> Pieces<'_> {
    Pieces { bytes, at: 0, valid: "", valid_start: 0 }
}

impl<'a> Pieces<'a> {
    /// Returns the valid text from `at` on; empty if the byte there is invalid.
    fn valid_here(&mut self) -> &'a str {
        if self.at >= self.valid_start + self.valid.len() {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.valid = match std::str::from_utf8(rest) {
                Ok(text) => text,
                Err(error) => rest.get(..error.valid_up_to()).and_then(|v| std::str::from_utf8(v).ok()).unwrap_or(""),
            };
            self.valid_start = self.at;
        }
        self.valid.get(self.at - self.valid_start..).unwrap_or("")
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let start = self.at;
        let &first = self.bytes.get(start)?;
        let ends = self.bytes.get(start + 1).is_none_or(u8::is_ascii);
        let (len, shape) = match first {
            b'\t' => (1, Shape::Tab),
            b'\n' => (1, Shape::Newline),
            0..0x20 | 0x7f => (1, Shape::Control(first ^ 0x40)),
            // No mark can follow.
            0x20..0x7f if ends => (1, Shape::Text(1)),
            _ => match self.valid_here().graphemes(true).next() {
                // A terminal would obey it.
                Some(cluster) if cluster.chars().any(char::is_control) => (cluster.len(), Shape::Invalid),
                Some(cluster) => (cluster.len(), Shape::Text(cluster.width() as u16)),
                None => (1, Shape::Invalid),
            },
        };
        self.at += len;
        Some(Piece { start, len, shape })
    }
}

/// Returns the number of columns of a text that starts in the column `from` of a row without an end.
pub(crate) fn columns(text: &[u8], from: usize) -> usize {
    pieces(text).fold(from, |at, piece| {
        at + match piece.shape {
            Shape::Text(width) => usize::from(width),
            Shape::Control(_) | Shape::Newline => 2,
            Shape::Tab => 8 - at % 8,
            Shape::Invalid => 1,
        }
    }) - from
}

/// A part of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// Text that takes columns.
    Visible(&'a [u8]),
    /// Bytes between `\x01` and `\x02`, without these marks. They take no column.
    Invisible(&'a [u8]),
}

/// Cuts a prompt into its visible and invisible parts. A mark without its partner applies to the end.
pub(crate) fn prompt_parts(prompt: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut rest = prompt;
    let mut visible = true;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let ends = rest.iter().position(|&b| b == if visible { 1 } else { 2 });
            let (part, after) = match ends {
                Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
                None => (rest, &[][..]),
            };
            let was_visible = visible;
            visible = !visible;
            rest = after;
            if !part.is_empty() {
                return Some(if was_visible { Part::Visible(part) } else { Part::Invisible(part) });
            }
        }
    })
}

/// Splits a prompt into the lines above the last, and the last line. A newline in an invisible part ends no line.
pub(crate) fn split_prompt(prompt: &[u8]) -> (&[u8], &[u8]) {
    let mut visible = true;
    let mut at = 0;
    for (place, byte) in prompt.iter().enumerate() {
        match byte {
            1 => visible = false,
            2 => visible = true,
            b'\n' if visible => at = place + 1,
            _ => {}
        }
    }
    prompt.split_at_checked(at).unwrap_or((&[], prompt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_belongs_to_one_piece() {
        let text = "a\u{301}b\t\u{1f469}\u{200d}\u{1f467}\u{4e2d}\x01\n\u{9b}".as_bytes();
        let text = [text, b"\xff\xe2\x82", b"z"].concat();
        let mut at = 0;
        for piece in pieces(&text) {
            assert_eq!(piece.start, at);
            assert!(piece.len > 0);
            at += piece.len;
        }
        assert_eq!(at, text.len());
    }

    #[test]
    fn shapes_are_those_of_a_terminal() {
        let shapes = |text: &[u8]| pieces(text).map(|piece| piece.shape).collect::<Vec<_>>();
        assert_eq!(
            shapes(b"a\x01\x7f\t\n"),
            [Shape::Text(1), Shape::Control(b'A'), Shape::Control(b'?'), Shape::Tab, Shape::Newline]
        );
        assert_eq!(
            shapes("e\u{301}\u{4e2d}\u{1f469}\u{200d}\u{1f467}".as_bytes()),
            [Shape::Text(1), Shape::Text(2), Shape::Text(2)]
        );
        assert_eq!(shapes("\u{9b}".as_bytes()), [Shape::Invalid]);
        assert_eq!(shapes(b"\xff\xe2\x82a"), [Shape::Invalid, Shape::Invalid, Shape::Invalid, Shape::Text(1)]);
    }

    #[test]
    fn tabs_end_at_multiples_of_eight() {
        assert_eq!(columns(b"\t", 0), 8);
        assert_eq!(columns(b"ab\tc", 3), 6);
        assert_eq!(columns(b"\x01", 0), 2);
    }

    #[test]
    fn prompts_have_parts_that_take_no_column() {
        let parts = prompt_parts(b"\x01\x1b[1m\x02a\x01\x1b[0m\x02> ").collect::<Vec<_>>();
        assert_eq!(
            parts,
            [Part::Invisible(b"\x1b[1m"), Part::Visible(b"a"), Part::Invisible(b"\x1b[0m"), Part::Visible(b"> ")]
        );
    }
}
