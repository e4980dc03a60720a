//! Every public item has an example, or is part of the example of its type or module. The exceptions are counted, and
//! their number must not grow.

use std::collections::{HashMap, HashSet};

use super::{CODE, tree, word};

/// The number of public items of each crate without an example. Lower the number when an example is added; never raise
/// it.
const WITHOUT_EXAMPLE: &[(&str, usize)] = &[("src/", 0), ("sys/src/", 0)];

/// The languages of blocks that show no successful call.
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

/// Whether the docs above an item have an example, link to the item with the example, or hide the item.
fn is_shown_by_its_docs(docs: &[&str]) -> bool {
    let own: Vec<&str> = docs.iter().rev().copied().collect();
    !shown(&own.join("\n")).is_empty()
        || docs
            .iter()
            .any(|line| line.contains("xample](") || line.contains("xample of [") || line.contains("doc(hidden)"))
}

/// The modules and names of a crate that users see.
struct Seen<'f> {
    /// The files of modules that are `pub mod` up to the root of the crate.
    files: HashSet<&'f str>,
    /// The names that a `pub use` lists.
    names: HashSet<&'f str>,
    /// The types that are hidden from the pages.
    hidden: HashSet<&'f str>,
}

impl<'f> Seen<'f> {
    fn of(files: &[(&'f str, &'f String, HashSet<&'f str>)], root: &str) -> Self {
        let hidden_before = |lines: &[&str], n: usize| above(lines, n).iter().any(|line| line.contains("doc(hidden)"));
        let (mut modules, mut names, mut hidden) = (HashSet::new(), HashSet::new(), HashSet::new());
        for (path, text, _) in files {
            let module = path.strip_suffix(".rs").unwrap_or(path);
            let module = ["/mod", "/lib"].iter().find_map(|end| module.strip_suffix(end)).unwrap_or(module);
            let lines: Vec<&str> = text.lines().collect();
            let mut reexport = false;
            for (n, line) in lines.iter().enumerate() {
                if let Some(name) = line.strip_prefix("pub mod ").filter(|_| !hidden_before(&lines, n)) {
                    modules.insert(format!("{module}/{}", word(name)));
                }
                reexport = reexport || line.starts_with("pub use ") && !hidden_before(&lines, n);
                if reexport {
                    names.extend(line.split(|c: char| !c.is_alphanumeric() && c != '_'));
                    reexport = !line.contains(';');
                }
                if let Some(name) = declared(line).filter(|_| line.starts_with("pub ") && hidden_before(&lines, n)) {
                    hidden.insert(name);
                }
            }
        }
        let root = root.trim_end_matches('/');
        let is_seen = |path: &&str| {
            let module = path.strip_suffix(".rs").unwrap_or(path);
            let module = ["/mod", "/lib"].iter().find_map(|end| module.strip_suffix(end)).unwrap_or(module);
            let below = module.strip_prefix(root).unwrap_or(module);
            let mut ends = below.match_indices('/').skip(1).map(|(end, _)| end).chain([below.len()]);
            ends.all(|end| end == 0 || modules.contains(&format!("{root}{}", &below[..end])))
        };
        Self { files: files.iter().map(|(path, ..)| *path).filter(is_seen).collect(), names, hidden }
    }

    /// Whether users see an item, by the module of its file, or by a `pub use` of the item or of its type.
    fn sees(&self, path: &str, name: &str, of: Option<&str>) -> bool {
        let name = of.unwrap_or(name);
        (self.files.contains(path) || self.names.contains(name)) && !self.hidden.contains(name)
    }
}

/// The type whose methods an `impl` defines.
fn implemented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("unsafe ").unwrap_or(line).strip_prefix("impl")?;
    // Behind the parameters, which may have brackets of their own.
    let mut depth = 0;
    let is_end = |c: char| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0
    };
    let rest = if rest.starts_with('<') { rest.get(rest.find(is_end)? + 1..)? } else { rest };
    let rest = rest.rsplit_once(" for ").map_or(rest, |(_, after)| after).trim_start();
    Some(&rest[..word(rest).len()]).filter(|name| !name.is_empty())
}

