//! The handshake itself, without a connection: messages in, messages out.
//!
//! | the side that delivers | the side that answers |
//! | --- | --- |
//! | `#CHALLENGE#` `{sha256}` and 40 random bytes | |
//! | | `{sha256}` and the HMAC of what followed `#CHALLENGE#` |
//! | `#WELCOME#` or `#FAILURE#` | |
//!
//! Each side has both roles: the listener delivers first, the client answers first (and sends its challenge with its
//! answer). CPython up to 3.11 sends 20 random bytes without a name, and answers with a bare HMAC-MD5 of 16 bytes.
//! Such a challenge and such an answer are identified by their length.

use std::borrow::Cow;

use ossature_sys::random;

use super::payload::{LIMIT, Payload};
use super::{AuthKey, Digest};
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::transfer::Trust;

const CHALLENGE: &[u8] = b"#CHALLENGE#";
pub(super) const WELCOME: &[u8] = b"#WELCOME#";
pub(super) const FAILURE: &[u8] = b"#FAILURE#";

/// The length of a challenge of CPython up to 3.11; no other is as short.
const OLD_CHALLENGE: usize = 20;
/// The length of an answer of CPython up to 3.11: MD5's.
const OLD_ANSWER: usize = 16;
/// The part of an error that lists the digests.
const KNOWN: &str = "known are md5, sha256, sha3_256, sha384 and sha3_384";
/// The number of random bytes in a challenge of this crate.
const NONCE: usize = 40;

/// One side of the proof that both sides know the key. It consumes whole messages and produces whole messages.
///
/// [`Listener`](super::Listener) and [`connect`](super::connect()) run it; alone it serves any other transport. The
/// handshake proves that a program at the other end knew the key at that moment. The messages that follow are neither
/// encrypted nor signed. A program between two others can relay a handshake from one to the other.
///
/// # Examples
/// ```
/// use ossature::multiprocessing::connection::{AuthKey, Handshake};
///
/// let key = AuthKey::from("peekaboo");
/// let (mut server, mut client) = (Handshake::server(&key)?, Handshake::client(&key)?);
/// while !(server.is_done() && client.is_done()) {
///     for message in std::iter::from_fn(|| server.outgoing()) {
///         client.incoming(&message)?;
///     }
///     if let Some(message) = client.outgoing() {
///         server.incoming(&message)?;
///     }
/// }
/// # Ok::<(), ossature::Error>(())
/// ```
///
/// Half of it, where only one side has to prove itself, and without the weak digests:
///
/// ```
/// use ossature::multiprocessing::connection::{AuthKey, Digest, Handshake, Payload};
///
/// let key = AuthKey::from("peekaboo");
/// let mut door = Handshake::deliver(&key)?.digest(Digest::Sha384).minimum_digest(Digest::Sha256);
/// let mut guest = Handshake::answer(&AuthKey::from("a wrong key"));
///
/// let challenge: Payload = door.outgoing().expect("it begins");
/// assert!(challenge.starts_with(b"#CHALLENGE#{sha384}"));
/// guest.incoming(&challenge)?;
/// let answer = guest.outgoing().expect("it answers");
/// assert_eq!(door.incoming(&answer).unwrap_err().kind(), ossature::ErrorKind::Auth);
/// assert!(!door.is_done() && door.outgoing().is_some(), "the answer is a refusal");
/// # Ok::<(), ossature::Error>(())
/// ```
#[derive(Debug)]
pub struct Handshake {
    key: AuthKey,
    digest: Digest,
    minimum: Digest,
    nonce: [u8; NONCE],
    /// The given challenge, instead of one made of `nonce`.
    given: Option<Payload>,
    stage: Stage,
    /// The other half, which follows this one.
    then: Option<Stage>,
    delivers: bool,
    /// The digest of the answer that this side gave.
    answered_by: Digest,
    /// Whether the other side still gets a report of the error before the end.
    refusal: bool,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Sends the challenge next.
    Challenge,
    /// Receives the answer to this challenge next.
    Answered(Payload),
    /// Sends the welcome next.
    Welcome,
    /// Receives a challenge next.
    Challenged,
    /// Sends this answer next.
    Answer(Payload),
    /// Receives the welcome next.
    Welcomed,
    Done,
    Failed,
}

impl Handshake {
    /// Creates the listener's side: delivers, then answers.
    ///
    /// # Errors
    /// [`ErrorKind::Os`] with `ENOSYS` or `EPERM` where a sandbox forbids `getrandom(2)`.
    pub fn server(key: &AuthKey) -> Result<Self> {
        Self::begin(key, Stage::Challenge, Some(Stage::Challenged))
    }

