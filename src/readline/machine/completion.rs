//! Completion commands, and lists of candidates with their questions and pages.

use super::Machine;
use super::mode::{List, Mode};
use crate::readline::command::Command;
use crate::readline::complete::{
    self, Candidate, Completer, CompletionContext, CompletionKind, Filenames, Replacement, Word,
};

/// The candidates for the word at the point.
pub(super) struct Found {
    pub(super) word: Word,
    /// Whether the candidates are file names.
    are_files: bool,
    pub(super) candidates: Vec<Candidate>,
    /// The common start of all candidates.
    pub(super) common: Vec<u8>,
}

impl Machine {
    /// Calls the completer. Returns its candidates sorted, without duplicates.
    pub(super) fn candidates(&mut self, kind: CompletionKind) -> Option<Found> {
        let delimiters = self.hooks.delimiters.as_deref().unwrap_or(complete::DELIMITERS);
        let word = Word::before(self.line.text(), self.line.point(), delimiters, &self.hooks.quoting);
        let range = word.range.clone();
        (self.completion.kind, self.completion.range) = (Some(kind), range.clone());
        let mut files = Filenames::with(&self.settings.variables);
        let asked: &mut dyn Completer = match &mut self.hooks.completer {
            Some(completer) => completer.as_mut(),
            None => &mut files,
        };
        let context = CompletionContext { line: self.line.text(), range, kind };
        let typed = context.word().to_vec();
        let mut candidates = asked.complete(&String::from_utf8_lossy(&typed), &context);
        let are_files = asked.yields_files();
        complete::sort(&mut candidates);
        let ignore_case = self.settings.variables.completion_ignore_case;
        // The typed text decides between upper and lower case.
        let first = candidates.iter().find(|it| it.text().starts_with(&typed)).or(candidates.first())?;
        let length = candidates.iter().map(|it| complete::common(first.text(), it.text(), ignore_case)).min()?;
        let common = first.text()[..length].to_vec();
        Some(Found { word, are_files, candidates, common })
    }

    /// Returns the replacement of the word by a text, with quotes.
    pub(super) fn replacement(&self, found: &Found, text: &[u8]) -> Replacement {
        found.word.replacement(text, found.are_files, &self.hooks.quoting)
    }

    /// Replaces the word by a text.
    pub(super) fn replace_word(&mut self, Replacement { start, text, .. }: &Replacement, only: bool) {
        let (start, text) = (*start, &text[..]);
        let end = self.line.point();
        if text.is_empty() {
            return;
        }
        let word = self.line.text()[start..end].to_vec();
        if word != text {
            self.line.begin_group();
            // The common part is not touched, so that the undo list is short.
            let kept = complete::common(&word, text, false);
            if kept < word.len() {
                self.line.delete(start + kept, end);
            }
            self.line.set_point(start + kept);
            self.line.insert(&text[kept..]);
            self.line.end_group();
        }
        if only && self.settings.variables.skip_completed_text {
            self.skip_completed(start, text, word.len());
        }
    }

    /// Removes the text after the point that repeats the end of the inserted text.
    fn skip_completed(&mut self, start: usize, text: &[u8], typed: usize) {
        let point = self.line.point();
        let rest = self.line.text()[point..].to_vec();
        let inserted = text.get(typed.min(text.len())..).unwrap_or_default();
        let same = inserted.iter().zip(&rest).take_while(|(one, other)| one == other).count();
        if same > 0 && start + text.len() == point {
            self.line.delete(point, point + same);
        }
    }

    /// Inserts the text after the only candidate: its closing quote, unless more text follows or may follow, and its
    /// suffix.
    pub(super) fn append_suffix(&mut self, candidate: &Candidate, close: Option<u8>) {
        if let Some(quote) = close.filter(|_| self.line.is_at_end() && candidate.suffix() != b"/") {
            self.line.insert(&[quote]);
        }
        let point = self.line.point();
        if !self.line.text()[point..].starts_with(candidate.suffix()) {
            self.line.insert(candidate.suffix());
        }
    }

    /// Executes `complete`: inserts the common part of the candidates; if repeated without a change, lists them.
    pub(super) fn complete(&mut self, count: i32, key: u8) {
        let variables = &self.settings.variables;
        if variables.disable_completion {
            return self.self_insert(count, key);
        }
        let kind = if self.last == Some(Command::Complete) && !self.completion.changed {
            CompletionKind::List
        } else if variables.show_all_if_ambiguous {
            CompletionKind::ListIfAmbiguous
        } else if variables.show_all_if_unmodified {
            CompletionKind::ListIfUnmodified
        } else {
            CompletionKind::Complete
        };
        self.complete_as(kind);
    }

