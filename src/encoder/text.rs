//! The text tower.

use std::collections::BTreeMap;

use tract_onnx::prelude::*;

use super::tower::{Size, Tower};
use super::{Compute, EncoderError, Report};
use crate::embedding::Embedding;
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
        let load = |n| {
            let shape = [n, Size::Free("l")];
            let tower =
                Tower::load("text", onnx, i64::datum_type(), &shape, embedding_dim, compute)?;
            match tower.run(&[1, context_length], &vec![0_i64; context_length]) {
                Err(EncoderError::Run { tower, reason }) => {
                    let reason = format!("it takes fewer than {context_length} tokens: {reason}");
                    Err(EncoderError::Shape { tower, reason })
                }
                _ => Ok(tower),
            }
        };
        // Some graphs compute with both sizes in ways that tract can't follow: they get one text at a time.
        let (tower, rows_max) = match load(Size::Free("n")) {
            Err(EncoderError::Load { .. } | EncoderError::Shape { .. }) => {
                (load(Size::Fixed(1))?, 1)
            }
            tower => (tower?, ROWS_MAX),
        };
        Ok(Self { vocabulary: tower.table_rows(), tower, rows_max })
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
