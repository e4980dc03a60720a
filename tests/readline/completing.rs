//! Completion, hooks, and the callbacks that a caller gives the editor.

use std::process::Command;
use std::sync::{Arc, Mutex};

use super::typing::{editor, line};
use ossature::readline::{
    Backend, Candidate, CompletionContext, CompletionKind, Config, Editor, LIBRARY_VERSION, Step, VERSION, Validation,
};

/// An editor that completes these words when TAB is typed.
fn completing(words: &'static [&'static str], bindings: &[&str]) -> Editor {
    let mut editor = editor();
    editor.parse_and_bind("tab: complete").unwrap();
    for binding in bindings {
        editor.parse_and_bind(binding).unwrap();
    }
    editor.set_completer(move |word: &str, _: &CompletionContext<'_>| {
        words.iter().filter(|it| it.starts_with(word)).map(|&it| it.to_owned()).collect::<Vec<_>>()
    });
    editor
}

const FRUIT: &[&str] = &["apply", "apple", "apple", "banana"];

fn completed(bindings: &[&str], keys: &str) -> String {
    line(&mut completing(FRUIT, bindings), format!("{keys}\r"))
}

/// The output to the terminal.
fn screen(editor: &mut Editor, keys: &str) -> String {
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(keys.as_bytes(), &mut screen);
    String::from_utf8(screen).unwrap()
}

#[test]
fn python_inserts_a_tab_and_completes_by_escape() {
    assert_eq!(line(&mut editor(), "a\tb\r"), "a\tb");
    let mut editor = completing(FRUIT, &["tab: self-insert"]);
    assert_eq!(line(&mut editor, "b\x1b\t!\r"), "banana!");
    assert_eq!(line(&mut editor, "b\x1b\x1b!\r"), "banana!");
    assert!(!editor.variables().enable_bracketed_paste);
    assert!(Editor::new().variables().enable_bracketed_paste);
    editor.parse_and_bind("$if python\nset comment-begin //\n$endif\nset enable-bracketed-paste on").unwrap();
    assert!(editor.variables().enable_bracketed_paste);
    assert_eq!(line(&mut editor, "x\x1b#"), "//x");
}

