//! After start-up, a frame's way from the source to its views allocates nothing in this crate's own code.

use std::alloc::System;
use std::fs;
use std::time::Duration;

use edgeclip::capture::{Camera, Encoding, Next, Options, Region, Shot, Views};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region as Count, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// No harness of tests: what its threads allocate would be counted too.
fn main() {
    views_of_raw_pixels();
    shots_of_a_stream();
}

/// Turned, cropped, cut into regions, and through the still gate.
fn views_of_raw_pixels() {
    let polygon = vec![[0.1, 0.2], [0.9, 0.3], [0.4, 0.8]];
    let options = Options {
        rotate: 90,
        crop: Some([0.1, 0.1, 0.8, 0.8]),
        region: vec![Region { name: "door".to_owned(), polygon }],
        still: 8.0,
        ..Options::default()
    };
    let mut views = Views::new(&options);
    for (encoding, stride) in [(Encoding::Yuyv, 1280), (Encoding::Nv12, 640), (Encoding::Grey, 640)]
    {
        let bytes = vec![100; 640 * 480 * 2];
        let shot = Shot { bytes, encoding, width: 640, height: 480, stride, ..Shot::default() };
        let mut develop = || {
            views.develop(&shot).unwrap();
            views.is_still(shot.moment);
        };
        develop();
        let count = Count::new(MEMORY);
        (0..5).for_each(|_| develop());
        assert_eq!(count.change().allocations + count.change().reallocations, 0, "{encoding:?}");
    }
}

/// A motion-JPEG file that is repeated: apart from opening it anew, nothing.
fn shots_of_a_stream() {
    const FRAMES: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mjpg");
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let photo = image::RgbImage::from_fn(320, 240, |x, y| [x as u8, y as u8, (x * y) as u8].into());
    photo.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    fs::write(&path, jpeg.into_inner().repeat(FRAMES)).unwrap();
    let url = path.to_str().unwrap().to_owned();
    let mut camera = Camera::start(&Options { url, ..Options::default() }).unwrap();
    let mut take = |count: usize| {
        for _ in 0..count {
            assert!(matches!(camera.next(Duration::from_mins(1)), Next::Shot(_)));
        }
    };
    take(100);
    let count = Count::new(MEMORY);
    take(FRAMES - 150);
    assert_eq!(count.change().allocations + count.change().reallocations, 0);
}