/// The public items below `root` that no example shows.
///
/// An example may be in the item's own docs, in its file, in the file of its type, or in the `mod.rs` of its folder. A
/// method that a macro stamps for several types is shown by an example in any file of the folder.
fn without_example(files: &[(String, String)], root: &str) -> Vec<String> {
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    // The model is there for the model checker alone.
    let files = files.iter().filter(|(path, _)| path.starts_with(root) && !path.contains("/model/"));
    let files: Vec<_> = files.map(|(path, text)| (path.as_str(), text, shown(text))).collect();
    let seen = Seen::of(&files, root);
    let mut everywhere: HashMap<String, HashSet<&str>> = HashMap::new();
    let mut modules: HashMap<String, &HashSet<&str>> = HashMap::new();
    let mut types: HashMap<(String, &str), &HashSet<&str>> = HashMap::new();
    for (path, text, words) in &files {
        let declared = text.lines().filter(|line| line.starts_with("pub ")).filter_map(declared);
        types.extend(declared.map(|name| ((folder(path), name), words)));
        everywhere.entry(folder(path)).or_default().extend(words);
        if path.ends_with("/mod.rs") {
            modules.insert(folder(path), words);
        }
    }
    let mut missing = Vec::new();
    for (path, text, here) in &files {
        let lines: Vec<&str> = text.lines().collect();
        let folder = folder(path);
        let (mut stamped, mut sealed, mut within) = (false, false, None);
        for (n, line) in lines.iter().enumerate() {
            stamped = line.starts_with("macro_rules!") || stamped && *line != "}";
            // Nobody outside can name the trait that seals others.
            sealed = line.ends_with("mod sealed {") || sealed && *line != "}";
            // The type, as long as its `impl` lasts; and whether the `impl` is for the model checker.
            within = match implemented(line) {
                Some(of) if !line.ends_with("{}") => Some((of, above(&lines, n).contains(&"#[cfg(loom)]"))),
                _ => within.filter(|_| line.is_empty() || line.starts_with(' ')),
            };
            let Some(name) = declared(line).filter(|_| !sealed) else { continue };
            if within.is_some_and(|(_, modelled)| modelled)
                || !(stamped || seen.sees(path, name, within.map(|(of, _)| of)))
            {
                continue;
            }
            let in_module = modules.get(&folder).is_some_and(|words| words.contains(name));
            let of = within.and_then(|(of, _)| types.get(&(folder.clone(), of)));
            let with_type = of.is_some_and(|words| words.contains(name));
            let in_folder = stamped && everywhere.get(&folder).is_some_and(|words| words.contains(name));
            if !(here.contains(name) || in_module || with_type || in_folder || is_shown_by_its_docs(&above(&lines, n)))
            {
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

    let root = |modules: &str| file("src/lib.rs", modules);
    let missing = |files: &[(String, String)]| {
        let files: Vec<_> = files.iter().cloned().chain([root("pub mod a;\npub mod b;\n")]).collect();
        let modules =
            ["src/a/mod.rs", "src/b/mod.rs"].map(|path| file(path, "//! Rooms.\npub mod door;\npub mod stamp;\n"));
        let modules = modules.into_iter().filter(|(path, _)| !files.iter().any(|(other, _)| other == path));
        missing(&modules.chain(files.clone()).collect::<Vec<_>>())
    };
    let bare = "/// A door.\npub struct Door;\nimpl Door {\n    /// Opens it.\n    pub fn open(&self) {}\n}\n";
    assert_eq!(missing(&[file("src/a/door.rs", bare)]), 2);
    let on_the_type = bare.replace("A door.", "A door.\n///\n/// ```\n/// Door.open();\n/// ```");
    assert_eq!(missing(&[file("src/a/door.rs", &on_the_type)]), 0);
    let elsewhere = on_the_type.replace("Door.open", "Door.openly");
    assert_eq!(missing(&[file("src/a/door.rs", &elsewhere)]), 1, "another name");
    let refused = on_the_type.replace("/// ```\n/// Door", "/// ```compile_fail,E0277\n/// Door");
    assert_eq!(missing(&[file("src/a/door.rs", &refused)]), 2, "what does not compile shows nothing");

    let (door, opens) = on_the_type.split_at(on_the_type.find("impl Door").unwrap());
    let of_another = [file("src/a/door.rs", door), file("src/a/stamp.rs", opens)];
    assert_eq!(missing(&of_another), 0, "the type is in another file");

    let module = file("src/a/mod.rs", "//! Doors.\npub mod door;\n//!\n//! ```\n//! Door.open();\n//! ```\n");
    assert_eq!(missing(&[file("src/a/door.rs", bare), module.clone()]), 0);
    assert_eq!(missing(&[file("src/b/door.rs", bare), module]), 2, "another folder");

    let linked =
        "/// Opens it. See the example of [`Door`].\n#[deprecated(\n    note = \"shut\"\n)]\npub fn open() {}\n";
    assert_eq!(missing(&[file("src/a/door.rs", linked)]), 0);
    assert_eq!(missing(&[file("src/a/door.rs", &linked.replace("example of", "page of"))]), 1);
    assert_eq!(missing(&[file("src/a/door.rs", "/// Hidden.\n#[doc(hidden)]\npub const fn open() {}\n")]), 0);
    assert_eq!(missing(&[file("src/a/door.rs", "pub(crate) fn open() {}\n")]), 0);
    let hidden_type = bare.replace("pub struct", "#[doc(hidden)]\npub struct");
    assert_eq!(missing(&[file("src/a/door.rs", &hidden_type)]), 0, "its methods are hidden too");
    assert_eq!(missing(&[file("src/a/door.rs", &bare.replace("impl Door", "#[cfg(loom)]\nimpl Door"))]), 1);
    let in_module = |module: &str| missing(&[file("src/a/door.rs", bare), file("src/a/mod.rs", module)]);
    assert_eq!(in_module("//! Rooms.\nmod door;\n"), 0, "nobody outside can name it");
    assert_eq!(in_module("//! Rooms.\npub(crate) mod door;\n"), 0);
    assert_eq!(in_module("//! Rooms.\n#[doc(hidden)]\npub mod door;\n"), 0);
    assert_eq!(in_module("//! Rooms.\nmod door;\npub use door::{\n    Door, Other,\n};\n"), 2);
    assert_eq!(in_module("//! Rooms.\nmod door;\n#[doc(hidden)]\npub use door::Door;\n"), 0);
    assert_eq!(in_module("//! Rooms.\nmod door;\npub use door::Other;\n"), 0);
    assert_eq!(in_module("//! Rooms.\nmod door;\npub use door::Door as Gate;\n"), 2);
    assert_eq!(missing(&[file("src/c/door.rs", bare), file("src/c/mod.rs", "//! Rooms.\npub mod door;\n")]), 0);
    for header in ["impl Door {", "unsafe impl Door {", "impl<T: Fn() + Into<Vec<T>>> Open<T> for Door<T> {"] {
        assert_eq!(implemented(header), Some("Door"), "{header}");
    }
    assert_eq!(missing(&[file("src/a/door.rs", "mod sealed {\n    pub trait Sealed {}\n}\npub trait Open {}\n")]), 1);

    let stamp = file("src/a/stamp.rs", "macro_rules! opens {\n    () => {\n        pub fn open(&self) {}\n    };\n}\n");
    let shows = file("src/a/gate.rs", "//! Gates.\n//!\n//! ```\n//! gate.open();\n//! ```\n");
    assert_eq!(missing(&[stamp.clone(), shows]), 0);
    assert_eq!(missing(&[stamp]), 1);
}