#[test]
fn a_unique_word_is_replaced_and_nothing_appended() {
    assert_eq!(completed(&[], "b\tX"), "bananaX");
    assert_eq!(completed(&[], "x(b\tX"), "x(bananaX");
    // A quote right before the word is closed, at the end of the line.
    assert_eq!(completed(&[], "\"b\tX"), "\"banana\"X");
    assert_eq!(completed(&[], "'b\tX"), "'banana'X");
    assert_eq!(completed(&[], "\"a b\tX"), "\"a bananaX");
    assert_eq!(completed(&[], "\"b)\x02\tX"), "\"bananaX)");
    let mut editor = completing(FRUIT, &[]);
    editor.set_completer(|_: &str, _: &CompletionContext<'_>| vec![Candidate::new("file").with_suffix(" ")]);
    assert_eq!(line(&mut editor, "f\tX\r"), "file X");
}

#[test]
fn several_words_give_what_is_common_and_then_a_list() {
    assert_eq!(completed(&[], "ap\tX"), "applX");
    assert_eq!(completed(&[], "q\tX"), "qX");
    assert_eq!(completed(&[], "ap\t\x1fX"), "apX");
    let mut editor = completing(FRUIT, &[]);
    assert!(!screen(&mut editor, "ap\t\t").contains("apple"), "the first TAB has changed the line");
    let _ = editor.interrupt(&mut Vec::new());
    assert!(screen(&mut editor, "appl\t\t").contains("apple  apply"));
}

#[test]
fn lists_come_at_once_where_a_variable_says_so() {
    let mut editor = completing(FRUIT, &["set show-all-if-ambiguous on"]);
    assert!(screen(&mut editor, "ap\t").contains("apple  apply"));
    assert_eq!(editor.line_buffer(), b"appl");
    let mut editor = completing(FRUIT, &["set show-all-if-unmodified on"]);
    assert!(!screen(&mut editor, "ap\t").contains("apple"));
    let _ = editor.interrupt(&mut Vec::new());
    assert!(screen(&mut editor, "appl\t").contains("apple  apply"));
}

#[test]
fn completion_can_be_switched_off_and_ignore_case() {
    assert_eq!(completed(&["set disable-completion on"], "b\tX"), "b\tX");
    let mut editor = editor();
    editor.parse_and_bind("tab: complete\nset completion-ignore-case on").unwrap();
    editor.set_completer(|_: &str, _: &CompletionContext<'_>| vec!["APply", "apple", "applz"]);
    assert_eq!(line(&mut editor, "ap\tX\r"), "applX");
    assert_eq!(line(&mut editor, "AP\tX\r"), "APplX");
}

#[test]
fn all_words_are_inserted() {
    assert_eq!(completed(&[], "x ap\x1b*X"), "x apple apply X");
    assert_eq!(completed(&[], "x b\x1b*X"), "x banana X");
}

#[test]
fn menus_go_round_and_return() {
    let menu = |command: &str, keys: &str| completed(&[&format!("tab: {command}")], keys);
    assert_eq!(menu("menu-complete", "x ap\tX"), "x appleX");
    assert_eq!(menu("menu-complete", "x ap\t\tX"), "x applyX");
    assert_eq!(menu("menu-complete", "x ap\t\t\tX"), "x applX");
    assert_eq!(menu("menu-complete", "x ap\t\t\t\tX"), "x appleX");
    assert_eq!(menu("menu-complete", "x ap\x1b2\tX"), "x applyX");
    assert_eq!(menu("menu-complete-backward", "x ap\tX"), "x applyX");
    assert_eq!(menu("old-menu-complete", "x ap\t\t\tX"), "x apX");
    assert_eq!(menu("old-menu-complete", "x b\tX"), "x bananaX");
}

#[test]
fn text_that_stands_there_is_skipped() {
    let words: &[&str] = &["appXX1"];
    let mut editor = completing(words, &["set skip-completed-text on"]);
    assert_eq!(line(&mut editor, "appXX\x02\x02\tY\r"), "appXX1Y");
    let mut editor = completing(words, &[]);
    assert_eq!(line(&mut editor, "appXX\x02\x02\tY\r"), "appXX1YXX");
}

#[test]
fn delete_char_or_list_lists_at_the_end() {
    let mut editor = completing(FRUIT, &["Control-d: delete-char-or-list"]);
    assert!(screen(&mut editor, "ap\x04").contains("apple  apply"));
    assert_eq!(line(&mut editor, "\x03ab\x01\x04\x04b\r".trim_start_matches('\x03')), "b");
}

/// An editor that completes a hundred and twenty words.
fn many() -> Editor {
    let mut editor = Editor::new();
    editor.parse_and_bind("tab: possible-completions").unwrap();
    editor.set_completer(|_: &str, _: &CompletionContext<'_>| (0..120).map(|n| format!("w{n:03}")).collect::<Vec<_>>());
    editor
}

#[test]
fn a_long_list_asks_first_and_stops_at_the_end_of_the_screen() {
    let mut editor = many();
    editor.resized(20, 10, &mut Vec::new());
    assert!(screen(&mut editor, "w\t").ends_with("Display all 120 possibilities? (y or n)"));
    let mut out = Vec::new();
    let _ = editor.feed(b"y", &mut out);
    let page = String::from_utf8_lossy(&out).into_owned();
    assert!(
        page.contains("w000") && page.contains("w008") && !page.contains("w009") && page.ends_with("--More--"),
        "{page}"
    );
    out.clear();
    let _ = editor.feed(b"\n", &mut out);
    assert!(String::from_utf8_lossy(&out).contains("w009"));
    out.clear();
    let _ = editor.feed(b"q!", &mut out);
    assert!(!String::from_utf8_lossy(&out).contains("w010"));
    assert_eq!(editor.line_buffer(), b"w!");
    let _ = editor.feed(b"\tn?", &mut out);
    assert_eq!(editor.line_buffer(), b"w!?");
}

#[test]
fn a_list_is_not_asked_for_or_paged_where_a_variable_says_so() {
    let mut editor = many();
    editor.parse_and_bind("set completion-query-items 0\nset page-completions off").unwrap();
    let shown = screen(&mut editor, "w\t");
    assert!(shown.contains("w000") && shown.contains("w119") && !shown.contains("Display"));
}

#[test]
fn the_display_hook_writes_the_list() {
    let mut editor = completing(FRUIT, &[]);
    editor.on_display_matches(|word, candidates, text| {
        text.extend_from_slice(format!("{} for {}", candidates.len(), String::from_utf8_lossy(word)).as_bytes());
    });
    assert!(screen(&mut editor, "appl\t\t").contains("2 for appl"));
    editor.clear_display_matches();
    let _ = editor.interrupt(&mut Vec::new());
    assert!(screen(&mut editor, "appl\t\t").contains("apple  apply"));
}

#[test]
fn the_completer_is_told_the_line_the_place_and_the_kind() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut editor = editor();
    assert_eq!((editor.completion_kind(), editor.completion_range()), (None, 0..0));
    editor.parse_and_bind("tab: complete").unwrap();
    let told = Arc::clone(&seen);
    editor.set_completer(move |word: &str, context: &CompletionContext<'_>| {
        let line = String::from_utf8_lossy(context.line).into_owned();
        told.lock().unwrap().push((
            word.to_owned(),
            line,
            context.range.clone(),
            context.range_in_chars(),
            context.kind,
        ));
        Vec::<String>::new()
    });
    assert!(editor.completer().is_some());
    line(&mut editor, "é ab;c.d\x02\t\x1b?\r");
    let (line, kind) = ("é ab;c.d".to_owned(), CompletionKind::Complete);
    assert_eq!(
        *seen.lock().unwrap(),
        [("c.".to_owned(), line.clone(), 6..8, 5..7, kind), ("c.".to_owned(), line, 6..8, 5..7, CompletionKind::List)]
    );
    assert_eq!((editor.completion_kind().map(CompletionKind::code), editor.completion_range()), (Some(b'?'), 6..8));
    editor.clear_completer();
    assert!(editor.completer().is_none());
}

#[test]
fn delimiters_part_the_words() {
    let mut editor = completing(FRUIT, &[]);
    assert_eq!(editor.completer_delims(), b" \t\n`~!@#$%^&*()-=+[{]}\\|;:'\",<>/?");
    assert_eq!(line(&mut editor, "x.b\tX\r"), "x.bX");
    editor.set_completer_delims(" .");
    assert_eq!(line(&mut editor, "x.b\tX\r"), "x.bananaX");
    assert_eq!(editor.completer_delims(), b" .");
}

#[test]
fn without_a_completer_names_of_files_are_completed() {
    let mut editor = editor();
    editor.parse_and_bind("tab: complete").unwrap();
    editor.set_completer_delims(" ");
    assert_eq!(line(&mut editor, "/etc/passw\t\x01\r").trim_end_matches('-'), "/etc/passwd");
    let mut editor = completing(&[], &[]);
    assert_eq!(line(&mut editor, "/etc/passw\t\r"), "/etc/passw", "a completer is no fallback");
}

#[test]
fn hooks_run_before_and_after_the_prompt() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut editor = editor();
    let (first, second) = (Arc::clone(&seen), Arc::clone(&seen));
    editor.on_startup(move |line| {
        first.lock().unwrap().push("startup");
        line.insert("ab");
        line.set_point(1);
    });
    editor.on_pre_input(move |line| {
        second.lock().unwrap().push("pre-input");
        assert_eq!((line.line(), line.point()), (&b"ab"[..], 1));
        line.insert("-");
    });
    assert_eq!(line(&mut editor, "X\r"), "a-Xb");
    assert_eq!(*seen.lock().unwrap(), ["startup", "pre-input"]);
    editor.clear_hooks();
    assert_eq!(line(&mut editor, "X\r"), "X");
}

