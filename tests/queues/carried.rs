//! Items that contain descriptors, and items that are longer than a ring's longest message.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ossature::multiprocessing::connection::{Access, Connection, pipe, pipe_one_way};
use ossature::multiprocessing::queues::{PutError, QueueBuilder};
use ossature::multiprocessing::transfer::Handle;
use ossature::multiprocessing::{Context, JoinableQueue, Process, Queue, Value, stop_forkserver};
use ossature::{ErrorKind, Result};

use crate::harness::Test;

pub const TESTS: &[Test] = &[
    ("item_carries_files_values_ends_and_queues", item_carries_descriptors),
    ("item_with_descriptors_goes_to_processes_of_every_context", item_goes_to_every_context),
    ("item_of_100_mib_goes_to_processes_of_every_context", long_item_goes_to_every_context),
    ("items_of_both_kinds_keep_their_order", items_of_both_kinds_keep_their_order),
    ("queue_whose_sockets_are_full_gives_the_item_back", full_sockets_give_the_item_back),
    ("putter_that_waits_for_the_sockets_goes_on", putter_waits_for_the_sockets),
    ("long_items_take_the_room_of_a_queue", long_items_take_room),
    ("descriptors_are_closed_with_the_item_and_with_the_queue", descriptors_are_closed),
    ("shutdown_now_closes_the_descriptors_of_the_items", shutdown_closes_descriptors),
    ("shutdown_ends_a_put_that_waits_for_the_sockets", shutdown_ends_a_waiting_put),
    ("task_with_descriptors_counts_until_it_is_done", task_with_descriptors_counts),
    ("items_of_killed_putters_and_getters_with_descriptors", killed_putters_and_getters),
    ("queue_with_its_own_handle_in_it_is_freed", queue_in_itself_is_freed),
    ("getter_without_descriptors_is_told", getter_without_descriptors_is_told),
    ("queue_goes_nowhere_where_memory_cannot_go", queue_goes_to_no_stranger),
];

const PATIENCE: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(20);

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Makes a pair: one end to be sent, and the other, which shows when the first is closed everywhere.
fn witness() -> (Handle<UnixStream>, UnixStream) {
    let (sent, kept) = UnixStream::pair().unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    (Handle(sent), kept)
}

fn is_closed(mut kept: &UnixStream) -> bool {
    kept.set_nonblocking(true).unwrap();
    matches!(kept.read(&mut [0; 1]), Ok(0))
}

fn item_carries_descriptors() {
    let before = open_descriptors();
    {
        let queue = Queue::new().unwrap();
        let (near, far) = pipe().unwrap();
        let (value, inner) = (Value::new(1_u32).unwrap(), Queue::<String>::bounded(3).unwrap());
        let (end, mut kept) = witness();
        queue.put((end, value.try_clone().unwrap(), near, inner.try_clone().unwrap())).unwrap();
        assert_eq!(queue.len().unwrap(), 1);
        type Item = (Handle<UnixStream>, Value<u32>, Connection, Queue<String>);
        let (Handle(mut end), there, near, inner_there): Item = queue.get().unwrap();
        end.write_all(b"x").unwrap();
        kept.read_exact(&mut [0; 1]).unwrap();
        there.set(7).unwrap();
        near.send(&8).unwrap();
        inner_there.put("nine".to_owned()).unwrap();
        assert_eq!((value.get().unwrap(), far.recv::<i32>().unwrap()), (7, 8));
        assert_eq!((inner.get().unwrap(), inner_there.maxsize()), ("nine".to_owned(), Some(3)));
    }
    assert_eq!(open_descriptors(), before);
}

