//! A reference that is set once.

use std::ptr::eq;
use std::thread;

use ossature_sys::set_once::SetOnce;

#[test]
fn the_first_reference_stays() {
    static FIRST: u32 = 1;
    static SECOND: u32 = 1;
    let place = SetOnce::default();
    assert_eq!(place.get(), None);
    assert!(eq(place.set(&FIRST), &FIRST));
    assert!(eq(place.set(&SECOND), &FIRST));
    assert!(place.get().is_some_and(|there| eq(there, &FIRST)));
}

#[test]
fn threads_agree_on_one_reference() {
    static VALUES: [u32; 3] = [1; 3];
    for _ in 0..100 {
        let place = &SetOnce::new();
        let set = |number: usize| place.set(&VALUES[number]);
        let found = thread::scope(|scope| {
            let threads = [0, 1, 2].map(|number| scope.spawn(move || set(number)));
            threads.map(|thread| thread.join().unwrap())
        });
        assert!(found.iter().all(|there| eq(*there, place.get().unwrap())));
    }
}
