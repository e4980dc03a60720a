//! Tests of the screen on an emulated terminal.

use vt100::Parser;

use super::super::machine::{Clear, Effects, View};
use super::Screen;

/// A screen and the terminal that shows it.
struct Shown {
    screen: Screen,
    terminal: Parser,
    bytes: usize,
    /// The line that was drawn last.
    line: Vec<u8>,
}

impl Shown {
    fn new(columns: u16, rows: u16) -> Self {
        let mut screen = Screen::new(b"xterm");
        screen.resize(columns.into(), rows.into(), &mut Vec::new());
        Self { screen, terminal: Parser::new(rows, columns, 0), bytes: 0, line: Vec::new() }
    }

    fn run(&mut self, act: impl FnOnce(&mut Screen, &mut Vec<u8>)) -> &mut Self {
        let mut out = Vec::new();
        act(&mut self.screen, &mut out);
        self.bytes = out.len();
        self.terminal.process(&out);
        self
    }

    /// Draws a view, which states how much of the line was there before.
    fn draw(&mut self, view: &View<'_>) -> &mut Self {
        let kept = self.line.iter().zip(view.line).take_while(|(before, now)| before == now).count();
        self.line = view.line.to_vec();
        self.run(|screen, out| screen.draw(&View { kept, ..view.clone() }, out))
    }

    /// Returns how many pieces of lines were laid out since the last call.
    fn laid(&mut self) -> usize {
        std::mem::take(&mut self.screen.now.laid) + std::mem::take(&mut self.screen.next.laid)
    }

    /// Asserts that both terminals show the same.
    #[track_caller]
    fn looks_like(&self, other: &Shown, place: impl Fn() -> String) {
        let (a, b) = (self.terminal.screen(), other.terminal.screen());
        assert_eq!(a.cursor_position(), b.cursor_position(), "{}", place());
        let (rows, columns) = a.size();
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let look = |cell: &vt100::Cell| {
                let blank = if cell.has_contents() { cell.contents().to_owned() } else { " ".to_owned() };
                (blank, cell.inverse(), cell.dim(), cell.bold())
            };
            let (one, two) = (look(a.cell(row, column).unwrap()), look(b.cell(row, column).unwrap()));
            let texts = || format!("{}\n--\n{}", self.text(), other.text());
            assert_eq!(one, two, "{}, cell {row},{column}:\n{}", place(), texts());
        }
    }

    fn text(&self) -> String {
        // A row that wraps into an empty one ends with a space.
        let text = self.terminal.screen().contents();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    fn cursor(&self) -> (u16, u16) {
        self.terminal.screen().cursor_position()
    }

    #[track_caller]
    fn is(&self, text: &str, cursor: (u16, u16)) {
        assert_eq!((self.text().as_str(), self.cursor()), (text, cursor));
    }
}

fn view<'a>(prompt: &'a [u8], line: &'a str, point: usize) -> View<'a> {
    View { prompt, line: line.as_bytes(), point, ..View::default() }
}

#[test]
fn a_line_longer_than_the_screen_wraps() {
    let mut shown = Shown::new(10, 5);
    shown.draw(&view(b"> ", "abcdefgh", 8)).is("> abcdefgh", (1, 0));
    shown.draw(&view(b"> ", "abcdefghij", 10)).is("> abcdefghij", (1, 2));
    shown.draw(&view(b"> ", "abcdefghij", 0)).is("> abcdefghij", (0, 2));
    shown.draw(&view(b"> ", "bcdefghij", 0)).is("> bcdefghij", (0, 2));
    shown.draw(&view(b"> ", "", 0)).is(">", (0, 2));
}

#[test]
fn a_keystroke_writes_its_own_bytes_only() {
    let mut shown = Shown::new(40, 5);
    shown.draw(&view(b"> ", "abc", 3));
    assert_eq!(shown.draw(&view(b"> ", "abcd", 4)).bytes, 1);
    assert_eq!(shown.draw(&view(b"> ", "abcd", 3)).bytes, 1);
    shown.draw(&view(b"> ", "abcdefghijklmnopqrst", 0));
    assert!(shown.draw(&view(b"> ", "xabcdefghijklmnopqrst", 1)).bytes < 8);
    shown.is("> xabcdefghijklmnopqrst", (0, 3));
    assert!(shown.draw(&view(b"> ", "abcdefghijklmnopqrst", 0)).bytes < 8);
    shown.is("> abcdefghijklmnopqrst", (0, 2));
}

