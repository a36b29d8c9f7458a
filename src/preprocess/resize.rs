//! Resize and crop in one pass, equal to Pillow's `resize` followed by a crop to within one grey level.

use std::f64::consts::PI;
use std::ops::Range;

use super::{Crop, Filter, Options, ResizeRule};
use crate::capture::Frame;
use crate::gemm::vectorised;

/// The part of the frame that is read, and the part of the square that it fills.
#[derive(Debug, PartialEq)]
struct Window {
    /// Left, top, width and height in the frame, in pixels and parts of them.
    source: [f64; 4],
    /// Left, top, width and height in the square.
    target: [u32; 4],
}

/// Rows that the first pass works on at once.
const ROWS: usize = 16;

/// Values of one column of these rows: all reds, all greens, all blues.
const LANES: usize = 3 * ROWS;

/// Values of a row that the second pass works on at once.
const BLOCK: usize = 96;

/// Sizes of frames that are planned for at a time: a source has as many regions at most.
const PLANS_MAX: usize = 16;

/// Makes squares; keeps the square and the buffers of the passes between frames.
///
/// Pillow resizes rows first, rounds to bytes, then resizes columns; so do we, in float. Both passes are sums of whole
/// arrays, which compilers turn into vector instructions on every CPU: the second pass adds up rows as they lie, the
/// first one columns, for which it turns some rows on their side.
pub(super) struct Resize {
    options: Options,
    /// For frames of each size that came, the one in use last.
    plans: Vec<Plan>,
    /// Some rows on their side, as pixels of three bytes, and as planes of floats.
    packed: Vec<[u32; ROWS]>,
    strip: Vec<[f32; LANES]>,
    /// After the first pass: the rows that are read, each with a byte behind it.
    narrow: Vec<u8>,
    square: Vec<u8>,
}

/// What is read of frames of one size, and with which weights.
#[derive(Default)]
struct Plan {
    frame: [u32; 2],
    target: [usize; 4],
    columns: Taps,
    rows: Taps,
}

/// Along one axis, the pixels that make each pixel of the target: so many from the first one on, weighted.
#[derive(Default)]
struct Taps {
    firsts: Vec<usize>,
    count: usize,
    /// `[firsts.len()][count]`
    weights: Vec<f32>,
}

impl Taps {
    /// A part of an axis of `size` pixels that becomes `target` pixels, by Pillow's rule (`precompute_coeffs`).
    fn new(filter: Filter, [start, length]: [f64; 2], target: u32, size: u32) -> Self {
        let step = length / f64::from(target);
        let widened = step.max(1.0);
        let reach = widened * support(filter);
        let spans: Vec<_> = (0..target)
            .map(|at| {
                let centre = start + (f64::from(at) + 0.5) * step;
                let first = (centre - reach + 0.5).max(0.0) as u32;
                let end = ((centre + reach + 0.5) as u32).min(size);
                let weight = |x: u32| weight(filter, (f64::from(x) - centre + 0.5) / widened);
                (first as usize, (first..end).map(weight).collect::<Vec<f64>>())
            })
            .collect();
        let count = spans.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let mut all = Self { firsts: Vec::new(), count, weights: Vec::new() };
        for (first, weights) in spans {
            let sum: f64 = weights.iter().sum();
            // Near the end there are fewer: zeros go before them.
            let begin = first.min(size as usize - count);
            let from = all.weights.len() + first - begin;
            all.firsts.push(begin);
            all.weights.resize(all.weights.len() + count, 0.0);
            let places = all.weights[from..].iter_mut();
            places.zip(weights).for_each(|(place, weight)| *place = (weight / sum) as f32);
        }
        all
    }

    /// All pixels that are read.
    fn span(&self) -> Range<usize> {
        let first = self.firsts.first().copied().unwrap_or(0);
        first..self.firsts.last().map_or(first, |last| last + self.count)
    }

    /// First pixel and weights of each pixel of the target.
    fn each(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.firsts.iter().copied().zip(self.weights.chunks_exact(self.count.max(1)))
    }
}

/// How far Pillow's filters reach, in pixels of the coarser side.
fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Box => 0.5,
        Filter::Bilinear | Filter::Hamming => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    }
}

