//! The operations of queues over Redis Streams: one stream, read by one group.

use std::time::Duration;

use redis::{FromRedisValue, Value};

use crate::engine::{Got, Name, Outcome, Put, Records, Serving};
use crate::streams::{Streams, millis};

impl Records for Streams {
    fn put(
        &mut self,
        user: &Serving,
        nth: u64,
        most: Option<usize>,
        name: Option<Name<'_>>,
        item: &[u8],
    ) -> Outcome<Put> {
        let scripts = self.scripts.clone();
        let mut call = scripts.put.key(&self.prefix);
        call.arg(&user.id).arg(nth).arg(millis(user.ttl)).arg(most.unwrap_or(0)).arg(item);
        if let Some(Name { text, stays }) = name {
            call.arg(text).arg(millis(stays));
        }
        Ok(match self.invoke::<u8>(&call)? {
            0 => Put::Full,
            1 => Put::Done,
            _ => Put::Before,
        })
    }

    fn get(&mut self, user: &Serving, has: &[String]) -> Outcome<Got> {
        let scripts = self.scripts.clone();
        let mut call = scripts.get.key(&self.prefix);
        call.arg(&user.id).arg(has);
        let Some((id, bytes)) = self.invoke::<Option<(String, Vec<u8>)>>(&call)? else { return Ok(Got::Unknown) };
        Ok(match id.is_empty() {
            true => Got::Nothing(String::from_utf8_lossy(&bytes).into_owned()),
            false => Got::Item(id, bytes),
        })
    }

    fn listen(&mut self, last: &str, wait: Duration) -> Outcome<()> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(1).arg("BLOCK").arg(millis(wait));
        read.arg("STREAMS").arg(format!("{}:tasks:q", self.prefix)).arg(last);
        self.query::<Value>(&read).map(drop)
    }

    fn acknowledge(&mut self, user: &Serving, nth: u64, id: &str, back: bool) -> Outcome<bool> {
        let scripts = self.scripts.clone();
        let mut call = scripts.acknowledge.key(&self.prefix);
        call.arg(&user.id).arg(nth).arg(millis(user.ttl)).arg(id).arg(if back { "back" } else { "done" });
        self.invoke(&call)
    }

    fn done(&mut self, user: &Serving, nth: u64) -> Outcome<bool> {
        let scripts = self.scripts.clone();
        let mut call = scripts.done.key(&self.prefix);
        call.arg(&user.id).arg(nth).arg(millis(user.ttl));
        self.invoke(&call)
    }

    fn count(&mut self) -> Outcome<(usize, usize)> {
        let mut both = redis::pipe();
        both.cmd("XLEN").arg(format!("{}:tasks:q", self.prefix));
        both.cmd("GET").arg(format!("{}:unfinished", self.prefix));
        let (length, unfinished): (usize, Value) =
            both.query(&mut self.connection).map_err(|error| crate::streams::fault(&error))?;
        Ok((length, Option::<usize>::from_redis_value(unfinished).ok().flatten().unwrap_or(0)))
    }
}