#[test]
fn a_wide_character_never_hangs_over_the_edge() {
    let mut shown = Shown::new(8, 5);
    let line = "abcde\u{4e2d}";
    shown.draw(&view(b"> ", line, 5)).is("> abcde\n\u{4e2d}", (1, 0));
    assert_eq!(shown.terminal.screen().cell(1, 0).unwrap().contents(), "\u{4e2d}");
    shown.draw(&view(b"> ", line, line.len())).is("> abcde\n\u{4e2d}", (1, 2));
    shown.draw(&view(b"> ", "abcd\u{4e2d}", 7)).is("> abcd\u{4e2d}", (1, 0));
    // And where the prompt itself wraps.
    let mut shown = Shown::new(5, 5);
    shown.draw(&view("p\u{4e2d}q\u{4e2d}> ".as_bytes(), "x", 1)).is("p\u{4e2d}q\n\u{4e2d}> x", (2, 0));
}

#[test]
fn marks_and_control_characters_take_their_columns() {
    let mut shown = Shown::new(20, 3);
    shown.draw(&view(b"> ", "e\u{301}x", 3)).is("> e\u{301}x", (0, 3));
    shown.draw(&view(b"> ", "a\x01b\x7f", 2)).is("> a^Ab^?", (0, 5));
    shown.draw(&view(b"> ", "a\tb", 2)).is("> a     b", (0, 8));
    let mut out = Vec::new();
    Screen::new(b"xterm").draw(&View { line: b"a\xffb", point: 2, ..view(b"> ", "", 0) }, &mut out);
    assert_eq!(out, "> a\u{fffd}b\x08".as_bytes());
}

#[test]
fn the_cursor_is_right_behind_a_joined_emoji() {
    let mut shown = Shown::new(20, 3);
    let family = "\u{1f469}\u{200d}\u{1f467}";
    shown.draw(&view(b"> ", family, family.len()));
    assert_eq!(shown.cursor(), (0, 4));
    shown.draw(&view(b"> ", family, 0));
    assert_eq!(shown.cursor(), (0, 2));
}

#[test]
fn invisible_parts_of_a_prompt_take_no_column() {
    let mut shown = Shown::new(10, 5);
    let prompt = b"\x01\x1b[31m\x02red\x01\x1b[0m\x02> ";
    shown.draw(&view(prompt, "abcd", 4)).is("red> abcd", (0, 9));
    assert_eq!(shown.terminal.screen().cell(0, 0).unwrap().fgcolor(), vt100::Color::Idx(1));
    assert_eq!(shown.terminal.screen().cell(0, 5).unwrap().fgcolor(), vt100::Color::Default);
    shown.draw(&view(prompt, "abcdefg", 7)).is("red> abcdefg", (1, 2));
}

#[test]
fn a_prompt_may_have_several_lines() {
    let mut shown = Shown::new(10, 6);
    shown.draw(&view(b"one\ntwo\n> ", "abc", 3)).is("one\ntwo\n> abc", (2, 5));
    shown.draw(&view(b"one\ntwo\n> ", "abcdefghi", 9)).is("one\ntwo\n> abcdefghi", (3, 1));
    shown.run(|screen, out| screen.erase(out)).is("", (0, 0));
    shown.draw(&view(b"one\ntwo\n> ", "abc", 3)).is("one\ntwo\n> abc", (2, 5));
    // Other lines above are drawn in the place of the old ones.
    shown.draw(&view(b"1\n> ", "abc", 3)).is("1\n> abc", (1, 5));
}

