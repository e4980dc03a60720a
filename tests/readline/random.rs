//! Random keys, resizes and lines of init files. Nothing panics or hangs, and the cursor stays in the line. After many
//! small drawings the terminal shows the same as after one drawing from scratch.
//!
//! `OSSATURE_RANDOM_KEYS` says how many keys, `OSSATURE_RANDOM_SEED` which.

use std::time::Duration;

use ossature::readline::{Candidate, Command, CompletionContext, Config, Editor, Step, Validation};
use vt100::Parser;

use super::support::within;

/// An xorshift64* generator: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Lines of init files: good ones, bad ones, and macros that call each other endlessly.
const INIT: &[&str] = &[
    "set editing-mode vi",
    "set editing-mode emacs",
    "set convert-meta on",
    "set convert-meta off",
    "set output-meta off",
    "set output-meta on",
    "set blink-matching-paren on",
    "set completion-ignore-case on",
    "set completion-query-items 3",
    "set completion-query-items 0",
    "set completion-query-items -1",
    "set completion-display-width 0",
    "set completion-display-width 99999999999",
    "set completion-prefix-display-length 2",
    "set history-size 3",
    "set history-size 0",
    "set history-size -1",
    "set history-preserve-point on",
    "set horizontal-scroll-mode on",
    "set horizontal-scroll-mode off",
    "set isearch-terminators \"\\C-a\"",
    "set isearch-terminators \"\"",
    "set keyseq-timeout 0",
    "set keyseq-timeout 1",
    "set mark-modified-lines on",
    "set menu-complete-display-prefix on",
    "set page-completions off",
    "set page-completions on",
    "set print-completions-horizontally on",
    "set revert-all-at-newline on",
    "set show-all-if-ambiguous on",
    "set show-all-if-ambiguous off",
    "set show-all-if-unmodified on",
    "set show-mode-in-prompt on",
    "set show-mode-in-prompt off",
    "set skip-completed-text on",
    "set visible-stats on",
    "set colored-stats on",
    "set comment-begin \"\\t\\x1b\"",
    "set emacs-mode-string \"\\1\\e[1m\\2E\\1\\e[0m\\2\\n\"",
    "set vi-cmd-mode-string \"\u{4e2d}\"",
    "set enable-bracketed-paste off",
    "set enable-active-region on",
    "set keymap vi-command",
    "set keymap vi-insert",
    "set keymap emacs",
    "\"\\C-xl\": \"\\C-xl\"",
    "\"\\C-xm\": \"ab\\C-xn\\C-xn\"",
    "\"\\C-xn\": \"cd\\C-xm\\C-xm\"",
    "\"b\": \"a\"",
    "\"a\": \"b\"",
    "\"bcd\": end-of-line",
    "\"b\": self-insert",
    "\"a\": self-insert",
    "\"bcd\":",
    "\"\\M-x\": \"\\M-y\\e\"",
    "\"\\M-y\": \"\\M-x\"",
    "\"A\": do-lowercase-version",
    "\"\": \"\"",
    "$if mode=vi",
    "$else",
    "$endif",
    "$include /dev/null",
    "$nonsense",
    "set",
    "\"\\C-",
    "\\",
];

const TEXTS: &[&str] = &[
    "a",
    "b",
    "word",
    " ",
    "two words ",
    "\u{e9}",
    "e\u{301}",
    "\u{4e2d}",
    "\u{1f600}",
    "(",
    ")",
    "{[",
    "'",
    "\"",
    "\\",
    "~/",
    "/",
    "!",
    "!!",
    "!$",
    "#",
    "0",
    "9",
    "\u{85}",
    "\u{9b}",
    "\u{7f}",
];

const MARKS: &[&str] = &["\u{301}", "\u{ad}", "\u{200b}", "\u{200d}", "\u{1f469}\u{200d}\u{1f467}"];

