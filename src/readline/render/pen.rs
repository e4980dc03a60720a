//! The type [`Pen`], which tracks the position of the terminal's cursor and writes the bytes that move it.

use std::io::Write;

use super::frame::{Cell, Frame, HINT, PLAIN, REGION, Style};

/// The cursor of the terminal, in rows and columns from the first row of the frame on the screen.
#[derive(Debug)]
pub(super) struct Pen {
    row: usize,
    column: usize,
    /// Whether the last column was written and the cursor waits there to wrap.
    hangs: bool,
    dumb: bool,
    region: (Vec<u8>, Vec<u8>),
}

impl Pen {
    pub(super) fn new(dumb: bool) -> Self {
        Self { row: 0, column: 0, hangs: false, dumb, region: (b"\x1b[7m".to_vec(), b"\x1b[27m".to_vec()) }
    }

    pub(super) fn is_dumb(&self) -> bool {
        self.dumb
    }

    pub(super) fn row(&self) -> usize {
        self.row
    }

    pub(super) fn set_region_style(&mut self, begin: &[u8], end: &[u8]) {
        self.region = (begin.to_vec(), end.to_vec());
    }

    /// Sets the position to the first row and column of a frame.
    pub(super) fn forget(&mut self) {
        (self.row, self.column, self.hangs) = (0, 0, false);
    }

    pub(super) fn start_of_row(&mut self, out: &mut Vec<u8>) {
        out.push(b'\r');
        (self.column, self.hangs) = (0, false);
    }

    /// Moves up from the start of the row, also above the frame.
    pub(super) fn up(&mut self, rows: usize, out: &mut Vec<u8>) {
        if !self.dumb {
            control(rows, b'A', out);
        }
        self.row = self.row.saturating_sub(rows);
    }

    /// Moves to a row and column on the screen.
    pub(super) fn go(&mut self, row: usize, column: usize, frame: &Frame, out: &mut Vec<u8>) {
        if self.dumb {
            return self.go_without_sequences(column, frame, out);
        }
        if (row, column) == (self.row, self.column) && !self.hangs && !frame.doubtful {
            return;
        }
        if self.hangs || (frame.doubtful && self.column > 0) {
            self.start_of_row(out);
        }
        self.move_to(row, column, out);
    }

    /// Moves like [`go`](Self::go), if every column is certain and the cursor does not wait to wrap.
    pub(super) fn move_to(&mut self, row: usize, column: usize, out: &mut Vec<u8>) {
        if row < self.row {
            control(self.row - row, b'A', out);
        } else {
            control(row - self.row, b'B', out);
        }
        self.row = row;
        match self.column.checked_sub(column) {
            Some(0) => {}
            Some(_) if column == 0 => out.push(b'\r'),
            Some(back @ 1..=3) => out.resize(out.len() + back, 8),
            Some(back) => control(back, b'D', out),
            None => control(column - self.column, b'C', out),
        }
        self.column = column;
    }

    fn go_without_sequences(&mut self, column: usize, frame: &Frame, out: &mut Vec<u8>) {
        if column == 0 && self.column > 0 {
            return self.start_of_row(out);
        }
        if column < self.column {
            out.resize(out.len() + self.column - column, 8);
        } else {
            let mut at = 0;
            for cell in frame.row(0) {
                if at >= self.column && at < column {
                    out.extend_from_slice(frame.bytes(cell));
                }
                at += usize::from(cell.width);
            }
        }
        (self.column, self.hangs) = (column, false);
    }

    /// Moves to the start of a later row, which may not be on the screen yet.
    pub(super) fn enter(
        &mut self,
        row: usize,
        existing: usize,
        columns: usize,
        frame: &Frame,
        top: usize,
        out: &mut Vec<u8>,
    ) {
        if row < existing {
            return self.go(row, 0, frame, out);
        }
        if !(self.hangs && self.row + 1 == row) {
            // The text of the row above is as long as it can be with the cursor after it.
            self.go(row - 1, frame.width(top + row - 1).min(columns - 1), frame, out);
            out.extend_from_slice(b"\r\n");
        } else if frame.row(top + row).iter().all(|cell| cell.width == 0) {
            // A space makes the terminal wrap the row, so that it counts as one line of text when it is copied.
            out.extend_from_slice(b" \r");
        }
        (self.row, self.column, self.hangs) = (row, 0, false);
    }

    /// Writes plain text at the end of the row.
    pub(super) fn wrote(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(text);
        self.column += text.len();
    }

    /// Writes cells at the cursor.
    pub(super) fn write(&mut self, frame: &Frame, cells: &[Cell], out: &mut Vec<u8>) {
        let mut style = PLAIN;
        for cell in cells {
            if cell.style != style {
                self.end(style, out);
                self.begin(cell.style, frame, out);
                style = cell.style;
            }
            out.extend_from_slice(frame.bytes(cell));
            self.column += usize::from(cell.width);
        }
        self.end(style, out);
        self.hangs = self.column > 0 && self.column >= frame.columns();
    }

    fn begin(&self, style: Style, frame: &Frame, out: &mut Vec<u8>) {
        match style {
            _ if self.dumb => {}
            PLAIN => {}
            REGION => out.extend_from_slice(&self.region.0),
            HINT => out.extend_from_slice(b"\x1b[2m"),
            own => out.extend_from_slice(frame.sequence(own)),
        }
    }

    fn end(&self, style: Style, out: &mut Vec<u8>) {
        match style {
            _ if self.dumb => {}
            PLAIN => {}
            REGION => out.extend_from_slice(&self.region.1),
            HINT => out.extend_from_slice(b"\x1b[22m"),
            _ => out.extend_from_slice(b"\x1b[0m"),
        }
    }

    /// Shifts the rest of the row so that a text of `new` columns fits where a text of `old` columns was.
    pub(super) fn shift(&mut self, old: usize, new: usize, out: &mut Vec<u8>) {
        match new.checked_sub(old) {
            Some(more) => control(more, b'@', out),
            None => control(old - new, b'P', out),
        }
    }

    /// Writes spaces over the first columns of the row, and moves back to its start.
    pub(super) fn blank(&mut self, width: usize, out: &mut Vec<u8>) {
        out.resize(out.len() + width, b' ');
        self.start_of_row(out);
    }

    /// Clears the `width` columns after the cursor, which are the rest of the row.
    pub(super) fn clear_rest(&mut self, width: usize, out: &mut Vec<u8>) {
        if self.dumb {
            out.resize(out.len() + width, b' ');
            out.resize(out.len() + width, 8);
        } else {
            self.clear_row(out);
        }
    }

    pub(super) fn clear_row(&mut self, out: &mut Vec<u8>) {
        if !self.dumb {
            out.extend_from_slice(b"\x1b[K");
        }
    }

    pub(super) fn clear_below(&mut self, out: &mut Vec<u8>) {
        if !self.dumb {
            out.extend_from_slice(b"\x1b[J");
        }
    }
}

/// Writes a sequence with one number; nothing for 0.
fn control(count: usize, letter: u8, out: &mut Vec<u8>) {
    match count {
        0 => {}
        1 => out.extend_from_slice(&[0x1b, b'[', letter]),
        // A write to a vector never fails.
        _ => drop(write!(out, "\x1b[{count}{}", char::from(letter))),
    }
}
