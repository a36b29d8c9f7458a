//! A frame back to a picture file, for those who want to see it.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use super::{Frame, SIDE_MAX};

/// The frame as a JPEG of `quality` 1..=100; `None` where a side is longer than [`SIDE_MAX`].
#[must_use]
pub fn encode_jpeg(frame: &Frame, quality: u8) -> Option<Vec<u8>> {
    if frame.width().max(frame.height()) > SIDE_MAX {
        return None;
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, quality)
        .encode(frame.rgb(), frame.width(), frame.height(), ExtendedColorType::Rgb8)
        .ok()?;
    Some(jpeg)
}

#[cfg(test)]
mod tests {
    use super::{Frame, SIDE_MAX, encode_jpeg};
    use crate::capture::decode;

    #[test]
    fn comes_back_as_it_was() {
        let frame = Frame::new(16, 8, [200, 40, 90].repeat(16 * 8)).unwrap();
        let back = decode(&encode_jpeg(&frame, 95).unwrap()).unwrap();
        assert_eq!((back.width(), back.height()), (16, 8));
        let far = frame.rgb().iter().zip(back.rgb()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(far <= 4, "a colour is off by {far}");
    }

    #[test]
    fn a_side_that_jpeg_cannot_have_is_no_picture() {
        let side = SIDE_MAX + 1;
        let frame = Frame::new(side, 1, vec![0; side as usize * 3]).unwrap();
        assert_eq!(encode_jpeg(&frame, 90), None);
    }
}
