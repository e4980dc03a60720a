//! The line, its point, mark, killed text and undo with a plain model: a vector of bytes and copies of it.
#![no_main]

use std::ops::Range;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ossature::readline::{Editor, Step};

/// What texts are made of: letters, characters of several bytes, a mark that joins the letter before, half characters.
const PIECES: &[&[u8]] =
    &[b"a", b"B7", b" ", b".", "é".as_bytes(), "中".as_bytes(), "\u{301}".as_bytes(), b"\xff", b"\xc3", b"\xa9"];

/// How many typed bytes one undo takes back.
const RUN: usize = 20;

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Move {
    Forward,
    Backward,
    Home,
    End,
    ToMark,
}

#[derive(Arbitrary, Debug)]
enum Edit {
    Type(u8),
    Insert(Vec<u8>),
    Move(Move),
    Delete,
    Rubout,
    Kill,
    KillBack,
    KillRegion,
    CopyRegion,
    Yank,
    Mark,
    Undo,
}

/// The line as anybody would write it down.
#[derive(Default)]
struct Model {
    text: Vec<u8>,
    point: usize,
    mark: usize,
    killed: Vec<u8>,
    /// Whether the step before was a kill.
    kills: bool,
    /// The text before each change, and of typed bytes where the run ends and how long it is.
    before: Vec<(Vec<u8>, Option<(usize, usize)>)>,
}

/// Where the characters of a text begin, and its end. A byte that belongs to no character is one.
fn places(text: &[u8]) -> Vec<usize> {
    let (mut places, mut at) = (Vec::new(), 0);
    for chunk in text.utf8_chunks() {
        for (within, it) in chunk.valid().char_indices() {
            if it != '\u{301}' || at + within == 0 {
                places.push(at + within);
            }
        }
        at += chunk.valid().len();
        places.extend(at..at + chunk.invalid().len());
        at += chunk.invalid().len();
    }
    places.push(at);
    places
}

impl Model {
    fn next(&self) -> usize {
        self.point + places(&self.text[self.point..]).get(1).copied().unwrap_or(0)
    }

    fn previous(&self) -> usize {
        places(&self.text[..self.point]).iter().rev().nth(1).copied().unwrap_or(0)
    }

    /// The start of the character that a place is within.
    fn floor(&self, at: usize) -> usize {
        let mut start = 0;
        for chunk in self.text.utf8_chunks() {
            let end = start + chunk.valid().len();
            if at < start {
                return at; // a byte of no character
            }
            if at < end {
                let boundary = (0..=at - start).rev().find(|&n| chunk.valid().is_char_boundary(n));
                return start + boundary.unwrap_or(0);
            }
            start = end + chunk.invalid().len();
        }
        at
    }

    fn region(&self) -> Range<usize> {
        let mark = self.floor(self.mark);
        self.point.min(mark)..self.point.max(mark)
    }

    fn insert(&mut self, text: &[u8]) {
        let end = self.point + text.len();
        match self.before.last_mut() {
            _ if text.is_empty() => {}
            Some((_, Some((run_end, length)))) if text.len() == 1 && *run_end == self.point && *length < RUN => {
                (*run_end, *length) = (end, *length + 1);
            }
            _ => self.before.push((self.text.clone(), Some((end, text.len())))),
        }
        self.text.splice(self.point..self.point, text.iter().copied());
        self.point = end;
    }

    fn delete(&mut self, range: Range<usize>) {
        self.before.push((self.text.clone(), None));
        self.point = range.start;
        self.text.drain(range);
        self.mark = self.mark.min(self.text.len());
    }

    /// Kills a range; `backward` text goes before what the kill before has taken.
    fn keep(&mut self, range: Range<usize>, backward: bool) {
        let text = self.text[range].to_vec();
        self.killed = match (self.kills, backward) {
            (false, _) => text,
            (true, true) => [text, std::mem::take(&mut self.killed)].concat(),
            (true, false) => [std::mem::take(&mut self.killed), text].concat(),
        };
    }

