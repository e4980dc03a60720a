//! The workers: a pool, each of whose calls counts one share. The pool assigns the share of a killed worker to another
//! worker.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{PoisonError, RwLock};

use ossature::ErrorKind;
use ossature::multiprocessing::{Context, Pool, Tasks, tasks};
use ossature::sys::shm::Shm;
use ossature::sys::signal::{Signal, raise};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::split::Splitter;
use crate::table::Table;
use crate::text::Text;

type Failure = Box<dyn Error>;

/// The tasks that a worker may run; `main` passes them to `freeze_support`.
pub static TASKS: Tasks = tasks![count_share];

/// The work of the workers. They are forked after it is set, so each has the text mapped already.
static WORK: RwLock<Option<Work>> = RwLock::new(None);

struct Work {
    text: Text,
    /// 1 until a worker has obeyed `--kill` and ended halfway through its share.
    trap: Shm<AtomicU32>,
}

/// The number of retries of a share whose worker died.
const RETRIES: u32 = 3;

/// The counts of all workers together.
pub struct Counted {
    pub table: Table,
    pub words: u64,
    pub killed: bool,
}

/// Counts the words of `text` with `workers` processes; `progress` receives the bytes of each share as it is merged.
pub fn count(text: Text, workers: usize, kill: bool, mut progress: impl FnMut(u64)) -> Result<Counted, Failure> {
    let trap = Shm::place(AtomicU32::new(u32::from(kill)))?;
    *WORK.write().unwrap_or_else(PoisonError::into_inner) = Some(Work { text, trap });
    let work = WORK.read().unwrap_or_else(PoisonError::into_inner);
    let Work { text, trap } = work.as_ref().ok_or(MISSING)?;

    let pool = Pool::builder().workers(workers).context(Context::Fork).retries(RETRIES).build()?;
    let mut counted = Counted { table: Table::new(), words: 0, killed: false };
    // In order, so that the number of a result is that of its share.
    for (share, result) in pool.imap(count_share, 0..text.shares())?.enumerate() {
        let Share { words, table } = result.map_err(|error| match error.kind() {
            ErrorKind::WorkerDied => {
                format!(
                    "no worker survives {} ({error}); check whether the file was truncated meanwhile",
                    text.names(share)
                )
            }
            _ => error.to_string(),
        })??;
        counted.table.merge(table).ok_or("the result of a worker is not a table")?;
        counted.words += words;
        progress(text.share_bytes(share));
    }
    counted.killed = kill && trap.load(SeqCst) == 0;
    Ok(counted)
}

const MISSING: &str = "cannot count: the worker has no text";

/// The result of a worker for one share.
#[derive(Serialize, Deserialize)]
struct Share {
    words: u64,
    /// A table, as [`Table::to_bytes`] writes it.
    #[serde(serialize_with = "as_bytes", deserialize_with = "from_bytes")]
    table: Vec<u8>,
}

/// Counts one share, as the task of a worker.
fn count_share(share: usize) -> Result<Share, String> {
    let work = WORK.read().unwrap_or_else(PoisonError::into_inner);
    let Work { text, trap } = work.as_ref().ok_or(MISSING)?;
    let caught = share == text.shares() / 2 && trap.swap(0, SeqCst) != 0;
    let half = text.share_bytes(share) / 2;
    let (mut splitter, mut table, mut counted) = (Splitter::new(), Table::new(), 0);
    for (region, part) in text.parts(share) {
        let mut at = part.start;
        while at < part.end {
            let len = splitter.appetite().min(part.end - at);
            let fill = |into: &mut [u8]| region.copy_out(at, into).map_err(|error| error.to_string());
            splitter.feed(len, fill, &mut table)?;
            at += len;
            counted += len as u64;
            if caught && counted >= half {
                raise(Signal::KILL).map_err(|error| error.to_string())?; // the worker ends here
            }
        }
        splitter.finish(&mut table);
    }
    Ok(Share { words: splitter.words(), table: table.to_bytes() })
}

/// Serialises bytes as one piece, because serde would write a `Vec<u8>` byte by byte, as a list.
fn as_bytes<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

fn from_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    struct Bytes;
    impl de::Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }
    }
    from.deserialize_byte_buf(Bytes)
}
