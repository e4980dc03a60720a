//! Each specified behaviour is described once in `docs/behaviour/`, with its promise, its state, and a test or a
//! reason.
//!
//! A behaviour is a heading `### ID name`, a sentence, a line `State: done`, `open`, `differs. REASON` or
//! `none. REASON`, and a list of its tests, each `` - `path/to/file.rs::name_of_the_test` ``.

use std::fs;
use std::path::Path;

use super::{Complaints, read};

/// The families of behaviours and the highest number in each: ids run from 1 without a gap.
const FAMILIES: &[(&str, usize)] = &[
    ("SEL", 114),
    ("MM", 73),
    ("TLL", 24),
    ("THR", 93),
    ("DTL", 14),
    ("DTH", 17),
    ("MP", 280),
    ("WF", 112),
    ("RL", 45),
    ("RC", 8),
    ("RLX", 40),
];

/// Checks the documents, given as one text. `read` reads a file that they name.
fn behaviours(text: &str, read: &dyn Fn(&str) -> Option<String>) -> Complaints {
    let mut wrong = Vec::new();
    let mut ids = Vec::new();
    for part in text.split("\n### ").skip(1) {
        let (heading, body) = part.split_once('\n').unwrap_or((part, ""));
        let (id, name) = heading.split_once(' ').unwrap_or((heading, ""));
        ids.push(id);
        if name.trim().is_empty() {
            wrong.push(format!("{id}: the name is missing"));
        }
        // A heading of another level ends the last behaviour of its group.
        let body = body.split("\n#").next().unwrap_or("");
        let paragraphs: Vec<&str> = body.split("\n\n").map(str::trim).filter(|part| !part.is_empty()).collect();
        let Some((promise, rest)) = paragraphs.split_first() else {
            wrong.push(format!("{id}: neither promise nor state"));
            continue;
        };
        if promise.starts_with("State:") || promise.len() < 8 {
            wrong.push(format!("{id}: the promise is missing"));
        }
        let Some((state, lists)) = rest.split_first() else {
            wrong.push(format!("{id}: the state is missing"));
            continue;
        };
        let tests: Vec<&str> = lists.iter().flat_map(|list| list.lines()).collect();
        wrong.extend(state_is_shown(id, state, &tests));
        wrong.extend(tests.iter().filter_map(|line| absent(id, line, read)));
    }
    for id in FAMILIES.iter().flat_map(|(family, highest)| (1..=*highest).map(move |n| format!("{family}-{n}"))) {
        match ids.iter().filter(|there| **there == id).count() {
            1 => {}
            n => wrong.push(format!("{id} stands there {n} times")),
        }
    }
    let total: usize = FAMILIES.iter().map(|(_, highest)| highest).sum();
    assert_eq!(total, 820, "the specification has 820 behaviours");
    if ids.len() != total {
        wrong.push(format!("{} behaviours, not {total}", ids.len()));
    }
    wrong
}

/// Checks that a state has what it needs: `done` a test, `differs` and `none` a reason, `open` neither.
fn state_is_shown(id: &str, state: &str, tests: &[&str]) -> Option<String> {
    let Some(state) = state.strip_prefix("State: ") else { return Some(format!("{id}: {state} is not a state")) };
    let (state, reason) = state.split_once('.').unwrap_or((state, ""));
    match (state, reason.trim().len() > 10, tests.is_empty()) {
        ("done", false, false) | ("open", false, true) | ("differs" | "none", true, _) => None,
        ("done", _, true) => Some(format!("{id}: done without a test")),
        ("open", ..) => Some(format!("{id}: open, yet with a test or a reason")),
        ("differs" | "none", false, _) => Some(format!("{id}: {state} without a reason")),
        _ => Some(format!("{id}: {state} is not a state")),
    }
}

/// The complaint about a test that does not exist.
fn absent(id: &str, line: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let Some(test) = line.strip_prefix("- `").and_then(|line| line.strip_suffix('`')) else {
        return Some(format!("{id}: {line} is not - `file::test`"));
    };
    let Some((path, name)) = test.split_once("::") else { return Some(format!("{id}: {test} is not file::test")) };
    let Some(text) = read(path) else { return Some(format!("{id}: there is no file {path}")) };
    // A behaviour that is stamped for several worlds is generic over them.
    let function = ["(", "<"].iter().any(|next| text.contains(&format!("fn {name}{next}")));
    let stamp = |line: &str| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with([':', '(']));
    // A program without the harness names its tests in a table.
    let there = function || text.lines().any(stamp) || text.contains(&format!("(\"{name}\","));
    (!there).then(|| format!("{id}: {path} has no test {name}"))
}

/// Every document below `docs/behaviour/`, in the order of their paths.
fn documents() -> String {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/behaviour")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("docs/behaviour is there") {
            let path = entry.expect("docs/behaviour can be read").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.retain(|path| !path.ends_with("README.md"));
    files.sort();
    files.iter().map(|path| fs::read_to_string(path).expect("a document can be read")).collect()
}

#[test]
fn every_behaviour_is_there_once_and_its_tests_exist() {
    let wrong = behaviours(&documents(), &read);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_planted_behaviour_is_found() {
    let documents = documents();
    let start = documents.find("\n### RC-8 ").expect("RC-8 is there");
    let end = documents[start + 1..].find("\n#").map_or(documents.len(), |n| start + 1 + n);
    let test = |path: &str| (path == "tests/a.rs").then(|| "#[test]\nfn shown() {}".to_owned());
    let any = |path: &str| test(path).or_else(|| read(path));
    let with = |entry: &str| behaviours(&[&documents[..start], "\n", entry, &documents[end..]].concat(), &any);
    let entry = |state: &str| with(&format!("### RC-8 name\n\nThe promise is this.\n\nState: {state}\n"));
    let shown = "\n- `tests/a.rs::shown`";
    assert_eq!(entry(&format!("done\n{shown}")), Complaints::new());
    assert_eq!(entry("differs. Because of a reason."), Complaints::new());
    assert_eq!(entry(&format!("differs. Because of a reason.\n{shown}")), Complaints::new());
    for bad in [
        "done",
        "done\n\n- `tests/a.rs::hidden`",
        "done\n\n- `tests/none.rs::shown`",
        "done\n\n- `shown`",
        "done\n\ntests/a.rs::shown",
        "differs",
        "none. Short.",
        &format!("open\n{shown}"),
        "ready",
    ] {
        assert_eq!(entry(bad).len(), 1, "{bad}: {:?}", entry(bad));
    }
    // An id that took another's place leaves a gap, and text or state can be missing.
    assert_eq!(with("### RC-7 name\n\nThe promise is this.\n\nState: open\n").len(), 2);
    assert_eq!(with("### RC-8 name\n\nState: open\n").len(), 2);
    assert_eq!(with("### RC-8 name\n").len(), 1);
    assert_eq!(with("### RC-8\n\nThe promise is this.\n\nState: open\n").len(), 1);
}
