//! What both towers produce: a direction in the space that pictures and words share.

/// An L2-normalised vector, `[embedding_dim]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(Box<[f32]>);

/// A vector without a direction: zero, or with a NaN or an infinity in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the embedding has no direction: its length is zero or not a number")]
pub struct NoDirection;

impl Embedding {
    /// Divides `values`, `[embedding_dim]`, by their L2 norm.
    ///
    /// # Errors
    /// [`NoDirection`] where the norm is zero or not finite.
    pub fn normalised(values: &[f32]) -> Result<Self, NoDirection> {
        let norm = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if norm == 0.0 || !norm.is_finite() {
            return Err(NoDirection);
        }
        Ok(Self(values.iter().map(|v| (f64::from(*v) / norm) as f32).collect()))
    }

    /// The ensemble of several embeddings: their mean, normalised again
    /// (Radford et al. 2021, section 3.1.4).
    ///
    /// # Errors
    /// [`NoDirection`] where there are none or they cancel out.
    ///
    /// # Panics
    /// Where the embeddings differ in dimension.
    pub fn mean(embeddings: &[Self]) -> Result<Self, NoDirection> {
        let first = embeddings.first().ok_or(NoDirection)?;
        let mut sum = vec![0.0; first.dim()];
        for embedding in embeddings {
            assert_eq!(embedding.dim(), first.dim(), "embeddings of one model have one dimension");
            sum.iter_mut().zip(&embedding.0).for_each(|(sum, value)| *sum += value);
        }
        Self::normalised(&sum)
    }

    /// Cosine of the angle between two embeddings, -1 to 1.
    ///
    /// # Panics
    /// Where the embeddings differ in dimension.
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f32 {
        assert_eq!(self.dim(), other.dim(), "embeddings of one model have one dimension");
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum::<f32>().clamp(-1.0, 1.0)
    }

    /// Number of values.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.0.len()
    }

    /// The values, `[embedding_dim]`, with an L2 norm of 1.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_has_length_one_and_keeps_the_direction() {
        let embedding = Embedding::normalised(&[3.0, 0.0, -4.0]).unwrap();
        assert_eq!(embedding.values(), [0.6, 0.0, -0.8]);
    }

    #[test]
    fn a_vector_without_direction_is_refused() {
        for values in [&[][..], &[0.0, 0.0], &[1.0, f32::NAN], &[f32::INFINITY, 1.0]] {
            assert_eq!(Embedding::normalised(values), Err(NoDirection), "{values:?}");
        }
    }

    #[test]
    fn mean_is_normalised_again() {
        let [x, y] = [[1.0, 0.0], [0.0, 1.0]].map(|v| Embedding::normalised(&v).unwrap());
        let mean = Embedding::mean(&[x.clone(), y]).unwrap();
        assert!((mean.cosine(&x) - 0.5_f32.sqrt()).abs() < 1e-6);
        let opposite = Embedding::normalised(&[-1.0, 0.0]).unwrap();
        assert_eq!(Embedding::mean(&[x, opposite]), Err(NoDirection));
        assert_eq!(Embedding::mean(&[]), Err(NoDirection));
    }
}
