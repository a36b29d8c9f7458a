//! The licence that a model's card names: README.md begins with lines of YAML, of which the simple forms are read.

use std::io::Read;
use std::path::Path;

use crate::disk;

/// What is read of README.md, in bytes: its head comes first.
const BYTES_MAX: u64 = 64 << 10;

/// The licence by the head of README.md; none where there is none, or in a form that is not known. No card is so bad
/// that the model can't be used.
pub(super) fn licence(folder: &Path) -> Option<String> {
    let mut card = Vec::new();
    disk::open_regular(&folder.join("README.md"))
        .ok()?
        .take(BYTES_MAX)
        .read_to_end(&mut card)
        .ok()?;
    let licence = of_card(&String::from_utf8_lossy(&card))?;
    let licence: String = licence.chars().filter(|c| !c.is_control()).collect();
    Some(licence).filter(|licence| !licence.is_empty())
}

fn of_card(card: &str) -> Option<String> {
    let mut lines = card.trim_start_matches('\u{feff}').lines();
    lines.next().filter(|line| line.trim_end() == "---")?;
    let head: Vec<&str> = lines.take_while(|line| line.trim_end() != "---").collect();
    let licence = field(&head, "license")?;
    // "other" says where to look.
    let name = field(&head, "license_name").filter(|_| licence == "other").unwrap_or(licence);
    match field(&head, "license_link") {
        Some(link) => Some(format!("{name} ({link})")),
        None => Some(name),
    }
}

/// A field's text, or its texts with commas between them.
fn field(head: &[&str], name: &str) -> Option<String> {
    let mut lines = head.iter().enumerate();
    let (at, rest) =
        lines.find_map(|(at, line)| Some((at, line.strip_prefix(name)?.strip_prefix(':')?)))?;
    let rest = without_comment(rest);
    let items: Vec<&str> = if rest.is_empty() {
        let items = head[at + 1..].iter().map(|line| without_comment(line));
        items.map_while(|line| line.strip_prefix("- ")).collect()
    } else if let Some(list) = rest.strip_prefix('[') {
        list.strip_suffix(']')?.split(',').collect()
    } else {
        vec![rest]
    };
    let texts: Option<Vec<&str>> = items.into_iter().map(scalar).collect();
    texts.filter(|texts| !texts.is_empty()).map(|texts| texts.join(", "))
}

fn without_comment(text: &str) -> &str {
    let text = text.trim();
    if text.starts_with('#') { "" } else { text.split(" #").next().unwrap_or(text).trim() }
}

/// A plain or quoted text on one line.
fn scalar(text: &str) -> Option<&str> {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(quote) {
            let inner = rest.strip_suffix(quote)?;
            return Some(inner).filter(|inner| !inner.is_empty() && !inner.contains([quote, '\\']));
        }
    }
    let is_plain = !text.starts_with(['|', '>', '&', '*', '!', '[', ']', '{', '}', '%', '@', '`']);
    Some(text).filter(|text| is_plain && !text.is_empty() && !["null", "~"].contains(text))
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, licence, of_card};

    #[test]
    fn no_card_stands_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("README.md");
        assert_eq!(licence(folder.path()), None);
        std::fs::create_dir(&path).unwrap();
        assert_eq!(licence(folder.path()), None);
        std::fs::remove_dir(&path).unwrap();
        let long = "x".repeat(2 * BYTES_MAX as usize);
        let table = [
            (format!("---\nlicense: mit\n---\n{long}"), Some("mit")),
            (format!("---\nx: {long}\nlicense: mit\n---\n"), None),
            ("---\nlicense: m\u{1b}[31mi\tt\u{9b}\n---\n".to_owned(), Some("m[31mit")),
            ("---\nlicense: \u{1b}\n---\n".to_owned(), None),
        ];
        for (card, wanted) in table {
            std::fs::write(&path, &card).unwrap();
            assert_eq!(licence(folder.path()).as_deref(), wanted);
        }
    }

    #[test]
    fn the_simple_forms_are_read_and_others_are_unknown() {
        let table = [
            ("---\nlanguage: en\nlicense: mit\n---\n# Model\n", Some("mit")),
            ("---\r\nlicense: cc-by-nc-4.0\r\n---\r\n", Some("cc-by-nc-4.0")),
            ("\u{feff}--- \nlicense: \"apache-2.0\" # of the weights\n---\n", Some("apache-2.0")),
            ("---\nlicense: 'mit'\n---", Some("mit")),
            ("---\nlicense:\n- mit\n- apache-2.0\ntags:\n- clip\n---\n", Some("mit, apache-2.0")),
            ("---\nlicense: [mit, 'apache-2.0']\n---\n", Some("mit, apache-2.0")),
            (
                "---\nlicense: other\nlicense_name: apple-amlr\nlicense_link: https://example.org/a#b\n---\n",
                Some("apple-amlr (https://example.org/a#b)"),
            ),
            ("---\nlicense_name: x\nlicense: mit\n---\n", Some("mit")),
            ("---\nlicense: other\n---\n", Some("other")),
            ("---\nlicense:\n---\n", None),
            ("---\nlicense: |\n  mit\n---\n", None),
            ("---\nlicense: \"mit\n---\n", None),
            ("---\nx:\n  license: mit\n---\n", None),
            ("---\nlanguage: en\n---\nlicense: mit\n", None),
            ("# Model\nlicense: mit\n", None),
            ("", None),
        ];
        for (card, licence) in table {
            assert_eq!(of_card(card).as_deref(), licence, "{card:?}");
        }
    }
}