/// Counts the received items, and replies through the descriptor in each item.
pub fn answer(items: Queue<(Handle<UnixStream>, Value<u32>, String)>) -> Result<()> {
    for item in items.iter() {
        let (Handle(mut stream), count, text) = item?;
        *count.lock()? += 1;
        stream.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn item_goes_to_every_context() {
    for context in [Context::Fork, Context::Spawn, Context::Forkserver] {
        let queue = Queue::new().unwrap();
        let worker = Process::builder().context(context).start(answer, (queue.try_clone().unwrap(),)).unwrap();
        let count = Value::new(0_u32).unwrap();
        for number in 0..50 {
            let (end, mut kept) = witness();
            let text = format!("{number} ").repeat(number * 100); // in the packet, and as memory
            queue.put((end, count.try_clone().unwrap(), text.clone())).unwrap();
            let mut came = String::new();
            kept.read_to_string(&mut came).unwrap();
            assert!(came == text, "{context:?}: {} bytes of {}", came.len(), text.len());
        }
        queue.shutdown();
        assert!(worker.join_timeout(PATIENCE).unwrap().is_some());
        assert_eq!((worker.exit_code(), count.get().unwrap()), (Some(0), 50));
    }
    assert!(stop_forkserver(PATIENCE).unwrap());
}

const LONG: usize = 100 << 20;

/// Takes one long text and puts it back.
pub fn echo_long(to: Queue<String>, from: Queue<String>) -> Result<()> {
    from.put(to.get()?)?;
    Ok(())
}

fn long_item_goes_to_every_context() {
    for context in [Context::Fork, Context::Spawn, Context::Forkserver] {
        let (to, from) = (Queue::new().unwrap(), Queue::new().unwrap());
        let arguments = (to.try_clone().unwrap(), from.try_clone().unwrap());
        let worker = Process::builder().context(context).start(echo_long, arguments).unwrap();
        let text = "0123456789abcdef".repeat(LONG / 16);
        to.put(text.clone()).unwrap();
        assert!(from.get_timeout(PATIENCE).unwrap().expect("it comes back") == text, "{context:?}");
        worker.join().unwrap();
    }
    assert!(stop_forkserver(PATIENCE).unwrap());
}

type Numbered = (u32, u32, Option<Handle<File>>);

fn put_mixed(queue: &Queue<Numbered>, thread: u32, count: u32) {
    for number in 0..count {
        let file = (number % 3 == 0).then(|| Handle(File::open("/dev/null").unwrap()));
        queue.put((thread, number, file)).unwrap();
    }
}

/// A receiver gets the items of each sender in the order in which that sender put them, with or without descriptors.
fn items_of_both_kinds_keep_their_order() {
    let queue = &Queue::new().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || put_mixed(queue, thread, 500));
        }
        let mut next = [0; 4];
        for _ in 0..2000 {
            let (thread, number, file) = queue.get_timeout(PATIENCE).unwrap().unwrap();
            assert_eq!(number, next[thread as usize], "of thread {thread}");
            assert_eq!(file.is_some(), number % 3 == 0);
            next[thread as usize] += 1;
        }
    });
    assert!(queue.is_empty().unwrap());
}

/// Puts items until there is no room. Returns their number.
fn fill(queue: &Queue<Handle<File>>) -> usize {
    let file = File::open("/dev/null").unwrap();
    for count in 0.. {
        match queue.try_put(Handle(file.try_clone().unwrap())) {
            Ok(()) => {}
            Err(PutError::Full(Handle(_))) => return count,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("it fills up")
}

fn full_sockets_give_the_item_back() {
    let before = open_descriptors();
    {
        let queue = Queue::new().unwrap();
        let count = fill(&queue);
        assert!((50..100_000).contains(&count), "{count}");
        let began = std::time::Instant::now();
        assert!(queue.put_timeout(Handle(File::open("/dev/null").unwrap()), SOON).unwrap_err().is_full());
        assert!(began.elapsed() >= SOON);
        assert_eq!(queue.len().unwrap(), count);
        for _ in 0..count {
            queue.try_get().unwrap().expect("all are there");
        }
        assert!(queue.try_get().unwrap().is_none());
        assert_eq!(fill(&queue), count, "all the room is there again");
    }
    assert_eq!(open_descriptors(), before);
}

fn putter_waits_for_the_sockets() {
    let queue = Queue::new().unwrap();
    let count = fill(&queue);
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| {
            for _ in 0..2 * count {
                queue.put(Handle(File::open("/dev/null").unwrap())).unwrap();
            }
        });
        for _ in 0..3 * count {
            queue.get_timeout(PATIENCE).unwrap().expect("the putter goes on");
        }
        putter.join().unwrap();
    });
    assert!(queue.is_empty().unwrap());
}

fn long_items_take_room() {
    let queue: Queue<String> = QueueBuilder::new().capacity(64 << 10).build().unwrap();
    queue.put("x".repeat(70_000)).unwrap();
    assert!(queue.put_timeout("y".to_owned(), SOON).unwrap_err().is_full(), "it takes all the room");
    assert_eq!(queue.get().unwrap().len(), 70_000);
    queue.put("y".to_owned()).unwrap();
    assert!(queue.try_put("z".repeat(70_000)).unwrap_err().is_full(), "and needs all the room");
    assert_eq!(queue.get().unwrap(), "y");
}

fn descriptors_are_closed() {
    let (first, second) = (witness(), witness());
    let queue = Queue::new().unwrap();
    queue.put(first.0).unwrap();
    queue.put(second.0).unwrap();
    assert!(!is_closed(&first.1), "it is on its way");
    drop(queue.get().unwrap());
    assert!(is_closed(&first.1) && !is_closed(&second.1));
    drop(queue);
    assert!(is_closed(&second.1), "with the queue");
}

fn shutdown_closes_descriptors() {
    let queue = Queue::new().unwrap();
    let kept: Vec<UnixStream> = (0..5)
        .map(|_| {
            let (end, kept) = witness();
            queue.put(end).unwrap();
            kept
        })
        .collect();
    assert_eq!(queue.shutdown_now().unwrap(), 5);
    assert!(kept.iter().all(is_closed));
}

