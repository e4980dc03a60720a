//! The type [`Screen`], which writes the bytes that make a terminal show the prompt and the line.
//!
//! The screen stores the last frame and the position of the cursor, so a change costs few bytes. It does not write to a
//! descriptor: it appends the bytes to the caller's vector. Every terminal since the VT102 obeys the sequences, so no
//! terminfo is read. A `dumb` terminal gets text, carriage returns, spaces and backspaces.
//!
//! | file | contents |
//! | --- | --- |
//! | `frame` | rows of cells: wrapping, tabs, control characters, styles, horizontal scrolling |
//! | `flat` | lines of ASCII in one row, for which no frame is laid out |
//! | `pen` | the cursor of the terminal: moves, rows, styles |

mod flat;
mod frame;
mod pen;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::frame::Frame;
use self::pen::Pen;
use super::machine::{Clear, Effects, View};
use super::width::{Part, columns, prompt_parts, split_prompt};

/// The state of a line in one row.
#[derive(Debug, Default)]
struct Flat {
    /// Whether such a line is on the screen, with the text `text`.
    is_shown: bool,
    text: Vec<u8>,
    /// The row of the screen, and the column in which the line begins.
    row: usize,
    start: usize,
    point: usize,
    /// Whether the frame lacks the last changes.
    is_ahead: bool,
}

/// The state of the terminal's screen around the edited line.
#[derive(Debug)]
pub(crate) struct Screen {
    columns: usize,
    /// The number of rows on the screen; a longer line is shown in part.
    height: usize,
    pen: Pen,
    now: Frame,
    next: Frame,
    /// Whether `now` is on the screen.
    shown: bool,
    /// The first row of the frame that is on the screen.
    top: usize,
    /// The number of rows above the frame with the first lines of the prompt.
    above: usize,
    /// Whether the first lines of the prompt are on the screen already, although the frame is not.
    keep_above: bool,
    /// The left edge of horizontal scrolling.
    margin: usize,
    /// Whether more text at the end of the line can be shown by writing it after the shown text.
    plain: bool,
    /// The prompt of `now`, the length of its line, and whether the line ends with an ASCII character or is empty.
    prompt: Vec<u8>,
    length: usize,
    ends_in_ascii: bool,
    /// Whether the last view showed only prompt and line.
    plain_view: bool,
    flat: Flat,
    #[cfg(test)]
    held: bool,
}

impl Screen {
    /// Makes a screen for a terminal with the name `term` (the variable `TERM`).
    pub(crate) fn new(term: &[u8]) -> Self {
        let dumb = matches!(term, b"" | b"dumb");
        Self {
            // The cursor of a dumb terminal may wrap or stay when the last column is written.
            columns: 80 - usize::from(dumb),
            height: 24,
            pen: Pen::new(dumb),
            now: Frame::default(),
            next: Frame::default(),
            shown: false,
            top: 0,
            above: 0,
            keep_above: false,
            margin: 0,
            plain: false,
            prompt: Vec::new(),
            length: 0,
            ends_in_ascii: true,
            plain_view: false,
            flat: Flat::default(),
            #[cfg(test)]
            held: false,
        }
    }

    /// Whether a line is on the screen.
    pub(crate) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Sets the sequences that begin and end the active region; reverse video by default.
    pub(crate) fn set_region_style(&mut self, begin: &[u8], end: &[u8]) {
        self.pen.set_region_style(begin, end);
    }

