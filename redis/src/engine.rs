//! The few verbs that pools need from an engine. Another engine than Redis would be a second type of this trait.

use std::sync::Arc;
use std::time::Duration;

/// Why a verb was not done.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The engine cannot be reached, or is not the one that takes writes: connect and ask again. What was asked may
    /// have been done, so every verb may be repeated.
    Gone(String),
    /// The engine has no memory left: ask again later.
    Full(String),
    /// The engine does not let this user in.
    Auth(String),
    /// The engine does not do this, now or later.
    Refused(String),
}

pub(crate) type Outcome<T> = Result<T, Fault>;

/// A client, as the engine knows it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Unique among all that ever were.
    pub(crate) id: String,
    /// Which builds of the program may read its chunks.
    pub(crate) label: String,
    /// How long its records stay after its last word.
    pub(crate) ttl: Duration,
}

/// A chunk of calls under the number that its client gave it.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) number: u64,
    pub(crate) body: Arc<[u8]>,
}

/// A worker, as the engine knows it.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    /// Unique among all that ever were.
    pub(crate) id: String,
    /// After how much silence it is lost.
    pub(crate) lease: Duration,
    /// How long an answer stays that nobody takes.
    pub(crate) ttl: Duration,
}

/// What a worker took.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) label: String,
    pub(crate) id: String,
    pub(crate) client: String,
    pub(crate) number: String,
    pub(crate) body: Vec<u8>,
    /// Whether its bytes lie beside the stream.
    pub(crate) beside: bool,
}

/// What a worker does in one turn.
#[derive(Default)]
pub(crate) struct Turn<'t> {
    /// Chunks that have ended, with their answers. Each counts once.
    pub(crate) ended: &'t [(Claim, Vec<u8>)],
    /// What was taken ahead, and is to be begun.
    pub(crate) begins: &'t [Claim],
    /// How many chunks it takes to run, and how many ahead. It does not wait for them.
    pub(crate) run: usize,
    pub(crate) ahead: usize,
}

/// What a worker got in its turn.
#[derive(Debug)]
pub(crate) struct Taken {
    /// For each chunk that was to be begun, whether it may.
    pub(crate) may: Vec<bool>,
    /// Chunks to run, and those taken ahead. `None` when the engine does not know the worker.
    pub(crate) claims: Option<(Vec<Claim>, Vec<Claim>)>,
}

/// The end of a chunk.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// The record, for [`Engine::exchange`].
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) answer: Vec<u8>,
}

/// A worker of a pool, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) labels: Vec<String>,
    pub(crate) processes: usize,
    pub(crate) pid: u32,
    /// How many calls have ended, and how many chunks it runs.
    pub(crate) calls: u64,
    pub(crate) running: usize,
    /// The host's name, which may hold anything.
    pub(crate) host: String,
}

impl Described {
    pub(crate) fn to_text(&self) -> String {
        let Self { labels, processes, pid, calls, running, host } = self;
        format!("{} {processes} {pid} {calls} {running} {host}", labels.join(","))
    }

    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let mut parts = text.splitn(6, ' ');
        let labels = parts.next()?.split(',').map(str::to_owned).collect();
        let processes = parts.next()?.parse().ok()?;
        let pid = parts.next()?.parse().ok()?;
        let calls = parts.next()?.parse().ok()?;
        let running = parts.next()?.parse().ok()?;
        Some(Self { labels, processes, pid, calls, running, host: parts.next()?.to_owned() })
    }
}

/// What a worker hears at a beat.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// For each chunk that it asked for, whether anybody waits for it.
    pub(crate) wanted: Vec<bool>,
    /// Label and record of all that it has claimed.
    pub(crate) claimed: Vec<(String, String)>,
}

/// A chunk that nobody could run.
#[derive(Clone, Debug)]
pub(crate) struct Buried {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) why: String,
    pub(crate) body: Vec<u8>,
}

/// One connection to an engine. Each verb is done whole or not at all, and may be repeated.
pub(crate) trait Engine {
    /// Adds the chunks that are not there yet.
    fn submit(&mut self, client: &Client, chunks: &[Chunk]) -> Outcome<()>;

