//! Stage 4: where image and words meet. A [`ZeroShotHead`] compares an image's [`Embedding`] with those of
//! the labels and gives [`Scores`]; so does a [`LinearHead`], which was trained. A [`Decider`] smooths them from frame to frame and says what came and went.

mod decide;
mod event;
mod head;
mod linear;
mod smooth;

use serde::{Deserialize, Serialize};

use crate::embedding::Embedding;

pub use decide::{Change, Decider, LIMIT_MS_MAX, Options, Policy, PolicyOptions};
pub use event::{Event, NONE, Transition};
pub use head::Head;
pub use linear::{BACKGROUND, LinearClass, LinearHead, LinearHeadError, is_background};
pub use smooth::{Smoothing, WINDOW_FRAMES_MAX};

/// How a model turns logits into scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreKind {
    /// Labels and background compete, and the scores of all sum to 1 (CLIP).
    Softmax,
    /// Each label by itself (`SigLIP`).
    Sigmoid,
}

/// What a model says of its logits: `logit_scale * cosine + logit_bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    /// Logits to scores.
    pub kind: ScoreKind,
    /// Exponential of the learned temperature.
    pub logit_scale: f32,
    /// Learned offset; changes nothing under softmax.
    pub logit_bias: f32,
}

/// Whether labels exclude each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// At most one label is there; labels compete with each other and with the background.
    #[default]
    OneOf,
    /// Each label by itself, against its counter-prompts and the background.
    Each,
}

/// Labels as directions: immutable, and swapped whole when labels change.
#[derive(Clone, Debug)]
pub struct ZeroShotHead {
    labels: Vec<LabelDirection>,
    background: Vec<Embedding>,
    mode: Mode,
    scoring: Scoring,
}

/// One label, and what speaks against it.
#[derive(Clone, Debug)]
pub struct LabelDirection {
    /// What is shown.
    pub name: String,
    /// Where its pictures lie.
    pub embedding: Embedding,
    /// Where pictures lie that could be mistaken for it; never shown.
    pub counters: Vec<Embedding>,
}

/// One label's result for one picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score<'a> {
    /// The label's name.
    pub label: &'a str,
    /// Probability 0..1.
    pub score: f32,
    /// Cosine between picture and label, -1..1; none where the label was trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f32>,
}

/// What a head says of one picture. Written over for every frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Probability of each label, 0..1, in the labels' order.
    pub labels: Vec<f32>,
    /// Probability of the strongest prompt that speaks against each label: of its counter-prompts and the
    /// background, or in [`Mode::OneOf`] of all counter-prompts and the background. 0 where there are none.
    pub rivals: Vec<f32>,
}

impl ZeroShotHead {
    /// A head of labels and of background embeddings, which take part and are not shown.
    #[must_use]
    pub fn new(
        labels: Vec<LabelDirection>,
        background: Vec<Embedding>,
        mode: Mode,
        scoring: Scoring,
    ) -> Self {
        Self { labels, background, mode, scoring }
    }