    /// Creates the client's side: answers, then delivers.
    ///
    /// # Errors
    /// As for [`server`](Self::server).
    pub fn client(key: &AuthKey) -> Result<Self> {
        Self::begin(key, Stage::Challenged, Some(Stage::Challenge))
    }

    /// Creates the half that makes the other side prove itself.
    ///
    /// # Errors
    /// As for [`server`](Self::server).
    pub fn deliver(key: &AuthKey) -> Result<Self> {
        Self::begin(key, Stage::Challenge, None)
    }

    /// Creates the half that proves itself.
    pub fn answer(key: &AuthKey) -> Self {
        Self::with(key, Stage::Challenged, None, [0; NONCE])
    }

    fn begin(key: &AuthKey, stage: Stage, then: Option<Stage>) -> Result<Self> {
        let mut nonce = [0; NONCE];
        random::fill(&mut nonce).map_err(|errno| Error::os(errno, "cannot make a challenge"))?;
        Ok(Self::with(key, stage, then, nonce))
    }

    fn with(key: &AuthKey, stage: Stage, then: Option<Stage>, nonce: [u8; NONCE]) -> Self {
        let (digest, minimum) = (Digest::default(), Digest::Md5);
        let delivers = then.is_some() || matches!(stage, Stage::Challenge);
        Self {
            key: key.clone(),
            digest,
            minimum,
            nonce,
            given: None,
            stage,
            then,
            delivers,
            answered_by: digest,
            refusal: false,
        }
    }

    /// Sets the digest that the other side is asked to use; the default is [`Digest::Sha256`]. Any other digest that is
    /// not below the [minimum](Self::minimum_digest) is accepted as well, as in CPython.
    #[must_use]
    pub fn digest(mut self, digest: Digest) -> Self {
        self.digest = digest;
        self
    }

    /// Sets the weakest digest that this side accepts as a proof, in either direction; the default is [`Digest::Md5`].
    ///
    /// Any stronger minimum excludes CPython up to 3.11. Python has no such setting: it accepts HMAC-MD5 from every
    /// peer.
    #[must_use]
    pub fn minimum_digest(mut self, minimum: Digest) -> Self {
        self.minimum = minimum;
        self
    }

    /// Sets the whole challenge, including its name, only for the replay of recorded handshakes. An attacker who can
    /// guess a challenge can replay its answer.
    #[doc(hidden)]
    #[must_use]
    pub fn with_challenge(mut self, challenge: &[u8]) -> Self {
        self.given = Some(Payload::of(&[challenge]));
        self
    }

    /// Returns the message to send now, if it is this side's turn. Call it until it returns `None`, at the beginning
    /// and after each [`incoming`](Self::incoming). A failed handshake may still have a message to send.
    pub fn outgoing(&mut self) -> Option<Payload> {
        if std::mem::take(&mut self.refusal) {
            return Some(Payload::of(&[FAILURE]));
        }
        let message = match &self.stage {
            Stage::Challenge => {
                let (challenge, message) = self.challenge();
                self.stage = Stage::Answered(challenge);
                return Some(message);
            }
            // The client's own challenge does not wait for the welcome: that saves a round trip.
            Stage::Welcomed if matches!(self.then, Some(Stage::Challenge)) => {
                let (challenge, message) = self.challenge();
                self.then = Some(Stage::Answered(challenge));
                return Some(message);
            }
            Stage::Welcome => Payload::of(&[WELCOME]),
            Stage::Answer(answer) => answer.clone(),
            _ => return None,
        };
        self.stage = match self.stage {
            Stage::Answer(_) => Stage::Welcomed,
            _ => self.then.take().unwrap_or(Stage::Done),
        };
        Some(message)
    }

    fn challenge(&mut self) -> (Payload, Payload) {
        let new = || Payload::of(&[b"{", self.digest.name().as_bytes(), b"}", &self.nonce]);
        let challenge = self.given.take().unwrap_or_else(new);
        let message = Payload::of(&[CHALLENGE, &challenge]);
        (challenge, message)
    }

