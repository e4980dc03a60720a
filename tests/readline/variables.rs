//! The variables: their defaults, which are those of GNU readline 8.2 in a locale of UTF-8, and the effect of some.

use ossature::readline::{Config, Editor, Variables};

/// The first output of GNU readline's `dump-variables`.
const DEFAULTS: &str = "\
bind-tty-special-chars on
blink-matching-paren off
byte-oriented off
colored-completion-prefix off
colored-stats off
completion-ignore-case off
completion-map-case off
convert-meta off
disable-completion off
echo-control-characters on
enable-active-region on
enable-bracketed-paste on
enable-keypad off
enable-meta-key on
expand-tilde off
history-preserve-point off
horizontal-scroll-mode off
input-meta on
mark-directories on
mark-modified-lines off
mark-symlinked-directories off
match-hidden-files on
menu-complete-display-prefix off
meta-flag on
output-meta on
page-completions on
prefer-visible-bell on
print-completions-horizontally off
revert-all-at-newline off
show-all-if-ambiguous off
show-all-if-unmodified off
show-mode-in-prompt off
skip-completed-text off
visible-stats off
bell-style audible
comment-begin #
completion-display-width -1
completion-prefix-display-length 0
completion-query-items 100
editing-mode emacs
emacs-mode-string @
history-size 0
keymap emacs
keyseq-timeout 500
vi-cmd-mode-string (cmd)
vi-ins-mode-string (ins)
";

#[test]
fn defaults_are_those_of_gnu_readline() {
    let variables = Variables::default();
    let shown: String =
        variables.iter().map(|(name, value)| format!("{name} {}\n", String::from_utf8_lossy(&value))).collect();
    assert_eq!(shown, DEFAULTS);
    for line in DEFAULTS.lines() {
        let (name, value) = line.split_once(' ').unwrap();
        assert_eq!(variables.get(&name.to_uppercase()).unwrap(), value.as_bytes(), "{name}");
    }
    let seven = Variables::seven_bits();
    assert_eq!([seven.convert_meta, seven.input_meta, seven.output_meta], [true, false, false]);
}

#[test]
fn every_default_can_be_set_again_and_changed() {
    for line in DEFAULTS.lines() {
        let (name, value) = line.split_once(' ').unwrap();
        let mut variables = Variables::default();
        let other = match value {
            "on" => "off",
            "off" => "on",
            "audible" => "none",
            "emacs" => "vi",
            "500" | "100" | "-1" | "0" => "7",
            _ => "other",
        };
        variables.set(name, other).unwrap();
        assert_eq!(variables.get(name).unwrap(), other.as_bytes(), "{name}");
        assert_ne!(variables, Variables::default(), "{name}");
        let back = if name == "history-size" { "-1" } else { value };
        variables.set(name, back).unwrap();
        assert_eq!(variables.get(name).unwrap(), value.as_bytes(), "{name}");
    }
}

/// The output to the terminal after the keys.
fn shown(lines: &str, terminal: &str, keys: &[u8]) -> String {
    let mut config = Config::default();
    config.terminal = terminal.to_owned();
    let (mut editor, mut out) = (Editor::with_config(config), Vec::new());
    editor.parse_and_bind(lines).unwrap();
    let _ = editor.begin("", &mut out);
    out.clear();
    let _ = editor.feed(keys, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_bell_is_heard_seen_or_neither() {
    let flash = "\x1b[?5h\x1b[?5l";
    let told = |style: &str, terminal: &str| shown(&format!("set bell-style {style}"), terminal, b"\x07");
    assert!(told("audible", "xterm").contains('\x07'));
    assert!(!told("none", "xterm").contains('\x07'));
    let seen = told("visible", "xterm-256color");
    assert!(seen.contains(flash) && !seen.contains('\x07'), "{seen:?}");
    let heard = told("visible", "unheard-of");
    assert!(!heard.contains(flash) && heard.contains('\x07'), "{heard:?}");
}

#[test]
fn the_region_has_the_colours_that_were_set() {
    let paste = b"\x1b[200~pasted\x1b[201~";
    let coloured = shown("set active-region-start-color \\e[31m\nset active-region-end-color \\e[39m", "xterm", paste);
    assert!(coloured.contains("\x1b[31m") && coloured.contains("\x1b[39m"), "{coloured:?}");
    assert!(!shown("", "xterm", paste).contains("\x1b[31m"));
}

/// The screen after these keys, with the reversed cells in brackets.
fn reversed(keys: &str) -> String {
    let mut editor = Editor::with_config(Config::default());
    editor.variables_mut().enable_active_region = true;
    editor.history_mut().extend(["first line", "second one (b)"]);
    let mut out = Vec::new();
    editor.resized(40, 10, &mut out);
    let _ = editor.begin("> ", &mut out);
    for key in keys.bytes() {
        let _ = editor.feed(&[key], &mut out);
    }
    let mut screen = vt100::Parser::new(10, 40, 0);
    screen.process(&out);
    let cells = (0..40).filter_map(|column| screen.screen().cell(0, column));
    let text: String =
        cells.map(|it| if it.inverse() { format!("[{}]", it.contents()) } else { it.contents().to_owned() }).collect();
    text.replace("][", "").trim_end().to_owned()
}

#[test]
fn the_region_is_shown_where_gnu_readline_shows_it() {
    for (keys, shown) in [
        ("one two\0\x1bb", ">onetwo"),
        ("one two\0\x1bb\x18\x18", ">one[two]"),
        ("one two\0\x1bb\x18\x18x", ">onetwox"),
        ("x\x1b[200~abc\x1b[201~", ">x[abc]"),
        ("x\x1b[200~abc\x1b[201~\x02", ">xabc"),
        ("one two\x17\x19", ">onetwo"),
        ("\x1bpne\r", ">secondo[ne](b)"),
        ("\x1bpne\r\x06", ">secondon[e](b)"),
        ("\x1bpne\r\x06\x06", ">secondone(b)"),
        ("\x1bpsec\r", ">secondone(b)"),
    ] {
        assert_eq!(reversed(keys).replace(' ', ""), shown, "{keys:?}");
    }
    let mut editor = Editor::new();
    editor.variables_mut().enable_active_region = true;
    editor.parse_and_bind("\"\\C-xs\": history-substring-search-backward").unwrap();
    editor.add_history("second one (b)");
    let mut out = Vec::new();
    let _ = editor.begin("> ", &mut out);
    let _ = editor.feed(b"one\x18s", &mut out);
    assert_eq!((editor.line_buffer(), editor.point()), (&b"second one (b)"[..], 7));
    assert!(!out.windows(4).any(|part| part == b"\x1b[7m"), "this search shows no region");
}
