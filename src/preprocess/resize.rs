//! Resize and crop in one pass, equal to Pillow's `resize` followed by a crop to within one grey level.

use std::ops::Range;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::{Filter, ResizeRule};
use crate::capture::Frame;

/// The part of the frame that is read, and the part of the square that it fills.
#[derive(Debug, PartialEq)]
struct Window {
    /// Left, top, width and height in the frame, in pixels and parts of them.
    source: [f64; 4],
    /// Left, top, width and height in the square.
    target: [u32; 4],
}

/// Rows of the frame that the first pass turns to float at a time.
const STRIP_ROWS: usize = 32;

/// Makes squares; keeps the square and the buffers of the passes between frames.
///
/// Pillow resizes rows first, rounds to bytes, then resizes columns. The resizer, left to itself,
/// begins with the columns of 8-bit pictures and rounds its weights coarsely, so each pass is a call
/// of its own, in float.
pub(super) struct Resize {
    image_size: u32,
    rule: ResizeRule,
    filter: FilterType,
    /// Reach of the filter in pixels of the coarser side.
    support: f64,
    resizer: Resizer,
    /// A strip of the frame, before and after the first pass.
    strip: Vec<F32x3>,
    narrow_strip: Vec<F32x3>,
    /// After the first pass: the target's width, the frame's rows.
    narrow: Vec<F32x3>,
    /// After the second pass: what the window fills, before bars go around it.
    filled: Vec<F32x3>,
    square: Vec<u8>,
}

impl Resize {
    pub(super) fn new(image_size: u32, rule: ResizeRule, filter: Filter) -> Self {
        let (filter, support) = match filter {
            Filter::Bicubic => (FilterType::CatmullRom, 2.0),
            Filter::Bilinear => (FilterType::Bilinear, 1.0),
        };
        Self {
            image_size,
            rule,
            filter,
            support,
            resizer: Resizer::new(),
            strip: Vec::new(),
            narrow_strip: Vec::new(),
            narrow: Vec::new(),
            filled: Vec::new(),
            square: vec![0; image_size as usize * image_size as usize * 3],
        }
    }

    /// The square of one frame, `[image_size, image_size, 3]`. Only the part of the frame that the
    /// window reads is touched.
    pub(super) fn run(&mut self, frame: &Frame) -> &[u8] {
        let Window { source: [x, y, w, h], target } =
            window(self.rule, self.image_size, frame.width(), frame.height());
        let [_, _, width, height] = target;
        let columns = self.read(x, w, width, frame.width());
        let rows = self.read(y, h, height, frame.height());
        self.narrow_rows(frame, &columns, &rows, [x - f64::from(columns.start), w], width);

        let count = rows.end - rows.start;
        let start = y - f64::from(rows.start);
        let options = self.options([0.0, start, f64::from(width), h.min(f64::from(count) - start)]);
        let source = (self.narrow.as_slice(), width, count);
        resize(&mut self.resizer, source, (&mut self.filled, width, height), &options);
        self.place(target);
        &self.square
    }

    /// The pixels along one axis that a window from `start` reads when it becomes `target` pixels.
    fn read(&self, start: f64, length: f64, target: u32, size: u32) -> Range<u32> {
        let reach = self.support * (length / f64::from(target)).max(1.0) + 1.0;
        let end = (start + length + reach).ceil().min(f64::from(size));
        (start - reach).floor().max(0.0) as u32..end as u32
    }

