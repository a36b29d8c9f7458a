//! From which score on a label is best taken as there.

/// A threshold, and what it would have done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// A label counts as there from this score on, 0..1: what a labels file calls `enter`.
    pub enter: f32,
    /// Harmonic mean of precision and recall at it, 0..1.
    pub f1: f64,
}

/// Decimals that are tried for a short threshold: as many as the smallest float has before its first digit.
const DECIMALS_MAX: i32 = 45;

/// The threshold that maximises F1 of one label against all others, `2 tp / (2 tp + fp + fn)`, over pictures as
/// (score 0..1, whether the label is true). Between the last score that it accepts and the next one it takes a round
/// number near the middle; of equally good ones the highest, which alarms least. None where the label is never true.
pub fn best_threshold(pictures: impl IntoIterator<Item = (f32, bool)>) -> Option<Threshold> {
    let mut pictures: Vec<(f32, bool)> = pictures.into_iter().collect();
    pictures.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = pictures.iter().filter(|(_, is_true)| *is_true).count();
    let (mut right, mut best): (usize, Option<Threshold>) = (0, None);
    for (index, (score, is_true)) in pictures.iter().enumerate() {
        right += usize::from(*is_true);
        let next = pictures.get(index + 1).map_or(0.0, |next| next.0);
        // Equal scores are accepted together.
        if index + 1 < pictures.len() && next.total_cmp(score).is_eq() {
            continue;
        }
        // 2 tp + fp + fn = (tp + fp) + (tp + fn).
        let f1 = 2.0 * right as f64 / (index + 1 + positives) as f64;
        if right > 0 && best.is_none_or(|best| f1 > best.f1) {
            best = Some(Threshold { enter: between(next, *score), f1 });
        }
    }
    best
}

/// The shortest decimal in the middle half between `low` and `high`; `high` where they are as good as one.
fn between(low: f32, high: f32) -> f32 {
    let (middle, margin) = (f64::midpoint(low.into(), high.into()), f64::from(high - low) / 4.0);
    let rounded = (1..=DECIMALS_MAX).map(|decimals| {
        let unit = 10_f64.powi(decimals);
        (middle * unit).round() / unit
    });
    let mut fitting = rounded.filter(|value| (value - middle).abs() <= margin);
    let found = fitting.next().map_or(high, |value| value as f32);
    if found > low { found } else { high }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::eval::tests::evaluation;

    /// By hand. Cat: 0.7 y, 0.5 y, 0.3 y, 0.2 n, 0.1 n: all three from 0.3 on. Dog: 0.8 y, 0.6 n, 0.4 n, 0.2 n, 0.1 y:
    /// the first alone gives 2/3, all five 4/7.
    #[test]
    fn the_best_f1_is_found() {
        let found = evaluation().thresholds();
        assert_eq!(found[0], Some(Threshold { enter: 0.25, f1: 1.0 }));
        assert_eq!(found[1], Some(Threshold { enter: 0.7, f1: 2.0 / 3.0 }));
        assert_eq!(found[2], None, "no picture of it");
    }

    #[test]
    fn equal_scores_stay_together() {
        let found = best_threshold([(0.5, true), (0.5, false), (0.5, true)]).unwrap();
        assert_eq!(found, Threshold { enter: 0.3, f1: 0.8 });
    }

    #[test]
    fn a_threshold_lies_between_its_scores() {
        let below_one = f32::from_bits(1.0_f32.to_bits() - 1);
        let table: [(f32, f32, f32); 8] = [
            (0.1, 0.9, 0.5),
            (0.31, 0.36, 0.34),
            (0.2, 0.3, 0.25),
            (0.0, 0.2, 0.1),
            (below_one, 1.0, 1.0),
            (0.0, 0.0, 0.0),
            (0.0, 1.234_567_8e-15, 6e-16),
            (1.234_567_8e-7, 1.334_567_8e-7, 1.3e-7),
        ];
        for (low, high, wanted) in table {
            assert_eq!(between(low, high).to_bits(), wanted.to_bits(), "{low:?} {high:?}");
        }
    }

    proptest! {
        /// No other threshold does better, and the one found does what it says.
        #[test]
        fn nothing_beats_it(pictures in prop::collection::vec((0.0_f32..=1.0, any::<bool>()), 1..40)) {
            let f1 = |enter: f32| {
                let count = |of: fn(bool, bool) -> bool| pictures.iter().filter(|(score, is)| of(*score >= enter, *is)).count() as f64;
                2.0 * count(|taken, is| taken && is) / (count(|taken, _| taken) + count(|_, is| is)).max(1.0)
            };
            match best_threshold(pictures.iter().copied()) {
                None => prop_assert!(pictures.iter().all(|(_, is_true)| !is_true)),
                Some(best) => {
                    prop_assert!((f1(best.enter) - best.f1).abs() < 1e-12);
                    let printed = format!("{:?}", best.enter);
                    prop_assert_eq!(printed.parse(), Ok(best.enter));
                    prop_assert!(printed.len() <= 15, "{}", printed);
                    prop_assert!(pictures.iter().all(|(score, _)| f1(*score) <= best.f1 + 1e-12));
                }
            }
        }
    }
}