    /// Completes the word at the point in one of the five kinds.
    pub(super) fn complete_as(&mut self, kind: CompletionKind) {
        let failed = std::mem::replace(&mut self.completion.failed, true);
        let Some(found) = self.candidates(kind) else {
            self.completion.changed = false;
            return self.ding();
        };
        self.completion.failed = false;
        let before = self.line.text().to_vec();
        let several = found.candidates.len() > 1;
        let adds = found.common != before[found.word.range.clone()];
        match kind {
            CompletionKind::List if failed && !several => self.insert_only(&found),
            CompletionKind::List => self.list(found.candidates),
            CompletionKind::InsertAll => self.insert_all(&found),
            _ if !several => self.insert_only(&found),
            _ => {
                if !found.common.is_empty() {
                    self.replace_word(&self.replacement(&found, &found.common), false);
                }
                match kind {
                    CompletionKind::ListIfAmbiguous => self.list(found.candidates),
                    CompletionKind::ListIfUnmodified if !adds => self.list(found.candidates),
                    CompletionKind::ListIfUnmodified => {}
                    _ if self.is_vi() => {}
                    _ => self.ding(),
                }
            }
        }
        self.completion.changed = self.line.text() != before;
    }

    fn insert_only(&mut self, found: &Found) {
        let candidate = &found.candidates[0];
        let replacement = self.replacement(found, candidate.text());
        self.replace_word(&replacement, true);
        self.append_suffix(candidate, replacement.close);
    }

    fn insert_all(&mut self, found: &Found) {
        self.line.begin_group();
        let start = self.replacement(found, b"").start;
        self.line.delete(start, self.line.point());
        self.line.set_point(start);
        for candidate in &found.candidates {
            let Replacement { mut text, close, .. } = self.replacement(found, candidate.text());
            // A delimiter is closed only after a word that also begins with it.
            text.extend(close.filter(|quote| text.first() == Some(quote)));
            text.push(b' ');
            self.line.insert(&text);
        }
        self.line.end_group();
    }

    /// Shows the candidates: by the caller's hook, or in columns below the line.
    pub(super) fn list(&mut self, candidates: Vec<Candidate>) {
        let word = self.line.text()[self.completion.range.start.min(self.line.point())..self.line.point()].to_vec();
        if let Some(display) = &mut self.hooks.display_matches {
            return display(&word, &candidates, &mut self.effects.below);
        }
        let rows = complete::rows(&candidates, &self.settings.variables, self.columns, self.has_colours());
        let list = Box::new(List { rows, at: 0 });
        let most = self.settings.variables.completion_query_items;
        if most > 0 && candidates.len() >= most {
            let question = format!("Display all {} possibilities? (y or n)", candidates.len());
            if self.quirks.asks_in_vain {
                self.effects.below.extend_from_slice(question.as_bytes());
                self.effects.below.push(b'\n');
                return self.print_rows(&list.rows);
            }
            self.message.clear();
            self.message.extend_from_slice(question.as_bytes());
            self.effects.leave = true;
            self.mode = Mode::Ask(list);
            return;
        }
        self.page(list);
    }

    fn has_colours(&self) -> bool {
        !matches!(self.settings.terminal.as_str(), "" | "dumb")
    }

    fn print_rows(&mut self, rows: &[Vec<u8>]) {
        for row in rows {
            self.effects.below.extend_from_slice(row);
            self.effects.below.push(b'\n');
        }
    }

    pub(super) fn ask_key(&mut self, list: Box<List>, byte: u8) {
        match byte {
            b'y' | b'Y' | b' ' => {
                self.message.clear();
                self.effects.erase = true;
                self.page(list);
            }
            0x07 => self.abort(),
            b'n' | b'N' | 0x7f => {
                self.message.clear();
                self.effects.erase = true;
            }
            _ => {
                self.ding();
                self.mode = Mode::Ask(list);
            }
        }
    }

    /// Shows a screenful of rows, and waits for a key before more.
    fn page(&mut self, list: Box<List>) {
        let all = !self.settings.variables.page_completions || self.quirks.asks_in_vain;
        let most = if all { usize::MAX } else { self.rows.saturating_sub(1).max(1) };
        self.show_rows(list, most);
    }

    fn show_rows(&mut self, mut list: Box<List>, most: usize) {
        let end = list.at.saturating_add(most).min(list.rows.len());
        let rows = std::mem::take(&mut list.rows);
        self.print_rows(&rows[list.at..end]);
        list.rows = rows;
        list.at = end;
        if end < list.rows.len() {
            self.message.clear();
            self.message.extend_from_slice(b"--More--");
            self.mode = Mode::Page(list);
        }
    }

    pub(super) fn page_key(&mut self, list: Box<List>, byte: u8) {
        self.message.clear();
        self.effects.erase = true;
        match byte {
            b'y' | b'Y' | b' ' => self.page(list),
            b'\r' | b'\n' => self.show_rows(list, 1),
            b'q' | b'Q' | b'n' | b'N' | 0x7f => {}
            0x07 => self.abort(),
            _ => {
                self.ding();
                self.effects.erase = false;
                self.message.extend_from_slice(b"--More--");
                self.mode = Mode::Page(list);
            }
        }
    }

    /// Whether a question replaces the prompt and the line.
    pub(super) fn asks(&self) -> bool {
        matches!(self.mode, Mode::Ask(_) | Mode::Page(_))
    }
}
