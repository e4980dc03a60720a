//! The commands of emacs mode, as in GNU readline 8.2: each line was also typed into CPython.

use super::typing::{all, editor, line, recalled, typed, typed_with};
use ossature::readline::{Editor, Step};

#[test]
fn the_point_moves_by_characters_words_and_to_both_ends() {
    all(&[
        ("abc\x02\x02X", "aXbc"),
        ("abc\x01X\x05Y", "XabcY"),
        ("foo bar-baz\x1bb\x1bbX", "foo Xbar-baz"),
        ("foo bar\x01\x1bfX\x1bfY", "fooX barY"),
        ("abc\x1b2\x02X", "aXbc"),
        ("abc\x1b[D\x1b[DX\x1b[HY\x1b[FZ", "YaXbcZ"),
        ("abc\x01\x1b-\x02X", "aXbc"),
        ("e\u{301}fg\x01\x06X", "e\u{301}Xfg"), // a combining mark belongs to its letter
        ("日本\x02X", "日X本"),
    ]);
}

#[test]
fn a_character_is_searched_for_both_ways() {
    all(&[
        ("abcabc\x1b\x1dbX", "abcaXbc"),
        ("abcabc\x01\x1b2\x1dbX", "abcaXbc"),
        ("abcabc\x01\x1b3\x1dbX", "abcaXbc"), // as far as there are any
        ("abcabc\x1dcX", "abcabcX"),
        ("aéb\x1b\x1déX", "aXéb"),
    ]);
}

#[test]
fn deletion_takes_characters_and_with_an_argument_kills_them() {
    all(&[
        ("abc\x7f\x01\x04", "b"),
        ("abc\x02\x04", "ab"),
        ("abcd\x1b2\x7f\x19\x19", "abcdcd"),
        ("abcd\x01\x1b2\x04\x05\x19", "cdab"),
        ("a   b\x02\x02\x1b\\X", "aXb"),
        ("e\u{301}\x7fX", "X"),
    ]);
}

#[test]
fn c_d_ends_the_input_on_an_empty_line_only() {
    let mut editor = Editor::new();
    let mut screen = Vec::new();
    assert_eq!(editor.begin("> ", &mut screen), Step::More);
    assert_eq!(editor.feed(b"a\x04", &mut screen), Step::More);
    assert_eq!(editor.feed(b"\x7f\x04", &mut screen), Step::Eof);
}

#[test]
fn characters_and_words_change_places() {
    all(&[
        ("ab\x14", "ba"),
        ("abc\x02\x14X", "acbX"),
        ("abcd\x01\x06\x1b2\x14X", "bcaXd"),
        ("abcd\x02\x1b-\x14X", "abcXd"),
        ("aé\x14X", "éaX"),
        ("ab cd\x1bt", "cd ab"),
        ("a b c\x01\x1bf\x1bb\x1bf\x1b2\x1btX", "c b aX"),
    ]);
}

#[test]
fn words_change_their_case() {
    all(&[
        ("foo bar\x01\x1bu\x1bc", "FOO Bar"),
        ("FOO\x01\x1bl", "foo"),
        ("foo-bar\x01\x1b2\x1bcX", "Foo-BarX"),
        ("foo bar\x1b-\x1buX", "foo BARX"),
        ("foo bar\x00\x01\x1bu\x18\x18X", "FOO barX"), // the mark stays where it is
        ("élan straße\x01\x1b2\x1bu", "ÉLAN STRAßE"),  // one character stays one
    ]);
}

#[test]
fn overwrite_mode_replaces_and_ends_with_the_line() {
    let keys = "abc\x01\x18oXY\x7f";
    assert_eq!(typed_with(&["\"\\C-xo\": overwrite-mode"], &[], keys), "X c");
    let mut editor = editor();
    editor.parse_and_bind("\"\\C-xo\": overwrite-mode").unwrap();
    assert_eq!(line(&mut editor, "abc\x01\x18o\x1b2éX\r"), "ééX");
    assert_eq!(line(&mut editor, "abc\x01X\r"), "Xabc");
}