#[test]
fn the_row_of_the_cursor_is_on_the_screen() {
    let mut shown = Shown::new(4, 3);
    let line = "abcdefghijklmnopq";
    shown.draw(&view(b"> ", line, line.len())).is("ghijklmnopq", (2, 3));
}

#[test]
fn what_scrolled_off_comes_back_with_the_cursor() {
    let mut shown = Shown::new(4, 3);
    let line = "abcdefghijklmnop";
    shown.draw(&view(b"> ", line, line.len()));
    assert_eq!(shown.cursor(), (2, 2));
    shown.draw(&view(b"> ", line, 0));
    assert_eq!((shown.text().lines().next(), shown.cursor()), (Some("> abcdefghij"), (0, 2)));
    shown.draw(&view(b"> ", line, line.len()));
    assert_eq!(shown.cursor(), (2, 2));
}

#[test]
fn horizontal_scrolling_marks_what_it_hides() {
    let mut shown = Shown::new(12, 2);
    let line = "abcdefghijklmnopqrstuvwxyz";
    let at = |point| View { horizontal_scroll: true, ..view(b"> ", line, point) };
    shown.draw(&at(0)).is("> abcdefghi>", (0, 2));
    shown.draw(&at(26)).is("<xyz", (0, 4));
    shown.draw(&at(13));
    assert!(shown.text().starts_with('<') && shown.text().ends_with('>'), "{}", shown.text());
    shown.draw(&at(0)).is("> abcdefghi>", (0, 2));
}

#[test]
fn a_dumb_terminal_gets_no_sequences() {
    let mut screen = Screen::new(b"dumb");
    screen.resize(12, 4, &mut Vec::new());
    let mut out = Vec::new();
    let mut terminal = Parser::new(4, 12, 0);
    let line = "abcdefghijklmnopqrstuvwxyz";
    for point in [0, 3, 26, 10, 0, 9, 2] {
        let hint = View { hint: b"h", region: Some(0..2), ..view(b"> ", &line[..point.max(3)], point) };
        screen.draw(&hint, &mut out);
    }
    assert!(!out.contains(&0x1b), "{:?}", String::from_utf8_lossy(&out));
    terminal.process(&out);
    assert_eq!((terminal.screen().contents().trim_end(), terminal.screen().cursor_position()), ("> abch", (0, 4)));
}

#[test]
fn a_line_of_a_dumb_terminal_is_drawn_anew_where_it_stood() {
    let mut screen = Screen::new(b"dumb");
    screen.resize(20, 4, &mut Vec::new());
    let mut out = Vec::new();
    screen.draw(&view(b"> ", "abcdefgh", 8), &mut out);
    let mut effects = Effects { clear: Some(Clear::Line), ..Effects::default() };
    screen.show(&view(b"> ", "ab", 2), &mut effects, &mut out);
    let mut terminal = Parser::new(4, 20, 0);
    terminal.process(&out);
    assert_eq!((terminal.screen().contents().trim_end(), terminal.screen().cursor_position()), ("> ab", (0, 4)));
}

#[test]
fn regions_hints_and_colours_have_their_styles() {
    let mut shown = Shown::new(20, 3);
    shown.draw(&View { region: Some(1..3), hint: b"hint", ..view(b"> ", "abcd", 4) });
    shown.is("> abcdhint", (0, 6));
    let inverse =
        |shown: &Shown| (0..8).map(|c| shown.terminal.screen().cell(0, c).unwrap().inverse()).collect::<Vec<_>>();
    assert_eq!(inverse(&shown), [false, false, false, true, true, false, false, false]);
    assert!(shown.terminal.screen().cell(0, 6).unwrap().dim());
    shown.draw(&View { highlighted: Some(b"\x1b[31mab\x1b[0mcd"), ..view(b"> ", "abcd", 4) });
    shown.is("> abcd", (0, 6));
    let colour = |shown: &Shown, c| shown.terminal.screen().cell(0, c).unwrap().fgcolor();
    assert_eq!((colour(&shown, 3), colour(&shown, 4)), (vt100::Color::Idx(1), vt100::Color::Default));
    assert!(!inverse(&shown)[3]);
    // Text that is not the line's is not shown.
    shown.draw(&View { highlighted: Some(b"\x1b[31mother"), ..view(b"> ", "abcd", 4) }).is("> abcd", (0, 6));
    assert_eq!(colour(&shown, 3), vt100::Color::Default);
}

