//! A chunk: some calls of a job, with the data that the parent needs to publish them again.

use std::ops::Range;
use std::sync::Arc;

use ossature_sys::socket::MOST_DESCRIPTORS;
use serde::Serialize;

use super::arena::Room;
use super::board::INLINE;
use super::job::Job;
use crate::error::{Error, ErrorKind, Result};
use crate::multiprocessing::tasks::Form;
use crate::multiprocessing::transfer::{Descriptors, Writing, put_measured, split_measured};

/// A series of calls that one worker runs one after the other.
///
/// A *series* of chunks is stored in the same way, as long as none of them is published: one list of calls, of which
/// each chunk has the same number. A map with a million chunks then needs no memory for each of them.
pub(super) struct Chunk {
    pub(super) job: Arc<Job>,
    /// The index of the first call in the job.
    pub(super) base: usize,
    /// The name of the task, then the arguments of each call, with their length before them. Empty while the chunk is
    /// published, because the arena or the slot then contains them.
    pub(super) bytes: Vec<u8>,
    /// The number of calls, and the end of the arguments of the last call.
    count: u32,
    end: u32,
    /// For a series: the number of calls of each chunk, and the offset of the first call that is left. 0 for a chunk.
    size: u32,
    from: u32,
    /// The number of outcomes that have come.
    pub(super) seen: u32,
    pub(super) form: Form,
    /// The number of the chunk while it is published.
    pub(super) sequence: u64,
    rare: Option<Box<Rare>>,
}

/// The fields that a short chunk of one call does not need. A map may have a million such chunks.
pub(super) struct Rare {
    /// The descriptors in the arguments of the call, which is then the only call.
    pub(super) descriptors: Descriptors,
    /// The number of workers that have died in the first unfinished call, and of workers that have died without
    /// starting a call.
    pub(super) tries: u32,
    pub(super) spared: u32,
    /// The chunk's room in the arena while it is published.
    pub(super) room: Option<Room>,
    /// The text of the panic with which the chunk's worker died.
    pub(super) last_words: Option<String>,
    /// The size of the argument and of the value of a plain call, in bytes.
    argument: usize,
    pub(super) value: usize,
}

impl Rare {
    const NONE: Self = Self {
        descriptors: Descriptors::new(),
        tries: 0,
        spared: 0,
        room: None,
        last_words: None,
        argument: 0,
        value: 0,
    };
}

/// The maximum length of the name of a task.
const NAME: usize = 4096;
/// The alignment of the arguments of plain calls.
const ALIGN: usize = 64;
/// The maximum number of bytes before the arguments.
pub(super) const HEAD: usize = (2 + NAME).next_multiple_of(ALIGN);

/// The number of bytes before the arguments of plain calls of a task whose name has this length.
pub(super) fn plain_head(name: usize) -> usize {
    (2 + name).next_multiple_of(ALIGN)
}

impl Chunk {
    /// Makes a chunk without calls.
    pub(super) fn new(job: &Arc<Job>, form: Form) -> Box<Self> {
        let name = job.task.as_bytes();
        let name = name.get(..name.len().min(NAME)).unwrap_or_default();
        let mut bytes = Vec::with_capacity(2 + name.len() + 64);
        bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(name);
        if form == Form::Plain {
            bytes.resize(plain_head(name.len()), 0);
        }
        let job = job.clone();
        let (base, sequence, rare) = (0, 0, None);
        Box::new(Self { job, base, bytes, count: 0, end: 0, size: 0, from: 0, seen: 0, form, sequence, rare })
    }

    pub(super) fn rare(&self) -> &Rare {
        static NONE: Rare = Rare::NONE;
        self.rare.as_deref().unwrap_or(&NONE)
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(|| Box::new(Rare::NONE))
    }

