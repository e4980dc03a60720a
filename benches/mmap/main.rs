//! Maps: searches beside memchr's and CPython's, a scan beside a scan of resident memory, and the cost of a map.

use std::fs::File;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use ossature::mmap::{Access, Mmap};
use ossature_benches::bench::{self, Bench};
use ossature_benches::machine;
use ossature_benches::python::{Pythons, name_builds};
use ossature_benches::report::Bar;
use ossature_benches::rounds::{Rounds, Samples};

/// The length of the file, which the page cache holds.
const LEN: usize = 64 << 20;
const NEEDLE: &[u8; 8] = b"\0needle\0";

fn main() {
    bench::main("mmap", &[], |bench| {
        name_builds();
        machine::on_core(machine::cores()[0], || {
            let file = Sample::new();
            let python = file.python();
            searches(bench, &file, &python);
            scan(bench, &file);
            lives(bench, &python);
        });
    });
}

/// A named file; dropping the value removes the name.
struct Sample(PathBuf);

impl Sample {
    /// Creates a file of pseudo-random letters with the needle at the end.
    fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = vec![0; LEN];
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = b'a' + (state >> 59) as u8;
        }
        bytes[LEN - NEEDLE.len()..].copy_from_slice(NEEDLE);
        let path = std::env::temp_dir().join(format!("ossature-bench-mmap-{}", std::process::id()));
        std::fs::write(&path, bytes).expect("the file is written");
        Self(path)
    }

    fn open(&self) -> File {
        File::open(&self.0).expect("it is there")
    }

    fn trusted(&self) -> Mmap {
        // SAFETY: this program alone knows the file, and never writes it again.
        unsafe { Mmap::options().access(Access::Read).map_trusted(self.open()) }.expect("maps")
    }

    fn python(&self) -> Pythons {
        let open = format!("f = open({:?}, 'rb')", self.0);
        let setup = [
            "from mmap import mmap, ACCESS_READ",
            &open,
            "n = b'\\0needle\\0'",
            "m = mmap(f.fileno(), 0, access=ACCESS_READ)",
            "exec('def fresh():\\n m = mmap(f.fileno(), 0, access=ACCESS_READ)\\n m.find(n)\\n m.close()')",
            "exec('def life():\\n m = mmap(-1, 4096)\\n m[0] = 1\\n m.close()')",
            "m.find(n)",
        ];
        Pythons::start(&setup)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // Nothing is to be done about a name that stays.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn found(map: &Mmap) {
    assert_eq!(black_box(map).find(NEEDLE).expect("nobody cuts it"), Some(LEN - NEEDLE.len()));
}

fn searches(bench: &Bench, file: &Sample, python: &Pythons) {
    let trusted = file.trusted();
    if bench.wants("find-slice") {
        let finder = memchr::memmem::Finder::new(NEEDLE);
        let mut rounds = Rounds::new();
        rounds.add("ours", || found(&trusted));
        rounds.add("memchr", || {
            let bytes = black_box(trusted.as_slice()).expect("vouched for");
            assert_eq!(finder.find(bytes), Some(LEN - NEEDLE.len()));
        });
        let samples = rounds.run(bench.scaled(100), Duration::from_millis(1));
        bench.compare("find-slice", &samples, "ours", "memchr", Bar::AtMost(1.05));
    }
    beside(bench, python, "find-touched", "m.find(n)", 100, 0.10, || found(&trusted));
    beside(bench, python, "find-fresh", "fresh()", 100, 0.14, || found(&file.trusted()));
    let by_pread = Mmap::new(file.open(), Access::Read).expect("maps");
    beside(bench, python, "find-pread", "m.find(n)", 100, 0.20, || found(&by_pread));
    let by_process_vm = Mmap::options().access(Access::Read).untracked().map(file.open()).expect("maps");
    beside(bench, python, "find-process-vm", "m.find(n)", 100, 0.35, || found(&by_process_vm));
}

/// Reads every byte once: of a fresh map, and of resident memory.
fn scan(bench: &Bench, file: &Sample) {
    if !bench.wants("scan-fresh") {
        return;
    }
    let resident = std::fs::read(&file.0).expect("it is there");
    let mut rounds = Rounds::new();
    rounds.add("ours", || _ = black_box(sum(file.trusted().as_slice().expect("vouched for"))));
    rounds.add("resident", || _ = black_box(sum(black_box(&resident))));
    let samples = rounds.run(bench.scaled(200), Duration::from_millis(1));
    bench.compare("scan-fresh", &samples, "ours", "resident", Bar::AtMost(1.3));
}

/// The sum of all words, at the speed of the memory.
fn sum(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.split_at(bytes.len() / 32 * 32);
    let mut sums = [rest.len() as u64, 0, 0, 0];
    for chunk in chunks.chunks_exact(32) {
        for (sum, word) in sums.iter_mut().zip(chunk.chunks_exact(8)) {
            *sum = sum.wrapping_add(u64::from_ne_bytes(word.try_into().expect("eight bytes")));
        }
    }
    sums.iter().fold(0, |sum, part| sum ^ part)
}

/// Measures an anonymous page: mapped, written and unmapped.
fn lives(bench: &Bench, python: &Pythons) {
    beside(bench, python, "life-private", "life()", 600, 0.6, || {
        black_box(Mmap::private(4096).expect("memory")).set(0, 1).expect("it is there");
    });
    beside(bench, python, "life-shared", "life()", 600, 1.0, || {
        black_box(Mmap::anonymous(4096).expect("memory")).set(0, 1).expect("it is there");
    });
}

fn beside(bench: &Bench, python: &Pythons, name: &str, statement: &str, rounds: usize, bar: f64, ours: impl FnMut()) {
    if !bench.wants(name) {
        return;
    }
    let samples: Samples = {
        let mut contenders = Rounds::new();
        contenders.add("ours", ours);
        python.add(&mut contenders, statement);
        contenders.run(bench.scaled(rounds), Duration::from_micros(300))
    };
    python.compare(bench, name, &samples, "ours", Bar::AtMost(bar));
}
