//! The history in commands: moves, searches, words of earlier lines. Each line was also typed into CPython.

use super::typing::{editor, line, recalled, typed_with};
use ossature::readline::{Config, Editor};

#[test]
fn the_editor_moves_in_the_history_and_keeps_the_new_line() {
    let history = &["one", "two", "three"];
    assert_eq!(recalled(history, "\x10\x10"), "two");
    assert_eq!(recalled(history, "new\x10\x0e!"), "new!");
    assert_eq!(recalled(history, "\x10\x10\x10\x10"), "one");
    assert_eq!(recalled(history, "new\x1b<"), "one");
    assert_eq!(recalled(history, "x\x1b<y\x1b>z"), "xz");
    assert_eq!(recalled(history, "\x1b2\x10"), "two");
    let fetch = &["\"\\C-xg\": fetch-history"];
    assert_eq!(typed_with(fetch, history, "\x1b2\x18g"), "two");
    assert_eq!(typed_with(fetch, history, "\x1b-\x18g"), "three");
    assert_eq!(typed_with(fetch, history, "\x1b9\x18g"), "one");
}

#[test]
fn the_line_where_a_search_began_is_behind_the_history() {
    let history = &["first line", "second one (b)", "third/x.y two"];
    let search = &["\"\\C-xs\": history-search-backward"];
    assert_eq!(typed_with(search, history, "x\x10\x01\x18s\x1b>"), "third/x.y two");
    assert_eq!(typed_with(search, history, "x\x01\x18s\x1b>"), "x");
}

#[test]
fn a_line_of_the_history_keeps_its_changes_until_it_is_accepted() {
    let mut editor = editor();
    editor.add_history("two");
    editor.add_history("three");
    assert_eq!(line(&mut editor, "\x10\x10X\x0eY\r"), "threeY");
    // The accepted line is as it was; the other one still has its change, and its undo list.
    assert_eq!(editor.history().iter().collect::<Vec<_>>(), [&b"twoX"[..], b"three", b"threeY"]);
    assert_eq!(line(&mut editor, "\x10\x10\x10\x1br\r"), "two");
    assert_eq!(editor.history().get(0), Some(&b"two"[..]));
}

#[test]
fn revert_all_at_newline_takes_every_change_back() {
    let mut editor = editor();
    editor.parse_and_bind("set revert-all-at-newline on").unwrap();
    editor.add_history("two");
    editor.add_history("three");
    assert_eq!(line(&mut editor, "\x10\x10X\x0eY\r"), "threeY");
    assert_eq!(editor.history().iter().collect::<Vec<_>>(), [&b"two"[..], b"three", b"threeY"]);
}

#[test]
fn operate_and_get_next_goes_on_with_the_line_after() {
    let mut editor = editor();
    ["one", "two", "three", "four"].iter().for_each(|entry| editor.add_history(entry));
    assert_eq!(line(&mut editor, "\x10\x10\x0f"), "three");
    assert_eq!(line(&mut editor, "\x0f"), "four");
    assert_eq!(line(&mut editor, "\r"), "three");
}

#[test]
fn a_search_narrows_with_every_key() {
    let history = &["one b two", "three", "foo bar oo"];
    assert_eq!(recalled(history, "\x12o\x12\x12\x01X"), "Xfoo bar oo");
    assert_eq!(recalled(history, "\x12hr\x0aX"), "tXhree");
    assert_eq!(recalled(history, "\x12on\x1b[DX"), "Xone b two");
    assert_eq!(recalled(history, "\x12o\x07x"), "x");
    assert_eq!(recalled(history, "\x12zz\x7f\x7f\x07x"), "x");
    assert_eq!(recalled(history, "\x10\x10\x13foo\x0aX"), "Xfoo bar oo");
    assert_eq!(recalled(history, "\x12one\x0a\x15\x12\x12\x0aX"), "Xone b two"); // the last string again
}

#[test]
fn a_search_takes_words_and_the_rest_of_the_line() {
    let history = &["ca one two", "b", "ca2 one two"];
    assert_eq!(recalled(history, "\x12ca2 \x17\x0a\x0b"), "");
    assert_eq!(recalled(history, "\x12c\x19\x0aX"), "Xca2 one two");
    assert_eq!(typed_with(&["set isearch-terminators \"!\""], history, "\x12one!X"), "ca2 Xone two");
}

#[test]
fn text_that_begins_a_sequence_is_text_of_the_search() {
    let history = &["ox", "one two"];
    let with = |binding: &str, keys: &str| typed_with(&[binding], history, keys);
    assert_eq!(with("\"on\": yank", "\x12ox\x0a\x0b"), "");
    assert_eq!(with("\"on\": yank", "\x12o\x01X"), "Xone two");
    assert_eq!(with("\"on\": \"zz\"", "\x12one\x0aX"), "Xone two");
    assert_eq!(with("\"on\": beginning-of-line", "\x12onX"), "X");
    assert_eq!(recalled(history, "x\x12o\x1bqX"), "one twXo"); // a control key ends the search
}

