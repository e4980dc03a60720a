//! Init files as a program reads them: where they are found, what they include, which lines are reported.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ossature::ErrorKind;
use ossature::readline::{BellStyle, EditingMode, Editor, KeymapName, Step};
use ossature::sys::errno::Errno;

/// A directory that is removed with its files.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-inputrc-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The bad lines of a file as text, each without the directory.
fn bad(editor: &mut Editor, folder: &Folder, path: &Path) -> Vec<String> {
    let prefix = format!("{}/", folder.0.display());
    editor.read_init_file(Some(path)).unwrap().iter().map(|error| error.to_string().replace(&prefix, "")).collect()
}

#[test]
fn a_bad_line_is_reported_with_file_and_line_and_the_rest_counts() {
    let folder = Folder::new("bad");
    let path = folder.file(
        "rc",
        "# a comment\n\nset bell-style none\nset no-such-variable on\n\"x: yank\nfoo-bar: yank\n\"y\": no-such-command\n\
         \"z\": \"open\nset bell-style loud\n$unknown\nset comment-begin //\n",
    );
    let mut editor = Editor::new();
    let errors = editor.read_init_file(Some(&path)).unwrap();
    assert_eq!(errors.iter().map(|error| error.line()).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9, 10]);
    assert!(errors.iter().all(|error| error.file() == Some(&path)));
    let first = errors[0].to_string();
    assert_eq!(first, format!("{}: line 4: set no-such-variable: unknown variable", path.display()));
    assert_eq!(editor.variables().bell_style, BellStyle::None);
    assert_eq!(editor.variables().comment_begin, b"//", "the last line");
}

#[test]
fn a_line_of_the_program_is_reported_too() {
    let mut editor = Editor::new();
    editor.parse_and_bind("SET Editing-Mode VI").unwrap();
    assert_eq!(editor.variables().editing_mode, EditingMode::Vi);
    assert_eq!(editor.variables().keymap, KeymapName::ViInsert);
    editor.parse_and_bind("").unwrap();
    editor.parse_and_bind("  # a comment").unwrap();
    let error = editor.parse_and_bind("set keymap nowhere\nset bell-style visible").unwrap_err();
    assert_eq!(error.to_string(), "set keymap: the variable cannot have the value `nowhere`");
    assert_eq!((error.file(), error.line()), (None, 1));
    assert_eq!(editor.variables().bell_style, BellStyle::Visible, "the line after it");
    assert_eq!(ossature::Error::from(error).kind(), ErrorKind::InvalidInput);
    let long = format!("\"{}\": yank", "x".repeat(100_000));
    assert!(editor.parse_and_bind(&long).unwrap_err().to_string().contains("256"));
}

#[test]
fn conditions_span_the_lines_of_a_program_and_end_with_a_file() {
    let folder = Folder::new("conditions");
    let mut editor = Editor::new();
    for line in ["$if mode=vi", "set comment-begin A", "$else", "set comment-begin B", "$endif"] {
        editor.parse_and_bind(line).unwrap();
    }
    assert_eq!(editor.variables().comment_begin, b"B");
    let open = folder.file("open", "$if mode=vi\nset comment-begin C\n$if mode=vi\n");
    assert_eq!(bad(&mut editor, &folder, &open), ["open: line 4: the file ends with 2 $if without $endif"]);
    editor.parse_and_bind("set comment-begin D").unwrap();
    assert_eq!(editor.variables().comment_begin, b"D");
    let inner = folder.file("inner", "$endif\n$else\n");
    let outer = folder
        .file("outer", &format!("$if mode=emacs\n$include {}\n$else\nset comment-begin E\n$endif\n", inner.display()));
    assert_eq!(
        bad(&mut editor, &folder, &outer),
        ["inner: line 1: $endif without $if", "inner: line 2: $else without $if"],
        "a file cannot close what the file around it opened"
    );
    assert_eq!(editor.variables().comment_begin, b"D");
}

#[test]
fn files_are_included_and_a_file_that_includes_itself_ends() {
    let folder = Folder::new("include");
    let inner = folder.file("inner", "set comment-begin I\nset bell-style loud\n");
    let outer =
        folder.file("outer", &format!("$include   {}  \nset nonsense y\n$include /nonexistent\n", inner.display()));
    let mut editor = Editor::new();
    let errors = bad(&mut editor, &folder, &outer);
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[0].starts_with("inner: line 2: ") && errors[1].starts_with("outer: line 2: "), "{errors:?}");
    assert!(errors[2].contains("/nonexistent"), "{errors:?}");
    assert_eq!(editor.variables().comment_begin, b"I");

    let path = folder.0.join("again");
    fs::write(&path, format!("$include {0}\n$include {0}\nset comment-begin Z\n", path.display())).unwrap();
    let errors = bad(&mut editor, &folder, &path);
    assert!(!errors.is_empty() && errors.iter().all(|error| error.contains("include itself")), "{:?}", errors.first());
    assert_eq!(editor.variables().comment_begin, b"Z");
}

#[test]
fn files_of_windows_and_without_a_last_newline_are_read() {
    let folder = Folder::new("ends");
    let mut editor = Editor::new();
    let path = folder.file("rc", "set expand-tilde on\r\n\"\\C-xq\": yank\r\nset comment-begin x");
    assert_eq!(bad(&mut editor, &folder, &path), [""; 0]);
    assert!(editor.variables().expand_tilde);
    assert_eq!(editor.variables().comment_begin, b"x");
}

