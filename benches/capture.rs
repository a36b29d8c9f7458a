//! What a camera's frame costs before it is resized: 640 x 480, one thread. `cargo bench --bench capture`.

use std::io::Cursor;

use divan::Bencher;
use edgeclip::capture::{Encoding, Options, Region, Shot, Views};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;

fn main() {
    divan::main();
}

/// Bytes that look like noise, the same every time.
fn noise(count: usize) -> Vec<u8> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn raw(encoding: Encoding, bytes: usize, stride: u32) -> Shot {
    let bytes = noise(bytes);
    Shot { bytes, encoding, width: WIDTH, height: HEIGHT, stride, ..Shot::default() }
}

fn develop(bencher: Bencher, options: &Options, shot: &Shot) {
    let mut views = Views::new(options);
    bencher.bench_local(|| views.develop(shot));
}

fn yuyv_shot() -> Shot {
    raw(Encoding::Yuyv, (WIDTH * HEIGHT * 2) as usize, WIDTH * 2)
}

#[divan::bench]
fn yuyv(bencher: Bencher) {
    develop(bencher, &Options::default(), &yuyv_shot());
}

#[divan::bench]
fn nv12(bencher: Bencher) {
    let shot = raw(Encoding::Nv12, (WIDTH * HEIGHT * 3 / 2) as usize, WIDTH);
    develop(bencher, &Options::default(), &shot);
}

#[divan::bench]
fn grey(bencher: Bencher) {
    let shot = raw(Encoding::Grey, (WIDTH * HEIGHT) as usize, WIDTH);
    develop(bencher, &Options::default(), &shot);
}

/// A photo of the examples, made 640 x 480.
#[divan::bench]
fn mjpeg(bencher: Bencher) {
    let photo = image::open("examples/images/cat.jpg").expect("the examples are there");
    let photo = photo.resize_exact(WIDTH, HEIGHT, image::imageops::FilterType::Triangle);
    let mut bytes = Cursor::new(Vec::new());
    photo.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("it can be written");
    let shot = Shot { bytes: bytes.into_inner(), encoding: Encoding::Jpeg, ..Shot::default() };
    develop(bencher, &Options::default(), &shot);
}

#[divan::bench]
fn yuyv_turned_by_90(bencher: Bencher) {
    develop(bencher, &Options { rotate: 90, ..Options::default() }, &yuyv_shot());
}

#[divan::bench]
fn yuyv_with_a_triangle_cut_out(bencher: Bencher) {
    let polygon = vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
    let region = vec![Region { name: "triangle".to_owned(), polygon }];
    develop(bencher, &Options { region, ..Options::default() }, &yuyv_shot());
}

#[divan::bench]
fn the_still_gate_alone(bencher: Bencher) {
    let mut views = Views::new(&Options { still: 8.0, ..Options::default() });
    views.develop(&yuyv_shot()).expect("the shot is whole");
    bencher.bench_local(|| views.is_still(edgeclip::capture::Moment::default()));
}
