//! A trained head: a linear classifier on image embeddings, without words.

use half::f16;

use super::{NONE, Score, Scores, Strength};
use crate::embedding::Embedding;

/// A class of this name stands for what is none of the others, as [`NONE`] does: it takes part in the scores and is
/// not shown.
pub const BACKGROUND: &str = "background";

/// Classes with a row of weights each: `logits = W e + b` over the L2-normalised embedding `e`, and softmax.
/// Immutable, as a [`ZeroShotHead`](super::ZeroShotHead) is.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearHead {
    classes: Vec<LinearClass>,
    /// Where in `classes` those stand that are shown.
    shown: Vec<usize>,
    embedding_dim: usize,
}

/// One class of a [`LinearHead`].
#[derive(Clone, Debug, PartialEq)]
pub struct LinearClass {
    /// What is shown.
    pub name: String,
    /// Its row of W, `[embedding_dim]`.
    pub weights: Box<[f32]>,
    /// Its value of b.
    pub bias: f32,
}

/// Classes that make no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinearHeadError {
    /// None, or nothing but background.
    #[error("there are no classes to tell apart")]
    NoClasses,
    /// Rows of different lengths, or of none.
    #[error("a class has {found} weights, another has {wanted}")]
    Sizes {
        /// Weights of the class that differs.
        found: usize,
        /// Weights of the first class.
        wanted: usize,
    },
    /// A NaN or an infinity, or more than a half float holds.
    #[error(
        "class {class} has a weight or bias that is not a finite number, or a weight too large for a half float"
    )]
    NotFinite {
        /// Its place, from 1.
        class: usize,
    },
}

/// Whether a class of this name stands for what is none of the others.
#[must_use]
pub fn is_background(name: &str) -> bool {
    [NONE, BACKGROUND].iter().any(|known| name.eq_ignore_ascii_case(known))
}

impl LinearClass {
    /// Whether it stands for what is none of the others.
    #[must_use]
    pub fn is_background(&self) -> bool {
        is_background(&self.name)
    }

    /// Its logit for an embedding.
    fn logit(&self, image: &Embedding) -> f32 {
        let products = self.weights.iter().zip(image.values());
        products.map(|(weight, value)| weight * value).sum::<f32>() + self.bias
    }
}

impl LinearHead {
    /// A head of classes, in their order. Weights are rounded to half floats, as its file keeps them: what is
    /// measured is what is kept.
    ///
    /// # Errors
    /// [`LinearHeadError`].
    pub fn new(mut classes: Vec<LinearClass>) -> Result<Self, LinearHeadError> {
        let weights = classes.iter_mut().flat_map(|class| &mut class.weights);
        weights.for_each(|weight| *weight = f16::from_f32(*weight).to_f32());
        let is_shown = |class: &LinearClass| !class.is_background();
        let shown: Vec<usize> = (0..classes.len()).filter(|at| is_shown(&classes[*at])).collect();
        let embedding_dim = classes.first().map_or(0, |class| class.weights.len());
        if shown.is_empty() || embedding_dim == 0 {
            return Err(LinearHeadError::NoClasses);
        }
        for (at, class) in classes.iter().enumerate() {
            let found = class.weights.len();
            if found != embedding_dim {
                return Err(LinearHeadError::Sizes { found, wanted: embedding_dim });
            }
            if !class.bias.is_finite() || !class.weights.iter().all(|weight| weight.is_finite()) {
                return Err(LinearHeadError::NotFinite { class: at + 1 });
            }
        }
        Ok(Self { classes, shown, embedding_dim })
    }

    /// All classes, background among them.
    #[must_use]
    pub fn classes(&self) -> &[LinearClass] {
        &self.classes
    }

    /// Values of an embedding.
    #[must_use]
    pub fn embedding_dim(&self) -> usize {
        self.embedding_dim
    }

    /// The labels: the classes that are shown.
    #[must_use]
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &LinearClass> {
        self.shown.iter().map(|at| &self.classes[*at])
    }

    /// The probability of each class, background among them, in the order of [`LinearHead::classes`].
    ///
    /// # Panics
    /// As [`LinearHead::score`].
    #[must_use]
    pub fn probabilities(&self, image: &Embedding) -> Vec<f32> {
        self.check(image);
        let logits: Vec<f32> = self.classes.iter().map(|class| class.logit(image)).collect();
        let all = logits.iter().fold(Strength::NONE, |all, logit| all.and(Strength::of(*logit)));
        logits.into_iter().map(|logit| all.share(logit)).collect()
    }

