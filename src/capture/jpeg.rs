//! JPEGs of a stream to frames: damage is an error, where picture files are shown as far as they go.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::mjpeg::end_of_scan;
use super::picture::jpeg_end;
use super::{Frame, PIXELS_MAX, PictureError};

/// The usual Huffman tables (ITU-T T.81, K.3), as a segment. Many USB cameras leave them out of every frame.
const USUAL_TABLES: &[u8] = &usual_tables();

/// Zeros behind the data of a JPEG. The decoder reads a few bytes ahead; it never gets through these but where data
/// are missing, which it then says. Behind an end marker it would make up the rest of the picture without a word.
const ZEROS: [u8; 32] = [0; 32];

/// Decodes JPEGs; keeps its buffer.
#[derive(Default)]
pub(super) struct Decoder {
    completed: Vec<u8>,
}

impl Decoder {
    pub(super) fn decode(&mut self, bytes: &[u8], frame: &mut Frame) -> Result<(), PictureError> {
        if !bytes.starts_with(&[0xff, 0xd8]) {
            return Err(PictureError::UnknownFormat);
        }
        let end = jpeg_end(bytes).ok_or(PictureError::CutOff)?;
        self.complete(&bytes[..end]);
        decode(&self.completed, frame)
    }

    /// Copies a JPEG without its end, with tables and with an end that lets the decoder see what is missing.
    fn complete(&mut self, bytes: &[u8]) {
        let head = Head::read(bytes);
        let (before, scans) = bytes.split_at(head.length);
        let has_one_scan = end_of_scan(scans.get(2..).unwrap_or(&[])).is_none();
        self.completed.clear();
        self.completed.extend_from_slice(before);
        if !head.has_tables {
            self.completed.extend_from_slice(USUAL_TABLES);
        }
        self.completed.extend_from_slice(scans);
        let ends_in_zeros = head.is_sequential && has_one_scan;
        self.completed.extend_from_slice(if ends_in_zeros { &ZEROS } else { &[0xff, 0xd9] });
    }
}

/// What stands before the first scan.
#[derive(Default)]
struct Head {
    /// Bytes up to the scan.
    length: usize,
    has_tables: bool,
    /// Whether the picture comes from top to bottom, and not in finer and finer layers.
    is_sequential: bool,
}

impl Head {
    fn read(bytes: &[u8]) -> Self {
        const TABLES: u8 = 0xc4;
        const SCAN: u8 = 0xda;
        let mut head = Self { length: 2, ..Self::default() };
        while let Some(&[0xff, marker, high, low]) = bytes.get(head.length..head.length + 4) {
            match marker {
                SCAN => return head,
                TABLES => head.has_tables = true,
                0xc0 | 0xc1 => head.is_sequential = true,
                _ => {}
            }
            head.length += match marker {
                0xff => 1,
                0x01 | 0xd0..=0xd7 => 2,
                _ => 2 + usize::from(u16::from_be_bytes([high, low])),
            };
        }
        head.length = head.length.min(bytes.len());
        head
    }
}

fn decode(bytes: &[u8], frame: &mut Frame) -> Result<(), PictureError> {
    let damaged = |error| PictureError::Damaged(format!("{error:?}"));
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let info = decoder.info().ok_or(PictureError::UnknownFormat)?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    let pixels = u64::from(width) * u64::from(height);
    if pixels > PIXELS_MAX {
        return Err(PictureError::TooManyPixels { width, height });
    }
    if pixels == 0 {
        return Err(PictureError::Damaged("it has no pixels".to_owned()));
    }
    decoder.decode_into(frame.reshape(width, height)).map_err(damaged)
}

/// Class and number, how many codes of 1 to 16 bits there are, what they stand for (tables K.3 to K.6).
#[rustfmt::skip]
const BRIGHT_DC: [u8; 29] = [
    0x00, 0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02,
    0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
];

/// As before, of the two colour channels.
#[rustfmt::skip]
const COLOUR_DC: [u8; 29] = [
    0x01, 0x00, 0x03, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x02,
    0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
];

