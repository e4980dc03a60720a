//! Tests of single lines of init files against GNU readline itself, if the machine has it.

use std::io::Write;
use std::process::{Command as Program, Stdio};

use super::Settings;
use crate::readline::keymap::KeymapName;

const SCRIPT: &str = include_str!("../../../tests/readline/gnu.py");

/// The dumps that are compared: the bindings, or the variables.
const BOUND: &[&str] = &["function", "macro"];
const VARIABLES: &[&str] = &["variable"];

/// Returns what GNU readline 8.2 dumps at first and after each line; `None` with a note if it is not installed.
fn gnu(keymap: &str, kinds: &[&str], lines: &[&[u8]]) -> Option<Vec<String>> {
    let started = Program::new("python3")
        .args(["-c", SCRIPT])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut python) = started else {
        println!("SKIPPED: no python3 to ask");
        return None;
    };
    let hex = |line: &&[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let text = format!("{keymap} {}\n{}\n", kinds.join(" "), lines.iter().map(hex).collect::<Vec<_>>().join("\n"));
    // A python3 without the library ends before it reads.
    let _ = python.stdin.take().unwrap().write_all(text.as_bytes());
    let said = python.wait_with_output().unwrap().stdout;
    let Some(said) = said.strip_prefix(b"8.2\n") else {
        println!("SKIPPED: python3 finds no GNU readline 8.2");
        return None;
    };
    // Both print bytes of the upper half as they are in some places, in octal in others.
    Some(octal(said).split("=\n").map(str::to_owned).collect())
}

fn octal(text: &[u8]) -> String {
    text.iter().map(|&byte| if byte < 0x80 { char::from(byte).to_string() } else { format!("\\{byte:o}") }).collect()
}

/// Returns the same dumps of this library.
fn ours(settings: &Settings, kinds: &[&str]) -> Vec<String> {
    if kinds == VARIABLES {
        return vec![variables(settings)];
    }
    let (keymap, convert_meta) = (settings.variables.keymap, settings.variables.convert_meta);
    let functions = settings.keymaps.dump_functions(keymap, true, convert_meta);
    let functions = [b"\n".to_vec(), functions].concat(); // GNU readline begins with an empty line
    // GNU readline writes macros with an escape whatever `convert-meta` says.
    let macros = settings.keymaps.dump_macros(keymap, true, false);
    vec![octal(&functions), octal(&macros)]
}

fn variables(settings: &Settings) -> String {
    let variables = settings.variables.iter().filter(|(name, _)| !name.starts_with("active-region"));
    let mut shown = Vec::new();
    for (name, value) in variables {
        shown.extend([b"set ", name.as_bytes(), b" ", &value, b"\n"].concat());
    }
    octal(&shown)
}

/// Asserts that the dumps of this library and of GNU readline agree at first and after each line.
#[track_caller]
fn compare(keymap: KeymapName, kinds: &[&str], lines: &[&[u8]]) {
    let Some(said) = gnu(keymap.name(), kinds, lines) else { return };
    let mut settings = Settings::default();
    settings.variables.keymap = keymap;
    settings.terminal = String::from("xterm");
    let mut steps = said.chunks_exact(kinds.len());
    let mut check = |settings: &Settings, what: String| {
        let theirs = steps.next().expect("GNU readline dumps after each line");
        for (ours, theirs) in ours(settings, kinds).iter().zip(theirs) {
            let lacks: Vec<_> = theirs.lines().filter(|line| !ours.lines().any(|own| own == *line)).collect();
            let adds: Vec<_> = ours.lines().filter(|line| !theirs.lines().any(|their| their == *line)).collect();
            assert!(lacks.is_empty() && adds.is_empty(), "{what}: lacks {lacks:#?}, adds {adds:#?}");
            assert!(ours == theirs, "{what}: in another order\n{ours}\n{theirs}");
        }
    };
    check(&settings, format!("the defaults of {keymap:?}"));
    for line in lines {
        let _ = settings.parse_and_bind(line);
        check(&settings, line.escape_ascii().to_string());
    }
}

#[test]
fn default_keymaps_are_those_of_gnu_readline() {
    for keymap in
        [KeymapName::Emacs, KeymapName::EmacsMeta, KeymapName::EmacsCtlx, KeymapName::ViInsert, KeymapName::ViCommand]
    {
        compare(keymap, BOUND, &[]);
    }
}

