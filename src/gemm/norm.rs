//! Layer normalisation over the last axis (Ba et al. 2016, arXiv:1607.06450).

use super::floats::{reduce, sum};
use super::kernels::vectorised;

/// A layer norm's constants.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    gain: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    /// `gain` and `bias` are `[width]`; `epsilon` is added to the variance.
    ///
    /// # Panics
    /// Where the two differ in length.
    #[must_use]
    pub fn new(gain: Vec<f32>, bias: Vec<f32>, epsilon: f32) -> Self {
        assert_eq!(gain.len(), bias.len(), "one width");
        Self { gain, bias, epsilon }
    }

    /// Values of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.gain.len()
    }

    /// `[width]`
    #[must_use]
    pub fn gain(&self) -> &[f32] {
        &self.gain
    }

    /// `[width]`
    #[must_use]
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// What is added to the variance.
    #[must_use]
    pub fn epsilon(&self) -> f32 {
        self.epsilon
    }

    /// `(row - mean) / sqrt(variance + epsilon) * gain + bias`, into `out`.
    ///
    /// # Panics
    /// Where a length is not the width.
    pub fn apply(&self, row: &[f32], out: &mut [f32]) {
        assert!(row.len() == self.width() && out.len() == self.width(), "rows of the norm's width");
        let width = row.len() as f32;
        let mean = sum(row) / width;
        let variance = squared_distance(row, mean) / width;
        rescale(row, mean, 1.0 / (variance + self.epsilon).sqrt(), &self.gain, &self.bias, out);
    }
}

vectorised! {
    /// The sum of `(value - mean)^2`.
    fn squared_distance(row: &[f32], mean: f32) -> f32 {
        reduce(row, |sum, value| (value - mean).mul_add(value - mean, sum))
    }
}

vectorised! {
    fn rescale(row: &[f32], mean: f32, inverse: f32, gain: &[f32], bias: &[f32], out: &mut [f32]) {
        let constants = gain.iter().zip(bias);
        for (out, (value, (gain, bias))) in out.iter_mut().zip(row.iter().zip(constants)) {
            *out = ((value - mean) * inverse).mul_add(*gain, *bias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gets_its_mean_and_deviation() {
        for width in [1, 7, 16, 50, 768] {
            let row: Vec<f32> = (0..width).map(|at| (at * 37 % 101) as f32 - 20.0).collect();
            let gain: Vec<f32> = (0..width).map(|at| 1.0 + at as f32 / 1000.0).collect();
            let norm = LayerNorm::new(gain.clone(), vec![0.5; width], 1e-5);
            let mut out = vec![0.0; width];
            norm.apply(&row, &mut out);
            let wide: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
            let mean = wide.iter().sum::<f64>() / width as f64;
            let variance = wide.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
            for ((out, value), gain) in out.iter().zip(wide).zip(gain) {
                let exact = (value - mean) / (variance + 1e-5).sqrt() * f64::from(gain) + 0.5;
                assert!((f64::from(*out) - exact).abs() < 1e-5, "{out}, not {exact}");
            }
        }
    }
}
