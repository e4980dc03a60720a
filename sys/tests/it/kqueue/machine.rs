//! The machine that a test and a fuzz target run: bytes are steps, applied to a queue and to its model.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature_sys::deadline::Deadline;
use ossature_sys::errno::Errno;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};

/// The number of streams, and of user events.
const MANY: usize = 4;

/// A knote of the model, by the rules of the manual page.
#[derive(Clone, Copy)]
struct Knote {
    flags: Flags,
    disabled: bool,
    udata: usize,
    /// For USER: whether it was triggered. For a CLEAR knote: whether there is something new to report.
    news: bool,
    notes: Notes,
    data: i64,
}

#[derive(Default)]
struct Model {
    knotes: BTreeMap<(usize, Filter), Knote>,
}

const KEPT: Flags = Flags::ONESHOT.union(Flags::CLEAR).union(Flags::DISPATCH);

impl Model {
    fn change(&mut self, change: &Kevent, is_ready: bool) -> Result<(), Errno> {
        let (key, flags) = ((change.ident(), change.filter()), change.flags());
        if flags.contains(Flags::DELETE) {
            return self.knotes.remove(&key).map(drop).ok_or(Errno::NOENT);
        }
        let is_new = !self.knotes.contains_key(&key);
        if is_new && !flags.contains(Flags::ADD) {
            return Err(Errno::NOENT);
        }
        let knote = self.knotes.entry(key).or_insert(Knote {
            flags: Flags::empty(),
            disabled: false,
            udata: 0,
            news: false,
            notes: Notes::empty(),
            data: 0,
        });
        knote.udata = change.udata();
        if flags.contains(Flags::ADD) {
            knote.flags = flags & KEPT;
        }
        if flags.contains(Flags::DISABLE) {
            knote.disabled = true;
        } else if flags.intersects(Flags::ADD | Flags::ENABLE) {
            knote.disabled = false;
        }
        if change.filter() == Filter::USER {
            let given = change.notes() & Notes::FFLAGSMASK;
            knote.notes = match change.notes() & Notes::FFCTRLMASK {
                _ if is_new => given,
                Notes::FFCOPY => given,
                Notes::FFOR => knote.notes | given,
                Notes::FFAND => knote.notes & given,
                _ => knote.notes,
            };
            knote.data = change.data();
            knote.news |= change.notes().contains(Notes::TRIGGER);
        } else {
            knote.news = is_ready; // a change looks anew
        }
        Ok(())
    }

    /// The events of a wait with ample room, sorted.
    fn wait(&mut self, level: impl Fn(usize, Filter) -> (bool, i64, Flags)) -> Vec<Kevent> {
        let mut events = Vec::new();
        let mut gone = Vec::new();
        for (&(ident, filter), knote) in &mut self.knotes {
            let event = Kevent::new(ident, filter).with_udata(knote.udata);
            let (is_ready, event) = if filter == Filter::USER {
                (knote.news, event.with_notes(knote.notes).with_data(knote.data).with_flags(knote.flags))
            } else {
                let (is_ready, data, end) = level(ident, filter);
                let is_told = is_ready && (knote.news || !knote.flags.contains(Flags::CLEAR));
                (is_told, event.with_data(data).with_flags(knote.flags | end))
            };
            if knote.disabled || !is_ready {
                continue;
            }
            events.push(event);
            if knote.flags.contains(Flags::CLEAR) {
                knote.news = false;
            }
            if knote.flags.contains(Flags::ONESHOT) {
                gone.push((ident, filter));
            } else if knote.flags.contains(Flags::DISPATCH) {
                knote.disabled = true;
            }
        }
        for key in &gone {
            self.knotes.remove(key);
        }
        events.sort();
        events
    }

    /// Records that bytes or the end arrived, which a CLEAR knote reports.
    fn tell(&mut self, ident: usize, filter: Filter) {
        if let Some(knote) = self.knotes.get_mut(&(ident, filter)) {
            knote.news = true;
        }
    }

    fn close(&mut self, ident: usize) {
        self.knotes.retain(|&(other, filter), _| other != ident || filter == Filter::USER);
    }
}

/// A stream that the queue may watch: the bytes that wait, and whether its peer has closed.
struct Stream {
    near: UnixStream,
    far: Option<UnixStream>,
    waiting: i64,
}

impl Stream {
    fn new() -> Self {
        let (near, far) = UnixStream::pair().expect("there are descriptors");
        Self { near, far: Some(far), waiting: 0 }
    }

    fn ident(&self) -> usize {
        self.near.as_raw_fd() as usize
    }

