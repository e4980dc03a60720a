//! The arena: an object in use is never overwritten, and an unused one is never lost, whichever thread dies at any
//! step.

use loom::sync::Arc;
use loom::thread;
use ossature_sys::model::arena::Arena;

use crate::explore;

/// More steps than a holder makes, so that the last of them does not die.
const STEPS: u32 = 40;

#[test]
fn killed_maker_leaves_all_that_it_had_and_nothing_of_others() {
    for steps in 0..STEPS {
        explore(move || {
            let arena = Arc::new(Arena::new());
            let maker = {
                let arena = arena.clone();
                thread::spawn(move || {
                    let turns = |arena: &Arena| {
                        for _ in 0..2 {
                            let at = arena.make(1).expect("two have one each at most");
                            assert_eq!(arena.look(at), 1);
                            arena.give_back(1, at);
                        }
                    };
                    arena.doomed(1, steps, turns).is_some()
                })
            };
            let first = arena.make(0).expect("there is room");
            assert_eq!(arena.look(first), 0);
            arena.sweep(0);
            assert_eq!(arena.look(first), 0);
            arena.give_back(0, first);
            let second = arena.make(0).expect("there is room");
            assert_eq!(arena.look(second), 0);
            let survived = maker.join().unwrap();
            assert!(survived || steps < STEPS - 1, "the last one has no step left to die at");
            assert_eq!(arena.sweep(0), 1);
            arena.give_back(0, second);
            assert_eq!(arena.sweep(0), 2);
        });
    }
}

#[test]
fn what_is_handed_on_is_never_free_between() {
    for steps in 0..STEPS {
        explore(move || {
            let arena = Arc::new(Arena::new());
            let at = arena.make(0).expect("there is room");
            // The receiver takes it while the giver has it; then the giver gives it back.
            let receiver = {
                let arena = arena.clone();
                thread::spawn(move || {
                    let turn = |arena: &Arena| {
                        assert!(arena.take(1, at), "the giver has it");
                        arena.give_back(0, at);
                        assert_eq!(arena.look(at), 0);
                        arena.give_back(1, at);
                    };
                    arena.doomed(1, steps, turn).is_some()
                })
            };
            let other = arena.make(2).expect("there is room");
            assert_eq!(arena.look(other), 2);
            // In the place of the first, if that is free by then.
            let more = arena.make(2);
            assert_eq!(arena.look(other), 2);
            let survived = receiver.join().unwrap();
            // The giver's own message goes with the receiver that died before it was received.
            arena.give_back(0, at);
            assert!(survived || steps < STEPS - 1, "the last one has no step left to die at");
            assert_eq!(arena.sweep(2), 1 - usize::from(more.is_some()));
            assert_eq!(arena.look(other), 2);
        });
    }
}
