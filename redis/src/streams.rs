//! The engine over Redis Streams: one connection, and the scripts.

use std::sync::Arc;
use std::time::Duration;

use redis::{
    Cmd, Connection, ErrorKind, FromRedisValue, Pipeline, RedisError, ScriptInvocation, ServerErrorKind, Value,
};

use crate::engine::{
    Buried, Chunk, Claim, Client, Described, Engine, Fault, Finished, Heard, Outcome, Serving, Taken, Turn,
};
use crate::scripts::Scripts;

/// The maximum number of chunks in one request, and their approximate maximum length in bytes. No script runs for long
/// or transfers much at once.
const AT_ONCE: (usize, usize) = (128, 1 << 20);
/// The length above which chunks are stored outside the stream, where no script reads them. The scripts contain this
/// number, too.
const BESIDE: usize = 256 << 10;
/// The maximum number of ends in one request.
const ENDS: usize = 256;

/// A connection to the server.
pub(crate) struct Streams {
    pub(crate) connection: Connection,
    pub(crate) scripts: Arc<Scripts>,
    /// The prefix of all keys.
    pub(crate) prefix: String,
    /// Whether the server knows the script that adds chunks, which is then sent by name.
    knows: bool,
}

/// Converts an error of the server into a fault.
pub(crate) fn fault(error: &RedisError) -> Fault {
    let text = error.to_string();
    // A script's own error names the one that it met.
    let has = |code: &str| error.code() == Some(code) || text.contains(code);
    match error.kind() {
        ErrorKind::AuthenticationFailed => Fault::Auth(text),
        _ if has("NOAUTH") || has("WRONGPASS") => Fault::Auth(text),
        // Another try would find the same.
        ErrorKind::Io if text.contains("certificate") => Fault::Auth(text),
        _ if has("OOM") => Fault::Full(text),
        ErrorKind::Io | ErrorKind::Parse => Fault::Gone(text),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::Moved // since it was connected to
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain,
        ) => Fault::Gone(text),
        _ if has("READONLY") || has("MISCONF") || has("NOREPLICAS") || has("UNBLOCKED") || has("BUSY ") => {
            Fault::Gone(text)
        }
        _ => Fault::Refused(text),
    }
}

fn faulty(error: RedisError) -> Fault {
    fault(&error)
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Splits a list into pieces, each of which fits in one request. `bytes` returns the size of an item.
fn pieces<T>(mut rest: &[T], bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let (mut count, mut left) = (0, AT_ONCE.1);
        for one in rest.iter().take(AT_ONCE.0) {
            let Some(less) = left.checked_sub(bytes(one)) else { break };
            (count, left) = (count + 1, less);
        }
        let (piece, others) = rest.split_at_checked(count.max(1))?; // one that is longer goes alone
        rest = others;
        Some(piece)
    })
}

impl Streams {
    pub(crate) fn new(connection: Connection, scripts: Arc<Scripts>, name: &str) -> Self {
        Self { connection, scripts, prefix: format!("{{{name}}}"), knows: false }
    }

    pub(crate) fn invoke<T: FromRedisValue>(&mut self, call: &ScriptInvocation<'_>) -> Outcome<T> {
        call.invoke(&mut self.connection).map_err(faulty)
    }

    pub(crate) fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Outcome<T> {
        command.query(&mut self.connection).map_err(faulty)
    }

    fn tasks(&self, label: &str) -> String {
        format!("{}:tasks:{label}", self.prefix)
    }

    fn out(&self, client: &Client) -> String {
        format!("{}:c:{}:out", self.prefix, client.id)
    }

    /// The node of a cluster that stores the keys of the pool, if this server is another node.
    pub(crate) fn other_node(&mut self) -> Outcome<Option<String>> {
        let asked = redis::cmd("EXISTS").arg(format!("{}:labels", self.prefix)).query::<Value>(&mut self.connection);
        match asked {
            Err(error) => match (error.redirect_node(), fault(&error)) {
                (Some((node, _)), _) => Ok(Some(node.to_owned())),
                (None, gone @ Fault::Gone(_)) => Err(gone),
                _ => Ok(None), // where the question is not allowed, the first script tells
            },
            Ok(_) => Ok(None),
        }
    }

