//! The guide's links have targets, each chapter has a program that CI runs, and each block without a doc test is part
//! of such a program.

use std::fs;
use std::path::Path;

/// The files that the guide may name: those that its links reach from `docs/`.
type Files<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The number of chapters of the guide.
const CHAPTERS: usize = 19;

/// The link targets of a text, except its own headings and web addresses.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.starts_with('#') && !target.contains("://")).map(str::to_owned).collect()
}

/// The code blocks of a text: the words behind the fence, and the lines.
fn blocks(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|line| *line != "```").map(|line| line.trim().to_owned()).collect();
            found.push((info.to_owned(), block));
        }
    }
    found
}

fn complaints(guide: &str, read: Files<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let chapters: Vec<&str> = guide.split("\n## ").skip(1).collect();
    if chapters.len() != CHAPTERS {
        wrong.push(format!("{} chapters, not {CHAPTERS}", chapters.len()));
    }
    for chapter in chapters {
        let title = chapter.lines().next().unwrap_or_default();
        let mut programs = String::new();
        for link in links(chapter) {
            match read(&link) {
                Some(text) if link.ends_with(".rs") => programs.push_str(&text),
                Some(_) => {}
                None => wrong.push(format!("{title}: {link} does not exist")),
            }
        }
        if programs.is_empty() {
            wrong.push(format!("{title}: names no program"));
        }
        let programs: Vec<&str> = programs.lines().map(str::trim).collect();
        let blocks = blocks(chapter);
        if !blocks.iter().any(|(info, _)| info.starts_with("rust")) {
            wrong.push(format!("{title}: shows no program"));
        }
        // What no doc test runs has to be the text of a program that is run.
        for (info, lines) in blocks.iter().filter(|(info, _)| info.contains("ignore") || info.contains("no_run")) {
            let absent = lines.iter().filter(|line| !line.is_empty() && !programs.contains(&line.as_str()));
            wrong.extend(absent.map(|line| format!("{title}: {info}: no linked program has the line {line}")));
        }
    }
    wrong
}

/// A file or a folder, by its path from `docs/`.
fn from_docs(link: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(link.split('#').next().unwrap_or(link));
    if path.is_dir() { Some(String::new()) } else { fs::read_to_string(path).ok() }
}

#[test]
fn the_guide_leads_to_programs_that_run() {
    let guide = from_docs("guide.md").expect("docs/guide.md is there");
    let wrong = complaints(&guide, &from_docs);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_planted_defect_of_the_guide_is_found() {
    let read = |path: &str| (path == "../examples/a.rs").then(|| "fn main() {\n    work();\n}\n".to_owned());
    let chapter = |number: u32, block: &str, link: &str| format!("\n## {number}. A\n\n```{block}\n```\n[a]({link})\n");
    let good = |number| chapter(number, "rust,ignore\nwork();", "../examples/a.rs");
    let all_but_one: String = (1..CHAPTERS as u32).map(good).collect();
    assert!(complaints(&format!("{all_but_one}{}", good(16)), &read).is_empty());
    assert_eq!(complaints(&all_but_one, &read).len(), 1);
    for (block, link) in [
        ("rust,ignore\nplay();", "../examples/a.rs"),
        ("rust,no_run\nplay();", "../examples/a.rs"),
        ("console\nwork", "../examples/a.rs"),
        ("rust\nwork();", "#another-chapter"),
    ] {
        assert_eq!(complaints(&format!("{all_but_one}{}", chapter(16, block, link)), &read).len(), 1, "{block} {link}");
    }
    assert_eq!(complaints(&format!("{all_but_one}{}", chapter(16, "rust\nf();", "../examples/b.rs")), &read).len(), 2);
}
