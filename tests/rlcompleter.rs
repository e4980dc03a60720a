//! Completion of names: the portable cases of CPython's `test_rlcompleter`, and each row of the specification.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use ossature::readline::{Editor, Step};
use ossature::rlcompleter::{Callable, Completer, Kind, Namespace, Opaque, PYTHON_KEYWORDS, Symbol, install};

type Map = BTreeMap<String, Box<dyn Namespace + Send>>;

fn map(entries: Vec<(&str, Box<dyn Namespace + Send>)>) -> Map {
    entries.into_iter().map(|(name, object)| (name.to_owned(), object)).collect()
}

fn value() -> Box<dyn Namespace + Send> {
    Box::new(Opaque(()))
}

/// An object like a Python object, with private names.
fn thing() -> Map {
    map(vec![
        ("spam", value()),
        ("egg", Box::new(Callable::new())),
        ("run", Box::new(Callable::without_arguments())),
        ("_hidden", value()),
        ("__deep__", value()),
        ("__builtins__", value()),
    ])
}

fn world() -> Map {
    map(vec![
        ("thing", Box::new(thing())),
        ("Thing", value()),
        ("fold", Box::new(Callable::new())),
        ("try_it", Box::new(Callable::without_arguments())),
        (
            "nest",
            Box::new(map(vec![
                ("inner", Box::new(thing())),
                ("private", Box::new(map(vec![("_a", value()), ("__b", value())]))),
            ])),
        ),
        ("__builtins__", value()),
    ])
}

#[test]
fn names_come_after_keywords_and_before_built_in_ones() {
    let completer = Completer::new(world()).with_keywords(PYTHON_KEYWORDS).with_builtins([
        Symbol::new("format", Kind::Callable),
        Symbol::new("fold", Kind::Value),
        Symbol::new("try", Kind::Value),
    ]);
    assert_eq!(completer.global_matches("f"), ["finally:", "for ", "from ", "fold(", "format("]);
    assert_eq!(completer.global_matches("tr"), ["try:", "try_it()"], "a name that is there counts once");
    assert_eq!(completer.global_matches("T"), ["True", "Thing"], "the case matters");
    assert_eq!(completer.global_matches("__b"), [""; 0], "the name of the built-in names is left out");
    for (text, wanted) in
        [("el", vec!["elif ", "else"]), ("pa", vec!["pass"]), ("_", vec!["_"]), ("brea", vec!["break"])]
    {
        assert_eq!(completer.global_matches(text), wanted, "{text}");
    }
    assert_eq!(Completer::new(world()).global_matches("f"), ["fold("], "no keywords without a table");
}

#[test]
fn attributes_are_sorted_with_the_text_before_them() {
    let completer = Completer::new(world());
    assert_eq!(completer.attr_matches("thing."), ["thing.egg(", "thing.run()", "thing.spam"]);
    assert_eq!(completer.attr_matches("thing.s"), ["thing.spam"]);
    assert_eq!(completer.attr_matches("nest.inner.e"), ["nest.inner.egg("]);
    assert_eq!(completer.attr_matches("thing.S"), [""; 0]);
}

#[test]
fn private_attributes_are_offered_when_they_are_asked_for_or_alone() {
    let completer = Completer::new(world());
    assert_eq!(completer.attr_matches("thing._"), ["thing._hidden"]);
    assert_eq!(completer.attr_matches("thing.__"), ["thing.__deep__"]);
    assert_eq!(completer.attr_matches("nest.private."), ["nest.private._a"]);
    let deep = Completer::new(map(vec![("o", Box::new(map(vec![("__x", value())])))]));
    assert_eq!(deep.attr_matches("o."), ["o.__x"]);
    assert_eq!(deep.attr_matches("o._"), ["o.__x"]);
}

#[test]
fn what_is_no_name_of_a_path_has_no_matches() {
    let completer = Completer::new(world());
    for text in
        ["f().x", "thing[0].s", "nobody.s", "thing.spam.x", ".s", "1.5", "", "thing", "(thing.s", "nest.nobody.x"]
    {
        assert_eq!(completer.attr_matches(text), [""; 0], "{text}");
    }
    // Only the part after the last dot is completed, and what follows the path is not looked at.
    assert_eq!(completer.attr_matches("thing.s(x"), ["thing.spam"]);
    assert_eq!(completer.attr_matches("thing.spam. "), [""; 0]);
    assert_eq!(completer.attr_matches("thing..s"), ["thing.egg(", "thing.run()", "thing.spam"]);
}

#[test]
fn states_count_the_matches_and_blank_text_is_a_tab() {
    let mut completer = Completer::new(world());
    assert_eq!(completer.complete_state("thing.", 0).as_deref(), Some("thing.egg("));
    assert_eq!(completer.complete_state("ignored", 2).as_deref(), Some("thing.spam"), "the text of state 0 counts");
    assert_eq!(completer.complete_state("thing.", 3), None);
    assert_eq!(completer.complete_state("fo", 0).as_deref(), Some("fold("));
    assert_eq!(completer.complete_state("  ", 0).as_deref(), Some("\t"));
    assert_eq!(completer.complete_state("  ", 1), None);
}

#[test]
fn each_object_is_asked_once_and_at_the_completion() {
    struct Counting(Rc<Cell<usize>>);
    impl Namespace for Counting {
        fn symbols(&self) -> Vec<Symbol> {
            self.0.set(self.0.get() + 1);
            vec![Symbol::new("bar", Kind::Value)]
        }
    }
    let count = Rc::new(Cell::new(0));
    let completer = Completer::new(HashMap::from([("f".to_owned(), Counting(count.clone()))]));
    assert_eq!(count.get(), 0, "nothing is asked before");
    assert_eq!(completer.attr_matches("f.b"), ["f.bar"]);
    assert_eq!(count.get(), 1);
    assert_eq!(completer.global_matches("f"), ["f"]);
    assert_eq!(count.get(), 1, "a global name is not looked into");
}

#[test]
fn an_editor_completes_what_is_installed() {
    let mut editor = Editor::new();
    install(&mut editor, world());
    let mut type_in = |keys: &str| {
        let mut out = Vec::new();
        let _ = editor.begin(b"", &mut out);
        match editor.feed(keys.as_bytes(), &mut out) {
            Step::Line(line) => String::from_utf8(line).unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(type_in("thing.sp\t\r"), "thing.spam");
    assert_eq!(type_in("x = nest.in\t\r"), "x = nest.inner");
    assert_eq!(type_in("tr\t\r"), "try_it()");
    assert_eq!(type_in("\tx\r"), "\tx", "blank text becomes a tab");
}

#[cfg(feature = "serde_json")]
#[test]
fn keys_of_json_are_names() {
    let value =
        serde_json::json!({"server": {"port": 80, "tls": {"key": null}}, "list": [{"a": 1}], "two words": 1, "": 2});
    let completer = Completer::new(value);
    assert_eq!(completer.global_matches(""), ["list", "server"]);
    assert_eq!(completer.attr_matches("server.tls.k"), ["server.tls.key"]);
    assert_eq!(completer.attr_matches("list."), [""; 0]);
    assert_eq!(completer.attr_matches("server.port."), [""; 0]);
}
