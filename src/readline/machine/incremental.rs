//! Incremental search of the history: each key extends the string or moves to another match.

use super::Machine;
use super::input::Partial;
use super::mode::{IncrementalSearch, Mode};
use crate::readline::buffer;
use crate::readline::command::Command;
use crate::readline::keymap::{Binding, Lookup};

const ESC: u8 = 0x1b;

/// The keys that end a search when `isearch-terminators` is not set.
const TERMINATORS: &[u8] = b"\x1b\n";

/// The end mark of a bracketed paste.
const PASTE_END: &[u8] = b"\x1b[201~";

/// The effect of a key on the search.
enum Key {
    Again,
    Turn,
    Rubout,
    Abort,
    Word,
    Rest,
    Paste,
    Text,
    /// The key ends the search, and is read again.
    Leave,
    /// The keys begin a sequence but do not complete it: the first is text, and the others are read again.
    Begun,
    /// The sequence continues.
    Wait,
}

impl Machine {
    pub(super) fn search_incrementally(&mut self, backward: bool) {
        self.publish_line();
        let newest = match &self.past.saved {
            Some((text, _)) => text.clone(),
            None => self.line.text().to_vec(),
        };
        let from = self.past.at;
        let search = IncrementalSearch {
            backward,
            string: Vec::new(),
            from,
            point: self.line.point(),
            mark: self.line.mark(),
            newest,
            at: from as i64,
            looks_in: from,
            column: self.line.point() as i64,
            found: from,
            seen: None,
            keys: Vec::new(),
            partial: Partial::default(),
            pasted: None,
            escaped: false,
        };
        self.say_search(&search, false);
        self.mode = Mode::Incremental(Box::new(search));
    }

    fn say_search(&mut self, search: &IncrementalSearch, failed: bool) {
        self.message.clear();
        self.message.push(b'(');
        if failed {
            self.message.extend_from_slice(b"failed ");
        }
        if search.backward {
            self.message.extend_from_slice(b"reverse-");
        }
        self.message.extend_from_slice(b"i-search)`");
        for &byte in &search.string {
            // The message takes the place of the prompt, whose sequences the terminal obeys. A pasted string is text
            // only.
            match byte {
                0..0x20 | 0x7f => self.message.extend([b'^', byte ^ 0x40]),
                _ => self.message.push(byte),
            }
        }
        self.message.extend_from_slice(b"': ");
    }

    fn searched_line<'a>(&'a self, search: &'a IncrementalSearch, at: usize) -> &'a [u8] {
        self.history.get(at).unwrap_or(&search.newest)
    }

    pub(super) fn incremental_key(&mut self, mut search: Box<IncrementalSearch>, byte: u8) {
        if search.escaped {
            return self.leave_incremental(*search, &[ESC, byte]);
        }
        if let Some(pasted) = &mut search.pasted {
            pasted.push(byte);
            if !pasted.ends_with(PASTE_END) {
                self.mode = Mode::Incremental(search);
                return;
            }
            let text = search.pasted.take().unwrap_or_default();
            search.string.extend_from_slice(&text[..text.len() - PASTE_END.len()]);
            return self.search_on(search);
        }
        let ends = match &self.settings.variables.isearch_terminators {
            Some(set) => set.contains(&byte),
            None => TERMINATORS.contains(&byte),
        };
        if search.keys.is_empty() && search.partial.is_empty() && ends {
            if byte != ESC {
                return self.end_incremental(*search);
            }
            if self.input.is_ready() {
                return self.leave_incremental(*search, &[ESC]);
            }
            search.escaped = true;
            self.mode = Mode::Incremental(search);
            return;
        }
        search.keys.push(byte);
        let key = self.key_of_search(&search);
        match key {
            Key::Wait => {
                self.mode = Mode::Incremental(search);
                return;
            }
            Key::Leave => {
                let keys = std::mem::take(&mut search.keys);
                return self.leave_incremental(*search, &keys);
            }
            Key::Begun => {
                // The first key is text, and the others are read again.
                let keys = std::mem::take(&mut search.keys);
                self.unread(&keys[1..]);
                return self.text_of_search(search, keys[0]);
            }
            _ => search.keys.clear(),
        }
        match key {
            Key::Abort => return self.abort_incremental(*search),
            Key::Paste => {
                search.pasted = Some(Vec::new());
                self.mode = Mode::Incremental(search);
                return;
            }
            Key::Again if search.string.is_empty() => {
                if self.isearched.is_empty() {
                    self.mode = Mode::Incremental(search);
                    return;
                }
                search.string.extend_from_slice(&self.isearched);
            }
            Key::Again if search.backward => search.column -= 1,
            Key::Again => {
                let length = self.searched_line(&search, search.looks_in).len() as i64;
                if search.column == length { self.ding() } else { search.column += 1 }
            }
            Key::Turn => search.backward = !search.backward,
            Key::Rubout => {
                let length = buffer::previous(&search.string, search.string.len());
                search.string.truncate(length);
                if search.string.is_empty() {
                    self.ding();
                }
            }
            Key::Word => self.take_word(&mut search),
            Key::Rest => {
                let from = (self.line.point() + search.string.len()).min(self.line.len());
                if from == self.line.len() {
                    self.ding();
                }
                search.string.extend_from_slice(&self.line.text()[from..]);
            }
            Key::Text => return self.text_of_search(search, byte),
            Key::Wait | Key::Leave | Key::Begun => {}
        }
        self.search_on(search);
    }

