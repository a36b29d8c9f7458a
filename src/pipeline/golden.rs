//! Golden embeddings: what a model's towers make of known inputs, kept with the model, so that a wrong kernel or a
//! damaged card is noticed before anything is decided by them.

use std::collections::HashMap;

use bytemuck::cast_slice;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::{ImageSide, Model, ModelError, TextSide};
use crate::capture::Frame;
use crate::embedding::Embedding;
use crate::encoder::{LOWERING, Precision};

/// Least cosine between an embedding and the one that the same arithmetic gave elsewhere. Sums of products
/// have the same bits on every CPU, what is between them may differ in the last ones.
const SAME_MIN: f32 = 0.999;
/// How much further from float another way of lowering may be than the one that the model was made with.
const OTHER_LOWERING: f32 = 0.01;

/// Pictures and their size: small, so that the file is, and of no tower's shape, so that resizing counts.
const PICTURES: usize = 4;
const WIDTH: usize = 80;
const HEIGHT: usize = 60;
const TEXTS: [&str; 4] = ["a cat", "a red circle on a table", "three men with a boat", "nothing"];

/// Names of what is kept.
const IMAGES: &str = "pictures";
/// The entry of the file's head, and what it holds.
const ABOUT: &str = "edgeclip";

/// What is known of golden embeddings besides their values.
#[derive(Serialize, Deserialize)]
struct About {
    texts: Vec<String>,
    /// See [`LOWERING`].
    lowering: u32,
}
const NAMES: [[&str; 2]; 2] = [["image_float", "image_int8"], ["text_float", "text_int8"]];

/// Known inputs and their embeddings.
#[derive(Debug)]
pub(super) struct Golden {
    pictures: Vec<Frame>,
    texts: Vec<String>,
    image: Rows,
    text: Option<Rows>,
    lowering: u32,
}

/// The embeddings of one tower.
#[derive(Debug)]
struct Rows {
    float: Vec<Embedding>,
    int8: Vec<Embedding>,
}

/// How near a model's embeddings are to its golden ones: the least cosine of each tower.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Verified {
    /// Pictures, to what the same arithmetic gave when the bundle was made.
    pub image: f32,
    /// Texts, likewise; none where the model has no words.
    pub text: Option<f32>,
    /// Pictures, to float.
    pub image_to_float: f32,
    /// Texts, to float.
    pub text_to_float: Option<f32>,
    /// Whether this machine computes what the model means.
    pub holds: bool,
}

impl Golden {
    /// What a model makes of the known inputs, in float and as it computes otherwise.
    pub(super) fn of(float: &Model, int8: &Model) -> Result<Self, ModelError> {
        let pictures: Vec<Frame> = (0..PICTURES).filter_map(picture).collect();
        let image = |model: &Model| -> Result<Vec<Embedding>, ModelError> {
            let mut side = model.image_side()?;
            pictures.iter().map(|picture| side.encode_image(picture)).collect()
        };
        let image = Rows { float: image(float)?, int8: image(int8)? };
        let text = if float.bundle.manifest().text.is_some() {
            let rows = |model: &Model| model.text_side()?.encode_texts(&TEXTS);
            Some(Rows { float: rows(float)?, int8: rows(int8)? })
        } else {
            None
        };
        let texts = TEXTS.map(str::to_owned).into();
        Ok(Self { pictures, texts, image, text, lowering: LOWERING })
    }

