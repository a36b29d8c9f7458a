//! Encodes frames and nothing else, for counting instructions: `frames MODEL_DIR N [KERNEL]` encodes one
//! seeded picture N times on one thread. Runs of two lengths differ by whole frames alone.

use std::path::PathBuf;

use edgeclip::capture::Frame;
use edgeclip::encoder::{Options, Precision};
use edgeclip::pipeline::Model;

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [folder, count, kernel @ ..] = &*arguments else { return };
    let count: usize = count.parse().expect("a number of frames");
    let kernel = kernel.first().cloned();
    let options =
        Options { precision: Precision::Int8, threads: Some(1), kernel, ..Options::default() };
    let model = Model::open_with(Some(&PathBuf::from(folder)), &options).expect("a model bundle");
    let side = model.bundle().manifest().preprocess.image_size;
    let pixels =
        (0..side * side * 3).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let frame = Frame::new(side, side, pixels).expect("as many pixels as the size says");
    let mut image_side = model.image_side().expect("an image tower");
    let pixels = image_side.preprocessor.run(&frame);
    let mut sum = 0.0;
    for _ in 0..count {
        sum += image_side.encoder.encode(pixels).expect("an embedding").values()[0];
    }
    println!("{} frames on {}, {sum}", count, model.compute().kernel().name());
}
