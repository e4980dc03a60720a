//! Which file imports which: the circles of files, compared with the list of allowed circles.
//!
//! An edge goes from a file to the file that *defines* a name, by whatever path the first one reaches the name. So a
//! `mod.rs` that only re-exports is not on the way. A `pub use` is an edge only if the file says the name elsewhere,
//! too. Methods are not edges, because their types are. The model checker's files (`model`) and the tests at the end
//! of a file do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::{Complaints, code_of};

/// The crates that are checked.
const CRATES: &[&str] = &["sys/src/", "src/", "redis/src/"];

/// The allowed circles: the common start of their files' paths, the number of files, and the reason.
const STAY: &[(&str, usize, &str)] = &[(
    "sys/src/sync/",
    24,
    "a scope names how each primitive waits in it, and each of these back ends is written over the scope's locks",
)];

/// The names of a path, from the crate or from its first name.
type Names = Vec<String>;

/// One name of a `use`: its name in the file, its path, and whether it is a re-export.
struct Import {
    name: String,
    path: Names,
    is_public: bool,
}

/// The imports, names and items of a file.
struct Source {
    path: String,
    imports: Vec<Import>,
    /// The paths of two or more names outside of imports.
    paths: Vec<Names>,
    /// The names outside of imports.
    names: BTreeSet<String>,
    /// The names of the items that the file defines.
    items: BTreeSet<String>,
}

/// The words and symbols of a file's code. In an inline module, the `super` that leads to the file itself is `self`.
fn tokens(text: &str) -> Vec<String> {
    let (mut found, mut inline): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut before = String::new();
    for line in code_of(text) {
        let indent: String = line.chars().take_while(|c| *c == ' ').collect();
        let begins = line.ends_with('{') && line.split_whitespace().any(|word| word == "mod");
        if begins && before == "#[cfg(test)]" {
            break;
        }
        if inline.last().is_some_and(|outer| line == format!("{outer}}}")) {
            inline.pop();
        }
        let mut rest = line.as_str();
        while let Some(c) = rest.chars().next() {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let token = match (name.is_empty(), rest.starts_with("::")) {
                (false, _) => name,
                (true, true) => "::".to_owned(),
                (true, false) => c.to_string(),
            };
            rest = &rest[token.len()..];
            let above = found.rchunks(2).take_while(|pair| pair.len() == 2 && pair[1] == "::" && pair[0] == "self");
            match token == "super" && above.count() < inline.len() {
                true => found.push("self".to_owned()),
                false if c != ' ' => found.push(token),
                false => {}
            }
        }
        if begins {
            inline.push(indent);
        }
        before = line;
    }
    found
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Takes the names of a `use` whose tree begins at `at`. Returns the place behind the tree.
fn import(tokens: &[String], mut at: usize, before: &Names, is_public: bool, to: &mut Vec<Import>) -> usize {
    let mut path = before.clone();
    loop {
        match tokens[at].as_str() {
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at = import(tokens, at, &path, is_public, to);
                    at += usize::from(tokens[at] == ",");
                }
                return at + 1;
            }
            "::" => at += 1,
            "as" => {
                let name = tokens[at + 1].clone();
                to.push(Import { name, path, is_public });
                return at + 2;
            }
            "," | "}" | ";" => {
                if path.last().is_some_and(|last| last == "self") {
                    path.pop();
                }
                let name = path.last().cloned().unwrap_or_default();
                to.push(Import { name, path, is_public });
                return at;
            }
            name => {
                path.push(name.to_owned());
                at += 1;
            }
        }
    }
}