#[test]
fn messages_modes_and_marks_stand_before_the_line() {
    let mut shown = Shown::new(30, 3);
    shown.draw(&View { mode: b"@", modified: true, ..view(b"one\n> ", "ab", 2) }).is("one\n*@> ab", (1, 6));
    shown.draw(&View { message: Some(b"(search)`a': "), mode: b"@", ..view(b"one\n> ", "ab", 0) });
    shown.is("one\n(search)`a': ab", (1, 13));
    shown.draw(&view(b"one\n> ", "ab", 2)).is("one\n> ab", (1, 4));
}

#[test]
fn a_finished_line_leaves_the_cursor_below() {
    let mut shown = Shown::new(10, 6);
    shown.draw(&view(b"> ", "abcdefghijkl", 0));
    shown.run(|screen, out| screen.leave(out)).is("> abcdefghijkl", (2, 0));
    // The cursor is already below a full row.
    let mut shown = Shown::new(10, 6);
    shown.draw(&view(b"> ", "abcdefgh", 8));
    shown.run(|screen, out| screen.leave(out)).is("> abcdefgh", (1, 0));
}

#[test]
fn a_resized_window_shows_the_line_once() {
    for to in [5, 10, 17, 40] {
        let mut shown = Shown::new(20, 8);
        shown.draw(&view(b"> ", "abcdefghijklmnop", 16));
        shown.terminal.screen_mut().set_size(8, to);
        shown.screen.resize(20, 8, &mut Vec::new()); // the same size changes nothing
        shown.run(|screen, out| screen.resize(to.into(), 8, out));
        shown.draw(&view(b"> ", "abcdefghijklmnop", 16));
        assert_eq!(shown.text(), "> abcdefghijklmnop", "{to} columns");
        assert_eq!(shown.cursor(), (18 / to, 18 % to));
    }
}

#[test]
fn text_below_and_a_cleared_screen_draw_the_line_anew() {
    let mut shown = Shown::new(20, 6);
    shown.draw(&view(b"> ", "abc", 3));
    let mut effects = Effects { below: b"x  y\nz\n".to_vec(), bell: true, ..Effects::default() };
    shown.run(|screen, out| screen.show(&view(b"> ", "abc", 3), &mut effects, out));
    shown.is("> abc\nx  y\nz\n> abc", (3, 5));
    assert!(effects.below.is_empty() && !effects.bell);
    let mut effects = Effects { clear: Some(Clear::Screen), ..Effects::default() };
    shown.run(|screen, out| screen.show(&view(b"p\n> ", "abc", 3), &mut effects, out)).is("p\n> abc", (1, 5));
}

#[test]
fn a_prompt_of_several_lines_takes_the_place_of_a_question_that_fills_the_screen() {
    let mut shown = Shown::new(5, 5);
    shown.draw(&View { message: Some(b"a question of more rows than five"), ..View::default() });
    shown.draw(&view(b"first\nsecond> ", "", 0)).is("first\nsecond>", (2, 3));
}

#[test]
fn a_line_of_several_rows_is_drawn_anew_where_it_stood() {
    let mut shown = Shown::new(10, 6);
    shown.draw(&view(b"p\n> ", "abcdefghijklmnopqr", 18)).is("p\n> abcdefghijklmnopqr", (3, 0));
    let mut effects = Effects { clear: Some(Clear::Line), ..Effects::default() };
    shown.run(|screen, out| screen.show(&view(b"p\n> ", "abcdefghijkl", 12), &mut effects, out));
    shown.is("p\n> abcdefghijkl", (2, 4));
}

