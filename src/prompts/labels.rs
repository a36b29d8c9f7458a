//! A labels file, or labels typed on the command line, to a [`LabelSet`]. Errors carry the line.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::templates::{Template, without_article};
use crate::digest::sha256;
use crate::lines::line_at;

/// Most labels of a set.
pub const LABELS_MAX: usize = 1000;
/// Most prompts of one label.
pub const PROMPTS_MAX: usize = 64;
/// Most background prompts of a set.
pub const BACKGROUND_MAX: usize = 256;
/// Most templates of a set.
pub const TEMPLATES_MAX: usize = 128;
/// Longest name, prompt or template, in bytes.
pub const TEXT_BYTES_MAX: usize = 1000;

/// What the user wants told apart: parsed, checked, within the limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelSet {
    labels: Vec<Label>,
    /// `None`: the model's own.
    templates: Option<Vec<Template>>,
    background: Vec<String>,
}

/// One label: what is shown, and the words that it is recognised by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// What is shown.
    pub name: String,
    /// What is put into the templates; the name where the user gave none.
    pub prompts: Vec<String>,
}

/// Why a label set is refused.
#[derive(Debug, PartialEq, Eq)]
pub struct LabelsError {
    /// Line of the file, from 1; none for labels from the command line.
    pub line: Option<usize>,
    /// What is wrong, and the way out.
    pub reason: String,
}

impl fmt::Display for LabelsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for LabelsError {}

/// `labels.toml` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSet {
    templates: Option<RawList>,
    background: Option<RawList>,
    #[serde(default, rename = "label")]
    labels: Vec<RawLabel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLabel {
    name: Spanned<String>,
    prompts: Option<RawList>,
}

/// A list of texts as `labels.toml` has it.
type RawList = Spanned<Vec<Spanned<String>>>;

/// A text and the line where it stands.
type Line<'a> = (Option<usize>, &'a str);

/// Texts, and the line where their list begins.
struct List<'a> {
    line: Option<usize>,
    texts: Vec<Line<'a>>,
}

/// The text of a file, to find lines in.
struct File<'a>(&'a str);

impl File<'_> {
    fn line<'a>(&self, text: &'a Spanned<String>) -> Line<'a> {
        (Some(line_at(self.0, text.span().start)), text.get_ref())
    }

    fn list<'a>(&self, raw: &'a RawList) -> List<'a> {
        let texts = raw.get_ref().iter().map(|text| self.line(text)).collect();
        List { line: Some(line_at(self.0, raw.span().start)), texts }
    }

    fn label(&self, raw: &RawLabel, names: &mut Names) -> Result<Label, LabelsError> {
        let name = names.check(self.line(&raw.name))?;
        let prompts = match &raw.prompts {
            None => vec![name.clone()],
            Some(prompts) => self.list(prompts).check("prompt", PROMPTS_MAX)?,
        };
        Ok(Label { name, prompts })
    }
}

