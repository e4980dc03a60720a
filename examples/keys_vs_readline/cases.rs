//! The typed keys: the table, and random keys.

use ossature::readline::Command;

use super::guided::Outcome;

/// Keys that are typed into a line, and their settings.
pub struct Case {
    pub name: String,
    /// Lines of an init file, the same for both editors.
    pub settings: String,
    pub vi: bool,
    pub history: Vec<String>,
    pub keys: Vec<u8>,
}

impl Case {
    /// The keys that end the line: a mark at the cursor, then a yank.
    pub fn end(&self) -> &'static [u8] {
        if self.vi { b"i|\x1bp\r" } else { b"|\x19\r" }
    }

    /// The line of the settings that sets the mode in which a line begins.
    pub fn mode(&self) -> &str {
        self.settings.lines().rfind(|line| line.starts_with("set editing-mode ")).unwrap_or_default()
    }
}

/// Binds every command to `C-x : NAME ;` in the keymap.
fn every_command(keymap: &str) -> String {
    let mut lines = format!("set keymap {keymap}\n");
    for command in Command::ALL {
        lines += &format!("\"\\C-x:{0};\": {0}\n", command.name());
    }
    lines
}

fn settings(mode: &str, own: &str) -> (bool, String) {
    let vi = mode == "vi";
    let mut lines = String::new();
    for keymap in if vi { &["vi-command", "vi-insert"][..] } else { &["emacs"] } {
        lines += &every_command(keymap);
    }
    lines += &format!("set editing-mode {mode}\n");
    for line in own.split(';').filter(|line| !line.is_empty()) {
        lines += line.trim();
        lines.push('\n');
    }
    (vi, lines)
}

/// The lines of tests/readline/keys.tsv: a name, `emacs` or `vi` and further init lines after `;`, lines of history
/// between `|`, keys. `{name}` in the keys runs a command.
pub fn table() -> Outcome<Vec<Case>> {
    let mut cases = Vec::new();
    for (number, line) in include_str!("../../tests/readline/keys.tsv").lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let [name, mode, history, keys] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("keys.tsv:{}: expected four fields", number + 1).into());
        };
        let (mode, own) = mode.split_once(';').unwrap_or((mode, ""));
        let (vi, settings) = settings(mode, own);
        let history = history.split('|').filter(|line| !line.is_empty()).map(str::to_owned).collect();
        cases.push(Case { name: name.to_owned(), settings, vi, history, keys: bytes(keys)? });
    }
    // The same settings stand together, so that one process takes them all.
    cases.sort_by(|a, b| a.settings.cmp(&b.settings));
    Ok(cases)
}