#[test]
fn quoted_text_and_pastes_stand_for_themselves() {
    assert_eq!(typed("a\x11\x01\x11\x1bb"), "a\x01\x1bb");
    assert_eq!(typed("\x1b3\x16\x01"), "\x01\x01\x01");
    let mut editor = Editor::new();
    assert_eq!(line(&mut editor, "abcdefghijklmnopqrstuvw\x1b[200~x\ry\x1b[201~\x1f\r"), "abcdefghijklmnopqrstuvw");
    assert_eq!(line(&mut editor, "\x1b[200~x\ry\x01\x1b[201~\r"), "x\ny\x01");
}

#[test]
fn text_is_killed_and_yanked() {
    all(&[
        ("foo bar\x01\x0b\x19\x19", "foo barfoo bar"),
        ("foo bar\x1bb\x15\x05\x19", "barfoo "),
        ("foo bar\x17\x17\x19", "foo bar"),
        ("foo bar\x1b\x7fX", "foo X"),
        ("foo bar\x01\x1bd\x05\x19", " barfoo"),
        ("one\x15two\x15\x19\x1by", "one"),
        ("a b\x01\x00\x06\x06X", "a Xb"),
    ]);
    let keys = &["\"\\C-xw\": unix-filename-rubout", "\"\\C-xk\": kill-whole-line", "\"\\C-xr\": kill-region"];
    assert_eq!(typed_with(keys, &[], "/a//b/c\x18wX"), "/a//b/X");
    assert_eq!(typed_with(keys, &[], "/a b///\x18wX"), "/a X");
    assert_eq!(typed_with(keys, &[], "abc\x02\x18k\x19\x19"), "abcabc");
    assert_eq!(typed_with(keys, &[], "abcd\x02\x00\x02\x02\x18rX\x05\x19"), "aXdbc");
}

#[test]
fn kills_that_follow_each_other_are_one() {
    assert_eq!(typed("a b c\x17\x17\x05\x19"), "a b c");
    assert_eq!(typed("a b c\x17\x02\x06\x17\x05\x19"), "a b "); // a move parts them
    // Kills by key sequences join, except in CPython, where the first key of a sequence parts them.
    assert_eq!(line(&mut Editor::new(), "a b c\x1b\x7f\x1b\x7f\x19\r"), "a b c");
    assert_eq!(typed("a b c\x1b\x7f\x1b\x7f\x19"), "a b ");
}

#[test]
fn a_yank_pop_needs_a_yank_and_goes_round() {
    assert_eq!(typed("1\x152\x153\x15\x19\x1by\x1by\x1by"), "3");
    assert_eq!(typed("1\x15ab\x1by"), "ab");
    assert_eq!(typed("1\x152\x152\x1by"), "2", "the 2 was typed");
    assert_eq!(typed("\x19a"), "a");
}

#[test]
fn undo_takes_runs_and_groups_back() {
    all(&[
        ("abcdefghijklmnopqrstuvwxyz\x1f", "abcdefghijklmnopqrst"),
        ("ab cd\x1bt\x1f", "ab cd"),
        ("ab\x15\x1f", "ab"),
        ("foo\x01\x1bu\x18\x15", "foo"),
        ("ab\x1br", ""),
        ("ab\x1f\x1f\x1fc", "c"),
    ]);
}

#[test]
fn arguments_count_multiply_and_may_be_negative() {
    all(&[
        ("\x1b3x", "xxx"),
        ("\x1b1\x1b2x", "xxxxxxxxxxxx"),
        ("\x1b12x", "xxxxxxxxxxxx"),
        ("abcd\x1b-2\x06X", "abXcd"),
        ("abcd\x1b-\x06X", "abcXd"),
        ("\x1b3é", "ééé"),
        ("\x1b2\x07x", "x"),
        ("\x1b0x", ""),
    ]);
    let universal = &["\"\\C-xu\": universal-argument"];
    assert_eq!(typed_with(universal, &[], "\x18ux"), "xxxx");
    assert_eq!(typed_with(universal, &[], "\x18u\x18ux"), "x".repeat(16));
    assert_eq!(typed_with(universal, &[], "\x18u3x"), "xxx");
}

