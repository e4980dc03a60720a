//! Both halves of the proof, message by message. The values are from Python's `hmac`.

use std::collections::VecDeque;

use ossature::ErrorKind;
use ossature::multiprocessing::connection::{AuthKey, Digest, Handshake};

const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";

fn key() -> AuthKey {
    AuthKey::from("peekaboo")
}

fn count(n: u8) -> Vec<u8> {
    (0..n).collect()
}

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn answer_to(challenge: &[u8], minimum: Digest) -> Result<Vec<u8>, ErrorKind> {
    let key = key();
    let mut answering = Handshake::answer(&key).minimum_digest(minimum);
    assert!(answering.outgoing().is_none(), "the other side begins");
    answering.incoming(&[CHALLENGE, challenge].concat()).map_err(|error| error.kind())?;
    Ok(answering.outgoing().unwrap().to_vec())
}

/// The verdict of the delivering side on this answer to `{sha256}` and the numbers to 40.
fn verdict_on(answer: &[u8], minimum: Digest) -> (Vec<u8>, Option<ErrorKind>) {
    let key = key();
    let challenge = [b"{sha256}", &count(40)[..]].concat();
    let mut delivering = Handshake::deliver(&key).unwrap().minimum_digest(minimum).with_challenge(&challenge);
    assert_eq!(delivering.outgoing().unwrap()[..], [CHALLENGE, &challenge].concat());
    assert!(delivering.outgoing().is_none(), "it is the other side's turn");
    let error = delivering.incoming(answer).err().map(|error| error.kind());
    let verdict = delivering.outgoing().unwrap().to_vec();
    assert_eq!(delivering.is_done(), error.is_none());
    assert!(delivering.outgoing().is_none());
    (verdict, error)
}

/// The answers of Python's `hmac` to `{name}` and the numbers to 40.
const ANSWERS: [(Digest, &str); 5] = [
    (Digest::Md5, "903be2b6bb9f46aae3278c59cba05b91"),
    (Digest::Sha256, "eda328927ea5867e57357e92ff7a849cdfe50b5fecbe9282ff9d63f0fe76b0b6"),
    (Digest::Sha3_256, "825f36224947040f95f7c50c6b1cf0856f48e19be14410e8061b24f04efb53af"),
    (
        Digest::Sha384,
        "09d5e8c98ebc2ef5aca36ccd6b94536e933b9949b6e934b5151cbc387df455b7d61ccdd51415b97b7f19e6540356cf4f",
    ),
    (
        Digest::Sha3_384,
        "bc55a084c3a13534918386127b5fd6c74b3bd1169b35e1223e36feb005d0b823c190062ec313837c099ca002d8731266",
    ),
];

#[test]
fn each_digest_is_answered_as_python_does() {
    for (digest, mac) in ANSWERS {
        let named = format!("{{{digest}}}").into_bytes();
        let challenge = [&named[..], &count(40)].concat();
        assert_eq!(answer_to(&challenge, Digest::Md5), Ok([&named[..], &hex(mac)].concat()), "{digest}");
    }
}

#[test]
fn twenty_bytes_without_a_name_are_answered_with_bare_md5() {
    assert_eq!(answer_to(&count(20), Digest::Md5), Ok(hex("e0bc5ff5981c5742feca0faaf7408f99")));
}

#[test]
fn sixteen_bytes_without_a_name_are_taken_for_md5_of_the_whole_challenge() {
    let old = hex("1fb1434a0c2f752ab5669990343c8975");
    assert_eq!(verdict_on(&old, Digest::Md5), (WELCOME.to_vec(), None));
    assert_eq!(verdict_on(&count(16), Digest::Md5), (FAILURE.to_vec(), Some(ErrorKind::Auth)));
}

#[test]
fn an_answer_with_another_digest_than_asked_is_welcome() {
    // Of `{sha256}` and the numbers to 40.
    let answers = [
        (Digest::Md5, "1fb1434a0c2f752ab5669990343c8975"),
        (Digest::Sha3_256, "a42ff0360bb97dc6deadbecdd3e467588354566069d17851576767addb244b63"),
        (
            Digest::Sha384,
            "98c522356508fff0ec59eac9b97f8ae02ddaf5ff100b0a3f811bef6abe804bf01ced2e698fcbba89ea777fda23dd9375",
        ),
        (
            Digest::Sha3_384,
            "32840781bca8aaa1607cc1bba7ef808275fa928b83a524098c549ff863913cb5b0c41faf0232e19703dd047a147cc7e5",
        ),
    ];
    for (digest, mac) in answers {
        let answer = [format!("{{{digest}}}").as_bytes(), &hex(mac)].concat();
        assert_eq!(verdict_on(&answer, Digest::Md5), (WELCOME.to_vec(), None), "{digest}");
    }
}

