//! Lines of an init file: no line breaks the editor, a line does the same twice, and a bad line changes no variable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ossature::readline::{Editor, Step, Variables};

fuzz_target!(|text: &[u8]| {
    // An included file may be anything of the machine, such as a device.
    if text.to_ascii_lowercase().windows(7).any(|window| window == b"include") {
        return;
    }
    let (mut whole, mut single) = (Editor::new(), Editor::new());
    let done = whole.parse_and_bind(text);
    let mut first = None;
    for (n, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let before = single.variables().clone();
        if let Err(error) = single.parse_and_bind(line) {
            assert_eq!(*single.variables(), before, "a bad line changes nothing: {error}");
            first.get_or_insert(n + 1);
        }
    }
    assert_eq!(done.err().map(|error| error.line()), first);
    assert_eq!(whole.variables(), single.variables());

    // Every value that a variable shows, it takes.
    let mut again = Variables::default();
    for (name, value) in whole.variables().iter() {
        let is_text = name.ends_with("string") || name.ends_with("color") || name == "comment-begin";
        if !is_text && name != "isearch-terminators" && name != "history-size" {
            again.set(name, &value).unwrap_or_else(|error| panic!("{name} does not take its own value: {error:?}"));
        }
    }
    // Bound keys are keys: whatever is typed, nothing panics.
    let mut out = Vec::new();
    if whole.begin("", &mut out) == Step::More {
        let _ = whole.feed(&text[..text.len().min(200)], &mut out);
    }
});
