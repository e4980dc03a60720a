//! A frame: the cells that the screen shows for a prompt and a line.

use std::ops::Range;

use super::super::machine::View;
use super::super::width::{Part, Shape, pieces, prompt_parts};

/// The style of a cell: one of the three constants below, or from [`FIRST_OWN`] on, a sequence of the highlighter.
pub(super) type Style = u16;
pub(super) const PLAIN: Style = 0;
pub(super) const REGION: Style = 1;
pub(super) const HINT: Style = 2;
const FIRST_OWN: Style = 3;

/// Bytes that the terminal shows together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    start: u32,
    len: u32,
    /// The width in columns. 0 for invisible parts of a prompt and for lone combining marks.
    pub(super) width: u16,
    pub(super) style: Style,
}

/// A row of the screen.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    first: u32,
    /// The width in columns.
    width: u32,
}

/// A place in a frame: the amount of text, cells and rows before it.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    text: usize,
    cells: usize,
    rows: usize,
    /// The width of the last row in columns.
    width: u32,
}

/// The start of the line's last piece, in the frame and in the line. More text may join the piece.
#[derive(Debug, Clone, Copy)]
struct Last {
    place: Place,
    at: usize,
    len: usize,
}

/// The change by [`Frame::extend`]: the row and the column where it begins, its first cell, and the previous width of
/// the row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extended {
    pub(super) row: usize,
    pub(super) column: usize,
    pub(super) width: usize,
    first: usize,
}

/// The rows, the position of the cursor, and the bytes.
#[derive(Debug, Default)]
pub(super) struct Frame {
    text: Vec<u8>,
    cells: Vec<Cell>,
    rows: Vec<Row>,
    /// The sequences of the highlighter, each since its last reset.
    styles: Vec<Vec<u8>>,
    pub(super) cursor: (usize, usize),
    /// Whether a terminal may disagree about the width of a character.
    pub(super) doubtful: bool,
    columns: usize,
    /// The last piece; `None` if the line cannot be extended, because its last byte is invalid.
    last: Option<Last>,
    /// The place where the line begins.
    line: Place,
    /// Whether the last row is empty and only holds the cursor.
    begun_by_cursor: bool,
    /// The number of pieces that were laid out.
    #[cfg(test)]
    pub(super) laid: usize,
}

