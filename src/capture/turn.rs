//! Rotating, mirroring and cropping in one pass.

use super::{Frame, Options};

/// What has to be done to a picture to have it upright and cut to size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Quarter turns clockwise.
    quarters: u32,
    mirror: bool,
    crop: Option<[f32; 4]>,
}

impl Turn {
    pub(super) fn new(options: &Options) -> Self {
        Self { quarters: options.rotate / 90 % 4, mirror: options.mirror, crop: options.crop }
    }

    /// Whether pictures stay as they are.
    pub(super) fn is_nothing(&self) -> bool {
        self.quarters == 0 && !self.mirror && self.crop.is_none()
    }

    /// Writes the upright, cropped picture over `out`.
    pub(super) fn run(&self, picture: &Frame, out: &mut Frame) {
        let (width, height) = (picture.width, picture.height);
        let is_level = self.quarters.is_multiple_of(2);
        let (upright_width, upright_height) =
            if is_level { (width, height) } else { (height, width) };
        let [left, top, out_width, out_height] = match self.crop {
            Some(crop) => pixels(crop, upright_width, upright_height),
            None => [0, 0, upright_width, upright_height],
        };
        // Where the upright picture's first pixel lies in the given one, and the steps to the next
        // pixel to the right and to the next one below, in bytes.
        let signed = |pixels: u32| (pixels as usize).cast_signed();
        let (pixel, row) = (3, signed(width) * 3);
        let (right, bottom) = ((signed(width) - 1) * pixel, (signed(height) - 1) * row);
        let (first, step_x, step_y) = match self.quarters {
            0 => (0, pixel, row),
            1 => (bottom, -row, pixel),
            2 => (bottom + right, -pixel, -row),
            _ => (right, row, -pixel),
        };
        let (first, step_x) = if self.mirror {
            (first + step_x * (signed(upright_width) - 1), -step_x)
        } else {
            (first, step_x)
        };
        let first = first + signed(left) * step_x + signed(top) * step_y;
        let rows = out.reshape(out_width, out_height).chunks_exact_mut(out_width as usize * 3);
        for (y, out_row) in rows.enumerate() {
            let begin = first + y.cast_signed() * step_y;
            if step_x == pixel {
                out_row.copy_from_slice(&picture.rgb[begin.cast_unsigned()..][..out_row.len()]);
                continue;
            }
            for (x, rgb) in out_row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let at = (begin + x.cast_signed() * step_x).cast_unsigned();
                rgb.copy_from_slice(&picture.rgb[at..at + 3]);
            }
        }
    }
}

/// Left, top, width and height in pixels, at least one pixel and none outside.
pub(super) fn pixels(part: [f32; 4], width: u32, height: u32) -> [u32; 4] {
    let [left, top, part_width, part_height] = part;
    let span = |from: f32, length: f32, side: u32| {
        let at = |fraction: f32| (fraction * side as f32).round() as u32;
        let from_pixel = at(from).min(side - 1);
        (from_pixel, at(from + length).clamp(from_pixel + 1, side) - from_pixel)
    };
    let (left, width) = span(left, part_width, width);
    let (top, height) = span(top, part_height, height);
    [left, top, width, height]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture whose pixels are grey, by the letters of its rows.
    fn picture(rows: &[&str]) -> Frame {
        let rgb = rows.iter().flat_map(|row| row.bytes()).flat_map(|byte| [byte; 3]).collect();
        Frame::new(rows[0].len() as u32, rows.len() as u32, rgb).unwrap()
    }

    fn turned(rotate: u32, mirror: bool, crop: Option<[f32; 4]>) -> Frame {
        let options = Options { rotate, mirror, crop, ..Options::default() };
        let mut out = Frame::blank();
        Turn::new(&options).run(&picture(&["abc", "def"]), &mut out);
        out
    }

    #[test]
    fn pictures_turn_clockwise_and_are_mirrored_then() {
        let cases: [(u32, bool, &[&str]); 8] = [
            (0, false, &["abc", "def"]),
            (90, false, &["da", "eb", "fc"]),
            (180, false, &["fed", "cba"]),
            (270, false, &["cf", "be", "ad"]),
            (0, true, &["cba", "fed"]),
            (90, true, &["ad", "be", "cf"]),
            (180, true, &["def", "abc"]),
            (270, true, &["fc", "eb", "da"]),
        ];
        for (rotate, mirror, expected) in cases {
            assert_eq!(turned(rotate, mirror, None), picture(expected), "{rotate} {mirror}");
        }
    }

    #[test]
    fn the_upright_picture_is_cropped() {
        let right = Some([0.5, 0.0, 0.5, 1.0]);
        assert_eq!(turned(90, false, right), picture(&["a", "b", "c"]));
        assert_eq!(turned(90, true, right), picture(&["d", "e", "f"]));
        assert_eq!(turned(0, false, Some([0.3, 0.5, 0.7, 0.5])), picture(&["ef"]));
        // Never less than a pixel.
        assert_eq!(turned(0, false, Some([0.99, 0.0, 0.001, 0.001])), picture(&["c"]));
    }
}