    /// Adds a byte to the string; searches when a character is complete.
    fn text_of_search(&mut self, mut search: Box<IncrementalSearch>, byte: u8) {
        match search.partial.push(byte) {
            Some((bytes, length)) => {
                search.string.extend_from_slice(&bytes[..length]);
                self.search_on(search);
            }
            None => self.mode = Mode::Incremental(search),
        }
    }

    /// Whether the keys so far have a meaning if no other key follows in time.
    pub(super) fn search_may_go_on(&self, search: &IncrementalSearch) -> bool {
        matches!(self.keymap().look(&search.keys), Lookup::Prefix(Some(_)))
    }

    /// Handles the timeout after keys that begin a sequence: a single key is text, or ends the search.
    pub(super) fn expire_search(&mut self, mut search: Box<IncrementalSearch>) {
        let keys = std::mem::take(&mut search.keys);
        match keys[..] {
            [0x07] => self.abort_incremental(*search),
            [key] if key >= 0x20 && key != 0x7f => self.text_of_search(search, key),
            _ => self.leave_incremental(*search, &keys),
        }
    }

    fn key_of_search(&self, search: &IncrementalSearch) -> Key {
        let keys = &search.keys;
        let command = match self.keymap().look(keys) {
            Lookup::Prefix(_) => return Key::Wait,
            Lookup::Bound(Binding::Command(Command::DoLowercaseVersion)) => {
                let mut lower = keys.clone();
                lower.make_ascii_lowercase();
                match self.keymap().look(&lower) {
                    Lookup::Bound(Binding::Command(command)) => Some(*command),
                    _ => None,
                }
            }
            Lookup::Bound(Binding::Command(command)) => Some(*command),
            _ => None,
        };
        let key = keys[keys.len() - 1];
        // A sequence whose first key is text, and which is not a command as a whole.
        if keys.len() > 1 && matches!(command, None | Some(Command::SelfInsert)) && matches!(keys[0], 0x20..0x7f) {
            return Key::Begun;
        }
        match command {
            Some(Command::ReverseSearchHistory) if search.backward => Key::Again,
            Some(Command::ForwardSearchHistory) if !search.backward => Key::Again,
            Some(Command::ReverseSearchHistory | Command::ForwardSearchHistory) => Key::Turn,
            Some(Command::BackwardDeleteChar) => Key::Rubout,
            Some(Command::Abort) => Key::Abort,
            Some(Command::UnixWordRubout) => Key::Word,
            Some(Command::Yank) => Key::Rest,
            Some(Command::BracketedPasteBegin) => Key::Paste,
            _ if keys.len() > 1 => Key::Leave,
            _ => match key {
                0x07 => Key::Abort,
                0x17 => Key::Word,
                0x19 => Key::Rest,
                0..0x20 | 0x7f => Key::Leave,
                _ => Key::Text,
            },
        }
    }