    /// As bytes of the safetensors format.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let pixels: Vec<u8> = self.pictures.iter().flat_map(Frame::rgb).copied().collect();
        let mut flat: Vec<(&str, Vec<usize>, Vec<f32>)> = Vec::new();
        for (rows, names) in [Some(&self.image), self.text.as_ref()].into_iter().zip(NAMES) {
            let Some(rows) = rows else { continue };
            for (rows, name) in [&rows.float, &rows.int8].into_iter().zip(names) {
                let values = rows.iter().flat_map(Embedding::values).copied().collect();
                flat.push((name, vec![rows.len(), rows.first().map_or(0, Embedding::dim)], values));
            }
        }
        let shape = vec![self.pictures.len(), HEIGHT, WIDTH, 3];
        let mut tensors = vec![(IMAGES, TensorView::new(Dtype::U8, shape, &pixels)?)];
        for (name, shape, values) in &flat {
            tensors.push((name, TensorView::new(Dtype::F32, shape.clone(), cast_slice(values))?));
        }
        // One entry alone: several would stand in an order that differs from run to run.
        let about = serde_json::json!(About { texts: self.texts.clone(), lowering: self.lowering });
        let about = HashMap::from([(ABOUT.to_owned(), about.to_string())]);
        safetensors::serialize(tensors, Some(about))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; none where it is something else.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
        let about = header.metadata().as_ref()?.get(ABOUT)?;
        let About { texts, lowering } = serde_json::from_str(about).ok()?;
        let tensors = SafeTensors::deserialize(bytes).ok()?;
        let rows = |name: &str| -> Option<Vec<Embedding>> {
            let tensor = tensors.tensor(name).ok()?;
            let [_, dim] = *tensor.shape() else { return None };
            let is_float = tensor.dtype() == Dtype::F32 && dim > 0;
            let values = tensor.data().chunks_exact(4);
            let values = values.map(|value| value.try_into().map(f32::from_le_bytes));
            let values: Vec<f32> = values.collect::<Result<_, _>>().ok()?;
            let rows = values.chunks_exact(if is_float { dim } else { return None });
            rows.map(|row| Embedding::normalised(row).ok()).collect()
        };
        let both = |[float, int8]: [&str; 2]| Some(Rows { float: rows(float)?, int8: rows(int8)? });
        let pixels = tensors.tensor(IMAGES).ok()?;
        let [_, height, width, 3] = *pixels.shape() else { return None };
        let pictures = pixels.data().chunks_exact((height * width * 3).max(1)).map(|rgb| {
            Frame::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?, rgb.to_vec())
        });
        let pictures = pictures.collect::<Option<Vec<_>>>()?;
        Some(Self { pictures, texts, image: both(NAMES[0])?, text: both(NAMES[1]), lowering })
    }

    /// The least cosine of int8 to float of pictures and texts.
    pub(super) fn int8_to_float(&self) -> (f32, Option<f32>) {
        let least = |rows: &Rows| least(&rows.int8, &rows.float);
        (least(&self.image), self.text.as_ref().map(least))
    }
}

impl Rows {
    /// What an arithmetic should give, and how near to it: by another way of lowering, about as near to float.
    fn expected(&self, precision: Precision, lowering: u32) -> (&[Embedding], f32) {
        if precision == Precision::Float {
            (&self.float, SAME_MIN)
        } else if lowering == LOWERING {
            (&self.int8, SAME_MIN)
        } else {
            (&self.float, least(&self.int8, &self.float) - OTHER_LOWERING)
        }
    }

    /// Whether there is a row of that many values for each of so many inputs.
    fn fits(&self, inputs: usize, dim: usize) -> bool {
        let fits =
            |rows: &[Embedding]| rows.len() == inputs && rows.iter().all(|row| row.dim() == dim);
        inputs > 0 && fits(&self.float) && fits(&self.int8)
    }
}

fn least(found: &[Embedding], wanted: &[Embedding]) -> f32 {
    found.iter().zip(wanted).map(|(found, wanted)| found.cosine(wanted)).fold(1.0, f32::min)
}

/// A picture with shapes of all sizes, the same on every machine: sums of waves, whole numbers all the way.
fn picture(seed: usize) -> Option<Frame> {
    let mut rgb = Vec::with_capacity(WIDTH * HEIGHT * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            for channel in 0..3 {
                let (a, b) = (seed + 2 * channel + 1, 3 * seed + channel + 2);
                let slow = (x * a + y * b) * 3 % 512;
                let wave = slow.min(511 - slow);
                let fast = (x * x * a + y * y * b + x * y * seed) % 256;
                let edge = (x / (7 + seed) + y / (11 - seed)) % 2 * 64;
                rgb.push(((wave * (4 - seed) + fast * seed) / 5 + edge).min(255) as u8);
            }
        }
    }
    Frame::new(WIDTH as u32, HEIGHT as u32, rgb)
}

impl Model {
    /// The golden embeddings; none where the bundle has none.
    fn golden(&self) -> Result<Option<Golden>, ModelError> {
        let Some(file) = self.bundle.golden()? else { return Ok(None) };
        let manifest = self.bundle.manifest();
        let dim = manifest.embedding_dim;
        let fits = |golden: &Golden| {
            let has_words = golden.text.is_some() == manifest.text.is_some();
            let text = golden.text.as_ref().is_none_or(|rows| rows.fits(golden.texts.len(), dim));
            has_words && text && golden.image.fits(golden.pictures.len(), dim)
        };
        match Golden::from_bytes(&file.bytes).filter(fits) {
            Some(golden) => Ok(Some(golden)),
            None => Err(ModelError::NoGolden { path: file.path }),
        }
    }

