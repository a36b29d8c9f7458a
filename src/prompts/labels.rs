//! A labels file, or labels typed on the command line, to a [`LabelSet`]. Errors carry the line.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::templates::Template;
use super::texts::{Line, List, Names, key};
use crate::classify::{self, Mode, PolicyOptions};
use crate::digest::sha256;
use crate::lines::line_at;

/// Most labels of a set.
pub const LABELS_MAX: usize = 1000;
/// Most prompts of one label, and most counter-prompts.
pub const PROMPTS_MAX: usize = 64;
/// Most background prompts of a set.
pub const BACKGROUND_MAX: usize = 256;
/// Most templates of a set.
pub const TEMPLATES_MAX: usize = 128;
/// Longest name, prompt or template, in bytes.
pub const TEXT_BYTES_MAX: usize = 1000;
/// Most outputs of one label.
pub const OUTPUTS_MAX: usize = 16;
/// Largest label set that is read, in bytes.
pub const SET_BYTES_MAX: usize = 1 << 20;

/// What the user wants told apart: parsed, checked, within the limits.
/// What a set leaves out is left out of its canonical form too, which its digest is made of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelSet {
    labels: Vec<Label>,
    /// `None`: the model's own.
    templates: Option<Vec<Template>>,
    /// How the set's own templates are filled.
    #[serde(skip_serializing_if = "is_default")]
    articles: Articles,
    background: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    mode: Mode,
    #[serde(skip_serializing_if = "is_default")]
    bank: Bank,
}

/// What becomes of the article before a template's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Articles {
    /// It follows the label: "a photo of an orange".
    #[default]
    Fit,
    /// It stays as the template has it, "a photo of a orange": what published figures were measured with.
    AsWritten,
}

/// Whether the general background prompts take part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Bank(bool);

impl Default for Bank {
    fn default() -> Self {
        Self(true)
    }
}

/// Background prompts for any camera: what a view looks like when nothing that matters is in it.
pub const BANK: &[&str] = &[
    "an empty room",
    "an empty table",
    "a blank wall",
    "a floor",
    "nothing",
    "a blurry picture",
    "a dark picture",
    "a plain background",
];

/// One label: what is shown, and the words that it is recognised by.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Label {
    /// What is shown.
    pub name: String,
    /// What is put into the templates; the name where the user gave none.
    pub prompts: Vec<String>,
    /// Counter-prompts: what could be mistaken for it.
    #[serde(skip_serializing_if = "is_default")]
    pub not: Vec<String>,
    /// When it enters and leaves, where the configuration's rule doesn't fit.
    #[serde(skip_serializing_if = "is_default")]
    pub policy: PolicyOptions,
    /// The pins that it drives.
    #[serde(skip_serializing_if = "is_default", rename = "output")]
    pub outputs: Vec<LabelOutput>,
}

impl Label {
    /// Its prompts and counter-prompts, each with the label's name.
    pub(super) fn all_prompts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.prompts.iter().chain(&self.not).map(|prompt| (self.name.as_str(), prompt.as_str()))
    }
}

/// One pin that a label drives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LabelOutput {
    /// Name of a pin of the configuration.
    pub gpio: String,
    /// What the pin does; where left out, what the configuration says.
    pub action: Option<Action>,
}

/// What a label does to a pin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// On while the label is there.
    #[default]
    Follow,
    /// On for a while when the label enters.
    Pulse,
    /// On from when the label enters until an input releases it.
    Latch,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    articles: Option<Spanned<Articles>>,
    background: Option<RawList>,
    #[serde(default)]
    mode: Mode,
    #[serde(default = "yes")]
    bank: bool,
    #[serde(default, rename = "label")]
    labels: Vec<RawLabel>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLabel {
    name: Spanned<String>,
    prompts: Option<RawList>,
    not: Option<RawList>,
    enter: Option<f32>,
    leave: Option<f32>,
    dwell_ms: Option<u64>,
    hold_ms: Option<u64>,
    cooldown_ms: Option<u64>,
    #[serde(default, rename = "output")]
    outputs: Vec<LabelOutput>,
}

/// A list of texts as `labels.toml` has it.
type RawList = Spanned<Vec<Spanned<String>>>;

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
        let not = raw.not.as_ref().map(|list| self.list(list).check("counter-prompt", PROMPTS_MAX));
        let refuse = |reason| LabelsError { line: self.line(&raw.name).0, reason };
        let outputs = match raw.outputs.len() {
            ..=OUTPUTS_MAX => raw.outputs.clone(),
            count => {
                let reason =
                    format!("the label \"{name}\" has {count} outputs, the limit is {OUTPUTS_MAX}");
                return Err(refuse(reason));
            }
        };
        let policy =
            raw.policy().map_err(|reason| refuse(format!("the label \"{name}\": {reason}")))?;
        Ok(Label { name, prompts, not: not.transpose()?.unwrap_or_default(), policy, outputs })
    }
}

