//! File names as candidates, and the expansion of `~`.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use crate::readline::variables::Variables;

use super::{Candidate, Colours, Completer, CompletionContext};

/// A completer for file names: the default of GNU readline.
///
/// A directory gets a slash. Nothing follows the name of another file. Names are quoted as set by
/// [`Editor::set_filename_quotes`](crate::readline::Editor::set_filename_quotes); by default they are not quoted.
///
/// ```
/// use ossature::readline::{Editor, Filenames};
///
/// let mut editor = Editor::new();
/// editor.parse_and_bind("set completion-ignore-case on").unwrap();
/// editor.set_completer(Filenames::with(editor.variables()));
/// ```
#[derive(Debug, Clone)]
pub struct Filenames {
    mark_folders: bool,
    mark_linked_folders: bool,
    hidden: bool,
    ignore_case: bool,
    map_case: bool,
    expand_tilde: bool,
    stats: bool,
    colours: Option<Colours>,
}

impl Default for Filenames {
    /// Makes a completer with the variables' default values.
    fn default() -> Self {
        Self::with(&Variables::default())
    }
}

impl Filenames {
    /// Makes a completer with these variables: `mark-directories`, `mark-symlinked-directories`, `match-hidden-files`,
    /// `completion-ignore-case`, `completion-map-case`, `expand-tilde`, `visible-stats`, `colored-stats` with the
    /// colours of LS_COLORS.
    pub fn with(variables: &Variables) -> Self {
        Self {
            mark_folders: variables.mark_directories,
            mark_linked_folders: variables.mark_symlinked_directories,
            hidden: variables.match_hidden_files,
            ignore_case: variables.completion_ignore_case,
            map_case: variables.completion_map_case,
            expand_tilde: variables.expand_tilde,
            stats: variables.visible_stats,
            colours: variables.colored_stats.then(Colours::of_environment),
        }
    }

    fn matches(&self, name: &[u8], start: &[u8]) -> bool {
        if name.first() == Some(&b'.') && !self.hidden && start.first() != Some(&b'.') {
            return false;
        }
        if !self.ignore_case {
            return name.starts_with(start);
        }
        let fold = |text: &[u8]| -> String {
            let dash = |it: char| if self.map_case && it == '-' { '_' } else { it };
            String::from_utf8_lossy(text).chars().flat_map(char::to_lowercase).map(dash).collect()
        };
        fold(name).starts_with(&fold(start))
    }

    fn candidate(&self, place: &Path, shown: &[u8], name: &[u8]) -> Candidate {
        let path = place.join(OsStr::from_bytes(name));
        let metadata = path.symlink_metadata().ok();
        let own = metadata.as_ref().map(std::fs::Metadata::file_type);
        let is_link = own.is_some_and(|kind| kind.is_symlink());
        let target = path.metadata().ok();
        let is_folder = target.as_ref().is_some_and(std::fs::Metadata::is_dir);
        let marked = is_folder && self.mark_folders;
        let mark = match own {
            Some(kind) if self.stats => match kind {
                _ if kind.is_dir() => Some(b'/'),
                _ if kind.is_symlink() => Some(b'@'),
                _ if kind.is_socket() => Some(b'='),
                _ if kind.is_fifo() => Some(b'|'),
                _ if kind.is_char_device() => Some(b'%'),
                _ if kind.is_block_device() => Some(b'#'),
                _ if target.as_ref().is_some_and(|it| it.permissions().mode() & 0o111 != 0) => Some(b'*'),
                _ => None,
            },
            _ => marked.then_some(b'/'),
        };
        let suffix = if marked && (!is_link || self.mark_linked_folders) { "/" } else { "" };
        let colour = match (&self.colours, &metadata) {
            (Some(colours), Some(own)) => colours.of_file(name, own, target.as_ref()),
            _ => "",
        };
        Candidate::new([shown, name].concat()).with_suffix(suffix).shown_from(shown.len(), mark).coloured(colour)
    }
}

impl Completer for Filenames {
    fn complete(&mut self, _: &str, context: &CompletionContext<'_>) -> Vec<Candidate> {
        let word = context.word();
        let cut = word.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        let (folder, start) = word.split_at(cut);
        let expanded = expand_tilde(folder);
        let shown = expanded.as_deref().filter(|_| self.expand_tilde).unwrap_or(folder);
        let place = expanded.as_deref().unwrap_or(folder);
        let place = Path::new(OsStr::from_bytes(if place.is_empty() { b"." } else { place }));
        let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().into_vec());
        // The directory itself and its parent are candidates only after a typed dot.
        let dots = [&b"."[..], b".."].into_iter().filter(|_| start.starts_with(b".")).map(<[u8]>::to_vec);
        names
            .chain(dots)
            .filter(|name| self.matches(name, start))
            .map(|name| self.candidate(place, shown, &name))
            .collect()
    }

    fn yields_files(&self) -> bool {
        true
    }
}

/// Replaces `~` or `~user` at the start of a path by the home folder; `None` if there is no such user.
pub(crate) fn expand_tilde(path: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(b"~")?;
    let (user, tail) = rest.split_at(rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len()));
    let home = match user {
        b"" => std::env::var_os("HOME").map(OsStringExt::into_vec).or_else(|| home_of(b"root"))?,
        _ => home_of(user)?,
    };
    Some([&home[..], tail].concat())
}

/// Returns the user's home folder in /etc/passwd.
fn home_of(user: &[u8]) -> Option<Vec<u8>> {
    let users = std::fs::read("/etc/passwd").ok()?;
    let mut fields = users.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':'));
    let mut fields = fields.find(|fields| fields.clone().next() == Some(user))?;
    fields.nth(5).map(<[u8]>::to_vec)
}
