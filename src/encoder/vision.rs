//! The image tower.

use tract_onnx::prelude::*;

use super::graph::Size;
use super::tower::{NodeTime, Tower};
use super::{Compute, EncoderError, PackedTower, Report};
use crate::embedding::Embedding;
use crate::gemm::Layout;
use crate::preprocess::PixelValues;

/// Turns pixel values into embeddings, one picture at a time.
pub struct ImageEncoder {
    tower: Tower,
    image_size: usize,
}

impl ImageEncoder {
    /// Loads and optimises an ONNX graph: `pixel_values [n, 3, image_size, image_size]` f32 to
    /// `image_embeds [n, embedding_dim]` f32.
    ///
    /// # Errors
    /// [`EncoderError::Load`] and [`EncoderError::Shape`].
    pub fn load(
        onnx: &[u8],
        image_size: usize,
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, EncoderError> {
        // A fixed batch of one lets tract settle every shape before the first frame.
        let shape = [1, 3, image_size, image_size].map(Size::Fixed);
        let tower = Tower::load("vision", onnx, f32::datum_type(), &shape, embedding_dim, compute)?;
        Ok(Self { tower, image_size })
    }

    /// Lowers an ONNX graph to be stored, its weights packed for a kernel of that layout.
    ///
    /// # Errors
    /// [`EncoderError::Load`] and [`EncoderError::Shape`].
    pub fn pack(
        onnx: &[u8],
        image_size: usize,
        embedding_dim: usize,
        compute: &Compute,
        layout: Layout,
    ) -> Result<PackedTower, EncoderError> {
        let shape = [1, 3, image_size, image_size].map(Size::Fixed);
        let packed = Tower::pack("vision", onnx, f32::datum_type(), &shape, compute, layout)?;
        // What can't be loaded again is no pack.
        Self::load_packed(&packed, layout, image_size, embedding_dim, compute)?;
        Ok(packed)
    }

    /// Makes a stored tower ready to run.
    ///
    /// # Errors
    /// [`EncoderError::Load`], [`EncoderError::Shape`] and [`EncoderError::PackedIsInt8`].
    pub fn load_packed(
        packed: &PackedTower,
        layout: Layout,
        image_size: usize,
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, EncoderError> {
        let shape = [1, 3, image_size, image_size].map(Size::Fixed);
        let input = (f32::datum_type(), &[&shape[..]][..]);
        let tower = Tower::load_packed("vision", packed, layout, input, embedding_dim, compute)?;
        Ok(Self { tower, image_size })
    }

    /// The embedding of one picture.
    ///
    /// # Errors
    /// [`EncoderError::Run`] and [`EncoderError::NoDirection`].
    ///
    /// # Panics
    /// Where the pixel values are of another size than the tower's.
    pub fn encode(&self, pixels: &PixelValues) -> Result<Embedding, EncoderError> {
        assert_eq!(pixels.image_size(), self.image_size, "pixel values of the tower's own size");
        let shape = [1, 3, self.image_size, self.image_size];
        let mut rows = self.tower.run(&shape, pixels.values())?;
        Ok(rows.remove(0))
    }

    /// As [`encode`](Self::encode), and the time of each step, and how far `count` went on in it: a count of
    /// allocations, say.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    ///
    /// # Panics
    /// As [`encode`](Self::encode).
    pub fn encode_timed(
        &self,
        pixels: &PixelValues,
        count: impl Fn() -> usize,
    ) -> Result<(Embedding, Vec<NodeTime>), EncoderError> {
        assert_eq!(pixels.image_size(), self.image_size, "pixel values of the tower's own size");
        let shape = [1, 3, self.image_size, self.image_size];
        let (mut rows, times) = self.tower.run_timed(&shape, pixels.values(), count)?;
        Ok((rows.remove(0), times))
    }

    /// What became int8.
    #[must_use]
    pub fn report(&self) -> &Report {
        self.tower.report()
    }
}
