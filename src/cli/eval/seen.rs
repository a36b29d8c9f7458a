//! The embeddings of all pictures by one model, and how long they took.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use edgeclip::capture::{Clip, ClipError, Frame};
use edgeclip::disk::open_regular;
use edgeclip::embedding::Embedding;
use edgeclip::pipeline::{ImageSide, Model};
use serde::Serialize;

use super::data::Sample;
use crate::cli::Failure;
use crate::cli::pictures::work_through;

/// What one model saw. Frames are not kept.
pub(super) struct Seen {
    /// One for each sample that could be read.
    pub(super) embeddings: Vec<Embedding>,
    /// Index of the sample of each embedding.
    pub(super) samples: Vec<usize>,
    pub(super) failed: Vec<Failed>,
    pub(super) ms: Milliseconds,
}

/// A picture that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Failed {
    path: String,
    error: String,
}

/// Mean times of one picture or clip.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Milliseconds {
    pub(super) decode: f64,
    pub(super) preprocess: f64,
    pub(super) encode: f64,
}

/// Times of all pictures.
#[derive(Default)]
struct Times {
    decode: Duration,
    preprocess: Duration,
    encode: Duration,
}

impl Seen {
    /// Embeds the samples, with a progress bar; a failed one is reported, and the rest go on.
    pub(super) fn look(model: &Model, samples: &[Sample], frames: u16) -> Result<Self, Failure> {
        let mut image_side = model.image_side()?;
        let mut times = Times::default();
        let mut answers = Vec::with_capacity(samples.len());
        work_through(
            samples,
            |sample| times.embed(&mut image_side, sample, frames),
            |path, answer| {
                answers.push(answer.map_err(|error| Failed {
                    path: path.to_owned(),
                    error: format!("{error:#}"),
                }));
                Ok(())
            },
        )?;
        let (mut embeddings, mut indices, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(embedding) => {
                    embeddings.push(embedding);
                    indices.push(index);
                }
                Err(failure) => failed.push(failure),
            }
        }
        let ms = times.mean(embeddings.len());
        Ok(Self { embeddings, samples: indices, failed, ms })
    }

    /// How many pictures are like another before them, and how many of these are of another class than that.
    pub(super) fn copies(&self, samples: &[Sample]) -> (usize, usize) {
        let (mut first, mut copies, mut torn) = (HashMap::new(), 0, 0);
        for (index, embedding) in self.samples.iter().zip(&self.embeddings) {
            let class = samples[*index].class;
            if let Some(other) = first.get(&fingerprint(embedding)) {
                copies += 1;
                torn += usize::from(*other != class);
            } else {
                first.insert(fingerprint(embedding), class);
            }
        }
        (copies, torn)
    }
}

/// What pictures share that are the same to a model, under whatever name.
pub(super) fn fingerprint(embedding: &Embedding) -> u64 {
    let mut hasher = DefaultHasher::new();
    embedding.values().iter().for_each(|value| value.to_bits().hash(&mut hasher));
    hasher.finish()
}

impl Times {
    /// The embedding of one sample; a clip's is the mean of its frames'.
    fn embed(
        &mut self,
        image_side: &mut ImageSide,
        sample: &Sample,
        frames: u16,
    ) -> anyhow::Result<Embedding> {
        let begun = Instant::now();
        let Some(clip) = sample.clip() else {
            let frame = sample.read()?;
            self.decode += begun.elapsed();
            return self.encode(image_side, &frame);
        };
        open_regular(clip).map_err(ClipError::from)?;
        let mut clip = Clip::open(clip, frames)?;
        self.decode += begun.elapsed();
        let mut embeddings = Vec::new();
        loop {
            let begun = Instant::now();
            let frame = clip.next().transpose()?;
            self.decode += begun.elapsed();
            let Some(frame) = frame else { break };
            embeddings.push(self.encode(image_side, &frame)?);
        }
        Ok(Embedding::mean(&embeddings)?)
    }

    fn encode(&mut self, image_side: &mut ImageSide, frame: &Frame) -> anyhow::Result<Embedding> {
        let begun = Instant::now();
        let pixels = image_side.preprocessor.run(frame);
        self.preprocess += begun.elapsed();
        let begun = Instant::now();
        let embedding = image_side.encoder.encode(pixels)?;
        self.encode += begun.elapsed();
        Ok(embedding)
    }

    /// The mean of `pictures`; failed ones have their part in it, which is small.
    fn mean(&self, pictures: usize) -> Milliseconds {
        let mean = |time: Duration| time.as_secs_f64() * 1000.0 / pictures.max(1) as f64;
        let [decode, preprocess, encode] = [self.decode, self.preprocess, self.encode].map(mean);
        Milliseconds { decode, preprocess, encode }
    }
}
