//! Either kind of head, for those who only want scores.

use super::{LinearHead, Mode, Score, Scores, ZeroShotHead};
use crate::embedding::Embedding;

/// What turns an image's embedding into scores.
#[derive(Clone, Debug)]
pub enum Head {
    /// Labels are words.
    ZeroShot(ZeroShotHead),
    /// Labels were trained.
    Linear(LinearHead),
}

impl Head {
    /// Number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::ZeroShot(head) => head.names().len(),
            Self::Linear(head) => head.labels().len(),
        }
    }

    /// Whether there are no labels.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A label's name, by its place.
    #[must_use]
    pub fn name(&self, label: usize) -> Option<&str> {
        match self {
            Self::ZeroShot(head) => head.names().nth(label),
            Self::Linear(head) => head.labels().nth(label).map(|class| class.name.as_str()),
        }
    }

    /// The labels' names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|label| self.name(label))
    }

    /// Whether labels exclude each other; those that were trained do.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self {
            Self::ZeroShot(head) => head.mode(),
            Self::Linear(_) => Mode::OneOf,
        }
    }

    /// The scores of one picture, written over `scores`. Allocates nothing once `scores` has its size.
    ///
    /// # Panics
    /// Where the embedding is of another dimension than the head.
    pub fn score(&self, image: &Embedding, scores: &mut Scores) {
        match self {
            Self::ZeroShot(head) => head.score(image, scores),
            Self::Linear(head) => head.score(image, scores),
        }
    }

    /// The scores of one picture, best first; equal ones keep the labels' order.
    ///
    /// # Panics
    /// As [`Head::score`].
    #[must_use]
    pub fn ranked(&self, image: &Embedding) -> Vec<Score<'_>> {
        match self {
            Self::ZeroShot(head) => head.ranked(image),
            Self::Linear(head) => head.ranked(image),
        }
    }
}