/// Reads the imports, names and items of a file.
fn read(path: &str, text: &str) -> Source {
    const ITEMS: &[&str] = &["struct", "enum", "union", "trait", "type", "fn", "const", "static", "mod", "macro_rules"];
    let tokens = tokens(text);
    let mut it = Source {
        path: path.to_owned(),
        imports: Vec::new(),
        paths: Vec::new(),
        names: BTreeSet::new(),
        items: BTreeSet::new(),
    };
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].as_str();
        if token == "use" && tokens.get(at + 1).is_some_and(|next| is_name(next) || next == "::") {
            let is_public = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
            at = import(&tokens, at + 1, &Names::new(), is_public, &mut it.imports);
            continue;
        }
        if !is_name(token) {
            at += 1;
            continue;
        }
        let foreign = at > 0 && ["::", ".", "$"].contains(&tokens[at - 1].as_str());
        if at > 0 && ITEMS.contains(&tokens[at - 1].as_str()) || at > 1 && tokens[at - 2] == "macro_rules" {
            it.items.insert(token.to_owned());
        }
        let mut names = vec![token.to_owned()];
        while tokens.get(at + 1).is_some_and(|next| next == "::")
            && tokens.get(at + 2).is_some_and(|next| is_name(next))
        {
            names.push(tokens[at + 2].clone());
            at += 2;
        }
        at += 1;
        if !foreign {
            // A word of lower case may be a variable; a function is called.
            let is_called = tokens.get(at).is_some_and(|next| next == "(" || next == "!");
            if names.len() > 1 || is_called || !token.starts_with(char::is_lowercase) {
                it.names.insert(names[0].clone());
            }
            if names.len() > 1 {
                it.paths.push(names);
            }
        }
    }
    it
}

/// The files of a crate by their modules.
struct Crate {
    files: BTreeMap<Names, Source>,
}

impl Crate {
    fn new(folder: &str, files: &[(String, String)]) -> Self {
        let inside = files.iter().filter_map(|(path, text)| Some((path, path.strip_prefix(folder)?, text)));
        let module = |inside: &str| -> Names {
            let names = inside.trim_end_matches(".rs").split('/').map(str::to_owned);
            names.filter(|name| !["mod", "lib"].contains(&name.as_str())).collect()
        };
        let sources = inside.filter(|(_, inside, _)| inside.ends_with(".rs") && !inside.starts_with("model"));
        Self { files: sources.map(|(path, inside, text)| (module(inside), read(path, text))).collect() }
    }

    /// The paths from the crate on, if the path leads into the crate.
    fn absolute(&self, module: &Names, path: &[String]) -> Vec<Names> {
        let Some((first, mut rest)) = path.split_first() else { return Vec::new() };
        let source = &self.files[module];
        let mut base = module.clone();
        match first.as_str() {
            "crate" => base.clear(),
            "self" => {
                while let Some((_, further)) = rest.split_first().filter(|(next, _)| *next == "self") {
                    rest = further;
                }
                return match rest.first().is_some_and(|next| next == "super") {
                    true => self.absolute(module, rest),
                    false => vec![[base, rest.to_vec()].concat()],
                };
            }
            "super" => {
                base.pop();
                while let Some((_, further)) = rest.split_first().filter(|(next, _)| *next == "super") {
                    base.pop();
                    rest = further;
                }
            }
            name => {
                let child = [base.clone(), vec![name.to_owned()]].concat();
                if self.files.contains_key(&child) || source.items.contains(name) {
                    return vec![[child, rest.to_vec()].concat()];
                }
                let bound = source.imports.iter().filter(|import| import.name == name && import.path[0] != name);
                let bound = bound.flat_map(|import| self.absolute(module, &import.path));
                return bound.map(|path| [path, rest.to_vec()].concat()).collect();
            }
        }
        vec![[base, rest.to_vec()].concat()]
    }

    /// The files that define the item at a path from the crate on; none for a module.
    fn defined(&self, path: &[String], seen: &mut BTreeSet<Names>) -> BTreeSet<&str> {
        if !seen.insert(path.to_vec()) {
            return BTreeSet::new();
        }
        let whole = (0..=path.len()).rev().find(|n| self.files.contains_key(&path[..*n]));
        let Some(module) = whole.map(|n| path[..n].to_vec()) else { return BTreeSet::new() };
        let rest = &path[module.len()..];
        let (Some(name), source) = (rest.first(), &self.files[&module]) else { return BTreeSet::new() };
        if source.items.contains(name) || name == "*" {
            return [source.path.as_str()].into();
        }
        let by_name = source.imports.iter().filter(|import| import.name == *name).collect::<Vec<_>>();
        let found = by_name.iter().flat_map(|import| self.absolute(&module, &import.path));
        let found = found.flat_map(|path| self.defined(&[path, rest[1..].to_vec()].concat(), seen));
        let found: BTreeSet<&str> = found.collect();
        if !by_name.is_empty() {
            return found;
        }
        // By a glob, if any has the name. A name that no module defines comes from a macro of this module.
        let globs = source.imports.iter().filter(|import| import.name == "*");
        let globs = globs.flat_map(|import| self.absolute(&module, &import.path[..import.path.len() - 1]));
        let found = globs.flat_map(|path| self.defined(&[path, rest.to_vec()].concat(), seen));
        let found: BTreeSet<&str> = found.filter(|path| self.has(path, name)).collect();
        if found.is_empty() { [source.path.as_str()].into() } else { found }
    }

