//! The maximum nesting of values that a manager's clients and CPython exchange.

use ossature::ErrorKind;
use ossature::multiprocessing::Manager;
use ossature::multiprocessing::connection::AuthKey;
use ossature::multiprocessing::connection::pickle::Value;
use ossature::multiprocessing::managers::{Proxy, Reply};

use crate::harness::Test;
use crate::python::{Snake, ours, with_each};

pub const TESTS: &[Test] = &[
    ("deepest_value_of_a_client_is_read_by_all", deepest_value_of_a_client_is_read_by_all),
    ("deepest_reply_of_python_is_read", deepest_reply_of_python_is_read),
];

/// A request may be nested 128 deep, and has two levels around its values.
const DEEPEST: usize = 126;

/// A list in a list, nested `depth` times.
fn nested(depth: usize) -> Value {
    (1..depth).fold(Value::List(Vec::new()), |inner, _| Value::List(vec![inner]))
}

/// The Python code of the same function.
const NESTED: &str =
    "import functools; nested = lambda depth: functools.reduce(lambda it, _: [it], range(1, depth), [])";

/// Calls a method with these arguments.
fn ask(proxy: &Proxy, method: &str, args: Vec<Value>) -> ossature::Result<Value> {
    match proxy.call_with::<Reply>(method, args, Vec::new())? {
        Reply::Value(value) => Ok(value),
        Reply::Object(proxy) => panic!("{proxy:?}"),
    }
}

fn items(pairs: &[(&str, usize)]) -> Value {
    Value::List(pairs.iter().map(|(key, depth)| Value::Tuple(vec![(*key).into(), nested(*depth)])).collect())
}

fn deepest_value_of_a_client_is_read_by_all() {
    with_each(|python| {
        let manager = ours();
        let mut snake = Snake::start(python);
        snake.connect(&manager);
        snake.run(NESTED);
        snake.run(&format!("d = m.dict(); l = m.list(); d['py'] = nested({DEEPEST}); l.append(nested({DEEPEST}))"));
        let told = snake.ask(&format!("d['deeper'] = nested({})", DEEPEST + 1));
        assert!(told.contains("nested more than 128 deep; no setting of a manager allows more"), "{python:?}: {told}");

        let [dict, list] = ["d", "l"].map(|name| manager.attach(&snake.ident(name)).unwrap());
        assert_eq!(ask(&dict, "items", vec![]).unwrap(), items(&[("py", DEEPEST)]), "129 levels");
        assert_eq!(ask(&list, "pop", vec![]).unwrap(), nested(DEEPEST));
        ask(&dict, "__setitem__", vec!["rust".into(), nested(DEEPEST)]).unwrap();
        let error = ask(&dict, "__setitem__", vec!["deeper".into(), nested(DEEPEST + 1)]).unwrap_err();
        assert!(error.to_string().contains("nested more than 128 deep"), "{error}");
        assert_eq!(ask(&dict, "items", vec![]).unwrap(), items(&[("py", DEEPEST), ("rust", DEEPEST)]));
        let expected = format!("[(it, nested({DEEPEST})) for it in ('py', 'rust')]");
        assert_eq!(snake.value(&format!("sorted(d.items()) == {expected}")), "True", "{python:?}");
    });
}

fn deepest_reply_of_python_is_read() {
    /// The maximum nesting of a reply.
    const MOST: usize = 136;
    with_each(|python| {
        // Around it are the reply, a list and a pair; Python 3 makes the list by a call with arguments.
        let in_items = if python.version < (3, 0, 0) { MOST - 3 } else { MOST - 5 };
        let mut snake = Snake::start(python);
        snake.run(NESTED);
        snake.run("s = Serving(('127.0.0.1', 0), b'snake'); s.start(); d = s.dict(); l = s.list([0])");
        let port: u16 = snake.value("s.address[1]").parse().unwrap();
        let manager = Manager::connect(("127.0.0.1", port), &AuthKey::from("snake")).unwrap();
        let [dict, list] = ["d", "l"].map(|name| manager.attach(&snake.ident(name)).unwrap());
        ask(&dict, "__setitem__", vec!["rust".into(), nested(DEEPEST)]).unwrap();
        assert_eq!(ask(&dict, "items", vec![]).unwrap(), items(&[("rust", DEEPEST)]));

        snake.run(&format!("d.clear(); d['py'] = nested({in_items}); l[0] = nested({})", MOST - 1));
        assert_eq!(ask(&dict, "items", vec![]).unwrap(), items(&[("py", in_items)]), "{python:?}");
        assert_eq!(ask(&list, "__getitem__", vec![0.into()]).unwrap(), nested(MOST - 1));
        snake.run(&format!("d['py'] = nested({in_items} + 1); l[0] = nested({MOST})"));
        let deeper = [ask(&dict, "items", vec![]), ask(&list, "__getitem__", vec![0.into()])];
        for error in deeper.map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Decode);
            let told = error.to_string();
            assert!(told.ends_with("nested more than 136 deep; no setting of a manager allows more"), "{told}");
        }
        assert_eq!(ask(&dict, "__len__", vec![]).unwrap(), 1.into(), "the proxy goes on");
        drop((dict, list, manager));
        snake.run("del d, l; s.shutdown()");
    });
}
