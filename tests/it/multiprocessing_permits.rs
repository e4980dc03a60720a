//! The permits of a semaphore of processes, in number.

use std::sync::Barrier;
use std::thread;

use ossature::multiprocessing::{BoundedSemaphore, Semaphore};

#[test]
fn semaphore_has_room_for_more_than_120_permits() {
    const UNITS: u32 = 4_000;
    let seats = Semaphore::<5_000>::with_capacity(UNITS).unwrap();
    let same = seats.try_clone().unwrap();
    let (held, end) = (Barrier::new(5), Barrier::new(5));
    thread::scope(|scope| {
        for _ in 0..4 {
            // A thread may have 1,900 entries in its list.
            scope.spawn(|| {
                let permits: Vec<_> = (0..UNITS / 4).map(|_| same.permit().unwrap()).collect();
                held.wait();
                end.wait();
                drop(permits);
            });
        }
        held.wait();
        assert!(seats.locked() && seats.try_permit().unwrap().is_none());
        end.wait();
    });
    assert_eq!(seats.get_value(), UNITS);

    let bounded = BoundedSemaphore::<200>::with_capacity(150).unwrap();
    let permits: Vec<_> = (0..150).map(|_| bounded.permit().unwrap()).collect();
    assert!(bounded.locked() && bounded.release().is_err());
    drop(permits);
    assert_eq!(bounded.try_clone().unwrap().get_value(), 150);
    assert!(Semaphore::<200>::with_capacity(u32::MAX).is_err());
}
