//! How often each label was taken for each.

/// Counts of pictures by their true label and the label that they got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    labels: usize,
    /// `[labels, labels]`: a row for each true label.
    counts: Vec<u32>,
}

impl Confusion {
    pub(super) fn new(labels: usize) -> Self {
        Self { labels, counts: vec![0; labels * labels] }
    }

    pub(super) fn add(&mut self, truth: usize, given: usize) {
        self.counts[truth * self.labels + given] += 1;
    }

    /// Number of labels.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// Pictures of the label `truth` that got the label `given`.
    ///
    /// # Panics
    /// Where there is no such label.
    #[must_use]
    pub fn count(&self, truth: usize, given: usize) -> u32 {
        self.row(truth)[given]
    }

    /// What the pictures of a label got, `[labels]`.
    ///
    /// # Panics
    /// Where there is no such label.
    #[must_use]
    pub fn row(&self, truth: usize) -> &[u32] {
        &self.counts[truth * self.labels..][..self.labels]
    }

    /// Pictures of a label.
    ///
    /// # Panics
    /// Where there is no such label.
    #[must_use]
    pub fn pictures(&self, truth: usize) -> u32 {
        self.row(truth).iter().sum()
    }

    /// Share of a label's pictures that got it, 0..1; none where it has no pictures.
    ///
    /// # Panics
    /// Where there is no such label.
    #[must_use]
    pub fn recall(&self, label: usize) -> Option<f64> {
        share(self.count(label, label), self.pictures(label))
    }

    /// Share of the pictures that got a label and are of it, 0..1; none where no picture got it.
    ///
    /// # Panics
    /// Where there is no such label.
    #[must_use]
    pub fn precision(&self, label: usize) -> Option<f64> {
        let given = (0..self.labels).map(|truth| self.count(truth, label)).sum();
        share(self.count(label, label), given)
    }

    /// Mean of the recalls of the labels that have pictures, 0..1: the accuracy where each label counts the same
    /// however many pictures it has (mean per class accuracy, Radford et al. 2021, table 9); none without pictures.
    #[must_use]
    pub fn mean_recall(&self) -> Option<f64> {
        let recalls: Vec<f64> = (0..self.labels).filter_map(|label| self.recall(label)).collect();
        (!recalls.is_empty()).then(|| recalls.iter().sum::<f64>() / recalls.len() as f64)
    }

    /// Labels that were taken for another: the true one, the other, and the share of the true one's pictures, most first.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(usize, usize, f64)> {
        let mut mistakes = Vec::new();
        for truth in 0..self.labels {
            let pictures = self.pictures(truth);
            let row = self.row(truth).iter().enumerate();
            let wrong = row.filter(|(given, count)| *given != truth && **count > 0);
            let wrong = wrong.filter_map(|(given, count)| Some((given, share(*count, pictures)?)));
            mistakes.extend(wrong.map(|(given, share)| (truth, given, share)));
        }
        mistakes.sort_by(|a, b| b.2.total_cmp(&a.2));
        mistakes
    }
}

fn share(part: u32, of: u32) -> Option<f64> {
    (of > 0).then(|| f64::from(part) / f64::from(of))
}

#[cfg(test)]
mod tests {
    use crate::eval::tests::evaluation;

    /// By hand: cat is found 2 times of 3, dog 1 of 2; cat is given twice, dog twice, sea once.
    #[test]
    fn shares_follow_from_the_counts() {
        let confusion = evaluation().confusion();
        assert_eq!([0, 1, 2].map(|truth| confusion.row(truth)), [[2, 1, 0], [0, 1, 1], [0, 0, 0]]);
        assert_eq!([0, 1, 2].map(|label| confusion.pictures(label)), [3, 2, 0]);
        let recalls = [0, 1, 2].map(|label| confusion.recall(label));
        assert_eq!(recalls, [Some(2.0 / 3.0), Some(0.5), None]);
        let precisions = [0, 1, 2].map(|label| confusion.precision(label));
        assert_eq!(precisions, [Some(1.0), Some(0.5), Some(0.0)]);
        assert_eq!(confusion.mean_recall(), Some(f64::midpoint(2.0 / 3.0, 0.5)));
        assert_eq!(confusion.mistakes(), [(1, 2, 0.5), (0, 1, 1.0 / 3.0)]);
    }
}
