//! The exchange: each request has its own reply, however both sides sleep, and no wake is lost.

use loom::sync::Arc;
use loom::thread;
use ossature_sys::model::exchange::{Exchange, How};

use crate::{explore, explore_to};

fn two_calls(how: [How; 2]) {
    let exchange = Arc::new(Exchange::default());
    let serving = {
        let exchange = exchange.clone();
        thread::spawn(move || {
            let mut server = exchange.server();
            for _ in 0..2 {
                let asked = server.take();
                server.answer(asked + 10);
            }
        })
    };
    let mut client = exchange.client();
    for (value, how) in [1, 2].into_iter().zip(how) {
        client.ask(value);
        assert_eq!(client.wait(how), value + 10);
        assert!(client.was_taken());
    }
    serving.join().unwrap();
}

#[test]
fn sleeper_on_the_word_has_each_reply() {
    explore_to(3, || two_calls([How::Word; 2]));
}

#[test]
fn sleeper_for_a_notification_has_each_reply() {
    explore_to(3, || two_calls([How::Notification; 2]));
}

#[test]
fn way_of_sleeping_may_change_within_a_call_and_between_two() {
    explore(|| two_calls([How::Both; 2]));
    explore(|| two_calls([How::Notification, How::Word]));
    explore(|| two_calls([How::Word, How::Both]));
}

#[test]
fn request_that_was_taken_back_is_carried_out_only_if_it_was_taken() {
    explore(|| {
        let exchange = Arc::new(Exchange::default());
        let serving = {
            let exchange = exchange.clone();
            thread::spawn(move || {
                let mut server = exchange.server();
                [server.look(), server.look()].into_iter().flatten().count()
            })
        };
        let mut client = exchange.client();
        client.ask(1);
        client.retract();
        let carried_out = serving.join().unwrap();
        assert!(carried_out <= 1);
        assert_eq!(carried_out == 1, client.was_taken());
        assert!(exchange.server().look().is_none());
    });
}
