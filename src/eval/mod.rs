//! How well a head tells pictures apart whose truth is known: accuracy, confusion, calibration, thresholds.
//!
//! Knows nothing of models: an [`Evaluation`] takes the scores of any head, picture by picture, and everything
//! else follows from it.

mod calibration;
mod chart;
mod confusion;
mod threshold;

use std::cmp::Ordering;

pub use calibration::{BINS, Bin, Calibration};
pub use chart::{confusion_svg, reliability_svg};
pub use confusion::Confusion;
pub use threshold::{Threshold, best_threshold};

/// What a head says of pictures whose true label is known.
#[derive(Clone, Debug)]
pub struct Evaluation {
    labels: Vec<String>,
    /// Index of the true label of each picture.
    truth: Vec<usize>,
    /// What labels are ranked by, `[pictures, labels]`.
    order: Vec<f32>,
    /// Probabilities, `[pictures, labels]`.
    scores: Vec<f32>,
}

impl Evaluation {
    /// An evaluation over these labels, of no picture yet.
    #[must_use]
    pub fn new(labels: Vec<String>) -> Self {
        Self { labels, truth: Vec::new(), order: Vec::new(), scores: Vec::new() }
    }

    /// Adds one picture. `order` is what its labels are ranked by, cosines or logits: probabilities round to the same
    /// number far behind the best. `scores` are the probabilities, 0..1. Both are `[labels]`.
    ///
    /// # Panics
    /// Where the lengths are not the number of labels, or `truth` is no label.
    pub fn push(&mut self, truth: usize, order: &[f32], scores: &[f32]) {
        let labels = self.labels.len();
        assert!(truth < labels, "the truth is one of the labels");
        assert_eq!((order.len(), scores.len()), (labels, labels), "one value for each label");
        self.truth.push(truth);
        self.order.extend_from_slice(order);
        self.scores.extend_from_slice(scores);
    }

    /// The labels, in their order.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Index of the true label of each picture.
    #[must_use]
    pub fn truth(&self) -> &[usize] {
        &self.truth
    }

    /// The probabilities of one picture, `[labels]`.
    ///
    /// # Panics
    /// Where there is no such picture.
    #[must_use]
    pub fn scores(&self, picture: usize) -> &[f32] {
        self.row(&self.scores, picture)
    }

    /// Indices of all labels for one picture, best first; equal ones keep their order.
    ///
    /// # Panics
    /// Where there is no such picture.
    #[must_use]
    pub fn ranked(&self, picture: usize) -> Vec<usize> {
        let order = self.row(&self.order, picture);
        let mut labels: Vec<usize> = (0..order.len()).collect();
        labels.sort_by(|a, b| order[*b].total_cmp(&order[*a]));
        labels
    }

    /// The place of the true label among all, 0 for the best.
    ///
    /// # Panics
    /// Where there is no such picture.
    #[must_use]
    pub fn rank_of_truth(&self, picture: usize) -> usize {
        let (order, truth) = (self.row(&self.order, picture), self.truth[picture]);
        let is_before = |(label, value): (usize, &f32)| match value.total_cmp(&order[truth]) {
            Ordering::Greater => true,
            Ordering::Equal => label < truth,
            Ordering::Less => false,
        };
        order.iter().enumerate().filter(|pair| is_before(*pair)).count()
    }

    /// Share of the pictures whose true label is among the best `places`, 0..1; none where there are no pictures.
    #[must_use]
    pub fn top(&self, places: usize) -> Option<f64> {
        let pictures = self.truth.len();
        let right = (0..pictures).filter(|picture| self.rank_of_truth(*picture) < places).count();
        (pictures > 0).then(|| right as f64 / pictures as f64)
    }

    /// How often each label was taken for each.
    #[must_use]
    pub fn confusion(&self) -> Confusion {
        let mut confusion = Confusion::new(self.labels.len());
        for (picture, truth) in self.truth.iter().enumerate() {
            confusion.add(*truth, self.best(picture));
        }
        confusion
    }

    /// Whether the best label's probability says how often it is right.
    #[must_use]
    pub fn calibration(&self) -> Calibration {
        let mut calibration = Calibration::default();
        for (picture, truth) in self.truth.iter().enumerate() {
            let best = self.best(picture);
            calibration.add(self.scores(picture)[best], best == *truth);
        }
        calibration
    }

    /// The threshold of each label that tells its pictures best from all others; see [`best_threshold`].
    #[must_use]
    pub fn thresholds(&self) -> Vec<Option<Threshold>> {
        let of_label = |label: usize| {
            let pictures = self.truth.iter().enumerate();
            let pairs =
                pictures.map(|(picture, truth)| (self.scores(picture)[label], *truth == label));
            best_threshold(pairs)
        };
        (0..self.labels.len()).map(of_label).collect()
    }

    /// Index of the best label of one picture: the first of [`Self::ranked`].
    fn best(&self, picture: usize) -> usize {
        let order = self.row(&self.order, picture).iter().enumerate();
        // Of equal ones `max_by` takes the last.
        order.rev().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(label, _)| label)
    }

    fn row<'a>(&self, matrix: &'a [f32], picture: usize) -> &'a [f32] {
        let labels = self.labels.len();
        &matrix[picture * labels..][..labels]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five pictures of three labels; of the last label there is none.
    pub(super) fn evaluation() -> Evaluation {
        let mut evaluation = Evaluation::new(["cat", "dog", "sea"].map(String::from).to_vec());
        for (truth, scores) in [
            (0, [0.7, 0.2, 0.1]),
            (0, [0.3, 0.6, 0.1]),
            (1, [0.1, 0.8, 0.1]),
            (1, [0.2, 0.1, 0.7]),
            (0, [0.5, 0.4, 0.1]),
        ] {
            evaluation.push(truth, &scores, &scores);
        }
        evaluation
    }

    #[test]
    fn accuracy_is_counted_by_place() {
        let evaluation = evaluation();
        let top = [1, 2, 3].map(|places| evaluation.top(places));
        assert_eq!(top, [Some(0.6), Some(0.8), Some(1.0)]);
        assert_eq!(evaluation.ranked(3), [2, 0, 1]);
        assert_eq!(evaluation.rank_of_truth(3), 2);
        assert_eq!(Evaluation::new(vec!["cat".to_owned()]).top(1), None);
    }

    #[test]
    fn equal_labels_keep_their_order() {
        let mut evaluation = Evaluation::new(["a", "b", "c"].map(String::from).to_vec());
        for truth in 0..3 {
            evaluation.push(truth, &[0.5; 3], &[1.0; 3]);
        }
        assert_eq!(evaluation.ranked(0), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|picture| evaluation.rank_of_truth(picture)), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|truth| evaluation.confusion().count(truth, 0)), [1, 1, 1]);
    }

    /// Ranked by what is finer than the scores.
    #[test]
    fn the_order_need_not_be_the_scores() {
        let mut evaluation = Evaluation::new(["a", "b"].map(String::from).to_vec());
        evaluation.push(1, &[0.1, 0.2], &[1.0, 1.0]);
        assert_eq!((evaluation.top(1), evaluation.ranked(0)), (Some(1.0), vec![1, 0]));
    }
}