/// Asserts that small updates show the same screen as a drawing of the last view on an empty screen.
#[test]
fn small_updates_and_a_whole_drawing_look_alike() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let alphabet = ["a", "b", "c", " ", "d", "\u{4e2d}", "e\u{301}", "\x01", "\t", "\n", "\u{e9}"];
    for round in 0..1500 {
        let (columns, rows) = (3 + random(24), 1 + random(8));
        let mut shown = Shown::new(columns as u16, rows as u16);
        let mut line: Vec<&str> = Vec::new();
        for step in 0..20 {
            for _ in 0..=random(4) {
                let at = random(line.len() + 1);
                match random(5) {
                    0 if !line.is_empty() => drop(line.remove(at.min(line.len() - 1))),
                    1 => line.truncate(at),
                    2 => line.push(alphabet[random(4)]),
                    _ => line.insert(at, alphabet[random(alphabet.len())]),
                }
            }
            let text = line.concat();
            let cut = line[..random(line.len() + 1)].concat().len();
            let end = line[..random(line.len() + 1)].concat().len();
            let point = if random(2) == 0 { text.len() } else { cut };
            let now = View {
                region: (random(4) == 0).then_some(cut.min(end)..cut.max(end)),
                hint: if random(6) == 0 { b"hint" } else { b"" },
                message: (random(6) == 0).then_some(b"(arg: 3) "),
                horizontal_scroll: round % 4 == 0,
                ..view(b"\x01\x1b[1m\x02>\x01\x1b[0m\x02 ", &text, point)
            };
            let mut fresh = Shown::new(columns as u16, rows as u16);
            fresh.screen.margin = shown.screen.margin;
            fresh.screen.top = shown.screen.top;
            shown.draw(&now);
            fresh.screen.hold_top();
            fresh.draw(&now);
            let place = || format!("round {round}, step {step}: {columns}x{rows} {text:?} at {point}");
            shown.looks_like(&fresh, place);
        }
    }
}

/// Characters that join the previous character, wide characters, tabs, ends of rows. The emulator drops U+FFFD, so
/// there are no invalid bytes among them.
const ENDS: [&[u8]; 10] = [
    b"a",
    b"bc",
    b" ",
    "\u{e9}".as_bytes(),
    "\u{301}".as_bytes(),
    "\u{4e2d}".as_bytes(),
    "\u{1f469}".as_bytes(),
    b"\t",
    b"\n",
    b"\x01",
];

/// Asserts that text which arrives piece by piece at the end is shown as if it had been there at once.
#[test]
fn a_line_that_grows_looks_like_one_that_was_drawn_at_once() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..150 {
        let (columns, rows) = (2 + random(20), 1 + random(6));
        let mut shown = Shown::new(columns as u16, rows as u16);
        let prompt: &[u8] = [&b"> "[..], b"", b"one\n> "][random(3)];
        let mut line: Vec<u8> = Vec::new();
        for step in 0..30 {
            for _ in 0..=random(3) {
                line.extend_from_slice(ENDS[if round % 3 == 0 { random(3) } else { random(ENDS.len()) }]);
            }
            let now = View { prompt, line: &line, point: line.len(), ..View::default() };
            shown.draw(&now);
            let mut fresh = Shown::new(columns as u16, rows as u16);
            fresh.screen.top = shown.screen.top;
            fresh.screen.hold_top();
            fresh.draw(&now);
            let place = || format!("round {round}, step {step}: {columns}x{rows} {:?}", String::from_utf8_lossy(&line));
            shown.looks_like(&fresh, place);
        }
    }
}

#[test]
fn a_key_at_the_end_of_a_long_line_is_laid_out_alone() {
    for key in ["a", "\u{e9}", "\u{4e2d}", "\t", "\n"] {
        let mut shown = Shown::new(80, 24);
        let mut line = "x".repeat(20_000);
        shown.draw(&view(b"> ", &line, line.len()));
        shown.laid();
        for _ in 0..2000 {
            line.push_str(key);
            let kept = line.len() - key.len();
            shown.run(|screen, out| screen.draw(&View { kept, ..view(b"> ", &line, line.len()) }, out));
        }
        let laid = shown.laid();
        assert!(laid <= 2 * 2000, "{key:?}: {laid} pieces for 2000 keys");
    }
}