/// Pillow's filters (`Resample.c`), at a distance in pixels of the coarser side.
fn weight(filter: Filter, distance: f64) -> f64 {
    let x = distance.abs();
    match filter {
        // On the edge between two pixels, the one before it counts.
        Filter::Box if distance > -0.5 && distance <= 0.5 => 1.0,
        Filter::Bilinear if x < 1.0 => 1.0 - x,
        Filter::Hamming if x < 1.0 => sinc(x) * (0.54 + 0.46 * (PI * x).cos()),
        Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        Filter::Lanczos if x < 3.0 => sinc(x) * sinc(x / 3.0),
        _ => 0.0,
    }
}

/// The normalised sinc function.
fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

impl Resize {
    pub(super) fn new(options: &Options) -> Self {
        let side = options.image_size as usize;
        Self {
            options: options.clone(),
            plans: Vec::new(),
            packed: Vec::new(),
            strip: Vec::new(),
            narrow: Vec::new(),
            square: vec![0; side * side * 3],
        }
    }

    /// The square of one frame, `[image_size, image_size, 3]`. Only the part of the frame that the
    /// window reads is touched.
    pub(super) fn run(&mut self, frame: &Frame) -> &[u8] {
        let plan = self.take_plan(frame);
        // Bars around another target are what a frame of another size left.
        if self.plans.last().is_none_or(|last| last.target != plan.target) {
            self.square.fill(0);
        }
        self.narrow_rows(frame, &plan);
        self.join_rows(&plan);
        self.plans.push(plan);
        &self.square
    }

    /// The plan for frames of this size, made where there is none; the one that was used longest ago goes.
    fn take_plan(&mut self, frame: &Frame) -> Plan {
        let (width, height) = (frame.width(), frame.height());
        if let Some(at) = self.plans.iter().position(|plan| plan.frame == [width, height]) {
            return self.plans.remove(at);
        }
        if self.plans.len() == PLANS_MAX {
            self.plans.remove(0);
        }
        let Window { source: [x, y, w, h], target } = window(&self.options, width, height);
        let filter = self.options.filter;
        Plan {
            frame: [width, height],
            target: target.map(|side| side as usize),
            columns: Taps::new(filter, [x, w], target[2], width),
            rows: Taps::new(filter, [y, h], target[3], height),
        }
    }

    /// The first pass: every row that is read to the target's width.
    fn narrow_rows(&mut self, frame: &Frame, plan: &Plan) {
        let Plan { target: [_, _, width, _], columns, rows, .. } = plan;
        let Self { packed, strip, narrow, .. } = self;
        let (span, rows) = (columns.span(), rows.span());
        let (row_bytes, stride) = (frame.width() as usize * 3, width.saturating_mul(3) + 1);
        narrow.resize(rows.len().next_multiple_of(ROWS) * stride, 0);
        packed.resize(span.len(), [0; ROWS]);
        strip.resize(span.len(), [0.0; LANES]);
        for (begin, narrow) in
            rows.clone().step_by(ROWS).zip(narrow.chunks_exact_mut(ROWS * stride))
        {
            // Behind the last row it comes again; nobody reads what becomes of that.
            for row in 0..ROWS {
                let start = (begin + row).min(rows.end - 1) * row_bytes;
                let line = &frame.rgb()[start..start + row_bytes].as_chunks().0[span.clone()];
                for (column, [red, green, blue]) in packed.iter_mut().zip(line) {
                    column[row] = u32::from_le_bytes([*red, *green, *blue, 0]);
                }
            }
            narrow_strip(packed, strip, columns, narrow);
        }
    }

    /// The second pass: these rows to the target's rows.
    fn join_rows(&mut self, plan: &Plan) {
        let Plan { target: [left, top, width, _], rows, .. } = plan;
        let Self { narrow, square, .. } = self;
        let (side, begin) = (self.options.image_size as usize, rows.span().start);
        let (row_bytes, stride) = (*width * 3, *width * 3 + 1);
        for (at, (first, weights)) in rows.each().enumerate() {
            let from = &narrow[(first - begin) * stride..];
            let out = &mut square[((*top + at) * side + *left) * 3..][..row_bytes];
            join_row(from, stride, weights, out);
        }
    }
}

