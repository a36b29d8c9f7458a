//! The text tower.

use std::collections::BTreeMap;

use tract_onnx::prelude::*;

use super::graph::Size;
use super::tower::Tower;
use super::{Compute, EncoderError, PackedTower, Report};
use crate::embedding::Embedding;
use crate::gemm::Layout;
use crate::tokenizer::TokenIds;

/// Rows of one run: bounds the memory that a long list of prompts takes.
const ROWS_MAX: usize = 32;

/// Turns token ids into embeddings.
pub struct TextEncoder {
    tower: Tower,
    rows_max: usize,
    /// Size of the vocabulary, where the graph shows it.
    vocabulary: Option<usize>,
}

impl TextEncoder {
    /// Loads and optimises an ONNX graph: `input_ids [n, l]` i64 to
    /// `text_embeds [n, embedding_dim]` f32, with `n` and `l` free.
    ///
    /// # Errors
    /// [`EncoderError::Load`] and [`EncoderError::Shape`], also where the graph takes fewer than
    /// `context_length` tokens.
    pub fn load(
        onnx: &[u8],
        context_length: usize,
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, EncoderError> {
        either_batch(|n| {
            let shape = [n, Size::Free("l")];
            let tower =
                Tower::load("text", onnx, i64::datum_type(), &shape, embedding_dim, compute)?;
            Self::new(tower, context_length)
        })
    }

    /// Lowers an ONNX graph to be stored, its weights packed for a kernel of that layout.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn pack(
        onnx: &[u8],
        context_length: usize,
        embedding_dim: usize,
        compute: &Compute,
        layout: Layout,
    ) -> Result<PackedTower, EncoderError> {
        either_batch(|n| {
            let shape = [n, Size::Free("l")];
            let packed = Tower::pack("text", onnx, i64::datum_type(), &shape, compute, layout)?;
            Self::load_packed(&packed, layout, context_length, embedding_dim, compute)?;
            Ok(packed)
        })
    }

    /// Makes a stored tower ready to run.
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`EncoderError::PackedIsInt8`].
    pub fn load_packed(
        packed: &PackedTower,
        layout: Layout,
        context_length: usize,
        embedding_dim: usize,
        compute: &Compute,
    ) -> Result<Self, EncoderError> {
        let shapes = [Size::Free("n"), Size::Fixed(1)].map(|n| [n, Size::Free("l")]);
        let input = (i64::datum_type(), &[&shapes[0][..], &shapes[1]][..]);
        let tower = Tower::load_packed("text", packed, layout, input, embedding_dim, compute)?;
        Self::new(tower, context_length)
    }

    fn new(tower: Tower, context_length: usize) -> Result<Self, EncoderError> {
        let longest = tower.run(&[1, context_length], &vec![0_i64; context_length]);
        if let Err(EncoderError::Run { tower, reason }) = longest {
            let reason = format!("it fails on a text of {context_length} tokens: {reason}");
            return Err(EncoderError::Shape { tower, reason });
        }
        let (vocabulary, rows_max) = (tower.table_rows(), tower.rows().unwrap_or(ROWS_MAX));
        Ok(Self { tower, rows_max, vocabulary })
    }

    /// The embeddings of several texts, in their order. Texts of one length run together, each at
    /// its own length: in a causal tower no token sees what would come after the end.
    ///
    /// # Errors
    /// [`EncoderError::Shape`] where a token is outside of the graph's vocabulary,
    /// [`EncoderError::Run`] and [`EncoderError::NoDirection`].
    pub fn encode(&self, texts: &[TokenIds]) -> Result<Vec<Embedding>, EncoderError> {
        texts.iter().try_for_each(|text| self.check(text))?;
        let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, text) in texts.iter().enumerate() {
            by_length.entry(text.ids().len()).or_default().push(index);
        }
        let mut embeddings = vec![None; texts.len()];
        for (length, indices) in by_length {
            for rows in indices.chunks(self.rows_max) {
                let ids: Vec<i64> =
                    rows.iter().flat_map(|row| texts[*row].ids()).copied().collect();
                let encoded = self.tower.run(&[rows.len(), length], &ids)?;
                for (row, embedding) in rows.iter().zip(encoded) {
                    embeddings[*row] = Some(embedding);
                }
            }
        }
        Ok(embeddings.into_iter().flatten().collect())
    }

    /// What became int8.
    #[must_use]
    pub fn report(&self) -> &Report {
        self.tower.report()
    }

    fn check(&self, text: &TokenIds) -> Result<(), EncoderError> {
        let size = self.vocabulary.and_then(|size| i64::try_from(size).ok()).unwrap_or(i64::MAX);
        match text.ids().iter().find(|id| !(0..size).contains(*id)) {
            None => Ok(()),
            Some(id) => {
                let reason = format!("token {id} is outside of its vocabulary of {size}");
                Err(EncoderError::Shape { tower: "text", reason })
            }
        }
    }
}

/// Some graphs compute with both sizes in ways that tract can't follow: they get one text at a time.
fn either_batch<T>(load: impl Fn(Size) -> Result<T, EncoderError>) -> Result<T, EncoderError> {
    match load(Size::Free("n")) {
        Err(EncoderError::Load { .. } | EncoderError::Shape { .. }) => load(Size::Fixed(1)),
        loaded => loaded,
    }
}