    /// Sets the size of the window; 0 means unknown. The line is erased, and drawn again by the next
    /// [`draw`](Self::draw).
    ///
    /// Some terminals wrap their rows anew and others do not. So the cursor goes up as far as it may in both cases.
    pub(crate) fn resize(&mut self, columns: usize, rows: usize, out: &mut Vec<u8>) {
        let columns = if columns == 0 { 80 } else { columns };
        let rows = if rows == 0 { 24 } else { rows };
        let columns = if self.pen.is_dumb() { columns - 1 } else { columns }.max(1);
        self.catch_up();
        if self.shown && (columns, rows) != (self.columns, self.height) {
            let wrapped = |row: usize| {
                let before = self.now.width(row).max(1).div_ceil(columns);
                if row < self.now.cursor.0 { before } else { self.now.cursor.1 / columns }
            };
            let rewrapped: usize = (self.top..=self.now.cursor.0).map(wrapped).sum();
            let up = rewrapped.min(self.pen.row());
            self.pen.start_of_row(out);
            self.pen.up(up, out);
            if self.pen.is_dumb() {
                self.pen.blank(self.now.width(0).min(columns), out);
            }
            self.pen.clear_below(out);
            self.forget();
            self.keep_above = true;
        }
        (self.columns, self.height) = (columns, rows);
    }

    /// Forgets the line on the screen: the next [`draw`](Self::draw) begins in the cursor's row, in the first column.
    pub(crate) fn forget(&mut self) {
        self.forget_flat();
        self.shown = false;
        self.plain = false;
        self.keep_above = false;
        self.top = 0;
        self.margin = 0;
        self.pen.forget();
    }

    /// Shows `view` and the other events: text below the line, a cleared screen, the bell.
    pub(crate) fn show(&mut self, view: &View<'_>, effects: &mut Effects, out: &mut Vec<u8>) {
        if effects.bell {
            out.push(7);
        }
        if effects.erase {
            self.erase(out);
        }
        if !effects.below.is_empty() && view.message.is_none() {
            // The text below belongs to the current line.
            self.draw(view, out);
        }
        if effects.leave || !effects.below.is_empty() {
            self.leave(out);
            for line in effects.below.split_inclusive(|&b| b == b'\n') {
                out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
                out.extend_from_slice(b"\r\n");
            }
        }
        if let Some(clear) = effects.clear {
            self.clear(clear, out);
        }
        if effects.redraw {
            self.forget();
        }
        effects.bell = false;
        effects.redraw = false;
        (effects.leave, effects.erase, effects.settings) = (false, false, false);
        effects.clear = None;
        effects.below.clear();
        self.draw(view, out);
    }

    /// Makes the terminal show `view`.
    pub(crate) fn draw(&mut self, view: &View<'_>, out: &mut Vec<u8>) {
        let is_plain_view = is_plain(view) && !view.modified && view.prompt == self.prompt;
        if is_plain_view && self.draw_flat(view.line, view.kept, view.point, out) {
            return;
        }
        self.catch_up();
        if is_plain_view && self.extend(view, out) {
            return;
        }
        if self.shown && self.plain_prompt_changed(view) {
            self.erase(out); // nothing of it is there for what follows
        }
        let (first, last) = split_prompt(view.prompt);
        let flat = view.horizontal_scroll || self.pen.is_dumb();
        self.next.lay_out(view, last, if flat { usize::MAX } else { self.columns });
        if flat {
            self.margin = self.next.scroll(self.columns, self.margin);
        }
        let top = self.top_for(&self.next);
        let existing = self.existing();
        let doubtful = self.next.doubtful;
        self.next.doubtful |= self.shown && self.now.doubtful;
        if !self.shown {
            if !self.keep_above {
                self.lines_above(first, out);
            }
            self.draw_all(top, existing, out);
        } else if top != self.top {
            self.pen.go(0, 0, &self.now, out);
            self.draw_all(top, existing, out);
        } else {
            self.draw_changes(out);
        }
        self.top = top;
        let (row, column) = self.next.cursor;
        self.pen.go(row - top, column, &self.next, out);
        self.next.doubtful = doubtful;
        std::mem::swap(&mut self.now, &mut self.next);
        self.shown = true;
        self.keep_above = false;
        self.remember(view, flat);
    }

