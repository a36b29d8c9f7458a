//! Pictures that are not as they should be: cut off, garbage, of any shape.

use std::path::Path;

use edgeclip::capture::{self, Frame};
use edgeclip::preprocess::{Crop, Filter, Options, Preprocessor, ResizeRule};
use proptest::prelude::*;

fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn a_picture_cut_off_anywhere_is_refused() {
    for file in ["progressive.jpg", "baseline-420.jpg", "rgb-37x61.png", "rows-padded.bmp"] {
        let whole = bytes(&format!("tests/data/preprocess/{file}"));
        assert!(capture::decode(&whole).is_ok(), "{file}");
        // The last 12 bytes of a PNG only say that it ends.
        for length in (0..whole.len() - 12).step_by(7) {
            let cut = capture::decode(&whole[..length]);
            assert!(cut.is_err(), "{file} is taken with {length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn what_follows_a_jpeg_does_not_matter() {
    let mut jpeg = bytes("examples/images/cat.jpg");
    let frame = capture::decode(&jpeg).unwrap();
    jpeg.extend_from_slice(b"\xff\xda a film, perhaps \xff\xd8\xff");
    assert_eq!(capture::decode(&jpeg).unwrap(), frame);
}

fn any_options() -> impl Strategy<Value = Options> {
    let rule = prop::sample::select(vec![
        ResizeRule::ShortestEdge,
        ResizeRule::Squash,
        ResizeRule::LongestEdgePad,
    ]);
    let filter = prop::sample::select(vec![
        Filter::Bicubic,
        Filter::Bilinear,
        Filter::Lanczos,
        Filter::Box,
        Filter::Hamming,
    ]);
    let crop = prop::sample::select(vec![Crop::Floor, Crop::Round]);
    (1_u32..70, 0_u32..40, rule, crop, filter).prop_map(
        |(image_size, more, resize, crop, filter)| Options {
            image_size,
            resize_edge: image_size + more,
            resize,
            crop,
            filter,
            mean: [0.0; 3],
            std: [1.0; 3],
        },
    )
}

proptest! {
    #[test]
    fn any_bytes_are_a_picture_or_an_error(start in 0_usize..5, garbage: Vec<u8>) {
        let magic: [&[u8]; 5] = [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM"];
        let _ = capture::decode(&[magic[start], &garbage].concat());
    }

    /// A frame of one colour stays that colour whatever its shape, apart from black bars.
    #[test]
    fn any_shape_becomes_a_square(width in 1_u32..400, height in 1_u32..400, options in any_options()) {
        let frame = Frame::new(width, height, vec![200; (width * height * 3) as usize]).unwrap();
        let mut preprocessor = Preprocessor::new(&options);
        let square = preprocessor.square(&frame);
        prop_assert_eq!(square.len(), (options.image_size * options.image_size * 3) as usize);
        let bars = options.resize == ResizeRule::LongestEdgePad;
        prop_assert!(square.contains(&200));
        prop_assert!(square.iter().all(|value| *value == 200 || bars && *value == 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Longest sides, where rounding errors are largest.
    #[test]
    fn long_strips_become_squares(side in 30_000_u32..65_535, short in 1_u32..4, options in any_options()) {
        for (width, height) in [(side, short), (short, side)] {
            let frame = Frame::new(width, height, vec![7; (width * height * 3) as usize]).unwrap();
            prop_assert!(Preprocessor::new(&options).square(&frame).contains(&7));
        }
    }
}
