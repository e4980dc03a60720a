//! A store of records with a fixed size in a mapped file, which another process may cut short at any time.
//!
//! `cargo run --example record_store -- add FILE NAME COUNT`; with `--self-test` it checks itself on a file of its own.

#[path = "family/front.rs"]
mod front;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use ossature::mmap::{Access, Advice, Mmap};
use ossature::sys::process::fork;
use ossature::{ErrorKind, Result};

const USAGE: &str = "\
usage: record_store [--self-test] COMMAND FILE [NAME [COUNT]]
Keeps records in a mapped file: a name of at most 24 bytes, and a number.
  add FILE NAME COUNT  adds COUNT to the record, which is made if there is none
  get FILE NAME        prints the number
  list FILE            prints every record
  --self-test          checks itself, while another process cuts the file short";

/// The length of a record: a name, padded with zeros, and a number.
const RECORD: usize = 32;
const NAME: usize = 24;

/// The beginning of a file of records; the number of records follows.
const MAGIC: &[u8; 8] = b"records1";
const HEADER: usize = 16;

/// The number of records by which the file grows.
const GROWTH: usize = 128;

struct Store {
    map: Mmap,
}

impl Store {
    /// Opens a store, or creates one in an empty or new file.
    fn open(path: &Path) -> Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let is_new = file.metadata()?.len() == 0;
        if is_new {
            file.set_len((HEADER + GROWTH * RECORD) as u64)?;
        }
        let mut map = Mmap::new(file, Access::Write)?;
        if is_new {
            map.set_slice(..MAGIC.len(), MAGIC)?;
        }
        if map.slice(..MAGIC.len())? != MAGIC {
            return Err(std::io::Error::other(format!("{} is not a file of records", path.display())).into());
        }
        map.advise(.., Advice::Random)?;
        Ok(Self { map })
    }

    fn count(&self) -> Result<usize> {
        let mut count = [0; 8];
        self.map.read_at(MAGIC.len(), &mut count)?;
        // Whatever the file says, records lie within the map.
        Ok((u64::from_le_bytes(count) as usize).min((self.map.len() - HEADER) / RECORD))
    }

    /// The offset of the record of a name.
    fn find(&self, name: &[u8; NAME]) -> Result<Option<usize>> {
        let (mut from, end) = (HEADER, HEADER + self.count()? * RECORD);
        while let Some(at) = self.map.find_in(name, from..end)? {
            if (at - HEADER) % RECORD == 0 {
                return Ok(Some(at));
            }
            from = at + 1; // across two records
        }
        Ok(None)
    }

    fn get(&self, name: &str) -> Result<Option<u64>> {
        let Some(at) = self.find(&padded(name)?)? else { return Ok(None) };
        let mut number = [0; 8];
        self.map.read_at(at + NAME, &mut number)?;
        Ok(Some(u64::from_le_bytes(number)))
    }

    fn add(&mut self, name: &str, number: u64) -> Result<u64> {
        let (name, sum) = (padded(name)?, self.get(name)?.unwrap_or(0).saturating_add(number));
        let at = match self.find(&name)? {
            Some(at) => at,
            None => self.append(&name)?,
        };
        self.map.set_slice(at + NAME..at + RECORD, &sum.to_le_bytes())?;
        self.map.flush_range(at..at + RECORD)?;
        Ok(sum)
    }

    /// Writes a record with the number 0 after the last one, and then increments the count.
    fn append(&mut self, name: &[u8; NAME]) -> Result<usize> {
        let count = self.count()?;
        let at = HEADER + count * RECORD;
        if at + RECORD > self.map.len() {
            self.map.resize(self.map.len() + GROWTH * RECORD)?;
        }
        self.map.set_slice(at..at + NAME, name)?;
        self.map.set_slice(MAGIC.len()..HEADER, &(count as u64 + 1).to_le_bytes())?;
        self.map.flush()?;
        Ok(at)
    }

    fn list(&self) -> Result<Vec<(String, u64)>> {
        let bytes = self.map.slice(HEADER..HEADER + self.count()? * RECORD)?;
        let records = bytes.chunks_exact(RECORD).map(|record| {
            let (name, number) = record.split_at(NAME);
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            (
                String::from_utf8_lossy(name).into_owned(),
                number.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
            )
        });
        Ok(records.collect())
    }
}

/// A name in the form of a record.
fn padded(name: &str) -> Result<[u8; NAME]> {
    let mut padded = [0; NAME];
    match padded.get_mut(..name.len()) {
        Some(place) if !name.is_empty() && !name.contains('\0') => place.copy_from_slice(name.as_bytes()),
        _ => return Err(std::io::Error::other(format!("{name:?} is not a name of 1 to {NAME} bytes")).into()),
    }
    Ok(padded)
}

fn self_test() -> Result<()> {
    let path = std::env::temp_dir().join(format!("ossature-record-store-{}", std::process::id()));
    let outcome = checked(&path);
    std::fs::remove_file(&path)?;
    outcome
}

fn checked(path: &Path) -> Result<()> {
    let mut store = Store::open(path)?;
    for number in 1..=300 {
        store.add(&format!("bone {number}"), number)?;
    }
    assert_eq!((store.add("bone 206", 1000)?, store.get("no bone")?), (1206, None));
    let again = Store::open(path)?;
    assert_eq!((again.get("bone 206")?, again.list()?.len()), (Some(1206), 300));

    // Another process cuts the file short. Python, and any program that touches the bytes, would end by SIGBUS here.
    let mut cutter =
        fork(|| u8::from(File::options().write(true).open(path).and_then(|file| file.set_len(100)).is_err()))?;
    assert!(cutter.wait()?.success());
    let error = again.get("bone 206").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    println!("after the cut: {error}");
    assert_eq!(store.add("one bone more", 1).unwrap_err().kind(), ErrorKind::Truncated);
    Ok(())
}

fn program() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["--self-test"] => self_test()?,
        ["add", file, name, count] => {
            let count = count.parse().map_err(|_| std::io::Error::other(format!("{count} is not a number")))?;
            println!("{}", Store::open(file.as_ref())?.add(name, count)?);
        }
        ["get", file, name] => match Store::open(file.as_ref())?.get(name)? {
            Some(number) => println!("{number}"),
            None => return Err(std::io::Error::other(format!("no record has the name {name}")).into()),
        },
        ["list", file] => {
            let mut out = std::io::stdout().lock();
            for (name, number) in Store::open(file.as_ref())?.list()? {
                writeln!(out, "{name} {number}")?;
            }
        }
        _ => return Err(std::io::Error::other(format!("unknown command\n{USAGE}")).into()),
    }
    Ok(())
}

fn main() -> ExitCode {
    front::run(USAGE, program)
}