/// Bindings in every form, valid and invalid.
const BINDINGS: &[&[u8]] = &[
    br#""\C-x\C-y": kill-line"#,
    b"Control-k: undo",
    b"C-K: yank",
    b"C-Meta-z: yank",
    b"Meta-Control-q: yank",
    b"M-a: yank",
    b"Meta-Rubout: yank",
    b"DEL: undo",
    b"ESC: undo",
    b"Return: undo",
    b"LFD: undo",
    b"SPC: undo",
    b"tab: yank",
    b"SPACE:   kill-line   ",
    b"xyz: yank",
    b"C-: yank",
    b"M-: yank",
    b": yank",
    b"x:",
    b"x yank",
    b"x",
    br#""x" yank"#,
    br#""x": yank kill-line"#,
    br#""x":yank"#,
    br#""x"   :   yank"#,
    br#""x: yank"#,
    br#""x":"#,
    br#""x": "abc"#,
    br#""x": "abc""#,
    br#""x": "abc" def"#,
    br#""x": 'a"b'"#,
    br#"x: "m""#,
    br#""\M-x": yank"#,
    br#""\M-\C-x": yank"#,
    br#""\C-a\C-b": undo"#,
    br#""\M-ab": undo"#,
    br#""\e\e\e": undo"#,
    br#""\101": undo"#,
    br#""\x4": undo"#,
    br#""\xzz": undo"#,
    br#""\8": undo"#,
    br#""\q": kill-line"#,
    br#""\a\b\f\n\r\t\v": undo"#,
    br#""\"": undo"#,
    br#""\\": undo"#,
    br#""\1234": yank"#,
    br#""\C-": undo"#,
    br#""\C": undo"#,
    br#""\": undo"#,
    br#""": undo"#,
    "\"\u{e9}\": undo".as_bytes(),
    "\u{e9}: undo".as_bytes(),
    "\"\\C-\u{e9}\": yank".as_bytes(),
    br"\C-\M-z: kill-word",
    br#""\C-x\C-t": "one\C-atwo\e\"q\n""#,
    br#""\C-x\C-t": vi-bWord"#,
    br#""\C-x\C-u": vi-eword"#,
    br#""\C-x\C-t": no-such"#,
    br#""\C-x\C-t": Kill-Line"#,
    br#""\C-x": undo"#,
    br#""\C-xq": undo"#,
    br#""\e": yank"#,
    br#""\eb": yank"#,
    br#"  "y": undo"#,
    br#" # "y": yank"#,
    b"#y: yank",
    br#""y" : # yank"#,
    br#""y": undo # comment"#,
    b"Control-]: undo",
    b"C-1: undo",
    b"Meta-a-b: undo",
    b"a-b: yank",
    b"-: yank",
    b"C--: yank",
    b"foo-C-y: undo",
    b"Contro-y: undo",
    b"Ret : undo",
    b"C-x y: undo",
    br#""abc":  self-insert"#,
    br#""q""#,
    b"\"q\":\t\"x\"",
    br#""\C-\M-\C-x": yank"#,
    br#""\e\C-\M-x": yank"#,
    br#""\C-\101": yank"#,
    br#"C-\: yank"#,
    br#"C-": yank"#,
    br#"'x': yank"#,
    br#""x"y: yank"#,
    br#""\C-xp": "\"#,
    br#""\C-xp": "\"""#,
    br#""\C-xn": 'a\"b\'c'"#,
    br#""\C-xm": "a\M-b\351\C-\M-c\200\177\e\\ \"\'z""#,
    b"set keymap vi-insert",
    b"x: yank",
    br#""\eq": yank"#,
    br#""\e": kill-line"#,
    b"set keymap emacs-ctlx",
    b"y: yank",
    b"set keymap emacs-meta",
    br#""\C-zy": yank"#,
];

#[test]
fn bindings_mean_what_they_mean_to_gnu_readline() {
    compare(KeymapName::Emacs, BOUND, BINDINGS);
}

#[test]
fn bindings_with_convert_meta_mean_what_they_mean_to_gnu_readline() {
    let lines = [
        &b"set convert-meta on"[..],
        br#""\M-x": kill-line"#,
        b"M-X: kill-line",
        "\"\u{e9}\": kill-line".as_bytes(),
        br#""\C-\M-b": undo"#,
        br#""\M-\e": kill-line"#,
        br#""\M-\C-x": "\M-a\M-\C-b""#,
        br#""\x41\xe9": undo"#,
        br#""\M-ab": undo"#,
        b"M-SPC: kill-word",
        b"C-M-t: kill-word",
        br#""\C-M-g": undo"#,
        br#""\351": yank-pop"#,
        b"set convert-meta off",
    ];
    compare(KeymapName::Emacs, BOUND, &lines);
}

