//! Float work around the products, written for any vector width: quantisation and activations.
//!
//! `mul_add` is one rounding everywhere (a slow call where a CPU has none), and sums have a fixed
//! order, so that every CPU gives the same bits.
#![expect(clippy::inline_always, reason = "what is not inlined is compiled for narrow vectors")]

use serde::{Deserialize, Serialize};

use super::kernels::vectorised;

/// 1.5 * 2^23: added to a small float, it leaves the nearest integer (ties to even) in the low bits.
const ROUNDING: f32 = 12_582_912.0;
const MAGNITUDE: u32 = 0x7fff_ffff;

vectorised! {
    /// The largest magnitude of a row; infinite or NaN where one of the values is.
    pub(super) fn largest_magnitude(values: &[f32]) -> f32 {
        // As integers: their order is that of the magnitudes, with infinity and NaN on top.
        let largest = values.iter().fold(0, |largest: u32, value| largest.max(value.to_bits() & MAGNITUDE));
        f32::from_bits(largest)
    }
}

/// Quantises a row by its largest magnitude, to int8 in -127..=127; returns the scale, which is NaN
/// where the magnitude is not finite.
pub(super) fn to_int8(values: &[f32], largest: f32, into: &mut [i8]) -> f32 {
    if largest == 0.0 || !largest.is_finite() {
        into.fill(0);
        return if largest == 0.0 { 0.0 } else { f32::NAN };
    }
    // Below some 4e-37 there is no finite inverse; such a row is zero for all that a product can tell.
    let inverse = 127.0 / largest;
    if !inverse.is_finite() {
        into.fill(0);
        return 0.0;
    }
    round(values, inverse, into);
    largest / 127.0
}

vectorised! {
    fn round(values: &[f32], inverse: f32, into: &mut [i8]) {
        for (value, byte) in values.iter().zip(into) {
            *byte = (value * inverse + ROUNDING).to_bits().cast_signed() as i8;
        }
    }
}

/// Partial sums of a row: the width of the widest vectors, and the order of a sum on every CPU.
pub(super) const LANES: usize = 16;

/// The sum of what `add` makes of each value and its partial sum; value `i` goes to sum `i % LANES`.
#[inline(always)]
pub(super) fn reduce(row: &[f32], add: impl Fn(f32, f32) -> f32) -> f32 {
    fold(row, 0.0, add, |a, b| a + b)
}

/// Folds each value into partial result `i % LANES`, and these into one.
#[inline(always)]
fn fold(
    row: &[f32],
    start: f32,
    step: impl Fn(f32, f32) -> f32,
    join: impl Fn(f32, f32) -> f32,
) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut parts = [start; LANES];
    for chunk in chunks {
        for (part, value) in parts.iter_mut().zip(chunk) {
            *part = step(*part, *value);
        }
    }
    for (part, value) in parts.iter_mut().zip(rest) {
        *part = step(*part, *value);
    }
    // In halves of constant size, which stay vectors.
    let parts: [f32; 8] = std::array::from_fn(|at| join(parts[at], parts[at + 8]));
    let parts: [f32; 4] = std::array::from_fn(|at| join(parts[at], parts[at + 4]));
    let parts: [f32; 2] = std::array::from_fn(|at| join(parts[at], parts[at + 2]));
    join(parts[0], parts[1])
}

vectorised! {
    /// The sum of a row.
    pub(super) fn sum(row: &[f32]) -> f32 {
        reduce(row, |sum, value| sum + value)
    }
}

/// Turns logits into weights that sum to 1: `exp(x) / sum of exp(x)`.
pub(super) fn softmax(logits: &mut [f32]) {
    exponentials(logits, largest(logits));
    multiply(logits, 1.0 / sum(logits));
}

vectorised! {
    /// The largest value; NaN counts for nothing.
    fn largest(values: &[f32]) -> f32 {
        fold(values, f32::NEG_INFINITY, |largest, value| if value > largest { value } else { largest }, f32::max)
    }
}

vectorised! {
    fn exponentials(logits: &mut [f32], largest: f32) {
        for value in logits {
            *value = exp(*value - largest);
        }
    }
}

vectorised! {
    fn multiply(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }
}

/// What an epilogue applies to a product with its bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x`
    None,
    /// `max(x, 0)`
    Relu,
    /// `x * sigmoid(1.702 x)`, of `OpenAI`'s CLIP, exact to 5e-7 * (1 + |x|).
    QuickGelu,
    /// `x * (1 + erf(x / sqrt(2))) / 2`, exact to 5e-7 * (1 + |x|).
    Gelu,
    /// `x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2`, GELU's tanh form, exact to 5e-7 * (1 + |x|).
    GeluTanh,
}

