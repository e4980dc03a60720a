//! The documents and comments have short sentences and short lines, and first lines name their subject: `scripts/prose`
//! finds nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The output of `scripts/prose` for these files or for all, and whether it found nothing.
fn prose(files: &[&Path]) -> (String, bool) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/prose");
    let output = Command::new(&script).args(files).output().expect("scripts/prose starts");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.success())
}

#[test]
fn sentences_and_comment_lines_are_short() {
    let (found, is_clean) = prose(&[]);
    assert!(is_clean, "\n{found}");
    let files = found.lines().last().and_then(|line| line.strip_prefix("prose: ")?.split(' ').next());
    let files: Option<usize> = files.and_then(|number| number.parse().ok());
    assert!(files.is_some_and(|files| files > 500), "the script looked at too few files: {found}");
}

#[test]
fn a_planted_long_sentence_wide_comment_and_nounless_beginning_are_found() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prose-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let plant = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        let (found, is_clean) = prose(&[&path]);
        (found.lines().filter(|line| line.contains(name)).count(), is_clean)
    };
    let words = |count: usize| "word ".repeat(count);
    let wide = "w".repeat(120);
    let findings = [
        plant("long.md", &format!("A heading.\n\n* {}end.\n", words(30))),
        plant("two.md", &format!("{}end. {}end.\n", words(30), words(30))),
        plant("short.md", &format!("{}end. `{}`\n{}end!\n", words(29), words(40), words(28))),
        plant("outside.md", &format!("# {0}\n\n| {0} |\n\n```\n{0}\n```\n", words(31))),
        plant("wide.rs", &format!("    // {wide}\n")),
        plant("fits.rs", &format!("// {}\n/// https://{wide}\n/// | {wide} |\n", &wide[3..])),
        plant("noun.rs", "//! They are read.\n//! It is fine here.\n\n/// Its length.\nconst LENGTH: u8 = 1;\n"),
        plant(
            "named.rs",
            "/// Italic text, and the item.\n/// It has a length.\nconst ITEM: u8 = 1;\n// It is a comment.\n",
        ),
        plant("code.rs", &format!("/// ```\n/// {wide}\n/// ```\nconst WIDE: &str = \"{wide}\";\n")),
    ];
    fs::remove_dir_all(&folder).unwrap();
    let (found, nothing) = (|count| (count, false), (0, true));
    let expected = [found(1), found(2), nothing, nothing, found(1), nothing, found(2), nothing, nothing];
    assert_eq!(findings, expected);
}