    /// Does the step; tells whether it was a kill.
    fn run(&mut self, step: &Edit, text: &[u8]) -> bool {
        let (point, end) = (self.point, self.text.len());
        match step {
            Edit::Type(_) | Edit::Insert(_) => self.insert(text),
            Edit::Move(Move::Forward) => self.point = self.next(),
            Edit::Move(Move::Backward) => self.point = self.previous(),
            Edit::Move(Move::Home) => self.point = 0,
            Edit::Move(Move::End) => self.point = end,
            Edit::Move(Move::ToMark) => (self.point, self.mark) = (self.floor(self.mark), point),
            Edit::Delete if point < end => self.delete(point..self.next()),
            Edit::Rubout if point > 0 => self.delete(self.previous()..point),
            Edit::Kill | Edit::KillBack => {
                let range = if matches!(step, Edit::Kill) { point..end } else { 0..point };
                if !range.is_empty() {
                    self.keep(range.clone(), range.start < point);
                    self.delete(range.clone());
                }
                if !range.is_empty() || matches!(step, Edit::Kill) {
                    self.mark = self.point;
                }
                return !range.is_empty();
            }
            Edit::KillRegion | Edit::CopyRegion => {
                let region = self.region();
                if !region.is_empty() {
                    self.keep(region.clone(), region.start < point);
                    if matches!(step, Edit::KillRegion) {
                        self.delete(region);
                    }
                }
                return true; // as GNU readline: even if nothing was killed
            }
            Edit::Yank if !self.killed.is_empty() => {
                self.mark = point;
                let killed = self.killed.clone();
                self.insert(&killed);
            }
            Edit::Mark => self.mark = point,
            Edit::Undo => {
                if let Some((before, _)) = self.before.pop() {
                    self.text = before;
                }
                self.mark = self.mark.min(self.text.len());
            }
            _ => {}
        }
        false
    }
}

fuzz_target!(|steps: Vec<Edit>| {
    let (mut editor, mut out, mut model) = (Editor::new(), Vec::new(), Model::default());
    editor.parse_and_bind("\"\\C-x0\": kill-region\n\"\\C-x1\": copy-region-as-kill").expect("the lines are right");
    let _ = editor.begin("> ", &mut out);
    for step in steps {
        let piece = |byte: &u8| PIECES[usize::from(*byte) % PIECES.len()];
        let (keys, text): (&[u8], Vec<u8>) = match &step {
            Edit::Type(byte) => (b"", vec![byte % 95 + b' ']),
            Edit::Insert(bytes) => (b"", bytes.iter().flat_map(piece).copied().collect()),
            Edit::Move(Move::Forward) => (b"\x06", Vec::new()),
            Edit::Move(Move::Backward) => (b"\x02", Vec::new()),
            Edit::Move(Move::Home) => (b"\x01", Vec::new()),
            Edit::Move(Move::End) => (b"\x05", Vec::new()),
            Edit::Move(Move::ToMark) => (b"\x18\x18", Vec::new()),
            // On an empty line the key would end the input.
            Edit::Delete if model.text.is_empty() => continue,
            Edit::Delete => (b"\x04", Vec::new()),
            Edit::Rubout => (b"\x7f", Vec::new()),
            Edit::Kill => (b"\x0b", Vec::new()),
            Edit::KillBack => (b"\x15", Vec::new()),
            Edit::KillRegion => (b"\x180", Vec::new()),
            Edit::CopyRegion => (b"\x181", Vec::new()),
            Edit::Yank => (b"\x19", Vec::new()),
            Edit::Mark => (b"\0", Vec::new()),
            Edit::Undo => (b"\x1f", Vec::new()),
        };
        match &step {
            Edit::Insert(_) => {
                // What the program inserts is not a command: it does not part two kills.
                editor.insert_text(&text);
                model.insert(&text);
            }
            _ => {
                let typed = if keys.is_empty() { &text[..] } else { keys };
                assert_eq!(editor.feed(typed, &mut out), Step::More);
                model.kills = model.run(&step, &text);
            }
        }
        out.clear();
        assert_eq!(editor.line_buffer(), model.text, "{step:?}");
        if matches!(step, Edit::Undo) {
            assert_eq!(editor.point(), model.floor(editor.point()), "an undo leaves the point before a character");
            model.point = editor.point();
        }
        assert_eq!(editor.point(), model.point, "{step:?}");
    }
    // All changes taken back, the line is as it began.
    let _ = editor.feed(b"\x1br", &mut out);
    assert!(editor.line_buffer().is_empty(), "{:?}", editor.line_buffer());
});
