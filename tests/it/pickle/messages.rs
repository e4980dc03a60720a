//! Pickles over a connection.

use std::time::Duration;

use ossature::error::ErrorKind;
use ossature::multiprocessing::connection::pickle::{Value, from_value};
use ossature::multiprocessing::connection::pipe;

#[test]
fn plain_data_crosses_a_pipe_in_both_directions_and_by_halves() {
    let (near, far) = pipe().unwrap();
    near.send_pickled(&Value::from((1, "two"))).unwrap();
    assert_eq!(from_value::<(i32, String)>(far.recv_pickled().unwrap()).unwrap(), (1, "two".into()));
    let (receiver, sender) = far.split();
    assert!(sender.send_pickled_timeout(&Value::None, Duration::from_secs(60)).unwrap().is_complete());
    assert_eq!(near.recv_pickled().unwrap(), Value::None);
    assert_eq!(receiver.recv_pickled_timeout(Duration::ZERO).unwrap(), None);
}

#[test]
fn a_pickle_of_more_than_plain_data_is_an_error_and_the_next_message_comes() {
    let (near, far) = pipe().unwrap();
    near.send_bytes(b"cos\nsystem\n(S'true'\ntR.").unwrap();
    near.send_pickled(&7.into()).unwrap();
    assert_eq!(far.recv_pickled().unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(far.recv_pickled().unwrap(), 7.into());
}

#[test]
fn what_cannot_be_written_is_not_sent() {
    let (near, far) = pipe().unwrap();
    let error = near.send_pickled(&Value::Set(vec![Value::List(vec![])])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!far.poll(Duration::ZERO).unwrap());
}
