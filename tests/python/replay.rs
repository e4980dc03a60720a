//! Replays the handshakes of `golden/`, with our side in place of each side in turn. Given the same random bytes our
//! side sends the same messages, byte by byte, and ends in the same way.

use std::fs;
use std::path::Path;

use ossature::multiprocessing::connection::{AuthKey, Handshake};

/// One side of a recorded handshake.
struct Side {
    version: (u32, u32),
    key: AuthKey,
    done: bool,
}

struct Transcript {
    name: String,
    server: Side,
    client: Side,
    /// The messages, without the frame's header; true for those of the server.
    said: Vec<(bool, Vec<u8>)>,
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).expect("hexadecimal") as u8).collect();
    digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect()
}

fn payload(frame: Vec<u8>) -> Vec<u8> {
    let (header, payload) = frame.split_at(4);
    assert_eq!(header, (payload.len() as u32).to_be_bytes());
    payload.to_vec()
}

fn side(line: &str) -> Side {
    let words: Vec<_> = line.split(' ').collect();
    let [_, version, "key", key, end] = words[..] else { panic!("{line}") };
    let mut numbers = version.split('.').map(|number| number.parse().expect("a version"));
    let version = (numbers.next().unwrap(), numbers.next().unwrap());
    Side { version, key: AuthKey::from(&hex(key)[..]), done: end == "done" }
}

fn transcripts() -> Vec<Transcript> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/golden");
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("golden").flatten() {
        let name = entry.file_name().into_string().expect("a name");
        if name.contains("pickle") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).expect("a transcript");
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let (server, client) = (side(lines.next().unwrap()), side(lines.next().unwrap()));
        let said = lines.map(|line| match line.split_once(": ") {
            Some(("server", frame)) => (true, payload(hex(frame))),
            Some(("client", frame)) => (false, payload(hex(frame))),
            _ => panic!("{name}: {line}"),
        });
        all.push(Transcript { said: said.collect(), name, server, client });
    }
    all
}

/// Whether the side is CPython up to 3.11, which has only one form of challenge and answer.
fn is_old(side: &Side) -> bool {
    side.version < (3, 12)
}

/// Plays one side's part; the messages of the other are in the transcript.
fn play(transcript: &Transcript, as_server: bool) {
    let Transcript { name, server, client, said } = transcript;
    let us = if as_server { server } else { client };
    let challenge =
        said.iter().find_map(|(who, message)| message.strip_prefix(b"#CHALLENGE#").filter(|_| *who == as_server));
    let mut ours = if as_server { Handshake::server(&us.key) } else { Handshake::client(&us.key) }.unwrap();
    if let Some(challenge) = challenge {
        ours = ours.with_challenge(challenge);
    }
    let mut failed = false;
    for (who, message) in said {
        if *who == as_server {
            let spoken =
                ours.outgoing().unwrap_or_else(|| panic!("{name}: nothing to say, but {}", message.escape_ascii()));
            assert_eq!(spoken.escape_ascii().to_string(), message.escape_ascii().to_string(), "{name}");
        } else {
            failed |= ours.incoming(message).is_err();
        }
    }
    assert!(ours.outgoing().is_none(), "{name}: ours has more to say");
    assert_eq!((ours.is_done(), failed), (us.done, !us.done), "{name}");
}

#[test]
fn each_side_of_each_recorded_handshake_can_be_played() {
    for transcript in transcripts() {
        let (server, client) = (&transcript.server, &transcript.client);
        // An old side answers a new challenge in the old way, which ours does only to an old challenge.
        let plays_server = (!is_old(server) || is_old(client)) && !transcript.name.contains("wrong-server");
        let plays_client = !is_old(client) || is_old(server);
        assert!(plays_server || plays_client, "{}: of no use", transcript.name);
        for as_server in [true, false].into_iter().filter(|&server| if server { plays_server } else { plays_client }) {
            play(&transcript, as_server);
        }
    }
}

#[test]
fn a_recorded_handshake_with_one_bit_changed_fails() {
    for transcript in transcripts().into_iter().filter(|it| it.server.done && !is_old(&it.client)) {
        // The server's verdict on the client comes third; before it the client's answer.
        let answer = &transcript.said[1].1;
        for bit in [0, answer.len() * 8 - 1] {
            let mut changed = answer.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let challenge = transcript.said[0].1.strip_prefix(b"#CHALLENGE#").unwrap();
            let mut ours = Handshake::server(&transcript.server.key).unwrap().with_challenge(challenge);
            ours.outgoing().unwrap();
            assert!(ours.incoming(&changed).is_err(), "{}", transcript.name);
            assert_eq!(&ours.outgoing().unwrap()[..], b"#FAILURE#");
        }
    }
}

#[test]
fn old_and_new_both_sides_every_digest_and_wrong_keys_are_among_them() {
    let all = transcripts();
    let versions = |server: bool| -> Vec<_> {
        all.iter().map(|it| if server { it.server.version } else { it.client.version }).collect()
    };
    for side in [versions(true), versions(false)] {
        assert!(side.contains(&(2, 7)) && side.contains(&(3, 11)) && side.iter().any(|&it| it >= (3, 12)));
    }
    for name in ["{md5}", "{sha256}", "{sha384}", "{sha3_256}", "{sha3_384}"] {
        let asks = |message: &[u8]| message.starts_with(format!("#CHALLENGE#{name}").as_bytes());
        assert!(all.iter().any(|it| it.said.iter().any(|(_, message)| asks(message))), "{name}");
    }
    assert!(all.iter().filter(|it| !it.client.done).count() >= 10);
}
