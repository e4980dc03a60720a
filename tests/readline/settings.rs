//! The effect of the variables on keys, on the terminal and on lists; compared with GNU readline 8.2 where possible.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use ossature::readline::{CompletionContext, Config, Editor, ReadOutcome, Step, Terminal};
use ossature::sys::deadline::Deadline;
use ossature::sys::fd;
use ossature::sys::poll::{PollFd, PollFlags, poll};
use ossature::sys::tty::{Pty, line_editing};
use vt100::{Color, Parser};

/// An editor on a terminal of this name, with these lines of an init file.
fn with(terminal: &str, lines: &[&str]) -> Editor {
    let mut config = Config::default();
    config.terminal = terminal.to_owned();
    let mut editor = Editor::with_config(config);
    for line in lines {
        editor.parse_and_bind(line).unwrap();
    }
    editor
}

/// The output to the terminal at the beginning, for the keys, and at the end of the line.
fn told(editor: &mut Editor, keys: impl AsRef<[u8]>) -> [String; 3] {
    let mut told = [Vec::new(), Vec::new(), Vec::new()];
    assert_eq!(editor.begin("> ", &mut told[0]), Step::More);
    assert_eq!(editor.feed(keys.as_ref(), &mut told[1]), Step::More);
    let _ = editor.feed(b"\r", &mut told[2]);
    told.map(|text| String::from_utf8(text).unwrap())
}

/// The line after the keys.
fn so_far(editor: &mut Editor, keys: impl AsRef<[u8]>) -> Vec<u8> {
    let mut screen = Vec::new();
    let _ = editor.begin("> ", &mut screen);
    let _ = editor.feed(keys.as_ref(), &mut screen);
    editor.line_buffer().to_vec()
}

#[test]
fn the_terminal_is_told_of_pastes_and_of_the_keypad_and_told_back() {
    let begins = |terminal: &str, lines: &[&str]| {
        let [begin, _, end] = told(&mut with(terminal, lines), "ab");
        (begin, end)
    };
    let (on, off) = ("\x1b[?2004h", "\x1b[?2004l\r");
    assert_eq!(begins("xterm", &[]), (format!("{on}> "), format!("\r\n{off}")));
    let keypad = ["set enable-keypad on"];
    let both = (format!("\x1b[?1h\x1b={on}> "), format!("\r\n{off}\x1b[?1l\x1b>"));
    assert_eq!(begins("xterm-256color", &keypad), both);
    assert_eq!(begins("rxvt", &keypad), (format!("\x1b={on}> "), format!("\r\n{off}\x1b>")));
    // This terminal has no such sequences.
    assert_eq!(begins("linux", &keypad), (format!("{on}> "), format!("\r\n{off}")));
    assert_eq!(begins("xterm", &["set enable-bracketed-paste off"]), ("> ".into(), "\r\n".into()));
    assert_eq!(begins("dumb", &keypad), ("> ".into(), "\r\n".into()));
    // In a locale of UTF-8 GNU readline tells nothing for `enable-meta-key`, whatever its value.
    assert_eq!(begins("xterm", &["set enable-meta-key off"]), begins("xterm", &["set enable-meta-key on"]));
    // Whatever ends the line.
    for keys in ["\x04", "\x1b[200~x"] {
        let (mut editor, mut screen) = (with("xterm", &[]), Vec::new());
        let _ = editor.begin("> ", &mut screen);
        let mut step = editor.feed(keys.as_bytes(), &mut screen);
        if step == Step::More {
            step = editor.interrupt(&mut screen);
        }
        assert_ne!(step, Step::More);
        assert!(String::from_utf8_lossy(&screen).ends_with(off), "{keys:?}");
    }
}

#[test]
fn a_panic_switches_the_marks_of_a_paste_off() {
    let pty = Pty::open().unwrap();
    let copy = || fd::duplicate(&pty.terminal).unwrap();
    let mut editor = with("xterm", &["tab: complete"]);
    editor.set_terminal(Terminal::new(copy(), copy()).unwrap());
    editor.set_completer(|_: &str, _: &CompletionContext<'_>| -> Vec<String> { panic!("planned") });
    let _raw = line_editing(&pty.terminal).unwrap();
    fd::write_all(&pty.controller, b"x\t", Deadline::NEVER).unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| editor.read_line("> ")));
    assert!(caught.is_err());
    // What is written comes through the terminal when the kernel has time for it.
    let (mut shown, until) = (String::new(), Deadline::after(Duration::from_secs(20)));
    while !shown.contains("\x1b[?2004l") && !until.has_passed() {
        let mut part = [0; 256];
        if poll(&mut [PollFd::new(&pty.controller, PollFlags::IN)], until).unwrap() > 0 {
            let len = fd::read(&pty.controller, &mut part).unwrap();
            shown.push_str(&String::from_utf8_lossy(&part[..len]));
        }
    }
    assert!(shown.starts_with("\x1b[?2004h") && shown.contains("\x1b[?2004l"), "{shown:?}");
}