    /// Processes one message of the other side.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`] when the other side does not know the key, uses too weak a digest, or does not follow the
    /// handshake. Then the connection is unusable; send the messages that [`outgoing`](Self::outgoing) still returns
    /// before you close it.
    pub fn incoming(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > LIMIT {
            return self.fail("the other side sent a message that is too long for a handshake");
        }
        match &self.stage {
            Stage::Challenged => self.challenged(message),
            Stage::Answered(challenge) => {
                let challenge = challenge.clone();
                self.answered(&challenge, message)
            }
            Stage::Welcomed if message == WELCOME => {
                self.stage = self.then.take().unwrap_or(Stage::Done);
                Ok(())
            }
            Stage::Welcomed if message == FAILURE => self.fail(format!(
                "the other side did not accept the answer by {}: it has another key, or it does not accept this digest; \
                     compare authkey and minimum_digest of both sides",
                self.answered_by
            )),
            Stage::Welcomed => self.fail("the other side sent neither a welcome nor a refusal"),
            Stage::Challenge | Stage::Welcome | Stage::Answer(_) | Stage::Done | Stage::Failed => {
                self.fail("unexpected data during the handshake")
            }
        }
    }

    /// Whether every message was sent and received, and both sides know the key.
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Whether the next message is the last one, after which other data may follow. After any earlier message the other
    /// side waits for an answer.
    pub(super) fn awaits_the_last_word(&self) -> bool {
        matches!(self.stage, Stage::Welcomed) && self.then.is_none()
    }

    /// Whether the other side has proved to this side that it knows the key.
    pub(super) fn has_delivered(&self) -> bool {
        self.is_done() && self.delivers
    }

    /// The trust in a peer that has proved to know the key.
    pub(super) fn proved_trust(&self) -> Trust {
        self.key.trust()
    }

    fn challenged(&mut self, message: &[u8]) -> Result<()> {
        let Some(challenge) = message.strip_prefix(CHALLENGE) else {
            return self.fail("the other side did not begin with a challenge: check whether it uses a key");
        };
        if challenge.len() < OLD_CHALLENGE {
            return self.fail("the other side's challenge is too short");
        }
        let digest = if challenge.len() == OLD_CHALLENGE { Some(Digest::Md5) } else { named(challenge).map(|it| it.0) };
        match digest {
            None => self.fail(format!("the other side's challenge names no known digest; {KNOWN}")),
            Some(digest) if digest < self.minimum => {
                let weak = self.too_weak("asks for", digest);
                self.fail(weak)
            }
            Some(digest) => {
                self.answered_by = digest;
                let mac = digest.mac(&self.key, challenge);
                self.stage = Stage::Answer(match challenge.len() {
                    OLD_CHALLENGE => Payload::of(&[mac.as_bytes()]),
                    _ => Payload::of(&[b"{", digest.name().as_bytes(), b"}", mac.as_bytes()]),
                });
                Ok(())
            }
        }
    }

    fn answered(&mut self, challenge: &[u8], message: &[u8]) -> Result<()> {
        let answer = if message.len() == OLD_ANSWER { Some((Digest::Md5, message)) } else { named(message) };
        match answer {
            None => self.refuse(format!("the other side's answer names no known digest; {KNOWN}")),
            Some((digest, _)) if digest < self.minimum => {
                let weak = self.too_weak("answered by", digest);
                self.refuse(weak)
            }
            Some((digest, answer)) if !digest.mac(&self.key, challenge).matches(answer) => {
                self.refuse(format!(
                    "the other side does not know the key: its answer by {digest} is wrong; give both sides the same authkey"
                ))
            }
            Some(_) => {
                self.stage = Stage::Welcome;
                Ok(())
            }
        }
    }

    fn too_weak(&self, does: &str, digest: Digest) -> String {
        let minimum = self.minimum;
        format!(
            "the other side {does} {digest}, but this side accepts no digest below {minimum}: choose a stronger digest \
             there, or lower minimum_digest here"
        )
    }

    fn refuse(&mut self, why: String) -> Result<()> {
        self.refusal = true;
        self.fail(why)
    }

    fn fail(&mut self, why: impl Into<Cow<'static, str>>) -> Result<()> {
        self.stage = Stage::Failed;
        Err(Error::new(ErrorKind::Auth, why))
    }
}

/// Whether a message is a challenge, of CPython up to 3.11 or of any later version.
pub(super) fn is_challenge(message: &[u8]) -> bool {
    let challenge = message.strip_prefix(CHALLENGE).filter(|_| message.len() <= LIMIT);
    challenge.is_some_and(|challenge| challenge.len() == OLD_CHALLENGE || named(challenge).is_some())
}

/// Splits a message into the digest that it names at its beginning, `{sha256}`, and the rest.
fn named(message: &[u8]) -> Option<(Digest, &[u8])> {
    let inner = message.strip_prefix(b"{")?;
    let end = inner.iter().take(1 + LONGEST_NAME).position(|&byte| byte == b'}')?;
    Some((Digest::from_name(&inner[..end])?, &inner[end + 1..]))
}

/// The length of the names `sha3_256` and `sha3_384`.
const LONGEST_NAME: usize = 8;