vectorised! {
    /// Some rows, which are turned on their side, to the target's width: `narrow` has a byte behind each.
    fn narrow_strip(
        packed: &[[u32; ROWS]],
        strip: &mut [[f32; LANES]],
        columns: &Taps,
        narrow: &mut [u8],
    ) {
        let (begin, stride) = (columns.span().start, narrow.len() / ROWS);
        for (column, pixels) in strip.iter_mut().zip(packed) {
            *column = planes(pixels);
        }
        for (at, (first, weights)) in columns.each().enumerate() {
            let pixels = sum_of_columns(&strip[first - begin..][..weights.len()], weights);
            for (row, pixel) in narrow.chunks_exact_mut(stride).zip(pixels) {
                // The fourth byte is overwritten by the next pixel, the last one stays behind the row.
                row[at * 3..at * 3 + 4].copy_from_slice(&pixel.to_le_bytes());
            }
        }
    }
}

vectorised! {
    /// Weighted rows, `stride` bytes apart, to one.
    fn join_row(from: &[u8], stride: usize, weights: &[f32], out: &mut [u8]) {
        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
        let whole = blocks.len() * BLOCK;
        for (index, block) in blocks.iter_mut().enumerate() {
            *block = sum_of_rows(from, stride, index * BLOCK, weights);
        }
        for (index, value) in rest.iter_mut().enumerate() {
            [*value] = sum_of_rows(from, stride, whole + index, weights);
        }
    }
}

/// A column of pixels as planes of floats.
#[inline]
fn planes(pixels: &[u32; ROWS]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    for (plane, lanes) in lanes.chunks_exact_mut(ROWS).enumerate() {
        for (lane, pixel) in lanes.iter_mut().zip(pixels) {
            // Signed, since that is what CPUs turn into floats.
            *lane = ((pixel >> (8 * plane)) & 0xff).cast_signed() as f32;
        }
    }
    lanes
}

/// Weighted columns, as pixels of three bytes.
#[inline]
fn sum_of_columns(columns: &[[f32; LANES]], weights: &[f32]) -> [u32; ROWS] {
    let mut sums = [0.0; LANES];
    for (column, weight) in columns.iter().zip(weights) {
        for (sum, value) in sums.iter_mut().zip(column) {
            *sum += weight * value;
        }
    }
    let mut pixels = [0; ROWS];
    let (red, rest) = sums.split_at(ROWS);
    let (green, blue) = rest.split_at(ROWS);
    for (row, pixel) in pixels.iter_mut().enumerate() {
        *pixel = nearest(red[row]) | nearest(green[row]) << 8 | nearest(blue[row]) << 16;
    }
    pixels
}

/// The values from `at` on of weighted rows that lie `stride` bytes apart.
#[inline]
fn sum_of_rows<const N: usize>(rows: &[u8], stride: usize, at: usize, weights: &[f32]) -> [u8; N] {
    let mut sums = [0.0; N];
    for (row, weight) in rows.chunks(stride).zip(weights) {
        for (sum, value) in sums.iter_mut().zip(&row[at..at + N]) {
            *sum += weight * f32::from(*value);
        }
    }
    sums.map(|sum| nearest(sum) as u8)
}

/// The nearest byte, with what overshoots cut off. A float this large has no place for a fraction: the nearest whole
/// number stands in its low bits. That is faster than a conversion.
#[inline]
#[expect(
    clippy::manual_clamp,
    reason = "these two are one instruction each for many values, clamp is not"
)]
fn nearest(value: f32) -> u32 {
    const NO_FRACTION: f32 = 8_388_608.0;
    (value.max(0.0).min(255.0) + NO_FRACTION).to_bits() & 0xff
}

/// The window for a frame of `width` x `height`, as transformers' `CLIPImageProcessor` and torchvision's
/// `Resize` compute it: the long side rounds down.
fn window(options: &Options, width: u32, height: u32) -> Window {
    let Options { image_size, resize_edge, crop, .. } = *options;
    let scaled =
        |edge: u32, part: u32, whole: u32| u64::from(edge) * u64::from(part) / u64::from(whole);
    let all = [0, 0, image_size, image_size];
    let middle = |[across, down]: [u64; 2]| {
        let [left, columns] = cut(across, image_size, width, crop);
        let [top, lines] = cut(down, image_size, height, crop);
        Window { source: [left, top, columns, lines], target: all }
    };
    match options.resize {
        ResizeRule::Squash => middle([u64::from(resize_edge); 2]),
        ResizeRule::ShortestEdge => {
            let short = width.min(height);
            middle([width, height].map(|side| scaled(resize_edge, side, short)))
        }
        ResizeRule::LongestEdgePad => {
            let long = width.max(height);
            // To the nearest, halves to even, as Python's `round` in `OpenCLIP`'s `ResizeKeepRatio`.
            let nearest = |side: u32| {
                let whole = 2 * u64::from(image_size) * u64::from(side);
                let (twice, rest) = (whole / u64::from(long), whole % u64::from(long));
                let up = twice % 2 == 1 && (rest > 0 || twice % 4 == 3);
                ((twice / 2 + u64::from(up)) as u32).max(1)
            };
            let [w, h] = [width, height].map(nearest);
            let target = [(image_size - w) / 2, (image_size - h) / 2, w, h];
            Window { source: [0.0, 0.0, f64::from(width), f64::from(height)], target }
        }
    }
}

