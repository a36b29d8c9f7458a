//! Label x template to prompt: "a photo of a {}" and "orange" to "a photo of an orange".

use std::fmt;

use serde::{Serialize, Serializer};

/// The place of the label in a template.
const PLACE: &str = "{}";

/// A sentence with one place for a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As the user wrote it.
    text: String,
    /// Up to the article, or up to the place where there is none.
    before: String,
    article: Option<Article>,
    after: String,
}

/// The article right before the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Article {
    /// "a" or "an": whichever the next letter asks for.
    Indefinite,
    Definite,
}

/// A template without exactly one `{}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the template \"{0}\" needs exactly one {{}} where the label goes")]
pub struct TemplateError(String);

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`] unless it has exactly one `{}`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let wrong = || TemplateError(text.to_owned());
        let (before, after) = text.split_once(PLACE).ok_or_else(wrong)?;
        if after.contains(PLACE) {
            return Err(wrong());
        }
        let words = before.strip_suffix(' ').unwrap_or("");
        let (rest, last) = words.rsplit_once(' ').map_or(("", words), |(rest, last)| (rest, last));
        let article = match last.to_ascii_lowercase().as_str() {
            "a" | "an" => Some(Article::Indefinite),
            "the" => Some(Article::Definite),
            _ => None,
        };
        let before = match (article, rest.is_empty()) {
            (None, _) => before.to_owned(),
            (Some(_), true) => String::new(),
            (Some(_), false) => format!("{rest} "),
        };
        Ok(Self { text: text.to_owned(), before, article, after: after.to_owned() })
    }

    /// The prompt for one label. Where the template has an article before its place, an article
    /// that the label brings is dropped, and a/an follows the next letter.
    #[must_use]
    pub fn fill(&self, label: &str) -> String {
        let (before, after) = (&self.before, &self.after);
        let label = label.trim();
        let Some(article) = self.article else { return format!("{before}{label}{after}") };
        let bare = without_article(label);
        let article = match article {
            Article::Definite => "the",
            Article::Indefinite if bare.starts_with(is_vowel) => "an",
            Article::Indefinite => "a",
        };
        format!("{before}{article} {bare}{after}")
    }
}

/// As its text.
impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The label without a leading a, an or the; a label that is nothing else stays whole.
pub(super) fn without_article(label: &str) -> &str {
    match label.split_once(char::is_whitespace) {
        Some((first, rest)) if ["a", "an", "the"].iter().any(|a| first.eq_ignore_ascii_case(a)) => {
            rest.trim_start()
        }
        _ => label,
    }
}

fn is_vowel(c: char) -> bool {
    matches!(c.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u')
}

#[cfg(test)]
mod tests {
    use super::Template;

    #[test]
    fn articles_follow_the_label() {
        let table = [
            ("a photo of a {}", "cat", "a photo of a cat"),
            ("a photo of a {}", "orange", "a photo of an orange"),
            ("a photo of an {}", "cat", "a photo of a cat"),
            ("a photo of a {}", "a cat", "a photo of a cat"),
            ("a photo of a {}", "An  owl", "a photo of an owl"),
            ("a photo of a {}", "the cat", "a photo of a cat"),
            ("a photo of the {}", "a cat", "a photo of the cat"),
            ("a photo of {}", "a cat", "a photo of a cat"),
            ("a photo of {}", "cats", "a photo of cats"),
            ("a photo of a {}.", "letter a", "a photo of a letter a."),
            ("a photo of my {}", "a cat", "a photo of my a cat"),
            ("{}", "a cat", "a cat"),
            ("a {}", "owl", "an owl"),
            ("itap of a {}, at night", "a", "itap of an a, at night"),
            ("pizza{}", "s", "pizzas"),
        ];
        for (template, label, prompt) in table {
            assert_eq!(
                Template::parse(template).unwrap().fill(label),
                prompt,
                "{template} {label}"
            );
        }
    }

    #[test]
    fn a_template_has_one_place() {
        for text in ["", "a photo", "{} and {}", "{ }"] {
            assert!(Template::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn display_is_what_was_parsed() {
        for text in ["a photo of an {}", "The {}!", "{}", "my {} here"] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
    }
}
