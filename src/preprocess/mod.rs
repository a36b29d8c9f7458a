//! Stage 2: [`Frame`] to [`PixelValues`], the same pixels that CLIP's own transform makes with Pillow.
//! What a model was trained with (size, rule, filter, mean, deviation) comes from its manifest.

mod resize;

use serde::{Deserialize, Serialize};

use crate::capture::Frame;
use resize::Resize;

/// How a picture of any shape becomes a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeRule {
    /// The shorter edge becomes `resize_edge`, then the middle is cut out (CLIP).
    ShortestEdge,
    /// Both edges become `resize_edge`, whatever the shape (`SigLIP`), then the middle is cut out.
    Squash,
    /// The longer edge becomes the square's side, then black bars fill the rest; `resize_edge` has no part in it.
    LongestEdgePad,
}

/// Pillow's resampling filters; they widen when a picture shrinks, so they don't alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Cubic convolution with a = -0.5.
    Bicubic,
    /// Triangle.
    Bilinear,
    /// Sinc with a window of three lobes.
    Lanczos,
    /// Mean of the pixels beneath.
    Box,
    /// Sinc with a Hamming window of one lobe.
    Hamming,
}

/// Where the middle is cut out when what is cut off can't be halved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crop {
    /// The smaller half is cut off first (transformers).
    #[default]
    Floor,
    /// Half a pixel goes to the even number (torchvision, and so `OpenCLIP`).
    Round,
}

/// What a model expects of its pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Side of the square, in pixels.
    pub image_size: u32,
    /// What the edges become before the square is cut out of the middle, in pixels: at least `image_size`.
    pub resize_edge: u32,
    /// From any shape to a square.
    pub resize: ResizeRule,
    /// Where exactly the middle is.
    pub crop: Crop,
    /// Resampling filter.
    pub filter: Filter,
    /// Mean per channel (red, green, blue) of values 0..1.
    pub mean: [f32; 3],
    /// Standard deviation per channel of values 0..1.
    pub std: [f32; 3],
}

/// A tower's input: `[3, image_size, image_size]`, red plane first, normalised.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelValues {
    image_size: usize,
    values: Vec<f32>,
}

impl PixelValues {
    /// Side of the square.
    #[must_use]
    pub fn image_size(&self) -> usize {
        self.image_size
    }

    /// The values, `[3, image_size, image_size]`.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// Turns frames into pixel values; keeps its buffers from frame to frame.
pub struct Preprocessor {
    resize: Resize,
    /// `[3][256]`: (v / 255 - mean) / std for every byte v, per channel.
    normalised: [[f32; 256]; 3],
    pixels: PixelValues,
}

impl Preprocessor {
    /// A preprocessor for one model.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let channel = |c: usize| {
            std::array::from_fn(|v| (v as f32 / 255.0 - options.mean[c]) / options.std[c])
        };
        let side = options.image_size as usize;
        Self {
            resize: Resize::new(options),
            normalised: std::array::from_fn(channel),
            pixels: PixelValues { image_size: side, values: vec![0.0; 3 * side * side] },
        }
    }

    /// Resizes, cuts and normalises one frame.
    pub fn run(&mut self, frame: &Frame) -> &PixelValues {
        let square = self.resize.run(frame);
        let planes = self.pixels.values.chunks_exact_mut(square.len() / 3);
        for ((c, plane), table) in planes.enumerate().zip(&self.normalised) {
            for (value, rgb) in plane.iter_mut().zip(square.chunks_exact(3)) {
                *value = table[usize::from(rgb[c])];
            }
        }
        &self.pixels
    }

    /// The square before normalisation, `[image_size, image_size, 3]`.
    pub fn square(&mut self, frame: &Frame) -> &[u8] {
        self.resize.run(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_planar_and_normalised() {
        let options = Options {
            image_size: 2,
            resize_edge: 2,
            resize: ResizeRule::ShortestEdge,
            crop: Crop::Floor,
            filter: Filter::Bicubic,
            mean: [0.5, 0.0, 0.0],
            std: [0.5, 1.0, 2.0],
        };
        let frame = Frame::new(2, 2, vec![0, 51, 255, 255, 51, 255, 0, 51, 255, 255, 51, 255]);
        let mut preprocessor = Preprocessor::new(&options);
        let pixels = preprocessor.run(&frame.unwrap());
        assert_eq!(pixels.values()[..4], [-1.0, 1.0, -1.0, 1.0]);
        assert_eq!(pixels.values()[4..8], [0.2; 4]);
        assert_eq!(pixels.values()[8..], [0.5; 4]);
    }
}
