//! Commands of vi mode, fed to an editor. `examples/keys_vs_readline` compares more of them with GNU readline.

use ossature::readline::{Editor, Step};

/// The line after these keys, with a `|` at the cursor.
fn line(keys: &str) -> String {
    let mut editor = Editor::new();
    editor.parse_and_bind("set editing-mode vi").unwrap();
    for line in ["first line", "second one two"] {
        editor.add_history(line);
    }
    let mut out = Vec::new();
    assert_eq!(editor.begin("> ", &mut out), Step::More);
    match editor.feed(format!("{keys}i|\r").as_bytes(), &mut out) {
        Step::Line(line) => String::from_utf8(line).unwrap(),
        other => panic!("{keys:?}: {other:?}"),
    }
}

#[track_caller]
fn all(cases: &[(&str, &str)]) {
    for (keys, expected) in cases {
        assert_eq!(&line(keys), expected, "{keys:?}");
    }
}

#[test]
fn motions() {
    all(&[
        ("one two\x1b", "one tw|o"),
        ("one two\x1b0w", "one |two"),
        ("one.x two\x1b0w", "one|.x two"),
        ("one.x two\x1b0W", "one.x |two"),
        ("one two\x1bb", "one |two"),
        ("one two\x1b0e", "on|e two"),
        ("one two.x\x1bB", "one |two.x"),
        (" one two\x1bBB", "| one two"), // the blank belongs to the first word
        (" one\x1bdB", "|e"),
        ("  one\x1b^", "  |one"),
        ("one\x1b0$", "on|e"),
        ("(a[b]c)\x1b0%", "(a[b]c|)"),
        ("one\x1b2|", "o|ne"),
        ("foo bar\x1b0fb", "foo |bar"),
        ("foo bar\x1b0tb", "foo| bar"),
        ("foo bar\x1bFo", "fo|o bar"),
        ("abab\x1b0fb;", "aba|b"),
        ("abab\x1b0fb;,", "a|bab"),
        ("one two\x1b0wma0`a", "one |two"),
        ("é中\x1bh", "|é中"),
    ]);
}

#[test]
fn operators_take_motions_and_counts() {
    all(&[
        ("one two three\x1b0dw", "|two three"),
        ("one two three\x1b02dw", "|three"),
        ("one two three\x1b0d2w", "|three"),
        ("one two\x1bdb", "one |o"),
        ("one two\x1b0de", "| two"),
        ("one two\x1b0wD", "one| "),
        ("one two\x1bdd", "|"),
        ("one two\x1b0cwnew\x1b", "ne|w two"),
        ("one two\x1b0dfn", "|e two"),
        ("one two\x1b0ywwP", "one one| two"),
        ("one (two) x\x1b0fw0wd%", "one | x"),
    ]);
}

#[test]
fn changes() {
    all(&[
        ("one\x1bx", "o|n"),
        ("one\x1b0x", "|ne"),
        ("one\x1bX", "o|e"),
        ("one\x1b0xp", "n|oe"),
        ("one\x1b0~", "O|ne"),
        ("one\x1b0rX", "|Xne"),
        ("one\x1b0sXY\x1b", "X|Yne"),
        ("one\x1b0RXY\x1b", "X|Ye"),
        ("one\x1b0RXY\x7f\x7f\x1b", "|one"),
        ("one\x1bAx\x1b0", "|onex"),
        ("one\x1bIx\x1b", "|xone"),
        ("one\x1bxu", "on|e"),
        ("one two/x\x17\x1b", "one two|/"),
    ]);
}

#[test]
fn the_last_change_is_done_again() {
    all(&[
        ("one two\x1b0x.", "|e two"),
        ("a b c d\x1b0dw.", "|c d"),
        ("one two\x1b0cwX\x1bw.", "X |X"),
        ("abc\x1b0rX.", "|Xbc"),
        ("abc\x1b0rXl.", "X|Xc"),
        ("abc\x1b0iX\x1b.", "|XXabc"),
        ("abcdef\x1b02x.", "|ef"),
        ("abab\x1b0dfb.", "|"),
    ]);
}

#[test]
fn kills_of_vi_mode_join_nothing() {
    assert_eq!(line("abc\x1b0xxP"), "|bc");
}

#[test]
fn an_escape_in_command_mode_takes_no_key_away() {
    assert_eq!(line("abc\x1b0\x1b"), "|abc");
}

#[test]
fn what_was_typed_before_the_first_command_is_not_undone() {
    all(&[("one\x1bu", "on|e"), ("one\x1bU", "on|e"), ("one\x1bxxuu", "on|e")]);
}

#[test]
fn an_insertion_is_undone_in_one() {
    all(&[
        ("x\x1bAab\x7fc\x1bu", "|x"),
        ("x\x1bIab\x7fc\x1bu", "|x"),
        ("x\x1ba\u{e9}b\x1bu", "|x"),
        ("\x1biabcdefghijklmnopqrstuvwxyz\x1bu", "|"),
    ]);
}

#[test]
fn redo_inserts_what_the_last_change_inserted() {
    all(&[
        ("abc\x7fd\x1b.", "ab|dd"),
        ("one two\x1b0cwabc\x7fd\x1bw.", "abd |d"),
        ("abc def\x1b0sxy\x7f\x1b$.", "xbc d|e"),
        // After a deletion there is nothing to insert: the insertion begins, and `i` is text.
        ("x\x1biabc\x7f\x1b.", "ai|bx"),
        ("abc\x1bixy\x1b0i\x1b.", "i|abxyc"),
        ("x\x1b3ay\x1b.", "xy|y"),
        ("abcdefghij\x1b0Rqf\x1b2.", "qqfq|ffghij"),
        // As many characters as were typed give place, whatever their bytes are.
        ("\u{4e2d}\u{6587}\u{5b57}\x1b0Rab\x1bl.", "aba|b"),
        ("abcd\x1b0R\u{4e2d}\x1bl2.", "\u{4e2d}\u{4e2d}|\u{4e2d}d"),
    ]);
}

#[test]
fn a_search_that_finds_nothing_shows_the_line_of_the_history_again() {
    all(&[("new\x1bk/zzz\r", "|second one two"), ("new\x1bkA+\x1b/\x07", "second one two|+")]);
}

#[test]
fn punctuation_ends_the_word_that_c_w_deletes() {
    all(&[
        ("a -\x17\x1b", "|a"),
        ("aa-\x17\x1b", "a|a"),
        ("-a \x17\x1b", "|"),
        ("aa  \x17\x1b", "|"),
        ("a-b c d\x1b2\x17", "a-b c|d"),
    ]);
}

#[test]
fn an_escape_after_a_put_of_nothing_stands_on_a_character() {
    all(&[("ab\x1bp\x1bix\x1b", "a|xb"), ("o\x1bpx\x1b", "|o")]);
}

#[test]
fn a_dump_names_the_keymap_of_its_key_and_draws_the_line_below() {
    let mut editor = Editor::new();
    let lines =
        "set editing-mode vi\nset keymap vi-command\n\"v\": dump-variables\n\"m\": dump-macros\nset keymap vi-insert";
    editor.parse_and_bind(lines).unwrap();
    let mut out = Vec::new();
    let _ = editor.begin("> ", &mut out);
    let _ = editor.feed(b"ab\x1b", &mut out);
    for (key, shown) in [(b"v", "keymap is set to `vi'\r\n"), (b"m", "\r\n> ab")] {
        out.clear();
        let _ = editor.feed(key, &mut out);
        let text = String::from_utf8_lossy(&out);
        assert!(text.contains(shown), "{text:?}");
    }
}
