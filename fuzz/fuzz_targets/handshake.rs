//! Handshakes against strangers and against each other: no message without the key ever ends one well, and two sides
//! meet if and only if they have the same key and each accepts what the other uses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ossature::multiprocessing::connection::{AuthKey, Digest, Handshake};

#[derive(arbitrary::Arbitrary, Debug)]
struct Input {
    /// The beginning of what is said, and the rest.
    messages: Vec<(u8, Vec<u8>)>,
    keys: [Vec<u8>; 2],
    digests: [usize; 4],
    challenge: Vec<u8>,
}

const BEGINNINGS: [&[u8]; 8] =
    [b"", b"#CHALLENGE#", b"#CHALLENGE#{sha256}", b"#WELCOME#", b"#FAILURE#", b"{md5}", b"{sha3_384}", b"{"];

fuzz_target!(|input: Input| {
    let key = AuthKey::random().expect("randomness");
    let sides =
        [Handshake::server(&key), Handshake::client(&key), Handshake::deliver(&key), Ok(Handshake::answer(&key))];
    for (index, side) in sides.into_iter().enumerate() {
        let mut side = side.expect("randomness");
        let (mut challenged, mut welcomed) = (false, false);
        for (beginning, rest) in &input.messages {
            let message = [BEGINNINGS[usize::from(beginning % 8)], rest].concat();
            while side.outgoing().is_some() {}
            challenged |= message.starts_with(b"#CHALLENGE#");
            welcomed |= challenged && message == b"#WELCOME#";
            if side.incoming(&message).is_err() {
                side.outgoing();
                assert!(side.outgoing().is_none() && side.incoming(b"#WELCOME#").is_err() && !side.is_done());
            }
        }
        // Only who merely answers can be content with somebody who does not know the key.
        assert!(!side.is_done() || index == 3 && welcomed);
    }

    let keys = input.keys.each_ref().map(|key| AuthKey::from(&key[..]));
    let [asked, least, other_asked, other_least] = input.digests.map(|index| Digest::ALL[index % 5]);
    let mut server = Handshake::server(&keys[0]).expect("randomness").digest(asked).minimum_digest(least);
    let mut client = Handshake::client(&keys[1]).expect("randomness").digest(other_asked).minimum_digest(other_least);
    if input.challenge.len() >= 40 {
        let challenge = [b"{sha256}", &input.challenge[..40]].concat();
        server = server.with_challenge(&challenge);
    }
    let asked = if input.challenge.len() >= 40 { Digest::Sha256 } else { asked };
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    loop {
        to_client.extend(std::iter::from_fn(|| server.outgoing()));
        to_server.extend(std::iter::from_fn(|| client.outgoing()));
        if !to_client.is_empty() {
            let _ = client.incoming(&to_client.remove(0));
        } else if !to_server.is_empty() {
            let _ = server.incoming(&to_server.remove(0));
        } else {
            break;
        }
    }
    let accepted = asked.min(other_asked) >= least.max(other_least);
    // HMAC fills short keys up with zeros, and hashes long ones: no two keys of a fuzzer's that mean the same are that
    // long.
    let bare = |key: &[u8]| key.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let [one, other] = input.keys.each_ref().map(|key| &key[..bare(key)]);
    let long = input.keys.iter().any(|key| key.len() > 64);
    if one == other && input.keys[0] != input.keys[1] && long {
        return;
    }
    let same = if long { input.keys[0] == input.keys[1] } else { one == other };
    assert_eq!((server.is_done(), client.is_done()), (same && accepted, same && accepted));
});