const KEYS: &[&str] = &[
    "\r",
    "\n",
    "\t",
    "\x7f",
    "\x07",
    "\x12",
    "\x13",
    "\x15",
    "\x0b",
    "\x17",
    "\x19",
    "\x1by",
    "\x1f",
    "\x14",
    "\x16",
    "\x1d",
    "\x1b-",
    "\x1b5",
    "\x1b9999999999",
    "\x1b-999999999",
    "\x1b1000000",
    "\x1b\x1d",
    "\x1bb",
    "\x1bf",
    "\x1bd",
    "\x1bt",
    "\x1bu",
    "\x1bc",
    "\x1bl",
    "\x1b.",
    "\x1b<",
    "\x1b>",
    "\x10",
    "\x0e",
    "\x01",
    "\x05",
    "\x02",
    "\x06",
    "\x0c",
    "\x1b[A",
    "\x1b[B",
    "\x1b[C",
    "\x1b[D",
    "\x1b[3~",
    "\x1b[200~",
    "\x1b[201~",
    "\x1b[999;999x",
    "\x1bO",
    "\x1b[",
    "\x1b",
    "\x18(",
    "\x18)",
    "\x18e",
    "\x18\x18",
    "\x18\x15",
    "\x1b?",
    "\x1b*",
    "\x1bp",
    "\x1bn",
    "\x1b~",
    "\x1b#",
    "\x1br",
    "\x18l",
    "\x18m",
    "\x18n",
    "\x1b\x0b",
    "\x1b\x0a",
    "i",
    "R",
    "dw",
    "cw",
    "d$",
    "c3b",
    ".",
    "u",
    "3.",
    "999999999.",
    "f(",
    ";",
    ",",
    "ma",
    "d`a",
    "r\u{4e2d}",
    "y",
    "n",
    "q",
    "~",
    "%",
    "d%",
    "p",
    "P",
    "_",
    "|",
    "50|",
    "x",
    "X",
    "s",
    "S",
    "Y",
    "D",
    "C",
    "*",
    "=",
];

const PROMPTS: &[&str] = &[
    "> ",
    "",
    "first\nsecond> ",
    "\x01\x1b[1m\x02bold\x01\x1b[0m\x02> ",
    "a prompt that is longer than most of the screens here> ",
    "\u{4e2d}\u{6587}> ",
];

/// The key sequence of a command: three bytes that are bound to nothing else.
fn key_of(number: usize) -> [u8; 3] {
    [0x1c, b'a' + (number / 16) as u8, b'a' + (number % 16) as u8]
}

fn is_left_out(command: Command) -> bool {
    // They may move by bytes, or run what the home folder says.
    matches!(
        command,
        Command::ViOverstrikeDelete
            | Command::ForwardByte
            | Command::BackwardByte
            | Command::SetMark
            | Command::ReReadInitFile
    )
}

fn new_editor(random: &mut Random, is_dumb: bool) -> Editor {
    let mut config = if random.one_in(4) { Config::python_compat() } else { Config::default() };
    config.terminal = if is_dumb { "dumb".into() } else { "xterm".into() };
    let mut editor = Editor::with_config(config);
    for map in ["vi-command", "vi-insert", "emacs"] {
        editor.parse_and_bind(format!("set keymap {map}")).unwrap();
        for (number, command) in Command::ALL.iter().enumerate().filter(|(_, command)| !is_left_out(**command)) {
            let [a, b, c] = key_of(number);
            let line = format!("\"\\x{a:02x}{}{}\": {}", char::from(b), char::from(c), command.name());
            editor.parse_and_bind(line).unwrap();
        }
        for keys in ["\\C-@", "\\e ", "\\e\\C-r", "\\C-x\\C-r", "m", "`"] {
            // What sets the mark between two bytes, and what reads the init file of whoever runs the test.
            if map != "vi-insert" && (keys.starts_with('\\') || map == "vi-command") {
                editor.parse_and_bind(format!("\"{keys}\": abort")).unwrap();
            }
        }
    }
    editor.set_completer(|word: &str, context: &CompletionContext<'_>| {
        let words = ["", "word", "words", "wor\u{301}", "\u{4e2d}\u{6587}", "\x1b[2J\x07", "a b", "\t\n", "dir/", "W"];
        let mut found: Vec<Candidate> = Vec::new();
        for it in words {
            if it.starts_with(word) || context.range.end % 3 == 1 {
                found.push(Candidate::new(it).with_suffix(if context.range.start % 2 == 0 { " " } else { "" }));
            }
        }
        if context.range.end % 7 == 1 {
            found.extend((0..300).map(|n| Candidate::new(format!("{word}{n}"))));
        }
        found.push(Candidate::new(b"\xff\xfe".to_vec()));
        found
    });
    if random.one_in(4) {
        editor.set_hinter(|line| (line.len() % 3 == 1).then(|| "hint\u{4e2d}\n\x1b[2J".into()));
    }
    if random.one_in(4) {
        editor.set_highlighter(|line, _| line.replace('w', "\x1b[1mw\x1b[0m"));
    }
    if random.one_in(4) {
        editor.set_validator(|line| match line.len() % 5 {
            0 => Validation::Incomplete,
            1 => Validation::Invalid("wrong\nin two rows".into()),
            _ => Validation::Complete,
        });
    }
    for line in
        ["one", "two words", "three (more) words", "\u{4e2d}\u{6587} e\u{301}", "\x1b[2J", "", "a\nb", "word word"]
    {
        editor.add_history(line);
    }
    editor
}