/// Of an axis of `pixels` that becomes `scaled`, where the middle `kept` of them begin, and their
/// length, both in pixels before scaling.
fn cut(scaled: u64, kept: u32, pixels: u32, crop: Crop) -> [f64; 2] {
    let step = f64::from(pixels) / scaled as f64;
    let off = scaled - u64::from(kept);
    let before = match crop {
        Crop::Floor => off / 2,
        // Halves to even, as Python's `round`.
        Crop::Round => off / 2 + u64::from(off % 4 == 3),
    };
    let start = before as f64 * step;
    // A rounding error must not carry the window over the edge.
    [start, (f64::from(kept) * step).min(f64::from(pixels) - start)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(resize: ResizeRule) -> Options {
        Options {
            image_size: 37,
            resize_edge: 37,
            resize,
            crop: Crop::Floor,
            filter: Filter::Bicubic,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    #[test]
    fn the_middle_is_where_the_reference_has_it() {
        // Pixels cut off before, by Python's `(size - side) // 2` and `round((size - side) / 2)`.
        for (off, floor, round) in
            [(0, 0, 0), (1, 0, 0), (2, 1, 1), (3, 1, 2), (5, 2, 2), (7, 3, 4)]
        {
            let size = 37 + off;
            for (crop, wanted) in [(Crop::Floor, floor), (Crop::Round, round)] {
                let found = cut(u64::from(size), 37, size, crop).map(|at| at as u32);
                assert_eq!(found, [wanted, 37], "{off} {crop:?}");
            }
        }
        let larger = Options { resize_edge: 74, ..options(ResizeRule::Squash) };
        let window = window(&larger, 148, 37);
        assert_eq!(window.source.map(|at| (at * 4.0) as u32), [144, 36, 296, 74]);
    }

    #[test]
    fn weights_are_a_mean_wherever_they_are() {
        for filter in
            [Filter::Bicubic, Filter::Bilinear, Filter::Lanczos, Filter::Box, Filter::Hamming]
        {
            for (start, length, target, size) in [
                (0.0, 1.0, 1, 1),
                (0.0, 1.0, 224, 1),
                (0.0, 3.0, 7, 3),
                (79.3, 481.0, 224, 640),
                (0.0, 5000.0, 3, 5000),
            ] {
                let taps = Taps::new(filter, [start, length], target, size);
                assert_eq!(taps.each().count(), target as usize);
                for (first, weights) in taps.each() {
                    assert!(first + weights.len() <= size as usize, "{first} of {size}");
                    let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{filter:?}: {sum}");
                }
            }
        }
    }

    #[test]
    fn a_plain_picture_stays_as_it_is_and_bars_are_black() {
        // More rows than one strip, and widths that no block divides.
        for (width, height) in [(1, 1), (5, 90), (200, 33), (97, 101)] {
            let frame =
                Frame::new(width, height, [9, 130, 255].repeat((width * height) as usize)).unwrap();
            for rule in [ResizeRule::ShortestEdge, ResizeRule::Squash, ResizeRule::LongestEdgePad] {
                let options = options(rule);
                let mut resize = Resize::new(&options);
                let [left, top, w, h] = window(&options, width, height).target;
                let square = resize.run(&frame);
                for (at, pixel) in square.chunks_exact(3).enumerate() {
                    let (x, y) = (at as u32 % 37, at as u32 / 37);
                    let inside = (left..left + w).contains(&x) && (top..top + h).contains(&y);
                    let wanted = if inside { [9, 130, 255] } else { [0; 3] };
                    assert_eq!(pixel, wanted, "{rule:?} {width} x {height} at {x}, {y}");
                }
            }
        }
    }
}
