//! Code of the caller that panics while the editor runs it: the editor keeps the caller's hooks and text.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ossature::readline::{CompletionContext, Editor, ReadOutcome, Step, Terminal, Validation};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd;
use ossature::sys::tty::Pty;

/// A hook that counts its calls, and panics at the first.
#[derive(Clone, Default)]
struct Fuse(Arc<AtomicUsize>);

impl Fuse {
    fn burn(&self) {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "planned");
    }

    fn calls(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Sets a hook with the fuse, and types the keys in two lines. In the first line the hook panics, and the line is given
/// up; in the second the hook runs again.
fn twice(set: impl FnOnce(&mut Editor, Fuse), keys: &[u8]) -> Vec<u8> {
    let (mut editor, fuse, mut screen) = (Editor::new(), Fuse::default(), Vec::new());
    editor.parse_and_bind("tab: complete").unwrap();
    set(&mut editor, fuse.clone());
    let mut line = |editor: &mut Editor| {
        // Key by key, so that each is drawn.
        let begun = editor.begin("> ", &mut screen);
        keys.iter().fold(begun, |step, key| if step == Step::More { editor.feed(&[*key], &mut screen) } else { step })
    };
    assert!(catch_unwind(AssertUnwindSafe(|| line(&mut editor))).is_err());
    let _ = editor.interrupt(&mut Vec::new());
    let Step::Line(text) = line(&mut editor) else { panic!("no line") };
    assert!(fuse.calls() > 1, "the hook was lost");
    text
}

#[test]
fn a_hook_that_panics_stays_set() {
    let startup = |editor: &mut Editor, fuse: Fuse| {
        editor.on_startup(move |line| {
            fuse.burn();
            line.insert("draft");
        });
    };
    assert_eq!(twice(startup, b"!\r"), b"draft!");
    let pre_input = |editor: &mut Editor, fuse: Fuse| {
        editor.on_pre_input(move |line| {
            fuse.burn();
            line.insert("draft");
        });
    };
    assert_eq!(twice(pre_input, b"!\r"), b"draft!");
    let completer = |editor: &mut Editor, fuse: Fuse| {
        editor.set_completer(move |_: &str, _: &CompletionContext<'_>| {
            fuse.burn();
            vec!["banana"]
        });
    };
    assert_eq!(twice(completer, b"b\t\r"), b"banana");
    let display = |editor: &mut Editor, fuse: Fuse| {
        editor.set_completer(|_: &str, _: &CompletionContext<'_>| vec!["one", "other"]);
        editor.on_display_matches(move |_, _, _| fuse.burn());
    };
    assert_eq!(twice(display, b"o\x1b?\r"), b"o");
    let validator = |editor: &mut Editor, fuse: Fuse| {
        editor.set_validator(move |_| {
            fuse.burn();
            Validation::Complete
        });
    };
    assert_eq!(twice(validator, b"text\r"), b"text");
    let hinter = |editor: &mut Editor, fuse: Fuse| {
        editor.set_hinter(move |_| {
            fuse.burn();
            None
        });
    };
    assert_eq!(twice(hinter, b"text\r"), b"text");
    let highlighter = |editor: &mut Editor, fuse: Fuse| {
        editor.set_highlighter(move |line, _| {
            fuse.burn();
            line.to_owned()
        });
    };
    assert_eq!(twice(highlighter, b"text\r"), b"text");
}

#[test]
fn a_panic_of_a_hook_keeps_the_terminal_and_what_was_typed_ahead() {
    let pty = Pty::open().unwrap();
    let copy = || fd::duplicate(&pty.terminal).unwrap();
    let mut editor = Editor::new();
    editor.set_terminal(Terminal::new(copy(), copy()).unwrap());
    let fuse = Fuse::default();
    let burns = fuse.clone();
    editor.on_startup(move |_| burns.burn());
    // What is typed is no control character of the terminal.
    let _raw = ossature::sys::tty::line_editing(&pty.terminal).unwrap();
    fd::write_all(&pty.controller, b"typed ahead\r", Deadline::NEVER).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| editor.read_line("> "))).is_err());
    // Standard input is another file, so the line can come from the terminal only.
    assert_eq!(editor.read_line("> ").unwrap(), ReadOutcome::Line("typed ahead".into()));
    assert_eq!(fuse.calls(), 2);
}