impl Activation {
    /// Applies the function to each value.
    pub fn apply(self, values: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Relu => each_relu(values),
            Self::QuickGelu => each_quick_gelu(values),
            Self::Gelu => each_gelu(values),
            Self::GeluTanh => each_gelu_tanh(values),
        }
    }

    /// Applies the function to `sum * row_scale * column_scale + bias`, column by column.
    pub(super) fn of_sums(
        self,
        sums: &[i32],
        row_scale: f32,
        columns: [&[f32]; 2],
        out: &mut [f32],
    ) {
        match self {
            Self::None => of_sums_plain(sums, row_scale, columns, out),
            Self::Relu => of_sums_relu(sums, row_scale, columns, out),
            Self::QuickGelu => of_sums_quick_gelu(sums, row_scale, columns, out),
            Self::Gelu => of_sums_gelu(sums, row_scale, columns, out),
            Self::GeluTanh => of_sums_gelu_tanh(sums, row_scale, columns, out),
        }
    }
}

/// Applies a function of one value to a slice, and to a row of scaled sums.
macro_rules! each {
    ($each:ident, $of_sums:ident, $function:expr) => {
        vectorised! {
            fn $each(values: &mut [f32]) {
                for value in values {
                    *value = $function(*value);
                }
            }
        }
        each!($of_sums, $function);
    };
    ($of_sums:ident, $function:expr) => {
        vectorised! {
            fn $of_sums(sums: &[i32], row_scale: f32, columns: [&[f32]; 2], out: &mut [f32]) {
                let columns = columns[0].iter().zip(columns[1]);
                for (out, (sum, (scale, bias))) in out.iter_mut().zip(sums.iter().zip(columns)) {
                    *out = $function((*sum as f32).mul_add(row_scale * scale, *bias));
                }
            }
        }
    };
}
each!(of_sums_plain, std::convert::identity);
each!(each_relu, of_sums_relu, relu);
each!(each_quick_gelu, of_sums_quick_gelu, quick_gelu);
each!(each_gelu, of_sums_gelu, gelu);
each!(each_gelu_tanh, of_sums_gelu_tanh, gelu_tanh);

vectorised! {
    /// Adds the products of values and weights to `out`.
    pub(super) fn add_products(values: &[f32], weights: &[f32], out: &mut [f32]) {
        for (out, (value, weight)) in out.iter_mut().zip(values.iter().zip(weights)) {
            *out = value.mul_add(*weight, *out);
        }
    }
}

vectorised! {
    /// Adds the values to `out`.
    pub(super) fn add(values: &[f32], out: &mut [f32]) {
        for (out, value) in out.iter_mut().zip(values) {
            *out += value;
        }
    }
}

#[inline(always)]
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

#[inline(always)]
fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + exp_of(x, -1.702))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    // (1 + tanh(y)) / 2 is 1 / (1 + exp(-2 y)); 0.797884561 is sqrt(2 / pi).
    let y = 0.797_884_6 * (0.044_715 * x * x).mul_add(x, x);
    x / (1.0 + exp_of(y, -2.0))
}

/// By Abramowitz and Stegun 7.1.26, whose error is at most 1.5e-7.
#[inline(always)]
fn gelu(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / 0.327_591_1_f32.mul_add(z, 1.0);
    let series = 1.061_405_4_f32
        .mul_add(t, -1.453_152)
        .mul_add(t, 1.421_413_7)
        .mul_add(t, -0.284_496_74)
        .mul_add(t, 0.254_829_6);
    // Half of what lies outside of -z..z; Phi(x) is this, or 1 less this.
    let tail = 0.5 * series * t * exp_of(z * z, -1.0);
    x * if x > 0.0 { 1.0 - tail } else { tail }
}

/// e^x to 3e-7 + 2e-8 |x|, relatively, for |x| up to 87; beyond, as at the bound. NaN stays NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x > 87.0 { 87.0 } else { x };
    let x = if x < -87.0 { -87.0 } else { x };
    power(x, std::f32::consts::LOG2_E)
}

/// e^(factor x), as [`exp`] of the product, for those who get NaN from NaN by other means: bounds that
/// keep it are two instructions each on `AArch64`, and fewer than others elsewhere.
#[inline(always)]
fn exp_of(x: f32, factor: f32) -> f32 {
    let bound = (87.0 / factor).abs();
    let x = if cfg!(target_arch = "aarch64") {
        x.min(bound).max(-bound)
    } else {
        let x = if x > bound { bound } else { x };
        if x < -bound { -bound } else { x }
    };
    power(x, factor * std::f32::consts::LOG2_E)
}

