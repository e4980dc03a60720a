//! TIMER: one-shot, periodic, of the wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ossature_sys::errno::Errno;
use ossature_sys::kqueue::{Filter, Flags, Kevent, Kqueue, Notes};

use super::{now, one, wait, wait_for};

const MS: Duration = Duration::from_millis(1);

fn timer(ident: usize, notes: Notes, data: i64) -> Kevent {
    Kevent::new(ident, Filter::TIMER).with_notes(notes).with_data(data)
}

#[test]
fn a_one_shot_timer_expires_once() {
    let queue = Kqueue::new().unwrap();
    let span = 20 * MS;
    let began = Instant::now();
    queue.change(&Kevent::timer(3, span).with_flags(Flags::ADD | Flags::ONESHOT).with_udata(8)).unwrap();
    let event = one(&queue);
    assert!(began.elapsed() >= span);
    assert_eq!((event.ident(), event.data(), event.udata()), (3, 1, 8));
    assert!(event.flags().contains(Flags::ONESHOT));
    assert_eq!(queue.len(), Ok(0));
    assert_eq!(wait(&queue, 7 * MS), []);
}

#[test]
fn a_periodic_timer_counts_what_nobody_took() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::timer(1, 2 * MS)).unwrap();
    let began = Instant::now();
    std::thread::sleep(11 * MS);
    let first = one(&queue).data();
    let mut total = first;
    assert!(first >= 5, "{first} in 11 ms");
    while total < 10 {
        total += one(&queue).data();
    }
    let most = began.elapsed().as_millis() as i64 / 2 + 1;
    assert!(total <= most, "{total} in {:?}", began.elapsed());
}