    /// Resets the count of tries, because the first unfinished call is another call now.
    pub(super) fn has_gone_on(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.tries = 0;
        }
    }

    /// Takes the room in the arena out of the chunk.
    pub(super) fn take_room(&mut self) -> Option<Room> {
        self.rare.as_mut()?.room.take()
    }

    /// Adds a call. A call with descriptors in its arguments must be alone: after other calls it is returned in a chunk
    /// of its own.
    ///
    /// # Errors
    /// `InvalidInput` for arguments that cannot be serialised, for more than 253 descriptors, and for more than 4 GiB.
    #[inline]
    pub(super) fn push<A: Serialize>(&mut self, writing: &Writing, args: &A) -> Result<Option<Box<Self>>> {
        let from = self.bytes.len();
        match writing.write_measured(&mut self.bytes, args)? {
            None => self.close_call().map(|()| None),
            Some(descriptors) => self.close_call_with(from, descriptors),
        }
    }

    /// Adds a call whose arguments begin at `from` and contain descriptors.
    #[cold]
    fn close_call_with(&mut self, from: usize, descriptors: Descriptors) -> Result<Option<Box<Self>>> {
        let count = descriptors.fd_counts().all;
        if count > MOST_DESCRIPTORS {
            let text = format!(
                "the arguments of {} hold {count} descriptors, and a call takes at most {MOST_DESCRIPTORS}: give the others in \
                 another call, or to the initializer of the pool",
                self.job.task
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        if count > 0 && self.count > 0 {
            let mut alone = Self::new(&self.job, self.form);
            alone.bytes.extend(self.bytes.drain(from..));
            alone.close_call()?;
            alone.rare_mut().descriptors = descriptors;
            return Ok(Some(alone));
        }
        if count > 0 {
            self.rare_mut().descriptors = descriptors;
        }
        self.close_call().map(|()| None)
    }

    /// Removes the bytes that a failed [`push`](Self::push) has left after the last call.
    pub(super) fn drop_unfinished(&mut self) {
        if self.count > 0 {
            self.bytes.truncate(self.end as usize);
        }
    }

    /// Adds a call whose arguments are already serialised.
    ///
    /// # Errors
    /// `InvalidInput` for more than 4 GiB.
    pub(super) fn push_opaque(&mut self, args: &[u8]) -> Result<()> {
        match put_measured(&mut self.bytes, args) {
            true => self.close_call(),
            false => Err(too_long()),
        }
    }

    /// Records the end of the arguments of a call.
    #[inline]
    fn close_call(&mut self) -> Result<()> {
        self.end = u32::try_from(self.bytes.len()).map_err(|_| too_long())?;
        self.count += 1;
        Ok(())
    }

    /// Adds plain calls: their arguments, their number, and the sizes of an argument and of a value.
    pub(super) fn push_plain(&mut self, items: &[u8], count: usize, (argument, value): (usize, usize)) {
        self.bytes.extend_from_slice(items);
        let rare = self.rare_mut();
        (rare.argument, rare.value) = (argument, value);
        self.end = self.bytes.len() as u32; // at most 16 MiB
        self.count = count as u32; // the same
    }

    /// Does what [`push_plain`](Self::push_plain) does, where `write` writes the arguments after the bytes that it
    /// receives.
    pub(super) fn place_plain(
        &mut self,
        room: Room,
        (items, count): (usize, usize),
        (argument, value): (usize, usize),
        write: impl FnOnce(Vec<u8>),
    ) {
        let head = std::mem::take(&mut self.bytes);
        self.end = (head.len() + items) as u32; // at most 16 MiB
        self.count = count as u32; // the same
        *self.rare_mut() = Rare { room: Some(room), argument, value, ..Rare::NONE };
        write(head);
    }

    /// The number of bytes that the chunk needs in the arena, if it needs any.
    pub(super) fn needs(&self) -> Option<usize> {
        match self.form {
            _ if self.rare().room.is_some() => None,
            Form::Plain => Some(self.bytes.len() + self.count as usize * self.rare().value),
            _ => Some(self.bytes.len()).filter(|length| *length > INLINE),
        }
    }

    /// Whether no other call can be added.
    pub(super) fn is_alone(&self) -> bool {
        !self.rare().descriptors.is_empty()
    }

    /// The length of the name and the arguments in bytes.
    pub(super) fn length(&self) -> usize {
        self.end as usize
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The index in the job of the first unfinished call.
    pub(super) fn at(&self) -> usize {
        self.base + self.seen as usize
    }

    pub(super) fn is_done(&self) -> bool {
        self.seen == self.count()
    }

    /// The indices in the job of the unfinished calls.
    pub(super) fn left(&self) -> Range<usize> {
        self.at()..self.base + self.count as usize
    }

    /// Makes this a series of chunks that have `size` calls each, unless one chunk has all calls.
    pub(super) fn cut(&mut self, size: usize) {
        if (self.count as usize) > size {
            self.size = size as u32; // less than the count
            self.from = self.head() as u32; // at most `HEAD`
        }
    }

    /// Makes a chunk a series of one chunk, unless it has descriptors or was published before.
    pub(super) fn begin_series(&mut self) -> bool {
        let is_usual = self.rare.is_none();
        if is_usual {
            self.size = self.count;
            self.from = self.head() as u32; // at most `HEAD`
        }
        is_usual
    }

    /// Ends what [`begin_series`](Self::begin_series) began. If the chunk was taken off, others can be added to it.
    pub(super) fn end_series(&mut self) {
        self.size = 0;
        if self.count == 0 {
            self.bytes.truncate(self.head());
        }
    }

    pub(super) fn is_series(&self) -> bool {
        self.size > 0
    }

    /// The length of the name of the task, with the length before it.
    fn head(&self) -> usize {
        2 + self.job.task.len().min(NAME)
    }

    /// The number of bytes that the chunks of a series take, for chunks of `size` calls.
    pub(super) fn weight(&self, size: usize) -> usize {
        self.bytes.len() + (self.count as usize / size.max(1)).saturating_sub(1) * self.head()
    }

    /// The first chunk of a series: the name of the task, the calls, and their number. `None` for a chunk.
    #[inline]
    pub(super) fn first(&self) -> Option<(&[u8], &[u8], u32)> {
        let count = self.size.min(self.count);
        let (head, calls) = (self.bytes.get(..self.head())?, self.bytes.get(self.from as usize..self.end as usize)?);
        let mut rest = calls;
        for _ in 0..count {
            (_, rest) = split_measured(rest)?;
        }
        let calls = calls.get(..calls.len() - rest.len())?;
        (count > 0).then_some((head, calls, count))
    }

    /// Takes the [first](Self::first) chunk, which has `count` calls of `length` bytes, off a series, and gives it a
    /// number. The caller has its bytes.
    #[inline]
    pub(super) fn take_off(&mut self, job: Arc<Job>, count: u32, length: usize, sequence: u64) -> Self {
        let (base, form, end) = (self.base, self.form, (self.head() + length) as u32); // no longer than the series
        self.base += count as usize;
        self.count -= count;
        self.from += length as u32; // likewise
        let bytes = Vec::new();
        Self { job, base, bytes, count, end, size: 0, from: 0, seen: 0, form, sequence, rare: None }
    }

    /// Takes the first chunk off a series, and writes its bytes into `bytes`; `None` for a chunk.
    pub(super) fn split(&mut self, mut bytes: Vec<u8>) -> Option<Self> {
        let (head, calls, count) = self.first()?;
        bytes.clear();
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(calls);
        let length = calls.len();
        let chunk = self.take_off(self.job.clone(), count, length, 0);
        Some(Self { bytes, ..chunk })
    }

    /// Makes a chunk of the calls from `from` on, to publish them again.
    pub(super) fn rest(&mut self, from: u32) -> Option<Box<Self>> {
        let count = self.count.checked_sub(from).filter(|count| *count > 0)?;
        let mut rest = Self::new(&self.job, self.form);
        let head = rest.bytes.len();
        let mut calls = self.bytes.get(head..self.end as usize)?;
        calls = match self.form {
            Form::Plain => calls.get(from as usize * self.rare().argument..)?,
            _ => {
                for _ in 0..from {
                    (_, calls) = split_measured(calls)?;
                }
                calls
            }
        };
        rest.bytes.extend_from_slice(calls);
        (rest.end, rest.count) = (rest.bytes.len() as u32, count); // no more than here
        rest.base = self.base + from as usize;
        if let Some(rare) = &mut self.rare {
            // A chunk with descriptors has one call, which is tried again.
            let descriptors = std::mem::take(&mut rare.descriptors);
            let (argument, value) = (rare.argument, rare.value);
            rest.rare = Some(Box::new(Rare { descriptors, argument, value, ..Rare::NONE }));
        }
        Some(rest)
    }
}

#[cold]
fn too_long() -> Error {
    let text = "the arguments of a chunk take more than 4 GiB: use a smaller chunksize";
    Error::new(ErrorKind::InvalidInput, text)
}

/// Returns CPython's default chunk size: four chunks for each worker, rounded up.
pub(super) fn default_chunksize(items: usize, workers: usize) -> usize {
    items.div_ceil(workers.saturating_mul(4).max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::job::Keep;
    use super::super::worker::split_name;
    use super::*;

    #[test]
    fn the_rest_of_a_chunk_has_the_later_calls_alone() {
        let job = Arc::new(Job::new("a::task", Keep::All));
        let writing = Writing::begin();
        let mut chunk = Chunk::new(&job, Form::Value);
        for text in ["zero", "", "two", "three"] {
            chunk.push(&writing, &text).unwrap();
        }
        chunk.base = 10;
        let mut rest = chunk.rest(2).unwrap();
        assert_eq!((rest.base, rest.count()), (12, 2));
        assert_eq!(split_name(&rest.bytes), (&b"a::task"[..], &b"\x04\x03two\x06\x05three"[..]));
        let mut last = rest.rest(1).unwrap();
        assert_eq!((last.base, last.left()), (13, 13..14));
        assert_eq!(split_name(&last.bytes).1, b"\x06\x05three");
        assert!(last.rest(1).is_none());
        assert_eq!(chunk.rest(0).unwrap().bytes, chunk.bytes);
    }

    #[test]
    fn a_series_is_taken_apart_into_chunks_of_its_size() {
        let job = Arc::new(Job::new("a::task", Keep::All));
        let writing = Writing::begin();
        let mut series = Chunk::new(&job, Form::Value);
        for text in ["zero", "", "two", "three", "four"] {
            series.push(&writing, &text).unwrap();
        }
        series.base = 10;
        assert_eq!(series.weight(2), series.length() + 2 + "a::task".len(), "a name before each");
        series.cut(5);
        assert!(!series.is_series(), "one chunk has them all");
        series.cut(2);
        let parts: [&[u8]; 3] = [b"\x05\x04zero\x01\x00", b"\x04\x03two\x06\x05three", b"\x05\x04four"];
        for (at, calls) in parts.into_iter().enumerate() {
            assert!(series.is_series() && series.left() == (10 + 2 * at..15));
            let chunk = series.split(vec![7; 20]).unwrap();
            assert_eq!(split_name(&chunk.bytes), (&b"a::task"[..], calls));
            assert_eq!((chunk.left(), chunk.length()), (10 + 2 * at..(12 + 2 * at).min(15), chunk.bytes.len()));
            assert!(!chunk.is_series());
        }
        assert!(series.count() == 0 && series.split(Vec::new()).is_none());
    }

    #[test]
    fn a_call_that_cannot_be_written_leaves_nothing_in_its_chunk() {
        struct Fails;
        impl Serialize for Fails {
            fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("it will not"))
            }
        }
        let job = Arc::new(Job::new("a::task", Keep::All));
        let mut chunk = Chunk::new(&job, Form::Value);
        chunk.push(&Writing::begin(), &"one").unwrap();
        let before = chunk.bytes.clone();
        assert!(chunk.push(&Writing::begin(), &("written", Fails)).is_err() && chunk.bytes.len() > before.len());
        chunk.drop_unfinished();
        assert_eq!((chunk.count(), chunk.bytes), (1, before));
    }

    #[test]
    fn a_call_with_descriptors_is_alone_and_keeps_them_for_another_try() {
        use crate::multiprocessing::transfer::Handle;
        let file = || Some(Handle(std::fs::File::open("/dev/null").unwrap()));
        let job = Arc::new(Job::new("a::task", Keep::All));
        let writing = Writing::begin();
        let mut chunk = Chunk::new(&job, Form::Value);
        assert!(chunk.push(&writing, &None::<Handle<std::fs::File>>).unwrap().is_none() && !chunk.is_alone());
        let mut alone = chunk.push(&writing, &file()).unwrap().expect("not behind another");
        assert_eq!((chunk.count(), alone.count(), alone.is_alone()), (1, 1, true));
        assert_eq!(split_name(&alone.bytes), (&b"a::task"[..], &b"\x02\x01\x00"[..]));
        let again = alone.rest(0).unwrap();
        assert_eq!((again.rare().descriptors.fd_counts().all, again.bytes), (1, alone.bytes));
        let many: Vec<_> = (0..254).map(|_| file()).collect();
        let error = Chunk::new(&job, Form::Value).push(&writing, &many).map(drop).unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("254"), "{error}");
    }

    #[test]
    fn the_default_chunk_size_is_cpythons() {
        let sizes = [1, 8, 9, 16, 17, 100].map(|items| default_chunksize(items, 2));
        assert_eq!(sizes, [1, 1, 2, 2, 3, 13]);
        assert_eq!(default_chunksize(0, 2), 1);
    }
}