    fn has(&self, path: &str, name: &str) -> bool {
        self.files.values().any(|source| source.path == path && source.items.contains(name))
    }

    /// The files that each file names, with the names.
    fn edges(&self) -> BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> {
        let mut edges: BTreeMap<&str, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
        for (module, source) in &self.files {
            let imports =
                source.imports.iter().filter(|import| !import.is_public || source.names.contains(&import.name));
            for path in imports.map(|import| &import.path).chain(&source.paths) {
                for to in self.absolute(module, path).iter().flat_map(|path| self.defined(path, &mut BTreeSet::new())) {
                    if to != source.path {
                        let name = path.last().cloned().unwrap_or_default();
                        edges.entry(&source.path).or_default().entry(to).or_default().insert(name);
                    }
                }
            }
        }
        edges
    }
}

/// The circles of a crate: the files of each, and its edges in words.
pub(crate) fn file_circles(folder: &str, files: &[(String, String)]) -> Vec<(Vec<String>, Vec<String>)> {
    let tree = Crate::new(folder, files);
    let edges = tree.edges();
    let mut reached: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for from in edges.keys() {
        let (mut seen, mut next) = (BTreeSet::new(), vec![*from]);
        while let Some(at) = next.pop() {
            next.extend(edges.get(at).into_iter().flatten().map(|(to, _)| *to).filter(|to| seen.insert(*to)));
        }
        reached.insert(from, seen);
    }
    let both = |a: &str, b: &str| reached[a].contains(b) && reached.get(b).is_some_and(|all| all.contains(a));
    let group = |a: &&str| reached.keys().filter(|b| both(a, b)).copied().collect::<Vec<_>>();
    let groups: BTreeSet<Vec<&str>> = reached.keys().map(group).filter(|group| group.len() > 1).collect();
    let told = |group: &[&str]| {
        let inside = group.iter().flat_map(|from| edges[from].iter().map(move |(to, names)| (from, to, names)));
        let inside = inside.filter(|(_, to, _)| group.contains(to));
        inside.map(|(from, to, names)| format!("{from} -> {to}: {names:?}")).collect()
    };
    groups.iter().map(|group| (group.iter().map(|path| (*path).to_owned()).collect(), told(group))).collect()
}

/// The circles that are missing in the list, and the circles of the list that do not exist.
pub(crate) fn unlisted_file_circles(files: &[(String, String)]) -> Complaints {
    let found: Vec<_> = CRATES.iter().flat_map(|folder| file_circles(folder, files)).collect();
    let is_listed = |circle: &[String], (start, count, _): &(&str, usize, &str)| {
        circle.len() == *count && circle.iter().all(|path| path.starts_with(start))
    };
    let unlisted = found.iter().filter(|(circle, _)| !STAY.iter().any(|listed| is_listed(circle, listed)));
    let mut wrong: Complaints = unlisted
        .map(|(circle, edges)| {
            format!(
                "{} files import each other in a circle that STAY of tests/tidy/circles.rs does not have: move what two \
                 of them share below both\n  {}",
                circle.len(),
                edges.join("\n  ")
            )
        })
        .collect();
    let gone = STAY.iter().filter(|listed| !found.iter().any(|(circle, _)| is_listed(circle, listed)));
    wrong.extend(
        gone.map(|(start, count, _)| format!("STAY has a circle of {count} files in {start} that is gone: correct it")),
    );
    wrong
}
