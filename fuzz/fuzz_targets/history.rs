//! A history with a vector of lines, and files of any bytes: what is saved is loaded again, and no append loses a line.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ossature::readline::{History, HistoryForm};

#[derive(Arbitrary, Debug)]
enum Step {
    Push(Vec<u8>),
    Remove(u8),
    Replace(u8, Vec<u8>),
    Limit(Option<u8>),
    Load(Vec<u8>),
    Save { libedit: bool, stamps: bool },
    Append { lines: u8, most: Option<u8>, file: Vec<u8> },
    Find(Vec<u8>),
    Clear,
}

fuzz_target!(|steps: Vec<Step>| {
    let path = std::env::temp_dir().join(format!("ossature-fuzz-history-{}", std::process::id()));
    let (mut ours, mut plain) = (History::new(), Vec::<Vec<u8>>::new());
    for step in steps {
        match step {
            Step::Push(line) => {
                ours.push(&line);
                plain.push(line);
            }
            Step::Remove(at) => {
                let at = usize::from(at);
                assert_eq!(ours.remove(at).ok(), (at < plain.len()).then(|| plain.remove(at)));
            }
            Step::Replace(at, line) => {
                let old = plain.get_mut(usize::from(at)).map(|old| std::mem::replace(old, line.clone()));
                assert_eq!(ours.replace(usize::from(at), line).ok(), old);
            }
            Step::Limit(most) => {
                ours.set_max_entries(most.map(usize::from));
                ours.set_max_entries(None);
                plain.drain(..plain.len().saturating_sub(most.map_or(usize::MAX, usize::from)));
            }
            Step::Load(text) => {
                std::fs::write(&path, &text).unwrap();
                let count = ours.load(&path).unwrap();
                assert!(count <= text.iter().filter(|&&byte| byte == b'\n').count());
                plain.extend(ours.iter().skip(plain.len()).map(<[u8]>::to_vec));
            }
            Step::Save { libedit, stamps } => {
                ours.set_form(if libedit { HistoryForm::Libedit } else { HistoryForm::Readline });
                ours.set_timestamps(stamps);
                ours.save(&path).unwrap();
                let mut again = History::new();
                again.set_timestamps(stamps);
                again.load(&path).unwrap();
                // Lines without a newline, a carriage return and the sign of a time come back as they were.
                if plain.iter().all(|line| {
                    !line.is_empty() && !line.starts_with(b"#") && !line.iter().any(|b| b"\r\n_".contains(b))
                }) {
                    assert!(again.iter().eq(plain.iter()));
                }
                ours.set_timestamps(false);
            }
            Step::Append { lines, most, file } => {
                std::fs::write(&path, &file).unwrap();
                ours.set_max_file_lines(most.map(usize::from));
                ours.append(usize::from(lines), &path).unwrap();
                let text = std::fs::read(&path).unwrap();
                match most {
                    None => assert!(text.starts_with(&file), "what was there stays"),
                    Some(0) => assert!(text.is_empty() || text == b"_HiStOrY_V2_\n"),
                    Some(_) => assert!(plain.is_empty() || lines == 0 || text.ends_with(b"\n")),
                }
                ours.set_max_file_lines(None);
            }
            Step::Find(text) => {
                assert_eq!(ours.find_prefix(&text, ..), plain.iter().rposition(|line| line.starts_with(&text)));
                assert_eq!(ours.find_prefix_forward(&text, ..), plain.iter().position(|line| line.starts_with(&text)));
                let within = |line: &Vec<u8>| text.is_empty() || line.windows(text.len()).any(|part| part == text);
                assert_eq!(ours.find(&text, ..).map(|(n, _)| n), plain.iter().rposition(within));
                assert_eq!(ours.find_forward(&text, ..).map(|(n, _)| n), plain.iter().position(within));
            }
            Step::Clear => {
                ours.clear();
                plain.clear();
            }
        }
        assert!(ours.iter().eq(plain.iter()));
        assert_eq!(ours.len(), plain.len());
    }
    let _ = std::fs::remove_file(&path);
});