/// Keys as init files write them, and `{command}`.
fn bytes(text: &str) -> Outcome<Vec<u8>> {
    let mut keys = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((name, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            keys.extend(format!("\x18:{name};").bytes());
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\C-") {
            let (key, after) = after.split_at_checked(1).ok_or("\\C- needs a key")?;
            keys.push(if key == "?" { 0x7f } else { key.as_bytes()[0] & 0x1f });
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\M-") {
            keys.push(0x1b);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\x") {
            let (digits, after) = after.split_at_checked(2).ok_or("\\x needs two digits")?;
            keys.push(u8::from_str_radix(digits, 16)?);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('\\') {
            let (key, after) = after.split_at_checked(1).ok_or("\\ needs a character")?;
            keys.push(match key {
                "e" => 0x1b,
                "t" => b'\t',
                "r" => b'\r',
                "n" => b'\n',
                other => other.as_bytes()[0],
            });
            rest = after;
        } else {
            keys.extend(first.to_string().bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(keys)
}

/// Formats keys for people to read.
pub fn shown(keys: &[u8]) -> String {
    keys.escape_ascii().to_string().replace("\\x18:", "{").replace(';', "}")
}

/// Random numbers: xorshift.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end.max(1)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    pub fn cases(&mut self, count: usize) -> Vec<Case> {
        let mut cases: Vec<Case> = (0..count).map(|number| self.case(number)).collect();
        cases.sort_by(|a, b| a.settings.cmp(&b.settings));
        cases
    }

    fn case(&mut self, number: usize) -> Case {
        const EMACS: &[&str] = &[
            "\\C-a",
            "\\C-b",
            "x\\C-b\\C-d",
            "\\C-e",
            "\\C-f",
            "\\C-k",
            "\\C-n",
            "\\C-p",
            "\\C-t",
            "\\C-u",
            "\\C-w",
            "\\C-y",
            "\\C-_",
            "\\C-@",
            "\\C-]a",
            "\\C-?",
            "\\C-v\\C-a",
            "\\C-x\\C-x",
            "\\C-x\\C-?",
            "\\M-b",
            "\\M-c",
            "\\M-d",
            "\\M-f",
            "\\M-l",
            "\\M-t",
            "\\M-u",
            "\\M-y",
            "\\M-r",
            "\\M-.",
            "\\M-\\C-y",
            "\\M-\\\\",
            "\\M-2",
            "\\M--",
            "\\M-3",
            "\\M-<",
            "\\M->",
            "\\M-\\C-?",
            "\\M-\\C-]b",
            "\\C-ro",
            "\\C-st",
            "\\C-x0",
            "\\C-x1",
            "\\C-x2",
            "\\C-x3",
            "\\C-x4",
            "\\C-x5",
            "\\C-x6",
            "\\C-x7",
            "\\C-x8",
        ];
        const VI: &[&str] = &[
            "\\e", "\\ei", "\\ea", "\\eA", "\\eI", "\\eh", "\\el", "\\e0", "\\e$", "\\e^", "\\ew", "\\eb", "\\ee",
            "\\eW", "\\eB", "\\eE", "\\edw", "\\ed$", "\\edb", "\\ecw", "\\eyw", "\\eyy", "\\edd", "\\eD", "\\eC",
            "\\ex", "\\eX", "\\ep", "\\eP", "\\erz", "\\eRq", "\\e~", "\\e%", "\\efo", "\\eFo", "\\eta", "\\eTa",
            "\\e;", "\\e,", "\\e2", "\\e3", "\\eu", "\\eU", "\\e.", "\\ek", "\\ej", "\\es", "\\eS", "\\e|", "\\ema",
            "\\e`a", "\\C-w", "\\C-u", "\\C-?",
        ];
        const TEXT: &[&str] = &["a", "b", "to", " ", "foo", "-", ".", "/x", "(b)", "one two", "é", "中", "o"];
        // Commands without keys of their own.
        const BOUND: &str = "\"\\C-x0\": kill-region;\"\\C-x1\": copy-region-as-kill;\"\\C-x2\": overwrite-mode;\
            \"\\C-x3\": unix-filename-rubout;\"\\C-x4\": kill-whole-line;\"\\C-x5\": history-search-backward;\
            \"\\C-x6\": copy-backward-word;\"\\C-x7\": copy-forward-word;\"\\C-x8\": universal-argument";
        let vi = self.below(2) == 1;
        let mut keys = Vec::new();
        for _ in 0..3 + self.below(12) {
            let part = match self.below(5) {
                0 | 1 => self.one(TEXT),
                _ => self.one(if vi { VI } else { EMACS }),
            };
            keys.extend(bytes(part).expect("the keys are right"));
        }
        let history = ["first line", "second one (b)", "third/x.y two"].map(str::to_owned).to_vec();
        // The region that the commands show has colours.
        let colours = if number % 4 == 3 { ";set enable-active-region on" } else { "" };
        let own = format!("{}{colours}", if vi { "" } else { BOUND });
        let (vi, settings) = settings(if vi { "vi" } else { "emacs" }, &own);
        Case { name: format!("random {number}"), settings, vi, history, keys }
    }
}