    /// The labels' names, in their order.
    #[must_use]
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.labels.iter().map(|label| label.name.as_str())
    }

    /// The labels' directions, in their order.
    #[must_use]
    pub fn labels(&self) -> &[LabelDirection] {
        &self.labels
    }

    /// What takes part and is not shown.
    #[must_use]
    pub fn background(&self) -> &[Embedding] {
        &self.background
    }

    /// Whether labels exclude each other.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How the model turns logits into scores.
    #[must_use]
    pub fn score_kind(&self) -> ScoreKind {
        self.scoring.kind
    }

    /// Pairs of labels whose directions are at least this near each other, nearest first: names and cosine.
    #[must_use]
    pub fn alike(&self, cosine: f32) -> Vec<(&str, &str, f32)> {
        let mut pairs = Vec::new();
        for (index, a) in self.labels.iter().enumerate() {
            for b in &self.labels[index + 1..] {
                let between = a.embedding.cosine(&b.embedding);
                if between >= cosine {
                    pairs.push((a.name.as_str(), b.name.as_str(), between));
                }
            }
        }
        pairs.sort_by(|a, b| b.2.total_cmp(&a.2));
        pairs
    }

    /// The scores of one picture, written over `scores`. Allocates nothing once `scores` has its size.
    ///
    /// Under softmax a label's probability is its share of the exponentials of all logits that it competes
    /// with; under sigmoid it depends on its own logit alone.
    ///
    /// # Panics
    /// Where the embedding is of another dimension than the labels'.
    pub fn score(&self, image: &Embedding, scores: &mut Scores) {
        let Scores { labels, rivals } = scores;
        labels.clear();
        rivals.clear();
        labels.extend(self.labels.iter().map(|label| self.logit(image, &label.embedding)));
        let background = self.strength(image, &self.background);
        match self.mode {
            Mode::OneOf => {
                let counters =
                    self.labels.iter().map(|label| self.strength(image, &label.counters));
                let against = counters.fold(background, Strength::and);
                let all = labels.iter().fold(against, |all, logit| all.and(Strength::of(*logit)));
                rivals.resize(labels.len(), self.probability(against.largest, all));
                for value in labels {
                    *value = self.probability(*value, all);
                }
            }
            Mode::Each => {
                for (label, value) in self.labels.iter().zip(labels) {
                    let against = background.and(self.strength(image, &label.counters));
                    let all = against.and(Strength::of(*value));
                    rivals.push(self.probability(against.largest, all));
                    *value = self.probability(*value, all);
                }
            }
        }
    }

    /// The scores of one picture, best first; equal ones keep the labels' order.
    ///
    /// # Panics
    /// As [`ZeroShotHead::score`].
    #[must_use]
    pub fn ranked(&self, image: &Embedding) -> Vec<Score<'_>> {
        let mut scores = Scores::default();
        self.score(image, &mut scores);
        let pairs = self.labels.iter().zip(scores.labels);
        let rows = pairs.map(|(label, score)| {
            let cosine = image.cosine(&label.embedding);
            (cosine, Score { label: &label.name, score, cosine: Some(cosine) })
        });
        let mut rows: Vec<(f32, Score<'_>)> = rows.collect();
        // By cosine: far behind the best, scores may round to the same number.
        rows.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        rows.into_iter().map(|(_, score)| score).collect()
    }

    /// Labels that are at least this near a background prompt: name, index of the prompt, cosine.
    #[must_use]
    pub fn alike_background(&self, cosine: f32) -> Vec<(&str, usize, f32)> {
        let pairs = self.labels.iter().flat_map(|label| {
            let prompts = self.background.iter().enumerate();
            prompts.map(|(at, prompt)| (label.name.as_str(), at, label.embedding.cosine(prompt)))
        });
        pairs.filter(|(_, _, between)| *between >= cosine).collect()
    }

    fn logit(&self, image: &Embedding, words: &Embedding) -> f32 {
        self.scoring.logit_scale * image.cosine(words) + self.scoring.logit_bias
    }

    fn strength(&self, image: &Embedding, prompts: &[Embedding]) -> Strength {
        let logits = prompts.iter().map(|prompt| Strength::of(self.logit(image, prompt)));
        logits.fold(Strength::NONE, Strength::and)
    }

    /// The probability that a logit stands for, among all that it competes with.
    fn probability(&self, logit: f32, all: Strength) -> f32 {
        match self.scoring.kind {
            ScoreKind::Softmax => all.share(logit),
            ScoreKind::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
        }
    }
}

/// Some logits, as a softmax sees them: the largest is taken off first, so no exponential overflows.
#[derive(Clone, Copy)]
struct Strength {
    largest: f32,
    /// Sum of the exponentials of each logit less the largest.
    sum: f32,
}

impl Strength {
    const NONE: Self = Self { largest: f32::NEG_INFINITY, sum: 0.0 };

    fn of(logit: f32) -> Self {
        Self { largest: logit, sum: 1.0 }
    }

    fn and(self, other: Self) -> Self {
        let largest = self.largest.max(other.largest);
        let part =
            |of: Self| if of.sum == 0.0 { 0.0 } else { of.sum * (of.largest - largest).exp() };
        Self { largest, sum: part(self) + part(other) }
    }

    /// The share of one of the logits in all of them, 0..1.
    fn share(self, logit: f32) -> f32 {
        (logit - self.largest).exp() / self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(degrees: f32) -> Embedding {
        Embedding::normalised(&[degrees.to_radians().cos(), degrees.to_radians().sin()]).unwrap()
    }

    /// Three labels; north has a counter-prompt where `counter` says.
    fn head(
        mode: Mode,
        counter: Option<f32>,
        background: &[f32],
        scoring: Scoring,
    ) -> ZeroShotHead {
        let labels = [("east", 0.0), ("north", 90.0), ("west", 180.0)];
        let labels = labels.map(|(name, degrees)| LabelDirection {
            name: name.to_owned(),
            embedding: at(degrees),
            counters: counter.filter(|_| name == "north").map(at).into_iter().collect(),
        });
        let background = background.iter().map(|degrees| at(*degrees)).collect();
        ZeroShotHead::new(labels.to_vec(), background, mode, scoring)
    }

    fn scoring(kind: ScoreKind, logit_scale: f32, logit_bias: f32) -> Scoring {
        Scoring { kind, logit_scale, logit_bias }
    }

    fn close(found: &[f32], wanted: &[f32]) -> bool {
        found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4)
    }