#[test]
fn the_line_is_read_and_changed_by_the_caller() {
    let mut editor = editor();
    let mut out = Vec::new();
    let _ = editor.begin("> ", &mut out);
    let _ = editor.feed(b"ab\x02", &mut out);
    editor.insert_text("X");
    assert_eq!((editor.line_buffer(), editor.point()), (&b"aXb"[..], 2));
    out.clear();
    editor.redisplay(&mut out);
    assert!(String::from_utf8_lossy(&out).contains("> aXb"));
    assert_eq!(editor.feed(b"\r", &mut out), Step::Line(b"aXb".to_vec()));
    assert_eq!(editor.line_buffer(), b"aXb", "until the next line begins");
}

#[test]
fn the_backend_and_the_version_are_named() {
    assert_eq!((editor().backend(), editor().backend().name()), (Backend::Readline, "readline"));
    assert_eq!(VERSION, 0x0802);
    assert_eq!(LIBRARY_VERSION, format!("{}.{}", VERSION >> 8, VERSION & 0xff));
    let ask = "import readline as r; print(r._READLINE_VERSION, r._READLINE_RUNTIME_VERSION, \
               r._READLINE_LIBRARY_VERSION, getattr(r, 'backend', 'readline'))";
    match Command::new("/usr/bin/python3").args(["-c", ask]).output() {
        Ok(said) if said.status.success() && said.stdout.ends_with(b" 8.2 readline\n") => {
            let ours = format!("{VERSION} {VERSION} {LIBRARY_VERSION} {}\n", editor().backend().name());
            assert_eq!(String::from_utf8_lossy(&said.stdout), ours);
        }
        _ => println!("SKIPPED: no python3 with GNU readline 8.2"),
    }
}

