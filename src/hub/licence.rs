//! Terms of weights, as the card of a repository names them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Licences that let everybody use the weights for everything, by the hub's names
/// (<https://huggingface.co/docs/hub/repositories-licenses>).
const OPEN: &[&str] = &[
    "afl-3.0",
    "agpl-3.0",
    "apache-2.0",
    "artistic-2.0",
    "bsd",
    "bsd-2-clause",
    "bsd-3-clause",
    "bsd-3-clause-clear",
    "bsl-1.0",
    "cc-by-2.0",
    "cc-by-2.5",
    "cc-by-3.0",
    "cc-by-4.0",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "cdla-permissive-1.0",
    "cdla-permissive-2.0",
    "cdla-sharing-1.0",
    "ecl-2.0",
    "epl-1.0",
    "epl-2.0",
    "eupl-1.1",
    "eupl-1.2",
    "gpl",
    "gpl-2.0",
    "gpl-3.0",
    "isc",
    "lgpl",
    "lgpl-2.1",
    "lgpl-3.0",
    "mit",
    "mpl-2.0",
    "ms-pl",
    "ncsa",
    "odbl",
    "odc-by",
    "ofl-1.1",
    "osl-3.0",
    "pddl",
    "postgresql",
    "unlicense",
    "wtfpl",
    "zlib",
];

/// Between the licences of a card that names several.
pub(super) const SEPARATOR: &str = ", ";
/// Longest name that is shown, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// A licence, as a card names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// The hub's short name, `other` where it has none; several are parted by commas.
    pub id: String,
    /// The name that the owner gave it.
    pub name: Option<String>,
    /// Where its text is.
    pub link: Option<String>,
}

/// What a licence allows, as far as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terms {
    /// Any use.
    Open,
    /// No commercial use.
    NonCommercial,
    /// Research alone.
    Research,
    /// What its name doesn't say: somebody must read it.
    Unknown,
}

impl Licence {
    /// What it allows, as far as its name says.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let id = self.id.to_ascii_lowercase();
        let name = self.name.as_deref().unwrap_or_default().to_ascii_lowercase();
        let text = format!("{id} {name}");
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        let without_separators = text.replace(['-', '_', ' '], "");
        // Apple's "machine learning research" licence; cards call the same text by both names.
        if text.contains("research") || words.clone().any(|word| ["amlr", "ascl"].contains(&word)) {
            Terms::Research
        } else if words.any(|word| word == "nc") || without_separators.contains("noncommercial") {
            Terms::NonCommercial
        } else if id.split(SEPARATOR).all(|id| OPEN.contains(&id)) {
            Terms::Open
        } else {
            Terms::Unknown
        }
    }
}

impl fmt::Display for Licence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.id))?;
        let more = [&self.name, &self.link];
        let more: Vec<String> = more.into_iter().flatten().map(|text| shown(text)).collect();
        if more.is_empty() { Ok(()) } else { write!(f, " ({})", more.join(", ")) }
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "any use, under its conditions",
            Self::NonCommercial => "no commercial use",
            Self::Research => "research alone, no products",
            Self::Unknown => "unknown terms: read them",
        })
    }
}

/// A text from outside, as a terminal can take it.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_allowed() {
        let table = [
            ("mit", None, Terms::Open),
            ("Apache-2.0", None, Terms::Open),
            ("cc-by-nc-4.0", None, Terms::NonCommercial),
            ("cc-by-nc-sa-4.0", None, Terms::NonCommercial),
            ("cc-by-4.0", None, Terms::Open),
            ("apple-amlr", Some("apple-ascl"), Terms::Research),
            (
                "other",
                Some("apple-machine-learning-research-model-license-agreement"),
                Terms::Research,
            ),
            ("other", Some("research-only"), Terms::Research),
            ("other", Some("CC BY-NC 4.0"), Terms::NonCommercial),
            ("other", Some("cc_by_nc"), Terms::NonCommercial),
            ("other", Some("Non-Commercial Use"), Terms::NonCommercial),
            ("apple-ascl", None, Terms::Research),
            ("other", None, Terms::Unknown),
            ("unknown", None, Terms::Unknown),
            ("", None, Terms::Unknown),
            ("cc", None, Terms::Unknown),
            ("openrail", None, Terms::Unknown),
            ("llama3", None, Terms::Unknown),
            ("ncsa", None, Terms::Open),
            ("other", Some("uiuc-ncsa"), Terms::Unknown),
            ("mit, apache-2.0", None, Terms::Open),
            ("mit, cc-by-nc-4.0", None, Terms::NonCommercial),
            ("mit, other", None, Terms::Unknown),
        ];
        for (id, name, terms) in table {
            let licence = Licence { id: id.into(), name: name.map(Into::into), link: None };
            assert_eq!(licence.terms(), terms, "{licence}");
        }
    }

    #[test]
    fn a_card_can_not_write_on_the_terminal() {
        let licence =
            Licence { id: "other\x1b[2J".into(), name: None, link: Some("LICENSE\r\n".into()) };
        assert_eq!(licence.to_string(), "other[2J (LICENSE)");
    }
}