    /// Adds the word after the match to the string.
    fn take_word(&mut self, search: &mut IncrementalSearch) {
        let from = self.line.point() + search.string.len();
        if from >= self.line.len() || !self.line.is_word_at(from) {
            return self.ding();
        }
        let mut to = self.line.next(from);
        while to < self.line.len() && self.line.is_word_at(to) {
            to = self.line.next(to);
        }
        search.string.extend_from_slice(&self.line.text()[from..to]);
    }

    /// Searches for the string from the current position, and shows the result.
    fn search_on(&mut self, mut search: Box<IncrementalSearch>) {
        if self.find_incrementally(&mut search) {
            let at = search.at as usize;
            let text = self.searched_line(&search, at).to_vec();
            self.line.show(&text);
            self.line.set_point_near(search.column as usize);
            if self.settings.variables.enable_active_region {
                self.line.set_mark(search.column as usize + search.string.len());
                self.region_active = true;
            }
            search.seen = Some(text);
            search.found = at;
            self.say_search(&search, false);
        } else {
            self.ding();
            search.at = search.found as i64;
            self.region_active = false;
            self.say_search(&search, true);
        }
        self.mode = Mode::Incremental(search);
    }

    fn find_incrementally(&self, search: &mut IncrementalSearch) -> bool {
        if search.string.is_empty() {
            return false;
        }
        let length = self.history.len() as i64;
        loop {
            let line = self.searched_line(search, search.looks_in);
            let found = if search.backward {
                let upto =
                    usize::try_from(search.column).ok().map(|column| (column + search.string.len()).min(line.len()));
                upto.and_then(|upto| super::movement::last_position(&line[..upto], &search.string))
            } else {
                let from = (search.column.max(0) as usize).min(line.len());
                super::movement::position(&line[from..], &search.string).map(|at| from + at)
            };
            if let Some(column) = found {
                search.column = column as i64;
                return true;
            }
            // In a forward search, the position of GNU readline is one past the last place where the string fits. A
            // key that ends a failed search starts there.
            let behind = (line.len() as i64 + 1 - search.string.len() as i64).max(search.column);
            search.column = if search.backward { 0 } else { behind };
            loop {
                search.at += if search.backward { -1 } else { 1 };
                if search.at < 0 || search.at > length {
                    return false;
                }
                search.looks_in = search.at as usize;
                let line = self.searched_line(search, search.looks_in);
                if search.string.len() <= line.len() && search.seen.as_deref() != Some(line) {
                    search.column = if search.backward { (line.len() - search.string.len()) as i64 } else { 0 };
                    break;
                }
            }
        }
    }

    fn abort_incremental(&mut self, search: IncrementalSearch) {
        let text = self.searched_line(&search, search.from).to_vec();
        self.line.show(&text);
        self.line.set_point_near(search.point);
        self.line.set_mark(search.mark);
        self.region_active = false;
        self.message.clear();
    }

    /// Ends the search, and reads its keys again. The search's numeric argument becomes that of the command.
    fn leave_incremental(&mut self, search: IncrementalSearch, keys: &[u8]) {
        self.unread(keys);
        self.end_incremental(search);
        self.keeps_argument = true;
    }

    /// Ends the search at the line of the history that it found.
    pub(super) fn end_incremental(&mut self, search: IncrementalSearch) {
        let text = self.searched_line(&search, search.from).to_vec();
        self.line.show(&text);
        self.message.clear();
        let steps = search.from as i64 - search.found as i64;
        let steps = i32::try_from(steps).unwrap_or(i32::MAX);
        if steps > 0 {
            self.previous_history(steps)
        } else {
            self.next_history(-steps)
        }
        self.isearched = search.string;
        if search.column < 0 {
            let end = if search.found == search.from { search.point } else { self.line.len() };
            self.line.set_point_near(end);
            self.line.set_mark(search.mark);
        } else {
            self.line.set_point_near(search.column as usize);
        }
        self.region_active = false;
    }
}