#[test]
fn the_terminals_own_characters_edit_the_line() {
    let line = |setting: &str, keys: &[u8]| {
        let pty = Pty::open().unwrap();
        let copy = || fd::duplicate(&pty.terminal).unwrap();
        // The user erases with `%`, a word with `&` and the line with `@`.
        let done = std::process::Command::new("stty")
            .args(["erase", "%", "werase", "&", "kill", "@", "lnext", "!"])
            .stdin(fd::duplicate(&pty.terminal).unwrap())
            .status();
        assert!(done.expect("stty").success());
        let mut editor = with("xterm", &[setting]);
        editor.set_terminal(Terminal::new(copy(), copy()).unwrap());
        let _raw = line_editing(&pty.terminal).unwrap();
        fd::write_all(&pty.controller, keys, Deadline::NEVER).unwrap();
        match editor.read_line("> ").unwrap() {
            ReadOutcome::Line(line) => line,
            other => panic!("{other:?}"),
        }
    };
    let on = "set bind-tty-special-chars on";
    assert_eq!(line(on, b"abc%d\r"), "abd");
    assert_eq!(line(on, b"one two&x\r"), "one x");
    assert_eq!(line(on, b"one two@x\r"), "x");
    assert_eq!(line(on, b"a!%b\r"), "a%b");
    // In vi mode a word ends at punctuation as well.
    assert_eq!(line(on, b"one two.x&y\r"), "one y");
    assert_eq!(line("set bind-tty-special-chars on\nset editing-mode vi", b"one two.x&y\r"), "one two.y");
    assert_eq!(line("set bind-tty-special-chars off", b"abc%d&e@!\r"), "abc%d&e@!");
}

#[test]
fn a_closing_parenthesis_shows_the_one_that_it_closes_for_half_a_second() {
    let on = ["set blink-matching-paren on"];
    // The column of the cursor after the keys, after the time that the editor asks for, and the text.
    let shown = |lines: &[&str], keys: &[&str]| {
        let mut editor = with("xterm", lines);
        let (mut terminal, mut screen) = (Parser::new(4, 60, 0), Vec::new());
        editor.resized(60, 4, &mut screen);
        let _ = editor.begin("> ", &mut screen);
        for keys in keys {
            let _ = editor.feed(keys.as_bytes(), &mut screen);
        }
        terminal.process(&screen);
        let column = |terminal: &Parser| usize::from(terminal.screen().cursor_position().1) - 2;
        let (at, timeout) = (column(&terminal), editor.timeout());
        screen.clear();
        let _ = editor.expire(&mut screen);
        terminal.process(&screen);
        (at, timeout.is_some(), column(&terminal))
    };
    assert_eq!(shown(&on, &["f(a[1]", ")"]), (1, true, 7));
    assert_eq!(shown(&on, &["f(a[1", "]"]), (3, true, 6));
    assert_eq!(shown(&on, &["(\"(\" x", ")"]), (0, true, 7));
    assert_eq!(shown(&on, &["{{a}b", "}"]), (0, true, 6));
    assert_eq!(shown(&["set editing-mode vi", on[0]], &["f(a", ")"]), (1, true, 4));
    // Nothing matches; the next key was there already; the variable is off.
    assert_eq!(shown(&on, &["(a", "]"]), (3, false, 3));
    assert_eq!(shown(&on, &["a", ")"]), (2, false, 2));
    assert_eq!(shown(&on, &["f(a)x"]), (5, false, 5));
    assert_eq!(shown(&[], &["f(a", ")"]), (4, false, 4));
    let mut editor = with("xterm", &on);
    assert_eq!(so_far(&mut editor, "(a)"), b"(a)");
    assert_eq!(editor.timeout(), Some(Duration::from_millis(500)));
    let _ = editor.feed(b"b\x02\x02", &mut Vec::new());
    assert_eq!((editor.line_buffer(), editor.point(), editor.timeout()), (&b"(a)b"[..], 2, None));
}