/// As before, of the frequencies above zero.
#[rustfmt::skip]
const BRIGHT_AC: [u8; 179] = [
    0x10, 0x00, 0x02, 0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00, 0x00, 0x01, 0x7d, 0x01, 0x02, 0x03,
    0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1,
    0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19,
    0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
    0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74,
    0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97,
    0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9,
    0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

/// As before, of the colour channels' frequencies above zero.
#[rustfmt::skip]
const COLOUR_AC: [u8; 179] = [
    0x11, 0x00, 0x02, 0x01, 0x02, 0x04, 0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01, 0x02, 0x77, 0x00, 0x01, 0x02,
    0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42,
    0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1,
    0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47,
    0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73,
    0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95,
    0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7,
    0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9,
    0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

/// Marker, length and the four tables.
const fn usual_tables() -> [u8; 4 + 2 * 29 + 2 * 179] {
    let mut segment = [0; 4 + 2 * 29 + 2 * 179];
    let length = segment.len() - 2;
    (segment[0], segment[1]) = (0xff, 0xc4);
    (segment[2], segment[3]) = ((length >> 8) as u8, length as u8);
    let tables: [&[u8]; 4] = [&BRIGHT_DC, &COLOUR_DC, &BRIGHT_AC, &COLOUR_AC];
    let (mut table, mut at) = (0, 4);
    while table < tables.len() {
        let mut byte = 0;
        while byte < tables[table].len() {
            segment[at] = tables[table][byte];
            (byte, at) = (byte + 1, at + 1);
        }
        table += 1;
    }
    segment
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;

    use super::*;

    /// A JPEG of 64 x 48 pixels with soft colours.
    fn encoded() -> Vec<u8> {
        let pixel = |i: u32| [(i % 64 * 3) as u8, (i / 64 * 4) as u8, 90];
        let rgb: Vec<u8> = (0..64 * 48).flat_map(pixel).collect();
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 90);
        encoder.encode(&rgb, 64, 48, image::ExtendedColorType::Rgb8).unwrap();
        jpeg
    }

    /// The same without its Huffman tables.
    fn without_tables(jpeg: &[u8]) -> Vec<u8> {
        let mut rest = jpeg.to_vec();
        while let Some(at) = rest.windows(2).position(|two| two == [0xff, 0xc4]) {
            let length = usize::from(u16::from_be_bytes([rest[at + 2], rest[at + 3]]));
            rest.drain(at..at + 2 + length);
        }
        rest
    }

    fn decode(jpeg: &[u8]) -> Result<Frame, PictureError> {
        let mut frame = Frame::blank();
        Decoder::default().decode(jpeg, &mut frame).map(|()| frame)
    }

    #[test]
    fn a_stream_s_jpeg_is_what_a_file_s_is() {
        let jpeg = encoded();
        let frame = decode(&jpeg).unwrap();
        assert_eq!((frame.width(), frame.height()), (64, 48));
        assert_eq!(frame, super::super::decode(&jpeg).unwrap());
    }

    #[test]
    fn tables_that_are_left_out_are_the_usual_ones() {
        let jpeg = encoded();
        let short = without_tables(&jpeg);
        assert!(short.len() < jpeg.len() - 400);
        assert_eq!(decode(&short).unwrap(), decode(&jpeg).unwrap());
    }

    #[test]
    fn grey_jpegs_become_rgb() {
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 90);
        encoder.encode(&[77; 64], 8, 8, image::ExtendedColorType::L8).unwrap();
        assert_eq!(decode(&jpeg).unwrap().rgb(), [77; 8 * 8 * 3]);
    }

    #[test]
    fn flat_and_tiny_pictures_are_whole() {
        for (width, height) in [(1, 1), (8, 8), (8, 640), (16, 640), (17, 33), (640, 16)] {
            for format in [image::ExtendedColorType::Rgb8, image::ExtendedColorType::L8] {
                let mut jpeg = Vec::new();
                let bytes = vec![0; (width * height * u32::from(format.channel_count())) as usize];
                let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 10);
                encoder.encode(&bytes, width, height, format).unwrap();
                let frame = decode(&jpeg).unwrap();
                assert_eq!((frame.width(), frame.height()), (width, height));
                assert!(frame.rgb().iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn lost_data_are_no_grey_picture() {
        let noise = |i: u32| (i.wrapping_mul(2_654_435_761) >> 26) as u8 * 4;
        let rgb: Vec<u8> = (0..320 * 240 * 3).map(noise).collect();
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 80);
        encoder.encode(&rgb, 320, 240, image::ExtendedColorType::Rgb8).unwrap();
        assert!(decode(&jpeg).is_ok());
        for third in 1..3 {
            let mut lossy = jpeg.clone();
            lossy.drain(jpeg.len() * third / 3..jpeg.len() - 2);
            assert!(matches!(decode(&lossy), Err(PictureError::Damaged(_))), "{third}");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let jpeg = encoded();
        assert!(matches!(decode(&jpeg[..jpeg.len() / 2]), Err(PictureError::CutOff)));
        assert!(matches!(decode(b"no jpeg"), Err(PictureError::UnknownFormat)));
        let mut broken = jpeg.clone();
        let scan = broken.windows(2).position(|two| two == [0xff, 0xda]).unwrap() + 14;
        let end = broken.len() - 2;
        // No usual code is all ones.
        broken.splice(scan + 20..end, [0xff, 0].repeat(60));
        assert!(matches!(decode(&broken), Err(PictureError::Damaged(_))));
    }
}
