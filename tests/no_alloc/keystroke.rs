//! A plain key allocates nothing once the editor has warmed up, neither in the state machine nor in drawing.

use ossature::readline::{Editor, Step};

use crate::asked;

#[test]
fn plain_keys() {
    let mut editor = Editor::new();
    let mut screen = Vec::with_capacity(1 << 16);
    for _ in 0..2 {
        assert_eq!(editor.begin("> ", &mut screen), Step::More);
        assert_eq!(editor.feed(b"a warm editor has room for a line of this length", &mut screen), Step::More);
        assert!(matches!(editor.feed(b"\r", &mut screen), Step::Line(_)));
    }
    assert_eq!(editor.begin("> ", &mut screen), Step::More);
    screen.clear();
    let (step, times) = asked(|| {
        for key in b"plain keys, one by one" {
            assert_eq!(editor.feed(&[*key], &mut screen), Step::More);
        }
        editor.feed("é日\x02\x02X\x01\x06\x05".as_bytes(), &mut screen)
    });
    assert_eq!((step, times), (Step::More, 0), "plain keys allocate");
    assert_eq!(editor.line_buffer(), "plain keys, one by oneXé日".as_bytes());
}
