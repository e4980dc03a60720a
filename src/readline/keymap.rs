//! Keymaps: a tree from the bytes of a key sequence to its [`Binding`], and GNU readline's default bindings.
//!
//! `emacs-meta` and `emacs-ctlx` are the parts of the emacs keymap behind the escape key and `C-x`.

use super::command::Command;
use super::keys::{self, ESC};

mod defaults;

/// The meaning of a key sequence.
///
/// ```
/// use ossature::readline::{Binding, Command};
///
/// assert_ne!(Binding::Command(Command::Yank), Binding::Macro(b"yank".as_slice().into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// A command.
    Command(Command),
    /// A macro: keys that are read as if they were typed.
    Macro(Box<[u8]>),
}

/// A keymap, by its name for `set keymap`.
///
/// ```
/// use ossature::readline::{Editor, KeymapName};
///
/// let mut editor = Editor::new();
/// editor.parse_and_bind("set keymap vi-move").unwrap();
/// assert_eq!(editor.variables().keymap, KeymapName::ViCommand);
/// assert_eq!(KeymapName::from_name("VI-Command").map(KeymapName::name), Some("vi"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeymapName {
    /// The keymap `emacs`, also `emacs-standard`.
    #[default]
    Emacs,
    /// The keymap `emacs-meta`: after the escape key.
    EmacsMeta,
    /// The keymap `emacs-ctlx`: after `C-x`.
    EmacsCtlx,
    /// The keymap `vi-command`, also `vi` and `vi-move`.
    ViCommand,
    /// The keymap `vi-insert`.
    ViInsert,
}

impl KeymapName {
    /// Finds a keymap by its name, ignoring case.
    #[doc(alias = "rl_get_keymap_by_name")]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "emacs" | "emacs-standard" => Self::Emacs,
            "emacs-meta" => Self::EmacsMeta,
            "emacs-ctlx" => Self::EmacsCtlx,
            "vi" | "vi-move" | "vi-command" => Self::ViCommand,
            "vi-insert" => Self::ViInsert,
            _ => return None,
        })
    }

    /// Returns the name that GNU readline shows as the value of `keymap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emacs => "emacs",
            Self::EmacsMeta => "emacs-meta",
            Self::EmacsCtlx => "emacs-ctlx",
            Self::ViCommand => "vi",
            Self::ViInsert => "vi-insert",
        }
    }

    /// Returns the keys before every sequence of this keymap.
    pub(crate) const fn prefix(self) -> &'static [u8] {
        match self {
            Self::EmacsMeta => &[ESC],
            Self::EmacsCtlx => b"\x18",
            _ => &[],
        }
    }
}

