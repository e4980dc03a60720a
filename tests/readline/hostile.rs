//! Hostile keys, init files, history files and candidates, and the harm that they must not do to the editor.

use std::time::Duration;

use ossature::readline::{Candidate, CompletionContext, Editor, Step};

use super::support::{soon, within};
use super::typing::{editor, line, typed_with};

/// An editor with these lines of an init file.
fn with(lines: &[&str]) -> Editor {
    let mut editor = Editor::new();
    for line in lines {
        editor.parse_and_bind(line).unwrap();
    }
    editor
}

/// Types keys that do not end the line. Returns the text so far.
fn so_far(editor: &mut Editor, keys: impl AsRef<[u8]>) -> Vec<u8> {
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(keys.as_ref(), &mut screen);
    editor.line_buffer().to_vec()
}

#[test]
fn keys_that_are_given_back_set_off_no_macro_for_ever() {
    // `bcx` is no sequence, so `b` plays `a`, which plays `b`, before the same `cx`.
    let text = soon(|| so_far(&mut with(&["\"b\": \"a\"", "\"a\": \"b\"", "\"bcd\": end-of-line"]), "bcx"));
    assert!(text.len() <= 2, "{text:?}");
}

#[test]
fn a_macro_that_plays_itself_ends() {
    let text = soon(|| so_far(&mut with(&["\"\\C-t\": \"x\\C-t\"", "\"\\C-o\": \"\\C-o\\C-o\""]), "\x14\x0f!"));
    assert_eq!(text.iter().filter(|&&byte| byte == b'!').count(), 1);
}

#[test]
fn a_huge_count_is_a_bounded_text() {
    let vi = ["set editing-mode vi", "set keyseq-timeout 0"];
    let most = 10 << 20;
    for keys in ["iword word word\x1byy999999p", "iword\x1bdd999999P999999P", "i0123456789abcdef\x1b999999.999999."] {
        let text = soon(|| so_far(&mut with(&vi), keys));
        assert!(!text.is_empty() && text.len() < most, "{keys:?}: {}", text.len());
    }
    for keys in
        ["iword\x1b0d99999999999l", "iword\x1b099999d99999x", "iword\x1b99999dh.........", "iwo\x1bR\x1b999999Rx"]
    {
        let _ = soon(|| so_far(&mut with(&vi), keys));
    }
    assert_eq!(so_far(&mut Editor::new(), "\x1b100000x").len(), 100_000);
    // An argument beyond a million is refused, and the digits behind it are text.
    assert!(so_far(&mut Editor::new(), "\x1b9999999999x").len() < 10);
}

#[test]
fn candidates_reach_the_terminal_as_text() {
    let mut editor = editor();
    editor.parse_and_bind("tab: complete").unwrap();
    editor.set_completer(|_: &str, _: &CompletionContext<'_>| {
        vec![
            Candidate::new("\x1b]0;title\x07"),
            Candidate::new("two\nrows"),
            Candidate::new("\u{9b}2J"),
            Candidate::new(b"\xff".to_vec()),
        ]
    });
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    screen.clear();
    let _ = editor.feed(b"\x1b?", &mut screen);
    let shown = String::from_utf8(screen).expect("text of UTF-8");
    assert!(shown.contains("^[]0;title^G") && shown.contains("two^Jrows") && shown.contains("\u{fffd}2J"), "{shown:?}");
    assert!(!shown.contains("\x1b]") && !shown.contains('\u{9b}'), "{shown:?}");
}

#[test]
fn a_change_that_a_search_hides_is_undone_without_harm() {
    let mut editor = Editor::new();
    editor.add_history("a line of the history that is long");
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(b"\x12long", &mut screen);
    editor.insert_text("inserted by the program");
    let _ = editor.feed(b"\x07\x1f\x1f\x1f", &mut screen);
    assert_eq!(editor.line_buffer(), b"");
    // The program replaces a line whose changes are kept.
    let mut editor = Editor::new();
    editor.add_history("the first line");
    editor.add_history("the second line");
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(b"\x10 is changed\x10", &mut screen);
    editor.history_mut().replace(1, "x").unwrap();
    let _ = editor.feed(b"\x0e\x1f\x1f\x1f\r", &mut screen);
}

#[test]
fn a_word_of_a_hint_leaves_what_was_typed() {
    let mut editor = Editor::new();
    editor.set_hinter(|line| (line == "ab").then(|| "c".into()));
    assert_eq!(so_far(&mut editor, "ab"), b"ab");
    let _ = editor.feed(b"\x1bf", &mut Vec::new());
    assert_eq!(editor.line_buffer(), b"abc");
}

#[test]
fn a_found_line_stays_in_the_history_as_it_was() {
    let mut editor = with(&["set editing-mode vi", "set keyseq-timeout 0"]);
    editor.set_auto_history(false);
    editor.add_history("the text to find");
    assert_eq!(line(&mut editor, "\x1b/find\r\r"), "the text to find");
    assert_eq!(editor.history().get(0), Some(&b"the text to find"[..]));
}