fn shutdown_ends_a_waiting_put() {
    let queue = Queue::new().unwrap();
    fill(&queue);
    std::thread::scope(|scope| {
        let putter = scope.spawn(|| queue.put(Handle(File::open("/dev/null").unwrap())));
        std::thread::sleep(SOON);
        queue.shutdown();
        assert!(matches!(putter.join().unwrap(), Err(PutError::ShutDown(_))));
    });
}

fn task_with_descriptors_counts() {
    let tasks = JoinableQueue::new().unwrap();
    tasks.put(witness().0).unwrap();
    drop(tasks.get().unwrap());
    assert_eq!(tasks.unfinished().unwrap(), 1);
    tasks.task_done().unwrap();
    tasks.join().unwrap();
}

pub fn put_witnesses(queue: Queue<(u32, u32, Handle<UnixStream>)>, number: u32) -> Result<()> {
    for count in 0.. {
        queue.put((number, count, Handle(UnixStream::pair()?.0)))?;
    }
    Ok(())
}

pub fn get_witnesses(queue: Queue<(u32, u32, Handle<UnixStream>)>) -> Result<()> {
    loop {
        queue.get()?;
    }
}

/// Items of a killed putter come in order without a gap. A killed getter loses at most one item.
fn killed_putters_and_getters() {
    let before = open_descriptors();
    {
        let queue = Queue::new().unwrap();
        let mut next = [0; 24];
        for number in 0..24_u32 {
            let child = Process::fork(|| put_witnesses(queue.try_clone().unwrap(), number)).unwrap();
            let mut got = 0;
            while got < 20 + number * 7 {
                let (from, count, _) = queue.get_timeout(PATIENCE).unwrap().expect("the others go on");
                assert_eq!(count, next[from as usize], "in order, each once");
                next[from as usize] += 1;
                got += u32::from(from == number);
            }
            child.kill().unwrap();
            child.join().unwrap();
        }
        while let Some((from, count, _)) = queue.try_get().unwrap() {
            assert_eq!(count, next[from as usize]);
            next[from as usize] += 1;
        }
        let mut kept = Vec::new();
        for number in 0..24_u32 {
            let child = Process::fork(|| get_witnesses(queue.try_clone().unwrap())).unwrap();
            for count in 0..10 + number {
                let (sent, witness) = UnixStream::pair().unwrap();
                queue.put_timeout((number, count, Handle(sent)), PATIENCE).unwrap();
                kept.push(witness);
            }
            child.kill().unwrap();
            child.join().unwrap();
        }
        let left = std::iter::from_fn(|| queue.try_get().unwrap()).count();
        assert!(left <= kept.len(), "{left}");
        assert!(kept.iter().all(is_closed), "what was got is closed with the dead");
        assert!(queue.is_empty().unwrap());
    }
    assert_eq!(open_descriptors(), before);
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Nested(Option<Queue<Nested>>, Handle<UnixStream>);

/// The kernel collects sockets that only their own packets hold.
fn queue_in_itself_is_freed() {
    let (end, kept) = witness();
    let queue = Queue::new().unwrap();
    queue.put(Nested(Some(queue.try_clone().unwrap()), end)).unwrap();
    let Nested(again, end) = queue.get().unwrap();
    again.unwrap().put(Nested(Some(queue.try_clone().unwrap()), end)).unwrap();
    drop(queue);
    for _ in 0..500 {
        if is_closed(&kept) {
            return;
        }
        drop(UnixStream::pair().unwrap()); // the kernel looks when sockets are closed
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the descriptor in it is open still");
}

fn getter_without_descriptors_is_told() {
    use ossature::sys::process::{Resource, Rlimit, rlimit, set_rlimit};
    let queue = Queue::new().unwrap();
    let (end, kept) = witness();
    queue.put(end).unwrap();
    queue.put(witness().0).unwrap();
    let before = rlimit(Resource::Nofile).unwrap();
    set_rlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
    let error = queue.get().map(drop).unwrap_err();
    set_rlimit(Resource::Nofile, before).unwrap();
    assert_eq!(error.kind(), ErrorKind::Os);
    assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    assert!(is_closed(&kept), "nothing leaks");
    queue.get().unwrap();
}

fn queue_goes_to_no_stranger() {
    let queue = Queue::<u32>::new().unwrap();
    let (one, _other) = UnixStream::pair().unwrap();
    let stranger = Connection::from_fd(one.into(), Access::Both).unwrap();
    let error = stranger.send(&queue).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAllowed);
    assert!(error.to_string().contains("use pipe(), or a Unix socket with an authentication key"), "{error}");
    let (_reader, writer) = pipe_one_way().unwrap();
    let error = writer.send(&queue).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("use pipe()"), "{error}");
}
