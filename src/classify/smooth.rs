//! One number from frame to frame, without its jumps.

use heapless::{Deque, Vec};
use serde::Deserialize;

/// Longest window of a median, in frames.
pub const WINDOW_FRAMES_MAX: usize = 32;

/// How scores are smoothed.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Smoothing {
    /// As they come.
    Off,
    /// The middle one of the last frames (the lower of the two middle ones): deaf to single wrong frames.
    Median {
        /// Frames in the window, 1..=[`WINDOW_FRAMES_MAX`].
        frames: usize,
    },
    /// Old frames fade: `s += (1 - 2^(-dt / half_life)) (x - s)`, dt the time since the frame before.
    Exponential {
        /// Time in which a frame's weight halves, in milliseconds.
        half_life_ms: u64,
    },
}

/// A smoothed number.
#[derive(Clone, Debug)]
pub(super) struct Smoothed {
    smoothing: Smoothing,
    window: Deque<f32, WINDOW_FRAMES_MAX>,
    /// The newest value, and when it came.
    last: Option<(f32, u64)>,
}

impl Smoothed {
    pub(super) fn new(smoothing: Smoothing) -> Self {
        Self { smoothing, window: Deque::new(), last: None }
    }

    /// Takes the value of the frame at `elapsed_ms`, and gives the smoothed one.
    pub(super) fn push(&mut self, value: f32, elapsed_ms: u64) -> f32 {
        let smoothed = match (self.smoothing, self.last) {
            (Smoothing::Median { frames }, _) => self.median(value, frames),
            (Smoothing::Off, _) | (Smoothing::Exponential { .. }, None) => value,
            (Smoothing::Exponential { half_life_ms }, Some((last, then))) => {
                let half_lives =
                    elapsed_ms.saturating_sub(then) as f32 / half_life_ms.max(1) as f32;
                last + (1.0 - (-half_lives).exp2()) * (value - last)
            }
        };
        self.last = Some((smoothed, elapsed_ms));
        smoothed
    }

    pub(super) fn clear(&mut self) {
        self.window.clear();
        self.last = None;
    }

    fn median(&mut self, value: f32, frames: usize) -> f32 {
        while self.window.len() >= frames.clamp(1, WINDOW_FRAMES_MAX) {
            self.window.pop_front();
        }
        let _ = self.window.push_back(value);
        let mut sorted: Vec<f32, WINDOW_FRAMES_MAX> = self.window.iter().copied().collect();
        sorted.sort_unstable_by(f32::total_cmp);
        sorted[(sorted.len() - 1) / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(smoothing: Smoothing, frames: &[(u64, f32)]) -> Vec<f32, 16> {
        let mut smoothed = Smoothed::new(smoothing);
        frames.iter().map(|(at, value)| smoothed.push(*value, *at)).collect()
    }

    #[test]
    fn a_median_is_deaf_to_one_wrong_frame() {
        let frames = [(0, 0.9), (1, 0.8), (2, 0.1), (3, 0.7), (4, 0.2), (5, 0.3)];
        let found = run(Smoothing::Median { frames: 3 }, &frames);
        assert_eq!(found, [0.9, 0.8, 0.8, 0.7, 0.2, 0.3]);
        assert_eq!(run(Smoothing::Median { frames: 1 }, &frames), frames.map(|(_, value)| value));
        assert_eq!(run(Smoothing::Off, &frames), frames.map(|(_, value)| value));
    }

    #[test]
    fn a_half_life_is_the_time_to_half_the_way_whatever_the_rate() {
        let smoothing = Smoothing::Exponential { half_life_ms: 100 };
        assert_eq!(run(smoothing, &[(0, 0.0), (100, 1.0), (200, 1.0)]), [0.0, 0.5, 0.75]);
        let slow = run(smoothing, &[(0, 0.0), (200, 1.0)]);
        assert!((slow[1] - 0.75).abs() < 1e-6);
        assert_eq!(run(smoothing, &[(7, 1.0), (7, 0.0)]), [1.0, 1.0], "no time, no way");
    }
}
