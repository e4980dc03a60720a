//! Which module may import which: the tables of levels, and the rule that checks every import against them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Complaints, code_of};

/// The modules of `sys`, level by level: a file imports from the levels before its own.
const SYS: &[&[&str]] = &[
    &["raw", "faults", "errno", "deadline", "atomic", "set_once", "thread_bound"],
    &["fd", "generation"],
    &["futex"],
    // The list that outlives a thread.
    &["robust"],
    &[
        "select",
        "poll",
        "epoll",
        "mmap",
        "pthread",
        "pipe",
        "eventfd",
        "timerfd",
        "signalfd",
        "inotify",
        "socket",
        "stream",
        "process",
        "ptrace",
        "random",
        "sched",
        "signal",
        "tty",
        "flock",
        "posix_ipc",
    ],
    // One queue over many families.
    &["kqueue"],
    &["shm"],
    &["sync"],
    // What the model checker sees of them.
    &["model"],
];

/// The allowed edges within a level of `sys`; few of them point to the right.
const SYS_EDGES: &[(&str, &str)] = &[
    ("raw", "errno"),
    ("raw", "faults"),
    ("faults", "errno"),
    // A sweep waits for a joined thread, and a rule's error is C's errno in C.
    ("faults", "deadline"),
    ("faults", "raw"),
    ("select", "poll"),
    ("stream", "socket"),
    // A write to a pipe holds SIGPIPE back where the kernel has no flag for that.
    ("stream", "signal"),
    ("pthread", "mmap"),
    // Pages are reserved as those of a memory file are; a semaphore's deadline is told to C as a mutex's is.
    ("posix_ipc", "mmap"),
    ("posix_ipc", "pthread"),
    ("signalfd", "signal"),
    // Under the model checker atomics and futexes are made of its own parts.
    ("atomic", "model"),
    ("futex", "model"),
    ("process", "signal"),
    ("ptrace", "process"),
    // Fork refuses while a mutex of C's is held, whose guards know in which process they were taken.
    ("process", "pthread"),
    // Numbers that make no deadline are refused by errno.
    ("deadline", "errno"),
];

/// The modules of the upper crate, level by level.
const SRC: &[&[&str]] = &[
    &["error", "clone", "index", "per_process"],
    &["select", "mmap", "thread", "readline"],
    &["threading", "dummy_thread"],
    &["dummy_threading"],
    &["rlcompleter", "multiprocessing"],
    // Makes values of all of them for fuzzers.
    &["arbitrary"],
];

/// The allowed edges within a level of the upper crate.
const SRC_EDGES: &[(&str, &str)] = &[
    ("clone", "error"),
    // The methods of a proxy are names to complete.
    ("multiprocessing", "rlcompleter"),
];

/// The modules of `multiprocessing`, level by level.
const MULTIPROCESSING: &[&[&str]] = &[
    &["transfer"],
    &["sharedctypes", "context", "authkey"],
    &["shared_memory"],
    // What belongs to one process.
    &["state"],
    &["logging"],
    &["util"],
    &["sync", "connection", "queues", "resource_tracker"],
    &["tasks", "reduction"],
    // How a process begins, and then: processes with names and handles.
    &["start"],
    &["process"],
    &["pool", "cloned"],
    &["managers"],
    // Knows every task of this library.
    &["freeze_support", "dummy"],
];

/// The allowed edges of `multiprocessing` within a level: none.
const MULTIPROCESSING_EDGES: &[(&str, &str)] = &[];

/// The groups of modules that import each other in a circle, each within one folder of modules, and why. `model` is
/// compiled for the model checker only, and is left out here.
const CIRCLES: &[(&str, &[&str])] = &[
    // The sweep of faults in C's words calls what the hook stands in.
    ("sys/src/", &["faults", "raw"]),
];

/// Macros, which are at the root of the crate whatever module they belong to.
const MACROS: &[&str] = &["tasks", "try_clone", "managed"];

/// Modules that only the given modules may import.
const SECRETS: &[(&str, &[&str])] = &[("futex", &["kqueue", "robust", "sync", "model"])];

/// The parts of `sys` that a module of the upper crate must not use.
const HIDDEN: &[(&str, &[&str])] =
    // A line editor sends the suspend character's signal to its group (`process`), as the kernel would.
    &[("threading", &["shm"]), ("readline", &["shm", "sync", "scope", "mmap"])];

/// The thin modules, each with one family of system calls: their docs name the man page.
pub(crate) const WITH_SOURCE: &[&str] = &[
    "select",
    "poll",
    "epoll",
    "futex",
    "mmap",
    "pthread",
    "pipe",
    "eventfd",
    "timerfd",
    "signalfd",
    "inotify",
    "socket",
    "stream",
    "process",
    "ptrace",
    "random",
    "sched",
    "signal",
    "tty",
    "flock",
    "posix_ipc",
    "kqueue",
    "errno",
    "deadline",
    "fd",
];

/// The module of a file: the first part of its path below the folder.
pub(crate) fn module<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let first = path.strip_prefix(folder)?.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "mod"].contains(&name)).then_some(name)
}