#[test]
fn the_digest_asked_for_is_named_in_the_challenge() {
    let key = key();
    for digest in Digest::ALL {
        let challenge = Handshake::deliver(&key).unwrap().digest(digest).outgoing().unwrap();
        let begin = format!("#CHALLENGE#{{{digest}}}");
        assert!(challenge.starts_with(begin.as_bytes()));
        assert_eq!(challenge.len(), begin.len() + 40);
    }
}

#[test]
fn what_is_below_the_minimum_is_refused_in_both_directions() {
    let old = hex("1fb1434a0c2f752ab5669990343c8975");
    let refused = (FAILURE.to_vec(), Some(ErrorKind::Auth));
    assert_eq!(verdict_on(&old, Digest::Sha256), refused);
    assert_eq!(verdict_on(&[b"{md5}", &old[..]].concat(), Digest::Sha256), refused);
    let good = [b"{sha256}", &hex(ANSWERS[1].1)[..]].concat();
    assert_eq!(verdict_on(&good, Digest::Sha256), (WELCOME.to_vec(), None));
    assert_eq!(verdict_on(&good, Digest::Sha384), refused);

    assert_eq!(answer_to(&count(20), Digest::Sha256), Err(ErrorKind::Auth));
    let challenge = [b"{md5}", &count(40)[..]].concat();
    assert_eq!(answer_to(&challenge, Digest::Sha256), Err(ErrorKind::Auth));
    let challenge = [b"{sha3_384}", &count(40)[..]].concat();
    assert!(answer_to(&challenge, Digest::Sha384).is_ok());
}

#[test]
fn errors_name_the_digest_and_the_remedy() {
    let key = key();
    let mut answering = Handshake::answer(&key).minimum_digest(Digest::Sha384);
    let text = answering.incoming(&[b"#CHALLENGE#{sha256}", &count(40)[..]].concat()).unwrap_err().to_string();
    assert!(
        text.contains("asks for sha256") && text.contains("below sha384") && text.contains("minimum_digest"),
        "{text}"
    );

    let mut answering = Handshake::answer(&key);
    answering.incoming(&[b"#CHALLENGE#{sha3_256}", &count(40)[..]].concat()).unwrap();
    answering.outgoing().unwrap();
    let text = answering.incoming(b"#FAILURE#").unwrap_err().to_string();
    assert!(text.contains("answer by sha3_256") && text.contains("authkey"), "{text}");

    for (minimum, answer, part) in [
        (
            Digest::Md5,
            [&b"{sha384}"[..], &count(48)].concat(),
            "answer by sha384 is wrong; give both sides the same authkey",
        ),
        (Digest::Sha256, count(16), "answered by md5, but this side accepts no digest below sha256"),
        (Digest::Md5, b"{crc32}1234".to_vec(), "known are md5, sha256"),
    ] {
        let mut delivering = Handshake::deliver(&key).unwrap().minimum_digest(minimum);
        delivering.outgoing().unwrap();
        let text = delivering.incoming(&answer).unwrap_err().to_string();
        assert!(text.contains(part), "{text}");
    }
    let known = Digest::ALL.map(Digest::name);
    let mut answering = Handshake::answer(&key);
    let text = answering.incoming(&[b"#CHALLENGE#", &count(40)[..]].concat()).unwrap_err().to_string();
    assert!(known.iter().all(|name| text.contains(name)), "{text}");
}

