//! The callbacks of an [`Editor`]: hooks, completers, hints, colours.

use std::ops::Range;

use super::Editor;
use crate::readline::complete::{self, Candidate, Completer, CompletionKind};
use crate::readline::hooks::{Context, Validation};

impl Editor {
    /// Sets a hook that runs before the prompt of each line is shown. Python's `set_startup_hook`.
    ///
    /// ```
    /// use ossature::readline::{Editor, Step};
    ///
    /// let mut editor = Editor::new();
    /// editor.on_startup(|line| line.insert("draft"));
    /// let mut screen = Vec::new();
    /// let _ = editor.begin("> ", &mut screen);
    /// assert_eq!(editor.feed(b"\r", &mut screen), Step::Line(b"draft".to_vec()));
    /// ```
    #[doc(alias = "set_startup_hook")]
    pub fn on_startup(&mut self, hook: impl FnMut(&mut Context<'_>) + Send + 'static) {
        self.machine.hooks.startup = Some(Box::new(hook));
    }

    /// Sets a hook that runs after the prompt is shown, before the first key. Python's `set_pre_input_hook`.
    ///
    /// See the example of [`readline`](crate::readline).
    #[doc(alias = "set_pre_input_hook")]
    pub fn on_pre_input(&mut self, hook: impl FnMut(&mut Context<'_>) + Send + 'static) {
        self.machine.hooks.pre_input = Some(Box::new(hook));
    }

    /// Removes both hooks.
    ///
    /// See the example of [`readline`](crate::readline).
    pub fn clear_hooks(&mut self) {
        (self.machine.hooks.startup, self.machine.hooks.pre_input) = (None, None);
    }

    /// Sets the completer. Without a completer, file names are completed.
    ///
    /// ```
    /// use ossature::readline::{CompletionContext, Editor, Step};
    ///
    /// let mut editor = Editor::new();
    /// editor.set_completer(|word: &str, _: &CompletionContext<'_>| {
    ///     ["apple", "banana"].into_iter().filter(|it| it.starts_with(word)).collect::<Vec<_>>()
    /// });
    /// let mut screen = Vec::new();
    /// let _ = editor.begin("> ", &mut screen);
    /// assert_eq!(editor.feed(b"b\t\r", &mut screen), Step::Line(b"banana".to_vec()));
    /// ```
    pub fn set_completer(&mut self, completer: impl Completer + Send + 'static) {
        self.machine.hooks.completer = Some(Box::new(completer));
    }

    /// Removes the completer, so that file names are completed again.
    ///
    /// See the example of [`readline`](crate::readline).
    pub fn clear_completer(&mut self) {
        self.machine.hooks.completer = None;
    }

    /// The completer, if one was set.
    ///
    /// See the example of [`readline`](crate::readline).
    #[doc(alias = "get_completer")]
    pub fn completer(&mut self) -> Option<&mut (dyn Completer + Send + 'static)> {
        self.machine.hooks.completer.as_deref_mut()
    }

    /// The kind of the last completion; `None` before the first.
    ///
    /// See the example of [`readline`](crate::readline).
    #[doc(alias = "get_completion_type")]
    pub fn completion_kind(&self) -> Option<CompletionKind> {
        self.machine.last_completion().0
    }

    /// The range of the word of the last completion, in bytes; empty at 0 before the first.
    ///
    /// See the example of [`readline`](crate::readline).
    #[doc(alias = "get_begidx")]
    #[doc(alias = "get_endidx")]
    pub fn completion_range(&self) -> Range<usize> {
        self.machine.last_completion().1
    }

    /// Sets the bytes that separate words for completion.
    ///
    /// See the example of [`readline`](crate::readline).
    pub fn set_completer_delims(&mut self, delimiters: impl Into<Vec<u8>>) {
        self.machine.hooks.delimiters = Some(delimiters.into());
    }

    /// The bytes that separate words for completion: by default blanks and ASCII punctuation except `.` and `_`.
    ///
    /// See the example of [`readline`](crate::readline).
    #[doc(alias = "get_completer_delims")]
    pub fn completer_delims(&self) -> &[u8] {
        self.machine.hooks.delimiters.as_deref().unwrap_or(complete::DELIMITERS)
    }

    /// Sets the characters that quote words. A word continues to the end of its quotes, even over delimiters.
    /// Completion adds the closing quote to a complete word. Empty by default, as in GNU readline.
    ///
    /// Even without them, the quote `"` or `'` right before the word is closed behind a word that is complete and ends
    /// the line.
    ///
    /// ```
    /// use ossature::readline::{CompletionContext, Editor, Step};
    ///
    /// let mut editor = Editor::new();
    /// editor.set_completer(|_: &str, _: &CompletionContext<'_>| vec!["two words"]);
    /// editor.set_completer_quotes("\"'");
    /// editor.set_filename_quotes(" \t\n\"'"); // only names of files get quotes that were not typed
    /// let mut screen = Vec::new();
    /// let _ = editor.begin("> ", &mut screen);
    /// assert_eq!(editor.feed(b"f('two w\t)\r", &mut screen), Step::Line(b"f('two words')".to_vec()));
    /// ```
    #[doc(alias = "rl_completer_quote_characters")]
    pub fn set_completer_quotes(&mut self, quotes: impl Into<Vec<u8>>) {
        self.machine.hooks.quoting.quotes = quotes.into();
    }

    /// Sets the characters that make a file name need quotes: completion puts the first of [the
    /// quotes](Self::set_completer_quotes) before such a name. Empty by default, as in GNU readline.
    ///
    /// Unlike GNU readline, `insert-completions` closes the quotes of each name.
    ///
    /// See the example of [`readline`](crate::readline).
    #[doc(alias = "rl_filename_quote_characters")]
    pub fn set_filename_quotes(&mut self, quoted: impl Into<Vec<u8>>) {
        self.machine.hooks.quoting.quoted = quoted.into();
    }

    /// Sets the hook that lists candidates: it receives the word and the candidates, and writes the text that is shown
    /// below the line. Python's hook prints instead.
    ///
    /// See the example of [`readline`](crate::readline).
    #[doc(alias = "set_completion_display_matches_hook")]
    pub fn on_display_matches(&mut self, hook: impl FnMut(&[u8], &[Candidate], &mut Vec<u8>) + Send + 'static) {
        self.machine.hooks.display_matches = Some(Box::new(hook));
    }

    /// Removes the hook, so that candidates are listed in columns again.
    ///
    /// See the example of [`readline`](crate::readline).
    pub fn clear_display_matches(&mut self) {
        self.machine.hooks.display_matches = None;
    }

    /// Sets the validator, which decides whether an accepted line is complete, so that input may have several lines.
    ///
    /// ```
    /// use ossature::readline::{Editor, Step, Validation};
    ///
    /// let mut editor = Editor::new();
    /// editor.set_validator(|line| match line.ends_with('\\') {
    ///     true => Validation::Incomplete,
    ///     false => Validation::Complete,
    /// });
    /// let mut screen = Vec::new();
    /// let _ = editor.begin("> ", &mut screen);
    /// assert_eq!(editor.feed(b"a \\\rb\r", &mut screen), Step::Line(b"a \\\nb".to_vec()));
    /// ```
    pub fn set_validator(&mut self, validator: impl FnMut(&str) -> Validation + Send + 'static) {
        self.machine.hooks.validator = Some(Box::new(validator));
    }

    /// Sets the hinter, which suggests the rest of the line. The hint is shown after the line; a move past the end
    /// accepts it.
    ///
    /// See the example of [`readline`](crate::readline).
    pub fn set_hinter(&mut self, hinter: impl FnMut(&str) -> Option<String> + Send + 'static) {
        self.quiet = false;
        self.machine.hooks.hinter = Some(Box::new(hinter));
    }

    /// Sets the highlighter, which receives the text and the cursor, and returns the same text with escape sequences.
    ///
    /// See the example of [`readline`](crate::readline).
    pub fn set_highlighter(&mut self, highlighter: impl FnMut(&str, usize) -> String + Send + 'static) {
        self.quiet = false;
        self.machine.hooks.highlighter = Some(Box::new(highlighter));
    }
}
