//! The fast path for most lines: printable ASCII after the prompt, in one row. A key changes only a few bytes, so no
//! frame is laid out. The frame is brought up to date when it is needed.

use super::{Screen, is_printable};

impl Screen {
    /// Enters the fast path, if the shown frame allows it: `line` is the text that it shows.
    pub(super) fn become_flat(&mut self, line: &[u8], point: usize) {
        let Some((row, start)) = self.now.line_in_one_row(line.len()) else { return };
        if !self.plain_view
            || self.pen.is_dumb()
            || self.now.doubtful
            || row < self.top
            || !line.iter().all(is_printable)
        {
            return;
        }
        let flat = &mut self.flat;
        (flat.is_shown, flat.is_ahead) = (true, false);
        (flat.row, flat.start, flat.point) = (row - self.top, start, point);
        flat.text.clear();
        flat.text.extend_from_slice(line);
    }

    /// Whether a line in one row is on the screen, so that [`draw_flat`](Self::draw_flat) may show the next one.
    pub(crate) fn is_flat(&self) -> bool {
        self.flat.is_shown
    }

    /// Leaves the fast path without an update of the frame.
    pub(super) fn forget_flat(&mut self) {
        (self.flat.is_shown, self.flat.is_ahead) = (false, false);
    }

    /// Updates the frame with the changes that were drawn without it.
    pub(super) fn catch_up(&mut self) {
        if self.flat.is_ahead {
            self.now.replace_line(&self.flat.text, self.flat.point);
            self.length = self.flat.text.len();
            self.ends_in_ascii = true;
            self.plain = self.flat.point == self.length;
        }
        self.forget_flat();
    }

    /// Replaces the shown line by another, whose first `kept` bytes are the same; returns `false` if that needs a
    /// frame.
    pub(crate) fn draw_flat(&mut self, line: &[u8], kept: usize, point: usize, out: &mut Vec<u8>) -> bool {
        let flat = &mut self.flat;
        if !flat.is_shown || flat.start + line.len() >= self.columns {
            return false;
        }
        let shown = flat.text.len();
        let most = shown.min(line.len());
        let head = kept.min(most);
        if head == shown && point == line.len() && flat.point == shown {
            // More text at the end, or nothing at all.
            let Some(new) = line.get(head..).filter(|new| new.iter().all(is_printable)) else { return false };
            if !new.is_empty() {
                flat.text.extend_from_slice(new);
                self.pen.wrote(new, out);
            }
        } else {
            if head < shown || head < line.len() {
                let same = |(one, other): &(&u8, &u8)| one == other;
                let (Some(old), Some(new)) = (flat.text.get(head..), line.get(head..)) else { return false };
                // A key inserts or deletes at the end of `kept`, and all text after that is unchanged.
                let only_grows = new.len() > old.len() && new.ends_with(old);
                let only_shrinks = old.len() > new.len() && old.ends_with(new);
                let (head, tail) = if only_grows || only_shrinks {
                    (head, old.len().min(new.len()))
                } else {
                    let more = old.iter().zip(new).take_while(same).count();
                    let (Some(old), Some(new)) = (old.get(more..), new.get(more..)) else { return false };
                    (head + more, old.iter().rev().zip(new.iter().rev()).take_while(same).count())
                };
                let (Some(old), Some(new)) = (flat.text.get(head..), line.get(head..)) else { return false };
                let (old_middle, new_middle) = (old.len() - tail, new.len() - tail);
                let Some(middle) = new.get(..new_middle).filter(|new| new.iter().all(is_printable)) else {
                    return false;
                };
                self.pen.move_to(flat.row, flat.start + head, out);
                if tail > 8 || tail > 0 && old_middle == new_middle {
                    if old_middle != new_middle {
                        self.pen.shift(old_middle, new_middle, out);
                    }
                    self.pen.wrote(middle, out);
                } else {
                    self.pen.wrote(new, out);
                    if line.len() < shown {
                        self.pen.clear_row(out);
                    }
                }
                flat.text.truncate(head);
                flat.text.extend_from_slice(new);
            }
            self.pen.move_to(flat.row, flat.start + point, out);
        }
        flat.point = point;
        flat.is_ahead = true;
        true
    }
}
