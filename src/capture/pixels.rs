//! Raw pixels of cameras to RGB.
//!
//! Colours are those of ITU-R BT.601-7 in the narrow range, black at 16 and white at 235, which is what V4L2 means
//! where a driver says nothing else. With C = Y - 16, D = U - 128, E = V - 128 (2.5.2 and 2.5.3, solved for RGB):
//!
//! ```text
//! R = 255/219 C                   + 1.402 * 255/224 E = 1.16438 C              + 1.59603 E
//! G = 255/219 C - 0.344136 * 255/224 D
//!               - 0.714136 * 255/224 E                = 1.16438 C - 0.39176 D - 0.81297 E
//! B = 255/219 C + 1.772 * 255/224 D                   = 1.16438 C + 2.01723 D
//! ```
//!
//! rounded, and cut to 0..255; at most 1 off. Grey cameras use the whole range: their luma is taken as it is.

use super::{Encoding, Frame, PictureError, Shot};
use crate::gemm::vectorised;

/// Turns a shot of raw pixels into RGB.
///
/// # Errors
/// [`PictureError::ShortFrame`] where bytes are missing.
pub(super) fn to_rgb(shot: &Shot, frame: &mut Frame) -> Result<(), PictureError> {
    let (width, height) = (shot.width as usize, shot.height as usize);
    let stride = shot.stride as usize;
    let row_bytes =
        if shot.encoding == Encoding::Yuyv { width.next_multiple_of(2) * 2 } else { width };
    let chroma_bytes = width.next_multiple_of(2);
    let is_nv12 = shot.encoding == Encoding::Nv12;
    let luma_end = stride * height;
    // The last row may come without the bytes that pad it.
    let expected = if is_nv12 {
        luma_end + stride * height.div_ceil(2).saturating_sub(1) + chroma_bytes
    } else {
        stride * height.saturating_sub(1) + row_bytes
    };
    if width == 0 || height == 0 || stride < row_bytes || shot.bytes.len() < expected {
        return Err(PictureError::ShortFrame { bytes: shot.bytes.len(), expected });
    }
    let rows = frame.reshape(shot.width, shot.height).chunks_exact_mut(width * 3);
    for (y, rgb) in rows.enumerate() {
        let row = &shot.bytes[y * stride..][..row_bytes];
        match shot.encoding {
            Encoding::Yuyv => yuyv_row(row, rgb),
            Encoding::Nv12 => {
                nv12_row(row, &shot.bytes[luma_end + y / 2 * stride..][..chroma_bytes], rgb);
            }
            _ => grey_row(row, rgb),
        }
    }
    Ok(())
}

/// Pixels that are worked on at once, and the pairs that share chroma.
const BLOCK: usize = 32;
const PAIRS: usize = BLOCK / 2;

/// The planes of a block.
struct Planes {
    y: [u8; BLOCK],
    u: [u8; PAIRS],
    v: [u8; PAIRS],
}

/// The upper half of a product, in which 16-bit lanes are multiplied by one instruction.
#[inline]
fn upper(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b)) >> 16) as i16
}

impl Planes {
    const BLACK: Self = Self { y: [16; BLOCK], u: [128; PAIRS], v: [128; PAIRS] };

    /// The block as RGB. All values have five bits behind the point until the last step.
    #[inline]
    fn to_rgb(&self, rgb: &mut [u8; BLOCK * 3]) {
        // Coefficients by 2^13, for chroma by 2^8; luma is by 2^7 and its coefficient by 2^14.
        const LUMA: i16 = 19_077;
        const RED_E: i16 = 13_075;
        const GREEN_D: i16 = -3_209;
        const GREEN_E: i16 = -6_660;
        const BLUE_D: i16 = 16_525;
        // 16 by the luma's coefficient, less a half to round.
        const BLACK: i16 = 596 - 16;
        let (mut red, mut green, mut blue) = ([0; BLOCK], [0; BLOCK], [0; BLOCK]);
        for i in 0..PAIRS {
            let d = (i16::from(self.u[i]) - 128) << 8;
            let e = (i16::from(self.v[i]) - 128) << 8;
            let both =
                |out: &mut [i16; BLOCK], value| (out[2 * i], out[2 * i + 1]) = (value, value);
            both(&mut red, upper(e, RED_E));
            both(&mut green, upper(d, GREEN_D) + upper(e, GREEN_E));
            both(&mut blue, upper(d, BLUE_D));
        }
        let (mut reds, mut greens, mut blues) = ([0; BLOCK], [0; BLOCK], [0; BLOCK]);
        for i in 0..BLOCK {
            let luma = upper(i16::from(self.y[i]) << 7, LUMA) - BLACK;
            let byte = |chroma: i16| ((luma + chroma) >> 5).clamp(0, 255) as u8;
            (reds[i], greens[i], blues[i]) = (byte(red[i]), byte(green[i]), byte(blue[i]));
        }
        // Byte by byte, which compilers make shuffles of, or one instruction where a CPU has it.
        for (i, pixel) in rgb.as_chunks_mut().0.iter_mut().enumerate() {
            *pixel = [reds[i], greens[i], blues[i]];
        }
    }

