//! What holds for every text of a label set: not empty, not too long, no name twice.

use std::collections::HashMap;

use super::labels::{LabelsError, TEXT_BYTES_MAX};
use super::templates::without_article;
use crate::classify::NONE;

/// A text and the line where it stands.
pub(super) type Line<'a> = (Option<usize>, &'a str);

/// Texts, and the line where their list begins.
pub(super) struct List<'a> {
    pub(super) line: Option<usize>,
    pub(super) texts: Vec<Line<'a>>,
}

/// Names seen so far, compared without regard to case, spacing and article: "cat" and "a cat" make
/// the same prompts.
#[derive(Default)]
pub(super) struct Names(HashMap<String, Option<usize>>);

impl Names {
    pub(super) fn check(&mut self, (line, name): Line<'_>) -> Result<String, LabelsError> {
        let name = text((line, name), "label")?;
        if name.eq_ignore_ascii_case(NONE) {
            let reason =
                format!("\"{name}\" is the answer when no label fits: choose another name");
            return Err(LabelsError { line, reason });
        }
        match self.0.insert(key(&name), line) {
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

/// A text without regard to case, spacing and article.
pub(super) fn key(text: &str) -> String {
    let words = without_article(text).split_whitespace().collect::<Vec<_>>();
    words.join(" ").to_lowercase()
}

impl List<'_> {
    /// The texts, each one checked: at least one, and no more than the limit.
    pub(super) fn check(&self, what: &str, limit: usize) -> Result<Vec<String>, LabelsError> {
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