    /// The first pass: columns `x..x + w` of a part of the frame to `width` columns.
    fn narrow_rows(
        &mut self,
        frame: &Frame,
        columns: &Range<u32>,
        rows: &Range<u32>,
        [x, w]: [f64; 2],
        width: u32,
    ) {
        let row_bytes = frame.width() as usize * 3;
        let bytes = &frame.rgb()[rows.start as usize * row_bytes..rows.end as usize * row_bytes];
        let cut = columns.start as usize * 3..columns.end as usize * 3;
        let read = columns.end - columns.start;
        let w = w.min(f64::from(read) - x);
        self.narrow.clear();
        for strip in bytes.chunks(STRIP_ROWS * row_bytes) {
            self.strip.clear();
            for row in strip.chunks_exact(row_bytes) {
                self.strip
                    .extend(row[cut.clone()].as_chunks::<3>().0.iter().map(|rgb| widen(*rgb)));
            }
            let count = (strip.len() / row_bytes) as u32;
            let options = self.options([x, 0.0, w, f64::from(count)]);
            let source = (self.strip.as_slice(), read, count);
            resize(&mut self.resizer, source, (&mut self.narrow_strip, width, count), &options);
            self.narrow.extend(self.narrow_strip.iter().map(|pixel| widen(round(pixel))));
        }
    }

    fn options(&self, [x, y, w, h]: [f64; 4]) -> ResizeOptions {
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(self.filter)).crop(x, y, w, h)
    }

    /// Copies the filled part into the square; what lies outside it is black.
    fn place(&mut self, [left, top, width, height]: [u32; 4]) {
        let side = self.image_size as usize;
        if width < self.image_size || height < self.image_size {
            self.square.fill(0);
        }
        for (row, pixels) in self.filled.chunks_exact(width as usize).enumerate() {
            let start = ((top as usize + row) * side + left as usize) * 3;
            let line = &mut self.square[start..start + width as usize * 3];
            line.as_chunks_mut::<3>().0.iter_mut().zip(pixels).for_each(|(out, p)| *out = round(p));
        }
    }
}

/// One pass: a window of `source` to `target`, each with its width and height.
fn resize(
    resizer: &mut Resizer,
    (source, source_width, source_height): (&[F32x3], u32, u32),
    (target, width, height): (&mut Vec<F32x3>, u32, u32),
    options: &ResizeOptions,
) {
    target.resize(width as usize * height as usize, F32x3::new([0.0; 3]));
    let source = TypedImageRef::new(source_width, source_height, source)
        .expect("the source has width x height pixels");
    let mut target = TypedImage::from_pixels_slice(width, height, target)
        .expect("the target has just been sized");
    resizer.resize_typed(&source, &mut target, options).expect("the window lies inside the source");
}

fn widen(rgb: [u8; 3]) -> F32x3 {
    F32x3::new(rgb.map(f32::from))
}

/// Back to bytes: to nearest, with what overshoots cut off.
fn round(pixel: &F32x3) -> [u8; 3] {
    pixel.0.map(|value| (value + 0.5) as u8)
}

/// The window for a frame of `width` x `height`, as transformers' `CLIPImageProcessor` computes it:
/// the long side and the crop's offset round down.
fn window(rule: ResizeRule, image_size: u32, width: u32, height: u32) -> Window {
    let (w, h, side) = (f64::from(width), f64::from(height), f64::from(image_size));
    let scaled = |long: u32, short: u32| u64::from(image_size) * u64::from(long) / u64::from(short);
    match rule {
        ResizeRule::Squash => {
            Window { source: [0.0, 0.0, w, h], target: [0, 0, image_size, image_size] }
        }
        ResizeRule::ShortestEdge => {
            let (long, short) = (width.max(height), width.min(height));
            let scaled = scaled(long, short);
            let step = f64::from(long) / scaled as f64;
            let start = ((scaled - u64::from(image_size)) / 2) as f64 * step;
            // A rounding error must not carry the window over the edge.
            let length = (side * step).min(f64::from(long) - start);
            let source =
                if width <= height { [0.0, start, w, length] } else { [start, 0.0, length, h] };
            Window { source, target: [0, 0, image_size, image_size] }
        }
        ResizeRule::LongestEdgePad => {
            let short = |short: u32, long: u32| (scaled(short, long) as u32).max(1);
            let (tw, th) = if width >= height {
                (image_size, short(height, width))
            } else {
                (short(width, height), image_size)
            };
            let target = [(image_size - tw) / 2, (image_size - th) / 2, tw, th];
            Window { source: [0.0, 0.0, w, h], target }
        }
    }
}
