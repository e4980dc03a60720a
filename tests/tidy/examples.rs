//! Every public item has an example, or stands in one of its type or module: counted, and the count may only fall.

use std::collections::{HashMap, HashSet};

use super::{CODE, tree, word};

/// How many public items of each crate no example shows. Lower the number when an example is added; never raise it.
const WITHOUT_EXAMPLE: &[(&str, usize)] = &[("src/", 0), ("sys/src/", 26)];

/// The languages of blocks that show no call that succeeds.
const NOT_SHOWN: &[&str] = &["text", "compile_fail", "toml", "console", "c", "sh"];

/// The words of the examples in the docs of a file.
fn shown(text: &str) -> HashSet<&str> {
    let (mut words, mut inside) = (HashSet::new(), None);
    for line in text.lines().map(str::trim_start) {
        let Some(doc) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            inside = None;
            continue;
        };
        match (doc.trim().strip_prefix("```"), inside) {
            (Some(language), None) => {
                inside = Some(!language.split(',').any(|part| NOT_SHOWN.contains(&part)));
            }
            (Some(_), Some(_)) => inside = None,
            (None, Some(true)) => words.extend(doc.split(|c: char| !c.is_alphanumeric() && c != '_')),
            (None, _) => {}
        }
    }
    words
}

/// The name of the public item that a line declares.
fn declared(line: &str) -> Option<&str> {
    let mut rest = line.trim_start().strip_prefix("pub ")?;
    while let Some(after) = ["const ", "unsafe ", "async "].iter().find_map(|word| rest.strip_prefix(word)) {
        rest = after;
    }
    let kinds = ["fn ", "struct ", "enum ", "union ", "trait ", "type "];
    let rest = kinds.iter().find_map(|kind| rest.strip_prefix(kind))?;
    Some(&rest[..word(rest).len()]).filter(|name| !name.is_empty())
}

/// The lines of docs and attributes above line `n`, the nearest first. An attribute may take several lines.
fn above<'t>(lines: &[&'t str], n: usize) -> Vec<&'t str> {
    let mut within = false;
    let mut belongs = |line: &&&str| {
        let line = line.trim_start();
        let belongs = within || line.starts_with("///") || line.starts_with("#[") || line == ")]";
        within = (within || line == ")]") && !line.starts_with("#[");
        belongs
    };
    lines[..n].iter().rev().take_while(|line| belongs(line)).copied().collect()
}

/// Whether the docs above an item have an example, or link to the one that shows the item, or hide the item.
fn is_shown_by_its_docs(docs: &[&str]) -> bool {
    let own: Vec<&str> = docs.iter().rev().copied().collect();
    !shown(&own.join("\n")).is_empty()
        || docs
            .iter()
            .any(|line| line.contains("xample](") || line.contains("xample of [") || line.contains("doc(hidden)"))
}

/// The public items below `root` that no example shows.
///
/// An item is shown by its own docs, by an example in its file, or by one in the `mod.rs` of its folder. A method that
/// a macro stamps for several types is shown by an example in any file of the folder.
fn without_example(files: &[(String, String)], root: &str) -> Vec<String> {
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    // The model is there for the model checker alone.
    let files = files.iter().filter(|(path, _)| path.starts_with(root) && !path.contains("/model/"));
    let files: Vec<_> = files.map(|(path, text)| (path.as_str(), text, shown(text))).collect();
    let mut everywhere: HashMap<String, HashSet<&str>> = HashMap::new();
    let mut modules: HashMap<String, &HashSet<&str>> = HashMap::new();
    for (path, _, words) in &files {
        everywhere.entry(folder(path)).or_default().extend(words);
        if path.ends_with("/mod.rs") {
            modules.insert(folder(path), words);
        }
    }
    let mut missing = Vec::new();
    for (path, text, here) in &files {
        let lines: Vec<&str> = text.lines().collect();
        let folder = folder(path);
        let (mut stamped, mut sealed) = (false, false);
        for (n, line) in lines.iter().enumerate() {
            stamped = line.starts_with("macro_rules!") || stamped && *line != "}";
            // Nobody outside can name the trait that seals others.
            sealed = line.ends_with("mod sealed {") || sealed && *line != "}";
            let Some(name) = declared(line).filter(|_| !sealed) else { continue };
            let in_module = modules.get(&folder).is_some_and(|words| words.contains(name));
            let in_folder = stamped && everywhere.get(&folder).is_some_and(|words| words.contains(name));
            if !(here.contains(name) || in_module || in_folder || is_shown_by_its_docs(&above(&lines, n))) {
                missing.push(format!("{path}:{}: {name}", n + 1));
            }
        }
    }
    missing
}

#[test]
fn public_items_without_an_example_only_become_fewer() {
    let files = tree(CODE);
    for (root, most) in WITHOUT_EXAMPLE {
        let missing = without_example(&files, root);
        let (count, list) = (missing.len(), missing.join("\n"));
        assert!(count <= *most, "{count} public items of {root} without an example, not {most}:\n{list}");
    }
}

#[test]
fn a_planted_item_without_an_example_is_found() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let missing = |files: &[(String, String)]| without_example(files, "src/").len();

    let bare = "/// A door.\npub struct Door;\nimpl Door {\n    /// Opens it.\n    pub fn open(&self) {}\n}\n";
    assert_eq!(missing(&[file("src/a/door.rs", bare)]), 2);
    let on_the_type = bare.replace("A door.", "A door.\n///\n/// ```\n/// Door.open();\n/// ```");
    assert_eq!(missing(&[file("src/a/door.rs", &on_the_type)]), 0);
    let elsewhere = on_the_type.replace("Door.open", "Door.openly");
    assert_eq!(missing(&[file("src/a/door.rs", &elsewhere)]), 1, "another name");
    let refused = on_the_type.replace("/// ```\n/// Door", "/// ```compile_fail,E0277\n/// Door");
    assert_eq!(missing(&[file("src/a/door.rs", &refused)]), 2, "what does not compile shows nothing");

    let module = file("src/a/mod.rs", "//! Doors.\n//!\n//! ```\n//! Door.open();\n//! ```\n");
    assert_eq!(missing(&[file("src/a/door.rs", bare), module.clone()]), 0);
    assert_eq!(missing(&[file("src/b/door.rs", bare), module]), 2, "another folder");

    let linked =
        "/// Opens it. See the example of [`Door`].\n#[deprecated(\n    note = \"shut\"\n)]\npub fn open() {}\n";
    assert_eq!(missing(&[file("src/a/door.rs", linked)]), 0);
    assert_eq!(missing(&[file("src/a/door.rs", &linked.replace("example of", "page of"))]), 1);
    assert_eq!(missing(&[file("src/a/door.rs", "/// Hidden.\n#[doc(hidden)]\npub const fn open() {}\n")]), 0);
    assert_eq!(missing(&[file("src/a/door.rs", "pub(crate) fn open() {}\n")]), 0);
    assert_eq!(missing(&[file("src/a/door.rs", "mod sealed {\n    pub trait Sealed {}\n}\npub trait Open {}\n")]), 1);

    let stamp = file("src/a/stamp.rs", "macro_rules! opens {\n    () => {\n        pub fn open(&self) {}\n    };\n}\n");
    let shows = file("src/a/gate.rs", "//! Gates.\n//!\n//! ```\n//! gate.open();\n//! ```\n");
    assert_eq!(missing(&[stamp.clone(), shows]), 0);
    assert_eq!(missing(&[stamp]), 1);
}
