//! Multinomial logistic regression: the objective, and its minimum for one strength of regularisation.

use std::ops::Range;
use std::thread;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::lbfgs::{Limits, minimise};

/// Most steps, as in Radford et al. 2021, appendix A.3.
const STEPS_MAX: usize = 1000;

/// A gradient of the mean loss with no value above this counts as 0. scikit-learn stops at 1e-4.
const GRADIENT_MAX: f64 = 1e-6;

/// The examples are summed up in so many parts, whatever the number of cores: sums have the same bits anywhere.
const PARTS: usize = 8;

/// Examples whose logits are held at a time.
const BLOCK: usize = 256;

/// Multiplications of one evaluation from which on threads are worth their start.
const THREADS_FROM: usize = 2_000_000;

/// Examples as the objective wants them.
pub(super) struct Table {
    /// `[examples, embedding_dim + 1]`: the last column is 1, so that the bias is a weight as the others are.
    rows: Array2<f64>,
    /// Each example's class.
    classes: Vec<usize>,
    /// Number of classes.
    count: usize,
}

/// Weights and bias.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    /// `[classes, embedding_dim + 1]`, row after row, the bias last in each.
    pub(super) values: Vec<f64>,
    /// Whether they are at the minimum, and not just as far as the steps went.
    pub(super) converged: bool,
}

impl Table {
    /// A table of embeddings `[embedding_dim]`, each with its class, of `count` classes.
    pub(super) fn new<'a>(
        count: usize,
        dim: usize,
        examples: impl ExactSizeIterator<Item = (&'a [f32], usize)>,
    ) -> Self {
        let mut rows = Array2::ones((examples.len(), dim + 1));
        let mut classes = Vec::with_capacity(examples.len());
        for (mut row, (values, class)) in rows.outer_iter_mut().zip(examples) {
            row.iter_mut().zip(values).for_each(|(to, value)| *to = f64::from(*value));
            classes.push(class);
        }
        Self { rows, classes, count }
    }

    /// Weights that are all 0.
    pub(super) fn zeros(&self) -> Weights {
        Weights { values: vec![0.0; self.count * self.rows.ncols()], converged: false }
    }

    /// The minimum of [`Table::objective`], sought from `start`.
    pub(super) fn fit(&self, l2: f64, start: &Weights) -> Weights {
        let limits = Limits { steps_max: STEPS_MAX, gradient_max: GRADIENT_MAX };
        let objective = |weights: &[f64], gradient: &mut [f64]| {
            let mut gradient = self.matrix_mut(gradient);
            self.objective(l2, &self.matrix(weights), &mut gradient)
        };
        let found = minimise(start.values.clone(), limits, objective);
        Weights { values: found.at, converged: found.converged }
    }

    /// The mean cross-entropy, and the share of examples whose class has the highest logit.
    pub(super) fn judge(&self, weights: &Weights) -> (f64, f64) {
        let (mut loss, mut right) = (0.0, 0);
        let matrix = self.matrix(&weights.values);
        for (row, class) in self.rows.outer_iter().zip(&self.classes) {
            let logits = matrix.dot(&row);
            let best = logits.iter().enumerate().reduce(|a, b| if b.1 > a.1 { b } else { a });
            right += usize::from(best.is_some_and(|(best, _)| best == *class));
            let largest = logits.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
            loss += largest + sum.ln() - logits[*class];
        }
        let examples = self.classes.len() as f64;
        (loss / examples, right as f64 / examples)
    }

