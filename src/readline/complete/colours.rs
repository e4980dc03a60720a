//! The colours of `colored-stats` and `colored-completion-prefix`, from LS_COLORS as `ls` and GNU readline read it.

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// The kinds of files that have a colour: the name in LS_COLORS, and the colour without LS_COLORS.
const KINDS: [(&str, &str); 14] = [
    ("fi", ""),
    ("di", "01;34"),
    ("ln", "01;36"),
    ("pi", "33"),
    ("so", "01;35"),
    ("bd", "01;33"),
    ("cd", "01;33"),
    ("or", ""),
    ("ex", "01;32"),
    ("su", "37;41"),
    ("sg", "30;43"),
    ("st", "37;44"),
    ("ow", "34;42"),
    ("tw", "30;42"),
];

/// The extension in LS_COLORS that gives the colour of the common prefix.
const PREFIX: &str = "readline-colored-completion-prefix";

/// The colours, each as the parameters of an escape sequence.
#[derive(Debug, Clone, Default)]
pub(crate) struct Colours {
    kinds: Vec<(String, String)>,
    /// The colours by the end of the name, the latest first.
    endings: Vec<(String, String)>,
}

impl Colours {
    /// Reads the colours from the environment.
    pub(crate) fn of_environment() -> Self {
        Self::parse(&std::env::var("LS_COLORS").unwrap_or_default())
    }

    /// Reads the value of LS_COLORS. Ignores an entry that is not a pair of a name and numbers.
    fn parse(text: &str) -> Self {
        let mut this = Self::default();
        for pair in text.split(':') {
            let Some((name, colour)) = pair.split_once('=') else { continue };
            // Anything else would be a sequence of its own.
            let is_colour = colour == "target" || colour.bytes().all(|byte| byte.is_ascii_digit() || byte == b';');
            match name.strip_prefix('*') {
                _ if !is_colour => {}
                Some(ending) => this.endings.insert(0, (ending.to_owned(), colour.to_owned())),
                None => this.kinds.insert(0, (name.to_owned(), colour.to_owned())),
            }
        }
        this
    }

    fn kind(&self, name: &str) -> &str {
        let own = self.kinds.iter().find(|(known, _)| known == name).map(|(_, colour)| colour.as_str());
        own.or_else(|| KINDS.iter().find(|(known, _)| *known == name).map(|(_, colour)| *colour)).unwrap_or_default()
    }

    /// The colour of the candidates' common prefix: magenta unless LS_COLORS has another.
    pub(crate) fn prefix(&self) -> &str {
        self.endings.iter().find(|(ending, _)| ending == PREFIX).map_or_else(|| self.kind("so"), |(_, colour)| colour)
    }

    /// Returns the colour of a file, from its name, its own kind, and the kind of its target if it is a link.
    pub(crate) fn of_file(&self, name: &[u8], own: &Metadata, target: Option<&Metadata>) -> &str {
        if !own.is_symlink() {
            return self.of_what(name, own);
        }
        let link = match target {
            None if !self.kind("or").is_empty() => self.kind("or"),
            _ => self.kind("ln"),
        };
        match target {
            Some(target) if link == "target" => self.of_what(name, target),
            _ if link == "target" => "",
            _ => link,
        }
    }

    fn of_what(&self, name: &[u8], what: &Metadata) -> &str {
        let (kind, mode) = (what.file_type(), what.mode());
        let has = |bits: u32| mode & bits == bits;
        let special = if kind.is_dir() {
            match (has(0o1000), has(0o002)) {
                (true, true) => "tw",
                (false, true) => "ow",
                (true, false) => "st",
                (false, false) => "di",
            }
        } else if kind.is_fifo() {
            "pi"
        } else if kind.is_socket() {
            "so"
        } else if kind.is_block_device() {
            "bd"
        } else if kind.is_char_device() {
            "cd"
        } else if has(0o4000) {
            "su"
        } else if has(0o2000) {
            "sg"
        } else if mode & 0o111 != 0 {
            "ex"
        } else {
            "fi"
        };
        let ending = || self.endings.iter().find(|(ending, _)| ending != PREFIX && name.ends_with(ending.as_bytes()));
        match special {
            "fi" => ending().map_or_else(|| self.kind("fi"), |(_, colour)| colour),
            _ => self.kind(special),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Colours;

    #[test]
    fn colours_are_those_that_were_set_last() {
        let colours =
            Colours::parse("di=01;31:*.txt=35:*readline-colored-completion-prefix=04;31:x:ex=\u{1b}]0;:di=34:so=1");
        assert_eq!((colours.kind("di"), colours.kind("ex"), colours.kind("ln")), ("34", "01;32", "01;36"));
        assert_eq!(
            (colours.prefix(), Colours::parse("so=1").prefix(), Colours::parse("").prefix()),
            ("04;31", "1", "01;35")
        );
        let own = std::fs::metadata("/dev/null").unwrap();
        assert_eq!(colours.of_file(b"null", &own, None), "01;33");
        let file = std::fs::metadata(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(colours.of_file(b"program.txt", &file, None), "01;32");
    }
}