#[test]
fn units_are_those_of_the_notes() {
    let queue = Kqueue::new().unwrap();
    for (notes, data) in [
        (Notes::empty(), 3_600_000),
        (Notes::MSECONDS, 3_600_000),
        (Notes::SECONDS, 3_600),
        (Notes::USECONDS, 3_600_000_000),
        (Notes::NSECONDS, 3_600_000_000_000),
    ] {
        queue.change(&timer(1, notes, data)).unwrap();
        assert_eq!(wait(&queue, MS), [], "{data}");
    }
    for (notes, data) in
        [(Notes::empty(), 1), (Notes::MSECONDS, 1), (Notes::USECONDS, 1_000), (Notes::NSECONDS, 1_000_000)]
    {
        let began = Instant::now();
        queue.change(&timer(1, notes, data).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap();
        assert_eq!(one(&queue).data(), 1);
        assert!(began.elapsed() >= MS && began.elapsed() < 1000 * MS);
    }
}

#[test]
fn strange_periods_are_refused_or_never_come() {
    let queue = Kqueue::new().unwrap();
    assert_eq!(queue.change(&timer(1, Notes::empty(), -1)), Err(Errno::INVAL));
    assert_eq!(queue.change(&timer(1, Notes::SECONDS | Notes::USECONDS, 1)), Err(Errno::INVAL));
    assert_eq!(queue.change(&timer(1, Notes::from_bits_retain(0x20), 1)), Err(Errno::INVAL));
    assert_eq!(queue.len(), Ok(0));
    queue.change(&timer(1, Notes::SECONDS, i64::MAX)).unwrap();
    assert_eq!(wait(&queue, MS), []);
    // Nothing is one unit, or at once.
    queue.change(&timer(1, Notes::empty(), 0)).unwrap();
    assert!([one(&queue), one(&queue)].iter().all(|event| event.data() >= 1));
    queue.change(&timer(1, Notes::empty(), 0).with_flags(Flags::ADD | Flags::ONESHOT)).unwrap();
    assert_eq!(now(&queue).len(), 1);
    // A refused change of a timer leaves it as it was.
    queue.change(&Kevent::timer(2, 5 * MS).with_udata(1)).unwrap();
    assert_eq!(queue.change(&timer(2, Notes::empty(), -1).with_udata(9)), Err(Errno::INVAL));
    assert_eq!(one(&queue).udata(), 1);
}

#[test]
fn an_instant_is_one_of_the_wall_clock() {
    let queue = Kqueue::new().unwrap();
    let since_1970 = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = since_1970() + 20 * MS;
    queue.change(&timer(1, Notes::ABSTIME | Notes::NSECONDS, at.as_nanos() as i64)).unwrap();
    assert_eq!(one(&queue).data(), 1);
    assert!(since_1970() >= at);
    assert_eq!(wait(&queue, 5 * MS), [], "once");
    queue.change(&timer(1, Notes::ABSTIME | Notes::SECONDS, 1)).unwrap();
    assert_eq!(one(&queue).data(), 1, "an instant that has passed");
}

/// The clock is shared by the whole system, so this test does not set it. The kernel moves a timer of this form with
/// the clock.
#[test]
fn an_instant_moves_with_the_wall_clock() {
    const LATER: u64 = 987_654_321;
    let queue = Kqueue::new().unwrap();
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + LATER;
    queue.change(&timer(1, Notes::ABSTIME | Notes::SECONDS, at as i64)).unwrap();
    let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    let infos = infos.filter_map(|info| std::fs::read_to_string(info.ok()?.path()).ok());
    // What is left until the instant.
    let left = |info: &str| info.split_once("it_value: (")?.1.split(',').next()?.parse::<u64>().ok();
    let own: Vec<_> = infos.filter(|info| left(info).is_some_and(|left| LATER - 60 < left && left <= LATER)).collect();
    assert_eq!(own.len(), 1, "{own:?}");
    // CLOCK_REALTIME, and TFD_TIMER_ABSTIME.
    assert!(own[0].contains("clockid: 0\n") && own[0].contains("settime flags: 01\n"), "{}", own[0]);
}

#[test]
fn a_living_timer_takes_another_period() {
    let queue = Kqueue::new().unwrap();
    queue.change(&Kevent::timer(1, 3_600_000 * MS)).unwrap();
    queue.change(&Kevent::timer(1, 2 * MS).with_udata(4)).unwrap();
    assert_eq!(queue.len(), Ok(1));
    assert_eq!(one(&queue).udata(), 4);
    std::thread::sleep(5 * MS);
    queue.change(&Kevent::timer(1, 3_600_000 * MS)).unwrap();
    assert_eq!(now(&queue), [], "what had expired is forgotten");
    // Also what was counted and not told.
    queue.change(&Kevent::timer(2, MS).with_flags(Flags::ADD | Flags::DISABLE)).unwrap();
    assert_eq!(wait(&queue, 5 * MS), []);
    queue.change(&Kevent::timer(2, 3_600_000 * MS)).unwrap();
    assert_eq!(now(&queue), []);
    queue.change(&Kevent::timer(1, MS).with_flags(Flags::DELETE)).unwrap();
    assert_eq!(queue.change(&Kevent::timer(1, MS).with_flags(Flags::DELETE)), Err(Errno::NOENT));
}

#[test]
fn timers_expire_in_their_order() {
    let queue = Kqueue::new().unwrap();
    let began = Instant::now();
    let (mut seed, mut due) = (1_u32, Vec::new());
    for ident in 0..200 {
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
        let after = MS + Duration::from_micros(u64::from(seed >> 16) % 20_000);
        let change = Kevent::timer(ident, after).with_flags(Flags::ADD | Flags::ONESHOT);
        let earliest = began.elapsed() + after;
        queue.change(&change).unwrap();
        due.push((earliest, began.elapsed() + after));
        if ident % 3 == 0 {
            queue.change(&change.with_flags(Flags::DELETE)).unwrap();
        }
    }
    let mut order = Vec::new();
    while queue.len() != Ok(0) {
        order.extend(wait_for(&queue, 1, Duration::from_secs(5)).iter().map(|event| due[event.ident()]));
    }
    assert_eq!(order.len(), 133);
    assert!(order.windows(2).all(|pair| pair[0].0 <= pair[1].1), "{order:?}");
}

#[test]
fn a_disabled_timer_counts_on() {
    let queue = Kqueue::new().unwrap();
    let change = Kevent::timer(1, 2 * MS);
    queue.change(&change.with_flags(Flags::ADD | Flags::DISABLE)).unwrap();
    assert_eq!(wait(&queue, 9 * MS), []);
    queue.change(&change.with_flags(Flags::ENABLE)).unwrap();
    assert!(one(&queue).data() >= 4);
}
