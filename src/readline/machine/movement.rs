//! Commands that move the point, and commands that clear the screen.

use super::input::Partial;
use super::mode::Mode;
use super::{Clear, Machine};

impl Machine {
    pub(super) fn forward_char(&mut self, count: i32) {
        if self.settings.variables.byte_oriented {
            return self.forward_byte(count);
        }
        let end = self.line.len();
        let mut point = self.line.point();
        if count > 0 {
            if point == end && !self.accept_hint() {
                return self.ding();
            }
            for _ in 0..count {
                if point >= end {
                    break;
                }
                point = self.line.next(point);
            }
            // In the command mode of vi the point is on a character.
            if self.is_vi_command() && point >= end {
                point = self.line.previous(end);
            }
            if point == self.line.point() && self.is_vi() {
                self.ding();
            }
            self.line.set_point(point.max(self.line.point()));
        } else if count < 0 {
            for left in (1..=count.unsigned_abs()).rev() {
                if point == 0 {
                    self.ding();
                    break;
                }
                let _ = left;
                point = self.line.previous(point);
            }
            self.line.set_point(point);
        }
    }

    pub(super) fn backward_char(&mut self, count: i32) {
        self.forward_char_or_back(-count);
    }

    fn forward_char_or_back(&mut self, count: i32) {
        if self.settings.variables.byte_oriented { self.forward_byte(count) } else { self.forward_char(count) }
    }

    pub(super) fn forward_byte(&mut self, count: i32) {
        let last = if self.is_vi_command() { self.line.len().saturating_sub(1) } else { self.line.len() };
        let to = self.line.point() as i64 + i64::from(count);
        if to < 0 || to > last as i64 {
            self.ding();
        }
        self.line.set_point(to.clamp(0, last as i64) as usize);
    }

    pub(super) fn beginning_of_line(&mut self) {
        self.line.set_point(0);
    }

    pub(super) fn end_of_line(&mut self) {
        if self.line.is_at_end() {
            self.accept_hint();
        }
        self.line.set_point(self.line.len());
    }

    pub(super) fn forward_word(&mut self, count: i32) {
        if count > 0 && self.line.is_at_end() {
            self.accept_hint_word();
        }
        self.line.set_point(self.word_on(self.line.point(), count));
    }

    /// Moves one row up or down. As in GNU readline, the count is ignored.
    pub(super) fn next_screen_line(&mut self, count: i32) {
        let columns = i32::try_from(self.columns).unwrap_or(i32::MAX);
        self.forward_char_or_back(columns.saturating_mul(count.signum()));
    }

    pub(super) fn clear(&mut self, what: Clear) {
        let what = if self.argument.explicit && what == Clear::Screen { Clear::Line } else { what };
        self.effects.clear = Some(what);
    }

    /// Executes `character-search`: the next key is the character.
    pub(super) fn character_search(&mut self, count: i32, forward: bool) {
        let forward = forward == (count >= 0);
        let count = count.saturating_abs();
        self.mode = Mode::Character { count, forward, found: Partial::default() };
    }

    pub(super) fn character_key(&mut self, count: i32, forward: bool, mut found: Partial, byte: u8) {
        match found.push(byte) {
            None => self.mode = Mode::Character { count, forward, found },
            Some((bytes, length)) => {
                self.search_character(count, forward, &bytes[..length]);
            }
        }
    }

    /// Moves to the `count`th such character, or to the last one if there are fewer; returns whether there were enough.
    pub(super) fn search_character(&mut self, count: i32, forward: bool, character: &[u8]) -> bool {
        for _ in 0..count {
            let found = if forward {
                let from = self.line.next(self.line.point()).min(self.line.len());
                position(&self.line.text()[from..], character).map(|at| from + at)
            } else {
                let upto = (self.line.point() + character.len() - 1).min(self.line.len());
                last_position(&self.line.text()[..upto], character)
            };
            match found {
                Some(at) => self.line.set_point(at),
                None => {
                    self.ding();
                    return false;
                }
            }
        }
        true
    }

    pub(super) fn is_vi_command(&self) -> bool {
        self.map == super::Map::ViCommand
    }
}

/// Returns the first position of a text in another.
pub(super) fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

/// Returns the last position of a text in another.
pub(super) fn last_position(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(text, part)
}