    /// Moves the cursor to the start of the row below the finished line.
    pub(crate) fn leave(&mut self, out: &mut Vec<u8>) {
        self.catch_up();
        if self.shown {
            let last = self.now.row_count().min(self.top + self.height) - 1;
            self.pen.go(last - self.top, self.now.width(last), &self.now, out);
            // If the last row contains only the cursor, it is already the row below.
            if last == 0 || self.now.width(last) > 0 || self.now.width(last - 1) < self.columns {
                out.extend_from_slice(b"\r\n");
            }
        }
        self.forget();
    }

    /// Makes the next drawing start with the same row of the frame as this drawing.
    #[cfg(test)]
    fn hold_top(&mut self) {
        self.held = true;
    }

    /// Erases prompt and line from the screen; the cursor is then where they began.
    pub(crate) fn erase(&mut self, out: &mut Vec<u8>) {
        self.catch_up();
        if self.shown {
            let width = self.now.width(0);
            self.pen.go(0, 0, &self.now, out);
            self.pen.up(self.above, out);
            if self.pen.is_dumb() {
                self.pen.blank(width, out);
            } else {
                self.pen.clear_below(out);
            }
        }
        self.forget();
    }

    fn clear(&mut self, what: Clear, out: &mut Vec<u8>) {
        self.catch_up();
        match what {
            Clear::Line if self.shown => {
                let width = self.now.width(0);
                self.pen.go(0, 0, &self.now, out);
                if self.pen.is_dumb() {
                    self.pen.blank(width, out);
                }
                self.pen.clear_below(out);
            }
            Clear::Line => {
                self.pen.start_of_row(out);
                self.pen.clear_row(out);
            }
            _ if self.pen.is_dumb() => self.leave(out),
            Clear::Screen => out.extend_from_slice(b"\x1b[H\x1b[2J"),
            Clear::Display => out.extend_from_slice(b"\x1b[H\x1b[2J\x1b[3J"),
        }
        self.forget();
        self.keep_above = what == Clear::Line;
    }

    /// Shows more text at the end of the line, as most keystrokes need; returns `false` if that needs a new frame.
    /// Text that is shown already is not laid out again.
    fn extend(&mut self, view: &View<'_>, out: &mut Vec<u8>) -> bool {
        let goes_on = self.plain && view.kept >= self.length && view.point == view.line.len();
        let Some(new) = view.line.get(self.length..).filter(|_| goes_on) else { return false };
        if self.ends_in_ascii && self.now.cursor.1 + new.len() < self.columns && new.iter().all(is_printable) {
            self.now.append(new, view.line.len());
            self.pen.wrote(new, out);
        } else if !self.extend_rows(view.line, out) {
            return false;
        }
        self.length = view.line.len();
        self.ends_in_ascii = view.line.last().is_none_or(is_printable);
        true
    }

    /// Shows more text at the end of the line, in one row or in several; returns `false` if that needs a new frame.
    fn extend_rows(&mut self, line: &[u8], out: &mut Vec<u8>) -> bool {
        let existing = self.existing();
        let Some(change) = self.now.extend(line) else { return false };
        let top = self.top_for(&self.now);
        let is_first_row_full = self.now.changed(change.row, &change).is_empty();
        if top != self.top || change.row + usize::from(is_first_row_full) < top {
            self.pen.go(0, 0, &self.now, out);
            std::mem::swap(&mut self.now, &mut self.next);
            self.draw_all(top, existing, out);
            std::mem::swap(&mut self.now, &mut self.next);
            self.top = top;
        } else {
            let rows = self.now.row_count().min(top + self.height);
            for row in change.row..rows {
                let cells = self.now.changed(row, &change);
                if row > change.row {
                    self.pen.enter(row - top, existing, self.columns, &self.now, top, out);
                } else if cells.is_empty() {
                    continue;
                } else {
                    self.pen.go(row - top, change.column, &self.now, out);
                }
                self.pen.write(&self.now, cells, out);
                if row == change.row && self.now.width(row) < change.width {
                    self.pen.clear_rest(change.width - self.now.width(row), out);
                }
            }
        }
        let (row, column) = self.now.cursor;
        self.pen.go(row - top, column, &self.now, out);
        true
    }