    /// The scores of one picture, written over `scores`; what speaks against a label is the strongest background
    /// class. Allocates nothing once `scores` has its size.
    ///
    /// # Panics
    /// Where the embedding is of another dimension than the rows.
    pub fn score(&self, image: &Embedding, scores: &mut Scores) {
        self.check(image);
        let Scores { labels, rivals } = scores;
        labels.clear();
        rivals.clear();
        let mut against = Strength::NONE;
        for class in &self.classes {
            let logit = class.logit(image);
            if class.is_background() {
                against = against.and(Strength::of(logit));
            } else {
                labels.push(logit);
            }
        }
        let all = labels.iter().fold(against, |all, logit| all.and(Strength::of(*logit)));
        rivals.resize(labels.len(), all.share(against.largest));
        for value in labels {
            *value = all.share(*value);
        }
    }

    /// The scores of one picture, best first; equal ones keep the classes' order. There are no words, so there
    /// is no cosine.
    ///
    /// # Panics
    /// As [`LinearHead::score`].
    #[must_use]
    pub fn ranked(&self, image: &Embedding) -> Vec<Score<'_>> {
        let mut scores = Scores::default();
        self.score(image, &mut scores);
        let rows = self.labels().zip(scores.labels);
        let mut rows: Vec<Score<'_>> =
            rows.map(|(class, score)| Score { label: &class.name, score, cosine: None }).collect();
        rows.sort_by(|a, b| b.score.total_cmp(&a.score));
        rows
    }

    fn check(&self, image: &Embedding) {
        assert_eq!(
            image.dim(),
            self.embedding_dim,
            "a head is of one model, whose dimension it has"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, weights: [f32; 2], bias: f32) -> LinearClass {
        LinearClass { name: name.to_owned(), weights: weights.into(), bias }
    }

    fn east() -> Embedding {
        Embedding::normalised(&[1.0, 0.0]).unwrap()
    }

    /// Logits 1, 0 and -1: softmax gives 0.6652, 0.2447 and 0.0900.
    #[test]
    fn scores_are_the_softmax_of_weights_and_bias() {
        let classes = vec![class("a", [0.5, 9.0], -1.5), class("b", [2.0, 0.0], -2.0)];
        let classes = [classes, vec![class("c", [0.5, -3.0], 0.5)]].concat();
        let head = LinearHead::new(classes).unwrap();
        let mut scores = Scores::default();
        head.score(&east(), &mut scores);
        let wanted = [0.0900, 0.2447, 0.6652];
        assert!(scores.labels.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{scores:?}");
        assert_eq!(scores.rivals, [0.0; 3]);
        assert_eq!(scores.labels, head.probabilities(&east()));
        let names: Vec<&str> = head.ranked(&east()).iter().map(|score| score.label).collect();
        assert_eq!(names, ["c", "b", "a"]);
        assert!(head.ranked(&east()).iter().all(|score| score.cosine.is_none()));
    }

    #[test]
    fn a_background_class_takes_part_and_is_not_shown() {
        let classes = [("a", 1.0), ("Background", 0.0), ("b", -1.0), ("none", -50.0)];
        let classes = classes.map(|(name, bias)| class(name, [0.0, 0.0], bias));
        let head = LinearHead::new(classes.to_vec()).unwrap();
        let names: Vec<&str> = head.labels().map(|class| class.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let mut scores = Scores::default();
        head.score(&east(), &mut scores);
        let near = |a: f32, b: f32| (a - b).abs() < 1e-4;
        assert!(near(scores.labels[0], 0.6652) && near(scores.labels[1], 0.0900), "{scores:?}");
        assert!(scores.rivals.iter().all(|rival| near(*rival, 0.2447)), "{scores:?}");
        assert_eq!(head.probabilities(&east()).len(), 4);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let classes = vec![class("a", [60000.0, 0.0], 0.0), class("b", [-60000.0, 0.0], 0.0)];
        let head = LinearHead::new(classes).unwrap();
        assert_eq!(head.probabilities(&east()), [1.0, 0.0]);
        assert_eq!(
            head.classes()[0].weights[0].to_bits(),
            f16::from_f32(60000.0).to_f32().to_bits()
        );
    }

    #[test]
    fn classes_that_make_no_head_are_refused() {
        let odd = LinearClass { weights: [1.0].into(), ..class("b", [0.0; 2], 0.0) };
        let table = [
            (vec![], LinearHeadError::NoClasses),
            (vec![class("none", [0.0; 2], 0.0)], LinearHeadError::NoClasses),
            (vec![class("a", [0.0; 2], 0.0), odd], LinearHeadError::Sizes { found: 1, wanted: 2 }),
            (vec![class("a", [0.0, f32::NAN], 0.0)], LinearHeadError::NotFinite { class: 1 }),
            (vec![class("a", [0.0, 70000.0], 0.0)], LinearHeadError::NotFinite { class: 1 }),
            (vec![class("a", [0.0; 2], f32::INFINITY)], LinearHeadError::NotFinite { class: 1 }),
        ];
        for (classes, wanted) in table {
            assert_eq!(LinearHead::new(classes), Err(wanted));
        }
    }
}
