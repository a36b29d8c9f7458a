//! L-BFGS: the minimum of a smooth convex function of many variables, from its values and gradients
//! (Liu and Nocedal 1989, "On the limited memory BFGS method for large scale optimization").

use std::collections::VecDeque;

/// Steps that the estimate of the curvature remembers; scikit-learn's L-BFGS remembers as many.
const MEMORY: usize = 10;

/// A step must lower the function by this part of what its slope promises (Armijo), and flatten the slope to
/// this part (Wolfe); Nocedal and Wright, "Numerical Optimization", section 3.1, for quasi-Newton directions.
const DECREASE: f64 = 1e-4;
const FLATTENING: f64 = 0.9;

/// Most points that are tried along one direction.
const TRIALS_MAX: usize = 60;

/// Rise of the function, as a part of it, that is no more than rounding.
const ROUNDING: f64 = 1e-14;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most steps.
    pub(super) steps_max: usize,
    /// Largest absolute value of the gradient at which a point counts as the minimum.
    pub(super) gradient_max: f64,
}

/// Where it stopped.
#[derive(Clone, Debug)]
pub(super) struct Minimum {
    /// The point.
    pub(super) at: Vec<f64>,
    /// Whether the gradient is as small as it was to become, or floats can't tell any lower point.
    pub(super) converged: bool,
}

/// A point, the function's value there, and its gradient.
#[derive(Clone)]
struct Point {
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

/// One step: how far it went, how much the gradient changed by it, and 1 over their product.
struct Step {
    moved: Vec<f64>,
    bent: Vec<f64>,
    scale: f64,
}

/// Goes down from `start`. `function` gives the value at a point and writes the gradient.
pub(super) fn minimise(
    start: Vec<f64>,
    limits: Limits,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Minimum {
    let mut here = Point::of(start, &mut function);
    let mut memory: VecDeque<Step> = VecDeque::with_capacity(MEMORY);
    for _ in 0..limits.steps_max {
        if largest(&here.gradient) <= limits.gradient_max {
            return Minimum { at: here.at, converged: true };
        }
        let direction = direction(&here.gradient, &memory);
        let Some(next) = search(&here, &direction, memory.is_empty(), &mut function) else {
            if memory.is_empty() {
                return Minimum { at: here.at, converged: true };
            }
            // Rounding has spoilt the curvature: straight down once more.
            memory.clear();
            continue;
        };
        let (moved, bent) = (less(&next.at, &here.at), less(&next.gradient, &here.gradient));
        let product = dot(&moved, &bent);
        if product > 0.0 {
            memory.truncate(MEMORY - 1);
            memory.push_front(Step { moved, bent, scale: 1.0 / product });
        }
        here = next;
    }
    let converged = largest(&here.gradient) <= limits.gradient_max;
    Minimum { at: here.at, converged }
}

/// Minus the gradient, times the estimate of the inverse Hessian that the steps so far give: the two loops of
/// Nocedal and Wright, algorithm 7.4. The newest step comes first.
fn direction(gradient: &[f64], memory: &VecDeque<Step>) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|value| -value).collect();
    let mut parts = Vec::with_capacity(memory.len());
    for step in memory {
        let part = step.scale * dot(&step.moved, &direction);
        add(&mut direction, -part, &step.bent);
        parts.push(part);
    }
    if let Some(newest) = memory.front() {
        let curvature = 1.0 / (newest.scale * dot(&newest.bent, &newest.bent));
        for value in &mut direction {
            *value *= curvature;
        }
    }
    for (step, part) in memory.iter().zip(parts).rev() {
        let back = step.scale * dot(&step.bent, &direction);
        add(&mut direction, part - back, &step.moved);
    }
    direction
}