/// The modules that a text names as `PREFIX::module` or `PREFIX::{module, ...}` outside comments and strings.
fn named_after(prefix: &str, text: &str) -> Vec<String> {
    let code = code_of(text).join("\n");
    let start = format!("{prefix}::");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&start) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(group) => {
                let (mut depth, mut begins) = (0, true);
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        c if begins && !c.is_whitespace() => {
                            found.push(word(&group[i..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

pub(crate) fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn level(levels: &[&[&str]], module: &str) -> Option<usize> {
    levels.iter().position(|level| level.contains(&module))
}

/// A folder of modules: its prefixes, its levels, and the edges within a level.
type Tree = (&'static str, &'static str, &'static [&'static [&'static str]], &'static [(&'static str, &'static str)]);

const TREES: &[Tree] = &[
    ("sys/src/", "crate", SYS, SYS_EDGES),
    ("src/", "crate", SRC, SRC_EDGES),
    ("src/multiprocessing/", "crate::multiprocessing", MULTIPROCESSING, MULTIPROCESSING_EDGES),
];

/// The path of `super`s from a file's own module to the folder's module.
fn supers(path: &str, folder: &str) -> Option<String> {
    let inside = path.strip_prefix(folder)?.strip_suffix(".rs")?;
    let depth = inside.split('/').filter(|part| *part != "mod").count();
    (depth > 0).then(|| vec!["super"; depth].join("::"))
}

/// The other modules of a tree that a file of module `from` imports.
fn imported(tree: &Tree, from: &str, path: &str, text: &str) -> Vec<String> {
    let &(folder, prefix, levels, _) = tree;
    // Other names after `super` are of items, or of what a module within the file sees.
    let above = supers(path, folder).map(|supers| named_after(&supers, text)).unwrap_or_default();
    let above = above.into_iter().filter(|to| level(levels, to).is_some());
    // `crate::name!` is a macro, `crate::Name` a re-export: neither is a module.
    let is_macro = |to: &str| text.contains(&format!("crate::{to}!")) || MACROS.contains(&to) && prefix == "crate";
    let named = named_after(prefix, text).into_iter().chain(above);
    named.filter(|to| to != from && !is_macro(to) && !to.starts_with(char::is_uppercase)).collect()
}

/// The groups of modules of a folder that import each other in a circle.
pub(crate) fn circles(folder: &str, files: &[(String, String)]) -> Vec<Vec<String>> {
    let tree = TREES.iter().find(|tree| tree.0 == folder).expect("a folder of TREES");
    let mut reached: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files {
        let Some(from) = module(path, folder).filter(|from| *from != "model") else { continue };
        let to = imported(tree, from, path, text).into_iter().filter(|to| to != "model");
        reached.entry(from.to_owned()).or_default().extend(to);
    }
    // Whatever a module reaches in so many steps as there are modules, it reaches at all.
    for _ in 0..reached.len() {
        let before = reached.clone();
        for all in reached.values_mut() {
            let further: Vec<String> = all.iter().filter_map(|to| before.get(to)).flatten().cloned().collect();
            all.extend(further);
        }
        if before == reached {
            break;
        }
    }
    let both = |a: &str, b: &str| reached[a].contains(b) && reached.get(b).is_some_and(|all| all.contains(a));
    let group = |a: &String| reached.keys().filter(|b| both(a, b)).cloned().collect::<Vec<_>>();
    let groups: BTreeSet<Vec<String>> = reached.keys().map(group).filter(|group| group.len() > 1).collect();
    groups.into_iter().collect()
}

/// The modules in a circle that are not listed, and the listed modules that are not in a circle.
pub(crate) fn unlisted_circles(files: &[(String, String)]) -> Complaints {
    let mut wrong = Vec::new();
    for &(folder, ..) in TREES {
        let listed: Vec<_> = CIRCLES.iter().filter(|(of, _)| *of == folder).map(|(_, group)| group.to_vec()).collect();
        let found = circles(folder, files);
        if found != listed {
            wrong.push(format!(
                "{folder}: the circles are {found:?}, and CIRCLES of tests/tidy/layers.rs has {listed:?}"
            ));
        }
    }
    wrong
}

pub(crate) fn layers(path: &str, text: &str) -> Complaints {
    let mut wrong = Vec::new();
    for tree @ &(folder, _, levels, edges) in TREES {
        let Some(from) = module(path, folder) else { continue };
        let Some(mine) = level(levels, from) else {
            wrong.push(format!("{path}: {from} stands on no level of the table in tests/tidy/layers.rs"));
            continue;
        };
        for to in imported(tree, from, path, text) {
            let listed = edges.contains(&(from, to.as_str()));
            match level(levels, &to) {
                Some(theirs) if theirs < mine || listed => {}
                Some(_) => wrong.push(format!("{path}: {from} imports {to}, which is not to its left")),
                None => wrong.push(format!("{path}: {from} imports {to}, which stands on no level")),
            }
            let secret = SECRETS.iter().find(|(what, _)| *what == to && folder == "sys/src/");
            if secret.is_some_and(|(_, friends)| !friends.contains(&from)) {
                wrong.push(format!("{path}: {from} must not know {to}"));
            }
        }
        if folder == "src/" {
            let hidden = HIDDEN.iter().find(|(who, _)| *who == from).map_or(&[][..], |(_, what)| what);
            let seen = [named_after("ossature_sys", text), named_after("crate::sys", text)].concat();
            for to in seen.iter().filter(|to| hidden.contains(&to.as_str())) {
                wrong.push(format!("{path}: {from} must not see sys::{to}"));
            }
        }
    }
    wrong
}

pub(crate) fn raw_stays_inside(path: &str, text: &str) -> Complaints {
    let inside = path.starts_with("sys/src/");
    let shown = |line: &str| {
        let line = line.trim_start();
        line.starts_with("pub mod raw") || (line.starts_with("pub use") && line.contains("raw::"))
    };
    let lines = code_of(text).into_iter().enumerate();
    lines
        .filter(|(_, line)| inside && shown(line))
        .map(|(n, _)| format!("{path}:{}: raw is re-exported", n + 1))
        .collect()
}
