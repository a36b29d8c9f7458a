//! The text tower.

use std::collections::BTreeMap;

use tract_onnx::prelude::*;

use super::graph::{Size, guarded};
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
    /// Tokens of every text, where the graph takes one number of them alone.
    length: Option<usize>,
    /// Size of the vocabulary, where the graph shows it.
    vocabulary: Option<usize>,
}

impl TextEncoder {
    /// Loads and optimises an ONNX graph: `input_ids [n, l]` i64 to
    /// `text_embeds [n, embedding_dim]` f32, with `n` and `l` free, or `l` the context length.
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
        first_shape(context_length, |shape| {
            let tower =
                Tower::load("text", onnx, i64::datum_type(), shape, embedding_dim, compute)?;
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
        first_shape(context_length, |shape| {
            let packed = Tower::pack("text", onnx, i64::datum_type(), shape, compute, layout)?;
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
        let shapes = shapes(context_length);
        let shapes = shapes.each_ref().map(|shape| &shape[..]);
        let input = (i64::datum_type(), &shapes[..]);
        let tower = Tower::load_packed("text", packed, layout, input, embedding_dim, compute)?;
        Self::new(tower, context_length)
    }

    fn new(tower: Tower, context_length: usize) -> Result<Self, EncoderError> {
        let zeros = vec![0_i64; context_length];
        let longest = guarded(|| tower.run(&[1, context_length], &zeros));
        let longest =
            longest.unwrap_or_else(|reason| Err(EncoderError::Run { tower: "text", reason }));
        if let Err(EncoderError::Run { tower, reason }) = longest {
            let reason = format!("it fails on a text of {context_length} tokens: {reason}");
            return Err(EncoderError::Shape { tower, reason });
        }
        let [rows, length] = tower.input_sizes();
        let (vocabulary, rows_max) = (tower.table_rows(), rows.unwrap_or(ROWS_MAX));
        Ok(Self { tower, rows_max, length, vocabulary })
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
        if let Some(length) = self.length.filter(|length| *length != text.ids().len()) {
            let reason = format!(
                "it reads texts of {length} tokens alone, this one has {}",
                text.ids().len()
            );
            return Err(EncoderError::Shape { tower: "text", reason });
        }
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

/// What a graph's input may be, best first. Some compute with both sizes in ways that tract can't follow: they get one
/// text at a time. Others were exported for texts of one length.
fn shapes(context_length: usize) -> [[Size; 2]; 4] {
    let lengths = [Size::Free("l"), Size::Fixed(context_length)];
    let counts = [Size::Free("n"), Size::Fixed(1)];
    let [free, fixed] = lengths.map(|length| counts.map(|count| [count, length]));
    [free[0], free[1], fixed[0], fixed[1]]
}

/// Loads with the first shape that a graph can be loaded with; where there is none, the error is that of the first.
fn first_shape<T>(
    context_length: usize,
    load: impl Fn(&[Size]) -> Result<T, EncoderError>,
) -> Result<T, EncoderError> {
    let [first, others @ ..] = shapes(context_length);
    let mut loaded = load(&first);
    let failed = |loaded: &Result<T, EncoderError>| {
        matches!(loaded, Err(EncoderError::Load { .. } | EncoderError::Shape { .. }))
    };
    for shape in others {
        if !failed(&loaded) {
            break;
        }
        loaded = load(&shape).or(loaded);
    }
    loaded
}