/// A point along the direction that fulfils both conditions, found by halving and doubling, which ends for
/// every smooth convex function; none where rounding hides every such point. The first step of all has no
/// estimate of how far to go, and begins with a length of 1.
fn search(
    here: &Point,
    direction: &[f64],
    is_first: bool,
    function: &mut impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Option<Point> {
    let slope = dot(&here.gradient, direction);
    if slope >= 0.0 || !slope.is_finite() {
        return None;
    }
    let (mut low, mut high) = (0.0, f64::INFINITY);
    let mut length = if is_first { 1.0 / dot(direction, direction).sqrt() } else { 1.0 };
    for _ in 0..TRIALS_MAX {
        let mut at = here.at.clone();
        add(&mut at, length, direction);
        let there = Point::of(at, function);
        let ceiling = here.value + DECREASE * length * slope + ROUNDING * here.value.abs();
        if !there.value.is_finite() || there.value > ceiling {
            high = length;
        } else if dot(&there.gradient, direction) < FLATTENING * slope {
            low = length;
        } else {
            return Some(there);
        }
        length = if high.is_finite() { f64::midpoint(low, high) } else { 2.0 * length };
    }
    None
}

impl Point {
    fn of(at: Vec<f64>, function: &mut impl FnMut(&[f64], &mut [f64]) -> f64) -> Self {
        let mut gradient = vec![0.0; at.len()];
        let value = function(&at, &mut gradient);
        Self { at, value, gradient }
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn less(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// `to += factor * values`
fn add(to: &mut [f64], factor: f64, values: &[f64]) {
    to.iter_mut().zip(values).for_each(|(to, value)| *to += factor * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far fewer steps than going straight down would take.
    const LIMITS: Limits = Limits { steps_max: 200, gradient_max: 1e-9 };

    /// Half the sum of `(i + 1) * (x_i - i)^2`: curvatures of 1 to 400.
    fn bowl(x: &[f64], gradient: &mut [f64]) -> f64 {
        let mut value = 0.0;
        for (i, (x, gradient)) in x.iter().zip(gradient).enumerate() {
            let (curvature, off) = (i as f64 + 1.0, x - i as f64);
            value += 0.5 * curvature * off * off;
            *gradient = curvature * off;
        }
        value
    }

    #[test]
    fn it_finds_the_bottom_of_a_bowl() {
        let found = minimise(vec![0.0; 400], LIMITS, bowl);
        assert!(found.converged, "{found:?}");
        let off = found.at.iter().enumerate().map(|(i, x)| (x - i as f64).abs());
        assert!(off.fold(0.0, f64::max) < 1e-8);
    }

    /// Rosenbrock's valley, which is bent and not convex: the minimum is at (1, 1).
    #[test]
    fn it_follows_a_bent_valley() {
        let valley = |x: &[f64], gradient: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            gradient.copy_from_slice(&[-2.0 * a - 400.0 * x[0] * b, 200.0 * b]);
            a * a + 100.0 * b * b
        };
        let found = minimise(vec![-1.2, 1.0], LIMITS, valley);
        assert!(found.converged, "{found:?}");
        assert!((found.at[0] - 1.0).abs() < 1e-6 && (found.at[1] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn it_stops_at_the_minimum_at_its_limit_and_where_floats_end() {
        let found = minimise(vec![0.0], LIMITS, bowl);
        assert!(found.converged && found.at == [0.0]);
        let limits = Limits { steps_max: 3, ..LIMITS };
        let found = minimise(vec![0.0; 400], limits, bowl);
        assert!(
            !found.converged
                && bowl(&found.at, &mut vec![0.0; 400])
                    < bowl(&vec![0.0; 400], &mut vec![0.0; 400])
        );
        // A gradient of exactly 0 is not among the floats here.
        let limits = Limits { gradient_max: 0.0, ..LIMITS };
        let shifted = |x: &[f64], gradient: &mut [f64]| {
            gradient[0] = (x[0] - 0.1).sinh();
            (x[0] - 0.1).cosh()
        };
        let found = minimise(vec![7.0], limits, shifted);
        assert!((found.at[0] - 0.1).abs() < 1e-6, "{:?}", found.at);
    }
}