/// 2^(factor x), where that is a normal number.
///
/// It is 2^n 2^f for the nearest n, with |f| <= 1/2, and 2^f by the polynomial of degree 5 through 1 at 0 whose
/// largest relative error is least (9e-8, found by Lawson's iteration).
#[expect(
    clippy::approx_constant,
    reason = "a polynomial's coefficient, which only looks like ln 2"
)]
#[inline(always)]
fn power(x: f32, factor: f32) -> f32 {
    let shifted = x.mul_add(factor, ROUNDING);
    let n = shifted - ROUNDING;
    let f = x.mul_add(factor, -n);
    let series = 0.001_326_472_7_f32
        .mul_add(f, 0.009_671_513)
        .mul_add(f, 0.055_507_336)
        .mul_add(f, 0.240_222_42)
        .mul_add(f, 0.693_147)
        .mul_add(f, 1.0);
    // The low bits of `shifted` are n: moved up, they go into the exponent.
    f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points() -> impl Iterator<Item = f32> {
        (-200_000..=200_000).map(|i| i as f32 * 1e-4)
    }

    /// erf by its series, in f64.
    fn erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        if x.abs() > 5.0 { x.signum() } else { sum * 2.0 / std::f64::consts::PI.sqrt() }
    }

    #[test]
    fn the_exponential_is_good_to_its_stated_error() {
        for x in points().map(|x| x * 4.35) {
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            let least = 3e-7 + 2e-8 * f64::from(x.abs());
            assert!((ours / exact - 1.0).abs() < least, "exp({x}) = {ours:e}, not {exact:e}");
        }
        assert_eq!(exp(1000.0).to_bits(), exp(87.0).to_bits());
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), exp(-87.0).to_bits());
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn activations_are_good_to_their_stated_errors() {
        for x in points() {
            let wide = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            for (name, ours, exact) in [
                ("relu", relu(x), wide.max(0.0)),
                ("quick gelu", quick_gelu(x), wide / (1.0 + (-1.702 * wide).exp())),
                ("gelu", gelu(x), wide * (1.0 + erf(wide / 2.0_f64.sqrt())) / 2.0),
                ("gelu, tanh", gelu_tanh(x), wide * (1.0 + inner.tanh()) / 2.0),
            ] {
                let error = (f64::from(ours) - exact).abs();
                assert!(error < 5e-7 * (1.0 + wide.abs()), "{name}({x}) = {ours}, not {exact}");
            }
        }
        for activation in [relu, quick_gelu, gelu, gelu_tanh] {
            assert!(activation(f32::NAN).is_nan(), "a fault stays visible");
        }
    }

    #[test]
    fn softmax_sums_to_one_and_keeps_faults() {
        for count in [1, 5, 16, 50, 577] {
            let mut row: Vec<f32> = (0..count).map(|at| (at * 29 % 83) as f32 / 4.0).collect();
            let exact: Vec<f64> = row.iter().map(|x| f64::from(*x).exp()).collect();
            let total: f64 = exact.iter().sum();
            softmax(&mut row);
            assert!((sum(&row) - 1.0).abs() < 1e-6);
            assert!(row.iter().zip(exact).all(|(x, e)| (f64::from(*x) - e / total).abs() < 1e-6));
        }
        let mut row = [1.0, f32::NAN, 2.0];
        softmax(&mut row);
        assert!(row.iter().all(|x| x.is_nan()));
    }

    #[test]
    fn rows_become_int8_by_their_largest_magnitude() {
        let row = [1.0, -2.0, 0.5, 0.007_874, 2.0 * 0.5 / 127.0, 2.0 * 1.5 / 127.0];
        let mut bytes = [0; 6];
        let scale = to_int8(&row, largest_magnitude(&row), &mut bytes);
        assert_eq!(bytes, [64, -127, 32, 0, 0, 2], "ties go to the even number");
        assert!((scale - 2.0 / 127.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let row = [1.0, bad, 3.0];
            assert!(to_int8(&row, largest_magnitude(&row), &mut [0; 3]).is_nan());
        }
        for small in [0.0, -0.0, 1e-40, 3e-37] {
            let mut bytes = [9; 2];
            assert_eq!(
                to_int8(&[small; 2], largest_magnitude(&[small; 2]), &mut bytes).to_bits(),
                0
            );
            assert_eq!(bytes, [0, 0]);
        }
        let mut bytes = [0; 2];
        assert!(to_int8(&[4e-37, -4e-37], 4e-37, &mut bytes) > 0.0);
        assert_eq!(bytes, [127, -127]);
    }
}
