//! Keys in pieces of any length: the pieces make no difference, and the cursor stays in the line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ossature::readline::{Editor, Step};

/// Every line that the keys make, and what is left.
fn lines(vi: bool, pieces: &[&[u8]]) -> (Vec<Step>, Vec<u8>, usize) {
    let (mut editor, mut out, mut steps) = (Editor::new(), Vec::new(), Vec::new());
    editor.set_completer(|word: &str, _: &ossature::readline::CompletionContext<'_>| {
        ["get", "getting", "put"].into_iter().filter(|it| it.starts_with(word)).collect::<Vec<_>>()
    });
    editor.history_mut().extend(["one", "two words", "\u{65e5}\u{672c} e\u{301}"]);
    if vi {
        editor.parse_and_bind("set editing-mode vi").expect("the line is right");
    }
    let mut step = editor.begin("> ", &mut out);
    for piece in pieces {
        while step != Step::More && steps.len() < 1000 {
            steps.push(std::mem::replace(&mut step, editor.begin("> ", &mut out)));
        }
        step = editor.feed(piece, &mut out);
        assert!(editor.point() <= editor.line_buffer().len());
        out.clear();
    }
    while step != Step::More && steps.len() < 1000 {
        steps.push(std::mem::replace(&mut step, editor.begin("> ", &mut out)));
    }
    (steps, editor.line_buffer().to_vec(), editor.point())
}

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (vi, keys) = input;
    // Names of files and init files of the machine are no part of this.
    if keys.len() > 4000 || keys.windows(2).any(|pair| pair == b"\x18\x12") {
        return;
    }
    let whole = lines(vi, &[&keys]);
    let single: Vec<&[u8]> = keys.chunks(1).collect();
    assert_eq!(whole, lines(vi, &single));
});
