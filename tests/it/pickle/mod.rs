//! Plain data as CPython pickles it: known bytes, false bytes, and every installed CPython.

mod bounds;
mod cpython;
mod live;
mod messages;
mod refusals;
mod serde;
mod vectors;

use ossature::error::ErrorKind;
use ossature::multiprocessing::connection::pickle::{Value, decode};

/// The error of decoding `bytes`.
#[track_caller]
fn complaint(bytes: &[u8]) -> String {
    let error = decode(bytes).expect_err("it is not plain data");
    assert_eq!(error.kind(), ErrorKind::Decode);
    error.to_string()
}

fn list<T: Into<Value>>(items: impl IntoIterator<Item = T>) -> Value {
    Value::List(items.into_iter().map(Into::into).collect())
}