    /// As [`to_rgb`](Self::to_rgb), for the end of a row.
    fn to_last_rgb(&self, rgb: &mut [u8]) {
        let mut block = [0; BLOCK * 3];
        self.to_rgb(&mut block);
        rgb.copy_from_slice(&block[..rgb.len()]);
    }
}

vectorised! {
/// `row` holds Y0 U Y1 V for every two pixels of `rgb`.
fn yuyv_row(row: &[u8], rgb: &mut [u8]) {
    let split = |row: &[u8], planes: &mut Planes| {
        for (i, [y0, u, y1, v]) in row.as_chunks().0.iter().enumerate().take(PAIRS) {
            (planes.y[2 * i], planes.y[2 * i + 1]) = (*y0, *y1);
            (planes.u[i], planes.v[i]) = (*u, *v);
        }
    };
    let (rows, last_row) = row.as_chunks::<{ BLOCK * 2 }>();
    let (blocks, last) = rgb.as_chunks_mut::<{ BLOCK * 3 }>();
    let mut planes = Planes::BLACK;
    for (row, rgb) in rows.iter().zip(blocks) {
        split(row, &mut planes);
        planes.to_rgb(rgb);
    }
    if !last.is_empty() {
        // An odd last pixel's pair may have filled the last chunk of the row.
        split(
            if last_row.is_empty() { &row[row.len() - BLOCK * 2..] } else { last_row },
            &mut planes,
        );
        planes.to_last_rgb(last);
    }
}
}

/// `luma` holds a byte a pixel, `chroma` U V for every two.
fn nv12_row(luma: &[u8], chroma: &[u8], rgb: &mut [u8]) {
    let split = |luma: &[u8], chroma: &[u8], planes: &mut Planes| {
        planes.y[..luma.len()].copy_from_slice(luma);
        for (i, [u, v]) in chroma.as_chunks().0.iter().enumerate().take(PAIRS) {
            (planes.u[i], planes.v[i]) = (*u, *v);
        }
    };
    let (blocks, last) = rgb.as_chunks_mut::<{ BLOCK * 3 }>();
    let mut planes = Planes::BLACK;
    let mut sides = luma.chunks(BLOCK).zip(chroma.chunks(BLOCK));
    for (rgb, (luma, chroma)) in blocks.iter_mut().zip(sides.by_ref()) {
        split(luma, chroma, &mut planes);
        planes.to_rgb(rgb);
    }
    if let Some((luma, chroma)) = sides.next() {
        split(luma, chroma, &mut planes);
        planes.to_last_rgb(last);
    }
}

