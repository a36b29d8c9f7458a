//! Patches of a picture as the rows of a product: what makes a convolution one ("im2col").

use serde::{Deserialize, Serialize};

/// Which patches, of which pictures. Windows begin `pad` cells before the picture, where there is zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::encoder) struct Patches {
    pub(in crate::encoder) channels: usize,
    /// Rows and columns of the picture.
    pub(in crate::encoder) size: [usize; 2],
    /// Rows and columns of a window.
    pub(in crate::encoder) window: [usize; 2],
    pub(in crate::encoder) stride: [usize; 2],
    pub(in crate::encoder) dilation: [usize; 2],
    /// Above and to the left.
    pub(in crate::encoder) pad: [usize; 2],
    /// Rows and columns of windows.
    pub(in crate::encoder) grid: [usize; 2],
    /// `[h, w, c]` in memory, or `[c, h, w]`; windows are laid out in the same order.
    pub(in crate::encoder) channels_last: bool,
}

/// Most rows, columns, channels and whatever else counts here.
const SIZE_MAX: usize = 1 << 16;

impl Patches {
    /// Whether the numbers are such that nothing overflows or is divided by zero.
    pub(in crate::encoder) fn are_sound(&self) -> bool {
        let numbers = [self.size, self.window, self.stride, self.dilation, self.grid];
        let mut numbers = numbers.iter().flatten().chain([&self.channels]);
        numbers.all(|number| (1..SIZE_MAX).contains(number))
            && self.pad.iter().all(|pad| *pad < SIZE_MAX)
    }

    /// Values of a picture.
    pub(in crate::encoder) fn picture(&self) -> usize {
        self.channels * self.size[0] * self.size[1]
    }

    /// Values of a patch.
    pub(in crate::encoder) fn width(&self) -> usize {
        self.channels * self.window[0] * self.window[1]
    }

    /// The cell of a picture, row by row, that a tap of patch `number` is on; none beyond its edge.
    pub(in crate::encoder) fn cell(&self, number: usize, tap: usize) -> Option<usize> {
        let [y, x] = [number / self.grid[1], number % self.grid[1]];
        let [down, right] = [tap / self.window[1], tap % self.window[1]];
        let row = self.inside(0, y * self.stride[0] + down * self.dilation[0])?;
        let column = self.inside(1, x * self.stride[1] + right * self.dilation[1])?;
        Some(row * self.size[1] + column)
    }

    /// Copies patch `number` of a picture, row by row of the grid.
    pub(in crate::encoder) fn copy(&self, picture: &[f32], number: usize, patch: &mut [f32]) {
        let top = number / self.grid[1] * self.stride[0];
        let left = number % self.grid[1] * self.stride[1];
        let [height, width] = self.size;
        // A plane is what has rows and columns: the picture, or each of its channels.
        let (planes, cell) =
            if self.channels_last { (1, self.channels) } else { (self.channels, 1) };
        let lines = patch.chunks_exact_mut(self.window[1] * cell).enumerate();
        for (at, line) in lines.take(planes * self.window[0]) {
            let [plane, row] = [at / self.window[0], at % self.window[0]];
            match self.inside(0, top + row * self.dilation[0]) {
                None => line.fill(0.0),
                Some(row) => {
                    let from = &picture[(plane * height + row) * width * cell..][..width * cell];
                    self.copy_line(from, left, cell, line);
                }
            }
        }
    }

    /// Copies a line of a window, which begins at `left` of the padded picture, out of a row.
    fn copy_line(&self, from: &[f32], left: usize, cell: usize, line: &mut [f32]) {
        let whole = left >= self.pad[1] && left - self.pad[1] + self.window[1] <= self.size[1];
        if whole && self.dilation[1] == 1 {
            line.copy_from_slice(&from[(left - self.pad[1]) * cell..][..line.len()]);
            return;
        }
        for (column, to) in line.chunks_exact_mut(cell).enumerate() {
            match self.inside(1, left + column * self.dilation[1]) {
                None => to.fill(0.0),
                Some(column) => to.copy_from_slice(&from[column * cell..][..cell]),
            }
        }
    }

    /// The row or column of the picture at a place of the padded one.
    fn inside(&self, axis: usize, place: usize) -> Option<usize> {
        place.checked_sub(self.pad[axis]).filter(|place| *place < self.size[axis])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patches(channels_last: bool) -> Patches {
        Patches {
            channels: 2,
            size: [3, 4],
            window: [2, 3],
            stride: [2, 1],
            dilation: [1, 2],
            pad: [1, 2],
            grid: [2, 4],
            channels_last,
        }
    }

    #[test]
    fn a_patch_is_its_window_with_zeros_around_the_picture() {
        for channels_last in [false, true] {
            let patches = patches(channels_last);
            let place = |channel, y, x| {
                if channels_last { (y * 4 + x) * 2 + channel } else { (channel * 3 + y) * 4 + x }
            };
            let picture: Vec<f32> = (1..=24_u8).map(f32::from).collect();
            for number in 0..8 {
                let mut patch = vec![f32::NAN; patches.width()];
                patches.copy(&picture, number, &mut patch);
                for (channel, y, x) in (0..12).map(|at| (at / 6, at / 3 % 2, at % 3)) {
                    let row = (number / 4 * 2 + y).checked_sub(1).filter(|row| *row < 3);
                    let column = (number % 4 + 2 * x).checked_sub(2).filter(|column| *column < 4);
                    let wanted = match (row, column) {
                        (Some(row), Some(column)) => picture[place(channel, row, column)],
                        _ => 0.0,
                    };
                    let at = if channels_last {
                        (y * 3 + x) * 2 + channel
                    } else {
                        (channel * 2 + y) * 3 + x
                    };
                    assert_eq!(patch[at].to_bits(), wanted.to_bits());
                }
            }
        }
    }
}