#[test]
fn a_validator_asks_for_more_lines_or_refuses() {
    let mut editor = Editor::new();
    editor.set_validator(|line| {
        if line.contains("bad") {
            Validation::Invalid("that is wrong".to_owned())
        } else if line.matches('(').count() > line.matches(')').count() {
            Validation::Incomplete
        } else {
            Validation::Complete
        }
    });
    assert_eq!(line(&mut editor, "f(\r1)\r"), "f(\n1)");
    assert!(screen(&mut editor, "bad\r").contains("that is wrong\r\n"));
    assert_eq!(editor.line_buffer(), b"bad");
}

#[test]
fn a_hint_is_shown_and_taken_by_a_move() {
    let mut editor = Editor::with_config(Config::default());
    editor.set_hinter(|line| (line == "git").then(|| " commit --all".to_owned()));
    assert!(screen(&mut editor, "git").contains("commit"));
    assert_eq!(editor.feed(b"\r", &mut Vec::new()), Step::Line(b"git".to_vec()));
    assert_eq!(line(&mut editor, "git\x06\r"), "git commit --all");
    assert_eq!(line(&mut editor, "git\x1bf\r"), "git commit");
    assert_eq!(line(&mut editor, "got\x06\r"), "got");
}

#[test]
fn a_highlighter_colours_what_is_shown() {
    let mut editor = Editor::new();
    editor.set_highlighter(|line, _| format!("\x1b[31m{line}\x1b[0m"));
    assert!(screen(&mut editor, "abc").contains("\x1b[31m"));
    assert_eq!(editor.feed(b"\r", &mut Vec::new()), Step::Line(b"abc".to_vec()));
}