    /// Whether the server accepts writes. If the user may not ask, the first write shows it.
    pub(crate) fn is_primary(&mut self) -> Outcome<bool> {
        match redis::cmd("ROLE").query::<Value>(&mut self.connection) {
            Ok(Value::Array(role)) => {
                let role = role.into_iter().next().and_then(|role| String::from_redis_value(role).ok());
                Ok(role.is_none_or(|role| role == "master"))
            }
            Ok(_) => Ok(true),
            Err(error) => match fault(&error) {
                Fault::Refused(_) => Ok(true),
                fault => Err(fault),
            },
        }
    }
}

/// Adds the arguments of the script that adds chunks.
fn add_chunks(client: &Client, chunks: &[Chunk], mut add: impl FnMut(&[u8])) {
    add(client.label.as_bytes());
    add(client.id.as_bytes());
    add(millis(client.ttl).to_string().as_bytes());
    for chunk in chunks {
        add(chunk.number.to_string().as_bytes());
        add(&chunk.body);
    }
}

/// The fields of a record, by name.
fn fields(value: Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    Vec::<(Vec<u8>, Vec<u8>)>::from_redis_value(value).unwrap_or_default()
}

/// The records of a reply, each with its id; other values are left out.
fn records(value: Value) -> Vec<(String, Value)> {
    Vec::<(String, Value)>::from_redis_value(value).unwrap_or_default()
}

/// The records of the one stream, or of several, in a reply of XREAD.
fn streams(value: Value) -> Vec<(String, Value)> {
    match value {
        Value::Nil => Vec::new(),
        value => Vec::<(String, Value)>::from_redis_value(value).unwrap_or_default(),
    }
}

