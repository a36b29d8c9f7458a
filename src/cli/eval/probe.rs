//! A linear classifier trained on the embeddings of pictures, beside the labels that are words: what CLIP's paper
//! compares with (Radford et al. 2021, section 3.2).

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use edgeclip::classify::is_background;
use edgeclip::eval::Evaluation;
use edgeclip::pipeline::Model;
use edgeclip::probe::{EXAMPLES_MIN, Examples, FITS, FOLDS, HeadFile, ProbeError, Trained};
use edgeclip::prompts::LabelSet;

use super::data::{Data, key};
use super::report::check_place;
use super::row::Judged;
use super::seen::{Failed, Seen, fingerprint};
use crate::cli::pictures::progress;
use crate::cli::{Failure, say};

/// What is asked of a probe.
pub(super) struct Probe<'a> {
    /// Pictures to learn from; none to learn from those that are judged, each by a head that never saw it.
    pub(super) train: Option<&'a Data>,
    /// Where the head is kept that was trained with all of them.
    pub(super) save: Option<&'a Path>,
    pub(super) frames: u16,
    /// Leave out pictures whose class there was nothing to learn of.
    pub(super) allow_missing: bool,
}

/// What a probe says, and which pictures it could not learn from.
pub(super) struct Probed {
    pub(super) judged: Judged,
    pub(super) failed: Vec<Failed>,
}

/// The same, and the head that was trained with all pictures, where one was.
struct Learnt {
    judged: Judged,
    trained: Option<Trained>,
    failed: Vec<Failed>,
}

impl Probe<'_> {
    /// Whether there is enough to learn from, and a place for what is learnt: before any picture is looked at.
    ///
    /// # Errors
    /// The option, and the class with too few pictures or none to learn from, or the file that can't be written.
    pub(super) fn check(&self, data: &Data) -> anyhow::Result<()> {
        let (option, from) =
            self.train.map_or(("--linear-probe", data), |train| ("--train", train));
        check_classes(from).map_err(|error| anyhow!("{option}: {error}"))?;
        if let Some(train) = self.train {
            self.classes(data, train)?;
        }
        if let Some(path) = self.save {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let place = if path.exists() && !path.is_file() {
                Err(anyhow!("not a regular file"))
            } else {
                check_place(folder.unwrap_or(Path::new(".")))
            };
            place.with_context(|| format!("--save {}", path.display()))?;
        }
        Ok(())
    }

    /// Trains, and judges the pictures that were seen.
    ///
    /// # Errors
    /// The class with too few pictures, or without any to learn from; the file that can't be written.
    pub(super) fn judge(&self, model: &Model, seen: &Seen, data: &Data) -> Result<Probed, Failure> {
        let Learnt { judged, trained, failed } = match self.train {
            Some(train) => self.apart(model, seen, data, train)?,
            None => self.among(seen, data)?,
        };
        if let (Some(path), Some(trained)) = (self.save, trained) {
            let file = HeadFile::new(trained, model.name());
            file.write(path)?;
            let words = file.training;
            let held_out = words.held_out.map_or_else(String::new, |held| {
                format!(", {:.1} % of {} held out", 100.0 * held.accuracy, held.examples)
            });
            say(format_args!(
                "{}: trained with {} pictures (l2 {:.3e}{held_out}); use it with --head",
                path.display(),
                words.examples,
                words.l2
            ));
        }
        Ok(Probed { judged, failed })
    }

    /// Learns from pictures of their own.
    fn apart(
        &self,
        model: &Model,
        seen: &Seen,
        data: &Data,
        train: &Data,
    ) -> Result<Learnt, Failure> {
        let class_of = self.classes(data, train)?;
        let learnt = Seen::look(model, &train.samples, self.frames)?;
        let examples = examples(&learnt, train)?;
        warn_of_both(seen, &learnt);
        let trained = train_all(&examples)?;
        let mut evaluation = Evaluation::new(train.classes.clone());
        let mut pictures = Vec::new();
        for (at, (index, embedding)) in seen.samples.iter().zip(&seen.embeddings).enumerate() {
            let Some(truth) = class_of[data.samples[*index].class] else { continue };
            let scores = trained.head.probabilities(embedding);
            evaluation.push(truth, &scores, &scores);
            pictures.push(at);
        }
        let labels = format!("trained on {} other pictures", examples.rows().len());
        let judged = judged(labels, evaluation, pictures);
        Ok(Learnt { judged, trained: Some(trained), failed: learnt.failed })
    }

    /// The class to learn for each class to judge.
    fn classes(&self, data: &Data, train: &Data) -> anyhow::Result<Vec<Option<usize>>> {
        let known = train.classes.iter().enumerate();
        let known: HashMap<String, usize> = known.map(|(at, name)| (key(name), at)).collect();
        let found = data.classes.iter().map(|name| known.get(&key(name)).copied());
        let found: Vec<Option<usize>> = found.collect();
        let missing = data.classes.iter().zip(&found).find(|(_, class)| class.is_none());
        if let Some((name, _)) = missing
            && !self.allow_missing
        {
            bail!(
                "--train has no pictures of \"{name}\": add some, or leave its pictures out with --allow-missing"
            );
        }
        if found.iter().all(Option::is_none) {
            bail!("--train has no pictures of any class to judge");
        }
        Ok(found)
    }

    /// Learns from the pictures that are judged, a part of them held out in turn.
    fn among(&self, seen: &Seen, data: &Data) -> anyhow::Result<Learnt> {
        let examples = examples(seen, data)?;
        let bar = progress(FOLDS * FITS, "fits");
        let scores = examples.cross_validate(&mut || bar.inc(1))?;
        bar.finish_and_clear();
        let mut evaluation = Evaluation::new(data.classes.clone());
        for ((_, truth), scores) in examples.rows().iter().zip(&scores) {
            evaluation.push(*truth, scores, scores);
        }
        let trained = self.save.map(|_| train_all(&examples)).transpose()?;
        let labels = format!("trained on the others, {FOLDS} folds");
        let pictures = (0..seen.embeddings.len()).collect();
        Ok(Learnt { judged: judged(labels, evaluation, pictures), trained, failed: Vec::new() })
    }
}