    /// Runs both towers on the known inputs; none where the bundle has no golden embeddings.
    ///
    /// # Errors
    /// [`ModelError`]: a tower doesn't load or run.
    pub fn verify(&self) -> Result<Option<Verified>, ModelError> {
        let Some(golden) = self.golden()? else { return Ok(None) };
        let mut side = self.image_side()?;
        let found: Result<Vec<_>, _> =
            golden.pictures.iter().map(|picture| side.encode_image(picture)).collect();
        drop(side);
        let found = found?;
        let image = self.near(&golden, &found, &golden.image);
        let text = match &golden.text {
            Some(rows) => {
                let found = self.text_side()?.encode_texts(&golden.texts)?;
                Some((self.near(&golden, &found, rows), least(&found, &rows.float)))
            }
            None => None,
        };
        Ok(Some(Verified {
            image: image.0,
            image_to_float: least(&found, &golden.image.float),
            text: text.map(|((cosine, _), _)| cosine),
            text_to_float: text.map(|(_, to_float)| to_float),
            holds: image.1 && text.is_none_or(|((_, holds), _)| holds),
        }))
    }

    /// The least cosine to what is expected, and whether it is near enough.
    fn near(&self, golden: &Golden, found: &[Embedding], rows: &Rows) -> (f32, bool) {
        let (wanted, enough) = rows.expected(self.compute.precision(), golden.lowering);
        let cosine = least(found, wanted);
        (cosine, cosine >= enough)
    }

    /// Runs the image tower on one known picture, as at a start.
    ///
    /// # Errors
    /// [`ModelError::WrongEmbedding`]: this machine does not compute what the model means.
    pub fn check_image(&self, side: &mut ImageSide) -> Result<(), ModelError> {
        let Some(golden) = self.golden()? else { return Ok(()) };
        let Some(picture) = golden.pictures.first() else { return Ok(()) };
        let found = side.encode_image(picture)?;
        self.compare("image", self.near(&golden, &[found], &golden.image))
    }

    /// Runs the text tower on one known text.
    pub(super) fn check_text(&self, side: &TextSide) -> Result<(), ModelError> {
        let Some(golden) = self.golden()? else { return Ok(()) };
        let (Some(text), Some(rows)) = (golden.texts.first(), &golden.text) else { return Ok(()) };
        let found = side.encode_texts(&[text])?;
        self.compare("text", self.near(&golden, &found, rows))
    }

    fn compare(&self, tower: &'static str, (cosine, holds): (f32, bool)) -> Result<(), ModelError> {
        if holds {
            return Ok(());
        }
        let kernel = self.compute.kernel().name();
        Err(ModelError::WrongEmbedding { tower, cosine, kernel })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let row = |seed: f32| Embedding::normalised(&[seed, 1.0, -0.5]).unwrap();
        let rows = || Rows { float: vec![row(1.0), row(2.0)], int8: vec![row(1.1), row(2.0)] };
        for text in [Some(rows()), None] {
            let golden = Golden {
                pictures: (0..2).filter_map(picture).collect(),
                texts: vec!["a cat".into(), "一只猫".into()],
                image: rows(),
                text,
                lowering: LOWERING,
            };
            let bytes = golden.to_bytes().unwrap();
            let again = Golden::from_bytes(&bytes).unwrap();
            assert_eq!(again.pictures, golden.pictures);
            assert_eq!(again.texts, golden.texts);
            assert_eq!(again.image.int8[1].values().len(), 3);
            assert_eq!(again.text.is_some(), golden.text.is_some());
            assert!((again.int8_to_float().0 - golden.int8_to_float().0).abs() < 1e-6);
            for end in 0..bytes.len() {
                assert!(Golden::from_bytes(&bytes[..end]).is_none(), "cut off at {end}");
            }
        }
    }

    #[test]
    fn known_pictures_differ() {
        let pictures: Vec<Frame> = (0..PICTURES).filter_map(picture).collect();
        assert_eq!(pictures.len(), PICTURES);
        assert!(pictures.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