    /// Values computed by hand: e.g. softmax of (1, 0, -1) is (0.6652, 0.2447, 0.0900).
    #[test]
    fn scores_follow_their_formula() {
        use ScoreKind::{Sigmoid, Softmax};
        /// Background, kind, scale, bias, the image's direction, the scores.
        type Row<'a> = (&'a [f32], ScoreKind, f32, f32, f32, [f32; 3]);
        let table: &[Row<'_>] = &[
            (&[], Softmax, 1.0, 0.0, 0.0, [0.6652, 0.2447, 0.0900]),
            (&[], Softmax, 1.0, -7.0, 0.0, [0.6652, 0.2447, 0.0900]),
            (&[], Softmax, 100.0, 0.0, 0.0, [1.0, 0.0, 0.0]),
            (&[], Softmax, 1.0, 0.0, 90.0, [0.2119, 0.5761, 0.2119]),
            (&[0.0], Softmax, 1.0, 0.0, 0.0, [0.3995, 0.1470, 0.0541]),
            (&[], Sigmoid, 1.0, 0.0, 0.0, [0.7311, 0.5, 0.2689]),
            (&[0.0], Sigmoid, 2.0, -1.0, 0.0, [0.7311, 0.2689, 0.0474]),
        ];
        for (background, kind, scale, bias, degrees, wanted) in table {
            let head = head(Mode::OneOf, None, background, scoring(*kind, *scale, *bias));
            let mut found = Scores::default();
            head.score(&at(*degrees), &mut found);
            let shown = format!("{kind:?} {scale} {bias} {degrees}: {found:?}, not {wanted:?}");
            assert!(close(&found.labels, wanted), "{shown}");
        }
    }

    /// A picture in the east; by hand: e^1 = 2.7183, e^0 = 1, e^-1 = 0.3679.
    #[test]
    fn what_speaks_against_a_label_takes_part() {
        use ScoreKind::{Sigmoid, Softmax};
        /// Mode, north's counter-prompt, background, kind, the labels' scores, their rivals'.
        type Row<'a> = (Mode, Option<f32>, &'a [f32], ScoreKind, [f32; 3], [f32; 3]);
        let table: &[Row<'_>] = &[
            (Mode::OneOf, None, &[], Softmax, [0.6652, 0.2447, 0.0900], [0.0; 3]),
            (Mode::OneOf, Some(90.0), &[], Softmax, [0.5344, 0.1966, 0.0723], [0.1966; 3]),
            (Mode::OneOf, Some(0.0), &[90.0], Softmax, [0.3482, 0.1281, 0.0471], [0.3482; 3]),
            (Mode::OneOf, None, &[90.0], Sigmoid, [0.7311, 0.5, 0.2689], [0.5; 3]),
            (Mode::Each, None, &[], Softmax, [1.0; 3], [0.0; 3]),
            (Mode::Each, None, &[90.0], Softmax, [0.7311, 0.5, 0.2689], [0.2689, 0.5, 0.7311]),
            (
                Mode::Each,
                Some(0.0),
                &[90.0],
                Softmax,
                [0.7311, 0.2119, 0.2689],
                [0.2689, 0.5761, 0.7311],
            ),
            (Mode::Each, Some(0.0), &[], Sigmoid, [0.7311, 0.5, 0.2689], [0.0, 0.7311, 0.0]),
        ];
        for (mode, counter, background, kind, labels, rivals) in table {
            let head = head(*mode, *counter, background, scoring(*kind, 1.0, 0.0));
            let mut found = Scores::default();
            head.score(&at(0.0), &mut found);
            let right = close(&found.labels, labels) && close(&found.rivals, rivals);
            assert!(right, "{mode:?} {counter:?} {background:?} {kind:?}: {found:?}");
        }
    }

    #[test]
    fn ranked_puts_the_nearest_first() {
        let head = head(Mode::OneOf, None, &[], scoring(ScoreKind::Softmax, 100.0, 0.0));
        let names: Vec<&str> = head.ranked(&at(170.0)).iter().map(|score| score.label).collect();
        assert_eq!(names, ["west", "north", "east"]);
    }
}