/// What can be said of classes before their pictures are read.
fn check_classes(data: &Data) -> Result<(), ProbeError> {
    if data.classes.len() < 2 {
        return Err(ProbeError::Classes(data.classes.len()));
    }
    let names = data.classes.iter().map(String::as_str).filter(|name| !is_background(name));
    LabelSet::from_names(names).map_err(ProbeError::Name)?;
    let mut counts = vec![0; data.classes.len()];
    data.samples.iter().for_each(|sample| counts[sample.class] += 1);
    let few = data.classes.iter().zip(counts).find(|(_, count)| *count < EXAMPLES_MIN);
    few.map_or(Ok(()), |(name, found)| Err(ProbeError::TooFew { name: name.clone(), found }))
}

/// Says how many pictures are learnt from and judged too.
fn warn_of_both(seen: &Seen, learnt: &Seen) {
    let known: HashSet<u64> = learnt.embeddings.iter().map(fingerprint).collect();
    let both = seen.embeddings.iter().filter(|picture| known.contains(&fingerprint(picture)));
    let (both, all) = (both.count(), seen.embeddings.len());
    if both > 0 {
        say(format_args!(
            "{both} of the {all} pictures are in --train too: they flatter the probe"
        ));
    }
}

/// What was seen, with its classes.
fn examples(seen: &Seen, data: &Data) -> anyhow::Result<Examples> {
    let classes = seen.samples.iter().map(|index| data.samples[*index].class);
    let rows = seen.embeddings.iter().cloned().zip(classes).collect();
    Examples::new(data.classes.clone(), rows).map_err(|error| anyhow!("--linear-probe: {error}"))
}

fn train_all(examples: &Examples) -> anyhow::Result<Trained> {
    let bar = progress(FITS, "fits");
    let trained = examples.train(&mut || bar.inc(1))?;
    bar.finish_and_clear();
    if !trained.training.converged {
        say(format_args!("the weights were still getting better when training ended"));
    }
    Ok(trained)
}

fn judged(labels: String, evaluation: Evaluation, pictures: Vec<usize>) -> Judged {
    Judged {
        head: "linear probe",
        labels,
        label_set: String::new(),
        templates: Vec::new(),
        pictures,
        thresholds: evaluation.thresholds(),
        evaluation,
        directions: Vec::new(),
        background: Vec::new(),
    }
}
