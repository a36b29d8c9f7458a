//! Whether a probability says how often it is right.

/// Bins that confidence is sorted into, of one width, as Guo et al. 2017 do.
pub const BINS: usize = 15;

/// Pictures by the probability of their best label, and how often it was right (a reliability diagram:
/// Guo et al. 2017, "On Calibration of Modern Neural Networks", section 2, <https://arxiv.org/abs/1706.04599>).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    bins: [Bin; BINS],
}

/// The pictures whose best label has a probability in one part of 0..1: above the lower bound, up to the upper one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bin {
    /// How many they are.
    pub pictures: u32,
    right: u32,
    /// Sum of the probabilities.
    confidence: f64,
}

impl Bin {
    /// Share of the pictures whose best label is right, 0..1; none in an empty bin.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        (self.pictures > 0).then(|| f64::from(self.right) / f64::from(self.pictures))
    }

    /// Mean probability of the best label, 0..1; none in an empty bin.
    #[must_use]
    pub fn confidence(&self) -> Option<f64> {
        (self.pictures > 0).then(|| self.confidence / f64::from(self.pictures))
    }
}

impl Calibration {
    /// Adds a picture whose best label has this probability.
    pub(super) fn add(&mut self, confidence: f32, is_right: bool) {
        let confidence = f64::from(confidence);
        let index = (confidence * BINS as f64).ceil() as usize;
        let bin = &mut self.bins[index.clamp(1, BINS) - 1];
        bin.pictures += 1;
        bin.right += u32::from(is_right);
        bin.confidence += confidence;
    }

    /// The bins, from the lowest probability.
    #[must_use]
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// Expected calibration error, 0..1: the mean over all pictures of |accuracy - confidence| of their bin (the same,
    /// equation 3); none without pictures.
    #[must_use]
    pub fn error(&self) -> Option<f64> {
        let pictures: u32 = self.bins.iter().map(|bin| bin.pictures).sum();
        let gap = |bin: &Bin| (f64::from(bin.right) - bin.confidence).abs();
        let gaps: f64 = self.bins.iter().map(gap).sum();
        (pictures > 0).then(|| gaps / f64::from(pictures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::evaluation;

    /// By hand: best scores 0.7 right, 0.6 wrong, 0.8 right, 0.7 wrong, 0.5 right. Bins of 1/15: 0.7 is in the 11th,
    /// 0.6 in the 9th or 10th (0.6 as f32 lies above 9/15), 0.8 in the 13th, 0.5 in the 8th.
    #[test]
    fn the_error_is_the_mean_gap() {
        let calibration = evaluation().calibration();
        let filled: Vec<_> =
            calibration.bins().iter().enumerate().filter(|(_, bin)| bin.pictures > 0).collect();
        assert_eq!(
            filled.iter().map(|(at, bin)| (*at, bin.pictures)).collect::<Vec<_>>(),
            [(7, 1), (9, 1), (10, 2), (12, 1)]
        );
        assert_eq!(filled[2].1.accuracy(), Some(0.5));
        assert!((filled[2].1.confidence().unwrap() - 0.7).abs() < 1e-6);
        let expected = (0.5 + 0.6 + 0.2 * 2.0 + 0.2) / 5.0;
        assert!((calibration.error().unwrap() - expected).abs() < 1e-6);
    }

    #[test]
    fn the_ends_are_in_the_first_and_the_last_bin() {
        let mut calibration = Calibration::default();
        for (confidence, is_right) in [(0.0, false), (1.0, true), (1.0 / 15.0, false)] {
            calibration.add(confidence, is_right);
        }
        // As f32, 1/15 lies a little above it.
        assert_eq!([0, 1, 14].map(|at| calibration.bins()[at].pictures), [1, 1, 1]);
        assert_eq!(Calibration::default().error(), None);
    }
}
