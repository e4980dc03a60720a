//! Completion that steps through the candidates.

use super::Machine;
use super::state::Menu;
use crate::readline::command::Command;
use crate::readline::complete::{CompletionKind, Replacement};

impl Machine {
    /// Executes `menu-complete` and the like. The old variant returns to the typed text, the others to the common part.
    pub(super) fn menu_complete(&mut self, count: i32, key: u8, old: bool) {
        if self.settings.variables.disable_completion {
            return self.self_insert(count, key);
        }
        let goes_on = match self.last {
            Some(Command::OldMenuComplete) => old,
            Some(Command::MenuComplete | Command::MenuCompleteBackward) => !old,
            _ => false,
        } && !self.completion.menu.candidates.is_empty();
        if !goes_on && !self.begin_menu(old) {
            return;
        }
        let menu = &mut self.completion.menu;
        let places = menu.candidates.len() as i64 + 1;
        menu.at = (menu.at as i64 + i64::from(count)).rem_euclid(places) as usize;
        let (at, start) = (menu.at, menu.start);
        match at.checked_sub(1).and_then(|n| menu.candidates.get(n).cloned().zip(menu.texts.get(n).cloned())) {
            Some((candidate, replacement)) => {
                self.replace_from(start, &replacement.text);
                self.append_suffix(&candidate, replacement.close);
            }
            None => {
                self.ding();
                let home = self.completion.menu.home.clone();
                self.replace_from(start, &home);
            }
        }
    }

    /// Requests candidates; returns whether there is a menu.
    fn begin_menu(&mut self, old: bool) -> bool {
        let Some(found) = self.candidates(CompletionKind::Menu) else {
            self.completion.menu = Menu::default();
            self.ding();
            return false;
        };
        if let [only] = &found.candidates[..] {
            let Replacement { start, text, close } = self.replacement(&found, only.text());
            self.replace_from(start, &text);
            self.append_suffix(only, close);
            self.completion.menu = Menu::default();
            return false;
        }
        let Replacement { start, text: common, .. } = self.replacement(&found, &found.common);
        let home = if old { self.line.text()[start..found.word.range.end].to_vec() } else { common };
        let texts = found.candidates.iter().map(|it| self.replacement(&found, it.text())).collect();
        let shows_prefix = self.settings.variables.menu_complete_display_prefix && !old;
        let lists = self.settings.variables.show_all_if_ambiguous;
        self.completion.menu = Menu { home, candidates: found.candidates, texts, at: 0, start };
        if lists {
            self.list(self.completion.menu.candidates.clone());
        }
        if shows_prefix {
            let home = self.completion.menu.home.clone();
            self.replace_from(start, &home);
            self.ding();
            return false;
        }
        true
    }

    /// Replaces the text from `start` to the point.
    fn replace_from(&mut self, start: usize, text: &[u8]) {
        let end = self.line.point();
        let start = start.min(end);
        if self.line.text()[start..end] == *text {
            return;
        }
        self.line.begin_group();
        self.line.delete(start, end);
        self.line.set_point(start);
        self.line.insert(text);
        self.line.end_group();
    }
}
