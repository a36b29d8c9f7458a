//! Label x template to prompt: "a photo of a {}" and "orange" to "a photo of an orange".

use std::fmt;

use serde::{Serialize, Serializer};

use super::labels::Articles;

/// The place of the label in a template.
const PLACE: &str = "{}";

/// A sentence with one place for a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As the user wrote it.
    text: String,
    articles: Articles,
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
    /// Parses a template whose article fits its label.
    ///
    /// # Errors
    /// [`TemplateError`] unless it has exactly one `{}`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::with_articles(text, Articles::Fit)
    }

    /// Parses a template.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn with_articles(text: &str, articles: Articles) -> Result<Self, TemplateError> {
        let wrong = || TemplateError(text.to_owned());
        let (before, after) = text.split_once(PLACE).ok_or_else(wrong)?;
        if after.contains(PLACE) {
            return Err(wrong());
        }
        let words = before.strip_suffix(' ').unwrap_or("");
        let (rest, last) = words.rsplit_once(' ').map_or(("", words), |(rest, last)| (rest, last));
        let article = match last.to_ascii_lowercase().as_str() {
            _ if articles == Articles::AsWritten => None,
            "a" | "an" => Some(Article::Indefinite),
            "the" => Some(Article::Definite),
            _ => None,
        };
        let before = match (article, rest.is_empty()) {
            (None, _) => before.to_owned(),
            (Some(_), true) => String::new(),
            (Some(_), false) => format!("{rest} "),
        };
        let (text, after) = (text.to_owned(), after.to_owned());
        Ok(Self { text, articles, before, article, after })
    }

    /// What tells it from any template that makes other prompts; no text of a set has a control character.
    pub(super) fn key(&self) -> String {
        match self.articles {
            Articles::Fit => self.text.clone(),
            Articles::AsWritten => format!("{}\u{1}", self.text),
        }
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
    use super::{Articles, Template};

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
    fn a_template_may_stay_as_it_is_written() {
        let fill =
            |text, label| Template::with_articles(text, Articles::AsWritten).unwrap().fill(label);
        assert_eq!(fill("a photo of a {}.", "airplane"), "a photo of a airplane.");
        assert_eq!(fill("a photo of the {}.", "a cat"), "a photo of the a cat.");
        let keys = [Articles::Fit, Articles::AsWritten]
            .map(|articles| Template::with_articles("a {}", articles).unwrap().key());
        assert_ne!(keys[0], keys[1], "the cache tells them apart");
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