impl LabelSet {
    /// A set of plain names, such as those typed on a command line.
    ///
    /// # Errors
    /// [`LabelsError`] where there are none, two alike, or one is empty or over a limit.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, LabelsError> {
        Self::from_lines(names.into_iter().map(|name| (None, name)))
    }

    /// A plain text file: one label a line; empty lines and lines that begin with `#` don't count.
    ///
    /// # Errors
    /// [`LabelsError`] with the line.
    pub fn from_text(text: &str) -> Result<Self, LabelsError> {
        let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let lines = lines.map(|(index, line)| (Some(index + 1), line.trim()));
        Self::from_lines(lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')))
    }

    /// A `labels.toml`.
    ///
    /// # Errors
    /// [`LabelsError`] with the line.
    pub fn from_toml(text: &str) -> Result<Self, LabelsError> {
        let raw: RawSet = toml::from_str(text).map_err(|error| LabelsError {
            line: error.span().map(|span| line_at(text, span.start)),
            reason: error.message().to_owned(),
        })?;
        let file = File(text);
        let mut names = Names::default();
        let labels = raw.labels.iter().map(|label| file.label(label, &mut names));
        let labels = labels.collect::<Result<_, _>>()?;
        let background = raw.background.as_ref().map(|list| file.list(list));
        let background =
            background.map(|list| list.check("background prompt", BACKGROUND_MAX)).transpose()?;
        let set = Self { labels, templates: None, background: background.unwrap_or_default() };
        let set = set.checked()?;
        match &raw.templates {
            None => Ok(set),
            Some(templates) => set.with_template_list(&file.list(templates)),
        }
    }

    /// The same labels with these templates instead of the model's own.
    ///
    /// # Errors
    /// [`LabelsError`] where there are none, or one has not exactly one `{}`.
    pub fn with_templates<'a>(
        self,
        templates: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, LabelsError> {
        let texts = templates.into_iter().map(|template| (None, template)).collect();
        self.with_template_list(&List { line: None, texts })
    }

    /// The labels, in the user's order.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// The set's own templates; `None` where the model's are meant.
    #[must_use]
    pub fn templates(&self) -> Option<&[Template]> {
        self.templates.as_deref()
    }

    /// Prompts that take part in the scores and are never shown.
    #[must_use]
    pub fn background(&self) -> &[String] {
        &self.background
    }

    /// `sha256:` and the digest of the parsed set: two files that mean the same have the same.
    #[must_use]
    pub fn digest(&self) -> String {
        let canonical = serde_json::to_vec(self).unwrap_or_else(|_| unreachable!("strings only"));
        format!("sha256:{}", sha256(&canonical))
    }

    fn from_lines<'a>(lines: impl Iterator<Item = Line<'a>>) -> Result<Self, LabelsError> {
        let mut names = Names::default();
        let label = |line| {
            let name = names.check(line)?;
            Ok(Label { prompts: vec![name.clone()], name })
        };
        let labels = lines.map(label).collect::<Result<_, _>>()?;
        Self { labels, templates: None, background: Vec::new() }.checked()
    }

    fn with_template_list(mut self, list: &List<'_>) -> Result<Self, LabelsError> {
        let texts = list.check("template", TEMPLATES_MAX)?;
        let parse = |(text, (line, _)): (String, &Line<'_>)| {
            Template::parse(&text)
                .map_err(|error| LabelsError { line: *line, reason: error.to_string() })
        };
        let templates = texts.into_iter().zip(&list.texts).map(parse);
        self.templates = Some(templates.collect::<Result<_, _>>()?);
        Ok(self)
    }

    fn checked(self) -> Result<Self, LabelsError> {
        let refuse = |reason: String| Err(LabelsError { line: None, reason });
        match self.labels.len() {
            0 => refuse("there are no labels: give at least one".to_owned()),
            count if count > LABELS_MAX => {
                refuse(format!("{count} labels are more than the limit of {LABELS_MAX}"))
            }
            _ => Ok(self),
        }
    }
}

/// Names seen so far, compared without regard to case, spacing and article: "cat" and "a cat" make
/// the same prompts.
#[derive(Default)]
struct Names(HashMap<String, Option<usize>>);

impl Names {
    fn check(&mut self, (line, name): Line<'_>) -> Result<String, LabelsError> {
        let name = text((line, name), "label")?;
        let words = without_article(&name).split_whitespace().collect::<Vec<_>>();
        let key = words.join(" ").to_lowercase();
        match self.0.insert(key, line) {
            None => Ok(name),
            Some(first) => {
                let before =
                    first.map_or(String::new(), |first| format!(" (first in line {first})"));
                let reason = format!("the label \"{name}\" is given twice{before}: remove one");
                Err(LabelsError { line, reason })
            }
        }
    }
}

impl List<'_> {
    /// The texts, each one checked: at least one, and no more than the limit.
    fn check(&self, what: &str, limit: usize) -> Result<Vec<String>, LabelsError> {
        let refuse = |reason: String| Err(LabelsError { line: self.line, reason });
        match self.texts.len() {
            0 => refuse(format!("an empty list of {what}s: leave it out instead")),
            count if count > limit => {
                refuse(format!("{count} {what}s are more than the limit of {limit}"))
            }
            _ => self.texts.iter().map(|line| text(*line, what)).collect(),
        }
    }
}

/// One text: trimmed, not empty, not too long, no control characters, no place for a label.
fn text((line, text): Line<'_>, what: &str) -> Result<String, LabelsError> {
    let text = text.trim();
    let refuse = |reason: String| Err(LabelsError { line, reason });
    if text.is_empty() {
        refuse(format!("an empty {what}: write words or remove it"))
    } else if text.len() > TEXT_BYTES_MAX {
        let start: String = text.chars().take(40).collect();
        refuse(format!("\"{start}...\" has {} bytes, the limit is {TEXT_BYTES_MAX}", text.len()))
    } else if text.chars().any(char::is_control) {
        refuse(format!("{text:?} has a control character in it: remove it"))
    } else if what != "template" && text.contains("{}") {
        refuse(format!("\"{text}\" is a template: put it under templates"))
    } else {
        Ok(text.to_owned())
    }
}
