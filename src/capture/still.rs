//! Whether the scene stands still.

use super::{Frame, Moment, Options};

/// Cells of the grid over the picture.
const COLUMNS: usize = 32;
const ROWS: usize = 24;

/// Compares pictures with the last one that was let through, cell by cell of a grid.
pub(super) struct StillGate {
    /// Difference in mean luma from which on a cell has changed, 0..255; 0 lets everything through.
    threshold: f32,
    max_ms: u64,
    /// Mean luma per cell of the last picture let through, and when that was.
    reference: Vec<f32>,
    since: Option<Moment>,
    /// The same of the picture at hand.
    cells: Vec<f32>,
    sums: Vec<u32>,
}

impl StillGate {
    pub(super) fn new(options: &Options) -> Self {
        let cells = || vec![0.0; COLUMNS * ROWS];
        Self {
            threshold: options.still,
            max_ms: options.still_max_ms,
            reference: cells(),
            since: None,
            cells: cells(),
            sums: vec![0; COLUMNS],
        }
    }

    /// Whether nothing has changed since the last picture for which the answer was no. Each cell's mean luma counts,
    /// on every other row and column of the picture.
    pub(super) fn is_still(&mut self, picture: &Frame, moment: Moment) -> bool {
        if self.threshold <= 0.0 {
            return false;
        }
        self.measure(picture);
        let mut cells = self.cells.iter().zip(&self.reference);
        let is_same = cells.all(|(now, then)| (now - then).abs() < self.threshold);
        let is_recent = self
            .since
            .is_some_and(|since| moment.elapsed_ms.saturating_sub(since.elapsed_ms) < self.max_ms);
        if is_same && is_recent {
            return true;
        }
        std::mem::swap(&mut self.cells, &mut self.reference);
        self.since = Some(moment);
        false
    }

    fn measure(&mut self, picture: &Frame) {
        let (width, height) = (picture.width as usize, picture.height as usize);
        for (row, means) in self.cells.chunks_exact_mut(COLUMNS).enumerate() {
            let (top, bottom) = part(row, ROWS, height);
            self.sums.fill(0);
            let mut rows = 0;
            for y in (top..bottom).step_by(2) {
                let line = &picture.rgb[y * width * 3..][..width * 3];
                rows += 1;
                for (column, sum) in self.sums.iter_mut().enumerate() {
                    let (left, right) = part(column, COLUMNS, width);
                    let pixels = line[left * 3..right * 3].as_chunks().0;
                    *sum += pixels.iter().step_by(2).copied().map(luma).sum::<u32>();
                }
            }
            for (column, (mean, sum)) in means.iter_mut().zip(&self.sums).enumerate() {
                let (left, right) = part(column, COLUMNS, width);
                *mean = *sum as f32 / (rows * (right - left).div_ceil(2) * 256) as f32;
            }
        }
    }
}

/// Where one of `parts` of a side lies; small sides have parts that overlap.
fn part(index: usize, parts: usize, side: usize) -> (usize, usize) {
    let from = index * side / parts;
    (from, ((index + 1) * side / parts).max(from + 1))
}

/// 256 times the luma of ITU-R BT.601 (0.299, 0.587, 0.114).
fn luma([red, green, blue]: [u8; 3]) -> u32 {
    77 * u32::from(red) + 150 * u32::from(green) + 29 * u32::from(blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(still: f32) -> StillGate {
        StillGate::new(&Options { still, still_max_ms: 1000, ..Options::default() })
    }

    fn at(elapsed_ms: u64) -> Moment {
        Moment { elapsed_ms, unix_ms: 0 }
    }

    /// A grey picture with one cell of another grey.
    fn picture(grey: u8, cell: u8) -> Frame {
        let mut frame = Frame::new(64, 48, vec![grey; 64 * 48 * 3]).unwrap();
        for y in 10..12 {
            frame.rgb[(y * 64 + 20) * 3..][..6].fill(cell);
        }
        frame
    }

    #[test]
    fn one_cell_is_enough_to_be_seen() {
        let mut gate = gate(8.0);
        assert!(!gate.is_still(&picture(100, 100), at(0)), "the first is always let through");
        assert!(gate.is_still(&picture(100, 107), at(1)));
        assert!(!gate.is_still(&picture(100, 108), at(2)));
        assert!(gate.is_still(&picture(100, 108), at(3)));
        assert!(!gate.is_still(&picture(100, 100), at(4)));
    }

    #[test]
    fn slow_changes_add_up() {
        let mut gate = gate(8.0);
        let let_through =
            (0..40).filter(|i| !gate.is_still(&picture(100 + i, 100), at(u64::from(*i))));
        assert_eq!(let_through.collect::<Vec<_>>(), [0, 8, 16, 24, 32]);
    }

    #[test]
    fn a_still_scene_is_looked_at_now_and_then() {
        let mut gate = gate(8.0);
        assert!(!gate.is_still(&picture(9, 9), at(500)));
        assert!(gate.is_still(&picture(9, 9), at(1499)));
        assert!(!gate.is_still(&picture(9, 9), at(1500)));
        assert!(gate.is_still(&picture(9, 9), at(1501)));
    }

    #[test]
    fn the_gate_is_off_at_zero() {
        let mut gate = gate(0.0);
        assert!((0..3).all(|i| !gate.is_still(&picture(9, 9), at(i))));
    }

    #[test]
    fn the_size_of_the_picture_does_not_matter() {
        let mut gate = gate(8.0);
        let grey =
            |side: u32| Frame::new(side, side, vec![50; (side * side * 3) as usize]).unwrap();
        assert!(!gate.is_still(&grey(1), at(0)));
        for side in [2, 7, 31, 33, 100] {
            assert!(gate.is_still(&grey(side), at(1)), "{side}");
        }
    }
}