#[test]
fn bytes_are_characters_where_byte_oriented_says_so() {
    let on = ["set byte-oriented on"];
    assert_eq!(so_far(&mut with("xterm", &on), "a\u{e9}b\x02\x02\x04"), b"a\xc3b");
    assert_eq!(so_far(&mut with("xterm", &on), "a\u{e9}b\x01\x1bfX"), "aX\u{e9}b".as_bytes());
    assert_eq!(so_far(&mut with("xterm", &on), "\u{e9}\x7f"), b"\xc3");
    assert_eq!(so_far(&mut with("xterm", &[]), "\u{e9}\x7f"), b"");
}

#[test]
fn the_eighth_bit_is_a_meta_key_where_convert_meta_says_so() {
    // `\xe2` is ESC b, and `\xe6` is ESC f.
    let mut editor = with("xterm", &["set convert-meta on"]);
    assert_eq!(so_far(&mut editor, b"one two\xe2X\xe6Y"), b"one XtwoY");
    let mut editor = with("xterm", &["set convert-meta off"]);
    assert_eq!(so_far(&mut editor, "\u{e2}"), "\u{e2}".as_bytes());
    // A terminal of eight bits sends all of them, so that `input-meta` changes nothing.
    let mut editor = with("xterm", &["set input-meta off"]);
    assert_eq!(so_far(&mut editor, "a\u{e9}b"), "a\u{e9}b".as_bytes());
}

#[test]
fn bytes_of_eight_bits_are_shown_in_octal_where_output_meta_says_so() {
    let shown = |lines: &[&str], keys: &[u8]| {
        let mut editor = with("xterm", lines);
        let (mut terminal, mut screen) = (Parser::new(4, 60, 0), Vec::new());
        let _ = editor.begin("> ", &mut screen);
        let _ = editor.feed(keys, &mut screen);
        terminal.process(&screen);
        (terminal.screen().contents(), terminal.screen().cursor_position().1)
    };
    assert_eq!(shown(&[], "a\u{e9}b".as_bytes()), ("> a\u{e9}b".into(), 5));
    let off = ["set output-meta off"];
    assert_eq!(shown(&off, "a\u{e9}b".as_bytes()), ("> a\\303\\251b".into(), 12));
    assert_eq!(shown(&off, b"a\xe9b\x02"), ("> a\\351b".into(), 7));
}

#[test]
fn the_preferred_bell_is_the_visible_one() {
    let bell = |line: &str| told(&mut with("xterm", &[line]), "\x07")[1].clone();
    assert_eq!(bell("set prefer-visible-bell on"), "\x1b[?5h\x1b[?5l");
    assert_eq!(bell("set prefer-visible-bell off"), "\x07");
}

