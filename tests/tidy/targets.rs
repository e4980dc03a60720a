//! A test program with its own main must not run under libtest's runner, which would find no tests in it and succeed.

use std::fs;
use std::path::Path;

/// The test programs of a package that have a main and that Cargo would run as libtest's.
fn without_their_runner(sources: &[(String, String)], manifest: &str) -> Vec<String> {
    let has_main = |text: &str| text.lines().any(|line| line.starts_with("fn main()"));
    let runs_itself = |name: &str| {
        let section = manifest.split("[[test]]").find(|section| section.contains(&format!("name = \"{name}\"")));
        section.is_some_and(|section| section.contains("harness = false"))
    };
    let named = |path: &str| {
        let path = Path::new(path);
        let named_by = if path.ends_with("main.rs") { path.parent() } else { Some(path) };
        named_by.and_then(Path::file_stem).unwrap_or_default().to_string_lossy().into_owned()
    };
    let wrong = sources.iter().filter(|(path, text)| has_main(text) && !runs_itself(&named(path)));
    wrong.map(|(path, _)| format!("{path}: has a main, and no `harness = false` in its manifest")).collect()
}

/// The root files of a package's test programs.
fn roots(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).expect("the tests' folder").flatten().map(|entry| entry.path());
    let files = entries.map(|path| if path.is_dir() { path.join("main.rs") } else { path });
    let read = |path: std::path::PathBuf| Some((path.to_string_lossy().into_owned(), fs::read_to_string(&path).ok()?));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).filter_map(read).collect()
}

#[test]
fn every_test_program_with_a_main_runs_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for package in [root.to_path_buf(), root.join("sys")] {
        let manifest = fs::read_to_string(package.join("Cargo.toml")).expect("a manifest");
        let sources = roots(&package.join("tests"));
        assert!(sources.iter().any(|(_, text)| text.contains("\nfn main()")), "some have one");
        assert_eq!(without_their_runner(&sources, &manifest), <[String; 0]>::default());
    }
}

#[test]
fn a_planted_main_is_found() {
    let sources = [("tests/apart.rs".to_owned(), "fn main() {}\n".to_owned())];
    let good = "[[test]]\nname = \"apart\"\nharness = false\n";
    assert!(without_their_runner(&sources, good).is_empty());
    let bad = "[[test]]\nname = \"other\"\nharness = false\n[[test]]\nname = \"apart\"\n";
    assert_eq!(without_their_runner(&sources, bad).len(), 1);
    let in_a_folder = [("tests/apart/main.rs".to_owned(), "fn main() {}\n".to_owned())];
    assert!(without_their_runner(&in_a_folder, good).is_empty());
    assert_eq!(without_their_runner(&in_a_folder, "").len(), 1);
}