#[test]
fn text_that_begins_a_sequence_is_searched_for_after_its_time() {
    let mut editor = editor();
    editor.parse_and_bind("\"o\": self-insert\n\"on\": yank\nset keyseq-timeout 250").unwrap();
    editor.add_history("one two");
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(b"\x12", &mut screen);
    assert_eq!(editor.timeout(), None);
    let _ = editor.feed(b"o", &mut screen);
    assert_eq!((editor.timeout(), editor.line_buffer()), (Some(std::time::Duration::from_millis(250)), &b""[..]));
    let _ = editor.expire(&mut screen);
    assert_eq!((editor.timeout(), editor.line_buffer(), editor.point()), (None, &b"one two"[..], 6));
}

#[test]
fn an_escape_ends_a_search_unless_a_sequence_follows() {
    let mut editor = editor();
    editor.add_history("one two");
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(b"\x12two\x1b", &mut screen);
    assert!(editor.timeout().is_some());
    let _ = editor.expire(&mut screen);
    let _ = editor.feed(b"X", &mut screen);
    assert_eq!(editor.line_buffer(), b"one Xtwo");
}

#[test]
fn a_search_for_a_typed_string_goes_on_from_the_line_found() {
    let history = &["a", "b", "ca"];
    assert_eq!(recalled(history, "zz\x1bpa\rY"), "Yca");
    assert_eq!(recalled(history, "zz\x1bpa\r\x1bp\rY"), "Ya");
    assert_eq!(recalled(history, "zz\x1bp^a\rY"), "Ya");
    assert_eq!(recalled(history, "q\x1bpzz\rX"), "Xq");
    assert_eq!(recalled(history, "qab\x1bp\x7f\x7fX"), "qaX");
    assert_eq!(recalled(history, "q\x1bpa\x07X"), "qX");
}

#[test]
fn a_search_by_prefix_skips_what_is_the_same() {
    let history = &["two", "three", "foo", "three", "tea"];
    assert_eq!(recalled(history, "t\x1b[5~\x1b[5~X"), "tXhree");
    assert_eq!(recalled(history, "t\x1b[5~\x1b[5~\x1b[5~X"), "tXwo");
    assert_eq!(recalled(history, "t\x1b[5~\x1b[5~\x1b[6~X"), "tXea");
    assert_eq!(recalled(history, "x\x1b[5~X"), "xX");
    assert_eq!(recalled(history, "\x1b[5~\x1b[5~"), "three"); // without a prefix, a plain move
    let substring = &["\"\\C-xp\": history-substring-search-backward"];
    assert_eq!(typed_with(substring, history, "e\x18p\x18pX"), "threXe");
}

#[test]
fn words_of_earlier_lines_are_inserted() {
    let history = &["one x", "two \"y w\" z;(v)", "three"];
    assert_eq!(recalled(history, "a\x1b."), "athree");
    assert_eq!(recalled(history, "a\x1b.\x1b."), "a)");
    assert_eq!(recalled(history, "a\x1b.\x1b.\x1b."), "ax");
    assert_eq!(recalled(history, "a\x1b.\x1b.\x1b-\x1b."), "athree");
    assert_eq!(recalled(&history[..2], "a\x1b\x19"), "a\"y w\"");
    assert_eq!(recalled(&history[..2], "a\x1b0\x1b\x19"), "atwo");
    assert_eq!(recalled(&history[..2], "a\x1b3\x1b\x19"), "a;");
    assert_eq!(recalled(&history[..1], "a\x1b9\x1b\x19b"), "ab");
}

#[test]
fn accepted_lines_go_to_the_history_unless_empty_or_the_same() {
    let mut editor = editor();
    for keys in ["one\r", "\r", "one\r", "two\r", "one\r"] {
        line(&mut editor, keys);
    }
    assert_eq!(editor.history().iter().collect::<Vec<_>>(), [&b"one"[..], b"two", b"one"]);
    editor.set_auto_history(false);
    line(&mut editor, "three\r");
    assert_eq!(editor.history().len(), 3);
    let mut config = Config::default();
    config.auto_history = false;
    let mut editor = Editor::with_config(config);
    line(&mut editor, "three\r");
    assert!(editor.history().is_empty());
}

#[test]
fn the_point_is_kept_where_history_preserve_point_says() {
    let history = &["one two", "three four"];
    assert_eq!(typed_with(&["set history-preserve-point on"], history, "abcd\x02\x02\x10X\x10Y"), "onYe two");
}

#[test]
fn a_key_that_ends_a_search_has_the_argument_of_the_search() {
    assert_eq!(recalled(&["three"], "abcdef\x1b3\x12e\x02x"), "axbcdef");
    assert_eq!(recalled(&["three"], "tox\x1b-\x12ox\x10a"), "toxa");
    assert_eq!(recalled(&["three"], "abcde\x1b3\x12d\x01x"), "xabcde", "the argument is of one key");
}

#[test]
fn a_search_forward_that_fails_stands_behind_the_last_place_with_room() {
    assert_eq!(recalled(&[], "one two\x01\x13tx\x0b"), "one tw");
    assert_eq!(recalled(&["one", "two", "three"], "\x10\x10\x13txyz\x0b"), "thre");
}
