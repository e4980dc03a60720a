//! Completion of file names, in directories of the tests' own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use ossature::readline::{Editor, Step};

/// A directory with files, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ossature-filename-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("sub-folder")).unwrap();
        for file in ["alpha.txt", "alpine", "Beta", "under_score", ".hidden"] {
            fs::write(path.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("sub-folder", path.join("linked")).unwrap();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// The line after `start` was completed in this directory.
    fn completed(&self, settings: &[&str], start: &str) -> String {
        let (line, _) = self.keys(settings, start, b"\t\r");
        line.strip_prefix(&format!("{}/", self.path().display())).unwrap_or(&line).to_owned()
    }

    /// The line after `start` and these keys in this directory, and the output to the terminal.
    fn keys(&self, settings: &[&str], start: &str, keys: &[u8]) -> (String, String) {
        let mut editor = Editor::new();
        // A path is one word.
        editor.set_completer_delims(" ");
        for setting in settings {
            editor.parse_and_bind(setting).unwrap();
        }
        let mut out = Vec::new();
        assert_eq!(editor.begin("> ", &mut out), Step::More);
        let typed = [format!("{}/{start}", self.path().display()).as_bytes(), keys].concat();
        let Step::Line(line) = editor.feed(&typed, &mut out) else { panic!("no line") };
        (String::from_utf8(line).unwrap(), String::from_utf8_lossy(&out).into_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_all_names_have_in_common_is_inserted() {
    let folder = Folder::new("common");
    assert_eq!(folder.completed(&[], "al"), "alp");
    assert_eq!(folder.completed(&[], "alph"), "alpha.txt");
    assert_eq!(folder.completed(&[], "none"), "none");
}

#[test]
fn folders_get_a_slash_and_links_to_folders_where_wanted() {
    let folder = Folder::new("marks");
    assert_eq!(folder.completed(&[], "sub"), "sub-folder/");
    assert_eq!(folder.completed(&["set mark-directories off"], "sub"), "sub-folder");
    assert_eq!(folder.completed(&[], "lin"), "linked");
    assert_eq!(folder.completed(&["set mark-symlinked-directories on"], "lin"), "linked/");
}

#[test]
fn hidden_files_match_unless_told_otherwise() {
    let folder = Folder::new("hidden");
    let shown = |settings: &[&str], start: &str| folder.keys(settings, start, b"\x1b?\r").1;
    assert!(shown(&[], "").contains(".hidden"));
    assert!(!shown(&["set match-hidden-files off"], "").contains(".hidden"));
    assert_eq!(folder.completed(&["set match-hidden-files off"], ".h"), ".hidden");
}

#[test]
fn case_and_dashes_are_ignored_where_wanted() {
    let folder = Folder::new("case");
    assert_eq!(folder.completed(&[], "be"), "be");
    assert_eq!(folder.completed(&["set completion-ignore-case on"], "be"), "Beta");
    let both = ["set completion-ignore-case on", "set completion-map-case on"];
    assert_eq!(folder.completed(&both, "UNDER-"), "under_score");
    assert_eq!(folder.completed(&both[..1], "UNDER-"), "UNDER-");
}

#[test]
fn lists_show_names_without_their_folders_and_with_marks() {
    let folder = Folder::new("list");
    let (_, shown) = folder.keys(&[], "", b"\x1b?\r");
    assert!(shown.contains("sub-folder/") && shown.contains("linked/"), "{shown}");
    assert!(!shown.contains("/alpha.txt"), "{shown}");
    let (_, shown) = folder.keys(&["set visible-stats on"], "", b"\x1b?\r");
    assert!(shown.contains("linked@"), "{shown}");
}

/// The line after these keys with file names that contain blanks and quotes, in the directory of the test.
fn quoted(set: impl Fn(&mut Editor), before: &str, keys: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let folder = Folder::new(&format!("quoted-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    for name in ["two words", "it's", "plain", "both ways", "both days"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    let mut editor = Editor::new();
    editor.set_completer_delims(" \t\n\"'>;|&=(");
    set(&mut editor);
    let mut out = Vec::new();
    assert_eq!(editor.begin("> ", &mut out), Step::More);
    let (open, start) = keys.split_at(keys.find(char::is_alphabetic).unwrap());
    let path = folder.path().display().to_string();
    let Step::Line(line) = editor.feed(format!("{before}{open}{path}/{start}\r").as_bytes(), &mut out) else {
        panic!("no line")
    };
    String::from_utf8(line).unwrap().replace(&format!("{path}/"), "")
}

/// As in GNU readline with its variables of the same names, except that no blank follows.
#[test]
fn names_with_blanks_and_quotes_get_quotes_where_the_program_says_so() {
    let on = |editor: &mut Editor| {
        editor.set_completer_quotes("\"'");
        editor.set_filename_quotes(" \t\"'");
    };
    assert_eq!(quoted(on, "", "two\t"), "\"two words\"");
    assert_eq!(quoted(on, "", "\"two w\t"), "\"two words\"");
    assert_eq!(quoted(on, "", "'two w\t"), "\"two words\"");
    assert_eq!(quoted(on, "", "it\t"), "\"it's\"");
    assert_eq!(quoted(on, "", "pla\t"), "plain");
    assert_eq!(quoted(on, "", "\"pla\t"), "\"plain\"");
    assert_eq!(quoted(on, "", "\"sub\t"), "\"sub-folder/");
    assert_eq!(quoted(on, "\"a b\" ", "two\t"), "\"a b\" \"two words\"");
    assert_eq!(quoted(on, "", "bot\tw\t"), "\"both ways\"", "what both have in common has a blank");
    assert_eq!(quoted(on, "", "bot\x1b*"), "\"both days\" \"both ways\" ");
    let menu = |editor: &mut Editor| {
        on(editor);
        editor.parse_and_bind("tab: menu-complete").unwrap();
    };
    assert_eq!(quoted(menu, "", "bot\t"), "\"both days\"");
    assert_eq!(quoted(menu, "", "'bot\t\t"), "\"both ways\"");
}

#[test]
fn names_are_not_quoted_by_default_but_a_quote_before_the_word_is_closed() {
    let off = |_: &mut Editor| {};
    assert_eq!(quoted(off, "", "two\t"), "two words");
    assert_eq!(quoted(off, "", "\"pla\t"), "\"plain\"");
    assert_eq!(quoted(off, "", "'pla\t"), "'plain'");
    assert_eq!(quoted(off, "", "\"two w\t"), "\"two w", "the word is `w`, of which there is none");
    assert_eq!(quoted(off, "", "\"plax\x02\t"), "\"plainx", "only at the end of the line");
    assert_eq!(quoted(off, "", "\"sub\t"), "\"sub-folder/", "a name in the folder may follow");
}