impl Frame {
    pub(super) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// The number of columns in a row.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn width(&self, row: usize) -> usize {
        self.rows.get(row).map_or(0, |row| row.width as usize)
    }

    /// Returns the cells of a row; none if the row does not exist.
    pub(super) fn row(&self, row: usize) -> &[Cell] {
        let Some(this) = self.rows.get(row) else { return &[] };
        let end = self.rows.get(row + 1).map_or(self.cells.len(), |next| next.first as usize);
        self.cells.get(this.first as usize..end).unwrap_or_default()
    }

    pub(super) fn bytes(&self, cell: &Cell) -> &[u8] {
        self.text.get(cell.start as usize..(cell.start + cell.len) as usize).unwrap_or_default()
    }

    /// Returns the highlighter's sequence of a style.
    pub(super) fn sequence(&self, style: Style) -> &[u8] {
        style.checked_sub(FIRST_OWN).and_then(|own| self.styles.get(usize::from(own))).map_or(&[], Vec::as_slice)
    }

    /// Whether two cells are shown in the same way.
    pub(super) fn same(&self, mine: &Cell, other: &Frame, theirs: &Cell) -> bool {
        mine.width == theirs.width
            && self.bytes(mine) == other.bytes(theirs)
            && if mine.style < FIRST_OWN || theirs.style < FIRST_OWN {
                mine.style == theirs.style
            } else {
                self.sequence(mine.style) == other.sequence(theirs.style)
            }
    }

    /// Appends plain ASCII to the last row, and moves the cursor behind it. The text is the end of the line, whose new
    /// length is `length`.
    pub(super) fn append(&mut self, text: &[u8], length: usize) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        self.cells.extend((0..text.len() as u32).map(|n| Cell { start: start + n, len: 1, width: 1, style: PLAIN }));
        let Some(row) = self.rows.last_mut() else { return };
        row.width += text.len() as u32;
        let width = row.width;
        self.cursor.1 = width as usize;
        if let Some(at) = length.checked_sub(1).filter(|_| !text.is_empty()) {
            let before = Place {
                width: width - 1,
                text: self.text.len() - 1,
                cells: self.cells.len() - 1,
                rows: self.rows.len(),
            };
            self.last = Some(Last { place: before, at, len: 1 });
            self.begun_by_cursor = false;
        }
        #[cfg(test)]
        {
            self.laid += text.len();
        }
    }

    /// Returns the row and the column where the line begins, if the line has `columns` columns and is the last text in
    /// its row.
    pub(super) fn line_in_one_row(&self, columns: usize) -> Option<(usize, usize)> {
        let start = self.line.width as usize;
        let ends_there = self.rows.len() == self.line.rows && self.column() == start + columns;
        (ends_there && start + columns < self.columns).then(|| (self.line.rows - 1, start))
    }

    /// Replaces the line, which is in one row, by another line of printable ASCII that fits into the row.
    pub(super) fn replace_line(&mut self, line: &[u8], point: usize) {
        self.cut(self.line);
        self.last = Some(Last { place: self.line, at: 0, len: 0 });
        self.append(line, line.len());
        self.cursor.1 = self.line.width as usize + point;
    }

    /// Shows a longer line that begins with the shown line, and the cursor after it, in the plain style. `None` if that
    /// needs a new frame.
    pub(super) fn extend(&mut self, line: &[u8]) -> Option<Extended> {
        let last = self.last?;
        let rest = line.get(last.at..)?;
        let mut pieces = pieces(rest);
        let first = pieces.next();
        let joins = first.is_some_and(|piece| piece.len != last.len);
        let new = if joins { first } else { pieces.next() };
        if new.is_some_and(|piece| piece.shape == Shape::Text(0)) {
            return None; // a lone mark belongs to what stands before it, wherever that is
        }
        let rows = self.rows.len() - usize::from(self.begun_by_cursor);
        if joins && last.place.rows != rows {
            return None; // the last piece began a row, and may not begin one with what joins it
        }
        if std::mem::take(&mut self.begun_by_cursor) {
            self.rows.pop();
        }
        let width = self.column();
        let mut known = last.at + last.len;
        if joins {
            known = last.at;
            self.cut(last.place);
        }
        let changed = Extended { row: self.rows.len() - 1, column: self.column(), width, first: self.cells.len() };
        self.pieces_from(line, known);
        self.mark();
        Some(changed)
    }

    /// Lays out the pieces of a line from `known` on, in the plain style.
    fn pieces_from(&mut self, line: &[u8], known: usize) {
        let text = line.get(known..).unwrap_or_default();
        for piece in pieces(text) {
            self.note(piece.start + known, piece.len, piece.shape, line.len());
            self.piece(text.get(piece.start..piece.start + piece.len).unwrap_or_default(), piece.shape, PLAIN);
        }
    }

    /// Records where the last piece of a line begins, if this is the last piece.
    fn note(&mut self, at: usize, len: usize, shape: Shape, length: usize) {
        if at + len == length {
            self.last = (shape != Shape::Invalid).then(|| Last { place: self.place(), at, len });
        }
        #[cfg(test)]
        {
            self.laid += 1;
        }
    }

    fn place(&self) -> Place {
        let width = self.rows.last().map_or(0, |row| row.width);
        Place { text: self.text.len(), cells: self.cells.len(), rows: self.rows.len(), width }
    }

    fn cut(&mut self, place: Place) {
        self.text.truncate(place.text);
        self.cells.truncate(place.cells);
        self.rows.truncate(place.rows);
        if let Some(row) = self.rows.last_mut() {
            row.width = place.width;
        }
    }

    /// Returns the cells of a row from the change on.
    pub(super) fn changed(&self, row: usize, change: &Extended) -> &[Cell] {
        let first = self.rows.get(row).map_or(0, |row| row.first as usize);
        self.row(row).get(change.first.saturating_sub(first)..).unwrap_or_default()
    }

    fn clear(&mut self, columns: usize) {
        self.text.clear();
        self.cells.clear();
        self.rows.clear();
        self.rows.push(Row::default());
        self.styles.clear();
        self.cursor = (0, 0);
        self.doubtful = false;
        self.columns = columns;
        self.begun_by_cursor = false;
    }

    /// Lays out a `view`, with the last line of its prompt, in rows of `columns`.
    pub(super) fn lay_out(&mut self, view: &View<'_>, prompt: &[u8], columns: usize) {
        self.clear(columns);
        if view.modified {
            self.put(b"*", 1, PLAIN);
        }
        match view.message {
            Some(message) => self.prompt(message),
            None => {
                self.prompt(view.mode);
                self.prompt(prompt);
            }
        }
        let colours = view.highlighted.and_then(|text| self.colours(text, view.line));
        let mut colours = colours.as_deref().unwrap_or_default().iter().peekable();
        let mut own = PLAIN;
        let mut marked = false;
        self.line = self.place();
        self.last = Some(Last { place: self.line, at: 0, len: 0 });
        for piece in pieces(view.line) {
            self.note(piece.start, piece.len, piece.shape, view.line.len());
            while let Some((_, style)) = colours.next_if(|(at, _)| *at <= piece.start) {
                own = *style;
            }
            let bytes = view.line.get(piece.start..piece.start + piece.len).unwrap_or_default();
            let selected = view.region.as_ref().is_some_and(|region| region.contains(&piece.start));
            if !marked && view.point < piece.start + piece.len {
                marked = true;
                self.wrap(match piece.shape {
                    Shape::Text(width) => width,
                    _ => 1,
                });
                self.mark();
            }
            let style = if selected { REGION } else { own };
            if view.octal && !bytes.is_ascii() {
                self.octal(bytes, style);
            } else {
                self.piece(bytes, piece.shape, style);
            }
        }
        if !marked {
            self.mark();
        }
        for piece in pieces(view.hint) {
            let bytes = view.hint.get(piece.start..piece.start + piece.len).unwrap_or_default();
            self.piece(bytes, piece.shape, HINT);
        }
    }

    fn octal(&mut self, bytes: &[u8], style: Style) {
        for byte in bytes {
            for sign in [b'\\', b'0' + (byte >> 6), b'0' + (byte >> 3 & 7), b'0' + (byte & 7)] {
                self.put(&[sign], 1, style);
            }
        }
    }

    fn prompt(&mut self, text: &[u8]) {
        for part in prompt_parts(text) {
            match part {
                Part::Invisible(bytes) => self.put(bytes, 0, PLAIN),
                Part::Visible(text) => {
                    for piece in pieces(text) {
                        let bytes = text.get(piece.start..piece.start + piece.len).unwrap_or_default();
                        match piece.shape {
                            // A prompt may have escape sequences without marks: they go to the terminal, as GNU's do.
                            Shape::Control(_) => self.put(bytes, 1, PLAIN),
                            shape => self.piece(bytes, shape, PLAIN),
                        }
                    }
                }
            }
        }
    }

    fn piece(&mut self, bytes: &[u8], shape: Shape, style: Style) {
        match shape {
            Shape::Text(width) => {
                // For several characters together, some terminals use the sum of their widths, others show one glyph.
                let first = bytes.first().map_or(0, |b| (b.leading_ones() as usize).max(1));
                self.doubtful |= bytes.len() > first || width == 0;
                self.put(bytes, width, style);
            }
            Shape::Control(letter) => {
                self.put(b"^", 1, style);
                self.put(&[letter], 1, style);
            }
            Shape::Newline if self.columns == usize::MAX => {
                self.put(b"^", 1, style);
                self.put(b"J", 1, style);
            }
            Shape::Newline => {
                // As in GNU readline, a full row has ended already.
                self.wrap(1);
                self.new_row();
            }
            Shape::Tab => {
                let spaces = 8 - self.column() % 8;
                for _ in 0..spaces {
                    self.put(b" ", 1, style);
                }
            }
            Shape::Invalid => self.put("\u{fffd}".as_bytes(), 1, style),
        }
    }

    fn column(&self) -> usize {
        self.rows.last().map_or(0, |row| row.width as usize)
    }

    fn new_row(&mut self) {
        self.rows.push(Row { first: self.cells.len() as u32, width: 0 });
    }

    /// Begins another row if the last row has no room for `width` columns.
    fn wrap(&mut self, width: u16) {
        if width > 0 && self.column() > 0 && self.column() + usize::from(width) > self.columns {
            self.new_row();
        }
    }

    /// Sets the cursor to the end of the text.
    fn mark(&mut self) {
        if self.column() >= self.columns {
            self.new_row();
            self.begun_by_cursor = true;
        }
        self.cursor = (self.rows.len() - 1, self.column());
    }

    fn put(&mut self, bytes: &[u8], width: u16, style: Style) {
        // No screen has place for what is wider than a row.
        let width = width.min(self.columns.min(usize::from(u16::MAX)) as u16);
        self.wrap(width);
        let start = self.text.len() as u32;
        self.text.extend_from_slice(bytes);
        self.cells.push(Cell { start, len: bytes.len() as u32, width, style });
        if let Some(row) = self.rows.last_mut() {
            row.width = row.width.saturating_add(u32::from(width));
        }
    }

    /// Returns the positions where the highlighted text changes its style; `None` if its text is not the line.
    fn colours(&mut self, highlighted: &[u8], line: &[u8]) -> Option<Vec<(usize, Style)>> {
        let mut changes = Vec::new();
        let mut now = Vec::new();
        let (mut at, mut rest) = (0, highlighted);
        while let Some((&first, after)) = rest.split_first() {
            if first == 0x1b && after.first() == Some(&b'[') {
                let end = rest.iter().position(|&b| b == b'm')?;
                let (sequence, after) = rest.split_at_checked(end + 1)?;
                if matches!(sequence, b"\x1b[m" | b"\x1b[0m") {
                    now.clear();
                } else {
                    now.extend_from_slice(sequence);
                }
                changes.push((at, self.style(&now)));
                rest = after;
            } else if line.get(at) == Some(&first) {
                at += 1;
                rest = after;
            } else {
                return None;
            }
        }
        (at == line.len()).then_some(changes)
    }

    fn style(&mut self, sequence: &[u8]) -> Style {
        if sequence.is_empty() {
            return PLAIN;
        }
        let known = self.styles.iter().position(|style| style == sequence);
        let place = known.unwrap_or_else(|| {
            self.styles.push(sequence.to_vec());
            self.styles.len() - 1
        });
        u16::try_from(place).unwrap_or(0).saturating_add(FIRST_OWN)
    }

    /// Reduces the single row to the part that a screen of `columns` shows with the left edge near `margin`; returns
    /// the new left edge. `<` and `>` mark hidden text.
    pub(super) fn scroll(&mut self, columns: usize, margin: usize) -> usize {
        let columns = columns.max(3);
        let at = self.cursor.1;
        let margin = if at > margin + columns - 2 {
            at.saturating_sub(columns / 3)
        } else if at < margin + 1 {
            at.saturating_sub(2 * columns / 3)
        } else {
            margin
        };
        let all = self.column();
        let seen = margin..margin + columns;
        let cells = std::mem::take(&mut self.cells);
        self.rows.clear();
        self.rows.push(Row::default());
        self.columns = columns;
        let mut column = 0;
        for cell in cells {
            let range: Range<usize> = column..column + usize::from(cell.width);
            column = range.end;
            let cut_left = margin > 0 && range.start <= margin;
            let cut_right = all > seen.end && range.end >= seen.end;
            if range.is_empty() {
                if range.start >= seen.start && range.start < seen.end {
                    self.cells.push(cell);
                }
                continue;
            }
            if range.end <= seen.start || range.start >= seen.end {
                continue;
            }
            if !cut_left && !cut_right {
                self.cells.push(cell);
                if let Some(row) = self.rows.last_mut() {
                    row.width += u32::from(cell.width);
                }
                continue;
            }
            for place in range {
                if place < seen.start || place >= seen.end {
                    continue;
                }
                let sign: &[u8] = match place {
                    _ if margin > 0 && place == seen.start => b"<",
                    _ if all > seen.end && place == seen.end - 1 => b">",
                    _ => b" ",
                };
                self.put(sign, 1, PLAIN);
            }
        }
        self.cursor = (0, at - margin);
        margin
    }
}