    /// Closes the peer, also where a child of another test has a copy of it for a moment. Returns false if it is closed
    /// already.
    fn hang_up(&mut self) -> bool {
        let far = self.far.take();
        far.is_some_and(|far| far.shutdown(Shutdown::Both).is_ok())
    }
}

fn level(streams: &[Stream], ident: usize) -> (bool, i64, Flags) {
    let Some(stream) = streams.iter().find(|stream| stream.ident() == ident) else { return (false, 0, Flags::empty()) };
    let end = if stream.far.is_none() { Flags::EOF } else { Flags::empty() };
    (stream.waiting > 0 || stream.far.is_none(), stream.waiting, end)
}

/// Runs the steps, and compares the results after each.
pub fn run(bytes: &[u8]) {
    let (queue, mut model) = (Kqueue::new().expect("there are descriptors"), Model::default());
    let mut streams: Vec<Stream> = (0..MANY).map(|_| Stream::new()).collect();
    let mut bytes = bytes.iter().copied();
    while let (Some(step), Some(which), Some(how)) = (bytes.next(), bytes.next(), bytes.next()) {
        let n = usize::from(which) % MANY;
        match step % 8 {
            // A change of a knote.
            0..=2 => {
                let mut flags = Flags::empty();
                for (bit, flag) in [
                    (0, Flags::ADD),
                    (1, Flags::CLEAR),
                    (2, Flags::ONESHOT),
                    (3, Flags::DISPATCH),
                    (4, Flags::DISABLE),
                    (5, Flags::ENABLE),
                ] {
                    if how & 1 << bit != 0 {
                        flags |= flag;
                    }
                }
                if how >> 6 == 3 {
                    flags |= Flags::DELETE;
                }
                let change = if which & 0x80 == 0 {
                    Kevent::new(streams[n].ident(), Filter::READ)
                } else {
                    let operation = u32::from(which >> 5 & 3) << 30;
                    let trigger = if step & 0x80 == 0 { Notes::empty() } else { Notes::TRIGGER };
                    let notes = Notes::from_bits_retain(operation | u32::from(step)) | trigger;
                    Kevent::new(n, Filter::USER).with_notes(notes).with_data(i64::from(how))
                };
                let change = change.with_flags(flags).with_udata(usize::from(step));
                let is_ready = level(&streams, change.ident()).0;
                assert_eq!(queue.change(&change), model.change(&change, is_ready), "{change:?}");
            }
            3 => {
                let stream = &mut streams[n];
                if let Some(far) = &mut stream.far {
                    far.write_all(&vec![0; usize::from(how % 7) + 1]).expect("there is room");
                    stream.waiting += i64::from(how % 7) + 1;
                    model.tell(streams[n].ident(), Filter::READ);
                }
            }
            4 => {
                let stream = &mut streams[n];
                let most = stream.waiting.min(i64::from(how % 9));
                stream.near.read_exact(&mut vec![0; most as usize]).expect("the bytes wait");
                stream.waiting -= most;
            }
            5 if how % 4 == 0 && streams[n].hang_up() => model.tell(streams[n].ident(), Filter::READ),
            // Closed, with or without a duplicate that lives on, and perhaps opened again with the same number.
            6 if how % 4 == 0 => {
                let keeper = (how & 0x80 != 0).then(|| streams[n].near.try_clone().expect("there are descriptors"));
                let ident = streams[n].ident();
                if keeper.is_some() {
                    // Nobody tells the queue: the program takes its knote out first, or the number is taken over.
                    let _ = queue.change(&Kevent::new(ident, Filter::READ).with_flags(Flags::DELETE));
                }
                model.close(ident);
                let _old = std::mem::replace(&mut streams[n], Stream::new());
                drop(_old);
                drop(keeper);
                // A silent queue notices the close when the number is used.
                let _ = queue.change(&Kevent::new(ident, Filter::READ).with_flags(Flags::DELETE));
            }
            _ => {}
        }
        if step & 0x40 != 0 {
            let mut room = [MaybeUninit::uninit(); 2 * MANY];
            let mut told = queue.wait(&mut room, Deadline::NOW).expect("a wait does not fail").to_vec();
            told.sort();
            assert_eq!(told, model.wait(|ident, _| level(&streams, ident)));
        }
        assert_eq!(queue.len(), Ok(model.knotes.len()));
    }
    let mut room = [MaybeUninit::uninit(); 2 * MANY];
    let mut told = queue.wait(&mut room, Duration::ZERO).expect("a wait does not fail").to_vec();
    told.sort();
    assert_eq!(told, model.wait(|ident, _| level(&streams, ident)));
}
