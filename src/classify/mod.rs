//! Stage 4: where image and words meet. A [`ZeroShotHead`] compares an image's [`Embedding`] with
//! those of the labels and gives a [`Score`] for each.

use serde::{Deserialize, Serialize};

use crate::embedding::Embedding;

/// How a model turns logits into scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
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

/// Labels as directions: immutable, and swapped whole when labels change.
#[derive(Clone, Debug)]
pub struct ZeroShotHead {
    labels: Vec<(String, Embedding)>,
    background: Vec<Embedding>,
    scoring: Scoring,
}

/// One label's result for one picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score<'a> {
    /// The label's name.
    pub label: &'a str,
    /// Probability 0..1.
    pub score: f32,
    /// Cosine between picture and label, -1..1.
    pub cosine: f32,
}

impl ZeroShotHead {
    /// A head of named label embeddings and of background embeddings, which take part in a softmax
    /// and are not shown.
    #[must_use]
    pub fn new(
        labels: Vec<(String, Embedding)>,
        background: Vec<Embedding>,
        scoring: Scoring,
    ) -> Self {
        Self { labels, background, scoring }
    }

    /// The scores of one picture, in the labels' order.
    ///
    /// # Panics
    /// Where the embedding is of another dimension than the labels'.
    #[must_use]
    pub fn scores(&self, image: &Embedding) -> Vec<Score<'_>> {
        let cosines: Vec<f32> = self.labels.iter().map(|(_, label)| image.cosine(label)).collect();
        let background = self.background.iter().map(|background| image.cosine(background));
        let logits: Vec<f32> =
            cosines.iter().copied().chain(background).map(|cosine| self.logit(cosine)).collect();
        let scores = match self.scoring.kind {
            ScoreKind::Softmax => softmax(&logits),
            ScoreKind::Sigmoid => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        };
        let rows = self.labels.iter().zip(scores).zip(cosines);
        rows.map(|(((label, _), score), cosine)| Score { label, score, cosine }).collect()
    }

    /// The scores of one picture, best first; equal ones keep the labels' order.
    ///
    /// # Panics
    /// As [`ZeroShotHead::scores`].
    #[must_use]
    pub fn ranked(&self, image: &Embedding) -> Vec<Score<'_>> {
        let mut scores = self.scores(image);
        // By cosine: far behind the best, scores may round to the same number.
        scores.sort_by(|a, b| b.cosine.total_cmp(&a.cosine));
        scores
    }

    fn logit(&self, cosine: f32) -> f32 {
        self.scoring.logit_scale * cosine + self.scoring.logit_bias
    }
}

/// Exponentials over their sum; the largest is taken off first, so none overflows.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(degrees: f32) -> Embedding {
        Embedding::normalised(&[degrees.to_radians().cos(), degrees.to_radians().sin()]).unwrap()
    }

    fn head(background: &[f32], kind: ScoreKind, scale: f32, bias: f32) -> ZeroShotHead {
        let labels = [("east", 0.0), ("north", 90.0), ("west", 180.0)];
        let labels = labels.map(|(name, degrees)| (name.to_owned(), at(degrees))).to_vec();
        let background = background.iter().map(|degrees| at(*degrees)).collect();
        ZeroShotHead::new(
            labels,
            background,
            Scoring { kind, logit_scale: scale, logit_bias: bias },
        )
    }

    fn numbers(head: &ZeroShotHead, degrees: f32) -> Vec<f32> {
        head.scores(&at(degrees)).iter().map(|score| score.score).collect()
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
            let found = numbers(&head(background, *kind, *scale, *bias), *degrees);
            let close = found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4);
            assert!(close, "{kind:?} {scale} {bias} {degrees}: {found:?}, not {wanted:?}");
        }
    }

    #[test]
    fn ranked_puts_the_nearest_first() {
        let head = head(&[], ScoreKind::Softmax, 100.0, 0.0);
        let names: Vec<&str> = head.ranked(&at(170.0)).iter().map(|score| score.label).collect();
        assert_eq!(names, ["west", "north", "east"]);
    }
}
