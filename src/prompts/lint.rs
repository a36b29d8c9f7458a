//! What is doubtful in a label set, though it works.

use super::LabelSet;
use crate::classify::{Mode, ScoreKind, ZeroShotHead};

/// Labels whose directions are at least this near each other can hardly be told apart. The built-in model puts
/// "coffee cup" and "cup of coffee" at more than 0.99, "cat" and "dog" at 0.70.
pub const ALIKE_COSINE: f32 = 0.97;

/// Most warnings of one kind.
const KIND_MAX: usize = 5;

/// What is doubtful in a set, for people; `head` is what became of it.
#[must_use]
pub fn lint(set: &LabelSet, head: &ZeroShotHead) -> Vec<String> {
    let mut warnings = Vec::new();
    if set.background().is_empty() {
        warnings.push(
            "there is no background: some label is always the best one; add background = [\"an empty room\"]"
                .to_owned(),
        );
        let alone = set.labels().iter().filter(|label| label.not.is_empty());
        let alone = alone.filter(|_| set.mode() == Mode::Each || set.labels().len() == 1);
        if head.score_kind() == ScoreKind::Softmax {
            warnings.extend(capped(alone.map(|label| {
                let label = &label.name;
                format!("nothing stands against \"{label}\", so its score is always 1: add background prompts")
            })));
        }
    }
    let hidden = head.alike_background(ALIKE_COSINE);
    warnings.extend(capped(hidden.into_iter().map(|(label, prompt, cosine)| {
        let prompt = set.background().get(prompt).map_or("", String::as_str);
        format!(
            "\"{label}\" is hardly told from the background prompt \"{prompt}\" (cosine {cosine:.3}), so it may \
             never enter: use other words, or bank = false"
        )
    })));
    let alike = head.alike(ALIKE_COSINE);
    warnings.extend(capped(alike.into_iter().map(|(a, b, cosine)| {
        format!("\"{a}\" and \"{b}\" are hardly told apart (cosine {cosine:.3}): use other words")
    })));
    warnings.extend(capped(foreign(set).map(|text| {
        format!("\"{text}\" is not written in Latin letters: this model has learned from English")
    })));
    warnings
}

/// The first warnings of a kind, and how many more there are.
fn capped(warnings: impl Iterator<Item = String>) -> Vec<String> {
    let mut warnings: Vec<String> = warnings.collect();
    let surplus = warnings.len().saturating_sub(KIND_MAX);
    warnings.truncate(KIND_MAX);
    if surplus > 0 {
        warnings.push(format!("and {surplus} more of these"));
    }
    warnings
}

/// Prompts outside the script of the language that CLIP learned from.
fn foreign(set: &LabelSet) -> impl Iterator<Item = &str> {
    let prompts = set.labels().iter().flat_map(|label| label.prompts.iter().chain(&label.not));
    let is_foreign = |text: &&String| {
        let letters = text.chars().filter(|c| c.is_alphabetic());
        // Latin letters with their accents; those of Vietnamese stand by themselves.
        letters.into_iter().any(|c| c > '\u{24f}' && !('\u{1e00}'..='\u{1eff}').contains(&c))
    };
    prompts.chain(set.background()).filter(is_foreign).map(String::as_str)
}