/// The result of [`Keymap::look`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup<'a> {
    /// No sequence begins with these keys.
    None,
    /// Longer sequences begin with these keys; the binding is that of the keys alone.
    Prefix(Option<&'a Binding>),
    /// These keys are bound, and no longer sequence is.
    Bound(&'a Binding),
}

/// The index of a node in the tree.
type Place = u32;

#[derive(Clone, Debug, Default)]
struct Node {
    binding: Option<Binding>,
    /// The nodes of longer sequences, sorted by the next byte.
    next: Vec<(u8, Place)>,
}

/// A tree of key sequences.
#[derive(Clone, Debug)]
pub(crate) struct Keymap {
    /// The node of each first byte; an entry is 0 if there is none, because node 0 is the root.
    first: Box<[Place; 256]>,
    nodes: Vec<Node>,
}

impl Default for Keymap {
    /// Makes a keymap without bindings.
    fn default() -> Self {
        Self { first: Box::new([0; 256]), nodes: vec![Node::default()] }
    }
}

impl Keymap {
    fn child(&self, at: Place, key: u8) -> Option<Place> {
        let next = &self.nodes[at as usize].next;
        next.binary_search_by_key(&key, |&(byte, _)| byte).ok().map(|n| next[n].1)
    }

    fn find(&self, keys: &[u8]) -> Option<&Node> {
        let (&first, rest) = keys.split_first()?;
        let mut at = self.first[usize::from(first)];
        for &key in rest {
            at = self.child(at, key).filter(|_| at != 0)?;
        }
        (at != 0).then(|| &self.nodes[at as usize])
    }

    /// Looks the keys up: their meaning, and whether more keys may follow.
    pub(crate) fn look(&self, keys: &[u8]) -> Lookup<'_> {
        match self.find(keys) {
            None => Lookup::None,
            Some(node) => match (&node.binding, self.leads_on(node)) {
                (binding, true) => Lookup::Prefix(binding.as_ref()),
                (Some(binding), false) => Lookup::Bound(binding),
                (None, false) => Lookup::None,
            },
        }
    }

    /// Whether the key is bound to `self-insert` and begins no longer sequence.
    pub(crate) fn inserts(&self, key: u8) -> bool {
        let node = &self.nodes[self.first[usize::from(key)] as usize];
        // Node 0, the root, has no binding.
        matches!(node.binding, Some(Binding::Command(Command::SelfInsert)))
            && (node.next.is_empty() || !self.leads_on(node))
    }

    /// Whether a longer sequence is bound. A node stays when its sequence is unbound.
    fn leads_on(&self, node: &Node) -> bool {
        let bound = |&(_, at): &(u8, Place)| {
            let node = &self.nodes[at as usize];
            node.binding.is_some() || self.leads_on(node)
        };
        node.next.iter().any(bound)
    }

    /// Binds the keys, or with `None` unbinds them. Longer sequences that begin with the keys keep their bindings.
    /// Ignores an empty sequence.
    pub(crate) fn bind(&mut self, keys: &[u8], to: Option<Binding>) {
        let Some((&first, rest)) = keys.split_first() else { return };
        if to.is_none() && self.find(keys).is_none() {
            return;
        }
        let mut at = self.first[usize::from(first)];
        if at == 0 {
            at = self.grow();
            self.first[usize::from(first)] = at;
        }
        for &key in rest {
            // A key of upper case that begins longer sequences does not mean the key of lower case any more.
            let own = &mut self.nodes[at as usize].binding;
            if to.is_some() && *own == Some(Binding::Command(Command::DoLowercaseVersion)) {
                *own = None;
            }
            at = self.child(at, key).unwrap_or_else(|| {
                let new = self.grow();
                let next = &mut self.nodes[at as usize].next;
                let n = next.partition_point(|&(byte, _)| byte < key);
                next.insert(n, (key, new));
                new
            });
        }
        self.nodes[at as usize].binding = to;
    }

    fn grow(&mut self) -> Place {
        self.nodes.push(Node::default());
        Place::try_from(self.nodes.len() - 1).expect("a keymap has fewer than 2^32 nodes")
    }

    /// Lists every bound sequence that begins with `prefix`, in the order of its bytes. Longer sequences come before
    /// the shorter one that they begin with, as in GNU readline's lists. With each, returns whether longer sequences
    /// begin with it.
    pub(crate) fn below(&self, prefix: &[u8]) -> Vec<(Vec<u8>, &Binding, bool)> {
        let mut found = Vec::new();
        let mut keys = prefix.to_vec();
        if let Some(node) = self.find(prefix) {
            self.walk(node, &mut keys, &mut found);
        }
        for key in (0..=u8::MAX).filter(|_| prefix.is_empty()) {
            if let Some(node) = self.find(&[key]) {
                self.walk(node, &mut vec![key], &mut found);
            }
        }
        found
    }

    fn walk<'a>(&'a self, node: &'a Node, keys: &mut Vec<u8>, found: &mut Vec<(Vec<u8>, &'a Binding, bool)>) {
        for &(key, at) in &node.next {
            keys.push(key);
            self.walk(&self.nodes[at as usize], keys, found);
            keys.pop();
        }
        if let Some(binding) = &node.binding {
            found.push((keys.clone(), binding, self.leads_on(node)));
        }
    }
}