#[test]
fn a_missing_file_is_an_error_and_a_read_one_is_read_again() {
    let folder = Folder::new("again-later");
    let mut editor = Editor::new();
    let error = editor.read_init_file(Some(&folder.0.join("none"))).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::NOENT), "{error}");
    assert!(error.to_string().contains("none"), "{error}");
    assert_eq!(editor.read_init_file(Some(&folder.0)).unwrap_err().errno(), Some(Errno::ISDIR));
    let path = folder.file("rc", "set comment-begin one\n");
    editor.read_init_file(Some(&path)).unwrap();
    fs::write(&path, "set comment-begin two\n").unwrap();
    editor.read_init_file(None).unwrap();
    assert_eq!(editor.variables().comment_begin, b"two");
    let huge = folder.file("huge", &"# ".repeat(3 << 20));
    assert_eq!(editor.read_init_file(Some(&huge)).unwrap_err().kind(), ErrorKind::TooLong);
    assert_eq!(editor.variables().comment_begin, b"two");
}

#[test]
fn part_that_reads_its_own_file() {
    if std::env::var_os("OSSATURE_INPUTRC").is_none() {
        return; // only the test below looks at the answer
    }
    let mut editor = Editor::new();
    let answer = match editor.read_init_file(None) {
        Ok(_) => String::from_utf8(editor.variables().comment_begin.clone()).unwrap(),
        Err(error) => format!("{:?}", error.errno()),
    };
    println!("[{answer}]");
}

#[test]
fn the_file_is_found_by_the_environment() {
    let folder = Folder::new("home");
    folder.file(".inputrc", "set comment-begin HOME\n");
    let own = folder.file("own", "set comment-begin OWN\n");
    let ask = |inputrc: Option<&Path>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "inputrc::part_that_reads_its_own_file", "--nocapture"]);
        command.env("HOME", &folder.0).env("OSSATURE_INPUTRC", "1").env_remove("INPUTRC").stderr(Stdio::null());
        inputrc.map(|path| command.env("INPUTRC", path));
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        said.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect("an answer").0.to_owned()
    };
    assert_eq!(ask(Some(&own)), "OWN");
    assert_eq!(ask(None), "HOME");
    assert!(ask(Some(Path::new("/nonexistent"))).starts_with("Some("), "no other file is taken instead");
}

#[test]
fn history_size_limits_the_list_in_memory() {
    let folder = Folder::new("size");
    let path = folder.file("rc", "set history-size 10\n");
    let lines = folder.file("history", &(0..20).map(|n| format!("item {n}\n")).collect::<String>());
    let mut editor = Editor::new();
    assert_eq!(editor.read_init_file(Some(&path)).unwrap(), []);
    editor.history_mut().load(&lines).unwrap();
    assert_eq!((editor.history().len(), editor.history().get(0)), (10, Some(&b"item 10"[..])));
    let mut out = Vec::new();
    let _ = editor.begin("", &mut out);
    let _ = editor.feed(b"last input\r", &mut out);
    editor.history().save(&lines).unwrap();
    let saved = fs::read_to_string(&lines).unwrap();
    assert_eq!((saved.lines().count(), saved.lines().last()), (10, Some("last input")));
    editor.variables_mut().history_size = Some(2);
    let _ = editor.begin("", &mut out);
    assert_eq!(editor.history().len(), 2);
    editor.parse_and_bind("set history-size -1").unwrap();
    editor.history_mut().set_max_entries(Some(1));
    editor.parse_and_bind("set bell-style none").unwrap();
    assert_eq!(editor.history().max_entries(), Some(1), "the program's own limit stays");
}

#[test]
fn home_and_end_of_the_terminal_are_bound() {
    use ossature::readline::{Config, Step};
    for (terminal, home) in [("linux", "\x1b[1~"), ("rxvt-unicode", "\x1b[7~"), ("xterm", "\x1b[H")] {
        let mut config = Config::default();
        config.terminal = terminal.to_owned();
        let (mut editor, mut out) = (Editor::with_config(config), Vec::new());
        let _ = editor.begin("", &mut out);
        assert_eq!(editor.feed(format!("b{home}a\r").as_bytes(), &mut out), Step::Line(b"ab".to_vec()), "{terminal}");
    }
}

#[test]
fn a_file_that_is_read_again_begins_the_editing_mode_anew() {
    let folder = Folder::new("anew");
    let path = folder.file("rc", "set editing-mode vi\nset keymap vi-command\n\"Q\": re-read-init-file\n");
    let mut editor = Editor::new();
    assert_eq!(editor.read_init_file(Some(&path)).unwrap(), []);
    assert_eq!(editor.variables().keymap, KeymapName::ViCommand);
    let mut out = Vec::new();
    let mut line = |editor: &mut Editor, keys: &[u8]| {
        let _ = editor.begin("", &mut out);
        editor.feed(keys, &mut out)
    };
    // `x` is text behind the command, which is one of the command mode.
    assert_eq!(line(&mut editor, b"ab\x1bQx\r"), Step::Line(b"axb".to_vec()));
    assert_eq!(editor.variables().keymap, KeymapName::ViInsert, "a later binding is one of the mode");
    folder.file("rc", "set editing-mode emacs\n");
    assert_eq!(line(&mut editor, b"ab\x1bQ\x01x\r"), Step::Line(b"xab".to_vec()));
    assert_eq!(line(&mut editor, b"ab\x01y\r"), Step::Line(b"yab".to_vec()));
    editor.parse_and_bind("set editing-mode vi").unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(line(&mut editor, b"ab\x1bQx\r"), Step::Line(b"axb".to_vec()), "whether or not the file is there");
}