/// A directory with files of many kinds, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-settings-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("prefix_dir")).unwrap();
        for file in ["prefix_alpha.txt", "prefix_beta", "prefix_.dot", "prefix_suid"] {
            fs::write(path.join(file), "").unwrap();
        }
        for (file, mode) in [("prefix_beta", 0o755), ("prefix_suid", 0o4755), ("prefix_dir", 0o755)] {
            fs::set_permissions(path.join(file), fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", path.join("prefix_orphan")).unwrap();
        fs::create_dir(path.join("prefix_ow")).unwrap();
        fs::set_permissions(path.join("prefix_ow"), fs::Permissions::from_mode(0o777)).unwrap();
        Self(path)
    }

    /// The screen after the names that begin with `prefix_` were listed.
    fn listed(&self, lines: &[&str]) -> Parser {
        let mut editor = with("xterm", lines);
        editor.set_completer_delims(" ");
        let (mut terminal, mut screen) = (Parser::new(24, 80, 0), Vec::new());
        editor.resized(80, 24, &mut screen);
        let _ = editor.begin("> ", &mut screen);
        let _ = editor.feed(format!("{}/pre\x1b?", self.0.display()).as_bytes(), &mut screen);
        terminal.process(&screen);
        terminal
    }

    /// The rows of the list, without the row of the prompt.
    fn rows(&self, lines: &[&str]) -> Vec<String> {
        let rows = self.listed(lines).screen().contents();
        rows.lines()
            .filter(|row| !row.contains("> ") && !row.contains("/pre"))
            .map(|row| row.trim_end().to_owned())
            .collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The rows are the same as GNU readline's for the same files.
#[test]
fn lists_are_as_wide_and_as_ordered_as_variables_say() {
    let folder = Folder::new("columns");
    let down = [
        "prefix_.dot       prefix_beta       prefix_orphan     prefix_suid",
        "prefix_alpha.txt  prefix_dir/       prefix_ow/",
    ];
    assert_eq!(folder.rows(&[]), down);
    let across = [
        "prefix_.dot       prefix_alpha.txt  prefix_beta       prefix_dir/",
        "prefix_orphan     prefix_ow/        prefix_suid",
    ];
    assert_eq!(folder.rows(&["set print-completions-horizontally on"]), across);
    assert_eq!(folder.rows(&["set completion-display-width 200"]), down);
    let narrow = [
        "prefix_.dot       prefix_orphan",
        "prefix_alpha.txt  prefix_ow/",
        "prefix_beta       prefix_suid",
        "prefix_dir/",
    ];
    assert_eq!(folder.rows(&["set completion-display-width 40"]), narrow);
    assert_eq!(folder.rows(&["set completion-display-width 0"]).len(), 7);
    // A prefix that is longer than the variable says is not shown.
    let short = ["___.dot       ...beta       ...orphan     ...suid", "...alpha.txt  ...dir/       ...ow/"];
    assert_eq!(folder.rows(&["set completion-prefix-display-length 3"]), short);
    assert_eq!(folder.rows(&["set completion-prefix-display-length 7"]), down);
    let stats = [
        "prefix_.dot       prefix_beta*      prefix_orphan@    prefix_suid*",
        "prefix_alpha.txt  prefix_dir/       prefix_ow/",
    ];
    assert_eq!(folder.rows(&["set visible-stats on"]), stats);
}

/// The colours are the same as GNU readline's for the same files, without LS_COLORS.
#[test]
fn names_and_their_common_prefix_have_colours_where_variables_say_so() {
    if std::env::var_os("LS_COLORS").is_some() {
        return; // the colours are the user's
    }
    let folder = Folder::new("colours");
    // The colour of the cell in the middle of the prefix of a name, and of the one behind the prefix.
    let colours = |lines: &[&str], name: &str| {
        let terminal = folder.listed(lines);
        let screen = terminal.screen();
        let rows: Vec<String> = screen.contents().lines().map(str::to_owned).collect();
        let is_listed = |row: &&String| row.contains(name) && !row.contains("> ");
        let row = rows.iter().find(is_listed).unwrap_or_else(|| panic!("{name} is not in {rows:?}"));
        let (y, x) = (rows.iter().position(|it| it == row).unwrap(), row.find(name).unwrap());
        let cell = |x: usize| screen.cell(y as u16, x as u16).unwrap();
        (cell(x + 2).fgcolor(), cell(x + 7).fgcolor(), cell(x + 7).bgcolor())
    };
    let plain = Color::Default;
    assert_eq!(colours(&[], "prefix_dir"), (plain, plain, plain));
    let stats = ["set colored-stats on"];
    assert_eq!(colours(&stats, "prefix_dir"), (Color::Idx(4), Color::Idx(4), plain));
    assert_eq!(colours(&stats, "prefix_orphan"), (Color::Idx(6), Color::Idx(6), plain));
    assert_eq!(colours(&stats, "prefix_suid"), (Color::Idx(7), Color::Idx(7), Color::Idx(1)));
    assert_eq!(colours(&stats, "prefix_ow"), (Color::Idx(4), Color::Idx(4), Color::Idx(2)));
    assert_eq!(colours(&stats, "prefix_beta"), (Color::Idx(2), Color::Idx(2), plain));
    assert_eq!(colours(&stats, "prefix_alpha.txt"), (plain, plain, plain));
    let prefix = ["set colored-completion-prefix on"];
    assert_eq!(colours(&prefix, "prefix_dir"), (Color::Idx(5), plain, plain));
    assert_eq!(colours(&[stats[0], prefix[0]], "prefix_beta"), (Color::Idx(5), Color::Idx(2), plain));
    // The columns are the same, and a dumb terminal is told no colour.
    assert_eq!(folder.rows(&[stats[0], prefix[0]]), folder.rows(&[]));
    let mut editor = with("dumb", &[stats[0], prefix[0], "set enable-bracketed-paste off"]);
    editor.set_completer(|_: &str, _: &CompletionContext<'_>| vec!["one", "only"]);
    assert!(!told(&mut editor, "o\x1b?")[1].contains('\x1b'));
}
