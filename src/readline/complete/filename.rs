//! Names of files as candidates, and what `~` stands for.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::readline::variables::Variables;

use super::{Candidate, Completer, CompletionContext};

/// Completes names of files: the default of GNU readline.
#[derive(Debug, Default, Clone)]
pub struct Filenames {}

impl Filenames {
    /// Completes as the variables of the init file say.
    pub(crate) fn new(_: &Variables) -> Self {
        Self {}
    }
}

impl Completer for Filenames {
    fn complete(&mut self, _: &str, context: &CompletionContext<'_>) -> Vec<Candidate> {
        let word = context.word();
        let cut = word.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        let (folder, start) = word.split_at(cut);
        let place = expand_tilde(folder).unwrap_or_else(|| folder.to_vec());
        let place = if place.is_empty() { b".".to_vec() } else { place };
        let Ok(entries) = std::fs::read_dir(Path::new(OsStr::from_bytes(&place))) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_name().as_bytes().starts_with(start))
            .map(|entry| {
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let text = [folder, &entry.file_name().into_vec()].concat();
                Candidate::new(text).with_suffix(if is_folder { "/" } else { "" }).shown_from(cut, None)
            })
            .collect()
    }

    fn yields_files(&self) -> bool {
        true
    }
}

/// A path that begins with `~` or `~user`, with the home folder in its place; none where there is no such user.
pub(crate) fn expand_tilde(path: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(b"~")?;
    let (user, tail) = rest.split_at(rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len()));
    let home = match user {
        b"" => std::env::var_os("HOME").map(OsStringExt::into_vec).or_else(|| home_of(b"root"))?,
        _ => home_of(user)?,
    };
    Some([&home[..], tail].concat())
}

/// The home folder that /etc/passwd names.
fn home_of(user: &[u8]) -> Option<Vec<u8>> {
    let users = std::fs::read("/etc/passwd").ok()?;
    let mut fields = users.split(|&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':'));
    let mut fields = fields.find(|fields| fields.clone().next() == Some(user))?;
    fields.nth(5).map(<[u8]>::to_vec)
}