#[test]
fn a_resized_line_is_drawn_at_once_and_no_size_is_too_large() {
    let mut editor = editor();
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(b"text", &mut screen);
    for (columns, rows) in [(0, 0), (1, 1), (2, 1), (usize::MAX, usize::MAX), (80, 24), (40, 10)] {
        screen.clear();
        editor.resized(columns, rows, &mut screen);
        let _ = editor.feed(b"\x1b[A\x1b[B\x01\x05", &mut screen);
    }
    screen.clear();
    editor.resized(20, 10, &mut screen);
    assert!(String::from_utf8_lossy(&screen).contains("> text"), "{screen:?}");
    // A list of candidates has one row where all of them fit, however wide the screen is.
    editor.set_completer(|_: &str, _: &CompletionContext<'_>| (0..90).map(|n| format!("{n}")).collect::<Vec<_>>());
    editor.resized(usize::MAX, 1, &mut screen);
    screen.clear();
    let _ = editor.feed(b" \x1b?", &mut screen);
    assert!(screen.len() < 10_000);
}

#[test]
fn the_string_of_a_search_stands_behind_the_last_line_of_the_prompt() {
    let mut editor = editor();
    let mut screen = Vec::new();
    let _ = editor.begin("first\nsecond> ", &mut screen);
    screen.clear();
    let _ = editor.feed(b"\x1bpword", &mut screen);
    let shown = String::from_utf8_lossy(&screen).into_owned();
    assert!(!shown.contains("first"), "{shown:?}");
}

#[test]
fn pipes_and_devices_keep_nobody_waiting() {
    let folder = std::env::temp_dir().join(format!("ossature-hostile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let pipe = folder.join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let path = pipe.clone();
    soon(|| {
        let mut editor = Editor::new();
        editor.add_history("a line");
        assert!(editor.history_mut().load(&path).is_err());
        assert!(editor.history().save(&path).is_err());
        assert!(editor.history().append(1, &path).is_err());
        assert!(editor.read_init_file(Some(&path)).is_err());
        assert!(editor.read_init_file(Some("/dev/zero".as_ref())).is_err());
        assert!(editor.read_init_file(Some("/dev/null".as_ref())).unwrap().is_empty());
        assert!(editor.history_mut().load("/dev/zero").is_err());
        assert!(editor.history_mut().load("/").is_err());
        assert!(editor.history().save("/").is_err());
        let own = path.with_file_name("own");
        std::fs::write(&own, format!("$include {0}\n$include {0}\nset bell-style none\n", own.display())).unwrap();
        assert!(!editor.read_init_file(Some(&own)).unwrap().is_empty());
    });
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Feeds a text in pieces. Returns the number of bytes that were output to the terminal.
fn told(editor: &mut Editor, before: &str, text: &[u8], piece: usize) -> usize {
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(before.as_bytes(), &mut screen);
    let mut told = 0;
    for piece in text.chunks(piece) {
        screen.clear();
        let _ = editor.feed(piece, &mut screen);
        told += screen.len();
    }
    told
}

#[test]
fn a_million_bytes_are_pasted_with_work_for_each_byte_once() {
    let text: Vec<u8> = (0..1_000_000_u32).map(|n| b'a' + (n % 26) as u8).collect();
    let pasted = [b"\x1b[200~", &text[..], b"\x1b[201~"].concat();
    // A piece that is drawn takes a screen of 80 by 24 at most, and the cursor's way there.
    let screen = 80 * 24 + 64;
    for (keys, text) in [(&text[..], &text[..]), (&pasted, &text)] {
        let mut editor = Editor::new();
        let told = told(&mut editor, "", keys, 1024);
        assert_eq!(editor.line_buffer(), text);
        assert!(told <= keys.len().div_ceil(1024) * screen, "{told} bytes");
        let mut screen = Vec::new();
        let _ = editor.feed(b"\x02\x02x\x1bb\x14\x1f\x01y\x0b\x19", &mut screen);
    }
    // Key by key: a byte and what begins the next row, or a screen that scrolls once a row.
    let mut editor = Editor::new();
    let told_by_keys = told(&mut editor, "", &text[..20_000], 1);
    assert!(told_by_keys < 20_000 * 2 + 20_000 / 80 * screen, "{told_by_keys} bytes");
}

#[test]
fn a_hundred_thousand_candidates_are_sorted_and_listed() {
    let mut editor = Editor::new();
    editor.parse_and_bind("set completion-query-items 0\nset page-completions off").unwrap();
    editor.set_completer(|_: &str, _: &CompletionContext<'_>| {
        (0..100_000).map(|n| format!("word{n}")).collect::<Vec<_>>()
    });
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let keys = b"w\t\t\x1b*";
    assert_eq!(within(Duration::from_secs(60), || editor.feed(keys, &mut screen)), Step::More);
    assert!(editor.line_buffer().len() > 800_000);
}

#[test]
fn bytes_of_no_character_and_nul_come_back_as_they_were_typed() {
    let mut editor = with(&["set keyseq-timeout 0"]);
    assert_eq!(so_far(&mut editor, b"a\x16\x00\xff\xe4\xb8b\xf0\x9f"), b"a\0\xff\xe4\xb8b");
    let _ = editor.feed(b"\x01\x05", &mut Vec::new());
    assert_eq!(editor.line_buffer(), b"a\0\xff\xe4\xb8b\xf0\x9f");
    assert_eq!(typed_with(&[], &[], "\u{4e2d}\x02\x06"), "\u{4e2d}");
}

#[test]
fn a_place_of_another_text_is_never_within_a_character() {
    // The point of the first line, kept for a line of wide characters; a mark that a deletion left behind.
    let mut editor = with(&["set history-preserve-point on"]);
    editor.add_history("\u{4e2d}\u{4e2d}");
    assert_eq!(so_far(&mut editor, "abcdef\x02\x02\x10"), "\u{4e2d}\u{4e2d}".as_bytes());
    assert_eq!(editor.point(), 3);
    let mut editor = Editor::new();
    assert_eq!(so_far(&mut editor, "a\x00\u{4e2d}\x01\x04\x18\x18"), "\u{4e2d}".as_bytes());
    assert!("\u{4e2d}".is_char_boundary(editor.point()), "{}", editor.point());
    let mut editor = with(&["\"\\C-o\": kill-region"]);
    assert_eq!(so_far(&mut editor, "\u{e9}\x1bd\x02s\u{9b}\x0f"), b"s\xc3\xa9", "the mark stands behind `s`");
    let mut editor = Editor::new();
    editor.on_startup(|line| {
        line.insert("\u{4e2d}");
        line.set_point(1);
    });
    assert_eq!(so_far(&mut editor, "x"), "x\u{4e2d}".as_bytes());
    // A search for a piece of a character stands before the character.
    let searches: [(&str, &[u8]); 3] = [
        ("history-search-backward", b"\xe4\x0f"),
        ("history-substring-search-backward", b"\xb8\x0f"),
        ("reverse-search-history", b"\x0f\xb8"),
    ];
    for (command, keys) in searches {
        let mut editor = with(&[&format!("\"\\C-o\": {command}")]);
        editor.add_history("\u{4e2d}");
        assert_eq!(so_far(&mut editor, keys), "\u{4e2d}".as_bytes(), "{command}");
        assert_eq!(editor.point(), 0, "{command}");
    }
    // What was yanked between two pieces of a character is undone.
    let mut editor = with(&["\"\\C-o\": backward-byte"]);
    assert_eq!(so_far(&mut editor, b"bb\x15\xc3\x05\xa9\x0f\x19\x1f"), "\u{e9}".as_bytes());
    assert_eq!(editor.point(), 0);
}

#[test]
fn a_pasted_search_string_is_text_to_the_terminal() {
    let mut editor = with(&["set isearch-terminators \"\\C-a\""]);
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(b"\x12", &mut screen);
    screen.clear();
    let _ = editor.feed(b"\x1b[200~\x1b]0;title\x07\x01\n\x1b[201~", &mut screen);
    let shown = String::from_utf8_lossy(&screen).into_owned();
    assert!(shown.contains("^[]0;title^G^A^J"), "{shown:?}");
    assert!(!shown.contains("\x1b]"), "{shown:?}");
}

#[test]
fn a_change_within_a_coloured_prompt_keeps_its_colour() {
    let mut editor = with(&["set emacs-mode-string \"\\1\\e[1m\\2E\\1\\e[0m\\2\""]);
    let mut screen = Vec::new();
    let _ = editor.begin("\x01\x1b[1m\x02bold\x01\x1b[0m\x02> ", &mut screen);
    screen.clear();
    editor.parse_and_bind("set show-mode-in-prompt on").unwrap();
    let _ = editor.feed(b"", &mut screen);
    let shown = String::from_utf8(screen).unwrap();
    assert!(shown.contains("\x1b[1mE\x1b[0m"), "{shown:?}");
}

/// The colour of the second row begins at the end of the first.
#[test]
fn a_colour_that_goes_on_in_the_next_row_ends_where_it_did() {
    let mut editor = with(&["set editing-mode vi", "set show-mode-in-prompt on"]);
    let (mut out, mut screen) = (Vec::new(), vt100::Parser::new(10, 5, 0));
    editor.resized(5, 10, &mut out);
    let _ = editor.begin("\x01\x1b[1m\x02bold\x01\x1b[0m\x02> ", &mut out);
    for keys in ["a", "\x1b", "i", "b", "\x1b", "0x"] {
        let _ = editor.feed(keys.as_bytes(), &mut out);
        screen.process(&out);
        out.clear();
        let bold = |row, column| screen.screen().cell(row, column).is_some_and(|cell| cell.bold());
        let rows: Vec<usize> = (0..4).map(|row| (0..5).filter(|&column| bold(row, column)).count()).collect();
        assert_eq!(rows, [0, 4, 0, 0], "{keys:?}: {:?}", screen.screen().contents());
    }
}
