//! The line editor: instructions of a keystroke beside three rivals, and a history of a million lines.

mod history;
mod keys;

use ossature_benches::bench;

fn main() {
    if keys::is_typist() {
        return;
    }
    bench::main("readline", &keys::COUNTED, |bench| {
        keys::rows(bench);
        history::rows(bench);
    });
}
