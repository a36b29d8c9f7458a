//! Text to labels that are ready for use: words that a text tower encodes, or a head that was trained.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::candidates::Candidate;
use super::{CACHE_FILE, Model};
use crate::classify::{self, Decider, Head, Policy};
use crate::probe::HeadFile;
use crate::prompts::{self, Label, LabelSet, LabelsError, PromptCache};

/// Labels in use: immutable, swapped whole.
pub(super) struct Active {
    /// The set, background bank and all; of a head, its classes' names alone.
    pub(super) set: LabelSet,
    /// As it was written.
    pub(super) text: String,
    /// Digest of the set as it was written, without the bank; or of the head's file.
    pub(super) digest: String,
    pub(super) head: Head,
    policies: Vec<Policy>,
    smoothing: classify::Smoothing,
}

impl Active {
    /// A decider that knows nothing yet.
    pub(super) fn decider(&self) -> Decider {
        let names = self.head.names().map(str::to_owned);
        Decider::new(self.head.mode(), self.smoothing, names.zip(self.policies.iter().copied()))
    }
}

/// Text to labels that are ready for use.
pub(super) struct Maker {
    model: Model,
    decide: classify::Options,
    cache: PromptCache,
    /// The file of a trained head, whose classes are the labels; none where labels are words.
    head: Option<PathBuf>,
}

/// Why labels can't be used.
pub(super) enum Refusal {
    Set(LabelsError),
    Other(anyhow::Error),
}

impl Maker {
    pub(super) fn new(
        model: Model,
        decide: classify::Options,
        state: Option<&Path>,
        head: Option<PathBuf>,
    ) -> Self {
        let cache_path = state.filter(|_| head.is_none()).map(|state| state.join(CACHE_FILE));
        let cache = model.prompt_cache(cache_path.as_deref());
        Self { model, decide, cache, head }
    }

    /// Why labels can't be given, where they come with a head.
    pub(super) fn fixed(&self) -> Option<String> {
        let head = self.head.as_ref()?.display();
        Some(format!(
            "the labels are those that {head} was trained on: train another head, or run without one"
        ))
    }

    /// What there is to tell people of labels that can be used.
    pub(super) fn warnings(active: &Active) -> Vec<String> {
        match &active.head {
            Head::ZeroShot(head) => prompts::lint(&active.set, head),
            Head::Linear(_) => Vec::new(),
        }
    }

    /// The first candidate that can be used; what is wrong with those before it is logged.
    pub(super) fn first_good(
        &mut self,
        candidates: Vec<Candidate>,
    ) -> anyhow::Result<(Candidate, Active, usize)> {
        let mut wrong = None;
        for candidate in candidates {
            match self.make(&candidate.text) {
                Ok((active, encoded)) => {
                    if let Some(error) = wrong {
                        log::error!("{error:#}: {} is used instead", candidate.name);
                    }
                    return Ok((candidate, active, encoded));
                }
                Err(Refusal::Set(error)) if wrong.is_none() => {
                    wrong = Some(anyhow!("{}: {error}", candidate.name));
                }
                Err(Refusal::Other(error)) if wrong.is_none() => {
                    wrong = Some(error.context(candidate.name));
                }
                Err(_) => {}
            }
        }
        Err(wrong.unwrap_or_else(|| {
            anyhow!("there are no labels: give --labels \"cat, dog\", or labels.file in the configuration")
        }))
    }

    /// Labels of a text, and how many prompts were encoded for them.
    pub(super) fn make(&mut self, text: &str) -> Result<(Active, usize), Refusal> {
        match self.head.clone() {
            Some(path) => Ok((self.trained(text, &path)?, 0)),
            None => self.words(text),
        }
    }

    /// Parsed, checked, encoded.
    fn words(&mut self, text: &str) -> Result<(Active, usize), Refusal> {
        let set = LabelSet::parse(text).map_err(Refusal::Set)?;
        let digest = set.digest();
        let set = set.with_bank();
        let policies = self.policies(&set)?;
        let built = self.model.head(&set, &mut self.cache);
        let built = built.map_err(|error| Refusal::Other(error.into()))?;
        let (text, smoothing) = (text.to_owned(), self.decide.smoothing);
        let head = Head::ZeroShot(built.head);
        Ok((Active { set, text, digest, head, policies, smoothing }, built.encoded))
    }

    /// A head that was trained with this model.
    fn trained(&self, text: &str, path: &Path) -> Result<Active, Refusal> {
        let dim = self.model.bundle().manifest().embedding_dim;
        let file = HeadFile::of_text(text, path, &self.model.name(), dim);
        let file = file.map_err(|error| Refusal::Other(error.into()))?;
        let set = LabelSet::from_names(file.names()).map_err(Refusal::Set)?;
        let policies = self.policies(&set)?;
        let names = file.names().collect::<Vec<_>>().join("\n");
        let text = format!(
            "# The classes of {}, which were trained and can't be changed here.\n{names}\n",
            path.display()
        );
        let (digest, smoothing) = (file.digest().to_owned(), self.decide.smoothing);
        Ok(Active { set, text, digest, head: Head::Linear(file.head), policies, smoothing })
    }

    fn policies(&self, set: &LabelSet) -> Result<Vec<Policy>, Refusal> {
        let policy = |label: &Label| {
            let policy = self.decide.policy(&label.policy);
            policy
                .map_err(|reason| Refusal::Other(anyhow!("the label \"{}\": {reason}", label.name)))
        };
        set.labels().iter().map(policy).collect()
    }
}
