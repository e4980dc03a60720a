//! The rules of the project that a machine can check: behaviours, layers, unsafe code, docs, leftovers.
//!
//! Each rule is a function from a file's path and text to its complaints, so that [`every_rule_finds_a_planted_defect`]
//! can try it on a file that breaks it.

#[path = "tidy/behaviour.rs"]
mod behaviour;
#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/examples.rs"]
mod examples;
#[path = "tidy/guide.rs"]
mod guide;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/packages.rs"]
mod packages;
#[path = "tidy/prose.rs"]
mod prose;
#[path = "tidy/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use circles::{file_circles, unlisted_file_circles};
use layers::{WITH_SOURCE, circles, layers, module, raw_stays_inside, unlisted_circles, word};

/// The faults, each with its place.
type Complaints = Vec<String>;

/// A rule over one file: its path from the root of the repository, and its text.
type Rule = fn(&str, &str) -> Complaints;

// ---- unsafe code --------------------------------------------------------------------------------------------------

/// Whether `line` begins an unsafe block, impl or extern block.
fn begins_unsafe(line: &str) -> bool {
    line.contains("unsafe {") || line.contains("unsafe impl") || line.contains("unsafe extern \"C\" {")
}

fn unsafe_is_argued(path: &str, text: &str) -> Complaints {
    let lines: Vec<&str> = text.lines().collect();
    let code = code_of(text);
    let mut wrong = Vec::new();
    for (n, _) in code.iter().enumerate().filter(|(_, line)| begins_unsafe(line)) {
        // The argument is the nearest comment above, at most six lines of the same statement away.
        let above: Vec<&str> = lines[..n].iter().rev().map(|line| line.trim_start()).collect();
        let Some(gap) = above.iter().take(7).position(|line| line.starts_with("//")) else {
            wrong.push(format!("{path}:{}: unsafe without a SAFETY argument above it", n + 1));
            continue;
        };
        let mut comment = above[gap..].iter().take_while(|line| line.starts_with("//"));
        if !comment.any(|line| line.contains("SAFETY: ") || line.contains("# Safety")) {
            wrong.push(format!("{path}:{}: the comment above this unsafe is not a SAFETY argument", n + 1));
        }
    }
    wrong
}

fn unsafe_stays_below_the_line(path: &str, text: &str) -> Complaints {
    if !path.starts_with("src/") {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    if path == "src/lib.rs" && !text.contains("#![deny(unsafe_code)]") {
        wrong.push(format!("{path}: does not deny unsafe code"));
    }
    // The file that maps files may, and the one that attaches to memory which only the transfer layer knows to be
    // of the same program.
    if !["src/mmap/map.rs", "src/multiprocessing/transfer/memory.rs"].contains(&path) {
        let code = code_of(text).into_iter().enumerate();
        let words = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
        wrong.extend(
            code.filter(|(_, line)| words(line)).map(|(n, _)| format!("{path}:{}: unsafe above the line", n + 1)),
        );
    }
    wrong
}

// ---- docs and leftovers -------------------------------------------------------------------------------------------

fn file_begins_with_its_doc(path: &str, text: &str) -> Complaints {
    let begins = text.trim_start().starts_with("//!") && text.lines().next().is_some_and(|line| line.len() > 12);
    if begins { Vec::new() } else { vec![format!("{path}: does not begin with a //! doc that says what it is for")] }
}

fn source_is_named(path: &str, text: &str) -> Complaints {
    let Some(name) = module(path, "sys/src/") else { return Vec::new() };
    let is_root = path == format!("sys/src/{name}.rs") || path == format!("sys/src/{name}/mod.rs");
    let named = text.lines().filter(|line| line.starts_with("//! Source: ")).count();
    if is_root && WITH_SOURCE.contains(&name) && named != 1 {
        return vec![format!("{path}: names its man page {named} times in its module doc, not once")];
    }
    Vec::new()
}

fn nothing_is_left_over(path: &str, text: &str) -> Complaints {
    // Put together here, so that this file does not complain of itself.
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["#[ig", "nore"],
        ["/wo", "rk/"],
        ["../sha", "red"],
        ["/tmp", "/wt"],
        ["Being wri", "tten."],
    ]
    .map(|halves| halves.concat());
    let found = |line: &str| words.iter().find(|word| line.contains(word.as_str())).cloned();
    let lines = text.lines().enumerate();
    lines.filter_map(|(n, line)| found(line).map(|word| format!("{path}:{}: {word}", n + 1))).collect()
}

