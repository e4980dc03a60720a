//! Helpers that type keys into the editor and return the line.

use ossature::readline::{Config, Editor, Step};

/// An editor with CPython's settings, so that each fact can be checked against CPython.
pub fn editor() -> Editor {
    Editor::with_config(Config::python_compat())
}

/// Types the keys, which must end the line. Returns the line.
pub fn line(editor: &mut Editor, keys: impl AsRef<[u8]>) -> String {
    let mut screen = Vec::new();
    let mut step = editor.begin("> ", &mut screen);
    for &key in keys.as_ref() {
        assert_eq!(step, Step::More, "the line ended before {:?}", keys.as_ref().escape_ascii().to_string());
        step = editor.feed(&[key], &mut screen);
    }
    match step {
        Step::Line(line) => String::from_utf8(line).expect("a line of UTF-8"),
        other => panic!("{other:?} after {:?}", keys.as_ref().escape_ascii().to_string()),
    }
}

/// Types the keys and RET into a new editor with these bindings and this history.
pub fn typed_with(bindings: &[&str], history: &[&str], keys: impl AsRef<[u8]>) -> String {
    let mut editor = editor();
    for binding in bindings {
        editor.parse_and_bind(binding).expect("a good binding");
    }
    for entry in history {
        editor.add_history(entry);
    }
    line(&mut editor, [keys.as_ref(), b"\r"].concat())
}

/// Types the keys and RET into a new editor.
pub fn typed(keys: impl AsRef<[u8]>) -> String {
    typed_with(&[], &[], keys)
}

/// Like [`typed`], with a history.
pub fn recalled(history: &[&str], keys: impl AsRef<[u8]>) -> String {
    typed_with(&[], history, keys)
}

/// Checks that each of the keys gives the line beside it.
pub fn all(facts: &[(&str, &str)]) {
    for (keys, wanted) in facts {
        assert_eq!(typed(keys), *wanted, "{}", keys.escape_debug());
    }
}