fn field(fields: &mut [(Vec<u8>, Vec<u8>)], name: &[u8]) -> Option<Vec<u8>> {
    fields.iter_mut().find(|(field, _)| field == name).map(|(_, value)| std::mem::take(value))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The chunks claimed to run, and those claimed ahead.
fn claimed(taken: Value) -> Outcome<(Vec<Claim>, Vec<Claim>)> {
    type Seven = (String, String, String, String, String, Vec<u8>, bool);
    let taken = Vec::<Seven>::from_redis_value(taken).map_err(|error| Fault::Refused(error.to_string()))?;
    let (mut to_run, mut ahead) = (Vec::new(), Vec::new());
    for (kind, label, id, client, number, body, beside) in taken {
        let claim = Claim { label, id, client, number, body, beside };
        if kind == "r" { to_run.push(claim) } else { ahead.push(claim) }
    }
    Ok((to_run, ahead))
}

impl Engine for Streams {
    fn submit(&mut self, client: &Client, chunks: &[Chunk]) -> Outcome<()> {
        let scripts = self.scripts.clone();
        for chunks in pieces(chunks, |chunk| chunk.body.len()) {
            let mut call = scripts.submit.key(&self.prefix);
            add_chunks(client, chunks, |part| _ = call.arg(part));
            self.invoke::<i64>(&call)?;
            self.knows = true;
        }
        Ok(())
    }

    fn missing(&mut self, client: &Client, chunks: &[Chunk]) -> Outcome<Vec<u64>> {
        let scripts = self.scripts.clone();
        let mut missing = Vec::new();
        // To see whether a record is there, the script reads it.
        let read = |chunk: &Chunk| Some(chunk.body.len()).filter(|bytes| *bytes <= BESIDE).unwrap_or(0);
        for chunks in pieces(chunks, read) {
            let mut call = scripts.missing.key(&self.prefix);
            call.arg(&client.label).arg(&client.id);
            for chunk in chunks {
                call.arg(chunk.number);
            }
            missing.extend(self.invoke::<Vec<u64>>(&call)?);
        }
        Ok(missing)
    }

    fn numbers(&mut self, client: &Client) -> Outcome<Vec<u64>> {
        let place = format!("{}:c:{}:at", self.prefix, client.id);
        self.query(redis::cmd("HKEYS").arg(place))
    }

    fn exchange(
        &mut self,
        client: &Client,
        chunks: &[Chunk],
        seen: &[String],
        wait: Duration,
    ) -> Outcome<Vec<Finished>> {
        let out = self.out(client);
        let mut ask = Pipeline::new();
        // Chunks that fit in one request are sent with the query, once the server has the script.
        let goes_along = self.knows && !chunks.is_empty() && pieces(chunks, |chunk| chunk.body.len()).nth(1).is_none();
        if goes_along {
            ask.cmd("EVALSHA").arg(self.scripts.submit.get_hash()).arg(1).arg(&self.prefix);
            add_chunks(client, chunks, |part| _ = ask.arg(part));
            ask.ignore();
        } else {
            self.submit(client, chunks)?;
        }
        if !seen.is_empty() {
            ask.cmd("XDEL").arg(&out).arg(seen).ignore();
        }
        ask.cmd("XREAD").arg("COUNT").arg(ENDS);
        if !wait.is_zero() {
            ask.arg("BLOCK").arg(millis(wait));
        }
        ask.arg("STREAMS").arg(&out).arg("0");
        let found = match ask.query(&mut self.connection) {
            Ok((found,)) => found,
            Err(error) if goes_along && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.submit(client, chunks)?; // somebody has emptied the server's list of scripts
                Value::Nil
            }
            Err(error) => return Err(faulty(error)),
        };
        let mut ended = Vec::new();
        let mut beside = Vec::new();
        for (_, entries) in streams(found) {
            for (id, entry) in records(entries) {
                let mut entry = fields(entry);
                let number = field(&mut entry, b"n").and_then(|number| text(number).parse().ok()).unwrap_or(u64::MAX);
                let answer = field(&mut entry, b"r").unwrap_or_default();
                if answer.is_empty() {
                    beside.push((ended.len(), number));
                }
                ended.push(Finished { id, number, answer });
            }
        }
        for (at, number) in beside {
            let place = format!("{out}:big");
            let answer: Option<Vec<u8>> = self.query(redis::cmd("HGET").arg(&place).arg(number))?;
            if let (Some(ended), Some(answer)) = (ended.get_mut(at), answer) {
                ended.answer = answer;
            }
            self.query::<Value>(redis::cmd("HDEL").arg(&place).arg(number))?;
        }
        Ok(ended)
    }

    fn tick(&mut self, client: &Client, lease: Duration) -> Outcome<Vec<Described>> {
        let scripts = self.scripts.clone();
        let mut call = scripts.tick.key(&self.prefix);
        call.arg(&client.id).arg(millis(client.ttl)).arg(millis(lease));
        let workers: Vec<Vec<u8>> = self.invoke(&call)?;
        Ok(workers.into_iter().filter_map(|is| Described::of_text(&text(is))).collect())
    }

    fn end(&mut self, client: &Client, numbers: &[u64]) -> Outcome<()> {
        let scripts = self.scripts.clone();
        // Without numbers the script checks whether anything is left.
        for numbers in numbers.chunks(AT_ONCE.0).chain(numbers.is_empty().then_some(numbers)) {
            let mut call = scripts.end.key(&self.prefix);
            call.arg(&client.label).arg(&client.id).arg(numbers);
            self.invoke::<i64>(&call)?;
        }
        Ok(())
    }

    fn beat(&mut self, worker: &Serving, is: &Described, runs: &[(String, String)]) -> Outcome<Heard> {
        let scripts = self.scripts.clone();
        let mut call = scripts.beat.key(&self.prefix);
        call.arg(&worker.id).arg(is.to_text()).arg(millis(worker.lease)).arg(millis(worker.ttl));
        call.arg(is.labels.len()).arg(&is.labels);
        for (client, number) in runs {
            call.arg(client).arg(number);
        }
        let (wanted, claimed) = self.invoke(&call)?;
        Ok(Heard { wanted, claimed })
    }

    fn turn(&mut self, worker: &Serving, labels: &[String], turn: &Turn<'_>) -> Outcome<Taken> {
        let scripts = self.scripts.clone();
        let mut parts = pieces(turn.ended, |(_, answer)| answer.len()).peekable();
        loop {
            // The last request takes what is new, or the only one.
            let ended = parts.next().unwrap_or_default();
            let last = parts.peek().is_none();
            let (run, ahead) = if last { (turn.run, turn.ahead) } else { (0, 0) };
            let begins = if last { turn.begins } else { &[] };
            let mut call = scripts.turn.key(&self.prefix);
            call.arg(&worker.id).arg(millis(worker.ttl)).arg(run).arg(ahead).arg(labels.len()).arg(ended.len());
            call.arg(labels);
            for (Claim { label, id, client, number, beside, .. }, answer) in ended {
                call.arg(label).arg(id).arg(client).arg(number).arg(i32::from(*beside)).arg(&answer[..]);
            }
            for claim in begins {
                call.arg(&claim.label).arg(&claim.id).arg(&claim.client).arg(&claim.number);
            }
            let (may, taken) = self.invoke::<(Vec<bool>, Value)>(&call)?;
            if !last {
                continue;
            }
            let claims = match taken {
                Value::Nil => None,
                taken => Some(claimed(taken)?),
            };
            return Ok(Taken { may, claims });
        }
    }

    fn wait(&mut self, worker: &Serving, labels: &[String], most: usize, wait: Duration) -> Outcome<Vec<Claim>> {
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP")
            .arg("w")
            .arg(format!("{}/r", worker.id))
            .arg("COUNT")
            .arg(most)
            .arg("BLOCK")
            .arg(millis(wait));
        read.arg("STREAMS");
        for label in labels {
            read.arg(self.tasks(label));
        }
        for _ in labels {
            read.arg(">");
        }
        let found = match read.query::<Value>(&mut self.connection) {
            Ok(found) => found,
            // The next claim makes the group.
            Err(error) if error.code() == Some("NOGROUP") => return Ok(Vec::new()),
            Err(error) => return Err(faulty(error)),
        };
        let mut claims = Vec::new();
        for (stream, entries) in streams(found) {
            let label = labels.iter().find(|label| self.tasks(label) == stream).cloned().unwrap_or_default();
            for (id, entry) in records(entries) {
                let mut entry = fields(entry);
                let mut part = |name: &[u8]| field(&mut entry, name).unwrap_or_default();
                let (client, number, mut body) = (text(part(b"c")), text(part(b"n")), part(b"b"));
                let beside = body.is_empty();
                if beside {
                    let place = format!("{}:c:{client}:big", self.prefix);
                    body =
                        self.query::<Option<Vec<u8>>>(redis::cmd("HGET").arg(place).arg(&number))?.unwrap_or_default();
                }
                claims.push(Claim { label: label.clone(), id, client, number, body, beside });
            }
        }
        Ok(claims)
    }

    fn release(&mut self, worker: &Serving, claimed: &[(String, String)]) -> Outcome<()> {
        let scripts = self.scripts.clone();
        let mut call = scripts.release.key(&self.prefix);
        call.arg(&worker.id);
        for (label, id) in claimed {
            call.arg(label).arg(id);
        }
        self.invoke::<i64>(&call).map(drop)
    }

    fn retire(&mut self, worker: &Serving) -> Outcome<()> {
        let scripts = self.scripts.clone();
        let mut call = scripts.retire.key(&self.prefix);
        call.arg(&worker.id).arg(millis(worker.ttl));
        self.invoke::<i64>(&call).map(drop)
    }

    fn put_dead_letter(&mut self, label: &str, why: &str, client: &str, body: &[u8]) -> Outcome<()> {
        let scripts = self.scripts.clone();
        let mut call = scripts.dead_letter.key(&self.prefix);
        call.arg(label).arg(why).arg(client).arg(body);
        self.invoke::<Value>(&call).map(drop)
    }

    fn dead(&mut self, most: usize) -> Outcome<Vec<Buried>> {
        let mut range = redis::cmd("XRANGE");
        range.arg(format!("{}:dead", self.prefix)).arg("-").arg("+").arg("COUNT").arg(most);
        let found: Value = self.query(&range)?;
        let dead = records(found).into_iter().map(|(id, entry)| {
            let mut entry = fields(entry);
            let mut part = |name: &[u8]| field(&mut entry, name).unwrap_or_default();
            Buried { id, label: text(part(b"label")), why: text(part(b"why")), body: part(b"b") }
        });
        Ok(dead.collect())
    }

    fn exhume(&mut self, id: &str) -> Outcome<bool> {
        let mut delete = redis::cmd("XDEL");
        delete.arg(format!("{}:dead", self.prefix)).arg(id);
        self.query::<i64>(&delete).map(|count| count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_piece_has_more_than_a_request_may_carry() {
        let cut = |sizes: &[usize]| pieces(sizes, |size| *size).map(<[usize]>::to_vec).collect::<Vec<_>>();
        assert!(cut(&[]).is_empty());
        assert_eq!(cut(&[1; 300]).iter().map(Vec::len).collect::<Vec<_>>(), [128, 128, 44]);
        let sizes = [BESIDE, BESIDE, BESIDE, BESIDE, 1, 5 << 20, 7, 512 << 20];
        let cut = cut(&sizes);
        assert_eq!(cut.concat(), sizes, "all, in order");
        assert!(cut.iter().all(|piece| piece.len() == 1 || piece.iter().sum::<usize>() <= AT_ONCE.1), "{cut:?}");
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [4, 1, 1, 1, 1]);
    }

    #[test]
    fn what_lies_beside_the_stream_is_one_number_here_and_in_the_scripts() {
        let text = include_str!("scripts.rs");
        let lengths = text.match_indices("> 262144").count();
        assert_eq!((lengths, BESIDE), (2, 262_144));
    }
}