    /// `(sum of the cross-entropies + l2 / 2 * sum of the squared weights) / examples`, the bias left out of
    /// the squares, and its gradient. What scikit-learn's `LogisticRegression(C = 1 / l2)` minimises, divided by the
    /// examples so that one limit of the gradient fits all sizes.
    fn objective(
        &self,
        l2: f64,
        weights: &ArrayView2<'_, f64>,
        gradient: &mut ArrayViewMut2<'_, f64>,
    ) -> f64 {
        let (examples, width) = self.rows.dim();
        let bounds: Vec<usize> = (0..=PARTS).map(|part| part * examples / PARTS).collect();
        let of_part = |bounds: &[usize]| self.loss(weights, bounds[0]..bounds[1]);
        let parts: Vec<(f64, Array2<f64>)> = if examples * width * self.count < THREADS_FROM {
            bounds.windows(2).map(of_part).collect()
        } else {
            thread::scope(|scope| {
                let windows = bounds.windows(2);
                let threads: Vec<_> =
                    windows.map(|bounds| scope.spawn(move || of_part(bounds))).collect();
                let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
                joined.map(|part| part.unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
            })
        };
        let mut value = 0.0;
        gradient.fill(0.0);
        for (loss, part) in parts {
            value += loss;
            *gradient += &part;
        }
        let own = weights.slice(s![.., ..width - 1]);
        value += l2 / 2.0 * own.iter().map(|weight| weight * weight).sum::<f64>();
        gradient.slice_mut(s![.., ..width - 1]).scaled_add(l2, &own);
        *gradient /= examples as f64;
        value / examples as f64
    }

    /// The sum of some examples' cross-entropies, and its gradient: `(softmax(X W') - Y)' X`.
    fn loss(&self, weights: &ArrayView2<'_, f64>, examples: Range<usize>) -> (f64, Array2<f64>) {
        let rows = self.rows.slice(s![examples.clone(), ..]);
        let mut gradient = Array2::zeros(weights.dim());
        let mut value = 0.0;
        let classes = self.classes[examples].chunks(BLOCK);
        for (rows, classes) in rows.axis_chunks_iter(Axis(0), BLOCK).zip(classes) {
            let mut logits = rows.dot(&weights.t());
            for (mut logits, class) in logits.outer_iter_mut().zip(classes) {
                let largest = logits.fold(f64::NEG_INFINITY, |a, b| a.max(*b));
                let own = logits[*class] - largest;
                logits.mapv_inplace(|logit| (logit - largest).exp());
                let sum = logits.sum();
                value += sum.ln() - own;
                logits /= sum;
                logits[*class] -= 1.0;
            }
            general_mat_mul(1.0, &logits.t(), &rows, 1.0, &mut gradient);
        }
        (value, gradient)
    }

    fn matrix<'a>(&self, values: &'a [f64]) -> ArrayView2<'a, f64> {
        ArrayView2::from_shape((self.count, self.rows.ncols()), values)
            .expect("a table's weights have its shape")
    }

    fn matrix_mut<'a>(&self, values: &'a mut [f64]) -> ArrayViewMut2<'a, f64> {
        ArrayViewMut2::from_shape((self.count, self.rows.ncols()), values)
            .expect("a table's weights have its shape")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random, -1..1.
    fn noise(seed: u64) -> impl FnMut() -> f32 {
        let mut state = seed;
        move || {
            // Knuth's MMIX constants.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        }
    }

    /// Clouds around corners of a cube, `spread` wide.
    fn clouds(count: usize, each: usize, spread: f32) -> Table {
        const DIM: usize = 6;
        let mut next = noise(7);
        let rows: Vec<([f32; DIM], usize)> = (0..count * each)
            .map(|at| {
                let class = at % count;
                let mut row = [(); DIM].map(|()| spread * next());
                row[class] += 1.0;
                (row, class)
            })
            .collect();
        Table::new(count, DIM, rows.iter().map(|(row, class)| (row.as_slice(), *class)))
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_objective() {
        let table = clouds(3, 100, 1.0);
        let mut next = noise(3);
        let weights: Vec<f64> = table.zeros().values.iter().map(|_| f64::from(next())).collect();
        let value = |weights: &[f64]| {
            let mut gradient = vec![0.0; weights.len()];
            let matrix = &mut table.matrix_mut(&mut gradient);
            (table.objective(0.5, &table.matrix(weights), matrix), gradient)
        };
        let (_, gradient) = value(&weights);
        for at in 0..weights.len() {
            let near = |by: f64| {
                let mut near = weights.clone();
                near[at] += by;
                value(&near).0
            };
            let slope = (near(1e-5) - near(-1e-5)) / 2e-5;
            assert!((slope - gradient[at]).abs() < 1e-8, "{at}: {slope} {}", gradient[at]);
        }
    }

    /// Two classes at -1 and 1 on a line, 50 examples each. By symmetry the weights are -w and w, the biases 0, and
    /// where the slope is 0, `l2 w = 100 / (1 + e^2w)`; for l2 = 1 Newton's method gives this w.
    #[test]
    fn the_minimum_is_where_it_is_by_hand() {
        const W: f64 = 1.956_997;
        let rows: Vec<([f32; 1], usize)> =
            (0..100).map(|at| if at % 2 == 0 { ([-1.0], 0) } else { ([1.0], 1) }).collect();
        let table = Table::new(2, 1, rows.iter().map(|(row, class)| (row.as_slice(), *class)));
        let found = table.fit(1.0, &table.zeros());
        let wanted = [-W, 0.0, W, 0.0];
        let near = found.values.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(found.converged && near, "{found:?}");
    }

    #[test]
    fn clouds_apart_are_told_apart_and_clouds_that_overlap_mostly() {
        for (spread, least, most) in [(0.3, 1.0, 1.0), (1.5, 0.5, 0.9)] {
            let table = clouds(4, 200, spread);
            let found = table.fit(1.0, &table.zeros());
            let (_, accuracy) = table.judge(&found);
            assert!(found.converged && (least..=most).contains(&accuracy), "{spread}: {accuracy}");
        }
    }

    /// Enough examples for threads; a start elsewhere ends at the same place.
    #[test]
    fn the_minimum_is_one_and_has_the_same_bits_each_time() {
        let table = clouds(6, 10_000, 1.0);
        const { assert!(60_000 * 7 * 6 >= THREADS_FROM) };
        let first = table.fit(10.0, &table.zeros());
        assert_eq!(first.values, table.fit(10.0, &table.zeros()).values);
        let elsewhere = table.fit(10.0, &table.fit(1000.0, &table.zeros()));
        let off = first.values.iter().zip(&elsewhere.values).map(|(a, b)| (a - b).abs());
        assert!(first.converged && elsewhere.converged && off.fold(0.0, f64::max) < 1e-3);
    }
}