impl RawLabel {
    /// What it says of its thresholds and times, by itself free of contradiction.
    fn policy(&self) -> Result<PolicyOptions, String> {
        let Self { enter, leave, dwell_ms, hold_ms, cooldown_ms, .. } = *self;
        let own = PolicyOptions { enter, leave, dwell_ms, hold_ms, cooldown_ms };
        let permissive =
            classify::Options { enter: 1.0, leave: 0.0, ..classify::Options::default() };
        permissive.policy(&own).map(|_| own)
    }
}

impl LabelSet {
    /// A set in any of the forms that people send: a `labels.toml`, the same as JSON (an object), a JSON list of
    /// names, or plain text with one label a line.
    ///
    /// # Errors
    /// [`LabelsError`] with the line.
    pub fn parse(text: &str) -> Result<Self, LabelsError> {
        let refuse = |line, reason: String| Err(LabelsError { line, reason });
        if text.len() > SET_BYTES_MAX {
            let bytes = text.len();
            return refuse(
                None,
                format!("{bytes} bytes are more than the limit of {SET_BYTES_MAX}"),
            );
        }
        match Form::of(text) {
            Form::Toml => Self::from_toml(text),
            Form::Lines => Self::from_text(text),
            Form::Names(names) => Self::from_names(names.iter().map(String::as_str)),
            Form::Json => match serde_json::from_str::<toml::Value>(text) {
                Err(error) => refuse(Some(error.line()), format!("this JSON: {error}")),
                Ok(value) => {
                    let toml = toml::to_string(&value).unwrap_or_default();
                    Self::from_toml(&toml).map_err(|error| LabelsError { line: None, ..error })
                }
            },
        }
    }

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
        let background = background.unwrap_or_default();
        let (mode, bank) = (raw.mode, Bank(raw.bank));
        let articles = raw.articles.as_ref().map(Spanned::get_ref).copied().unwrap_or_default();
        let set = Self { labels, templates: None, articles, background, mode, bank }.checked()?;
        match (&raw.templates, &raw.articles) {
            (Some(templates), _) => set.with_template_list(&file.list(templates)),
            (None, None) => Ok(set),
            (None, Some(articles)) => Err(LabelsError {
                line: Some(line_at(text, articles.span().start)),
                reason: "articles is about the set's own templates: give templates too".to_owned(),
            }),
        }
    }

    /// The same labels with these templates instead of the model's own or the set's, filled as the set says.
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

    /// Whether labels exclude each other.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The same labels with the general background prompts, [`BANK`], beside the set's own; unless the set
    /// says `bank = false`. What the set itself names, for or against, is left as it says.
    #[must_use]
    pub fn with_bank(mut self) -> Self {
        if self.bank.0 {
            let own =
                self.labels.iter().flat_map(|label| label.all_prompts().map(|(_, prompt)| prompt));
            let own: HashSet<String> =
                own.chain(self.background.iter().map(String::as_str)).map(key).collect();
            let general = BANK.iter().filter(|prompt| !own.contains(&key(prompt)));
            self.background.extend(general.map(ToString::to_string));
        }
        self
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
            Ok(Label { prompts: vec![name.clone()], name, ..Label::default() })
        };
        let labels = lines.map(label).collect::<Result<_, _>>()?;
        let (articles, mode, bank) = (Articles::default(), Mode::default(), Bank::default());
        let background = Vec::new();
        Self { labels, templates: None, articles, background, mode, bank }.checked()
    }

    fn with_template_list(mut self, list: &List<'_>) -> Result<Self, LabelsError> {
        let texts = list.check("template", TEMPLATES_MAX)?;
        let parse = |(text, (line, _)): (String, &Line<'_>)| {
            Template::with_articles(&text, self.articles)
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

/// The forms that a set comes in.
enum Form {
    Toml,
    Json,
    /// A JSON list.
    Names(Vec<String>),
    Lines,
}

impl Form {
    /// A brace begins JSON; a bracket, or one of a set's keys, begins TOML; all else is a list.
    fn of(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}').trim();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let is_key = |line: &str| {
            let keys = ["templates", "articles", "background", "mode", "bank", "label"];
            line.split_once('=').is_some_and(|(key, _)| keys.contains(&key.trim()))
        };
        if text.starts_with('{') {
            Self::Json
        } else if let Ok(names) = serde_json::from_str(text) {
            Self::Names(names)
        } else if lines.any(|line| line.starts_with('[') || is_key(line)) {
            Self::Toml
        } else {
            Self::Lines
        }
    }
}