/// Shows bytes on the emulator, with `?` in place of the replacement character.
fn show(terminal: &mut Parser, bytes: &[u8]) {
    let mut rest = bytes;
    while let Some(at) = rest.windows(3).position(|it| it == "\u{fffd}".as_bytes()) {
        terminal.process(&rest[..at]);
        terminal.process(b"?");
        rest = &rest[at + 3..];
    }
    terminal.process(rest);
}

/// Checks that the screen is the same as after a drawing from scratch.
fn compare(editor: &mut Editor, terminal: &mut Parser, above: u16, case: &dyn Fn() -> String) {
    let (rows, columns) = terminal.screen().size();
    let mut fresh = Parser::new(rows, columns, 0);
    let mut out = Vec::new();
    editor.redisplay(&mut out);
    show(&mut fresh, &out);
    let is_used =
        |row: u16| (0..columns).any(|column| fresh.screen().cell(row, column).is_some_and(|cell| cell.has_contents()));
    let (fresh_at, at) = (fresh.screen().cursor_position(), terminal.screen().cursor_position());
    // A line that has more rows than the screen is shown in part, and the part depends on what was shown before.
    if !is_used(rows - 1) && fresh_at.0 < rows - 1 {
        let said = |parser: &Parser| {
            let (row, column) = parser.screen().cursor_position();
            format!("{:?} at {row}, {column}", parser.screen().contents())
        };
        let differs = |what: &str| {
            panic!(
                "{what}: shown {}, from scratch {} for the line {:?}\n{}",
                said(terminal),
                said(&fresh),
                editor.line_buffer().escape_ascii().to_string(),
                case()
            )
        };
        // The first rows of the prompt may have left the screen.
        if at.1 != fresh_at.1 || at.0 + above < fresh_at.0 {
            differs("the cursor");
        }
        let shift = i32::from(at.0) - i32::from(fresh_at.0);
        for row in above..rows {
            let there = i32::from(row) + shift;
            if there >= rows.into() {
                continue;
            }
            for column in 0..columns {
                let cell = |parser: &Parser, row: u16| {
                    let cell = parser.screen().cell(row, column).expect("a cell of the screen");
                    let text = if cell.has_contents() { cell.contents().to_owned() } else { " ".to_owned() };
                    // A blank that was erased while the pen was bold looks like any other.
                    let bold = cell.has_contents() && cell.bold();
                    (text, cell.inverse(), bold)
                };
                if cell(terminal, there as u16) != cell(&fresh, row) {
                    differs(&format!("row {row}, column {column}"));
                }
            }
        }
    }
    *terminal = fresh;
}