#[test]
fn variables_take_what_they_take_in_gnu_readline() {
    let defaults = Settings::default().variables;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for (name, before) in defaults.iter().filter(|(name, _)| !name.starts_with("active-region")) {
        // Numbers that do not fit into an `int` are left out: GNU readline keeps their lower bits.
        for value in [
            "On",
            "oN",
            "1",
            "yes",
            "0",
            "off",
            "",
            "1x",
            "on x",
            "  on ",
            " \"on\"",
            "2",
            "none",
            "visible",
            "AUDIBLE",
            "vi",
            "EMACS",
            "vim",
            "vi-move",
            "emacs-ctlx",
            "-5",
            "12abc",
            "+7",
            " 8 ",
            "\"9\"",
            "0x10",
            "\"a b\"",
            "a b  ",
            "\"x",
            "\"a\\\"b\"",
            "'q' r",
            "\"\\1\\e[31m\\2E\"",
            "\\C-x\\x41",
        ] {
            lines.push(format!("set {} {value}", name.to_uppercase()).into_bytes());
        }
        lines.push([b"set ", name.as_bytes(), b" ", &before].concat());
        lines.push(b"set editing-mode emacs".to_vec());
    }
    lines.extend([b"set".to_vec(), b"set nonsense on".to_vec(), b"set search-ignore-case on".to_vec()]);
    lines.push(b"set isearch-terminators \"\\C-[\\C-J\"".to_vec());
    compare(KeymapName::Emacs, VARIABLES, &lines.iter().map(Vec::as_slice).collect::<Vec<_>>());
}

#[test]
fn conditions_hold_when_they_hold_for_gnu_readline() {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for test in [
        "mode=emacs",
        "mode=vi",
        "mode=EMACS",
        "MODE=emacs",
        "mode = emacs",
        "mode==emacs",
        "mode!=vi",
        "mode=",
        "mode",
        "mode=emacs foo",
        "term=xterm",
        "term=XTERM",
        "term=vt100",
        "term = xterm",
        "term!=vt100",
        "other",
        "Other",
        "python",
        "",
        "other foo",
        "application=other",
        "version=8.2",
        "version == 8.2",
        "version=8",
        "version>8",
        "version >8.1",
        "version >= 8.2",
        "version<= 8.2",
        "version < 8.2",
        "version != 8.2",
        "version<9",
        "version <10.0",
        "version > 8.10",
        "version=8.02",
        "version 8.2",
        "version",
        "version ~ 8",
        "version = x",
        "version =",
        "Version = 8.2",
        "version=8.2.1",
        "version=8.2 foo",
        "version !8",
        "version =>8",
        "editing-mode=emacs",
        "editing-mode == emacs",
        "editing-mode != vi",
        "editing-mode == vi",
        "expand-tilde",
        "expand-tilde=off",
        "expand-tilde = off",
        "expand-tilde == on",
        "expand-tilde != on",
        "bell-style = audible",
        "bell-style == AUDIBLE",
        "comment-begin == \"#\"",
        "comment-begin == # x",
        "keyseq-timeout = 500",
        "keyseq-timeout > 100",
        "keymap = emacs",
        "no-such = x",
        "expand-tilde >on",
        "EXPAND-TILDE == off",
        "expand-tilde== Off",
        "expand-tilde =0",
        "history-size = 0",
        "bell-style =",
        "bell-style!=x",
    ] {
        lines.push(b"set vi-ins-mode-string none".to_vec());
        lines.push(format!("$if {test}").into_bytes());
        for line in ["set vi-ins-mode-string yes", "$else", "set vi-ins-mode-string no", "$endif"] {
            lines.push(line.as_bytes().to_vec());
        }
    }
    for line in [
        "$else",
        "$endif",
        "$if mode=emacs",
        "$if mode=vi",
        "set bell-style none",
        "$else",
        "set bell-style visible",
        "$endif",
        "set comment-begin x",
        "$endif",
        "$if mode=vi",
        "$if mode=emacs",
        "set comment-begin A",
        "$else",
        "set comment-begin B",
        "$endif",
        "$else",
        "set comment-begin C",
        "$endif",
        "$if mode=emacs",
        "set comment-begin D",
        "$else",
        "set comment-begin E",
        "$else",
        "set comment-begin F",
        "$endif",
        "$bogus x",
        "$",
        "$ if mode=emacs",
        "$ENDIF",
        "  $if mode=vi",
        "  set comment-begin G",
        "  $endif",
        "$ifmode=vi",
        "$include /nonexistent/file",
        "$include",
        "set comment-begin H",
    ] {
        lines.push(line.as_bytes().to_vec());
    }
    let mut lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    lines.push(b"$if term=xterm");
    lines.push(b"set comment-begin T");
    lines.push(b"$endif");
    compare(KeymapName::Emacs, VARIABLES, &lines);
}