#[test]
fn an_argument_that_is_too_large_is_refused() {
    assert_eq!(typed("\x1b99999999x"), "9x"); // forgotten at a million; what follows is typed
}

#[test]
fn a_keyboard_macro_is_recorded_and_played() {
    all(&[("\x18(xy\x18)\x18e", "xyxy"), ("\x18(xy\x18)\x1b3\x18e", "xyxyxyxy"), ("\x18(a\x02b\x18)\x18e", "bbaa")]);
    assert_eq!(typed("abc\x18(xy\x18)\x1b20\x18e"), "abcxy"); // more than sixteen inside each other
    assert_eq!(typed_with(&["\"\\C-xm\": \"hello\\C-a\""], &[], "\x18mX"), "Xhello");
}

#[test]
fn a_macro_that_plays_itself_ends() {
    assert_eq!(
        typed_with(&["\"\\C-xa\": \"x\\C-xa\""], &[], "a\x18ab").trim_matches('x'),
        "a".to_owned() + &"x".repeat(1000) + "b"
    );
}

#[test]
fn upper_case_keys_mean_their_lower_case() {
    assert_eq!(typed("foo bar\x1bBX"), "foo Xbar");
}

#[test]
fn keys_that_mean_nothing_are_dropped_and_shorter_ones_taken() {
    assert_eq!(typed("abc\x1bxd"), "abcd");
    let bindings = &["\"\\C-xa\": \"one\"", "\"\\C-xabc\": \"two\""];
    assert_eq!(typed_with(bindings, &[], "\x18abc"), "two");
    assert_eq!(typed_with(bindings, &[], "\x18abd"), "onebd");
}

#[test]
fn a_sequence_that_may_go_on_waits_for_so_long() {
    let mut editor = editor();
    editor.parse_and_bind("\"\\C-xa\": \"one\"\n\"\\C-xab\": \"two\"\nset keyseq-timeout 250").unwrap();
    let mut screen = Vec::new();
    assert_eq!(editor.begin("> ", &mut screen), Step::More);
    assert_eq!(editor.timeout(), None);
    assert_eq!(editor.feed(b"\x18", &mut screen), Step::More);
    assert_eq!(editor.timeout(), None, "the prefix alone means nothing");
    assert_eq!(editor.feed(b"a", &mut screen), Step::More);
    assert_eq!(editor.timeout(), Some(std::time::Duration::from_millis(250)));
    assert_eq!(editor.expire(&mut screen), Step::More);
    assert_eq!(editor.line_buffer(), b"one");
}

#[test]
fn a_comment_is_inserted_and_the_line_accepted() {
    let keys = |keys: &str| line(&mut editor(), keys);
    assert_eq!(keys("x\x1b#"), "#x");
    assert_eq!(keys("#x\x1b1\x1b#"), "x");
    assert_eq!(keys("x\x1b1\x1b#"), "#x");
}

#[test]
fn bytes_that_are_no_text_are_kept() {
    let mut editor = editor();
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    assert_eq!(editor.feed(b"a\xff\xc3(\xe2\x82", &mut screen), Step::More);
    assert_eq!(editor.feed(b"\r", &mut screen), Step::Line(b"a\xff\xc3(\xe2\x82".to_vec()));
}

#[test]
fn a_tilde_becomes_the_home_folder() {
    let home = std::env::var("HOME").expect("a home");
    assert_eq!(typed("cat ~/x\x1b~"), format!("cat {home}/x"));
    assert_eq!(typed("cat ~root/x\x1b~"), "cat /root/x");
    assert_eq!(typed("cat ~nobody-at-all/x\x1b~"), "cat ~nobody-at-all/x");
    assert_eq!(typed("x=~\x1b~"), format!("x={home}")); // right behind the tilde
    assert_eq!(typed("x=~root\x1b~"), "x=~root");
    assert_eq!(typed("x=~root\x01\x06\x06\x06\x1b~"), "x=/root");
}