#[test]
fn a_challenge_that_makes_no_sense_is_not_answered() {
    let of = |start: &[u8], n| [start, &count(n)].concat();
    for challenge in [
        vec![],
        count(19),
        count(21),
        of(b"{sha1}", 40),
        of(b"{SHA256}", 40),
        of(b"{sha256", 40),
        of(b"{}", 40),
        of(b"sha256}", 40),
        of(b"{sha3_2567}", 40),
        of(b"{", 245),
        of(b"{sha256}", 3), // with a name, but too short to be hard to guess
        of(b"{sha256}", 238),
    ] {
        assert_eq!(answer_to(&challenge, Digest::Md5), Err(ErrorKind::Auth), "{}", challenge.escape_ascii());
    }
    let key = key();
    for message in [&b""[..], b"#CHALLENGE", b"#WELCOME#", &[b'#'; 257]] {
        let mut answering = Handshake::answer(&key);
        assert_eq!(answering.incoming(message).unwrap_err().kind(), ErrorKind::Auth);
        assert!(answering.outgoing().is_none(), "there is nobody to say anything to");
        assert_eq!(answering.incoming(WELCOME).unwrap_err().kind(), ErrorKind::Auth, "it stays failed");
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_refused() {
    let good = [b"{sha256}", &hex(ANSWERS[1].1)[..]].concat();
    let mut last = good.clone();
    *last.last_mut().unwrap() ^= 1;
    let mut first = good.clone();
    first[8] ^= 0x80;
    let sha1 = [b"{sha1}", &count(20)[..]].concat();
    let refused = (FAILURE.to_vec(), Some(ErrorKind::Auth));
    for answer in [&b""[..], b"{sha256}", &good[..39], &good[8..], &last, &first, &sha1, WELCOME, &[0; 300]] {
        let (verdict, error) = match answer.len() {
            // Too long to be looked at at all.
            257.. => {
                let key = key();
                let mut delivering = Handshake::deliver(&key).unwrap();
                delivering.outgoing().unwrap();
                (FAILURE.to_vec(), delivering.incoming(answer).err().map(|error| error.kind()))
            }
            _ => verdict_on(answer, Digest::Md5),
        };
        assert_eq!((verdict, error), refused, "{}", answer.escape_ascii());
    }
    assert_eq!(verdict_on(&[&good[..], b"x"].concat(), Digest::Md5), refused, "one byte too many");
}

#[test]
fn no_verdict_but_welcome_ends_well() {
    let key = key();
    for (verdict, done) in [(WELCOME, true), (FAILURE, false), (b"", false), (b"#WELCOME#x", false)] {
        let mut answering = Handshake::answer(&key);
        answering.incoming(&[CHALLENGE, &count(20)].concat()).unwrap();
        answering.outgoing().unwrap();
        assert_eq!(answering.incoming(verdict).is_ok(), done);
        assert_eq!(answering.is_done(), done);
    }
}

/// Passes messages between both sides until neither has any. Returns the messages.
fn converse(server: &mut Handshake, client: &mut Handshake) -> Vec<String> {
    let (mut to_client, mut to_server) = (VecDeque::new(), VecDeque::new());
    let mut said = Vec::new();
    loop {
        to_client.extend(std::iter::from_fn(|| server.outgoing()));
        to_server.extend(std::iter::from_fn(|| client.outgoing()));
        if let Some(message) = to_client.pop_front() {
            said.push(format!("server {}", message[..4].escape_ascii()));
            let _ = client.incoming(&message);
        } else if let Some(message) = to_server.pop_front() {
            said.push(format!("client {}", message[..4].escape_ascii()));
            let _ = server.incoming(&message);
        } else {
            return said;
        }
    }
}

#[test]
fn the_server_delivers_first_and_both_directions_run() {
    for digest in Digest::ALL {
        let key = key();
        let (mut server, mut client) = (Handshake::server(&key).unwrap(), Handshake::client(&key).unwrap());
        server = server.digest(digest);
        let said = converse(&mut server, &mut client);
        assert_eq!(said.iter().filter(|line| line.ends_with("#CHA")).count(), 2);
        assert!(said[0].starts_with("server #CHA") && said[5].starts_with("client #WEL"), "{said:?}");
        assert!(server.is_done() && client.is_done());
    }
}

#[test]
fn two_keys_do_not_meet_and_an_empty_one_is_a_key() {
    let (one, other, empty) = (AuthKey::from("one"), AuthKey::from("other"), AuthKey::from(""));
    for (ours, theirs, meet) in [(&one, &other, false), (&one, &empty, false), (&empty, &empty, true)] {
        let (mut server, mut client) = (Handshake::server(ours).unwrap(), Handshake::client(theirs).unwrap());
        let said = converse(&mut server, &mut client);
        assert_eq!((server.is_done(), client.is_done()), (meet, meet));
        assert_eq!(said.len(), if meet { 6 } else { 4 }, "{said:?}");
    }
}

#[test]
fn an_answer_of_yesterday_is_refused_today() {
    let key = key();
    let (mut server, mut client) = (Handshake::server(&key).unwrap(), Handshake::client(&key).unwrap());
    client.incoming(&server.outgoing().unwrap()).unwrap();
    let answer = client.outgoing().unwrap();
    server.incoming(&answer).unwrap();
    let mut again = Handshake::server(&key).unwrap();
    again.outgoing().unwrap();
    assert_eq!(again.incoming(&answer).unwrap_err().kind(), ErrorKind::Auth);
}

#[test]
fn a_key_shows_nothing_of_itself() {
    let key = AuthKey::from(b"peekaboo");
    assert_eq!(format!("{key:?}"), "AuthKey(..)");
    let text = format!("{:?}", Handshake::server(&key).unwrap());
    assert!(!text.contains("peekaboo") && !text.contains("112, 101"), "{text}");
    assert_eq!(AuthKey::random().unwrap().as_bytes().len(), 32);
}