    /// Which chunks are neither waiting nor claimed: they have ended, or are lost.
    fn missing(&mut self, client: &Client, chunks: &[Chunk]) -> Outcome<Vec<u64>>;

    /// The numbers of the chunks that the client waits for, by its own report.
    fn numbers(&mut self, client: &Client) -> Outcome<Vec<u64>>;

    /// Adds the chunks that are not there yet, forgets the ends that the client has seen, and waits for others: in one
    /// request.
    fn exchange(
        &mut self,
        client: &Client,
        chunks: &[Chunk],
        seen: &[String],
        wait: Duration,
    ) -> Outcome<Vec<Finished>>;

    /// Says that the client lives. Answers who works.
    fn tick(&mut self, client: &Client, lease: Duration) -> Outcome<Vec<Described>>;

    /// Takes back chunks, whether somebody runs them or not.
    fn end(&mut self, client: &Client, numbers: &[u64]) -> Outcome<()>;

    /// Says that the worker lives. Asks for each client and number whether it is still wanted.
    fn beat(&mut self, worker: &Serving, is: &Described, runs: &[(String, String)]) -> Outcome<Heard>;

    /// Ends chunks, begins some and takes others, in one step.
    fn turn(&mut self, worker: &Serving, labels: &[String], turn: &Turn<'_>) -> Outcome<Taken>;

    /// Waits for chunks to run, this many at most.
    fn wait(&mut self, worker: &Serving, labels: &[String], most: usize, wait: Duration) -> Outcome<Vec<Claim>>;

    /// Gives back what was claimed and not begun: label and record of each.
    fn release(&mut self, worker: &Serving, claimed: &[(String, String)]) -> Outcome<()>;

    /// Says that the worker ends.
    fn retire(&mut self, worker: &Serving) -> Outcome<()>;

    /// Puts a chunk among the dead.
    fn put_dead_letter(&mut self, label: &str, why: &str, client: &str, body: &[u8]) -> Outcome<()>;

    /// The dead, the eldest first.
    fn dead(&mut self, most: usize) -> Outcome<Vec<Buried>>;

    /// Takes one of the dead off the list; whether it was there.
    fn exhume(&mut self, id: &str) -> Outcome<bool>;
}

/// What the caller calls an item, and for how long no other is put under that name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'n> {
    pub(crate) text: &'n str,
    pub(crate) stays: Duration,
}

/// What became of an item that was to be put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// The item is there.
    Done,
    /// There was no room.
    Full,
    /// An item of that name was put before.
    Before,
}

/// What a queue got.
#[derive(Clone, Debug)]
pub(crate) enum Got {
    /// An item, and its record.
    Item(String, Vec<u8>),
    /// There is none. The last that there was.
    Nothing(String),
    /// The engine does not know who asks.
    Unknown,
}

/// The verbs of queues. Each may be repeated; those with a number, which counts the calls of a user, under that number.
pub(crate) trait Records {
    /// Puts an item if there is room, and none was put under the same name.
    fn put(
        &mut self,
        user: &Serving,
        nth: u64,
        most: Option<usize>,
        name: Option<Name<'_>>,
        item: &[u8],
    ) -> Outcome<Put>;

    /// Takes an item that is none of those the user has.
    fn get(&mut self, user: &Serving, has: &[String]) -> Outcome<Got>;

    /// Waits for an item behind the last.
    fn listen(&mut self, last: &str, wait: Duration) -> Outcome<()>;

    /// Says that an item is done with, or gives it back; whether it was still the user's.
    fn acknowledge(&mut self, user: &Serving, nth: u64, id: &str, back: bool) -> Outcome<bool>;

    /// Says that one more item is finished; whether any was not.
    fn done(&mut self, user: &Serving, nth: u64) -> Outcome<bool>;

    /// How many items are there, and how many are not finished.
    fn count(&mut self) -> Outcome<(usize, usize)>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_reads_as_it_was_written() {
        let is = Described {
            labels: vec!["a".into(), "v:b".into()],
            processes: 8,
            pid: 77,
            calls: 12,
            running: 2,
            host: "node 7".into(),
        };
        assert_eq!(Described::of_text(&is.to_text()), Some(is));
        assert_eq!(Described::of_text("of a stranger"), None);
    }
}