fn file_is_not_too_long(path: &str, text: &str) -> Complaints {
    let lines = text.lines().count();
    if lines > 600 { vec![format!("{path}: {lines} lines: would two files be clearer than one?")] } else { Vec::new() }
}

/// The lines of a Rust text without comments and without the content of string and character literals.
fn code_of(text: &str) -> Vec<String> {
    text.lines().map(code_of_line).collect()
}

fn code_of_line(line: &str) -> String {
    let (mut code, mut rest, mut in_string) = (String::new(), line.chars().peekable(), false);
    while let Some(c) = rest.next() {
        match c {
            '\\' if in_string => drop(rest.next()),
            '"' => {
                in_string = !in_string;
                code.push(c);
            }
            _ if in_string => {}
            '\'' if rest.peek() == Some(&'"') => drop((rest.next(), rest.next())),
            '/' if rest.peek() == Some(&'/') => break,
            c => code.push(c),
        }
    }
    // A literal that names the ABI is part of the code.
    if line.contains("unsafe extern \"C\" {") { line.to_owned() } else { code }
}

// ---- the tree -----------------------------------------------------------------------------------------------------

/// The files below the root whose names end in one of `endings`, except build results and the fuzzer's finds.
fn tree(endings: &[&str]) -> Vec<(String, String)> {
    fn walk(root: &Path, dir: &Path, endings: &[&str], found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !["target", ".git", "corpus", "artifacts", "coverage"].contains(&name.as_str()) {
                walk(root, &path, endings, found);
            } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
                let short = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{short}: {error}"));
                found.push((short, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(root, root, endings, &mut found);
    found.sort();
    found
}

#[track_caller]
fn keep(rule: Rule, endings: &[&str]) {
    let files = tree(endings);
    assert!(files.len() > 5, "looked at {} files only", files.len());
    let wrong: Complaints = files.iter().flat_map(|(path, text)| rule(path, text)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const CODE: &[&str] = &[".rs"];
const TEXTS: &[&str] = &[".rs", ".md", ".toml", ".tsv", ".sh", "run", "portability", "long", "msrv", "no-std"];

#[test]
fn imports_point_left() {
    keep(layers, CODE);
}

#[test]
fn files_import_each_other_in_the_listed_circles_only() {
    assert_eq!(unlisted_file_circles(&tree(CODE)), Complaints::new());
    // By a re-export, an alias of a module, a glob, and from within an inline module.
    let files = [
        ("src/lib.rs", "pub mod a; mod e; pub use a::b::Low; fn f(_: a::c::High) {}"),
        ("src/a/mod.rs", "pub mod b; pub mod c; pub mod d; pub use b::*; pub use c::High;"),
        ("src/a/b.rs", "pub struct Low; fn f(_: crate::a::High) {}"),
        ("src/a/c.rs", "use super::d; pub struct High(d::Between);\n#[cfg(test)]\nmod tests {\n use crate::e::Top;\n}"),
        ("src/a/d.rs", "mod inner {\n    use super::super::Low;\n}\npub struct Between;"),
        ("src/e.rs", "use crate::Low; pub struct Top;"),
        ("src/model/mod.rs", "use crate::e::Top;"),
    ];
    let mut files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let circles = file_circles("src/", &files);
    let circles: Vec<_> = circles.into_iter().map(|(circle, _)| circle).collect();
    assert_eq!(circles, [["src/a/b.rs", "src/a/c.rs", "src/a/d.rs"]]);
    assert_eq!(unlisted_file_circles(&files).len(), 2, "one too many, and one that is listed");
    files[2].1 = "pub struct Low;".to_owned();
    assert_eq!(file_circles("src/", &files).len(), 0);
}

#[test]
fn modules_import_each_other_in_no_new_circle() {
    assert_eq!(unlisted_circles(&tree(CODE)), Complaints::new());
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let ring = [
        file("sys/src/shm/mod.rs", "use crate::sync::Lock;"),
        file("sys/src/sync/lock.rs", "use crate::futex::Limit;"),
        file("sys/src/futex.rs", "use crate::{errno, shm::Shm};"),
    ];
    assert_eq!(circles("sys/src/", &ring), [["futex", "shm", "sync"]]);
    assert_eq!(circles("sys/src/", &ring[..2]), Vec::<Vec<String>>::new());
}

#[test]
fn raw_is_never_re_exported() {
    keep(raw_stays_inside, CODE);
}

#[test]
fn every_unsafe_has_its_argument() {
    keep(unsafe_is_argued, CODE);
}

#[test]
fn no_unsafe_above_the_line() {
    keep(unsafe_stays_below_the_line, CODE);
}

#[test]
fn every_file_says_what_it_is_for() {
    keep(file_begins_with_its_doc, CODE);
}

#[test]
fn every_thin_module_names_its_man_page() {
    keep(source_is_named, CODE);
}

#[test]
fn nothing_is_left_for_later() {
    keep(nothing_is_left_over, TEXTS);
}

#[test]
fn no_file_is_over_600_lines() {
    keep(file_is_not_too_long, CODE);
}

#[test]
fn every_rule_finds_a_planted_defect() {
    let unargued = ["let x = ", "unsafe { f() };"].concat();
    let misargued = ["// it works\nlet x = ", "unsafe { f() };"].concat();
    let unsafe_impl = ["unsafe", " impl Send for X {}"].concat();
    let late = ["//! A file with a doc.\n// TO", "DO: finish"].concat();
    let place = ["//! See /wo", "rk/here."].concat();
    let long = "//! Long.\n".repeat(601);
    let planted: &[(Rule, &str, &str)] = &[
        (layers, "sys/src/errno.rs", "use crate::epoll::Epoll;"),
        (layers, "sys/src/epoll.rs", "use crate::poll;"),
        (layers, "sys/src/epoll.rs", "use crate::{\n    errno::{self, retry},\n    sync::Lock,\n};"),
        (layers, "sys/src/sched.rs", "fn f() { crate::shm::wait() }"),
        (layers, "sys/src/novel.rs", "use crate::errno;"),
        (layers, "sys/src/pthread.rs", "use crate::futex;"),
        (layers, "src/error.rs", "use crate::select::Poll;"),
        (layers, "src/threading/thread.rs", "use ossature_sys::shm::Shm;"),
        (layers, "src/readline/mod.rs", "use crate::multiprocessing;"),
        (layers, "src/multiprocessing/transfer/list.rs", "use crate::multiprocessing::connection::Connection;"),
        (layers, "src/multiprocessing/novel.rs", "use crate::error::Error;"),
        (raw_stays_inside, "sys/src/lib.rs", "pub mod raw;"),
        (raw_stays_inside, "sys/src/fd.rs", "pub use crate::raw::call;"),
        (unsafe_is_argued, "sys/src/fd.rs", &unargued),
        (unsafe_is_argued, "sys/src/fd.rs", &misargued),
        (unsafe_is_argued, "sys/src/fd.rs", &unsafe_impl),
        (unsafe_stays_below_the_line, "src/select.rs", &unargued),
        (unsafe_stays_below_the_line, "src/lib.rs", "//! No denial."),
        (file_begins_with_its_doc, "src/select.rs", "use std::fs;"),
        (file_begins_with_its_doc, "src/select.rs", "//! short"),
        (source_is_named, "sys/src/epoll.rs", "//! Readiness.\n"),
        (source_is_named, "sys/src/process/mod.rs", "//! Source: fork(2).\n//! Source: wait(2).\n"),
        (nothing_is_left_over, "src/select.rs", &late),
        (nothing_is_left_over, "README.md", &place),
        (file_is_not_too_long, "src/select.rs", &long),
    ];
    for (rule, path, text) in planted {
        assert!(!rule(path, text).is_empty(), "passes: {path}: {text}");
    }
    // And each lets its opposite pass.
    let argued = ["// SAFETY: f(3) has no preconditions,\n// as its page says.\nlet x = ", "unsafe { f() };"].concat();
    assert_eq!(unsafe_is_argued("sys/src/fd.rs", &argued), Complaints::new());
    assert_eq!(layers("sys/src/shm.rs", "use crate::{errno::Errno, mmap::Region};"), Complaints::new());
    assert_eq!(layers("sys/src/shm.rs", "/// Like `crate::sync`.\nuse crate::raw;"), Complaints::new());
    assert_eq!(source_is_named("sys/src/process/mod.rs", "//! Source: fork(2).\n"), Complaints::new());
    assert_eq!(unsafe_stays_below_the_line("src/select.rs", "// unsafe\nlet s = \"unsafe\";"), Complaints::new());
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

// ---- the front door -----------------------------------------------------------------------------------------------

#[test]
fn files_at_the_root_are_there_and_short() {
    let limits = [
        ("README.md", 130),
        ("ARCHITECTURE.md", 150),
        ("CONTRIBUTING.md", 60),
        ("CHANGELOG.md", 600),
        ("SECURITY.md", 60),
        ("sys/README.md", 90), // with a program and its Cargo.toml
    ];
    for (path, limit) in limits {
        let lines = read(path).unwrap_or_else(|| panic!("{path} is missing")).lines().count();
        assert!((5..=limit).contains(&lines), "{path} has {lines} lines; at most {limit}");
    }
    for (path, words) in [("LICENSE-MIT", "Permission is hereby granted"), ("LICENSE-APACHE", "Apache License")] {
        for path in [path.to_owned(), format!("sys/{path}"), format!("redis/{path}")] {
            assert!(read(&path).is_some_and(|text| text.contains(words)), "{path} is missing or not its text");
        }
    }
}

#[test]
fn readme_gives_two_commands_and_blocks_that_are_tested() {
    let readme = read("README.md").expect("README.md is there");
    let commands: Vec<&str> = readme.lines().filter(|line| line.starts_with("cargo ")).take(2).collect();
    assert_eq!(commands, ["cargo run --release --example words", "cargo test"]);
    assert!(readme.lines().take(45).any(|line| line.starts_with("```rust")), "no program on the first screen");
    // A block with another language would not be run; one with `ignore` neither.
    let blocks = readme.lines().filter(|line| line.starts_with("```") && line.len() > 3);
    let strange: Vec<&str> = blocks.filter(|line| !["```rust,standalone_crate", "```console"].contains(line)).collect();
    assert!(strange.is_empty(), "README.md has blocks that no test runs: {strange:?}");
    let included = "#[cfg(doctest)]\n#[doc = include_str!(\"../README.md\")]";
    assert!(read("src/lib.rs").is_some_and(|text| text.contains(included)), "src/lib.rs does not test README.md");
}

#[test]
fn table_of_names_is_marked_and_its_names_exist() {
    let names = read("docs/from-python.md").expect("docs/from-python.md is there");
    let (_, table) = names.split_once("\n## Every name\n").expect("docs/from-python.md has the table of names");
    assert!(table.lines().count() > 50, "the table of names is short");
    let wrong = table_of_names(table, &tree(CODE));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    // And a name that does not exist is found.
    let planted = "| Python | here | today |\n| --- | --- | --- |\n| `select.x` | `select::NoSuchThing` | yes |\n";
    assert_eq!(table_of_names(planted, &tree(CODE)).len(), 1);
}

/// Every row of the table is marked, and a name that is marked as working is declared in its module.
fn table_of_names(table: &str, files: &[(String, String)]) -> Complaints {
    let mut wrong = Vec::new();
    let rows = table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).skip(1);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let &[_, ours, today] = cells.as_slice() else {
            wrong.push(format!("from-python.md: {row}: not three cells"));
            continue;
        };
        match today {
            "yes" => {}
            "not yet" => continue,
            _ => wrong.push(format!("from-python.md: {row}: marked neither `yes` nor `not yet`")),
        }
        for path in ours.split('`').skip(1).step_by(2) {
            let Some((module, name)) = path.rsplit_once("::") else {
                wrong.push(format!("from-python.md: {path} names no module"));
                continue;
            };
            let (root, module) = module.strip_prefix("sys::").map_or(("src/", module), |inner| ("sys/src/", inner));
            let place = match module.strip_prefix("sys") {
                Some("") => "sys/src/".to_owned(), // a macro stands at the root of the crate
                _ => format!("{root}{}", module.split("::").next().unwrap_or(module)),
            };
            let mut here = files.iter().filter(|(path, _)| path.starts_with(&place));
            let declared = |text: &str| {
                if let Some(name) = name.strip_suffix('!') {
                    return text.contains(&format!("macro_rules! {name} {{"));
                }
                let kinds = ["struct", "enum", "trait", "fn", "const", "type", "mod"];
                kinds.iter().any(|kind| {
                    let start = format!("pub {kind} {name}");
                    text.match_indices(&start).any(|(at, _)| word(&text[at + start.len()..]).is_empty())
                }) || code_of(text).join(" ").split("pub use ").skip(1).any(|rest| {
                    let list = rest.split(';').next().unwrap_or(rest);
                    list.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
                })
            };
            if !here.any(|(_, text)| declared(text)) {
                wrong.push(format!("from-python.md: {path} is marked `yes` and is not declared under {place}"));
            }
        }
    }
    wrong
}