    /// Returns the number of frame rows on the screen; counts only the cursor's row if no frame is shown.
    fn existing(&self) -> usize {
        if self.shown { (self.now.row_count() - self.top).min(self.height) } else { 1 }
    }

    fn remember(&mut self, view: &View<'_>, flat: bool) {
        self.prompt.clear();
        self.prompt.extend_from_slice(view.prompt);
        self.plain_view = !flat && is_plain(view) && !view.modified;
        self.plain = self.plain_view && view.point == view.line.len();
        self.length = view.line.len();
        self.ends_in_ascii = view.line.last().is_none_or(is_printable);
        self.become_flat(view.line, view.point);
    }

    /// Whether the lines of the prompt above the frame have changed.
    fn plain_prompt_changed(&self, view: &View<'_>) -> bool {
        view.prompt != self.prompt && split_prompt(view.prompt).0 != split_prompt(&self.prompt).0
    }

    /// Returns the first row of a frame to show so that the cursor's row is on the screen.
    fn top_for(&self, frame: &Frame) -> usize {
        let cursor = frame.cursor.0;
        let lowest = cursor.saturating_sub(self.height - 1);
        #[cfg(test)]
        let held = self.held;
        #[cfg(not(test))]
        let held = false;
        let top = if self.shown || held { self.top } else { 0 };
        // No row stays empty that could show text.
        let highest = cursor.min(frame.row_count().saturating_sub(self.height));
        top.clamp(lowest, highest.max(lowest))
    }

    fn lines_above(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.above = 0;
        for line in text.split_inclusive(|&b| b == b'\n') {
            let mut width = 0;
            for part in prompt_parts(line.strip_suffix(b"\n").unwrap_or(line)) {
                let (Part::Visible(bytes) | Part::Invisible(bytes)) = part;
                out.extend_from_slice(bytes);
                if let Part::Visible(bytes) = part {
                    width += columns(bytes, width);
                }
            }
            out.extend_from_slice(b"\r\n");
            self.above += width.max(1).div_ceil(self.columns);
        }
    }

    /// Draws all rows from the cursor's row on, which is the first row, from its start. `existing` rows are on the
    /// screen.
    fn draw_all(&mut self, top: usize, existing: usize, out: &mut Vec<u8>) {
        let wanted = (self.next.row_count() - top).min(self.height);
        for row in 0..wanted {
            self.pen.enter(row, existing, self.columns, &self.next, top, out);
            let cells = self.next.row(top + row);
            self.pen.write(&self.next, cells, out);
            if self.shown && row < existing && self.next.width(top + row) < self.columns {
                self.pen.clear_row(out);
            }
        }
        self.clear_rows(wanted, existing, out);
    }

    fn clear_rows(&mut self, from: usize, to: usize, out: &mut Vec<u8>) {
        for row in from..to {
            self.pen.go(row, 0, &self.next, out);
            self.pen.clear_row(out);
        }
    }

    fn draw_changes(&mut self, out: &mut Vec<u8>) {
        let existing = self.existing();
        let wanted = (self.next.row_count() - self.top).min(self.height);
        let coloured = self.coloured_rows(wanted);
        for row in 0..wanted {
            if row >= existing {
                self.pen.enter(row, existing, self.columns, &self.next, self.top, out);
                self.pen.write(&self.next, self.next.row(self.top + row), out);
            } else {
                self.draw_row(row, coloured.contains(&row), out);
            }
        }
        self.clear_rows(wanted, existing, out);
    }

