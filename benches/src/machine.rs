//! Pinning, descriptor limits, and the name of the processor.

/// The cores on which this process may run, in order.
pub fn cores() -> Vec<usize> {
    // SAFETY: a cpu_set_t is a plain bit set; all zeroes is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: sched_getaffinity(2) writes at most the size it is given into `set`.
    let answer = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    assert_eq!(answer, 0, "sched_getaffinity");
    // SAFETY: CPU_ISSET reads one bit below CPU_SETSIZE of an initialised set.
    (0..libc::CPU_SETSIZE as usize).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
}

/// The name and model of the processor, by which a figure can be compared with others. A virtual machine may be started
/// again on another processor.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |wanted: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        let found = fields.find(|(name, _)| name.trim() == wanted);
        found.map_or("unknown", |(_, value)| value.trim())
    };
    format!("{}, family {}, model {}", of("model name"), of("cpu family"), of("model"))
}

/// Two cores for two parties, or `None` on a machine with one.
pub fn two_cores() -> Option<[usize; 2]> {
    match cores()[..] {
        [first, second, ..] => Some([first, second]),
        _ => None,
    }
}

/// Runs `body` with the calling thread on `core` alone, then restores the thread's cores.
///
/// # Panics
///
/// If the kernel refuses.
pub fn on_core<R>(core: usize, body: impl FnOnce() -> R) -> R {
    let before = cores();
    pin(&[core]);
    let result = body();
    pin(&before);
    result
}

/// Restricts the calling thread, and the threads and processes that it starts later, to `cores`.
///
/// # Panics
///
/// If the kernel refuses.
pub fn pin(cores: &[usize]) {
    // SAFETY: a cpu_set_t is a plain bit set; all zeroes is the empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores {
        // SAFETY: CPU_SET ignores numbers beyond the set.
        unsafe { libc::CPU_SET(*core, &mut set) };
    }
    // SAFETY: sched_setaffinity(2) reads the size it is given from `set`.
    let answer = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    assert_eq!(answer, 0, "sched_setaffinity {cores:?}");
}

/// Raises this process's limit of open descriptors to its hard limit, and returns that number.
///
/// # Panics
///
/// If the kernel refuses.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit(2) fills the struct it is given.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(answer, 0, "getrlimit");
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: setrlimit(2) reads the struct it is given.
    let answer = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(answer, 0, "setrlimit");
    limit.rlim_cur
}

/// Starts and joins one thread, because glibc omits the atomics in private mutexes until a second thread has existed.
///
/// # Panics
///
/// If no thread can be started.
pub fn have_had_a_thread() {
    std::thread::spawn(|| ()).join().expect("an empty thread ends");
}

/// Moves `value` permanently into memory that forked children share.
///
/// # Panics
///
/// If there is no memory.
pub fn shared<T: Sync>(value: T) -> &'static T {
    let place = shared_memory(size_of::<T>()).cast::<T>();
    // SAFETY: the mapping is large enough, writable, and aligned to a page, which is more than any T here asks.
    unsafe { place.write(value) };
    // SAFETY: the value was just written and is never unmapped.
    unsafe { &*place }
}

/// Returns `len` zero bytes that forked children share. They are never unmapped.
///
/// # Panics
///
/// If there is no memory.
pub fn shared_memory(len: usize) -> *mut u8 {
    let (reach, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches no memory in use.
    let place = unsafe { libc::mmap(std::ptr::null_mut(), len, reach, flags, -1, 0) };
    assert_ne!(place, libc::MAP_FAILED, "mmap");
    place.cast()
}
