//! The label parsers: tables of exact messages, and properties over random text.

use edgeclip::prompts::{LABELS_MAX, Label, LabelSet, TEXT_BYTES_MAX};
use proptest::prelude::*;

/// Strings and lists of strings look the same in JSON and TOML.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

fn names(set: &LabelSet) -> Vec<&str> {
    set.labels().iter().map(|label| label.name.as_str()).collect()
}

#[test]
fn plain_text_is_one_label_a_line() {
    let set = LabelSet::from_text("\u{feff}# pets\n\n  a cat \r\na dog, asleep\n#end").unwrap();
    assert_eq!(names(&set), ["a cat", "a dog, asleep"]);
    assert_eq!(set.labels()[0].prompts, ["a cat"]);
    assert!(set.templates().is_none() && set.background().is_empty());
}

#[test]
fn toml_has_prompts_templates_and_background() {
    let text = r#"
        templates = ["a photo of a {}", "{}"]
        background = ["an empty room"]
        [[label]]
        name = "cat"
        prompts = ["a cat", "a kitten asleep"]
        [[label]]
        name = "dog"
    "#;
    let set = LabelSet::from_toml(text).unwrap();
    let prompts = vec!["a cat".into(), "a kitten asleep".into()];
    let cat = Label { name: "cat".into(), prompts, ..Label::default() };
    let prompts = vec!["dog".into()];
    let dog = Label { name: "dog".into(), prompts, ..Label::default() };
    assert_eq!(set.labels(), [cat, dog]);
    assert_eq!(set.background(), ["an empty room"]);
    let templates: Vec<String> = set.templates().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(templates, ["a photo of a {}", "{}"]);
}

#[test]
fn what_is_wrong_with_plain_text_is_said_with_its_line() {
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let table = [
        ("", "there are no labels: give at least one"),
        ("# nothing\n", "there are no labels: give at least one"),
        (
            "cat\ndog\n\nCat ",
            "line 4: the label \"Cat\" is given twice (first in line 1): remove one",
        ),
        ("cat\nA cat", "line 2: the label \"A cat\" is given twice (first in line 1): remove one"),
        ("a  b\na b", "line 2: the label \"a b\" is given twice (first in line 1): remove one"),
        ("cat\na {}", "line 2: \"a {}\" is a template: put it under templates"),
        ("cat\na\u{7}b", "line 2: \"a\\u{7}b\" has a control character in it: remove it"),
    ];
    for (text, message) in table {
        assert_eq!(LabelSet::from_text(text).unwrap_err().to_string(), message, "{text:?}");
    }
    let message = LabelSet::from_text(&long).unwrap_err().to_string();
    assert!(message.ends_with("has 1001 bytes, the limit is 1000"), "{message}");
    let many: String = (0..=LABELS_MAX).map(|n| format!("label {n}\n")).collect();
    let message = LabelSet::from_text(&many).unwrap_err().to_string();
    assert_eq!(message, "1001 labels are more than the limit of 1000");
}

#[test]
fn what_is_wrong_with_toml_is_said_with_its_line() {
    let table = [
        ("", "there are no labels: give at least one"),
        ("\n\nnot toml", "line 3: "),
        ("[[label]]\nname = \"a\"\ncolour = 3", "line 3: unknown field `colour`"),
        ("[[label]]\nprompts = [\"a\"]", "line 1: missing field `name`"),
        ("[[label]]\nname = 3", "line 2: invalid type: integer `3`"),
        ("[[label]]\nname = \"a\"\nprompts = []", "line 3: an empty list of prompts: leave it out"),
        ("[[label]]\nname = \"a\"\nprompts = [\n\"b\",\n\" \"]", "line 5: an empty prompt"),
        (
            "[[label]]\nname = \"a\"\n[[label]]\nname = \"A\"",
            "line 4: the label \"A\" is given twice",
        ),
        (
            "templates = [\"x\"]\n[[label]]\nname = \"a\"",
            "line 1: the template \"x\" needs exactly",
        ),
        ("templates = []\n[[label]]\nname = \"a\"", "line 1: an empty list of templates"),
    ];
    for (text, message) in table {
        let found = LabelSet::from_toml(text).unwrap_err().to_string();
        assert!(found.starts_with(message), "{text:?}: {found}");
    }
}

#[test]
fn the_digest_is_of_what_the_set_means() {
    let names = LabelSet::from_names(["cat", " dog"]).unwrap();
    let text = LabelSet::from_text("# pets\ncat\n\ndog\n").unwrap();
    let toml = "[[label]]\nname = 'cat'\nprompts = ['cat']\n[[label]]\nname = 'dog'";
    assert_eq!(names.digest(), text.digest());
    assert_eq!(names.digest(), LabelSet::from_toml(toml).unwrap().digest());
    assert!(names.digest().starts_with("sha256:") && names.digest().len() == 7 + 64);
    let others = [
        LabelSet::from_names(["dog", "cat"]).unwrap(),
        LabelSet::from_names(["cat"]).unwrap(),
        names.clone().with_templates(["{}"]).unwrap(),
    ];
    for other in others {
        assert_ne!(other.digest(), names.digest(), "{other:?}");
    }
}

proptest! {
    /// Whatever the text, there is a set or an error, and a set keeps its promises.
    #[test]
    fn any_text_gives_a_set_or_an_error(text in "(?s).{0,300}") {
        for set in [LabelSet::from_text(&text), LabelSet::from_toml(&text)].into_iter().flatten() {
            prop_assert!(!set.labels().is_empty());
            for label in set.labels() {
                prop_assert!(!label.prompts.is_empty());
                prop_assert_eq!(label.name.trim(), &label.name);
                prop_assert!(!label.name.is_empty() && label.name.len() <= TEXT_BYTES_MAX);
            }
        }
    }

    /// Names survive a text file: same names, same order, same digest. None begins with an article, since "x" and "a x"
    /// are one label.
    #[test]
    fn names_survive_a_text_file(names in prop::collection::hash_set("[b-su-z][a-z]{0,11}( [a-z]{1,12}){0,3}", 1..20)) {
        let names: Vec<String> = names.into_iter().collect();
        let typed = LabelSet::from_names(names.iter().map(String::as_str)).unwrap();
        let written = LabelSet::from_text(&names.join("\n")).unwrap();
        prop_assert_eq!(&typed, &written);
        prop_assert_eq!(typed.digest(), written.digest());
    }

    /// A labels.toml of any words gives those words back, trimmed and in order.
    #[test]
    fn a_set_survives_toml(
        names in prop::collection::btree_set("[b-z\"'\\\\äé日][b-z\"'\\\\ äé日]{0,20}", 1..10),
        prompts in prop::collection::vec("[a-z]{1,9}( [a-z]{1,9})?", 1..5),
        background in prop::option::of(prop::collection::vec("[a-z]{1,9}", 1..5)),
    ) {
        let mut text = String::new();
        if let Some(background) = &background {
            text += &format!("background = {}\n", json(background));
        }
        for name in &names {
            text += &format!("[[label]]\nname = {}\nprompts = {}\n", json(name), json(&prompts));
        }
        let same = |name: &String| name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let unlike: std::collections::BTreeSet<String> = names.iter().map(same).collect();
        prop_assume!(unlike.len() == names.len());
        let set = LabelSet::from_toml(&text).unwrap();
        for (label, name) in set.labels().iter().zip(&names) {
            prop_assert_eq!(&label.name, name.trim());
            prop_assert_eq!(&label.prompts, &prompts);
        }
        prop_assert_eq!(set.background(), background.unwrap_or_default());
    }
}
