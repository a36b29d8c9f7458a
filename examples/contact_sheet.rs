//! One SVG of pictures with their labels, to look at or to put into a document. Run with
//! `cargo run --release --example contact_sheet -- "a cat, a rocket" PICTURE ... > sheet.svg`.

use std::error::Error;
use std::fmt::Write;
use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use edgeclip::capture;
use edgeclip::classify::Score;
use edgeclip::pipeline::Model;
use edgeclip::prompts::LabelSet;
use image::ImageFormat;

/// Size of a picture with its bars, in pixels.
const CELL_WIDTH: usize = 220;
const CELL_HEIGHT: usize = 270;
const COLUMNS: usize = 4;
/// Labels shown below a picture.
const BARS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let labels = arguments.next().ok_or("usage: contact_sheet LABELS PICTURE ...")?;
    let pictures: Vec<String> = arguments.collect();

    let model = Model::open(None)?;
    let head = model.text_side()?.head(&LabelSet::from_names(labels.split(','))?)?;
    let mut image_side = model.image_side()?;

    let mut cells = String::new();
    for (index, path) in pictures.iter().enumerate() {
        let embedding = image_side.encode_image(&capture::read(path.as_ref())?)?;
        let (x, y) = (index % COLUMNS * CELL_WIDTH, index / COLUMNS * CELL_HEIGHT);
        let data = STANDARD.encode(thumbnail(path)?);
        write!(
            cells,
            "<g transform=\"translate({x} {y})\"><image x=\"10\" y=\"10\" width=\"200\" height=\"170\" \
             preserveAspectRatio=\"xMidYMid slice\" href=\"data:image/jpeg;base64,{data}\"/>{}</g>",
            bars(&head.ranked(&embedding)),
        )?;
    }
    let (width, rows) =
        (COLUMNS.min(pictures.len()) * CELL_WIDTH, pictures.len().div_ceil(COLUMNS));
    println!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" font-family=\"sans-serif\" \
         font-size=\"13\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>{cells}</svg>",
        rows * CELL_HEIGHT,
    );
    Ok(())
}

/// A small JPEG of a picture, twice as large as it is shown.
fn thumbnail(path: &str) -> Result<Vec<u8>, image::ImageError> {
    let mut jpeg = Cursor::new(Vec::new());
    image::open(path)?.thumbnail(400, 400).into_rgb8().write_to(&mut jpeg, ImageFormat::Jpeg)?;
    Ok(jpeg.into_inner())
}

/// The best labels as bars, longest first.
fn bars(ranked: &[Score<'_>]) -> String {
    let mut bars = String::new();
    for (row, Score { label, score, .. }) in ranked.iter().take(BARS).enumerate() {
        let (y, fill) = (188 + row * 26, if row == 0 { "#2a9d5c" } else { "#c9ccd1" });
        let label = label.replace('&', "&amp;").replace('<', "&lt;");
        let _ = write!(
            bars,
            "<rect x=\"10\" y=\"{y}\" width=\"{:.1}\" height=\"20\" rx=\"3\" fill=\"{fill}\" opacity=\"0.45\"/>\
             <text x=\"15\" y=\"{}\" fill=\"#111\">{label}</text>\
             <text x=\"206\" y=\"{}\" text-anchor=\"end\" fill=\"#111\">{:.0} %</text>",
            score * 200.0,
            y + 15,
            y + 15,
            score * 100.0,
        );
    }
    bars
}
