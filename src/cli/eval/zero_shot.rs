//! Labels as CLIP has them, by words alone, judged on embeddings.

use edgeclip::classify::{Scores, ZeroShotHead};
use edgeclip::embedding::Embedding;
use edgeclip::eval::Evaluation;
use edgeclip::pipeline::Model;
use edgeclip::prompts::{LabelSet, PromptCache};

use super::data::Data;
use super::labels::Candidate;
use super::row::Judged;
use super::seen::Seen;
use crate::cli::Failure;

/// A label set, embedded by one model.
pub(super) struct ZeroShot<'a> {
    candidate: &'a Candidate,
    set: LabelSet,
    templates: Vec<String>,
    /// As `classify` scores: the set as it is.
    head: ZeroShotHead,
    /// As `run` scores: with the general background prompts beside the set's own.
    running: ZeroShotHead,
}

/// The heads of all candidates; where `each_template` says so, also with each of their templates alone.
pub(super) fn heads<'a>(
    model: &Model,
    candidates: &'a [Candidate],
    each_template: bool,
) -> Result<Vec<ZeroShot<'a>>, Failure> {
    let mut cache = model.prompt_cache(None);
    let mut heads = Vec::new();
    for candidate in candidates {
        let whole = head(model, candidate, candidate.set.clone(), &mut cache)?;
        let templates = whole.templates.clone();
        heads.push(whole);
        if each_template && templates.len() > 1 {
            for template in &templates {
                let set = candidate.set.clone().with_templates([template.as_str()])?;
                heads.push(head(model, candidate, set, &mut cache)?);
            }
        }
    }
    Ok(heads)
}

fn head<'a>(
    model: &Model,
    candidate: &'a Candidate,
    set: LabelSet,
    cache: &mut PromptCache,
) -> Result<ZeroShot<'a>, Failure> {
    // The larger set first: the cache then has every prompt of the other.
    let running = model.head(&set.clone().with_bank(), cache)?.head;
    let head = model.head(&set, cache)?.head;
    let templates = match set.templates() {
        Some(own) => own,
        None => &model.bundle().words().map_err(anyhow::Error::from)?.templates,
    };
    let templates = templates.iter().map(ToString::to_string).collect();
    Ok(ZeroShot { candidate, set, templates, head, running })
}

impl ZeroShot<'_> {
    /// What the labels say of the pictures, those of classes without a label left out.
    pub(super) fn judge(&self, seen: &Seen, data: &Data) -> Judged {
        let of_class = |index: &usize| self.candidate.label_of[data.samples[*index].class];
        let seen = seen.samples.iter().map(of_class).zip(&seen.embeddings).enumerate();
        let known = seen.filter_map(|(at, (label, embedding))| Some((at, label?, embedding)));
        let names: Vec<String> = self.head.names().map(ToOwned::to_owned).collect();
        let known: Vec<(usize, usize, &Embedding)> = known.collect();
        let by = |head: &ZeroShotHead| {
            let (mut scores, mut cosines) = (Scores::default(), Vec::new());
            let mut evaluation = Evaluation::new(names.clone());
            for (_, truth, embedding) in &known {
                let labels = self.head.labels().iter();
                cosines.clear();
                cosines.extend(labels.map(|label| embedding.cosine(&label.embedding)));
                head.score(embedding, &mut scores);
                evaluation.push(*truth, &cosines, &scores.labels);
            }
            evaluation
        };
        // One after the other: the scores of many pictures and labels are large.
        let thresholds = by(&self.running).thresholds();
        let evaluation = by(&self.head);
        Judged {
            head: "zero-shot",
            labels: self.candidate.source.clone(),
            label_set: self.set.digest(),
            templates: self.templates.clone(),
            pictures: known.iter().map(|(at, ..)| *at).collect(),
            thresholds,
            evaluation,
            directions: self.head.labels().iter().map(|label| label.embedding.clone()).collect(),
            background: self.running.background().to_vec(),
        }
    }
}
