//! The table of keys that `examples/keys_vs_readline` types into GNU readline and into this editor.

use ossature::readline::Command;

/// In emacs mode GNU readline looks up the keys that these commands read in the keymap of emacs mode.
const OF_VI_MODE_ONLY: [&str; 5] = ["vi-change-to", "vi-delete-to", "vi-redo", "vi-subst", "vi-yank-to"];

#[test]
fn the_table_has_every_command_in_both_modes() {
    let rows: Vec<Vec<&str>> = include_str!("keys.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').collect())
        .collect();
    assert!(rows.len() >= 400, "{} rows", rows.len());
    for mode in ["emacs", "vi"] {
        let of_mode = || rows.iter().filter(|row| row[1].split(';').next() == Some(mode));
        // A command that looks at its last key is bound to that key.
        let binds =
            |name: &str| of_mode().any(|row| row[1].split(';').any(|line| line.ends_with(&format!("\": {name}"))));
        let runs = |name: &str| of_mode().any(|row| row[3].contains(&format!("{{{name}}}")));
        let missing: Vec<&str> = Command::ALL
            .iter()
            .map(|command| command.name())
            .filter(|name| !runs(name) && !binds(name))
            .filter(|name| mode == "vi" || !OF_VI_MODE_ONLY.contains(name))
            .collect();
        assert_eq!(missing, [""; 0], "{mode}");
    }
}