#[test]
fn lists_of_functions_variables_and_macros_are_shown_below() {
    let shown = |keys: &str| {
        let mut editor = editor();
        editor
            .parse_and_bind(
                "\"\\C-xf\": dump-functions\n\"\\C-xv\": dump-variables\n\"\\C-xm\": dump-macros\n\"\\C-xp\": \
                             print-last-kbd-macro\n\"\\C-xq\": \"text\"",
            )
            .unwrap();
        let mut screen = Vec::new();
        let _ = editor.begin("> ", &mut screen);
        let _ = editor.feed(keys.as_bytes(), &mut screen);
        String::from_utf8(screen).unwrap()
    };
    assert!(shown("\x18f").contains("abort can be found on"));
    assert!(shown("\x18v").contains("bell-style is set to `audible'\r\n"));
    assert!(shown("\x1b1\x18v").contains("set bell-style audible\r\n"));
    assert!(shown("\x18m").contains("outputs text\r\n"));
    assert!(shown("\x18(a\x18)\x18p").contains("\r\na\r\n"));
}

#[test]
fn what_is_typed_ahead_waits_for_the_next_line() {
    let mut editor = editor();
    let mut screen = Vec::new();
    assert_eq!(editor.begin("> ", &mut screen), Step::More);
    assert_eq!(editor.feed(b"one\rtwo\rth", &mut screen), Step::Line(b"one".to_vec()));
    assert_eq!(editor.line_buffer(), b"one");
    assert_eq!(editor.begin("> ", &mut screen), Step::Line(b"two".to_vec()));
    assert_eq!(editor.begin("> ", &mut screen), Step::More);
    assert_eq!(editor.line_buffer(), b"th");
}

#[test]
fn what_comes_between_two_lines_is_not_shown_before_the_next() {
    let (mut editor, mut screen) = (editor(), Vec::new());
    let _ = editor.begin("> ", &mut screen);
    assert_eq!(editor.feed(b"one\r", &mut screen), Step::Line(b"one".to_vec()));
    screen.clear();
    assert_eq!(editor.feed(b"two", &mut screen), Step::More);
    assert_eq!(editor.expire(&mut screen), Step::More);
    editor.redisplay(&mut screen);
    editor.resized(60, 20, &mut screen);
    assert_eq!(editor.end_of_input(&mut screen), Step::Eof);
    assert_eq!(String::from_utf8_lossy(&screen), "");
    assert_eq!(editor.begin("> ", &mut screen), Step::More);
    assert_eq!(String::from_utf8_lossy(&screen), "> two");
    assert_eq!(editor.feed(b"\r", &mut screen), Step::Line(b"two".to_vec()));
    let _ = editor.feed(b"three", &mut screen);
    screen.clear();
    assert_eq!(editor.interrupt(&mut screen), Step::Interrupted);
    assert_eq!(String::from_utf8_lossy(&screen), "");
    assert_eq!(line(&mut editor, "four\r"), "four");
}

#[test]
fn an_interrupt_abandons_the_line_and_what_was_typed_ahead() {
    let mut editor = editor();
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(b"abc", &mut screen);
    assert_eq!(editor.interrupt(&mut screen), Step::Interrupted);
    assert_eq!(line(&mut editor, "x\r"), "x");
    assert_eq!(recalled(&["a"], "\x10"), "a");
}

#[test]
fn what_a_count_overwrites_is_killed() {
    let keys = "abcd\x18o\x01\x1b2x\x05\x18o\x19";
    assert_eq!(typed_with(&["\"\\C-xo\": overwrite-mode"], &[], keys), "xxcdab");
    let keys = "abcd\x18o\x01\x1b2é\x05\x18o\x19"; // a character of two bytes has the same argument
    assert_eq!(typed_with(&["\"\\C-xo\": overwrite-mode"], &[], keys), "éécdab");
}