fn grey_row(luma: &[u8], rgb: &mut [u8]) {
    for (out, y) in rgb.chunks_exact_mut(3).zip(luma) {
        out.fill(*y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(encoding: Encoding, width: u32, height: u32, stride: u32, bytes: Vec<u8>) -> Shot {
        Shot { bytes, encoding, width, height, stride, ..Shot::default() }
    }

    fn rgb(shot: &Shot) -> Result<Vec<u8>, PictureError> {
        let mut frame = Frame::blank();
        to_rgb(shot, &mut frame)?;
        assert_eq!((frame.width(), frame.height()), (shot.width, shot.height));
        Ok(frame.rgb)
    }

    /// The formula in floating point.
    #[expect(clippy::many_single_char_names, reason = "the standard's names")]
    fn exact(y: u8, u: u8, v: u8) -> [f64; 3] {
        let c = 255.0 / 219.0 * (f64::from(y) - 16.0);
        let d = 255.0 / 224.0 * (f64::from(u) - 128.0);
        let e = 255.0 / 224.0 * (f64::from(v) - 128.0);
        [c + 1.402 * e, c - 0.344_136 * d - 0.714_136 * e, c + 1.772 * d]
            .map(|value| value.clamp(0.0, 255.0))
    }

    #[test]
    fn every_colour_is_at_most_one_off() {
        for (u, v) in (0..=255).step_by(5).flat_map(|u| (0..=255).step_by(5).map(move |v| (u, v))) {
            let row: Vec<u8> = (0..=255).flat_map(|y| [y, u, y, v]).collect();
            let rgb = rgb(&shot(Encoding::Yuyv, 512, 1, 1024, row)).unwrap();
            for (y, two) in (0..=255).zip(rgb.chunks_exact(6)) {
                assert_eq!(two[..3], two[3..]);
                for (ours, exact) in two.iter().zip(exact(y, u, v)) {
                    assert!((f64::from(*ours) - exact).abs() <= 1.0, "{y} {u} {v}");
                }
            }
        }
    }

    #[test]
    fn yuyv_with_padded_rows() {
        // Black and white, then red twice; 81 90 240 is red.
        let bytes = vec![16, 128, 235, 128, 9, 9, 81, 90, 81, 240, 9, 9];
        let expected = [[0; 3], [255; 3], [254, 0, 0], [254, 0, 0]].concat();
        assert_eq!(rgb(&shot(Encoding::Yuyv, 2, 2, 6, bytes.clone())).unwrap(), expected);
        // The last row's padding may be left out, a pixel may not.
        assert!(rgb(&shot(Encoding::Yuyv, 2, 2, 6, bytes[..10].to_vec())).is_ok());
        let short = rgb(&shot(Encoding::Yuyv, 2, 2, 6, bytes[..9].to_vec()));
        assert!(matches!(short, Err(PictureError::ShortFrame { bytes: 9, expected: 10 })));
    }

    #[test]
    fn nv12_shares_chroma_between_four() {
        // 3 x 3 pixels, rows of 4 bytes.
        let mut bytes = vec![16, 81, 235, 9, 81, 81, 235, 9, 16, 16, 16, 9];
        bytes.extend([90, 240, 128, 128, 128, 128, 128, 128]);
        let rgb = rgb(&shot(Encoding::Nv12, 3, 3, 4, bytes)).unwrap();
        assert_eq!(rgb[3..6], [254, 0, 0]);
        assert_eq!(rgb[6..9], [255; 3]);
        assert_eq!(rgb[9..12], [254, 0, 0]);
        assert_eq!(rgb[18..], [0; 9]);
    }

    #[test]
    fn every_width_is_whole() {
        // Each pixel has a luma of its own, each pair a chroma; both formats say the same.
        for width in 1..=2 * BLOCK + 3 {
            let luma: Vec<u8> = (0..width).map(|x| 16 + x as u8).collect();
            let pairs = width.div_ceil(2);
            let chroma: Vec<u8> = (0..2 * pairs).map(|x| 100 + x as u8).collect();
            let bytes = [&luma[..], &vec![0; 2 * pairs - width], &chroma].concat();
            let stride = 2 * pairs as u32;
            let nv12 = rgb(&shot(Encoding::Nv12, width as u32, 1, stride, bytes)).unwrap();
            let at = |x: usize| luma[x.min(width - 1)];
            let four = |i: usize| [at(2 * i), chroma[2 * i], at(2 * i + 1), chroma[2 * i + 1]];
            let row = (0..pairs).flat_map(four).collect();
            let yuyv = rgb(&shot(Encoding::Yuyv, width as u32, 1, 2 * stride, row)).unwrap();
            assert_eq!(yuyv, nv12, "{width}");
            for (x, rgb) in yuyv.chunks_exact(3).enumerate() {
                let exact = exact(luma[x], chroma[x / 2 * 2], chroma[x / 2 * 2 + 1]);
                assert!((f64::from(rgb[0]) - exact[0]).abs() <= 1.0, "{x} of {width}");
            }
        }
    }

    #[test]
    fn odd_widths_keep_their_last_pixel() {
        let rgb = rgb(&shot(Encoding::Yuyv, 1, 1, 4, vec![235, 128, 16, 128])).unwrap();
        assert_eq!(rgb, [255; 3]);
    }

    #[test]
    fn grey_is_taken_as_it_is() {
        let rgb = rgb(&shot(Encoding::Grey, 2, 1, 2, vec![0, 255])).unwrap();
        assert_eq!(rgb, [0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn sizes_that_make_no_sense_are_refused() {
        for (width, height, stride) in [(0, 1, 4), (1, 0, 4), (4, 1, 4)] {
            let shot = shot(Encoding::Yuyv, width, height, stride, vec![0; 4]);
            assert!(matches!(rgb(&shot), Err(PictureError::ShortFrame { .. })));
        }
    }
}