    /// Returns the rows with a colour of the prompt, if something changes within that colour. They are written as a
    /// whole, because each row's colour begins in the row above.
    fn coloured_rows(&self, wanted: usize) -> Range<usize> {
        let is_invisible = |cell: &frame::Cell| cell.width == 0;
        let has = |row: &usize| self.rows_at(*row).iter().any(|cells| cells.iter().any(is_invisible));
        let Some(first) = (0..wanted).find(has) else { return 0..0 };
        let last = (first..wanted).rev().find(has).unwrap_or(first);
        let differs = |row: usize| self.unchanged(row).is_some();
        let in_colour = |row: usize| {
            let head = self.unchanged(row);
            head.is_some_and(|head| self.rows_at(row).iter().any(|cells| cells.iter().skip(head).any(is_invisible)))
        };
        if (first..last).any(differs) || in_colour(last) { first..last + 1 } else { 0..0 }
    }

    /// Returns the cells of a row as it is on the screen, and as it will be.
    fn rows_at(&self, row: usize) -> [&[frame::Cell]; 2] {
        [self.now.row(self.top + row), self.next.row(self.top + row)]
    }

    /// Returns how many cells at the start of a row stay; `None` if all of them stay.
    fn unchanged(&self, row: usize) -> Option<usize> {
        let (now, next, [old, new]) = (&self.now, &self.next, self.rows_at(row));
        let mut head = old.iter().zip(new).take_while(|(a, b)| now.same(a, next, b)).count();
        if head == old.len() && head == new.len() {
            return None;
        }
        // A combining mark alone, or an invisible part, belongs to the cell before it.
        while head > 0 && [old, new].iter().any(|cells| cells.get(head).is_some_and(|cell| cell.width == 0)) {
            head -= 1;
        }
        Some(head)
    }

    /// Writes the changed part of a row, or the whole row.
    fn draw_row(&mut self, row: usize, whole: bool, out: &mut Vec<u8>) {
        let head = self.unchanged(row);
        let (now, next) = (&self.now, &self.next);
        let (old, new) = (now.row(self.top + row), next.row(self.top + row));
        let same = |(a, b): &(&frame::Cell, &frame::Cell)| now.same(a, next, b);
        let Some(mut head) = head.or(whole.then_some(0)) else { return };
        // An invisible part of a prompt colours what follows, up to another one: the row is written as a whole.
        let is_coloured = whole || [old, new].iter().any(|cells| cells.iter().skip(head).any(|cell| cell.width == 0));
        if is_coloured {
            head = 0;
        }
        let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
        let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
        let tail = if is_coloured { 0 } else { tail };
        let width = |cells: &[frame::Cell]| cells.iter().map(|cell| usize::from(cell.width)).sum::<usize>();
        let at = width(new.get(..head).unwrap_or_default());
        let old_middle = width(old_rest.get(..old_rest.len() - tail).unwrap_or_default());
        let middle = new_rest.get(..new_rest.len() - tail).unwrap_or_default();
        let new_middle = width(middle);
        let (old_width, new_width) = (now.width(self.top + row), next.width(self.top + row));
        self.pen.go(row, at, next, out);
        if old_middle == new_middle && tail > 0 && !next.doubtful {
            self.pen.write(next, middle, out);
        } else if tail > 8 && !next.doubtful && !self.pen.is_dumb() && old_width.max(new_width) < self.columns {
            self.pen.shift(old_middle, new_middle, out);
            self.pen.write(next, middle, out);
        } else {
            self.pen.write(next, new_rest, out);
            if new_width < old_width {
                self.pen.clear_rest(old_width - new_width, out);
            }
        }
    }
}

fn is_printable(byte: &u8) -> bool {
    matches!(byte, 0x20..0x7f)
}

/// Whether a view shows only prompt and line.
fn is_plain(view: &View<'_>) -> bool {
    view.message.is_none()
        && view.highlighted.is_none()
        && view.region.is_none()
        && view.hint.is_empty()
        && view.mode.is_empty()
        && !view.octal
        && !view.horizontal_scroll
}
