//! The operations that pools need from an engine. Another engine than Redis would be a second type of this trait.

use std::sync::Arc;
use std::time::Duration;

/// The reason why an operation failed.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The engine is unreachable, or is not the one that accepts writes: the client connects and repeats the request.
    /// The engine may have executed the first request, so every operation may be repeated.
    Gone(String),
    /// The engine is out of memory: the client tries again later.
    Full(String),
    /// The engine rejects this user.
    Auth(String),
    /// The engine refuses the request for good.
    Refused(String),
}

pub(crate) type Outcome<T> = Result<T, Fault>;

/// A client, as the engine knows it.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// An id that is unique for all time.
    pub(crate) id: String,
    /// The builds of the program that may read the client's chunks.
    pub(crate) label: String,
    /// How long the client's records stay after its last request.
    pub(crate) ttl: Duration,
}

/// A chunk of calls, and the number that its client assigned.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) number: u64,
    pub(crate) body: Arc<[u8]>,
}

/// A worker, as the engine knows it.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    /// An id that is unique for all time.
    pub(crate) id: String,
    /// The silence after which the worker counts as lost.
    pub(crate) lease: Duration,
    /// How long an answer stays if no client takes it.
    pub(crate) ttl: Duration,
}

/// A chunk that a worker has claimed.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) label: String,
    pub(crate) id: String,
    pub(crate) client: String,
    pub(crate) number: String,
    pub(crate) body: Vec<u8>,
    /// Whether the bytes of the chunk are stored outside the stream.
    pub(crate) beside: bool,
}

/// The requests of a worker in one turn.
#[derive(Default)]
pub(crate) struct Turn<'t> {
    /// The finished chunks, with their answers. Each counts once.
    pub(crate) ended: &'t [(Claim, Vec<u8>)],
    /// The chunks that were claimed ahead and are about to begin.
    pub(crate) begins: &'t [Claim],
    /// The number of chunks to claim for running, and of those to claim ahead. The turn does not wait for them.
    pub(crate) run: usize,
    pub(crate) ahead: usize,
}

/// The results of a worker's turn.
#[derive(Debug)]
pub(crate) struct Taken {
    /// For each chunk that was about to begin, whether it may begin.
    pub(crate) may: Vec<bool>,
    /// The chunks to run, and the chunks claimed ahead. `None` if the engine does not know the worker.
    pub(crate) claims: Option<(Vec<Claim>, Vec<Claim>)>,
}

/// The end of a chunk.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// The id of the record, for [`Engine::exchange`].
    pub(crate) id: String,
    pub(crate) number: u64,
    pub(crate) answer: Vec<u8>,
}

/// The description that a worker gives of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) labels: Vec<String>,
    pub(crate) processes: usize,
    pub(crate) pid: u32,
    /// The number of finished calls, and the number of running chunks.
    pub(crate) calls: u64,
    pub(crate) running: usize,
    /// The host's name, which may contain any character.
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

/// The engine's reply to a heartbeat of a worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// For each chunk in the request, whether a client waits for it.
    pub(crate) wanted: Vec<bool>,
    /// Label and record of all chunks that the worker has claimed.
    pub(crate) claimed: Vec<(String, String)>,
}

/// A chunk that no worker could run.
#[derive(Clone, Debug)]
pub(crate) struct Buried {
    pub(crate) id: String,
    pub(crate) label: String,
    pub(crate) why: String,
    pub(crate) body: Vec<u8>,
}

/// One connection to an engine. Each operation is atomic, and may be repeated.
pub(crate) trait Engine {
    /// Adds the chunks that are not present yet.
    fn submit(&mut self, client: &Client, chunks: &[Chunk]) -> Outcome<()>;

    /// Returns the chunks that are neither waiting nor claimed: they have ended, or are lost.
    fn missing(&mut self, client: &Client, chunks: &[Chunk]) -> Outcome<Vec<u64>>;

    /// Returns the numbers of the chunks that the client has reported as outstanding.
    fn numbers(&mut self, client: &Client) -> Outcome<Vec<u64>>;

    /// Adds the chunks that are not present yet, removes the ends that the client has seen, and waits for others: in
    /// one request.
    fn exchange(
        &mut self,
        client: &Client,
        chunks: &[Chunk],
        seen: &[String],
        wait: Duration,
    ) -> Outcome<Vec<Finished>>;

    /// Reports that the client is alive. Returns the workers.
    fn tick(&mut self, client: &Client, lease: Duration) -> Outcome<Vec<Described>>;

    /// Cancels chunks, whether a worker runs them or not.
    fn end(&mut self, client: &Client, numbers: &[u64]) -> Outcome<()>;

    /// Reports that the worker is alive. Asks for each client and number whether the chunk is still wanted.
    fn beat(&mut self, worker: &Serving, is: &Described, runs: &[(String, String)]) -> Outcome<Heard>;

    /// Ends chunks, begins some and claims others, in one step.
    fn turn(&mut self, worker: &Serving, labels: &[String], turn: &Turn<'_>) -> Outcome<Taken>;

    /// Waits for chunks to run, at most `most`.
    fn wait(&mut self, worker: &Serving, labels: &[String], most: usize, wait: Duration) -> Outcome<Vec<Claim>>;

    /// Returns chunks that were claimed and not begun: label and record of each.
    fn release(&mut self, worker: &Serving, claimed: &[(String, String)]) -> Outcome<()>;

    /// Reports that the worker ends.
    fn retire(&mut self, worker: &Serving) -> Outcome<()>;

    /// Adds a chunk to the dead letters.
    fn put_dead_letter(&mut self, label: &str, why: &str, client: &str, body: &[u8]) -> Outcome<()>;

    /// Returns the dead letters, the oldest first.
    fn dead(&mut self, most: usize) -> Outcome<Vec<Buried>>;

    /// Removes a dead letter; returns whether it existed.
    fn exhume(&mut self, id: &str) -> Outcome<bool>;
}

/// The caller's name for an item, and how long the engine accepts no other item of that name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'n> {
    pub(crate) text: &'n str,
    pub(crate) stays: Duration,
}

/// The result of a put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Put {
    /// The item is in the queue.
    Done,
    /// The queue was full.
    Full,
    /// An item of that name was put before.
    Before,
}

/// The result of a get.
#[derive(Clone, Debug)]
pub(crate) enum Got {
    /// An item, and its record.
    Item(String, Vec<u8>),
    /// The queue is empty. The id is that of the last item so far.
    Nothing(String),
    /// The engine does not know the user.
    Unknown,
}

/// The operations of queues. Each may be repeated. An operation with a number, which counts the calls of a user, is
/// repeated under the same number.
pub(crate) trait Records {
    /// Puts an item unless the queue is full or an item of that name was put before.
    fn put(
        &mut self,
        user: &Serving,
        nth: u64,
        most: Option<usize>,
        name: Option<Name<'_>>,
        item: &[u8],
    ) -> Outcome<Put>;

    /// Takes an item that the user does not have yet.
    fn get(&mut self, user: &Serving, has: &[String]) -> Outcome<Got>;

    /// Waits for an item after `last`.
    fn listen(&mut self, last: &str, wait: Duration) -> Outcome<()>;

    /// Reports that an item is finished, or returns it to the queue; returns whether the user still had it.
    fn acknowledge(&mut self, user: &Serving, nth: u64, id: &str, back: bool) -> Outcome<bool>;

    /// Reports that one more item is finished; returns whether any was unfinished.
    fn done(&mut self, user: &Serving, nth: u64) -> Outcome<bool>;

    /// Returns the number of items in the queue, and of unfinished items.
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
