//! Completion of names of files, in folders of the tests' own.

use std::fs;
use std::path::{Path, PathBuf};

use ossature::readline::{Editor, Step};

/// A folder with files, removed at the end.
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

    /// The line after `start` was completed in this folder.
    fn completed(&self, settings: &[&str], start: &str) -> String {
        let (line, _) = self.keys(settings, start, b"\t\r");
        line.strip_prefix(&format!("{}/", self.path().display())).unwrap_or(&line).to_owned()
    }

    /// The line that these keys make of a path in this folder, and what was shown.
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