/// The keymaps of an editor.
#[derive(Clone, Debug)]
pub(crate) struct Keymaps {
    pub(crate) emacs: Keymap,
    pub(crate) vi_insert: Keymap,
    pub(crate) vi_command: Keymap,
}

impl Keymaps {
    /// Returns the tree that contains a keymap.
    pub(crate) fn tree(&self, name: KeymapName) -> &Keymap {
        match name {
            KeymapName::Emacs | KeymapName::EmacsMeta | KeymapName::EmacsCtlx => &self.emacs,
            KeymapName::ViCommand => &self.vi_command,
            KeymapName::ViInsert => &self.vi_insert,
        }
    }

    /// Binds keys in the named keymap, or with `None` unbinds them.
    pub(crate) fn bind(&mut self, name: KeymapName, keys: &[u8], to: Option<Binding>) {
        let keys = [name.prefix(), keys].concat();
        match name {
            KeymapName::Emacs | KeymapName::EmacsMeta | KeymapName::EmacsCtlx => self.emacs.bind(&keys, to),
            KeymapName::ViCommand => self.vi_command.bind(&keys, to),
            KeymapName::ViInsert => self.vi_insert.bind(&keys, to),
        }
    }

    /// Returns the sequences of a keymap that are bound to a command, in notation.
    fn keys_of(&self, name: KeymapName, command: Command, convert_meta: bool) -> Vec<Vec<u8>> {
        let bound = self.tree(name).below(name.prefix()).into_iter();
        // Alike in name but for the case means one command to the lookup, so both are listed.
        let same = |to: &Binding| matches!(to, Binding::Command(to) if to.same_function(command));
        bound
            .filter(|(_, to, _)| same(to))
            .map(|(keys, _, leads_on)| spelled(name, &keys, leads_on, convert_meta))
            .collect()
    }

    /// Returns the output of `dump-functions`: every command with its keys, in words or in the form of an init file.
    pub(crate) fn dump_functions(&self, name: KeymapName, as_init_file: bool, convert_meta: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for &command in Command::ALL {
            let keys = self.keys_of(name, command, convert_meta);
            if as_init_file {
                for keys in &keys {
                    out.extend([b"\"", keys.as_slice(), b"\": ", command.name().as_bytes(), b"\n"].concat());
                }
                if keys.is_empty() {
                    out.extend(format!("# {command} (not bound)\n").into_bytes());
                }
            } else if keys.is_empty() {
                out.extend(format!("{command} is not bound to any keys\n").into_bytes());
            } else {
                out.extend(format!("{command} can be found on ").into_bytes());
                let quoted: Vec<_> = keys.iter().take(5).map(|keys| [b"\"", keys.as_slice(), b"\""].concat()).collect();
                out.extend(quoted.join(&b", "[..]));
                out.extend(if keys.len() > 5 { &b", ...\n"[..] } else { b".\n" });
            }
        }
        out
    }

    /// Returns the output of `dump-macros`: every key that is bound to a macro.
    pub(crate) fn dump_macros(&self, name: KeymapName, as_init_file: bool, convert_meta: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for (keys, to, leads_on) in self.tree(name).below(name.prefix()) {
            let Binding::Macro(text) = to else { continue };
            let keys = spelled(name, &keys, leads_on, convert_meta);
            let (open, middle, close) = if as_init_file { ("\"", "\": \"", "\"\n") } else { ("", " outputs ", "\n") };
            out.extend(open.bytes().chain(keys).chain(middle.bytes()));
            keys::macro_notation(text, &mut out);
            out.extend(close.bytes());
        }
        out
    }
}

/// Writes the keys in notation, without the prefix of their keymap. GNU readline appends `\000` to keys that also begin
/// longer sequences.
fn spelled(name: KeymapName, keys: &[u8], leads_on: bool, convert_meta: bool) -> Vec<u8> {
    let mut out = Vec::new();
    keys::notation(&keys[name.prefix().len()..], convert_meta, &mut out);
    if leads_on {
        out.extend(b"\\000");
    }
    out
}