fn run(seed: u64, keys: usize) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let is_dumb = random.one_in(8);
    let mut editor = new_editor(&mut random, is_dumb);
    let mut size = (24_u16, 80_u16);
    let mut terminal = Parser::new(size.0, size.1, 0);
    let mut trace: Vec<Vec<u8>> = Vec::new();
    let mut out = Vec::new();
    let mut begun = false;
    // Joined emoji are one cluster here and several characters to the emulator; an odd size shows nothing to compare.
    let mut comparable = true;
    // How far a row is scrolled depends on what was shown before.
    // Where a lone mark goes that follows the end of a row, each terminal decides for itself.
    let has_marks = seed % 4 == 0;
    let mut scrolls = is_dumb || has_marks;
    // Bytes of no character may become one where the cursor stands.
    let has_bytes = seed % 3 == 0;
    for _ in 0..keys {
        if !begun {
            let prompt = random.of(PROMPTS);
            trace = vec![prompt.as_bytes().to_vec()];
            begun = editor.begin(prompt, &mut out) == Step::More;
        }
        let mut piece: Vec<u8> = Vec::new();
        let step = match random.below(64) {
            0 => {
                size = (*random.of(&[&2, &3, &5, &24]), *random.of(&[&5_u16, &10, &20, &40, &80]));
                // As terminals do: the row of the cursor stays on the screen.
                let (row, rows) = (terminal.screen().cursor_position().0, terminal.screen().size().0);
                let off = usize::from((row + 1).saturating_sub(size.0));
                let scroll = format!("\x1b7\x1b[{rows};1H{}\x1b8\x1b[{off}A", "\n".repeat(off));
                terminal.process(if off > 0 { scroll.as_bytes() } else { b"" });
                // The emulator does not bear half of a wide character in its last column.
                let narrower = size.1 < terminal.screen().size().1;
                for row in 1..=if narrower { rows } else { 0 } {
                    terminal.process(format!("\x1b7\x1b[{row};{}H\x1b[K\x1b8", size.1).as_bytes());
                }
                terminal.screen_mut().set_size(size.0, size.1);
                editor.resized(size.1.into(), size.0.into(), &mut out);
                piece = format!("<{}x{}>", size.1, size.0).into();
                if !comparable {
                    // The emulator has missed what came in between.
                    terminal = Parser::new(size.0, size.1, 0);
                    out.clear();
                    editor.redisplay(&mut out);
                    comparable = true;
                }
                Step::More
            }
            1 if random.one_in(4) => {
                let of = [0, 1, 2, 65_535, usize::MAX];
                let (columns, rows) = (of[random.below(of.len())], of[random.below(of.len())]);
                editor.resized(columns, rows, &mut out);
                piece = format!("<{columns}x{rows}>").into();
                comparable = false;
                Step::More
            }
            2 if editor.timeout().is_some() => editor.expire(&mut out),
            3 if random.one_in(8) => editor.interrupt(&mut out),
            4 if random.one_in(8) => editor.end_of_input(&mut out),
            5 | 6 => {
                let line = random.of(INIT);
                let _ = editor.parse_and_bind(line);
                scrolls |= line.contains("horizontal-scroll-mode on");
                piece = format!("<{line}>").into();
                editor.feed(b"", &mut out)
            }
            7 => {
                let _ = editor.parse_and_bind("$endif\n$endif\n$endif\nset keymap emacs");
                editor.feed(b"", &mut out)
            }
            choice => {
                piece = match choice {
                    8..20 if has_marks && random.one_in(8) => random.of(MARKS).as_bytes().to_vec(),
                    8..20 => random.of(TEXTS).as_bytes().to_vec(),
                    20..42 => key_of(random.below(Command::ALL.len())).to_vec(),
                    42..44 => vec![random.next() as u8 & if has_bytes { 0xff } else { 0x7f }],
                    _ => random.of(KEYS).as_bytes().to_vec(),
                };
                if random.one_in(3) {
                    let mut step = Step::More;
                    for &byte in &piece {
                        if step == Step::More {
                            step = editor.feed(&[byte], &mut out);
                        }
                    }
                    step
                } else {
                    editor.feed(&piece, &mut out)
                }
            }
        };
        trace.push(piece);
        let case = || format!("seed {seed}, keys {:?}", trace.concat().escape_ascii().to_string());
        assert!(out.len() < 64 << 20, "{} bytes to draw; {}", out.len(), case());
        let (line, point) = (editor.line_buffer(), editor.point());
        assert!(point <= line.len(), "{}", case());
        if let (false, Ok(text)) = (has_bytes, std::str::from_utf8(line)) {
            assert!(text.is_char_boundary(point), "the cursor stands at {point} of {text:?}; {}", case());
        }
        let long = line.len() > 4096;
        if comparable {
            show(&mut terminal, &out);
        }
        out.clear();
        if step != Step::More {
            begun = false;
            if step == Step::Eof {
                // The cursor stays in the line: the program goes on where it wants.
                terminal.process(b"\x1b[H\x1b[2J");
            }
        } else if long {
            let _ = editor.interrupt(&mut out);
            show(&mut terminal, &out);
            out.clear();
            begun = false;
        } else if comparable && !scrolls && begun && random.one_in(if seed % 2 == 0 { 2 } else { 8 }) {
            compare(&mut editor, &mut terminal, u16::from(trace[0].starts_with(b"first")), &case);
        }
    }
}

#[test]
fn random_keys_keep_the_line_and_the_screen_whole() {
    let number = |name| std::env::var(name).ok().map(|it| it.parse::<u64>().expect("a number"));
    let keys = number("OSSATURE_RANDOM_KEYS").unwrap_or(20_000) as usize;
    let first = number("OSSATURE_RANDOM_SEED").unwrap_or(1);
    for at in 0..keys.div_ceil(500) as u64 {
        within(Duration::from_secs(60), || run(first + at, 500));
    }
}
