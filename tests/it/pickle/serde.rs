//! Rust's types as plain data, and back.

use std::collections::{BTreeMap, HashMap, HashSet};

use ossature::error::ErrorKind;
use ossature::multiprocessing::connection::pickle::{Value, decode, encode, from_value, to_value};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Job {
    name: String,
    retries: Option<u8>,
    #[serde(default)]
    weights: Vec<f64>,
    place: (i32, i32),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Order {
    Stop,
    Wait(u64),
    Move(i8, i8),
    Say { what: char, loud: bool },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Metres(f64);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;

/// Converts the value to bytes and back, and compares.
#[track_caller]
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
    let bytes = encode(&to_value(&value).unwrap()).unwrap();
    assert_eq!(from_value::<T>(decode(&bytes).unwrap()).unwrap(), value);
}

#[test]
fn every_shape_of_serde_survives() {
    survives(Job { name: "a".into(), retries: Some(3), weights: vec![0.5, 1.0], place: (-1, 2) });
    survives(Job::default());
    survives(vec![Order::Stop, Order::Wait(u64::MAX), Order::Move(-1, 1), Order::Say { what: 'x', loud: true }]);
    survives((Metres(1.5), Nothing, (), Some(1_u8), None::<u8>));
    survives((u128::MAX, i128::MIN, i64::MIN, u64::MAX, 0_u8));
    survives(HashMap::from([(1, "one".to_owned()), (2, "two".to_owned())]));
    survives(BTreeMap::from([((1, 2), vec![true, false])]));
    survives(HashSet::from(["a".to_owned(), "b".to_owned()]));
    survives((f32::MAX, f64::MIN_POSITIVE, 'x', String::new(), [1, 2, 3]));
}

#[test]
fn the_shapes_are_the_ones_that_python_would_use() {
    assert_eq!(to_value(&Metres(2.0)).unwrap(), Value::Float(2.0));
    assert_eq!(to_value(&(1, [2])).unwrap(), Value::from((1, (2,))));
    assert_eq!(to_value(&vec![1]).unwrap(), Value::List(vec![1.into()]));
    assert_eq!(to_value(&Order::Stop).unwrap(), "Stop".into());
    assert_eq!(to_value(&Order::Move(1, 2)).unwrap(), Value::dict([("Move", (1, 2))]));
    assert_eq!(to_value(&Some(())).unwrap(), Value::None);
}

#[test]
fn what_python_sends_is_taken_in_any_fitting_form() {
    let numbers = [Value::List(vec![1.into()]), Value::Set(vec![1.into()]), Value::Bytes(vec![1])];
    for value in numbers {
        assert_eq!(from_value::<Vec<u8>>(value).unwrap(), [1]);
    }
    assert_eq!(from_value::<f64>(2.into()).unwrap(), 2.0);
    assert_eq!(from_value::<(f64, f64)>(Value::Complex(1.0, 2.0)).unwrap(), (1.0, 2.0));
    let open = Value::Dict(vec![
        ("name".into(), "n".into()),
        ("place".into(), Value::List(vec![1.into(), 2.into()])),
        ("unknown".into(), Value::dict([(1, 2)])),
    ]);
    assert_eq!(from_value::<Job>(open).unwrap(), Job { name: "n".into(), place: (1, 2), ..Job::default() });
}

#[test]
fn what_does_not_fit_is_an_error_that_says_so() {
    #[track_caller]
    fn complaint<T: DeserializeOwned>(value: impl Into<Value>) -> String {
        let Err(error) = from_value::<T>(value.into()) else { panic!("it fits") };
        assert_eq!(error.kind(), ErrorKind::Decode);
        error.to_string()
    }
    assert!(complaint::<u8>(256).contains("256"));
    assert!(complaint::<String>(1).contains("expected a string"));
    assert!(complaint::<(i32, i32)>((1, 2, 3)).contains("invalid length 3"));
    assert!(complaint::<(i32, i32)>((1,)).contains("invalid length 1"));
    assert!(complaint::<Order>("Jump").contains("unknown variant"));
    assert!(complaint::<Order>("Wait").contains("a variant with a content"));
    assert!(complaint::<Order>(Value::dict([("Stop", 1)])).contains("a variant without content"));
    assert!(complaint::<Order>(Value::dict([("Stop", 1), ("Wait", 2)])).contains("a dict of one variant"));
    assert!(complaint::<Job>(Value::dict([("name", "n")])).contains("missing field"));
}
